"""How traffic moves: the weights of a canary, how long each is held, and the bake.

Only values, their checks, and which of the steps a given rollout takes. Times are in seconds, weights in percent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fleetswap.domain.errors import InputError

ALL = 100
"""The weights of a rule sum to this; ELBv2 allows 0 to 999 for each target group (TargetGroupTuple)."""


@dataclass(frozen=True)
class Step:
    """One step: the candidate gets `weight` of a hundred requests, for `hold` seconds at least.

    `min_requests` is how many of its requests must have been counted in whole periods of this very step. A step with
    either of both is watched: it is passed only when CloudWatch has told of its last whole period, which takes minutes.
    """

    weight: int
    hold: float = 0.0
    min_requests: int = 0

    def __post_init__(self) -> None:
        """Refuse what can never be."""
        if not 1 <= self.weight <= ALL:
            raise InputError(f"rollout strategy: a step's weight is {self.weight}, it must be from 1 to {ALL}")
        if self.min_requests < 0:
            raise InputError(f"rollout strategy: min_requests is {self.min_requests}, it must be 0 or more")
        check_seconds("a step's hold", self.hold)

    @property
    def is_watched(self) -> bool:
        """Whether there is anything to wait for once the weights hold."""
        return self.hold > 0 or self.min_requests > 0


@dataclass(frozen=True)
class Strategy:
    """The steps, whose last weight is 100 (added if missing), and how long all the traffic is watched afterwards.

    Without steps everything moves at once. `bake` is for a release that was never live; `trusted_bake` for one that
    was, whose rollout is mostly a rollback, and must not wait.
    """

    steps: tuple[Step, ...] = ()
    bake: float = 0.0
    trusted_bake: float = 0.0

    def __post_init__(self) -> None:
        """Refuse weights that do not ascend; end with 100."""
        weights = [step.weight for step in self.steps]
        if weights != sorted(set(weights)):
            raise InputError(f"the weights of a rollout's steps must ascend, and they are {weights}")
        if not weights or weights[-1] != ALL:
            object.__setattr__(self, "steps", (*self.steps, Step(ALL)))
        check_seconds("bake", self.bake)
        check_seconds("trusted_bake", self.trusted_bake)

    def plan(self, *, trusted: bool) -> tuple[Step, ...]:
        """The steps that a rollout takes; the bake is part of the last one's hold. A trusted release has no canary."""
        last = self.steps[-1]
        if trusted:
            return (Step(ALL, self.trusted_bake),)
        return (*self.steps[:-1], replace(last, hold=last.hold + self.bake))


def check_seconds(name: str, seconds: float) -> None:
    """Refuse what is no time; 0 is one."""
    if not 0 <= seconds < math.inf:
        raise InputError(f"rollout: {name} is {seconds}, it must be a time of 0 s or more")
