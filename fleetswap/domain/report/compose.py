"""Makes the report of a rollout of its record: puts the parts in the order in which a reader asks.

Each part is made of what the record has. A record that was cut off, or of an older Fleetswap, gives a page as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fleetswap.domain.report import bars, checks, machines, story, traffic, words
from fleetswap.domain.report.checks import Course
from fleetswap.domain.report.earlier import earlier
from fleetswap.domain.report.model import Report, Section
from fleetswap.domain.rollout import wording
from fleetswap.domain.rollout.findings import Finding
from fleetswap.domain.rollout.policy import Policy
from fleetswap.domain.rollout.rates import Bad
from fleetswap.domain.rollout.record import Entry, Failed, Found, Header, Hooked, Judged, Paused, Step, TakenUp
from fleetswap.domain.timeline.model import Deploy


def report(
    header: Header,
    entries: Sequence[Entry],
    *,
    policy: Policy | None,
    course: Course,
    deploy: Deploy | None = None,
    packages: Section | None = None,
) -> Report:
    """The report. `policy` is None if the record's settings cannot be read; `deploy` has what was done before."""
    entries = [_sound(entry) for entry in entries if words.is_time(entry.at) and _is_whole(entry)]
    until = max((entry.at for entry in entries), default=0.0)
    previous = next((entry.previous for entry in reversed(entries) if isinstance(entry, Found)), None)
    ending, tone = story.ending(entries)
    before = earlier(deploy, header.started)
    shown = (*before.bars, *bars.bars(entries, header.candidate, until))
    sections = (
        story.restored(header, entries),
        Section("timeline", "Timeline", before.sentences, table=bars.table(shown)),
        traffic.traffic(entries, header.candidate, previous),
        machines.machines(entries),
        *(checks.rates(entries, kind, policy, course) for kind in Bad),
        checks.metrics(entries),
        story.steps(entries),
        packages,
        story.events(entries),
    )
    return Report(
        service=words.text(header.service),
        stack=words.text(header.stack),
        candidate=words.text(header.candidate),
        started=words.text(header.started),
        ending=ending,
        tone=tone,
        headline=story.headline(header, entries, until),
        reason=story.reason(entries),
        facts=(*story.facts(header, entries, previous), *before.facts),
        until=until,
        bars=shown,
        marks=tuple(_marks(entries)),
        sections=tuple(section for section in sections if section is not None),
    )


MOST = 10**15
"""Requests. A count that is greater is damage."""


def _is_whole(entry: Entry) -> bool:
    """Whether its other times can be times."""
    return not isinstance(entry, Step | Hooked | Paused) or words.is_time(entry.began)


def _sound(entry: Entry) -> Entry:
    """The same without findings that are damaged."""
    if not isinstance(entry, Step | Judged):
        return entry
    return replace(entry, findings=tuple(filter(_makes_sense, entry.findings)))


def _makes_sense(finding: Finding) -> bool:
    """Whether its numbers can be counts, and it has what its check says in words."""
    counts = [each for each in (finding.candidate, finding.live) if each is not None]
    try:
        wording.lines([finding])
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return False
    return all(0 <= each.bad <= MOST and 0 <= each.requests <= MOST for each in counts)


def _marks(entries: Sequence[Entry]) -> list[tuple[float, str]]:
    """Moments that every plot shows: when it failed, when the guardian took over."""
    names = {Failed: "failed", TakenUp: "guardian"}
    return [(entry.at, names[type(entry)]) for entry in entries if isinstance(entry, Failed | TakenUp)][:4]
