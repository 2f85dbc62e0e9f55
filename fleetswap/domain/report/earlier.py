"""What the deploy did before its rollout, and what it took as a whole: bars, facts, and what was over budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fleetswap.domain.report import words
from fleetswap.domain.report.model import Bar, Role
from fleetswap.domain.timeline.model import Deploy, Span, Total, time_of


@dataclass(frozen=True)
class Earlier:
    """What a deploy adds to the report of its rollout; nothing without one."""

    bars: tuple[Bar, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    sentences: tuple[str, ...] = ()


def earlier(deploy: Deploy | None, started: str) -> Earlier:
    """What a deploy adds to its rollout, which began at `started`. Times that are damaged add nothing.

    The moment of the commit is a fact and not a bar: it may be days ago.
    """
    if deploy is None:
        return Earlier()
    try:
        bars = tuple(_bars(deploy, started))
        totals, over = deploy.totals, deploy.over_budget
    except (ValueError, OverflowError):
        return Earlier()
    facts = []
    if deploy.region:
        facts.append(("region", words.text(deploy.region)))
    if deploy.commit is not None:
        facts.append(("commit", words.text(" ".join(filter(None, (deploy.commit[:12], deploy.subject))))))
    facts += [(total.name, words.moment(total.seconds)) for total in totals]
    said = tuple(_over(each) for each in over)
    return Earlier(bars, tuple(facts), said)


def _bars(deploy: Deploy, started: str) -> Iterator[Bar]:
    zero = time_of(started)
    for span in deploy.spans:
        began = (time_of(span.start) - zero).total_seconds()
        ended = began + span.seconds
        if not span.is_moment and ended <= 0 and words.is_time(-began):
            yield Bar(words.text(span.name), began, ended, Role.EARLIER)


def _over(part: Span | Total) -> str:
    """A span or a total that took longer than it may."""
    budget = words.moment(part.budget or 0.0)
    return f"Over budget: {words.text(part.name)} took {words.moment(part.seconds)}, and may take {budget}."
