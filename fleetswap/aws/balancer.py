"""The rollout's hand on the load balancer (ELBv2): its one listener rule, and the health of targets.

The rule is found by listener and priority, so that a deployer needs no memory to find it. It makes, changes and deletes
that rule and nothing else, and never decides who gets traffic. It implements `fleetswap.workflows.rollout.Balancer`.
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


class Balancer:
    """The rule of one service. Safe to share between threads, as the client is."""

    def __init__(self, client: ElasticLoadBalancingv2Client, *, tags: Mapping[str, str]) -> None:
        """`tags` are put on the rule when it is made."""
        self._client = client
        self._tags = dict(tags)

    def rule(self, listener: str) -> Rule | None:
        """The rule that carries the weights, or None. Raises `Unavailable` or `CloudError`."""
        found = self._find(listener)
        if found is None:
            return None
        actions = found["Actions"]
        return Rule(weights=_weights(actions), verbatim=json.dumps(actions, sort_keys=True))

    def forward(self, listener: str, weights: tuple[tuple[str, int], ...]) -> None:
        """Write the weights, making the rule if there is none. Repeating it changes nothing."""
        groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights]
        self._write(listener, [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}])

    def restore(self, listener: str, rule: Rule | None) -> None:
        """Write the rule's own former actions; None deletes the rule. Repeating it changes nothing."""
        if rule is not None:
            self._write(listener, json.loads(rule.verbatim))
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
                        Tags=[{"Key": key, "Value": value} for key, value in self._tags.items()],
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


def _weights(actions: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, int], ...]:
    """The weights of a rule's forward action; empty if it forwards nowhere (a fixed response put there by hand)."""
    for action in actions:
        if action["Type"] != "forward":
            continue
        groups = action.get("ForwardConfig", {}).get("TargetGroups")
        if groups:
            return tuple((group["TargetGroupArn"], int(group.get("Weight", LONE_WEIGHT))) for group in groups)
        return ((action["TargetGroupArn"], LONE_WEIGHT),)
    return ()
