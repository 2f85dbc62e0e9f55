"""What happened in a rollout, in sentences: the end, what was restored and why, the steps, what AWS did not answer.

Only words. What the record does not have is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleetswap.domain.report import words
from fleetswap.domain.report.model import Section, Table, Tone
from fleetswap.domain.rollout import wording
from fleetswap.domain.rollout.notices import Ending
from fleetswap.domain.rollout.record import (
    Cut,
    Ended,
    Entered,
    Entry,
    Failed,
    Found,
    Header,
    Hooked,
    Kind,
    NoAnswer,
    Paused,
    Step,
    TakenUp,
    WeightsSeen,
    Written,
)
from fleetswap.domain.rollout.state import Phase
from fleetswap.domain.rollout.strategy import ALL

UNFINISHED = "unfinished"
"""The ending of a record without its last line."""

LISTED = 60
"""Rows of a table of events, and steps; the first and the last ones."""


def ending(entries: Sequence[Entry]) -> tuple[str, Tone]:
    """How it ended, and how that is to be taken."""
    end = end_of(entries)
    if end is None:
        return UNFINISHED, Tone.OPEN
    return end.ending.value, Tone.GOOD if end.ending is Ending.SUCCEEDED else Tone.BAD


def end_of(entries: Sequence[Entry]) -> Ended | None:
    """The last line, if it is there."""
    return next((entry for entry in reversed(entries) if isinstance(entry, Ended)), None)


def headline(header: Header, entries: Sequence[Entry], until: float) -> str:
    """What happened, in one sentence."""
    candidate, end = words.text(header.candidate), end_of(entries)
    failed = next((entry for entry in entries if isinstance(entry, Failed)), None)
    if end is None:
        phase = next((entry.phase for entry in reversed(entries) if isinstance(entry, Entered)), Phase.LOOK)
        return (
            f"The record ends {words.moment(until)} after the start, in the phase {phase}: the rollout of {candidate}"
            " still runs, or its process was killed."
        )
    took, serving = words.moment(end.at), words.text(end.serving)
    match end.ending:
        case Ending.SUCCEEDED:
            all_ = [
                each.at for each in entries if isinstance(each, Written) and each.weights.get(header.candidate) == ALL
            ]
            since = f" since {words.moment(all_[-1])} after the start" if all_ else ""
            return f"{candidate} is live: it has had all the traffic{since}. The rollout took {took}."
        case Ending.ROLLED_BACK:
            at = f" at {words.moment(failed.at)}" if failed else ""
            return f"The rollout of {candidate} failed{at}, and the traffic was restored. Serving now: {serving}."
        case Ending.ABORTED:
            return f"The rollout of {candidate} was aborted before any traffic moved. Serving now: {serving}."
        case _:
            return f"The rollout of {candidate} failed. Serving now: {serving}."


def reason(entries: Sequence[Entry]) -> str:
    """Why it did not succeed, as far as the record has it."""
    end = end_of(entries)
    failed = next((entry.reason for entry in entries if isinstance(entry, Failed)), "")
    return words.text(failed if end is None else end.reason)


def facts(header: Header, entries: Sequence[Entry], previous: str | None) -> tuple[tuple[str, str], ...]:
    """What a reader looks up."""
    end = end_of(entries)
    kind = {Kind.DEPLOY: "deploy", Kind.ROLLBACK: "rollback --now"}[header.kind]
    found = [
        ("release", header.candidate),
        ("previous release", previous or "none"),
        ("serving now", "unknown" if end is None else end.serving),
        ("standby", header.standby or "none"),
        ("began", words.date(header.started)),
        ("took", "unknown" if end is None else words.moment(end.at)),
        ("kind", f"{kind}{', of a release that was live before' if header.trusted else ''}"),
        ("service", header.service),
        ("stack", header.stack),
        ("run", header.run),
    ]
    return tuple((name, words.text(value) or "unknown") for name, value in found)


def restored(header: Header, entries: Sequence[Entry]) -> Section | None:
    """What was put back, and why; None if nothing failed."""
    failed = next((number for number, entry in enumerate(entries) if isinstance(entry, Failed)), None)
    end = end_of(entries)
    if failed is None and (end is None or end.ending is Ending.SUCCEEDED):
        return None
    moved = [entry for entry in entries[:failed] if isinstance(entry, Written)]
    rows = [*_back(entries[failed:])] if failed is not None else []
    restores = [entry for entry in entries[failed or 0 :] if isinstance(entry, Written)]
    if restores:
        said = f"The weights were restored at {words.moment(restores[-1].at)}: {words.weights(restores[-1].weights)}."
    elif moved:
        said = "The record has no weights that were written after the failure."
    else:
        said = f"No traffic had moved to {words.text(header.candidate)}, so no weights had to be restored."
    problems = [f"Not restored: {words.text(each)}." for each in (end.problems if end else ())[:LISTED]]
    table = Table(("time", "what", "details"), tuple(rows[:LISTED]), max(0, len(rows) - LISTED)) if rows else None
    return Section("restored", "What was put back, and why", (said, *problems), table=table)


def _back(entries: Sequence[Entry]) -> Iterator[tuple[str, str, str]]:
    for entry in entries:
        at = words.moment(entry.at)
        match entry:
            case Failed():
                yield at, "failed", words.text(entry.reason)
            case Written():
                yield at, "weights written", words.weights(entry.weights)
            case WeightsSeen():
                yield at, "weights seen", words.weights(entry.weights)
            case Entered():
                yield at, "phase", entry.phase.value
            case Ended():
                yield at, "end", words.text(f"{entry.ending}; serving: {entry.serving}")


def steps(entries: Sequence[Entry]) -> Section | None:
    """The canary steps, with the last findings of each; None if there was none."""
    found = [entry for entry in entries if isinstance(entry, Step)]
    if not found:
        return None
    rows = tuple(
        (
            f"{step.weight} %",
            words.moment(step.began),
            words.moment(max(0.0, step.at - step.began)),
            f"{words.moment(step.hold)}, {step.min_requests:,} requests" if words.is_time(step.hold) else "unknown",
            step.verdict.value,
            "; ".join(words.text(line) for line in wording.lines(step.findings)[:LISTED]) or "not watched",
        )
        for step in found[:LISTED]
    )
    head = ("weight", "began at", "took", "at least", "verdict", "last findings")
    return Section("steps", "Steps", table=Table(head, rows, max(0, len(found) - LISTED)))


def events(entries: Sequence[Entry]) -> Section | None:
    """What else the record has of AWS and of the deployer; None if nothing."""
    rows = [row for entry in entries if (row := _event(entry)) is not None]
    if not rows:
        return None
    silent = any(isinstance(entry, NoAnswer) for entry in entries)
    kept = rows if len(rows) <= LISTED else [*rows[: LISTED // 2], *rows[-LISTED // 2 :]]
    said = "Calls that got no response were made again. Of several in a row that say the same, the first is listed."
    table = Table(("time", "what", "details"), tuple(kept), len(rows) - len(kept))
    return Section("events", "What else happened", (said,) if silent else (), table=table)


def _event(entry: Entry) -> tuple[str, str, str] | None:
    match entry:
        case NoAnswer():
            what, details = "no response", entry.reason
        case Found(freeze=str() as why):
            what, details = "freeze", why
        case Hooked():
            what, details = f"hook, {entry.moment}", _hook(entry)
        case Paused():
            what, details = "pause", _pause(entry)
        case TakenUp():
            what, details = "guardian", entry.reason
        case Cut():
            what, details = "record cut", "The record reached its size: only steps and the end follow."
        case _:
            return None
    return words.moment(entry.at), words.text(what), words.text(details)


def _hook(hook: Hooked) -> str:
    took = words.moment(max(0.0, hook.at - hook.began))
    why = f": {hook.reason}" if hook.reason else ""
    return f"{hook.verdict}: {hook.hook} took {took}, at {hook.weight} % of the traffic{why}"


def _pause(pause: Paused) -> str:
    what = f"before the step of {pause.before} %" if pause.before else "before any traffic"
    most = f" of {words.moment(pause.deadline)}" if words.is_time(pause.deadline) else ""
    waited = f"waited {words.moment(max(0.0, pause.at - pause.began))}{most} for a person, {what}"
    return f"{pause.verdict}: {waited}; after that, {pause.otherwise}"
