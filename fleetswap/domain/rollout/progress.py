"""The progress of a rollout: a few words for its row in the terminal, and the lines that stay in the log.

It decides only the words, and which of them are new. The row is overwritten all the time; a line is printed once.
"""

from __future__ import annotations

from collections.abc import Sequence

from fleetswap.domain.rollout import health, wording
from fleetswap.domain.rollout.findings import Finding
from fleetswap.domain.rollout.health import Reading, Verdict
from fleetswap.domain.rollout.messages import (
    Confirmed,
    Event,
    EvidenceRead,
    HealthRead,
    HookRead,
    OnDemand,
    Probed,
    Seen,
    Unanswered,
    Wait,
)
from fleetswap.domain.rollout.moments import Otherwise
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.strategy import ALL
from fleetswap.domain.text import capacity, duration, one_line

ROW_CHARS = 72
"""Greatest length of a row's words: the terminal cuts off what is longer, and the resource's name comes first."""


def row(state: State, event: Event, now: float) -> str:
    """What a rollout waits for, from the event that it has just answered to; empty if there is nothing new to say."""
    text, path = "", state.order.policy.probe_path
    match event:
        case Unanswered():
            text = f"{state.phase}: {event.why}"
        case HealthRead() if state.phase is Phase.GATE:
            text = f"gate: {_machines(event.reading, state.wanted)}"
        case Probed():
            text = f"probe: {path}: {wording.answer(event.answer)}"
        case Confirmed():
            text = (
                f"{_part(state)}: {path}: {wording.answer(event.answer)}"
                if event.answer
                else f"{_part(state)}: written"
            )
        case EvidenceRead() | Seen() if state.pause is not None and isinstance(state.doing, Wait):
            time = f"{duration(max(0.0, state.pause_until - now))} left"
            text = f"paused {state.pause.before}, {time}; `fleetswap continue`"
        case HookRead() | EvidenceRead() | Seen() if state.hook_until is not None:
            time = duration(max(0.0, state.hook_until - now))
            text = f"{state.moment}: {state.hook.hook.label} runs, {time} left"
        case EvidenceRead() if isinstance(state.doing, Wait):
            left = state.hold_until - now
            time = f"{duration(left)} left" if left > 0 else "waiting for evidence"
            text = f"{_part(state)}, {time}; {_open(state.evidence)}"
        case _:
            pass
    return text if len(text) <= ROW_CHARS else f"{text[: ROW_CHARS - 1]}…"


def lines(before: State, after: State) -> tuple[str, ...]:
    """What a change of the phase tells: how the last phase ended, with its evidence, and what comes now."""
    release = after.order.candidate.release
    if isinstance(after.doing, OnDemand) and after.doing.instead and after.doing != before.doing:
        launched = wording.on_demand(after.doing.instead, weighted=after.weighted)
        return (f"{release}: EC2 has no Spot capacity: launching {launched} in place of Spot",)
    if after.freeze and after.freeze != before.freeze:
        return (after.freeze, *_of_phase(before, after))
    if after.hook_until is not None and after.hook_until != before.hook_until:
        hook = after.hook.hook
        limit = duration(hook.timeout)
        return (*_of_phase(before, after), f"{release}: {hook.at}: running {hook.label}, for {limit} at most")
    return _of_phase(before, after)


def _of_phase(before: State, after: State) -> tuple[str, ...]:
    if after.phase == before.phase:
        return ()
    release = after.order.candidate.release
    found = [f"{release}: {text}" for text in (_passed(before, after), _entered(after)) if text]
    return tuple(found)


def _passed(before: State, after: State) -> str:
    """A step that was watched and is over, with what speaks for going on."""
    if before.phase not in {Phase.HOLD, Phase.BAKE} or after.phase.is_back or not before.evidence:
        return ""
    weight = dict(before.written[-1]).get(before.order.candidate.target_group, 0) if before.written else ALL
    return f"passed with {_share(weight)}: {wording.reasons(before.evidence)}"


def _entered(state: State) -> str:
    previous = state.previous or "nothing"
    machines = capacity(state.wanted, weighted=state.weighted)
    step = state.steps[0] if state.steps else None
    seconds = f", watched for at least {duration(step.hold)}" if step is not None and step.hold else ""
    return {
        Phase.RECOVER: f"a rollout that died left the traffic shared; restoring it to {previous} first",
        Phase.SCALE: f"scaling to {machines}; {previous} has the traffic",
        Phase.GATE: f"waiting until {machines} {'is' if state.wanted == 1 else 'are'} healthy",
        Phase.PROBE: f"healthy, probing {state.order.policy.probe_path}",
        Phase.SHIFT: f"moving {_traffic(state)}" + (f" from {previous}" if state.served else ""),
        Phase.HOLD: f"has {_traffic(state)}{seconds}",
        Phase.BAKE: f"has all the traffic{seconds}",
        Phase.PAUSE: _paused(state),
        Phase.SETTLE: "has all the traffic",
        Phase.PUT_BACK: f"{state.ending.reason}; restoring the traffic to {previous}",
        Phase.CLEAN_UP: "cleaning up",
    }.get(state.phase, "")


def _paused(state: State) -> str:
    if state.pause is None:
        return ""
    then = "is aborted" if state.pause.otherwise is Otherwise.ABORT else "continues"
    time = duration(state.pause.deadline)
    return f"paused {state.pause.before}: run `fleetswap continue` or `fleetswap abort`; in {time} it {then}"


def _traffic(state: State) -> str:
    return _share(state.steps[0].weight if state.steps else ALL)


def _share(weight: int) -> str:
    return "all the traffic" if weight == ALL else f"{weight} % of the traffic"


def _part(state: State) -> str:
    return f"{state.steps[0].weight if state.steps else ALL} %"


def _open(found: Sequence[Finding]) -> str:
    """What speaks against going on; if nothing does, the last finding, which is the one about what users got."""
    against = [finding for finding in found if finding.verdict is not Verdict.PROMOTE]
    return wording.reasons(against or found[-1:])


def _machines(reading: Reading, wanted: int) -> str:
    """How many there are of how many, and what the first of the others waits for."""
    if reading.targets is None:
        return "AWS does not answer"
    parts = [f"{health.healthy(reading.targets)}/{wanted} healthy"]
    if reading.machines is not None:
        parts.insert(0, f"{health.launched(reading.machines)}/{wanted} launched")
    waiting = [target for target in reading.targets if not (target.is_healthy or target.is_leaving)]
    why = (waiting[0].description or waiting[0].reason or waiting[0].state) if waiting else ""
    why = one_line(why).lower().removesuffix(" in progress").removesuffix(" is")
    why = why.replace("health checks failed with these codes:", "health check returns")  # else the code is cut off
    return f"{', '.join(parts)}{f' ({why})' if why else ''}"
