"""The load balancer (ELBv2) of a rollout: its one listener rule, that rule's tags, and the health of targets.

On a listener of the stack's own, the rule is found by its priority; on an existing one by its tags, so a deployer needs
no memory to find it. This module creates, changes and deletes that rule and nothing else, and never decides who gets
traffic. Implements `fleetswap.workflows.rollout.ports.Balancer`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from fleetswap.aws.errors import code, explained
from fleetswap.aws.rollout.listener_rules import (
    AnyRule,
    conditions_of,
    is_of,
    move,
    plain,
    rules_of,
    tags_of,
)
from fleetswap.domain import tags
from fleetswap.domain.errors import InputError, TryAgain
from fleetswap.domain.rollout.health import Target
from fleetswap.domain.rollout.model import Rule
from fleetswap.domain.rollout.rule import OWN, Rules

if TYPE_CHECKING:
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client

LONE_WEIGHT = 1
"""The weight of a target group that an action names without a weight: it gets every request."""

LAST = frozenset({"forward", "redirect", "fixed-response"})
"""The actions that end a rule; exactly one of them is its last (ModifyRule, Actions)."""

_IN_TAGS = " +-=._:/@"
"""Beside letters and digits (Elastic Load Balancing user guide, "Tags for your Application Load Balancer")."""


class Balancer:
    """The rule of one service. Safe to share between threads, as the client is."""

    def __init__(
        self, client: ElasticLoadBalancingv2Client, *, tags: Mapping[str, str], rules: Rules | None = OWN
    ) -> None:
        """`tags` are put on the rule when it is made.

        `rules` says where. None: nobody knows, so the rule is found by its tags, and is not made if there is none.
        """
        self._client = client
        self._tags = dict(tags)
        self._rules = rules
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
        odd = tuple(_odd(found, self._rules)) if self._rules is not None else ()
        return Rule(weights=weights_of(found["Actions"]), verbatim=json.dumps(request, sort_keys=True), odd=odd)

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
        """Take off the rule what `Rule.odd` tells: another priority and other conditions than its own, and stickiness.

        The weights stay.
        """
        found = self._find(listener)
        if found is not None and self._rules is not None:
            weights = weights_of(found["Actions"])
            forward = [_forward(weights)] if weights else []
            actions = _with_others(found["Actions"], forward) if forward else found["Actions"]
            with explained("elasticloadbalancing:ModifyRule", found["RuleArn"]):
                conditions = cast("Any", conditions_of(self._rules))
                self._client.modify_rule(RuleArn=found["RuleArn"], Conditions=conditions, Actions=cast("Any", actions))
            if found["Priority"] != str(self._rules.priority):
                move(self._client, found["RuleArn"], self._rules.priority)

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
        return tags_of(self._client, [found["RuleArn"]]).get(found["RuleArn"], {})

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

    def _find(self, listener: str) -> AnyRule | None:
        """The rule, wherever it stands. Someone else's at its priority is an `InputError`: it must not be written."""
        rules = rules_of(self._client, listener)
        known = next((rule for rule in rules if rule["RuleArn"] in self._known), None)
        if known is not None:
            return known
        there = next((rule for rule in rules if self._rules and rule["Priority"] == str(self._rules.priority)), None)
        if tags.SERVICE not in self._tags:
            return there
        own = self._rules is not None and self._rules.priorities is None
        if own and there is not None:
            asked = [there["RuleArn"]]
        else:  # on an own listener, too, someone may have moved it: a second one behind it would get no request
            asked = [rule["RuleArn"] for rule in rules if rule["Priority"] != "default"]
        found = tags_of(self._client, asked)
        ours = next((rule for rule in rules if self._is_ours(found.get(rule["RuleArn"], {}), own=own)), None)
        if ours is not None:
            self._known.add(ours["RuleArn"])
        elif there is not None and there["RuleArn"] in found:
            raise InputError(
                f"rule {there['RuleArn']} has priority {there['Priority']} of the listener, but not the tags of service"
                f" {self._tags[tags.SERVICE]}: give it another priority"
            )
        return ours

    def _is_ours(self, its: Mapping[str, str], *, own: bool) -> bool:
        """A preview rule has the tag of its release as well. An own listener is of one stack, whatever its name."""
        if tags.RELEASE in its:
            return False
        return is_of(its, {**self._tags, tags.STACK: its[tags.STACK]} if own and tags.STACK in its else self._tags)

    def _write(self, listener: str, actions: Sequence[Any]) -> None:
        found = self._find(listener)
        if found is None:
            if self._rules is None:
                raise InputError(
                    f"no rule of {listener} has the tags of service {self._tags.get(tags.SERVICE)}: run `pulumi up`,"
                    " which knows where to create it"
                )
            with explained("elasticloadbalancing:CreateRule", listener):
                try:
                    made = self._client.create_rule(
                        ListenerArn=listener,
                        Priority=self._rules.priority,
                        Conditions=conditions_of(self._rules),
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
                raise TryAgain(f"rule {self._rules.priority} of {listener} exists, but does not show yet")
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


def _odd(rule: AnyRule, rules: Rules) -> Iterator[str]:
    """What a person has put on the rule, or the settings no longer say, in words."""
    if rule["Priority"] != str(rules.priority):
        yield f"priority {rule['Priority']} instead of {rules.priority}"
    wanted, has = plain(conditions_of(rules)), plain(rule.get("Conditions", ()))
    for field, _, values in sorted(has - wanted, key=str):
        yield f"condition {field} {' '.join(sorted(values))}".strip()
    if not has - wanted:
        for field, _, values in sorted(wanted - has, key=str):
            yield f"no condition {field} {' '.join(sorted(values))}"
    for action in rule["Actions"]:
        if action.get("ForwardConfig", {}).get("TargetGroupStickinessConfig", {}).get("Enabled"):
            yield "stickiness, which keeps users on one release whatever the weights are"


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
