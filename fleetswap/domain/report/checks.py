"""What the checks found: the error and slowness rates of both releases over time, the evidence, and metrics.

The rates are the counts that the rollout itself judged by. The evidence is not in a record's findings: the replay of
the rollout has the counts of each period, from which `rates` computes it again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fleetswap.domain.report import words
from fleetswap.domain.report.model import Line, Plot, Role, Sample, Section, Table
from fleetswap.domain.report.thin import thin
from fleetswap.domain.rollout import wording
from fleetswap.domain.rollout.findings import Finding
from fleetswap.domain.rollout.policy import Check, Policy
from fleetswap.domain.rollout.rates import Above, Bad, Counts, Limit, Strength, strengths
from fleetswap.domain.rollout.record import Entry, Judged
from fleetswap.domain.rollout.replay import Moment

TITLES = {Bad.ERRORS: "Failed requests (5xx)", Bad.SLOW: "Slow responses"}

BAD = {Bad.ERRORS: "failed requests", Bad.SLOW: "slow responses"}

AGAINST = {
    Above.LIVE: "against live's rate",
    Above.FORMER: "against live's former rate",
    Above.CEILING: "against the ceiling",
}

ROLES = {Above.LIVE: Role.CANDIDATE, Above.FORMER: Role.OTHER, Above.CEILING: Role.PREVIOUS}

ENOUGH = 100.0
"""Percent of the evidence at which a test aborts."""

LISTED = 60
"""Rows about metrics; the first and the last ones."""

NO_EVIDENCE = "How strong the evidence was at each time is not known, because the readings cannot be replayed: "


@dataclass(frozen=True)
class Course:
    """What a rollout read and did, from the replay of its record; without moments, `why` there is no replay."""

    moments: tuple[tuple[float, Moment], ...] = ()
    """Each with the time on the rollout's clock."""
    why: str = ""


def rates(entries: Sequence[Entry], kind: Bad, policy: Policy | None, course: Course) -> Section | None:
    """The section about one kind of bad requests; None if nothing was counted and nothing was to be."""
    limit = (
        None if policy is None else policy.errors if kind is Bad.ERRORS else policy.slowness if policy.slow else None
    )
    found = [*_found(entries, Check.ERRORS if kind is Bad.ERRORS else Check.SLOWNESS)]
    if not found:
        said = ("No requests were judged before the rollout ended.",) if limit is not None else ()
        return Section(kind.value, TITLES[kind], said) if said else None
    sentences = [f"At the last reading, {wording.reasons([found[-1][1]])}."]
    if limit is not None and policy is not None:
        sentences.append(_allowed(limit, policy, kind))
    plots = [_rates(kind, found)]
    if limit is not None and (weighed := _weighed(course, kind, limit)):
        plots.append(_evidence(kind, weighed))
    elif course.why:
        sentences.append(f"{NO_EVIDENCE}{course.why}.")
    return Section(kind.value, TITLES[kind], tuple(map(words.text, sentences)), tuple(plots))


def metrics(entries: Sequence[Entry]) -> Section | None:
    """The section about metric checks: what each found first, when that changed, and last; None without any."""
    rows, last = list[tuple[float, Finding]](), dict[str, tuple[float, Finding]]()
    for at, finding in _found(entries, Check.METRICS):
        before = last.get(finding.subject)
        if before is None or (before[1].code, before[1].verdict) != (finding.code, finding.verdict):
            rows.append((at, finding))
        last[finding.subject] = at, finding
    if not rows:
        return None
    rows += [each for each in last.values() if each not in rows]
    told = [
        (words.moment(at), finding.verdict.value, words.text(wording.reasons([finding])))
        for at, finding in sorted(rows, key=lambda row: row[0])
    ]
    kept = told if len(told) <= LISTED else [*told[: LISTED // 2], *told[-LISTED // 2 :]]
    table = Table(("time", "verdict", "found"), tuple(kept), len(told) - len(kept))
    return Section("metrics", "Metric checks", table=table)


def _found(entries: Sequence[Entry], check: Check) -> Iterator[tuple[float, Finding]]:
    for entry in entries:
        if isinstance(entry, Judged):
            yield from ((entry.at, finding) for finding in entry.findings if finding.check is check)


def _allowed(limit: Limit, policy: Policy, kind: Bad) -> str:
    slow = f" A response is slow after {policy.slow:g} s." if kind is Bad.SLOW and policy.slow else ""
    ceiling = "" if limit.ceiling is None else f", or a rate above {limit.ceiling:.3%}"
    return (
        f"The rollout aborts when it is certain, but for a chance of {limit.alpha:g}, that the candidate has more than"
        f" {limit.ratio:g} times the rate of live and more than {limit.tolerated:.3%}{ceiling}.{slow}"
    )


def _rates(kind: Bad, found: Sequence[tuple[float, Finding]]) -> Plot:
    samples = [
        Sample(at, (_percent(finding.candidate), _percent(finding.live)), (_of(finding.candidate), _of(finding.live)))
        for at, finding in found
    ]
    changed = [samples[0], *(now for before, now in pairwise(samples) if _differs(before, now))]
    last = changed[-1]
    return Plot(
        f"{kind.value}-rates",
        f"Rate of {BAD[kind]}",
        "The part of all requests since the candidate's first one that were bad."
        f" At the end: candidate {last.cells[0]}, live {last.cells[1]}.",
        "% of the requests",
        (Line("candidate", Role.CANDIDATE), Line("live", Role.PREVIOUS)),
        thin(changed),
        len(changed),
        columns=("candidate", "live"),
    )


def _differs(before: Sample, now: Sample) -> bool:
    return (before.values, before.cells) != (now.values, now.cells)


def _percent(counts: Counts | None) -> float | None:
    known = counts is not None and 0 <= counts.bad <= counts.requests and counts.requests > 0
    return 100 * counts.bad / counts.requests if known and counts is not None else None


def _of(counts: Counts | None) -> str:
    return "none" if counts is None else words.text(f"{counts.bad:,} of {counts.requests:,}")


def _weighed(course: Course, kind: Bad, limit: Limit) -> list[tuple[float, tuple[Strength, ...]]]:
    """How strong each test was at each time at which the counts were read."""
    found = list[tuple[float, tuple[Strength, ...]]]()
    for clock, moment in course.moments:
        seen = moment.state.watch.stretches(kind, clock)
        if seen and (not found or (found[-1][1] != strengths(seen, limit))):
            found.append((moment.at, strengths(seen, limit)))
    return found


def _evidence(kind: Bad, weighed: Sequence[tuple[float, tuple[Strength, ...]]]) -> Plot:
    tests = [above for above in Above if any(each.above is above for _, found in weighed for each in found)]
    samples = [Sample(at, tuple(_share(found, above) for above in tests)) for at, found in weighed]
    most = max((value for sample in samples for value in sample.values if value is not None), default=0.0)
    return Plot(
        f"{kind.value}-evidence",
        f"Evidence by {BAD[kind]}",
        f"How much of the evidence for an abort there was: at most {most:.0f} %. At 100 % the rollout aborts.",
        "% of what aborts",
        tuple(Line(AGAINST[above], ROLES[above]) for above in tests),
        thin(samples),
        len(samples),
        limit=ENOUGH,
        limit_name="aborts",
    )


def _share(found: Sequence[Strength], above: Above) -> float | None:
    """In percent of the threshold, both as logarithms. Evidence for the candidate is 0."""
    share = next((each.evidence / each.threshold for each in found if each.above is above), None)
    return None if share is None or not math.isfinite(share) else max(0.0, ENOUGH * share)
