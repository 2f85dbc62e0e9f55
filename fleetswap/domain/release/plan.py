"""Which releases to declare: the wanted one, the live one, those that stay warm, and retained older images.

The decision is a pure function of the ledger, the wanted release, the retention and the time. It never looks at the
fleet: AWS itself protects a release that the listener still uses, by refusing to delete a target group in use.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from fleetswap.domain.release.ledger import Entry, Ledger


@dataclass(frozen=True)
class Retention:
    """What is kept of older releases.

    `warm` earlier releases keep group, target group and rule; the standby is the first of them. Of the others the
    newest `images` stay, and those made less than `min_age` seconds ago, without machines. Their AMI is deprecated
    `deprecate_after` seconds after a deploy has made them one of these; None: never.
    """

    images: int
    warm: int = 1
    min_age: float = 0.0
    deprecate_after: float | None = None


@dataclass(frozen=True)
class Plan:
    """What an update declares and the ledger that it leaves if it succeeds."""

    wanted: Entry
    standby: Entry | None
    kept: tuple[Entry, ...]
    ledger: Ledger
    warm: tuple[Entry, ...] = ()

    @property
    def running(self) -> tuple[Entry, ...]:
        """The releases that have, or may at once have, machines: the wanted one first."""
        return (self.wanted, *(() if self.standby is None else (self.standby,)), *self.warm)


def plan(ledger: Ledger, wanted: Entry, *, retention: Retention, max_size: int, now: datetime) -> Plan:
    """Decide what an update declares.

    `wanted` is taken from the ledger if it is there, so that a release that exists is declared just as it was. What
    was live becomes the standby; if the wanted release is live already, the standby stays. The rest is kept as
    `retention` says, and what is left over not declared, which deletes it once the rollout is over.
    Who goes back from a newer release to an older one has a reason: the newer one is marked as left.
    Every release may grow to `max_size`, and none has its maximum taken back.
    Planning again from the ledger that a plan leaves changes nothing, but that what has grown old goes.
    """
    entries = tuple(
        replace(entry, max_size=max(entry.max_size, max_size), left=_is_left(ledger, entry, wanted.release))
        for entry in ledger.entries
    )
    known = {entry.release: entry for entry in entries}
    wanted = known.get(wanted.release, replace(wanted, made=written(now)))
    standby_id = ledger.standby if ledger.live == wanted.release else ledger.live

    newest_first = entries if wanted.release in known else (wanted, *entries)
    running = {wanted.release, standby_id}
    rest = [entry.release for entry in newest_first if entry.release not in running]
    warm, idle = rest[: retention.warm - 1], rest[retention.warm - 1 :]
    kept = [
        name for number, name in enumerate(idle) if number < retention.images or _is_young(known[name], retention, now)
    ]
    # Only a deploy begins a deprecation: an update that moves no traffic changes nothing.
    begun = deprecation(now, retention.deprecate_after) if ledger.live != wanted.release else ""
    dated = {
        entry.release: replace(entry, deprecated=(entry.deprecated or begun) if entry.release in kept else "")
        for entry in newest_first
    }
    stay = {*running, *warm, *kept}
    return Plan(
        wanted=dated[wanted.release],
        standby=dated[standby_id] if standby_id is not None else None,
        kept=tuple(dated[name] for name in kept),
        ledger=replace(
            ledger,
            live=wanted.release,
            standby=standby_id,
            entries=tuple(entry for entry in dated.values() if entry.release in stay),
        ),
        warm=tuple(dated[name] for name in warm),
    )


def written(when: datetime) -> str:
    """A time as a ledger has it, and as EC2 tells a deprecation time, to the whole second."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def deprecation(now: datetime, after: float | None) -> str:
    """When an AMI is deprecated that a deploy of `now` takes out of use; empty: never.

    In whole minutes: EC2 rounds to the nearest one (EnableImageDeprecation, DeprecateAt).
    """
    if after is None:
        return ""
    return written((now + timedelta(seconds=after + 59)).replace(second=0, microsecond=0))


def age(entry: Entry, now: datetime) -> float | None:
    """Seconds since a release was first planned; None if the program of then did not write that down."""
    return (now - datetime.fromisoformat(entry.made)).total_seconds() if entry.made else None


def is_past(entry: Entry, now: datetime) -> bool:
    """Whether its AMI is deprecated already, or within the minutes until this update asks for it, which EC2 refuses."""
    return bool(entry.deprecated) and datetime.fromisoformat(entry.deprecated) <= now + SOON


SOON = timedelta(minutes=30)
"""As long as an update may take until it comes to an AMI."""


def _is_young(entry: Entry, retention: Retention, now: datetime) -> bool:
    known = age(entry, now)
    return known is not None and known < retention.min_age


def _is_left(ledger: Ledger, entry: Entry, wanted: str) -> bool:
    """Whether a release of the ledger counts as left once `wanted` has the traffic: then `wanted` has proved itself."""
    names = [each.release for each in ledger.entries]  # newest first
    goes_back = ledger.live in names and wanted in names and names.index(wanted) > names.index(ledger.live)
    return entry.release != wanted and (entry.left or (goes_back and entry.release == ledger.live))


def served(read: Ledger, planned: Ledger, serving: str | None, left: str | None) -> Ledger:
    """The ledger to write down: the planned one if its live release has the traffic, else the one that was read.

    An update without the rollout (`--target`, `--exclude`, `refresh --run-program`) changes nothing about who serves.
    `left` is a release that a rollback by hand took the traffic from.
    """
    if serving is None or serving != planned.live:
        return read
    return planned if left is None or left == planned.live else planned.without_trust_in(left)
