"""What people are told at the end of a rollout: one message with what, why, the evidence, and what runs now.

Only the words. Who is told, and how, is the notifier's; that a notifier fails changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fleetswap.domain.moves import End, Kind
from fleetswap.domain.state import State

SUBJECT_CHARS = 100
"""Greatest length of a subject (SNS Publish); it may hold no line breaks or control characters."""


class Ending(StrEnum):
    """How a rollout ended."""

    SUCCEEDED = "succeeded"
    ABORTED = "aborted"
    """The gate said no before any traffic moved."""
    FAILED = "failed"
    """An error, before any traffic moved; or the traffic could not be put back."""
    ROLLED_BACK = "rolled back"
    """Traffic had moved, and is back where it was."""


@dataclass(frozen=True)
class Notice:
    """The end of one rollout. `serving` is the release that has the traffic now, or words if no single one has."""

    ending: Ending
    service: str
    release: str
    previous: str | None
    reason: str
    serving: str
    evidence: tuple[str, ...] = ()
    seconds: float = 0.0
    """How long the rollout took."""

    @property
    def subject(self) -> str:
        """One short line of printable ASCII, as mail subjects and SNS want it."""
        text = f"{self.service}: rollout of {self.release} {self.ending}"
        return text.encode("ascii", "replace").decode()[:SUBJECT_CHARS]

    @property
    def text(self) -> str:
        """The whole message, for people."""
        lines = [
            f"{self.service}: the rollout of {self.release} {self.ending} after {self.seconds:.0f} s.",
            f"Why: {self.reason}" if self.reason else "",
            f"Traffic now: {self.serving} (before: {self.previous or 'nothing'})",
            *(f"Evidence: {line}" for line in self.evidence),
        ]
        return "\n".join(line for line in lines if line)


def notice_of(state: State, end: End, now: float) -> Notice:
    """What is told about a rollout that ended in this state."""
    return Notice(
        ending=_ending(state, end),
        service=state.order.service,
        release=state.order.candidate.release,
        previous=state.previous,
        reason="; ".join(part for part in (end.reason, *end.problems) if part),
        serving=state.now_on or state.previous or "nothing",
        evidence=state.evidence,
        seconds=now - state.started,
    )


def _ending(state: State, end: End) -> Ending:
    if end.kind is None:
        return Ending.SUCCEEDED
    if state.moved and not end.problems and state.now_on is None:
        return Ending.ROLLED_BACK
    return Ending.ABORTED if end.kind is Kind.ABORTED and not end.problems else Ending.FAILED
