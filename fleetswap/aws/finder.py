"""Finds a service by its tags alone: its listener, and the releases that have an auto scaling group.

It implements `fleetswap.workflows.now.Finder`. The tags are those of `fleetswap.domain.tags`, which every resource of a
stack carries. It reads, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from fleetswap.aws.calls import explained
from fleetswap.domain import tags
from fleetswap.domain.orders import PRIORITY, Side
from fleetswap.domain.sites import Site

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client

DESCRIBED = 20
"""Resources that one DescribeTags of ELBv2 may ask about (API reference, ResourceArns)."""


class Finder:
    """The services of an account and region. Safe to share between threads, as the clients are."""

    def __init__(self, elbv2: ElasticLoadBalancingv2Client, autoscaling: AutoScalingClient) -> None:
        """Both clients are of the same account and region."""
        self._elbv2 = elbv2
        self._autoscaling = autoscaling

    def find(self, service: str) -> tuple[Site, ...]:
        """The sites of a service, one of each stack that has it. Raises `Unavailable` or `CloudError`."""
        sides = self._sides(service)
        return tuple(
            Site(stack, service, listener, tuple(sides.get(stack, ())))
            for stack, listener in sorted(self._listeners(service).items())
        )

    def _listeners(self, service: str) -> dict[str, str]:
        """The listener of each stack: the one whose rule carries the weights; without such a rule, the first one."""
        found: dict[str, str] = {}
        for balancer, stack in self._tagged(self._balancers(), service).items():
            listeners = self._tagged(self._of_balancer(balancer), service)
            ours = [listener for listener, its_stack in listeners.items() if its_stack == stack]
            if ours:
                found[stack] = next((listener for listener in ours if self._has_rule(listener)), ours[0])
        return found

    def _balancers(self) -> list[str]:
        with explained("elasticloadbalancing:DescribeLoadBalancers", "*"):
            pages = self._elbv2.get_paginator("describe_load_balancers").paginate()
            return [balancer["LoadBalancerArn"] for page in pages for balancer in page["LoadBalancers"]]

    def _of_balancer(self, balancer: str) -> list[str]:
        with explained("elasticloadbalancing:DescribeListeners", balancer):
            pages = self._elbv2.get_paginator("describe_listeners").paginate(LoadBalancerArn=balancer)
            return [listener["ListenerArn"] for page in pages for listener in page["Listeners"]]

    def _has_rule(self, listener: str) -> bool:
        with explained("elasticloadbalancing:DescribeRules", listener):
            pages = self._elbv2.get_paginator("describe_rules").paginate(ListenerArn=listener)
            return any(rule["Priority"] == str(PRIORITY) for page in pages for rule in page["Rules"])

    def _tagged(self, arns: Sequence[str], service: str) -> dict[str, str]:
        """The stack of each resource that is of the service."""
        found: dict[str, str] = {}
        for first in range(0, len(arns), DESCRIBED):
            some = list(arns[first : first + DESCRIBED])
            with explained("elasticloadbalancing:DescribeTags", some[0]):
                answer = self._elbv2.describe_tags(ResourceArns=some)
            for each in answer["TagDescriptions"]:
                its = {tag["Key"]: tag.get("Value", "") for tag in each["Tags"]}
                if its.get(tags.SERVICE) == service and tags.STACK in its:
                    found[each["ResourceArn"]] = its[tags.STACK]
        return found

    def _sides(self, service: str) -> dict[str, list[Side]]:
        """The releases of each stack that have an auto scaling group with a target group."""
        found: dict[str, list[Side]] = {}
        with explained("autoscaling:DescribeAutoScalingGroups", f"{tags.SERVICE}={service}"):
            pages = self._autoscaling.get_paginator("describe_auto_scaling_groups").paginate(
                Filters=[{"Name": f"tag:{tags.SERVICE}", "Values": [service]}]
            )
            for page in pages:
                for group in cast("Sequence[Mapping[str, Any]]", page["AutoScalingGroups"]):
                    its = {tag["Key"]: tag.get("Value", "") for tag in group.get("Tags", ())}
                    if tags.STACK in its and tags.RELEASE in its and group.get("TargetGroupARNs"):
                        side = Side(its[tags.RELEASE], group["AutoScalingGroupName"], group["TargetGroupARNs"][0])
                        found.setdefault(its[tags.STACK], []).append(side)
        return {stack: sorted(sides, key=lambda side: side.release) for stack, sides in found.items()}
