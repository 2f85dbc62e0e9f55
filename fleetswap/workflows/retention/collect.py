"""Judges what is in the regions of an account, and deletes what dies: each thing is looked at once more just before.

Of an AMI and its snapshots the AMI goes first, for EC2 refuses to delete a snapshot that an AMI uses. To stop at any
point is harmless: what is left is found again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from fleetswap.domain.errors import CloudError, NotFound
from fleetswap.domain.retention.judge import Verdict, judge
from fleetswap.domain.retention.things import ORDER, Kind, Stack, Survey, Thing


class Region(Protocol):
    """A region of the account."""

    @property
    def name(self) -> str:
        """The region's name."""

    def survey(self) -> Survey:
        """What is there. Raises `CloudError` if the region cannot be read."""

    def holders(self, thing: Thing, dying: frozenset[str]) -> tuple[str, ...]:
        """Who refers to a thing now, but for those with the IDs `dying`, and what has changed about it, in words.

        `NotFound` if it is gone, another `CloudError` if any of that cannot be read.
        """

    def delete(self, thing: Thing, *, snapshots: bool) -> Sequence[tuple[str, str]]:
        """Delete a thing; of an AMI with `snapshots` its snapshots too. Repeating it finds nothing.

        Returns IDs of the snapshots that are gone with it, or are not, each with "" or the reason. Raises `CloudError`.
        """


@dataclass(frozen=True)
class Done:
    """What became of a thing that was to die: `deleted`, or why not. `failed`: because of an error."""

    thing: Thing
    deleted: bool
    why: str = ""
    failed: bool = False


def look(
    regions: Iterable[Region],
    stacks: Callable[[Mapping[str, tuple[str, ...]]], Mapping[str, Stack]],
    now: datetime,
    min_age: float,
    unreached: Sequence[str] = (),
) -> tuple[list[Verdict], list[str]]:
    """The verdicts on all things, and what could not be read. A region that cannot be read has none.

    `unreached` are further regions that could not even be asked: a stack that seems to be gone may run there.
    `stacks` gives what is known of the stacks, of which it gets the names, each with what runs of it. Of what would die
    everything is asked that says otherwise.
    """
    surveys, problems, at = [], [], {each.name: each for each in regions}
    hidden = list(unreached)
    for region in at.values():
        try:
            surveys.append(region.survey())
        except CloudError as error:
            problems.append(f"{region.name}: {error}")
            hidden.append(region.name)
    problems += [f"{survey.region}: {problem}" for survey in surveys for problem in survey.problems]
    running: dict[str, tuple[str, ...]] = {}
    for survey in surveys:
        running |= {each.stack: () for each in survey.things if each.stack and each.stack not in running}
        for name, what in survey.running.items():
            running[name] = (*running.get(name, ()), *what)
    # After the surveys: what an update has made in between is then in a ledger, or not among the things.
    known = {name: replace(each, hidden=tuple(hidden)) for name, each in stacks(running).items()}
    things = [thing for survey in surveys for thing in survey.things]
    first = judge(things, known, now, min_age)
    dying = frozenset(each.thing.id for each in first if each.dies)
    return judge([_asked(each, at, dying) for each in first], known, now, min_age), problems


def _asked(verdict: Verdict, at: Mapping[str, Region], dying: frozenset[str]) -> Thing:
    """The thing with whatever else refers to it, if it would die."""
    thing = verdict.thing
    if not verdict.dies:
        return thing
    try:
        return replace(thing, holders=(*thing.holders, *at[thing.region].holders(thing, dying)))
    except CloudError as error:
        return replace(thing, doubts=(*thing.doubts, str(error)))


def collect(regions: Iterable[Region], doomed: Sequence[Thing], tell: Callable[[Done], None]) -> list[Done]:
    """Delete these things, in a safe order, and tell of each. One that fails does not stop the others."""
    at = {each.name: each for each in regions}
    left = {(each.region, each.id) for each in doomed}
    results: list[Done] = []

    def done(result: Done) -> None:
        results.append(result)
        left.discard((result.thing.region, result.thing.id)) if result.deleted else None
        tell(result)

    by_id = {(each.region, each.id): each for each in doomed}
    settled: set[tuple[str, str]] = set()
    for thing in sorted(doomed, key=lambda each: ORDER[each.kind]):
        if (thing.region, thing.id) in settled:
            continue
        region = at[thing.region]
        # What dies and is still there refers to nothing that may go: it was to go first.
        gone = frozenset(id_ for where, id_ in by_id if where == thing.region and (where, id_) not in left)
        try:
            if kept := region.holders(thing, gone):
                done(Done(thing, deleted=False, why=", ".join(kept)))
                continue
            snapshots = [by_id[thing.region, each] for each in thing.uses if (thing.region, each) in by_id]
            whole = (
                thing.kind is Kind.IMAGE
                and len(snapshots) == len(thing.uses)
                and _free(region, snapshots, gone | {thing.id})
            )
            told = dict(region.delete(thing, snapshots=whole))
        except NotFound:
            done(Done(thing, deleted=True, why="it was gone already"))
            continue
        except CloudError as error:
            done(Done(thing, deleted=False, why=str(error), failed=True))
            continue
        done(Done(thing, deleted=True))
        for each in snapshots:
            if each.id in told and not told[each.id]:
                settled.add((each.region, each.id))
                done(Done(each, deleted=True))
    return results


def _free(region: Region, snapshots: Sequence[Thing], gone: frozenset[str]) -> bool:
    """Whether nothing but what goes refers to any of these."""
    return not any(region.holders(each, gone) for each in snapshots)
