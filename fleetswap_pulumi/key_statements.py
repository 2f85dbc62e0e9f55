"""Statements of a KMS key's policy as a resource: added when it is created, removed when it is deleted.

KMS keeps one policy for a key, and Pulumi replaces a resource's property as soon as its input changes: before a
rollout. But what a release may do has to be there before its machines boot, and to go once nothing needs it, after the
rollout: that is when the engine creates and deletes resources. A failed rollout deletes nothing, so the releases that
the ledger names can still open their secrets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi.dynamic import (
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)
from pulumi.output import Unknown

from fleetswap.aws.key_policies import KeyPolicy
from fleetswap.domain.errors import InputError, NotFound
from fleetswap.domain.secrets import own_statements
from fleetswap.domain.secrets.own_statements import Statement
from fleetswap.workflows.key_policy import change, remove
from fleetswap_pulumi.checks import check_failures
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.reach import ReachInputs, is_reached_otherwise

SCHEMA = 1
"""Version of the inputs. A newer program must keep reading the states that older ones wrote."""


class Inputs(ReachInputs):
    """The resource's inputs. `key` is the key's ARN; a replica's is of another region."""

    schema_version: int
    key: str
    statements: list[dict[str, Any]]

    def policy(self) -> KeyPolicy:
        """The client for the key's policy, created for each operation."""
        return KeyPolicy(self.admitted(self.key).kms(self.key.split(":")[3]), self.key)

    @property
    def sids(self) -> list[str]:
        """The names of the statements."""
        return own_statements.sids(self.statements)


class KeyStatementsProvider(ResourceProvider):
    """Adds, changes and removes its own statements, and leaves all others as they are. Every repeat is harmless."""

    serialize_as_secret_always = False

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse inputs that this version cannot read."""
        return CheckResult(news, check_failures(Inputs, news))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Another key is another resource, once the first is gone. Statements change in place.

        What a preview does not know yet may change. Raises `InputError` for a key that the state has lost.
        """
        another = olds.get("key") != news.get("key")
        if another:
            _refuse_another_key(Inputs.of(olds))
        if any(isinstance(news.get(key), Unknown) for key in ("key", "statements")):
            return DiffResult(changes=True, replaces=[], delete_before_replace=False)
        replaces = ["key"] if another else []
        changed = not own_statements.same(olds.get("statements") or [], news.get("statements") or [])
        changes = bool(replaces) or changed or is_reached_otherwise(olds, news)
        return DiffResult(changes=changes, replaces=replaces, delete_before_replace=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Add the statements, or find them there."""
        inputs = Inputs.of(props)
        change(inputs.policy(), inputs.sids, inputs.statements, inputs.key)
        return CreateResult(f"{inputs.key}/{'+'.join(inputs.sids)}", props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """What the policy has of them. None of them, or no key: there is no such resource."""
        inputs = Inputs.of(props)
        try:
            found = own_statements.of(inputs.policy().read(), inputs.sids)
        except NotFound:
            found = []
        return ReadResult(id_ if found else "", {**props, "statements": [dict(each) for each in found]})

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Write the statements in place of those that were its own."""
        before, inputs = Inputs.of(olds), Inputs.of(news)
        change(inputs.policy(), before.sids, inputs.statements, inputs.key)
        return UpdateResult(news)

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        """Remove the statements, or find them gone."""
        inputs = Inputs.of(props)
        remove(inputs.policy(), inputs.sids, inputs.key)


def _refuse_another_key(inputs: Inputs) -> None:
    """Raise `InputError` while the key that had the statements is there: it was lost, and not replaced.

    The AWS provider takes a key that waits for its deletion for deleted, so a refresh drops it from the state. Whoever
    has restored it then would get another one, and the live release lose its permission on the one that it needs.
    """
    try:
        inputs.policy().read()
    except NotFound:
        return
    raise InputError(
        f"the stack's key {inputs.key} is no longer in Pulumi's state, and another one would open nothing that is"
        " sealed: restore it if it waits for its deletion, then import it (docs/how-to/kms-keys.md)"
    )


class KeyStatements(Resource, module="fleetswap", name="KeyStatements"):
    """Statements of a key's policy."""

    def __init__(
        self,
        name: str,
        context: Context,
        key: pulumi.Input[str],
        statements: pulumi.Input[Sequence[Statement]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "schema_version": SCHEMA,
            "region": context.region,
            "endpoint": context.endpoint,
            "access": context.reach,
            "key": key,
            "statements": statements,
        }
        super().__init__(KeyStatementsProvider(), name, inputs, opts)
