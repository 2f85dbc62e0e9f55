"""The candidate's machines over time, and why some did not become healthy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleetswap.domain.report import words
from fleetswap.domain.report.model import Line, Plot, Role, Sample, Section, Table
from fleetswap.domain.report.thin import thin
from fleetswap.domain.rollout.health import Machines, TargetState
from fleetswap.domain.rollout.policy import Check
from fleetswap.domain.rollout.record import Entry, Judged, MachinesRead
from fleetswap.domain.text import capacity, units

ROWS = 40
"""Machines and launches that are listed."""


def machines(entries: Sequence[Entry]) -> Section:
    """The section about machines: what the gate read, and what the checks did while the candidate had traffic."""
    read = [*_read(entries)]
    if not read:
        return Section("machines", "Machines", ("The record has no reading of the candidate's machines.",))
    last = read[-1][1]
    of = units(weighted=last.weighted)
    healthy = "unknown" if last.healthy is None else f"{last.healthy:,}"
    samples = [Sample(at, tuple(map(_count, (seen.healthy, seen.launched, seen.wanted)))) for at, seen in read]
    plot = Plot(
        "machines",
        "Healthy machines" if not last.weighted else "Healthy capacity",
        f"The candidate's {of} over time: {healthy} healthy at the last reading, of {last.wanted:,} wanted.",
        of,
        (Line("healthy", Role.CANDIDATE), Line("launched", Role.OTHER), Line("wanted", Role.WANTED)),
        thin(samples),
        len(samples),
    )
    said = f"At the last reading {healthy} of {capacity(last.wanted, weighted=last.weighted)} were healthy."
    return Section("machines", "Machines", (said,), (plot,), _trouble(read))


def _read(entries: Sequence[Entry]) -> Iterator[tuple[float, Machines]]:
    for entry in entries:
        if isinstance(entry, MachinesRead):
            yield entry.at, entry.machines
        elif isinstance(entry, Judged):
            yield from (
                (entry.at, finding.machines)
                for finding in entry.findings
                if finding.check is Check.HEALTH and finding.machines is not None
            )


def _count(number: int | None) -> float | None:
    return None if number is None or not 0 <= number < 10**6 else float(number)


def _trouble(read: Sequence[tuple[float, Machines]]) -> Table | None:
    """Each machine that was not healthy and each launch that failed, as it was said last; nothing if all was well.

    A machine that was only starting is not listed, unless it was at the last reading.
    """
    told = dict[tuple[str, str], tuple[float, str]]()
    for at, seen in read:
        for target in seen.waiting:
            if target.state == TargetState.INITIAL and at < read[-1][0]:
                continue
            why = " ".join(each for each in (target.state, target.reason, target.description) if each)
            told[("machine", target.machine)] = (at, why)
        for failure in seen.failures:
            told[("launch", failure.id)] = (at, failure.message)
    if not told:
        return None
    rows = tuple(
        (words.moment(at), f"{kind} {words.text(name)}", words.text(why))
        for (kind, name), (at, why) in sorted(told.items(), key=lambda item: item[1][0])
    )
    return Table(("last read", "what", "why not healthy"), rows[-ROWS:], max(0, len(rows) - ROWS))
