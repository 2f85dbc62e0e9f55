"""A replay in words: what would have happened, and when, or that nobody can know. Only the words."""

from __future__ import annotations

from collections.abc import Iterator

from fleetswap.domain.rollout import wording
from fleetswap.domain.rollout.action_words import words
from fleetswap.domain.rollout.health import Verdict
from fleetswap.domain.rollout.messages import Change, End, Wait
from fleetswap.domain.rollout.replay import How, Moment, Parting, Replay
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.text import counted, duration

UNKNOWN = "what would have followed is not in the record"


def conclusion(replayed: Replay, short: str = "") -> str:
    """What is to be said in one line. `short` is why the record ends before the rollout did."""
    if replayed.parting is not None:
        return _parted(replayed.parting, short=bool(short))
    differ = sum(map(replayed.differs, range(len(replayed.other))))
    end = f", until {duration(replayed.other[-1].at)}: {short}" if short else ""
    if not differ:
        return f"all {counted(len(replayed.other), 'action')} are the same, at the same times{end}"
    return f"it would have gone the same way: only waits or schedules differ, in {counted(differ, 'action')}{end}"


def lines(replayed: Replay) -> Iterator[str]:
    """The actions in order. What differs is marked, with what the rollout did. Readings and waits are counted."""
    reads = list[int]()
    for number, moment in enumerate(replayed.other):
        final = number == len(replayed.other) - 1
        parted = final and replayed.parting is not None
        begins = not reads or replayed.other[reads[0]].state.phase is not moment.state.phase
        if reads and (begins or parted or isinstance(moment.action, Change | End)):
            yield _reads(replayed, reads)
            reads = []
        if parted or isinstance(moment.action, Change | End):
            yield _line(replayed, number)
        else:
            reads.append(number)
    if reads:
        yield _reads(replayed, reads)


def _reads(replayed: Replay, numbers: list[int]) -> str:
    first = replayed.other[numbers[0]]
    readings = sum(not isinstance(replayed.other[number].action, Wait) for number in numbers)
    mark = "~" if any(map(replayed.differs, numbers)) else " "
    return _row(mark, first, counted(readings, "reading"))


def _line(replayed: Replay, number: int) -> str:
    moment, rollout = replayed.other[number], replayed.rollout[number]
    said = words(moment.action, moment.state.order)
    parted = replayed.parting is not None and number == len(replayed.other) - 1
    if parted or replayed.differs(number):
        said += f" (the rollout: {words(rollout.action, rollout.state.order)})"
    return _row("*" if parted else "~" if replayed.differs(number) else " ", moment, said)


def _row(mark: str, moment: Moment, text: str) -> str:
    return f"{mark} {duration(moment.at):>8}  {moment.state.phase:<9} {text}"


def _parted(parting: Parting, *, short: bool) -> str:
    at, then = duration(parting.other.at), parting.then
    part = part_of(parting.before)
    sooner = f", {duration(then.at - parting.other.at)} before the rollout did" if then else ""
    never = "" if then or short else "; the rollout did not"
    match parting.how:
        case How.FAILS:
            reason = parting.other.state.ending.reason
            return f"it would have aborted at {at} in {part}{sooner}{never}: {reason}"
        case How.GOES_ON:
            why = parting.rollout.state.ending.reason
            open_ = _open(parting.other.state)
            return f"it would not have aborted at {at} in {part}, as the rollout did ({why}){open_}; {UNKNOWN}"
        case How.SOONER:
            return f"it would have passed {part} at {at}{sooner}{never}; {UNKNOWN}"
        case How.LATER:
            return f"it would not have passed {part} at {at}, as the rollout did{_later(parting)}; {UNKNOWN}"
        case _:
            one, two = (words(each.action, each.state.order) for each in (parting.other, parting.rollout))
            return f"at {at} it would have parted from the rollout: {one} (the rollout: {two}); {UNKNOWN}"


def part_of(state: State) -> str:
    """What a rollout is in, in words."""
    match state.phase:
        case Phase.HOLD | Phase.SHIFT if state.steps:
            return f"the step with {state.steps[0].weight} %"
        case phase:
            return f"the {phase}"


def _open(state: State) -> str:
    """What speaks against going on."""
    against = [finding for finding in state.evidence if finding.verdict is not Verdict.PROMOTE]
    return f"; still open then: {wording.reasons(against)}" if against else ""


def _later(parting: Parting) -> str:
    state, at = parting.other.state, parting.other.at
    found = _open(state)
    left = state.hold_until - state.started - at
    if parting.then is not None:
        later = duration(parting.then.at - at)
        return f"{found}; it would have passed {later} later if every reading had stayed as it was"
    if state.phase in {Phase.HOLD, Phase.BAKE} and left > 0:
        return f"{found}; it would have passed {duration(left)} later at the earliest"
    return found
