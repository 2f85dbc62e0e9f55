"""A replay: what a rollout read goes through the same state machine again, perhaps under other settings.

With the rollout's own settings every action is the same at the same time; anything else is a defect, or another version
of the state machine. Under other settings it goes on as long as the same would have been done, so that the world would
have been the same. It ends with the first action that differs: how AWS and the users would have responded to that,
nobody has recorded. It assumes that readings would have come when they came. A wait of another length, and other
seconds until AWS would act if we died, are not such a difference. It is pure; `replay_words` has the words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from fleetswap.domain.errors import FleetswapError
from fleetswap.domain.rollout.machine import begin, step
from fleetswap.domain.rollout.messages import (
    Action,
    Arm,
    Broke,
    Did,
    End,
    Event,
    ReadEvidence,
    RunHook,
    ScheduleScaleIn,
    Unanswered,
    Wait,
)
from fleetswap.domain.rollout.model import Order
from fleetswap.domain.rollout.policy import Policy
from fleetswap.domain.rollout.readings import name_of
from fleetswap.domain.rollout.state import Phase, State

HELD_SECONDS = 600.0
"""How long the last readings are held, to see what they would have led to."""

READING_SECONDS = 0.1
"""How long one of these readings takes, about."""

STAGES = {phase: number for number, phase in enumerate([*Phase][:6])} | {
    Phase.HOLD: 5,
    Phase.BAKE: 5,
    Phase.SETTLE: 6,
    Phase.DONE: 7,
}
"""How far a rollout is that has not failed. Of those that move traffic, the weight says more."""


@dataclass(frozen=True)
class Answer:
    """What an action got, and when, by the rollout's clock."""

    clock: float
    to: str
    """The name of the action (`readings.ACTIONS`)."""
    event: Event


@dataclass(frozen=True)
class Recorded:
    """All that a rollout decided by, from its record."""

    order: Order
    run: str
    clock: float
    """When it began."""
    answers: tuple[Answer, ...]
    phases: tuple[tuple[float, Phase], ...] = ()
    """When which phase was entered."""
    short: str = ""
    """Why the record does not go to the end of the rollout; empty if it does."""


@dataclass(frozen=True)
class Moment:
    """What is being done from a time on. `at` is in seconds since the rollout began."""

    at: float
    state: State

    @property
    def action(self) -> Action:
        """What is being done."""
        return self.state.doing


class How(StrEnum):
    """How other settings part from what the rollout did."""

    FAILS = "fails"
    """They would have ended it."""
    GOES_ON = "goes on"
    """It failed, and they would have gone on."""
    SOONER = "sooner"
    """They would have passed what it was waiting for."""
    LATER = "later"
    """They would have waited on."""
    OTHERWISE = "otherwise"
    """They would have done something else, for example written other weights."""


@dataclass(frozen=True)
class Parting:
    """Where the other settings lead to another action."""

    how: How
    before: State
    """What both were doing until then."""
    rollout: Moment
    """What the rollout did."""
    other: Moment
    """What would have been done."""
    then: Moment | None = None
    """If it is sooner, or fails: when the rollout did the same; None if it did not. If it is later: when it would have
    passed if every reading had stayed as it was; None if that says nothing."""


@dataclass(frozen=True)
class Replay:
    """`rollout` is what was done, `other` what would have been done: as long until they part, the last one there."""

    rollout: tuple[Moment, ...]
    other: tuple[Moment, ...]
    parting: Parting | None = None

    def differs(self, number: int) -> bool:
        """Whether an action is not exactly that of the rollout."""
        return self.rollout[number].action != self.other[number].action


def course(recorded: Recorded) -> tuple[Moment, ...]:
    """What the rollout did, from its first action to the end, or to where its record ends.

    `FleetswapError` if it is not what the record says that it did.
    """
    state = begin(recorded.order, recorded.clock, recorded.run)
    made = [Moment(0.0, state)]
    for answer in recorded.answers:
        if name_of(state.doing) != answer.to:
            raise FleetswapError(_otherwise(made[-1].at, answer.to, name_of(state.doing)))
        state = step(state, answer.event, answer.clock)
        made.append(_moment(recorded, state, answer.clock))
    if not recorded.short and not isinstance(state.doing, End):
        raise FleetswapError(_otherwise(made[-1].at, "end", name_of(state.doing)))
    entered = [(now.at, now.state.phase) for one, now in pairwise(made) if one.state.phase is not now.state.phase]
    for (at, phase), (when, found) in zip(recorded.phases, entered, strict=False):
        if (at, phase) != (when, found):
            raise FleetswapError(_otherwise(at, f"enter {phase}", f"enter {found} at {when:.3f} s"))
    return tuple(made)


def _otherwise(at: float, rollout: str, now: str) -> str:
    return (
        f"at {at:.3f} s the rollout did {rollout}, and this version of Fleetswap does {now}: replay the record with the"
        " version that wrote it"
    )


def replay(recorded: Recorded, policy: Policy) -> Replay:
    """The rollout under another policy. `FleetswapError` as of `course`."""
    rollout = course(recorded)
    state = begin(replace(recorded.order, policy=policy), recorded.clock, recorded.run)
    other = [Moment(0.0, state)]
    for moment, answer in zip(rollout, recorded.answers, strict=False):
        if not _alike(moment.state, state):
            break
        state = step(state, answer.event, answer.clock)
        other.append(_moment(recorded, state, answer.clock))
    last = len(other) - 1
    if _alike(rollout[last].state, state):
        return Replay(rollout, tuple(other))
    return Replay(rollout, tuple(other), _parting(recorded, rollout, other[-1], last))


def _moment(recorded: Recorded, state: State, clock: float) -> Moment:
    return Moment(round(clock - recorded.clock, 3), state)


def _alike(rollout: State, other: State) -> bool:
    """Whether what the other one does gets the answer that the rollout got, and leaves the world as it left it."""
    return rollout.phase is other.phase and _essence(rollout.doing) == _essence(other.doing)


def _essence(action: Action) -> object:
    """An action without what makes no difference to the world as long as this process lives."""
    match action:
        case Wait():
            return Wait, _essence(action.then)
        case ReadEvidence() | Arm() | ScheduleScaleIn() | RunHook():
            return replace(action, seconds=0.0)
        case End():
            return End, action.kind
        case _:
            return action


def stage(state: State) -> tuple[int, int]:
    """How far a rollout is that has not failed: the phase, and the weight whose turn it is."""
    between = state.phase in {Phase.HOOK, Phase.PAUSE}
    number = STAGES[Phase.HOLD if state.moved else Phase.PROBE] if between else STAGES.get(state.phase, -1)
    if number != STAGES[Phase.HOLD] or not state.steps:
        return number, 0
    return number, 2 * state.steps[0].weight + (state.phase is not Phase.SHIFT)


def failed(state: State) -> bool:
    """Whether a rollout is being undone, or was."""
    return state.phase.is_back or (isinstance(state.doing, End) and state.doing.kind is not None)


def _parting(recorded: Recorded, rollout: Sequence[Moment], other: Moment, number: int) -> Parting:
    it, state = rollout[number], other.state
    how, then = _how(it.state, state), None
    if how is How.FAILS:
        then = next((each for each in rollout[number:] if failed(each.state)), None)
    elif how is How.SOONER:
        ahead = (each for each in rollout[number:] if not failed(each.state))
        then = next((each for each in ahead if stage(each.state) > stage(state) or _alike(each.state, state)), None)
    elif how is How.LATER:
        none = Did | Unanswered | Broke
        readings = {each.to: each.event for each in recorded.answers[:number] if not isinstance(each.event, none)}
        then = _held(recorded, other, readings)
    return Parting(how, rollout[number - 1].state, it, other, then)


def _how(rollout: State, other: State) -> How:
    if failed(rollout) != failed(other):
        return How.FAILS if failed(other) else How.GOES_ON
    waits = isinstance(rollout.doing, Wait), isinstance(other.doing, Wait)
    if rollout.phase is other.phase and waits[0] == waits[1]:
        return How.OTHERWISE
    if rollout.phase is other.phase:
        return How.SOONER if waits[0] else How.LATER
    return How.SOONER if stage(other) > stage(rollout) else How.LATER


def _held(recorded: Recorded, other: Moment, events: Mapping[str, Event]) -> Moment | None:
    """The next stage, if every reading had stayed as it was. A failure says nothing: figures that do not come are one.

    What was never read, and a change, whose answer nobody knows, end it as well.
    """
    state, clock = other.state, recorded.clock + other.at
    until = clock + HELD_SECONDS
    while clock < until and stage(state) == stage(other.state) and not failed(state):
        if isinstance(state.doing, Wait):
            clock += state.doing.seconds
            state = step(state, Did(), clock)
        elif (event := events.get(name_of(state.doing))) is not None:
            clock += READING_SECONDS
            state = step(state, event, clock)
        else:
            return None
    return _moment(recorded, state, clock) if stage(state) > stage(other.state) else None
