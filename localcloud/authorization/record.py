"""Every authorization decision since the start, or since it was asked to forget.

Decides nothing. The same decision again is counted, not kept twice; the oldest go when there are too many.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from localcloud.authorization.policies import Question, Verdict

MOST: Final = 20_000


@dataclass(frozen=True)
class _Decision:
    principal: str
    action: str
    resource: str
    context: tuple[tuple[str, tuple[str, ...]], ...]
    allowed: bool
    why: str
    operation: str
    listed: bool


class Record:
    """The decisions, of every thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[_Decision, int] = {}

    def add(self, principal: str, question: Question, verdict: Verdict, *, operation: str, listed: bool) -> None:
        """Keep a decision. `operation` is the call that it was made for; `listed` whether `actions` knows that."""
        decision = _Decision(
            principal,
            question.action,
            question.resource,
            tuple(sorted(question.context.items())),
            verdict.allowed,
            verdict.why,
            operation,
            listed,
        )
        with self._lock:
            self._counts[decision] = self._counts.get(decision, 0) + 1
            while len(self._counts) > MOST:
                del self._counts[next(iter(self._counts))]

    def shown(self) -> list[dict[str, Any]]:
        """Every decision in the order of its first time, as JSON has it."""
        with self._lock:
            counts = list(self._counts.items())
        return [
            {
                "principal": one.principal,
                "operation": one.operation,
                "action": one.action,
                "resource": one.resource,
                "context": {key: list(values) for key, values in one.context},
                "allowed": one.allowed,
                "why": one.why,
                "listed": one.listed,
                "count": count,
            }
            for one, count in counts
        ]

    def clear(self) -> int:
        """Forget all; how many there were."""
        with self._lock:
            forgotten, self._counts = len(self._counts), {}
        return forgotten
