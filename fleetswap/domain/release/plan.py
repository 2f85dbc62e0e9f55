"""Which releases to declare: the wanted one, the live one, and retained older images.

The decision is a pure function of the ledger, the wanted release and the retention. It never looks at the fleet: AWS
itself protects a release that the listener still uses, by refusing to delete a target group in use.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fleetswap.domain.release.ledger import Entry, Ledger


@dataclass(frozen=True)
class Plan:
    """What an update declares and the ledger that it leaves if it succeeds."""

    wanted: Entry
    standby: Entry | None
    kept: tuple[Entry, ...]
    ledger: Ledger

    @property
    def running(self) -> tuple[Entry, ...]:
        """The releases that have machines: the wanted one first."""
        return (self.wanted,) if self.standby is None else (self.wanted, self.standby)


def plan(ledger: Ledger, wanted: Entry, *, kept_images: int, max_size: int) -> Plan:
    """Decide what an update declares.

    `wanted` is taken from the ledger if it is there, so that a release that exists is declared just as it was. What
    was live becomes the standby; if the wanted release is live already, the standby stays. Of the rest, the newest
    `kept_images` are declared without machines and the others not at all, which deletes them once the rollout is over.
    Who goes back from a newer release to an older one has a reason: the newer one is marked as left.
    Every release may grow to `max_size`, and none has its maximum taken back.
    Planning twice from the ledger that a plan leaves changes nothing.
    """
    entries = tuple(
        replace(entry, max_size=max(entry.max_size, max_size), left=_is_left(ledger, entry, wanted.release))
        for entry in ledger.entries
    )
    known = {entry.release: entry for entry in entries}
    wanted = known.get(wanted.release, wanted)
    standby_id = ledger.standby if ledger.live == wanted.release else ledger.live
    standby = known[standby_id] if standby_id is not None else None

    newest_first = entries if wanted.release in known else (wanted, *entries)
    running = {wanted.release, standby_id}
    rest = [entry for entry in newest_first if entry.release not in running]
    kept = tuple(rest[:kept_images])
    stay = running | {entry.release for entry in kept}
    return Plan(
        wanted=wanted,
        standby=standby,
        kept=kept,
        ledger=replace(
            ledger,
            live=wanted.release,
            standby=standby_id,
            entries=tuple(entry for entry in newest_first if entry.release in stay),
        ),
    )


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
