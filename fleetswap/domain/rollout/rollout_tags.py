"""The tags by which a rollout leaves messages for the next one, for people, and for whoever has lost the state.

Only keys, and how their values are written and read. Tags are the memory of a rollout that died: each change that must
be undone is recorded in a tag before it is made, so that whoever comes next can undo it. Nothing here decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

PIN = "fleetswap:pin"
"""On a group whose minimum a rollout has raised: the minimum that it is to have again."""

ON_DEMAND = "fleetswap:on-demand"
"""On a group that a rollout has switched to on-demand machines: the percentage that it is to have again."""

SCALE_IN = "fleetswap:scale-in"
"""On a group that AWS will scale in, or has: when, and what for; see `ScaleIn`."""

SCHEDULES = "fleetswap:schedules"
"""On a group that follows schedules: which ones, see `schedules.digest`; `MOVING` while they change."""

MOVING = "moving"
"""The value of `SCHEDULES` before the first scheduled action is changed: who dies then leaves some of them."""

ABORT = "fleetswap:abort"
"""On a candidate's group: stop this rollout; the value is the reason, with its time (`fleetswap abort`)."""

PAUSED = "fleetswap:paused"
"""On a candidate's group whose rollout waits for a person; see `Paused`."""

CONTINUE = "fleetswap:continue"
"""On a candidate's group: go on from this pause, and from no other (`fleetswap continue`): `<run> <place> <time>`."""

LIVE = "fleetswap:live"
STANDBY = "fleetswap:standby"
"""On the listener's rule: the release that the last finished rollout made live, and its standby."""

ROLLED_BACK = "fleetswap:rolled-back-from"
"""On the listener's rule: the release from which `fleetswap rollback --now` took the traffic; see `RolledBack`."""

BOOTS = "fleetswap:boots"
"""On the listener's rule: how long the machines of the last rollouts took to become healthy; see `boots.written`."""

OWNER = "fleetswap:rollout"
"""On the listener's rule: the id of the Pulumi resource that owns the traffic. One that was replaced must not take the
service down when it is deleted."""

FROZEN, FROZEN_REASON = "fleetswap:frozen", "fleetswap:frozen-reason"
ALLOWED, ALLOWED_REASON = "fleetswap:allowed", "fleetswap:allowed-reason"
"""On the listener's rule: a freeze, and the release that may be deployed in spite of it, each with its reason; see
`freeze`. Only `fleetswap freeze` and `unfreeze` write them."""

ALL_KEYS = (PIN, ON_DEMAND, SCALE_IN, SCHEDULES, ABORT, PAUSED, CONTINUE, LIVE, STANDBY, ROLLED_BACK, BOOTS, OWNER)
"""Every tag that only rollouts write."""

OVERDUE = timedelta(minutes=5)
"""How long after its end the tag of a pause may still be there: the clocks of two computers differ."""

STANDBY_ACTION = "fleetswap-standby"
"""Name of the scheduled action that scales a standby in (PutScheduledUpdateGroupAction)."""


LEFT = "left"
"""The note of a scale-in of what is of no more use: a candidate that failed, a former release that is not kept."""


@dataclass(frozen=True)
class ScaleIn:
    """The value of `SCALE_IN`: `<time> <note>`; the time is that of the scheduled action, ISO 8601 in UTC.

    The note is empty for a standby, `LEFT` for what is of no more use, and the run of a rollout that has planned the
    scale-in of its own candidate for the case that it dies.
    """

    at: str
    note: str = ""

    @classmethod
    def read(cls, value: str) -> ScaleIn:
        """A tag's value; a lone time is that of a standby."""
        at, _, note = value.partition(" ")
        return cls(at, note)

    @property
    def value(self) -> str:
        """As it is written."""
        return f"{self.at} {self.note}".strip()


@dataclass(frozen=True)
class Paused:
    """The value of `PAUSED`: `<run> <place> <since> <until> <otherwise>`; times are ISO 8601, in UTC.

    `run` and `place` name the pause: no run waits at one place twice, so what continues it continues no later one.
    """

    run: str
    place: str
    since: str
    until: str
    otherwise: str

    @classmethod
    def read(cls, value: str) -> Paused | None:
        """A tag's value; None for what no rollout has written."""
        parts = value.split()
        return cls(*parts) if len(parts) == 5 else None

    @property
    def value(self) -> str:
        """As it is written."""
        return " ".join((self.pause, self.since, self.until, self.otherwise))

    @property
    def pause(self) -> str:
        """Which pause it is."""
        return f"{self.run} {self.place}"

    def is_over(self, now: datetime) -> bool:
        """Whether its time has been over for so long that its deployer must have died, whatever the clocks say."""
        try:
            return datetime.fromisoformat(self.until) + OVERDUE < now
        except (TypeError, ValueError):
            return False

    @property
    def before(self) -> str:
        """What it waits for, in words."""
        weight = number(self.place.removeprefix("before-"))
        return "before any traffic" if weight is None else f"before {weight} %"


def continues(value: str | None, pause: str) -> bool:
    """Whether the value of a tag `CONTINUE` is meant for this pause."""
    return value is not None and value.split()[:2] == pause.split()


@dataclass(frozen=True)
class RolledBack:
    """The value of `ROLLED_BACK`: `<release> <time>`. Blanks are allowed in a tag's value (ELBv2 AddTags)."""

    release: str
    at: str = ""

    @classmethod
    def read(cls, value: str) -> RolledBack:
        """A tag's value; a lone release is one without a time."""
        release, _, at = value.partition(" ")
        return cls(release, at)

    @property
    def value(self) -> str:
        """As it is written."""
        return f"{self.release} {self.at}".strip()


def number(value: str | None) -> int | None:
    """The number in a tag; None for a tag that is not there, or that no rollout has written."""
    return int(value) if value is not None and value.isascii() and value.isdigit() else None
