"""The rules of a listener (ELBv2): reads them with their tags, and writes their conditions and priorities.

It is what the balancer, the previews and the finder have in common, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from fleetswap.aws.errors import code, explained
from fleetswap.domain import tags
from fleetswap.domain.errors import CloudError
from fleetswap.domain.rollout.rule import PREVIEW_HEADER, Rules

if TYPE_CHECKING:
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client

DESCRIBED = 20
"""Resources that one DescribeTags of ELBv2 may ask about (API reference, ResourceArns)."""

ANY_PATH = "/*"
"""A rule needs a condition: this one takes every request that no rule before it has taken."""

AnyRule = Mapping[str, Any]


def rules_of(client: ElasticLoadBalancingv2Client, listener: str) -> list[AnyRule]:
    """All rules of the listener, the default one too; none if it is gone. Raises `TryAgain` or `CloudError`."""
    found: list[AnyRule] = []
    with explained("elasticloadbalancing:DescribeRules", listener):
        try:
            for page in client.get_paginator("describe_rules").paginate(ListenerArn=listener):
                found += cast("list[AnyRule]", page["Rules"])
        except ClientError as error:
            if code(error) != "ListenerNotFound":
                raise
            return []
    return found


def tags_of(client: ElasticLoadBalancingv2Client, arns: Sequence[str]) -> dict[str, dict[str, str]]:
    """The tags of rules and target groups by their ARNs. Those that are gone are left out.

    On a shared listener others delete theirs at any time, and DescribeTags refuses all of a call for one that is gone:
    then they are asked about one by one. Raises `TryAgain` or `CloudError`.
    """
    found: dict[str, dict[str, str]] = {}
    for first in range(0, len(arns), DESCRIBED):
        some = list(arns[first : first + DESCRIBED])
        with explained("elasticloadbalancing:DescribeTags", some[0]):
            try:
                answer = client.describe_tags(ResourceArns=some)
            except ClientError as error:
                if code(error) not in {"RuleNotFound", "TargetGroupNotFound"}:
                    raise
                for each in some if len(some) > 1 else []:
                    found |= tags_of(client, [each])
                continue
        for described in answer["TagDescriptions"]:
            its = {tag["Key"]: tag.get("Value", "") for tag in described["Tags"]}
            found[described["ResourceArn"]] = its
    return found


def is_of(its: Mapping[str, str], ours: Mapping[str, str]) -> bool:
    """Whether tags name the service and stack of ours: several services and stacks may share a listener."""
    return all(its.get(key) == ours.get(key) for key in (tags.SERVICE, tags.STACK))


def conditions_of(rules: Rules, preview: str | None = None) -> list[Any]:
    """The conditions of a rule, as CreateRule and ModifyRule take them; those of a preview rule have its header."""
    found: list[Any] = []
    if preview is not None:
        header = {"HttpHeaderName": PREVIEW_HEADER, "Values": [preview]}
        found.append({"Field": "http-header", "HttpHeaderConfig": header})
        if rules.preview_sources:
            found.append({"Field": "source-ip", "SourceIpConfig": {"Values": list(rules.preview_sources)}})
    if rules.hosts:
        found.append({"Field": "host-header", "HostHeaderConfig": {"Values": list(rules.hosts)}})
    if rules.paths:
        found.append({"Field": "path-pattern", "PathPatternConfig": {"Values": list(rules.paths)}})
    return found or [{"Field": "path-pattern", "Values": [ANY_PATH]}]


def values_of(condition: Mapping[str, Any]) -> tuple[str, ...]:
    """The values of a condition, whichever of its two forms it is told in."""
    told = condition.get("Values") or next(
        (part["Values"] for part in condition.values() if isinstance(part, dict) and "Values" in part), ()
    )
    return tuple(str(value) for value in told)


def plain(conditions: Sequence[Mapping[str, Any]]) -> frozenset[tuple[str, str, frozenset[str]]]:
    """Conditions in a form in which the same ones are equal: AWS returns both forms, in an order of its own."""
    return frozenset(
        (
            condition["Field"],
            condition.get("HttpHeaderConfig", {}).get("HttpHeaderName", "").lower(),
            frozenset(values_of(condition)),
        )
        for condition in conditions
    )


def move(client: ElasticLoadBalancingv2Client, rule: str, priority: int) -> None:
    """Give a rule another priority. Repeating it changes nothing. Raises `TryAgain` or `CloudError`."""
    with explained("elasticloadbalancing:SetRulePriorities", rule):
        try:
            client.set_rule_priorities(RulePriorities=[{"RuleArn": rule, "Priority": priority}])
        except ClientError as error:
            if code(error) == "PriorityInUse":
                raise CloudError(
                    f"rule {rule} cannot have priority {priority}, which another rule of the listener has: move that"
                    " rule, or choose other fleetswap:front.priorities"
                ) from error
            raise
