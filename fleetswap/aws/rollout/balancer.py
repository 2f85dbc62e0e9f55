"""The load balancer (ELBv2) of a rollout: its one listener rule, that rule's tags, and the health of targets.

The rule is found by listener and priority, so a deployer needs no memory to find it. This module creates, changes and
deletes that rule and nothing else, and never decides who gets traffic. Implements
`fleetswap.workflows.rollout.ports.Balancer`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from fleetswap.aws.errors import code, explained
from fleetswap.domain import tags as names
from fleetswap.domain.errors import InputError, TryAgain
from fleetswap.domain.rollout.health import Target
from fleetswap.domain.rollout.model import PRIORITY, Rule

if TYPE_CHECKING:
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client

LONE_WEIGHT = 1
"""The weight of a target group that an action names without a weight: it gets every request."""

LAST = frozenset({"forward", "redirect", "fixed-response"})
"""The actions that end a rule; exactly one of them is its last (ModifyRule, Actions)."""

CONDITIONS: Any = [{"Field": "path-pattern", "Values": ["/*"]}]
"""The one condition of the rule: it takes every request that no rule before it has taken."""

_IN_TAGS = " +-=._:/@"
"""Beside letters and digits (Elastic Load Balancing user guide, "Tags for your Application Load Balancer")."""


class Balancer:
    """The rule of one service. Safe to share between threads, as the client is."""

    def __init__(self, client: ElasticLoadBalancingv2Client, *, tags: Mapping[str, str]) -> None:
        """`tags` are put on the rule when it is made."""
        self._client = client
        self._tags = dict(tags)
        self._known: set[str] = set()

    def rule(self, listener: str) -> Rule | None:
        """The rule that carries the weights, or None. Raises `TryAgain` or `CloudError`.

        Its `verbatim` is the request of ModifyRule that would write the very same actions again, as JSON: it is what
        the dead man's switch is armed with.
        """
        found = self._find(listener)
        if found is None:
            return None
        request = {"RuleArn": found["RuleArn"], "Actions": [_writable(action) for action in found["Actions"]]}
        return Rule(
            weights=weights_of(found["Actions"]), verbatim=json.dumps(request, sort_keys=True), odd=tuple(_odd(found))
        )

    def forward(self, listener: str, weights: tuple[tuple[str, int], ...]) -> None:
        """Write the weights, making the rule if there is none. Repeating it changes nothing.

        The forward action is written whole. It names no stickiness, so there is none: a user whom a cookie holds to one
        release would not follow the weights (ModifyRule, TargetGroupStickinessConfig). What comes before it, a login
        that someone has put there, stays.
        """
        self._write(listener, [_forward(weights)])

    def restore(self, listener: str, rule: Rule | None) -> None:
        """Write the rule's own former forward action; None deletes the rule. Repeating it changes nothing."""
        if rule is not None:
            self._write(listener, json.loads(rule.verbatim)["Actions"])
            return
        found = self._find(listener)
        if found is None:
            return
        with explained("elasticloadbalancing:DeleteRule", found["RuleArn"]):
            try:
                self._client.delete_rule(RuleArn=found["RuleArn"])
            except ClientError as error:
                if code(error) != "RuleNotFound":  # gone already is what was wanted
                    raise

    def mend(self, listener: str) -> None:
        """Take off the rule what `Rule.odd` tells: other conditions than its own, and stickiness. The weights stay."""
        found = self._find(listener)
        if found is not None:
            weights = weights_of(found["Actions"])
            forward = [_forward(weights)] if weights else []
            actions = _with_others(found["Actions"], forward) if forward else found["Actions"]
            with explained("elasticloadbalancing:ModifyRule", found["RuleArn"]):
                self._client.modify_rule(RuleArn=found["RuleArn"], Conditions=CONDITIONS, Actions=cast("Any", actions))

    def targets(self, target_group: str) -> tuple[Target, ...]:
        """The targets and their health. Raises `TryAgain` or `CloudError`."""
        with explained("elasticloadbalancing:DescribeTargetHealth", target_group):
            try:
                answer = self._client.describe_target_health(TargetGroupArn=target_group)
            except ClientError as error:
                if code(error) == "TargetGroupNotFound":  # deleted by hand: it has no targets
                    return ()
                raise
        return tuple(
            Target(
                machine=item["Target"]["Id"],
                state=item["TargetHealth"]["State"],
                reason=item["TargetHealth"].get("Reason", ""),
                description=item["TargetHealth"].get("Description", ""),
            )
            for item in answer["TargetHealthDescriptions"]
        )

    def tags(self, listener: str) -> dict[str, str]:
        """The tags of the rule; none if there is no rule. Raises `TryAgain` or `CloudError`."""
        found = self._find(listener)
        if found is None:
            return {}
        with explained("elasticloadbalancing:DescribeTags", found["RuleArn"]):
            try:
                answer = self._client.describe_tags(ResourceArns=[found["RuleArn"]])
            except ClientError as error:
                if code(error) == "RuleNotFound":  # deleted since it was found
                    return {}
                raise
        return {tag["Key"]: tag.get("Value", "") for each in answer["TagDescriptions"] for tag in each["Tags"]}

    def tag(self, listener: str, tags: Mapping[str, str], remove: Sequence[str] = ()) -> None:
        """Write tags of the rule, and remove others, if there is a rule. Repeating it changes nothing.

        Raises `TryAgain` or `CloudError`. Values are cut to what a tag can hold.
        """
        found = self._find(listener)
        if found is None:
            return
        arn = found["RuleArn"]
        if tags:
            wanted = [{"Key": key, "Value": tag_value(value)} for key, value in tags.items()]
            with explained("elasticloadbalancing:AddTags", arn):
                self._client.add_tags(ResourceArns=[arn], Tags=cast("Any", wanted))
        if remove:
            with explained("elasticloadbalancing:RemoveTags", arn):
                self._client.remove_tags(ResourceArns=[arn], TagKeys=list(remove))

    def _tagged(self) -> Any:  # noqa: ANN401 - a part of a request
        """The tags of a new rule; an empty list of tags is refused."""
        tags = [{"Key": key, "Value": value} for key, value in self._tags.items()]
        return {"Tags": tags} if tags else {}

    def _find(self, listener: str) -> Mapping[str, Any] | None:
        with explained("elasticloadbalancing:DescribeRules", listener), _absent_if("ListenerNotFound"):
            for page in self._client.get_paginator("describe_rules").paginate(ListenerArn=listener):
                for rule in page["Rules"]:
                    if rule["Priority"] == str(PRIORITY):
                        return cast("Mapping[str, Any]", rule) if self._is_ours(rule["RuleArn"]) else None
        return None

    def _is_ours(self, arn: str) -> bool:
        """False if the rule is gone. Someone else's is refused (`InputError`): it must not be written, nor deleted."""
        service = self._tags.get(names.SERVICE)
        if service is None or arn in self._known:
            return True
        with explained("elasticloadbalancing:DescribeTags", arn):
            try:
                answer = self._client.describe_tags(ResourceArns=[arn])
            except ClientError as error:
                if code(error) == "RuleNotFound":
                    return False
                raise
        its = {tag["Key"]: tag.get("Value", "") for each in answer["TagDescriptions"] for tag in each["Tags"]}
        if its.get(names.SERVICE) != service or names.STACK not in its:
            raise InputError(
                f"rule {arn} has priority {PRIORITY} of the listener, but not the tags of service {service}: give it"
                " another priority"
            )
        self._known.add(arn)
        return True

    def _write(self, listener: str, actions: Sequence[Any]) -> None:
        found = self._find(listener)
        if found is None:
            with explained("elasticloadbalancing:CreateRule", listener):
                try:
                    made = self._client.create_rule(
                        ListenerArn=listener,
                        Priority=PRIORITY,
                        Conditions=CONDITIONS,
                        Actions=actions,
                        **self._tagged(),
                    )
                    self._known |= {rule["RuleArn"] for rule in made["Rules"]}  # its tags may be told of later
                    return
                except ClientError as error:
                    if code(error) != "PriorityInUse":
                        raise
            # A lost answer: botocore's second try met the rule that its first one had made.
            found = self._find(listener)
            if found is None:
                raise TryAgain(f"the rule {PRIORITY} of {listener} exists, but does not show yet")
        with explained("elasticloadbalancing:ModifyRule", found["RuleArn"]):
            self._client.modify_rule(
                RuleArn=found["RuleArn"], Actions=cast("Any", _with_others(found["Actions"], actions))
            )


def _forward(weights: Sequence[tuple[str, int]]) -> Any:  # noqa: ANN401 - a part of a request
    groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights]
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}


def _writable(action: Any) -> Any:  # noqa: ANN401 - a part of an answer, and of a request
    """An action as it may be written again: no answer tells the secret of a login (AuthenticateOidcActionConfig)."""
    if action["Type"] != "authenticate-oidc":
        return action
    return {**action, "AuthenticateOidcConfig": {**action["AuthenticateOidcConfig"], "UseExistingClientSecret": True}}


def _with_others(now: Sequence[Any], last: Sequence[Any]) -> list[Any]:
    """The actions of a rule with another last one: what comes before it, as it is now, was put there by someone."""
    others = [_writable(action) for action in now if action["Type"] not in LAST]
    if not others:
        return [action for action in last if action["Type"] in LAST]
    ends = [
        {**action, "Order": max(other["Order"] for other in others) + 1} for action in last if action["Type"] in LAST
    ]
    return [*others, *ends]


def _odd(rule: Mapping[str, Any]) -> Iterator[str]:
    """What a hand has put on the rule, in words."""
    for condition in rule.get("Conditions", ()):
        values = condition.get("Values") or next(
            (part["Values"] for part in condition.values() if isinstance(part, dict) and "Values" in part), ()
        )
        if {"Field": condition["Field"], "Values": list(values)} not in CONDITIONS:
            yield f"condition {condition['Field']} {' '.join(map(str, values))}".strip()
    for action in rule["Actions"]:
        if action.get("ForwardConfig", {}).get("TargetGroupStickinessConfig", {}).get("Enabled"):
            yield "stickiness, which keeps users on one release whatever the weights are"


@contextmanager
def _absent_if(expected: str) -> Iterator[None]:
    """Take the error of a thing that does not exist for an answer: there is nothing."""
    try:
        yield
    except ClientError as error:
        if code(error) != expected:
            raise


def tag_value(text: str) -> str:
    """Text as the value of a tag: at most 256 of the characters that ELBv2 takes (TagValue; "Tag your ...")."""
    kept = "".join(char if char.isalnum() or char in _IN_TAGS else " " for char in text)
    return " ".join(kept.split())[:256]


def weights_of(actions: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, int], ...]:
    """The weights of a rule's forward action; empty if it forwards nowhere (a fixed response put there by hand)."""
    for action in actions:
        if action["Type"] != "forward":
            continue
        groups = action.get("ForwardConfig", {}).get("TargetGroups")
        if groups:
            return tuple((group["TargetGroupArn"], int(group.get("Weight", LONE_WEIGHT))) for group in groups)
        return ((action["TargetGroupArn"], LONE_WEIGHT),)
    return ()
