"""Finds a service by its tags alone: its listener, and the releases that have an auto scaling group.

Implements `fleetswap.workflows.rollout.service.Finder`. The tags are those of `fleetswap.domain.tags`, which every
resource of a stack carries. It reads, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from fleetswap.aws.errors import code, explained
from fleetswap.aws.rollout.balancer import weights_of
from fleetswap.aws.rollout.fleet import found_groups
from fleetswap.aws.rollout.listener_rules import ANY_PATH, DESCRIBED, AnyRule, is_of, rules_of, tags_of, values_of
from fleetswap.domain import tags
from fleetswap.domain.rollout.model import ReleaseTarget
from fleetswap.domain.rollout.rule import OWN, PRIORITY, Rules
from fleetswap.domain.rollout.view import Service

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client


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
        for stack, listener, rules in sorted(self._listeners(service), key=lambda each: each[:2]):
            targets, extra = releases.pop(stack, ([], []))
            services.append(Service(stack, service, listener, tuple(targets), tuple(extra), rules))
        for stack, (targets, extra) in sorted(releases.items()):
            services += [
                Service(stack, service, listener, tuple(targets), tuple(extra), rules)
                for listener, rules in self._shared(stack, service, targets)
            ]
        return tuple(services)

    def _listeners(self, service: str) -> list[tuple[str, str, Rules]]:
        """The listeners of each stack whose rule carries weights; without such a rule, one of each load balancer."""
        with_rule: list[tuple[str, str, Rules]] = []
        others: list[tuple[str, str, Rules]] = []
        for balancer, stack in self._tagged(self._balancers(), service).items():
            listeners = self._tagged(self._of_balancer(balancer, redirecting=False), service)
            ours = [listener for listener, its_stack in listeners.items() if its_stack == stack]
            found = {listener: self._rule(listener) for listener in ours}
            carrying = [(stack, listener, rules) for listener, rules in found.items() if rules is not None]
            with_rule += carrying[:1]
            others += [(stack, listener, OWN) for listener in ours[:1] if not carrying]
        known = {stack for stack, _, _ in with_rule}
        return with_rule + [each for each in others if each[0] not in known]

    def _rule(self, listener: str) -> Rules | None:
        """The rule with the weights on an own listener."""
        found = [rule for rule in rules_of(self._elbv2, listener) if rule["Priority"] == str(PRIORITY)]
        return _read(found[0], None) if found else None

    def _shared(self, stack: str, service: str, targets: Sequence[ReleaseTarget]) -> list[tuple[str, Rules | None]]:
        """The listeners of others on which the stack has rules, found by what its target groups are used by."""
        groups = {target.target_group for target in targets}
        ours = {tags.STACK: stack, tags.SERVICE: service}
        found: list[tuple[str, Rules | None]] = []
        for balancer in self._balancers_of(sorted(groups)):
            for listener in self._of_balancer(balancer):
                using = [rule for rule in rules_of(self._elbv2, listener) if groups & set(_forwards(rule))]
                its = tags_of(self._elbv2, [rule["RuleArn"] for rule in using if rule["Priority"] != "default"])
                named = [rule for rule in using if is_of(its.get(rule["RuleArn"], {}), ours)]
                weights = [rule for rule in named if tags.RELEASE not in its[rule["RuleArn"]]]
                if named:
                    found.append((listener, _read(weights[0], int(weights[0]["Priority"])) if weights else None))
        carrying = [each for each in found if each[1] is not None]
        return carrying or found[:1]

    def _balancers_of(self, target_groups: Sequence[str]) -> list[str]:
        found: set[str] = set()
        for arn in target_groups:
            with explained("elasticloadbalancing:DescribeTargetGroups", arn):
                try:
                    answer = self._elbv2.describe_target_groups(TargetGroupArns=[arn])
                except ClientError as error:
                    if code(error) != "TargetGroupNotFound":  # deleted since its group was read
                        raise
                    continue
            found |= {balancer for group in answer["TargetGroups"] for balancer in group.get("LoadBalancerArns", ())}
        return sorted(found)

    def _balancers(self) -> list[str]:
        with explained("elasticloadbalancing:DescribeLoadBalancers", "*"):
            pages = self._elbv2.get_paginator("describe_load_balancers").paginate()
            return [balancer["LoadBalancerArn"] for page in pages for balancer in page["LoadBalancers"]]

    def _of_balancer(self, balancer: str, *, redirecting: bool = True) -> list[str]:
        """Its listeners; if not `redirecting`, without those that lead to another one, as an own listener of HTTP."""
        with explained("elasticloadbalancing:DescribeListeners", balancer):
            pages = self._elbv2.get_paginator("describe_listeners").paginate(LoadBalancerArn=balancer)
            return [
                listener["ListenerArn"]
                for page in pages
                for listener in page["Listeners"]
                if redirecting or all(action["Type"] != "redirect" for action in listener.get("DefaultActions", ()))
            ]

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
                    f"auto scaling group {one.target.group} ({one.size}) has the tags and the"
                    f" target group of {one.target.release} as well: delete it if nobody needs it"
                )
            else:
                targets.append(one.target)
        for targets, _ in found.values():
            targets.sort(key=lambda target: target.release)
        return found


def _forwards(rule: AnyRule) -> list[str]:
    return [arn for arn, _ in weights_of(rule["Actions"])]


def _read(rule: AnyRule, priority: int | None) -> Rules:
    """Where a rule stands and what it takes, as it is: whoever has no settings keeps both."""
    values = {condition["Field"]: values_of(condition) for condition in rule.get("Conditions", ())}
    hosts, paths = values.get("host-header", ()), values.get("path-pattern", ())
    everything = not hosts and paths == (ANY_PATH,)
    return Rules(
        priorities=None if priority is None else (priority, priority), hosts=hosts, paths=() if everything else paths
    )
