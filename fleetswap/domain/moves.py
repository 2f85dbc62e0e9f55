"""The state of a rollout, and the words of its machine: actions, which it asks for, and events, which come back.

Only values; nothing here decides. Every action is safe to repeat.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from fleetswap.domain.gate import Answer, Failure, Reading, Streak, Target
from fleetswap.domain.orders import Group, Order, Rule, Side

# What the machine asks its hands to do. Each is safe to repeat.


@dataclass(frozen=True)
class Look:
    """Read the rule, every group, the targets of the candidate and of what serves, and the failed activities."""


@dataclass(frozen=True)
class Resize:
    """Write a group's minimum and, unless it is None, its desired capacity."""

    side: Side
    minimum: int
    desired: int | None


@dataclass(frozen=True)
class ReadHealth:
    """Read the candidate's targets, and what its group does if fewer than `wanted` are healthy."""

    wanted: int


@dataclass(frozen=True)
class Probe:
    """Ask the candidate through its preview rule."""


@dataclass(frozen=True)
class Route:
    """Write the weights."""

    weights: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Confirm:
    """Read the rule and the candidate's targets, and ask the plain address."""


@dataclass(frozen=True)
class Explain:
    """Fetch the end of the console of the first of these machines that has one."""

    machines: tuple[str, ...]


@dataclass(frozen=True)
class Compare:
    """Count the healthy targets of what served before and of the candidate."""

    before: tuple[str, ...]


@dataclass(frozen=True)
class Restore:
    """Write the actions of the rule as they were before; without a rule before, delete it."""

    rule: Rule | None


@dataclass(frozen=True)
class ReadRule:
    """Read the rule."""


@dataclass(frozen=True)
class Wait:
    """Wait for so many seconds, tell why, then do `then`."""

    seconds: float
    why: str
    then: Action


class Kind(StrEnum):
    """Why a rollout ended without success; it decides which error is raised."""

    ABORTED = "aborted"
    INPUT = "input"
    CLOUD = "cloud"
    BROKE = "broke"


@dataclass(frozen=True)
class End:
    """The end. `kind` is None after a success; `problems` are failures of the put-back."""

    kind: Kind | None = None
    reason: str = ""
    problems: tuple[str, ...] = ()


Action = Look | Resize | ReadHealth | Probe | Route | Confirm | Explain | Compare | Restore | ReadRule | Wait | End

# What comes back.


@dataclass(frozen=True)
class Seen:
    """The answer to `Look`. A group that does not exist is None."""

    rule: Rule | None
    groups: tuple[tuple[str, Group | None], ...]
    targets: tuple[tuple[str, tuple[Target, ...]], ...]
    failures: tuple[Failure, ...]

    def group(self, release: str) -> Group | None:
        """The group of a release."""
        return dict(self.groups).get(release)

    def targets_of(self, target_group: str) -> tuple[Target, ...]:
        """The targets of a target group that was looked at."""
        return dict(self.targets).get(target_group, ())


@dataclass(frozen=True)
class Did:
    """A change was accepted, or a wait is over."""


@dataclass(frozen=True)
class HealthRead:
    """The answer to `ReadHealth`."""

    reading: Reading


@dataclass(frozen=True)
class Probed:
    """The answer to `Probe`."""

    answer: Answer


@dataclass(frozen=True)
class Confirmed:
    """The answer to `Confirm`. `rule_known` and `targets` tell what AWS did not answer to."""

    rule: Rule | None
    rule_known: bool
    targets: tuple[Target, ...] | None
    answer: Answer


@dataclass(frozen=True)
class Explained:
    """The answer to `Explain`: the machine and its console's end, or empty text."""

    machine: str
    console: str


@dataclass(frozen=True)
class Compared:
    """The answer to `Compare`; None is unknown."""

    before: int | None
    candidate: int | None


@dataclass(frozen=True)
class RuleRead:
    """The answer to `ReadRule`."""

    rule: Rule | None


@dataclass(frozen=True)
class Unanswered:
    """The action may or may not have been done: AWS did not answer. Doing it again is right."""

    why: str


@dataclass(frozen=True)
class Broke:
    """The action raised something else: a refusal, an interruption, a defect."""

    why: str


Event = Seen | Did | HealthRead | Probed | Confirmed | Explained | Compared | RuleRead | Unanswered | Broke


class Phase(StrEnum):
    """Where a rollout is. The last three are the put-back."""

    LOOK = "look"
    SCALE = "scale"
    GATE = "gate"
    PROBE = "probe"
    SHIFT = "shift"
    SETTLE = "settle"
    COMPARE = "compare"
    PUT_BACK = "put back"
    CLEAN_UP = "clean up"
    DONE = "done"

    @property
    def is_back(self) -> bool:
        """Whether the rollout has failed and is being undone."""
        return self in {Phase.COMPARE, Phase.PUT_BACK, Phase.CLEAN_UP}


@dataclass(frozen=True)
class State:
    """All that a rollout knows. `doing` is the action in flight: a new process could go on from here."""

    order: Order
    started: float
    deadline: float
    doing: Action
    streak: Streak
    ending: End
    phase: Phase = Phase.LOOK
    first: Seen | None = None
    """The world before anything was touched."""
    latest: Seen | None = None
    wanted: int = 0
    eager: bool = True
    """Whether the candidate was healthy from the first reading on."""
    suspects: tuple[str, ...] = ()
    queue: tuple[Resize, ...] = ()
    touched: tuple[Resize, ...] = ()
    """Sizes that were written, or may have been."""
    moved: bool = False
    """Whether the weights were written, or may have been."""
    leaving: bool = False
    """Whether what served before is being scaled in: from then on there is no way back."""
    refusals: int = 0

    @property
    def before(self) -> Rule | None:
        """The rule before anything was touched."""
        return self.first.rule if self.first else None

    @property
    def served(self) -> frozenset[str]:
        """The target groups that had traffic before."""
        return self.before.serving if self.before else frozenset()

    @property
    def previous(self) -> str | None:
        """The release that had the traffic before; if several shared it, all of them in one text."""
        return " and ".join(sorted(self.order.release_of(arn) for arn in self.served)) or None

    @property
    def is_live_already(self) -> bool:
        """Whether the candidate had all the traffic before."""
        return self.served == {self.order.candidate.target_group}

    def wait(self, seconds: float, why: str, then: Action) -> State:
        """The state that waits before `then`."""
        return replace(self, doing=Wait(seconds, why, then))
