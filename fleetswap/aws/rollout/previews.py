"""The preview rules of releases (ELBv2): found by their header, created if missing, deleted wherever they are.

AWS gives a rule no name of our choice, so a lost response, or a deployer that dies, leaves a rule that no state knows.
It is found again by its header, whose value begins with the release's ID and ends with a random token: the rule itself
is where the token is kept. This module never touches the rule with the weights, or rules of others.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from fleetswap.aws.errors import code, explained
from fleetswap.aws.rollout.balancer import weights_of
from fleetswap.aws.rollout.listener_rules import AnyRule, conditions_of, is_of, move, plain, rules_of, tags_of
from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.rollout.rule import (
    OWN,
    PREVIEW_HEADER,
    Rules,
    is_current,
    is_former,
    preview_priority,
    preview_value,
)

if TYPE_CHECKING:
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client

TRIES = 10
PAUSE_SECONDS = 1.0
"""How often a rule is looked for whose priority is taken, and the pause between two looks: a rule that was just made
may not be seen for seconds (eventual consistency), and another may take the same number at the same time."""

TOKEN_BYTES = 16
"""Of randomness, as hexadecimal digits: nobody guesses 128 bits."""


REFUSED: Any = [
    {
        "Type": "fixed-response",
        "FixedResponseConfig": {
            "StatusCode": "403",
            "ContentType": "text/plain",
            "MessageBody": "not from one of front.preview_sources\n",
        },
    }
]
"""The answer to a preview header from elsewhere."""


class Previews:
    """The preview rules of one stack's service on a listener. Safe to share between threads, as the client is."""

    def __init__(
        self,
        client: ElasticLoadBalancingv2Client,
        listener: str,
        *,
        tags: Mapping[str, str],
        rules: Rules = OWN,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`listener` is an ARN. Of `tags`, those of service and stack tell whose rules are meant."""
        self._client = client
        self._listener = listener
        self._tags = tags
        self._rules = rules
        self._sleep = sleep

    def ensure(self, release: str, target_group: str, tags: Mapping[str, str]) -> tuple[str, str]:
        """ARN and header value of the release's rule, which is made or put right if need be.

        Repeating it changes nothing: a value that was made once stays. One of an older version is replaced. Raises
        `TryAgain` or `CloudError`.
        """
        for _ in range(TRIES):
            rules = rules_of(self._client, self._listener)
            found = self._main(rules, release, target_group)
            if found is not None:
                arn, value = str(found["RuleArn"]), self._put_right(found, release, target_group, rules)
                self.tag(arn, tags)
                break
            value = preview_value(release, secrets.token_hex(TOKEN_BYTES))
            made = self._create(
                conditions_of(self._rules, value), _forward(target_group), tags, self._free(release, rules)
            )
            if made is not None:
                arn = made
                break
            self._sleep(PAUSE_SECONDS)
        else:
            raise TryAgain(f"a preview rule of {release} exists on {self._listener}, but does not show yet")
        if self._rules.preview_sources:
            self._refuse_others(release, arn, value, target_group, tags)
        else:
            for rule in self._refusing(rules, release, target_group):  # of other settings
                self._delete(str(rule["RuleArn"]))
        return arn, value

    def _refuse_others(self, release: str, arn: str, value: str, target_group: str, tags: Mapping[str, str]) -> None:
        """With `preview_sources`, make the rule behind the preview rule that refuses the header from elsewhere.

        Without it such a request goes on to the rule with the weights: the live release would answer a probe from a
        deployer that is not among the sources, and a candidate that nobody has asked would pass.
        """
        conditions = conditions_of(replace(self._rules, preview_sources=()), value)
        for _ in range(TRIES):
            rules = rules_of(self._client, self._listener)
            main = next((rule for rule in rules if rule["RuleArn"] == arn), None)
            for rule in self._refusing(rules, release, target_group):
                behind = main is not None and int(rule["Priority"]) > int(main["Priority"])
                if behind and plain(rule["Conditions"]) == plain(conditions):
                    self.tag(str(rule["RuleArn"]), tags)
                    return
                self._delete(str(rule["RuleArn"]))  # of other settings; it has no traffic
            if main is not None:
                taken = {rule["Priority"] for rule in rules}
                last, now = self._rules.previews[1], int(main["Priority"])
                priority = next((each for each in range(last, now, -1) if str(each) not in taken), None)
                if priority is None:  # the last ones are taken: one before the preview rule is not
                    move(self._client, arn, self._free(release, rules))
                elif self._create(conditions, REFUSED, tags, priority) is not None:
                    return
            self._sleep(PAUSE_SECONDS)
        raise TryAgain(f"the preview rule of {release} exists on {self._listener}, but does not show yet")

    def _refusing(self, rules: Sequence[AnyRule], release: str, target_group: str) -> list[AnyRule]:
        """The release's rules that forward nowhere."""
        return [rule for rule in self._of(rules, release, target_group) if not weights_of(rule["Actions"])]

    def _main(self, rules: Sequence[AnyRule], release: str, target_group: str | None) -> AnyRule | None:
        """The release's rule that forwards to it."""
        return next((rule for rule in self._of(rules, release, target_group) if weights_of(rule["Actions"])), None)

    def tag(self, arn: str, tags: Mapping[str, str], remove: Sequence[str] = ()) -> None:
        """Write tags of a rule, and remove others. Repeating it changes nothing."""
        with explained("elasticloadbalancing:AddTags", arn):
            self._client.add_tags(ResourceArns=[arn], Tags=cast("Any", _listed(tags)))
        if remove:
            with explained("elasticloadbalancing:RemoveTags", arn):
                self._client.remove_tags(ResourceArns=[arn], TagKeys=list(remove))

    def value(self, release: str, target_group: str | None = None) -> str | None:
        """The header value that reaches the release, also one of an older version; None if it has no rule.

        Raises `TryAgain` or `CloudError`.
        """
        found = self._main(rules_of(self._client, self._listener), release, target_group)
        return None if found is None else self._value(found, release)

    def remove(self, release: str, target_group: str | None = None) -> None:
        """Delete every rule of the release, also one that no state knows. Repeating it changes nothing.

        Raises `TryAgain` or `CloudError`.
        """
        for rule in self._of(rules_of(self._client, self._listener), release, target_group):
            self._delete(str(rule["RuleArn"]))

    def _delete(self, arn: str) -> None:
        with explained("elasticloadbalancing:DeleteRule", arn):
            try:
                self._client.delete_rule(RuleArn=arn)
            except ClientError as error:
                if code(error) != "RuleNotFound":  # gone already is what was wanted
                    raise

    def _of(self, rules: Sequence[AnyRule], release: str, target_group: str | None) -> Iterator[AnyRule]:
        """The release's rules. Another stack may have a release of the same ID: on its own target group."""
        for rule in rules:
            if self._value(rule, release) is None:
                continue
            forwards = target_group is not None and [arn for arn, _ in weights_of(rule["Actions"])] == [target_group]
            if forwards or is_of(tags_of(self._client, [rule["RuleArn"]]).get(rule["RuleArn"], {}), self._tags):
                yield rule

    def _value(self, rule: AnyRule, release: str) -> str | None:
        """The header value of a rule, if it is one that reaches the release."""
        for condition in rule.get("Conditions", ()):
            header = condition.get("HttpHeaderConfig", {})
            if header.get("HttpHeaderName", "").lower() == PREVIEW_HEADER.lower():
                for value in header["Values"]:
                    if is_current(value, release) or is_former(value, release, self._listener):
                        return str(value)
        return None

    def _put_right(self, rule: AnyRule, release: str, target_group: str, rules: Sequence[AnyRule]) -> str:
        """The value of a rule, once it has the right conditions, target group and priority."""
        arn, value = rule["RuleArn"], self._value(rule, release)
        if value is None or not is_current(value, release):
            value = preview_value(release, secrets.token_hex(TOKEN_BYTES))
        conditions = conditions_of(self._rules, value)
        forwards = [arn for arn, _ in weights_of(rule["Actions"])] == [target_group]
        if not forwards or plain(rule["Conditions"]) != plain(conditions):
            with explained("elasticloadbalancing:ModifyRule", arn):
                self._client.modify_rule(RuleArn=arn, Conditions=conditions, Actions=_forward(target_group))
        first, last = self._rules.previews
        if not first <= int(rule["Priority"]) <= last:
            move(self._client, arn, self._free(release, rules))
        return value

    def _free(self, release: str, rules: Sequence[AnyRule]) -> int:
        priority = preview_priority(release, {rule["Priority"] for rule in rules}, self._rules.previews)
        if priority is None:
            first, last = self._rules.previews
            raise CloudError(
                f"all priorities from {first} to {last} of {self._listener} are taken, so {release} can have no preview"
                " rule: choose a wider range with fleetswap:front.priorities"
            )
        return priority

    def _create(self, conditions: Any, actions: Any, tags: Mapping[str, str], priority: int) -> str | None:  # noqa: ANN401 - parts of a request
        """The ARN of a new rule; None if the priority is in use, perhaps by a rule whose answer was lost."""
        with explained("elasticloadbalancing:CreateRule", self._listener):
            try:
                made = self._client.create_rule(
                    ListenerArn=self._listener,
                    Priority=priority,
                    Conditions=conditions,
                    Actions=actions,
                    Tags=cast("Any", _listed(tags)),
                )
            except ClientError as error:
                if code(error) == "PriorityInUse":
                    return None
                raise
        return str(made["Rules"][0]["RuleArn"])


def _forward(target_group: str) -> list[Any]:
    return [{"Type": "forward", "TargetGroupArn": target_group}]


def _listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
