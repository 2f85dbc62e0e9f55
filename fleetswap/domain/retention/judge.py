"""Whether a thing lives or dies, and why.

It lives if anything refers to it, if it may still be needed, or if it is not known whether it is. So whatever is not
decided here lives. Only a thing dies whose stack is known, whose release no ledger has, whose ID no state has, that
nothing in AWS refers to, and that is old enough not to be of an update that runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fleetswap.domain.release.ledger import Ledger
from fleetswap.domain.retention.things import Kind, Stack, Thing

FAILED = "error"
"""The state of a snapshot that can never be used: EBS gives up an upload that has sent nothing for an hour."""


@dataclass(frozen=True)
class Verdict:
    """`dies`, and why or why not. `unsure`: it lives because something is not known, and somebody should look."""

    thing: Thing
    dies: bool
    why: str
    unsure: bool = False


@dataclass(frozen=True)
class _Known:
    """What all stacks together refer to: releases of a stack, images, and IDs; `unread` is one that cannot be read."""

    releases: Mapping[tuple[str, str], str]
    images: Mapping[str, str]
    states: Mapping[str, str]
    unread: str


def judge(things: Sequence[Thing], stacks: Mapping[str, Stack], now: datetime, min_age: float) -> list[Verdict]:
    """The verdicts, in the order of the things. `min_age` is in seconds: nothing younger dies.

    Takes time in proportion to the number of things and references.
    """
    known = _known(stacks.values())
    verdicts = {_key(thing): _alone(thing, stacks, known, now, min_age) for thing in things}
    alive = [each for each in verdicts.values() if not each.dies]
    while alive:
        holder = alive.pop().thing
        for used in holder.uses:
            for kind in (Kind.IMAGE, Kind.SNAPSHOT):
                found = verdicts.get((holder.region, kind, used))
                if found is not None and found.dies:
                    spared = Verdict(found.thing, dies=False, why=f"{holder} uses it")
                    verdicts[holder.region, kind, used] = spared
                    alive.append(spared)
    return [verdicts[_key(thing)] for thing in things]


def _key(thing: Thing) -> tuple[str, Kind, str]:
    return thing.region, thing.kind, thing.id


def _known(stacks: Iterable[Stack]) -> _Known:
    releases: dict[tuple[str, str], str] = {}
    images: dict[str, str] = {}
    states: dict[str, str] = {}
    unread = ""
    for stack in stacks:
        unread = unread or (stack.name if stack.unread else "")
        states.update(dict.fromkeys(stack.state, stack.name))
        for ledger in stack.ledgers:
            for entry in ledger.entries:
                role = _role(ledger, entry.release)
                releases[stack.name, entry.release] = f"{role} {entry.release} of stack {stack.name}"
                images.setdefault(entry.image.identity, f"{role} {entry.release} of stack {stack.name}")
    return _Known(releases, images, states, unread)


def _role(ledger: Ledger, release: str) -> str:
    if release == ledger.live:
        return "live release"
    return "standby" if release == ledger.standby else "retained release"


def _alone(thing: Thing, stacks: Mapping[str, Stack], known: _Known, now: datetime, min_age: float) -> Verdict:
    """The verdict on a thing, whatever others use it."""
    if (why := _held(thing)) is not None:
        return Verdict(thing, dies=False, why=why)
    if thing.doubts:
        return Verdict(thing, dies=False, why="; ".join(thing.doubts), unsure=True)
    if thing.kind is Kind.SCHEDULE:
        return _of_schedule(thing, now, min_age)
    stack, referred = (
        stacks.get(thing.stack, Stack(thing.stack, unread="nothing is known of it")),
        _referred(thing, known),
    )
    if (why := _unread(thing, stack, known)) is not None:
        return Verdict(thing, dies=False, why=referred or why, unsure=True)
    if (why := referred or _new(thing, stack, now, min_age)) is not None:
        return Verdict(thing, dies=False, why=why)
    return _of_gone(thing, stack) if stack.gone else Verdict(thing, dies=True, why=_orphan(thing))


def _unread(thing: Thing, stack: Stack, known: _Known) -> str | None:
    """Which ledger cannot be read that may have it: its stack's or, of an image, that of any stack."""
    if stack.unread:
        return f"the ledger of stack {thing.stack} cannot be read: {stack.unread}"
    if known.unread and thing.kind in (Kind.IMAGE, Kind.SNAPSHOT) and not _failed(thing):
        return f"the ledger of stack {known.unread} cannot be read, and it may have this image"
    return None


def _failed(thing: Thing) -> bool:
    """Whether it is the snapshot of an upload that failed. An AMI in error may be a release's."""
    return thing.kind is Kind.SNAPSHOT and thing.state == FAILED


def _held(thing: Thing) -> str | None:
    """Who in AWS keeps it, or what about it says that it is in use."""
    if thing.kind is Kind.PIN:
        return "the next rollout of its stack undoes it"
    if thing.kind is Kind.ACTION:
        return "it is a part of its group, and goes when it has run"
    if thing.until is not None:
        return f"it is in the Recycle Bin until {thing.until:%Y-%m-%d %H:%M} UTC"
    if thing.holders:
        return ", ".join(thing.holders)
    if thing.kind is Kind.SNAPSHOT and thing.state not in ("completed", FAILED):
        # How old it is says nothing: EBS itself gives up one for which no block comes within an hour.
        return f"it is {thing.state}: an upload may be running"
    return None


def _referred(thing: Thing, known: _Known) -> str | None:
    """The release, the state or the image of a ledger that it belongs to."""
    if (owner := known.releases.get((thing.stack, thing.release))) is not None and not _failed(thing):
        return owner
    if (name := known.states.get(thing.id)) is not None:
        return f"stack {name} has it in its state, and its next update decides"
    if thing.kind in (Kind.IMAGE, Kind.SNAPSHOT) and not _failed(thing) and thing.image in known.images:
        return f"the image of the {known.images[thing.image]}"
    return None


def _new(thing: Thing, stack: Stack, now: datetime, min_age: float) -> str | None:
    """Whether an update that has not yet written down that it has made it may be running."""
    if stack.busy and (thing.made is None or (thing.kind is Kind.SNAPSHOT and not _failed(thing))):
        # The engine writes down that it begins to make something before it does (pending operations of a state). A
        # snapshot may be adopted however old it is.
        return f"stack {stack.name} has pending operations, and this may be of one of them"
    if thing.made is None:
        return None
    if now - thing.made < timedelta(seconds=min_age):
        return "it is so new that an update may be running that needs it"
    return None


def _of_gone(thing: Thing, stack: Stack) -> Verdict:
    if stack.running:
        why = f"stack {stack.name} is not in the backend, but AWS has its {', '.join(stack.running)}"
        return Verdict(thing, dies=False, why=f"{why}: it may be in another backend", unsure=True)
    if stack.hidden:
        why = (
            f"stack {stack.name} is not in the backend, and may run in {', '.join(stack.hidden)}, which cannot be read"
        )
        return Verdict(thing, dies=False, why=why, unsure=True)
    if not stack.named:
        why = f"stack {stack.name} is not in the backend: if it is gone for good, use --gone {stack.name}"
        return Verdict(thing, dies=False, why=why, unsure=True)
    return Verdict(thing, dies=True, why=f"stack {stack.name} is gone")


def _orphan(thing: Thing) -> str:
    if _failed(thing):
        return "an upload that was never completed"
    if thing.release:
        return f"no ledger has release {thing.release}"
    return "no release has its image" if thing.image else f"nothing of stack {thing.stack} refers to it"


def _of_schedule(thing: Thing, now: datetime, min_age: float) -> Verdict:
    """A dead man's switch has no tags. One whose rule is gone can do nothing any more, once its time is over."""
    if thing.made is None:
        return Verdict(thing, dies=False, why="its time cannot be read: someone has changed it", unsure=True)
    if now - thing.made < timedelta(seconds=min_age):
        return Verdict(thing, dies=False, why="a rollout may be running that has armed it")
    return Verdict(thing, dies=True, why="the listener rule that it would restore is gone, and its time is over")
