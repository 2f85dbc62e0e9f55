"""Finds a service by its tags alone: its listener, and the releases that have an auto scaling group.

Implements `fleetswap.workflows.rollout.service.Finder`. The tags are those of `fleetswap.domain.tags`, which every
resource of a stack carries. It reads, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fleetswap.aws.errors import explained
from fleetswap.aws.rollout.fleet import found_groups
from fleetswap.domain import tags
from fleetswap.domain.rollout.model import PRIORITY, ReleaseTarget
from fleetswap.domain.rollout.view import Service
from fleetswap.domain.text import counted

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

    def find(self, service: str) -> tuple[Service, ...]:
        """The services of this name: one of each listener that may carry its traffic.

        Two of one stack's name are two stacks, of two backends or organizations. Raises `TryAgain` or `CloudError`.
        """
        releases = self._releases(service)
        services = []
        for stack, listener in sorted(self._listeners(service)):
            targets, extra = releases.get(stack, ([], []))
            services.append(Service(stack, service, listener, tuple(targets), tuple(extra)))
        return tuple(services)

    def _listeners(self, service: str) -> list[tuple[str, str]]:
        """The listeners of each stack whose rule carries weights; without such a rule, one of each load balancer."""
        with_rule: list[tuple[str, str]] = []
        others: list[tuple[str, str]] = []
        for balancer, stack in self._tagged(self._balancers(), service).items():
            listeners = self._tagged(self._of_balancer(balancer), service)
            ours = [listener for listener, its_stack in listeners.items() if its_stack == stack]
            carrying = [listener for listener in ours if self._has_rule(listener)]
            with_rule += [(stack, listener) for listener in carrying[:1]]
            others += [(stack, listener) for listener in ours[:1] if not carrying]
        known = {stack for stack, _ in with_rule}
        return with_rule + [(stack, listener) for stack, listener in others if stack not in known]

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

    def _releases(self, service: str) -> dict[str, tuple[list[ReleaseTarget], list[str]]]:
        """The releases of each stack that have an auto scaling group with a target group, and what is left over.

        Of several groups with one target group the largest counts; the others are told. A deployer that died while a
        group was made has left one that nobody knows of, and that may have machines.
        """
        found: dict[str, tuple[list[ReleaseTarget], list[str]]] = {}
        for one in found_groups(self._autoscaling, service):
            targets, extra = found.setdefault(one.stack, ([], []))
            if any(target.target_group == one.target.target_group for target in targets):
                extra.append(
                    f"auto scaling group {one.target.group} ({counted(one.desired, 'machine')}) has the tags and the"
                    f" target group of {one.target.release} as well: delete it if nobody needs it"
                )
            else:
                targets.append(one.target)
        for targets, _ in found.values():
            targets.sort(key=lambda target: target.release)
        return found
