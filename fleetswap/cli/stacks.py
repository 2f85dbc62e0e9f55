"""What Pulumi's backend knows of the stacks that have things in an account: their ledgers, and the IDs in states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fleetswap.cli.engine import Engine
from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.release.ledger import from_plain
from fleetswap.domain.retention.things import Stack

ROOT_TYPE = "pulumi:pulumi:Stack"
"""Of the resource that has a stack's outputs."""

ROLLOUT = "pulumi-python:dynamic/fleetswap:Rollout"
"""Of a region's rollout."""


class Backend:
    """The stacks of the backend that `pulumi` is logged in to. It reads each once; make another to read again."""

    def __init__(self, engine: Engine, project: str, gone: frozenset[str] = frozenset()) -> None:
        """`project` is the one we are in, `gone` the stacks (PROJECT/STACK) of which the user says so."""
        self._engine = engine
        self._project = project
        self._gone = gone

    def known(self, running: Mapping[str, tuple[str, ...]]) -> dict[str, Stack]:
        """What is known of all stacks of the backend, and of those that only AWS knows: the keys of `running`.

        All are read, also those of other projects: an image may be another stack's. Raises `InputError` if one is said
        to be gone that the backend has.
        """
        try:
            listed: dict[str, list[Mapping[str, Any]]] = {}
            for each in self._engine.stacks():
                listed.setdefault(self._tag(str(each["name"])), []).append(each)
        except (FleetswapError, KeyError, TypeError) as error:
            unread = f"the stacks of the backend cannot be listed ({error})"
            return {name: Stack(name, unread=unread) for name in running}
        if there := sorted(self._gone & listed.keys()):
            raise InputError(f"stack {there[0]} is not gone: the backend has it (use `pulumi destroy`)")
        # Two organizations may have stacks of one project and name, which tags do not tell apart.
        stacks = {tag: _both(tag, [self._read(tag, each) for each in same]) for tag, same in listed.items()}
        gone = {name: Stack(name, gone=True, named=name in self._gone, running=what) for name, what in running.items()}
        return {**gone, **stacks}

    def _tag(self, name: str) -> str:
        """A stack as in tags. Pulumi leaves out the project we are in, and an organization need not be told."""
        parts = name.split("/")
        return f"{parts[1] if len(parts) > 2 else self._project}/{parts[-1]}"

    def _read(self, tag: str, listed: Mapping[str, Any]) -> Stack:
        try:
            return stack_of(tag, self._engine.state(str(listed["name"])), busy=bool(listed.get("updateInProgress")))
        except FleetswapError as error:
            return Stack(tag, unread=str(error))


def _both(tag: str, same: Sequence[Stack]) -> Stack:
    """What is known of all stacks of a tag together."""
    return Stack(
        tag,
        tuple(ledger for each in same for ledger in each.ledgers),
        frozenset().union(*(each.state for each in same)),
        next((each.unread for each in same if each.unread), ""),
        busy=any(each.busy for each in same),
    )


def stack_of(tag: str, exported: Mapping[str, Any], *, busy: bool = False) -> Stack:
    """A stack by its exported state (`pulumi stack export`). Raises `InputError` for a ledger that cannot be read."""
    deployment = exported.get("deployment") or {}
    try:
        resources = list(deployment.get("resources") or ())
        pending = deployment.get("pending_operations") or ()
        ids = frozenset(str(each["id"]) for each in resources if each.get("id"))
        outputs = next((each.get("outputs") or {} for each in resources if each.get("type") == ROOT_TYPE), {})
        # Later than that of the outputs, if the update failed in another region.
        reached = ((each.get("outputs") or {}).get("ledger") for each in resources if each.get("type") == ROLLOUT)
        ledgers = tuple(from_plain(each) for each in (*_ledgers(outputs), *reached) if each is not None)
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"the state of stack {tag} cannot be read ({error!r})") from error
    return Stack(tag, ledgers, ids, busy=busy or bool(pending))


def _ledgers(outputs: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The ledger of the home region and, if there are more, of each."""
    if outputs.get("ledger") is not None:
        yield outputs["ledger"]
    for each in (outputs.get("regions") or {}).values():
        if each.get("ledger") is not None:
            yield each["ledger"]
