"""The timeline in words: a table of deploys, one deploy with its bars, and what is over budget. It is plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleetswap.domain.text import duration
from fleetswap.domain.timeline.model import (
    COMMIT_TO_LIVE,
    DIRTY,
    START_TO_LIVE,
    Deploy,
    Span,
    Total,
    setting_of,
    time_of,
)

BAR = 30
"""Characters of a bar that is the whole deploy."""

SHORT = 10
"""Characters of a commit's hash."""


def over_budget(deploy: Deploy) -> tuple[str, ...]:
    """A sentence for each span and total that took longer than it may."""
    return tuple(
        f"{each.name} took {took(each.seconds)}, and {setting_of(each.name)} is {each.budget:g} s"
        for each in deploy.over_budget
    )


def table(deploys: Sequence[Deploy]) -> tuple[str, ...]:
    """The deploys one below the other, as they come. The region only if there are several."""
    several = len({each.region for each in deploys}) > 1
    head = ["ENDED (UTC)", "RELEASE", "BY", "COMMIT", "OUTCOME", "START TO LIVE", "COMMIT TO LIVE", "OVER BUDGET"]
    rows = [head if not several else [*head[:2], "REGION", *head[2:]]]
    for each in deploys:
        row = [
            _time(each.ended),
            each.release,
            each.kind,
            _commit(each),
            each.outcome,
            _total(each.total(START_TO_LIVE)),
            _total(each.total(COMMIT_TO_LIVE)),
            ", ".join(dict.fromkeys(over.name for over in each.over_budget)) or "-",
        ]
        rows.append(row if not several else [*row[:2], each.region or "-", *row[2:]])
    return _columns(rows)


def story(deploy: Deploy) -> tuple[str, ...]:
    """One deploy: what it was, its spans with their shares of the whole, and its totals."""
    where = f" in {deploy.region}" if deploy.region else ""
    instead = f" in place of {deploy.previous}" if deploy.previous and deploy.previous != deploy.release else ""
    lines = [f"{deploy.service}: {deploy.kind} of {deploy.release}{instead}{where}, {deploy.outcome}"]
    if deploy.reason:
        lines.append(f"why: {deploy.reason}")
    if deploy.commit is not None:
        at = f" of {_time(deploy.commit_time)} UTC" if deploy.commit_time is not None else ""
        lines.append(f"commit {_commit(deploy)}{at}{f': {deploy.subject}' if deploy.subject else ''}")
    lines.append(f"stack {deploy.stack}, run {deploy.run}, started {_time(deploy.started)} UTC")
    rows = [["AT", "PHASE", "TOOK", "BUDGET", "SHARE"], *(_row(deploy, span) for span in deploy.spans)]
    return (*lines, *_columns(rows), *(_sum(each) for each in deploy.totals))


def took(seconds: float) -> str:
    """Seconds as people write them; of few, a tenth matters."""
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


def _row(deploy: Deploy, span: Span) -> list[str]:
    after = (time_of(span.start) - time_of(deploy.started)).total_seconds()
    at = f"-{duration(-after)}" if after < 0 else duration(after)
    if span.is_moment:
        return [at, span.name, "", "", ""]
    share = span.seconds / deploy.seconds if deploy.seconds > 0 else 0.0
    over = " over" if span.over else ""
    budget = "" if span.budget is None else f"{took(span.budget)}{over}"
    return [at, span.name, took(span.seconds), budget, f"{round(100 * share):3} % {'#' * round(BAR * share)}".rstrip()]


def _sum(total: Total) -> str:
    budget = "" if total.budget is None else f" (budget {took(total.budget)}{', over' if total.over else ''})"
    return f"{total.name}: {took(total.seconds)}{budget}"


def _total(total: Total | None) -> str:
    return "-" if total is None else took(total.seconds)


def _commit(deploy: Deploy) -> str:
    if deploy.commit is None:
        return "-"
    dirty = DIRTY if deploy.commit.endswith(DIRTY) else ""
    return f"{deploy.commit[:SHORT]}{dirty}"


def _time(text: str) -> str:
    return time_of(text).strftime("%Y-%m-%d %H:%M:%S")


def _columns(rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def cells(row: Sequence[str]) -> Iterator[str]:
        for cell, width in zip(row, widths, strict=True):
            yield cell.ljust(width)

    return tuple("  ".join(cells(row)).rstrip() for row in rows)
