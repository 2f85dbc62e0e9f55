"""The preview rule of a release, through which it is reached, and its health checked, before it has any traffic.

There are two dynamic providers. `PreviewRule` finds the release's rule or creates it, so a lost response does no harm.
`PreviewGuard` creates nothing. It stands between the rule and its target group, and when the release is deleted it
deletes all of the release's rules, even one that the state does not know because the deployer died while AWS created
it. Without it, such a release could never be deleted, because AWS refuses to delete a target group that a rule uses.
See `fleetswap.aws.rollout.previews`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

from fleetswap.aws.rollout.previews import Previews
from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.rollout.rule import OWN, Rules
from fleetswap_pulumi.checks import check_failures
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.reach import ReachInputs, differences
from fleetswap_pulumi.rule_inputs import RuleInputs, rule_inputs, rules_of

SCHEMA = 1
"""Version of the inputs. A newer program must keep reading the states that older ones wrote."""

REPLACING = ("release", "listener", "region")
"""Another value of these is another rule."""


SECRET_SCHEMA = 2
"""Of a preview rule whose header value is secret: the rule of an older version is updated because of this number."""

VALUE = "value"
"""The output with the header's value. It is no input: it is made when the rule is, and the rule keeps it."""


class Inputs(ReachInputs):
    """The inputs of both resources."""

    schema_version: int
    release: str
    listener: str
    target_group: str
    tags: dict[str, str]
    rules: RuleInputs | None = None

    def previews(self) -> Previews:
        """The client for the listener's preview rules, created for each operation."""
        elbv2 = self.admitted(self.listener).elbv2()
        return Previews(elbv2, self.listener, tags=self.tags, rules=rules_of(self.rules))


class PreviewGuardProvider(ResourceProvider):
    """Deletes a release's preview rules, and does nothing else. Repeating `delete` finds nothing to delete."""

    serialize_as_secret_always = False

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse inputs that this version cannot read."""
        return CheckResult(news, check_failures(Inputs, news))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Another release, or another listener, needs another guard."""
        changed, replaces = differences(Inputs, REPLACING, _olds, _news)
        return DiffResult(changes=changed, replaces=replaces, delete_before_replace=True)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Only record whose rules these will be."""
        return CreateResult(f"{props['release']}-preview", props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """There is nothing to read."""
        return ReadResult(id_, props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Only record."""
        return UpdateResult(_news)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Delete every preview rule of the release."""
        inputs = Inputs.of(_props)
        inputs.previews().remove(inputs.release, inputs.target_group)


class PreviewRuleProvider(PreviewGuardProvider):
    """Finds, creates, corrects and deletes one rule. Repeating `create` finds the existing rule."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Find the rule, or create it."""
        arn, value = _ensure(props)
        return CreateResult(arn, {**props, VALUE: value})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """A rule that was deleted has no ID. The value is what the rule has now, unless no state knows one yet."""
        inputs = Inputs.of(props)
        value = inputs.previews().value(inputs.release, inputs.target_group)
        if value is None:
            return ReadResult("", props)
        return ReadResult(id_, {**props, VALUE: value} if props.get(VALUE) else props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Correct the rule and its tags."""
        arn, value = _ensure(_news)
        gone = sorted(set(_olds.get("tags", {})) - set(_news["tags"]))
        if gone:
            inputs = Inputs.of(_news)
            inputs.previews().tag(arn, inputs.tags, gone)
        return UpdateResult({**_news, VALUE: value})


def _ensure(props: dict[str, Any]) -> tuple[str, str]:
    inputs = Inputs.of(props)
    try:
        return inputs.previews().ensure(inputs.release, inputs.target_group, inputs.tags)
    except TryAgain as error:
        raise CloudError(f"{error}: run the update again, which finds the preview rule if AWS created it") from error


class PreviewGuard(Resource, module="fleetswap", name="PreviewGuard"):
    """Deletes the preview rules of a release before its target group is deleted."""

    def __init__(self, name: str, inputs: dict[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(PreviewGuardProvider(), name, dict(inputs), opts)


class PreviewRule(Resource, module="fleetswap", name="PreviewRule"):
    """The preview rule of a release, with its guard. `value` is the secret value of its header."""

    value: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        context: Context,
        *,
        listener: pulumi.Output[str],
        target_group: pulumi.Output[str],
        tags: Mapping[str, str],
        rules: Rules = OWN,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "schema_version": SCHEMA,
            "release": name,
            "listener": listener,
            "target_group": target_group,
            "region": context.region,
            "endpoint": context.endpoint,
            "access": context.reach,
            "tags": dict(tags),
            "rules": rule_inputs(rules),
        }
        # Where they are replaced (`--replace`), the old ones go first: they delete all rules of the release, also one
        # that the new ones have just found. No rule here has traffic.
        first = pulumi.ResourceOptions(delete_before_replace=True)
        guard = PreviewGuard(name, inputs, pulumi.ResourceOptions.merge(opts, first))
        after = pulumi.ResourceOptions(
            delete_before_replace=True,
            depends_on=[guard],
            replace_with=[guard],
            additional_secret_outputs=[VALUE],
        )
        super().__init__(
            PreviewRuleProvider(),
            name,
            {**inputs, "schema_version": SECRET_SCHEMA, VALUE: None},
            pulumi.ResourceOptions.merge(opts, after),
        )
