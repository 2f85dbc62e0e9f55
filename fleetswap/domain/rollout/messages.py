"""The messages of the state machine: the actions that it asks for, and the events that come back.

Only values; nothing here decides. Every action is safe to repeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fleetswap.domain.rollout.evidence import Evidence
from fleetswap.domain.rollout.health import Answer, Failure, Reading, Target
from fleetswap.domain.rollout.metric_values import MetricRead
from fleetswap.domain.rollout.model import Armed, Group, ReleaseTarget, Rule
from fleetswap.domain.rollout.moments import HookCall, HookResult, Otherwise
from fleetswap.domain.rollout.schedules import Schedule
from fleetswap.domain.rollout.warm_pool import WarmPool
from fleetswap.domain.secrets.key_state import KeyState

# Changes. The answer to each is `Did`.


@dataclass(frozen=True)
class Resize:
    """Write a group's minimum and, unless it is None, its desired capacity.

    `lower`: only if that lowers the minimum. AWS raises a desired capacity to the minimum, and someone else may have
    scaled the group in.
    """

    target: ReleaseTarget
    minimum: int
    desired: int | None
    lower: bool = False


@dataclass(frozen=True)
class Tag:
    """Write a tag of a group."""

    target: ReleaseTarget
    key: str
    value: str


@dataclass(frozen=True)
class Untag:
    """Take tags off a group."""

    target: ReleaseTarget
    keys: tuple[str, ...]


@dataclass(frozen=True)
class MarkPaused:
    """Tag a group: its rollout waits for a person at this pause (`rollout_tags.Paused`) for so many seconds."""

    target: ReleaseTarget
    pause: str
    seconds: float
    otherwise: Otherwise


@dataclass(frozen=True)
class OnDemand:
    """Write the percentage of a group's machines that are on demand.

    `instead` is how many of them are in the place of spot machines then; 0 when it restores what the group had.
    """

    target: ReleaseTarget
    percent: int
    instead: int = 0


@dataclass(frozen=True)
class ScheduleScaleIn:
    """Let AWS scale a group to 0 in so many seconds, not when it would by now; `note` is `rollout_tags.ScaleIn`'s.

    With the note of this run it is planned for the case that we die, so that the group may have traffic meanwhile, but
    only if our own switch would take it away before (else `Held`).
    """

    target: ReleaseTarget
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class CancelScaleIn:
    """Do not let AWS scale a group in."""

    target: ReleaseTarget


@dataclass(frozen=True)
class Follow:
    """Let a group follow these schedules and no others; with some, its minimum becomes the one that is due now.

    `minimum` is the one before any of them was due.
    """

    target: ReleaseTarget
    schedules: tuple[Schedule, ...]
    minimum: int = 0


@dataclass(frozen=True)
class KeepWarmPool:
    """Give a group this warm pool, in place of any other; None takes it away with its machines."""

    target: ReleaseTarget
    pool: WarmPool | None


@dataclass(frozen=True)
class Arm:
    """Set the dead man's switch, or push it out: in so many seconds it writes `rule`.

    Another run's is taken over; if `guarded`, it is left alone instead (`Held`).
    """

    seconds: float
    rule: Rule
    guarded: bool = False


@dataclass(frozen=True)
class Disarm:
    """Delete the dead man's switch; that of another run only if `anyones`."""

    anyones: bool = False


@dataclass(frozen=True)
class Route:
    """Write the weights.

    If `guarded`, the world is looked at in the same breath, and nothing is written (`Held`) unless the rule is still
    `expected`, the switch, if there is one, is ours, and the candidate has healthy machines that AWS neither scales in
    nor is to: ELBv2 has no conditional write, and this is the nearest to one.
    """

    weights: tuple[tuple[str, int], ...]
    guarded: bool = False
    expected: Rule | None = None
    machines: int = 0
    """How many machines the candidate's group is to have at least: what AWS is scaling in still answers for a while."""
    again: bool = False
    """A try before got no answer, so the rule may be as it is to be."""


@dataclass(frozen=True)
class Restore:
    """Write the actions of the rule as they were before; without a rule before, delete it.

    If `guarded`, only while the switch is ours, and if what gets the traffic has healthy machines (else `Held`).
    """

    rule: Rule | None
    guarded: bool = False


@dataclass(frozen=True)
class TagRule:
    """Write tags of the rule, and take others off it."""

    tags: tuple[tuple[str, str], ...]
    remove: tuple[str, ...] = ()


@dataclass(frozen=True)
class MendRule:
    """Take off the rule what no rollout has put there (`Rule.odd`); its weights stay."""


Change = (
    Resize
    | Tag
    | Untag
    | MarkPaused
    | OnDemand
    | ScheduleScaleIn
    | CancelScaleIn
    | Follow
    | KeepWarmPool
    | Arm
    | Disarm
    | Route
    | Restore
    | TagRule
    | MendRule
)

# Readings.


@dataclass(frozen=True)
class Look:
    """Read the rule, every group, the targets of the candidate and of the serving releases, and the switch.

    What has traffic and is not in the order is looked up by its target group.

    The first look also reads the rule's tags, the alarms, the metrics, and earlier failed activities. After a look for
    `scaling`, the candidate is scaled again, whatever its health.
    """

    first: bool = True
    scaling: bool = False


@dataclass(frozen=True)
class ReadHealth:
    """Read the candidate's targets, and what its group does if fewer than `wanted` are healthy."""

    wanted: int


@dataclass(frozen=True)
class ReadImages:
    """Read which images these machines run."""

    machines: tuple[str, ...]


@dataclass(frozen=True)
class Probe:
    """Send a request to the candidate through its preview rule."""


@dataclass(frozen=True)
class Confirm:
    """Read the rule and the candidate's targets, and send a request to the plain address."""


@dataclass(frozen=True)
class ReadEvidence:
    """Read all evidence for and against the candidate; requests are counted since so many seconds ago.

    `live` is the target group that had the traffic before, with which the candidate is compared. With `shared` it still
    has some of it, so that its health matters, too.
    """

    seconds: float
    live: str | None
    shared: bool


@dataclass(frozen=True)
class Explain:
    """Fetch the end of the console of the first of these machines that has one."""

    machines: tuple[str, ...]


@dataclass(frozen=True)
class Compare:
    """Read the rule and the switch, and count the healthy targets of what served before and of the candidate."""

    before: tuple[str, ...]


@dataclass(frozen=True)
class ReadRule:
    """Read the rule."""


@dataclass(frozen=True)
class RunHook:
    """Start a hook, unless this very run of it was started, and wait so many seconds for its end."""

    call: HookCall
    seconds: float


@dataclass(frozen=True)
class Wait:
    """Wait for so many seconds, show why, then do `then`."""

    seconds: float
    why: str
    then: Action


class Kind(StrEnum):
    """Why a rollout ended without success; it decides which error is raised."""

    ABORTED = "aborted"
    CANCELLED = "cancelled"
    """A person, and nothing about the release, has ended it."""
    INPUT = "input"
    CLOUD = "cloud"
    BROKE = "broke"


@dataclass(frozen=True)
class End:
    """The end. `kind` is None after a success; `problems` is what could not be restored, `remedy` is what may help."""

    kind: Kind | None = None
    reason: str = ""
    problems: tuple[str, ...] = ()
    remedy: str = ""


Action = (
    Change
    | Look
    | ReadHealth
    | ReadImages
    | Probe
    | Confirm
    | ReadEvidence
    | Explain
    | Compare
    | ReadRule
    | RunHook
    | Wait
    | End
)

# What comes back.


@dataclass(frozen=True)
class Seen:
    """The answer to `Look`. A group that does not exist is None; `armed` is None without a switch, too."""

    rule: Rule | None
    groups: tuple[tuple[str, Group | None], ...]
    targets: tuple[tuple[str, tuple[Target, ...]], ...]
    failures: tuple[Failure, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    alarms: Mapping[str, str] = field(default_factory=dict)
    armed: Armed | None = None
    strangers: tuple[ReleaseTarget, ...] = ()
    """Releases of this service that have traffic, or that the switch would put it on, and that no order names."""
    unknown: tuple[str, ...] = ()
    """What could not be read, and is not needed (`Terms.best_effort`)."""
    armed_known: bool = True
    keys: tuple[KeyState, ...] = ()
    """Of the keys that the candidate needs."""
    metrics: tuple[MetricRead, ...] = ()
    """The values of `rollout.metrics` before the candidate has traffic; only of the first look."""
    time: float | None = None
    """When, in Unix seconds by the deployer's clock; only of a rule with a freeze, which has an end."""

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
class Held:
    """The answer to a guarded change that was not made, for certain."""

    why: str


@dataclass(frozen=True)
class HealthRead:
    """The answer to `ReadHealth`."""

    reading: Reading


@dataclass(frozen=True)
class ImagesRead:
    """The answer to `ReadImages`; a machine that EC2 does not know is missing."""

    images: Mapping[str, str]


@dataclass(frozen=True)
class Probed:
    """The answer to `Probe`."""

    answer: Answer


@dataclass(frozen=True)
class Confirmed:
    """The response to `Confirm`. `rule_known` and `targets` show where AWS did not respond."""

    rule: Rule | None
    rule_known: bool
    targets: tuple[Target, ...] | None
    answer: Answer | None
    """None if there is no address to ask at."""


@dataclass(frozen=True)
class EvidenceRead:
    """The answer to `ReadEvidence`."""

    evidence: Evidence


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
    rule: Rule | None = None
    rule_known: bool = False
    armed: Armed | None = None
    armed_known: bool = False


@dataclass(frozen=True)
class RuleRead:
    """The answer to `ReadRule`."""

    rule: Rule | None


@dataclass(frozen=True)
class HookRead:
    """The answer to `RunHook`; None while it runs."""

    result: HookResult | None


@dataclass(frozen=True)
class Unanswered:
    """The action may or may not have been done: AWS did not answer. Doing it again is right."""

    why: str


@dataclass(frozen=True)
class Broke:
    """The action raised something else: a refusal, an interruption, a defect; or a person wants the rollout to stop.

    `kind` says of which kind the end is then. `refused`: AWS has refused it, and nothing else is wrong.
    """

    why: str
    kind: Kind = Kind.BROKE
    refused: bool = False


Event = (
    Seen
    | Did
    | Held
    | HealthRead
    | ImagesRead
    | Probed
    | Confirmed
    | EvidenceRead
    | Explained
    | Compared
    | RuleRead
    | HookRead
    | Unanswered
    | Broke
)
