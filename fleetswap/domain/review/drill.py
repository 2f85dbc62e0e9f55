"""Reads what `fleetswap drill --json` prints, and says in the comment of a pull request what was tried and when.

Names and messages come from outside, as in `fleetswap.domain.review.comment`, which shows them in code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from fleetswap.domain.checklist import Finding, State
from fleetswap.domain.errors import InputError
from fleetswap.domain.text import counted, duration

SHOWN = 20
"""Checks that failed, or could not be made, that are listed; a drill has fewer."""


@dataclass(frozen=True)
class Proof:
    """A drill: of which rollback, when it was, and what it found. `seconds` is None if the time is not known."""

    stack: str
    service: str
    region: str
    release: str
    at: datetime
    passed: int
    seconds: float | None = None
    warm: bool = False
    failed: tuple[Finding, ...] = ()
    unknown: tuple[Finding, ...] = ()


def read(text: str, where: str) -> Proof:
    """What a drill has printed. `InputError` if this is something else; `where` names it."""
    try:
        found = json.loads(text)
        return _proof(found)
    except (ArithmeticError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{where}: not what `fleetswap drill --json` prints: {error!r}") from error


def _proof(found: Mapping[str, object]) -> Proof:
    checks = found["checks"]
    if not isinstance(checks, list):
        raise TypeError("checks")
    findings = [
        Finding(str(each["check"]), State(each["state"]), str(each["detail"]), str(each.get("remedy", "")))
        for each in checks
    ]
    seconds = found["seconds"]
    if seconds is not None and not (isinstance(seconds, (int, float)) and math.isfinite(seconds)):
        raise TypeError("seconds")
    return Proof(
        stack=str(found["stack"]),
        service=str(found["service"]),
        region=str(found["region"]),
        release=str(found["release"]),
        at=datetime.fromisoformat(str(found["at"])).astimezone(UTC),
        passed=sum(each.state is State.OK for each in findings),
        seconds=None if seconds is None else float(seconds),
        warm=found.get("warm") is True,
        failed=tuple(each for each in findings if each.state is State.FAILED),
        unknown=tuple(each for each in findings if each.state not in (State.OK, State.FAILED)),
    )


def of_rollback(proofs: Iterable[Proof], stack: str, service: str, region: str, release: str) -> Proof | None:
    """The latest drill of a rollback to this release; None if it was not tried."""
    wanted = (stack, service, region, release)
    found = [each for each in proofs if (each.stack, each.service, each.region, each.release) == wanted]
    return max(found, key=lambda each: each.at, default=None)


def lines(proof: Proof, code: Callable[[str], str]) -> Iterator[str]:
    """What was tried, as lines of a list in Markdown. `code` quotes what comes from outside."""
    at = f"tried at {proof.at:%Y-%m-%d %H:%M} UTC with `fleetswap drill`"
    time = f", which would have taken about {duration(proof.seconds)}" if proof.seconds is not None else ""
    if proof.failed:
        yield f"- :x: {at}: {counted(len(proof.failed), 'check')} failed, so it would not work"
    elif proof.unknown:
        yield (
            f"- {at}{time}: {counted(proof.passed, 'check')} passed, and {counted(len(proof.unknown), 'check')} could"
            " not be made"
        )
    else:
        yield f"- :white_check_mark: {at}{time}: all {counted(proof.passed, 'check')} passed, no traffic was moved"
    for each in proof.failed[:SHOWN]:
        yield f"  - :x: {code(each.check)}: {code(each.detail)}{_to(each, code)}"
    for each in proof.unknown[:SHOWN]:
        yield f"  - unknown: {code(each.check)}: {code(each.detail)}"


def _to(each: Finding, code: Callable[[str], str]) -> str:
    return f" ({code(each.remedy)})" if each.remedy else ""
