"""The rollout's hand on the load balancer (ELBv2): its one listener rule, that rule's tags, and the health of targets.

The rule is found by listener and priority, so that a deployer needs no memory to find it. It makes, changes and deletes
that rule and nothing else, and never decides who gets traffic. It implements `fleetswap.workflows.ports.Balancer`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from fleetswap.aws.calls import code, explained
from fleetswap.domain.gate import Target
from fleetswap.domain.orders import PRIORITY, Rule, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client

LONE_WEIGHT = 1
"""The weight of a target group that an action names without a weight: it gets every request."""

_IN_TAGS = " +-=._:/@"
"""Beside letters and digits (Elastic Load Balancing user guide, "Tags for your Application Load Balancer")."""


class Balancer:
    """The rule of one service. Safe to share between threads, as the client is."""

    def __init__(self, client: ElasticLoadBalancingv2Client, *, tags: Mapping[str, str]) -> None:
        """`tags` are put on the rule when it is made."""
        self._client = client
        self._tags = dict(tags)

    def rule(self, listener: str) -> Rule | None:
        """The rule that carries the weights, or None. Raises `Unavailable` or `CloudError`.

        Its `verbatim` is the request of ModifyRule that would write the very same actions again, as JSON: it is what
        the dead man's switch is armed with.
        """
        found = self._find(listener)
        if found is None:
            return None
        request = {"RuleArn": found["RuleArn"], "Actions": found["Actions"]}
        return Rule(weights=weights_of(found["Actions"]), verbatim=json.dumps(request, sort_keys=True))

    def forward(self, listener: str, weights: tuple[tuple[str, int], ...]) -> None:
        """Write the weights, making the rule if there is none. Repeating it changes nothing.

        It is the whole action that is written. It names no stickiness, so there is none: a user whom a cookie holds to
        one release would not follow the weights (ModifyRule, TargetGroupStickinessConfig).
        """
        groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights]
        self._write(listener, [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}])

    def restore(self, listener: str, rule: Rule | None) -> None:
        """Write the rule's own former actions; None deletes the rule. Repeating it changes nothing."""
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

    def targets(self, target_group: str) -> tuple[Target, ...]:
        """The targets and their health. Raises `Unavailable` or `CloudError`."""
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
        """The tags of the rule; none if there is no rule. Raises `Unavailable` or `CloudError`."""
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

        Raises `Unavailable` or `CloudError`. Values are cut to what a tag can hold.
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
                        return cast("Mapping[str, Any]", rule)
        return None

    def _write(self, listener: str, actions: Sequence[Any]) -> None:
        found = self._find(listener)
        if found is None:
            with explained("elasticloadbalancing:CreateRule", listener):
                try:
                    self._client.create_rule(
                        ListenerArn=listener,
                        Priority=PRIORITY,
                        Conditions=[{"Field": "path-pattern", "Values": ["/*"]}],
                        Actions=actions,
                        **self._tagged(),
                    )
                    return
                except ClientError as error:
                    if code(error) != "PriorityInUse":
                        raise
            # A lost answer: botocore's second try met the rule that its first one had made.
            found = self._find(listener)
            if found is None:
                raise Unavailable(f"the rule {PRIORITY} of {listener} exists, but is not seen yet")
        with explained("elasticloadbalancing:ModifyRule", found["RuleArn"]):
            self._client.modify_rule(RuleArn=found["RuleArn"], Actions=actions)


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
