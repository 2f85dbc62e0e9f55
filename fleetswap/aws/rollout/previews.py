"""The preview rules of releases (ELBv2): found by their condition, created if missing, deleted wherever they are.

AWS gives a rule no name of our choice, so a lost response, or a deployer that dies, leaves a rule that no state knows.
It is found again by its header, whose value belongs to one release alone. This module never touches the rule with the
weights, or rules of others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from fleetswap.aws.errors import code, explained
from fleetswap.aws.rollout.balancer import weights_of
from fleetswap.domain.errors import TryAgain
from fleetswap.domain.release.plan import preview_priority
from fleetswap.domain.rollout.model import PREVIEW_HEADER, preview_value

if TYPE_CHECKING:
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client

TRIES = 10
PAUSE_SECONDS = 1.0
"""How often a rule is looked for whose priority is taken, and the pause between two looks: a rule that was just made
may not be seen for seconds (eventual consistency), and another may take the same number at the same time."""


class Previews:
    """The preview rules of one listener. Safe to share between threads, as the client is."""

    def __init__(
        self, client: ElasticLoadBalancingv2Client, listener: str, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """`listener` is an ARN."""
        self._client = client
        self._listener = listener
        self._sleep = sleep

    def ensure(self, release: str, target_group: str, tags: Mapping[str, str]) -> str:
        """The ARN of the release's rule, which is made or put right if need be. Repeating it changes nothing.

        Raises `TryAgain` or `CloudError`.
        """
        actions: list[Any] = [{"Type": "forward", "TargetGroupArn": target_group}]
        for _ in range(TRIES):
            rules = list(self._rules())
            found = next((rule for rule in rules if _is_of(rule, preview_value(self._listener, release))), None)
            if found is not None:
                arn = str(found["RuleArn"])
                if [arn for arn, _ in weights_of(found["Actions"])] != [target_group]:
                    with explained("elasticloadbalancing:ModifyRule", arn):
                        self._client.modify_rule(RuleArn=arn, Actions=actions)
                self.tag(arn, tags)
                return arn
            taken = {rule["Priority"] for rule in rules}
            made = self._create(release, actions, tags, preview_priority(release, taken))
            if made is not None:
                return made
            self._sleep(PAUSE_SECONDS)
        raise TryAgain(f"a preview rule of {release} exists on {self._listener}, but does not show yet")

    def tag(self, arn: str, tags: Mapping[str, str], remove: Sequence[str] = ()) -> None:
        """Write tags of a rule, and remove others. Repeating it changes nothing."""
        with explained("elasticloadbalancing:AddTags", arn):
            self._client.add_tags(ResourceArns=[arn], Tags=cast("Any", _listed(tags)))
        if remove:
            with explained("elasticloadbalancing:RemoveTags", arn):
                self._client.remove_tags(ResourceArns=[arn], TagKeys=list(remove))

    def exists(self, release: str) -> bool:
        """Whether the release has a rule. Raises `TryAgain` or `CloudError`."""
        return any(_is_of(rule, preview_value(self._listener, release)) for rule in self._rules())

    def remove(self, release: str) -> None:
        """Delete every rule of the release, also one that no state knows. Repeating it changes nothing.

        Raises `TryAgain` or `CloudError`.
        """
        for rule in list(self._rules()):
            if not _is_of(rule, preview_value(self._listener, release)):
                continue
            with explained("elasticloadbalancing:DeleteRule", rule["RuleArn"]):
                try:
                    self._client.delete_rule(RuleArn=rule["RuleArn"])
                except ClientError as error:
                    if code(error) != "RuleNotFound":  # gone already is what was wanted
                        raise

    def _create(self, release: str, actions: list[Any], tags: Mapping[str, str], priority: int) -> str | None:
        """The ARN of a new rule; None if the priority is in use, perhaps by a rule whose answer was lost."""
        header = {"HttpHeaderName": PREVIEW_HEADER, "Values": [preview_value(self._listener, release)]}
        with explained("elasticloadbalancing:CreateRule", self._listener):
            try:
                made = self._client.create_rule(
                    ListenerArn=self._listener,
                    Priority=priority,
                    Conditions=[{"Field": "http-header", "HttpHeaderConfig": cast("Any", header)}],
                    Actions=actions,
                    Tags=cast("Any", _listed(tags)),
                )
            except ClientError as error:
                if code(error) == "PriorityInUse":
                    return None
                raise
        return str(made["Rules"][0]["RuleArn"])

    def _rules(self) -> Iterator[Mapping[str, Any]]:
        """All rules of the listener; none if it is gone."""
        with explained("elasticloadbalancing:DescribeRules", self._listener):
            try:
                for page in self._client.get_paginator("describe_rules").paginate(ListenerArn=self._listener):
                    yield from cast("Sequence[Mapping[str, Any]]", page["Rules"])
            except ClientError as error:
                if code(error) != "ListenerNotFound":
                    raise


def _is_of(rule: Mapping[str, Any], value: str) -> bool:
    return any(
        condition["Field"] == "http-header"
        and condition["HttpHeaderConfig"]["HttpHeaderName"].lower() == PREVIEW_HEADER.lower()
        and value in condition["HttpHeaderConfig"]["Values"]
        for condition in rule["Conditions"]
    )


def _listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
