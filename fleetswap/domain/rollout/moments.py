"""Hooks and pauses as the settings ask for them: what runs at which moment of a rollout, and where a person is asked.

Only values, their checks, and what a hook gets to know. It never runs a hook, and knows no secret: the value of the
preview header goes to a hook from whoever starts it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout.strategy import ALL, Strategy

VERSION = 1
"""Of the JSON document that a hook gets. A key is never renamed without a new one."""


class Moment(StrEnum):
    """When a hook runs."""

    BEFORE_TRAFFIC = "before-traffic"
    """The candidate is healthy and was probed, and has no traffic yet."""
    AFTER_STEP = "after-step"
    """A step was passed, the last one included."""
    BEFORE_BAKE = "before-bake"
    """The candidate has all the traffic, and is about to be judged with it."""
    END = "end"
    """The rollout is over, however it ended. Nothing can be aborted here."""


class Otherwise(StrEnum):
    """What happens at the deadline of a pause that nobody has continued."""

    ABORT = "abort"
    CONTINUE = "continue"


@dataclass(frozen=True)
class Hook:
    """One hook: exactly one of `command`, `url` and `function` says what runs."""

    at: Moment
    command: tuple[str, ...] | None = None
    """Arguments; no shell reads them."""
    url: str | None = None
    token_env: str | None = None
    """The environment variable of the deployer whose value is sent to the URL as a bearer token."""
    function: str | None = None
    """Name or ARN of a Lambda function."""
    timeout: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what is no hook."""
        if sum((bool(self.command), self.url is not None, self.function is not None)) != 1:
            raise InputError(f"rollout hook at {self.at}: must have exactly one of command, url and lambda")
        if not 0 < self.timeout < float("inf"):
            raise InputError(f"rollout hook at {self.at}: timeout is {self.timeout}, it must be a time above 0 s")

    @property
    def label(self) -> str:
        """What people know it by. Neither arguments nor a path of a URL: they may say too much."""
        if self.command:
            return PurePosixPath(self.command[0]).name or self.command[0]
        if self.url is not None:
            return urlsplit(self.url).netloc
        return f"lambda {(self.function or '').rpartition(':function:')[2]}"


@dataclass(frozen=True)
class Pause:
    """The rollout waits for a person: before any traffic (`at` is 0), or before the step of this weight."""

    at: int
    deadline: float = 3600.0
    otherwise: Otherwise = Otherwise.ABORT

    def __post_init__(self) -> None:
        """Refuse what is no place and no time."""
        if not 0 <= self.at <= ALL:
            raise InputError(f"rollout pause: {self.at} is not the weight of a step")
        if not 0 < self.deadline < float("inf"):
            raise InputError(f"rollout pause: deadline is {self.deadline}, it must be a time above 0 s")

    @property
    def place(self) -> str:
        """Where it waits, as a tag and the record have it; the same in words is `before`."""
        return f"before-{self.at}" if self.at else Moment.BEFORE_TRAFFIC.value

    @property
    def before(self) -> str:
        """What it waits for, in words."""
        if not self.at:
            return "before any traffic"
        return "before all the traffic" if self.at == ALL else f"before {self.at} %"


def contradictions(pauses: Sequence[Pause], strategy: Strategy) -> Iterator[tuple[int, str]]:
    """What cannot be about the pauses: the number of each one, and what is wrong with it."""
    weights = [step.weight for step in strategy.steps]
    taken: dict[int, int] = {}
    for number, pause in enumerate(pauses):
        place = pause.at or weights[0]  # before the first step is before any traffic
        if place not in weights:
            yield number, f"no step has the weight {pause.at} (the steps have {', '.join(map(str, weights))})"
        elif place in taken:
            yield number, f"pauses where pause {taken[place]} does ({pause.before})"
        taken.setdefault(place, number)


def due(pauses: Sequence[Pause], former: int, weight: int) -> Pause | None:
    """Where to wait before the candidate gets `weight` instead of `former`, if anywhere.

    A rollout may skip steps when live has no healthy machine. A pause before one of those is due all the same: nobody
    has said yes yet. Of several, one that aborts.
    """
    found = [each for each in pauses if (former < each.at <= weight) or (not each.at and not former)]
    return min(found, key=lambda each: each.otherwise is not Otherwise.ABORT, default=None)


@dataclass(frozen=True)
class HookCall:
    """One run of a hook. `number` is its place among the hooks of the settings, `attempt` counts its runs."""

    number: int
    hook: Hook
    run: str
    service: str
    release: str
    previous: str | None
    weight: int
    """Percent of the traffic that the candidate has."""
    attempt: int = 1
    url: str = ""
    """Where users reach the service; empty if nobody knows."""
    ending: str = ""
    """How the rollout ended, at its end."""
    serving: str = ""
    reason: str = ""

    @property
    def previews(self) -> bool:
        """Whether it gets the secret by which the candidate is reached before its traffic; no other hook needs it."""
        return self.hook.at is Moment.BEFORE_TRAFFIC

    def document(self, stack: str) -> dict[str, object]:
        """What the hook gets as JSON, without the preview."""
        found: dict[str, object] = {
            "version": VERSION,
            "moment": self.hook.at.value,
            "run": self.run,
            "service": self.service,
            "stack": stack,
            "release": self.release,
            "previous": self.previous,
            "weight": self.weight,
            "attempt": self.attempt,
            "url": self.url,
        }
        if self.hook.at is Moment.END:
            found |= {"ending": self.ending, "serving": self.serving, "reason": self.reason}
        return found


@dataclass(frozen=True)
class HookResult:
    """How a hook ended. `words` is why it failed, in one line without control characters; `late`: it was killed."""

    ok: bool
    words: str = ""
    late: bool = False


def failed(call: HookCall, result: HookResult) -> str:
    """Why a hook speaks against the candidate, in one line."""
    how = f"did not end within {call.hook.timeout:g} s" if result.late else "failed"
    return f"hook {call.hook.label} ({call.hook.at}) {how}" + (f": {result.words}" if result.words else "")
