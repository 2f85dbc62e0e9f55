"""What a deploy and a rollback took, phase by phase, and whether that is what was to be reached.

It decides the verdicts, from figures alone; it runs nothing and reads no clock. Times are in seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.figures import Verdict

LAUNCH_SECONDS = 15.0
"""From the launch of a machine to its health, on the local cloud."""

WAY_BACK_SECONDS = 10.0
"""Of a warm rollback, from the command to its end."""

OVER_HOLDS = 1.2
"""A canary may take so many times its holds and the launch of the machines, from the command to its end."""


@dataclass(frozen=True)
class Timeline:
    """One update as it was seen from outside: seconds since its command was started; None for what was not seen.

    `rollout` is what the rollout says of its own phases. `problem` is empty if the update succeeded.
    """

    name: str
    total: float
    launched: float | None = None
    first_healthy: float | None = None
    all_healthy: float | None = None
    shifted: float | None = None
    """When the first weight had moved."""
    arrived: float | None = None
    """When all the traffic was where it was to be."""
    holds: float = 0.0
    """What the strategy says."""
    rollout: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""
    sent: str = ""
    """How many blocks were sent, of how many; empty if the image was in the account."""

    @property
    def launch_to_first_healthy(self) -> float | None:
        """How long the first machine took."""
        return between(self.launched, self.first_healthy)

    @property
    def launch_to_healthy(self) -> float | None:
        """How long all of them took, which boot at the same time."""
        return between(self.launched, self.all_healthy)

    def rows(self) -> list[list[str]]:
        """Its phases, for a table."""
        named = [
            ("command to launch", self.launched),
            ("launch to first healthy", self.launch_to_first_healthy),
            ("launch to all healthy", self.launch_to_healthy),
            ("command to first weight", self.shifted),
            ("first weight to all the traffic", between(self.shifted, self.arrived)),
            *((f"rollout: {phase}", seconds) for phase, seconds in self.rollout.items()),
            ("total", self.total),
        ]
        return [[self.name, phase, told(seconds)] for phase, seconds in named if seconds is not None]


@dataclass(frozen=True)
class Goal:
    """Something that is to be reached, and what it came to."""

    text: str
    seconds: float | None
    most: float

    @property
    def verdict(self) -> Verdict:
        """A figure that was not to be had is a failure, not a success."""
        if self.seconds is None:
            return "fails"
        return "ok" if self.seconds <= self.most else "short"

    def cells(self) -> list[str]:
        """Its line of the table."""
        return [self.text, told(self.seconds), f"at most {self.most:.1f} s", self.verdict]


def goals(deploy: Timeline, back: Timeline) -> list[Goal]:
    """What a canary and a warm rollback are held against."""
    boot = deploy.launch_to_healthy
    allowed = OVER_HOLDS * (deploy.holds + (boot or 0.0))
    return [
        Goal("launch to healthy", None if deploy.problem else deploy.launch_to_healthy, LAUNCH_SECONDS),
        Goal(
            f"three short canary steps: {OVER_HOLDS} x (holds {deploy.holds:.0f} s + boot {told(boot)})",
            None if deploy.problem or boot is None else deploy.total,
            allowed,
        ),
        Goal("warm rollback", None if back.problem else back.total, WAY_BACK_SECONDS),
    ]


def between(start: float | None, end: float | None) -> float | None:
    """The time between two moments, if both were seen."""
    return None if start is None or end is None else end - start


def told(seconds: float | None) -> str:
    """A time for a reader."""
    return "not seen" if seconds is None else f"{seconds:.1f} s"


def phases_of(said: str) -> dict[str, float]:
    """The phases that an update's last line tells (`tools.local.stack.summary`); empty if it tells none."""
    line = re.search(r"^\((.*the last rollout: .*)\)$", said, flags=re.MULTILINE)
    return {name: float(seconds) for name, seconds in re.findall(r"(\w+) ([\d.]+) s", line[1] if line else "")}


def sent_of(said: str) -> str:
    """How many blocks an update says that it sent, of how many; empty if it sent none."""
    found = re.search(r"is complete: ([\d,]+) blocks?, ([\d,]+) sent", said)
    return f"{found[2]} of {found[1]}" if found else ""
