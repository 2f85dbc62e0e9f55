"""The words of a rollout: what is asked for, and what the world looks like.

Only values and their checks: `fleetswap.domain.rollout` decides with them, `fleetswap.workflows.rollout` acts on them.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleetswap.domain.errors import CloudError, InputError
from fleetswap.domain.gate import Machine

PRIORITY = 50_000
"""Of the rule that carries the weights: the last one that ELBv2 allows (CreateRule), so that preview rules win."""

PREVIEW_HEADER = "X-Fleetswap-Release"
"""Request header that a release's preview rule matches; its value is the release's id."""

ALL = 100
"""The weights of a rule sum to this; ELBv2 allows 0 to 999 for each target group (TargetGroupTuple)."""


class Unavailable(CloudError):
    """AWS did not answer for now (throttle, 5xx, time-out). A reading is then unknown; a change is tried again."""


@dataclass(frozen=True)
class Side:
    """One release as the rollout sees it: its id, the name of its auto scaling group, the ARN of its target group.

    `image` is the id of its AMI, which its machines must run; None if that is not to be checked.
    """

    release: str
    group: str
    target_group: str
    image: str | None = None


@dataclass(frozen=True)
class Policy:
    """How a rollout is judged and how long it may take. A value that makes no sense is an `InputError`."""

    capacity: int
    """Least number of machines of the live release; also how many a first deploy starts with."""
    deadline: float = 600.0
    """Seconds from the start until a candidate that is not healthy, or fails its probe, is given up."""
    readings: int = 3
    """Good readings in a row that count as proof; as many bad answers in a row after the shift put it back."""
    interval: float = 2.0
    """Seconds between two readings."""
    quick: float = 0.2
    """Seconds between two readings of what was good from the first one on: a warm standby, a rule just written."""
    probe_path: str = "/"
    """Path that is probed, through the preview rule and, after the shift, without it."""
    probe_statuses: tuple[int, ...] = (200,)
    """HTTP statuses that a probe accepts."""
    probe_timeout: float = 5.0
    """Seconds until a probe has failed."""
    shift_deadline: float = 60.0
    """Seconds until the new weights must be seen to hold."""
    patience: float = 300.0
    """Seconds that the clean-up after a shift may be tried for, and the put-back after a failure."""

    def __post_init__(self) -> None:
        """Refuse what can never succeed, or would not wait at all. Counts become ints: Pulumi hands on 2 as 2.0."""
        object.__setattr__(self, "capacity", _whole("capacity", self.capacity))
        object.__setattr__(self, "readings", _whole("readings", self.readings))
        statuses = tuple(_whole("probe_statuses", status) for status in self.probe_statuses)
        object.__setattr__(self, "probe_statuses", statuses)
        for name in ("capacity", "readings"):
            if getattr(self, name) < 1:
                raise InputError(f"rollout policy: {name} is {getattr(self, name)}, it must be 1 or more")
        for name in ("deadline", "interval", "quick", "probe_timeout", "shift_deadline", "patience"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"rollout policy: {name} is {getattr(self, name)}, it must be a time above 0 s")
        if not self.probe_path.startswith("/") or any(char.isspace() for char in self.probe_path):
            raise InputError(f"rollout policy: probe_path {self.probe_path!r} must start with / and hold no blanks")
        if not self.probe_statuses or any(not 100 <= status <= 599 for status in self.probe_statuses):
            raise InputError(
                f"rollout policy: probe_statuses {self.probe_statuses} must be HTTP statuses, at least one"
            )


def _whole(name: str, number: float) -> int:
    if int(number) != number:
        raise InputError(f"rollout policy: {name} is {number}, it must be a whole number")
    return int(number)


@dataclass(frozen=True)
class Order:
    """What is asked for: `candidate` gets all the traffic of `listener`.

    `others` are the other declared releases that may have machines. Of them `standby` is kept warm, which is: its
    size stays what it is and its group's minimum is raised to it, because target tracking would shrink a group without
    traffic, and going back to it must need no launch. The others are scaled to 0.
    """

    service: str
    listener: str
    url: str
    candidate: Side
    others: tuple[Side, ...]
    standby: str | None
    policy: Policy

    def __post_init__(self) -> None:
        """Refuse an order that names a release twice, or a standby that is not among the others."""
        for what in ("release", "group", "target_group"):
            names = [getattr(side, what) for side in self.sides]
            if len(set(names)) < len(names):
                raise InputError(f"rollout of {self.candidate.release}: two releases share one {what}: {names}")
        if self.standby is not None and self.standby not in {side.release for side in self.others}:
            raise InputError(f"rollout of {self.candidate.release}: standby {self.standby} is not one of the others")
        if not self.url.startswith(("http://", "https://")):
            raise InputError(f"rollout of {self.candidate.release}: {self.url!r} is not an http(s) address")

    @property
    def sides(self) -> tuple[Side, ...]:
        """All releases of the order, the candidate first."""
        return (self.candidate, *self.others)

    def release_of(self, target_group: str) -> str:
        """The release of a target group; of one that is not in the order, its ARN, which is all that is known."""
        return next((side.release for side in self.sides if side.target_group == target_group), target_group)


@dataclass(frozen=True)
class Rule:
    """The rule that carries the weights, as the listener has it.

    `weights` are pairs of target group and weight. `verbatim` is what the balancer needs to write the very same
    actions again, and the switch to have them written; for everyone else it is opaque.
    """

    weights: tuple[tuple[str, int], ...]
    verbatim: str = ""

    @property
    def serving(self) -> frozenset[str]:
        """The target groups that get requests."""
        return frozenset(target_group for target_group, weight in self.weights if weight > 0)

    def shares(self) -> frozenset[tuple[str, float]]:
        """What part of the requests each serving target group gets; a lone one has all, whatever its weight."""
        total = sum(weight for _, weight in self.weights)
        return frozenset((target_group, weight / total) for target_group, weight in self.weights if weight > 0)


def shares(rule: Rule | None) -> frozenset[tuple[str, float]] | None:
    """A rule's shares; None if there is no rule. Two rules that divide the requests alike are equal in this."""
    return rule.shares() if rule else None


@dataclass(frozen=True)
class Group:
    """An auto scaling group: its bounds, its desired capacity, its machines, and what its tags say (`marks`)."""

    minimum: int
    desired: int
    maximum: int
    machines: tuple[Machine, ...] = ()
    pin: int | None = None
    """The minimum that it is to have again: a rollout has raised it, and has not put it back yet (`marks.PIN`)."""
    abort: str | None = None
    """The reason why its rollout is to stop (`marks.ABORT`)."""
    scale_in: str | None = None
    """When AWS will scale it in by a scheduled action, or has (`marks.SCALE_IN`)."""
    on_demand_percent: int | None = None
    """OnDemandPercentageAboveBaseCapacity; None for a group without a mixed instances policy."""
    on_demand_pin: int | None = None
    """The percentage that it is to have again (`marks.ON_DEMAND`)."""


@dataclass(frozen=True)
class Armed:
    """The dead man's switch as it stands: in `seconds` (less than 0: due) it writes `rule`; `run` is who armed it."""

    rule: Rule
    seconds: float
    run: str
