"""A replay: identical under the same settings, and what it says, and does not say, under others."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.rollout import messages, readings
from fleetswap.domain.rollout.action_words import READS, words
from fleetswap.domain.rollout.evidence import Evidence
from fleetswap.domain.rollout.health import Answer, Target
from fleetswap.domain.rollout.machine import begin
from fleetswap.domain.rollout.messages import Did, End, Event, EvidenceRead, Seen, Wait
from fleetswap.domain.rollout.model import Rule
from fleetswap.domain.rollout.moments import Hook, HookCall, Moment, Otherwise
from fleetswap.domain.rollout.periods import Figures, Report, Told
from fleetswap.domain.rollout.rates import Limit
from fleetswap.domain.rollout.readings import ACTIONS, EVENTS, Answered, Answers, answers
from fleetswap.domain.rollout.record import plain
from fleetswap.domain.rollout.replay import How, Recorded, Replay, course, replay
from fleetswap.domain.rollout.replay_words import conclusion, lines
from fleetswap.domain.rollout.schedules import Schedule
from fleetswap.domain.rollout.state import Phase
from fleetswap.domain.rollout.strategy import Step, Strategy
from fleetswap.domain.rollout.warm_pool import WarmPool
from fleetswap.workflows.rollout import record_file
from fleetswap.workflows.rollout.read_record import read, recorded
from tests.rollout.records import record_of
from tests.rollout.test_canary import STEPS, deploy

ORDER = deploy()[1]
RULE = Rule((("tg-live", 95), ("tg-new", 5)))


@cache
def given(name: str) -> Recorded:
    return recorded(read(record_of(name), "record"), "record")


def under(name: str, **changes: object) -> Replay:
    return replay(given(name), replace(STEPS, **changes))  # type: ignore[arg-type] # names of its fields


def strategy(*steps: Step, bake: float = 60) -> Strategy:
    return Strategy(steps, bake=bake)


FIRST, SECOND = STEPS.strategy.steps[:2]


@pytest.mark.parametrize("name", ["good", "bad"])
def test_the_same_settings_do_the_same(name: str) -> None:
    """Nothing that a replay tells of other settings could be believed."""
    found = under(name)
    assert found.parting is None
    assert [moment.action for moment in found.other] == [moment.action for moment in found.rollout]
    assert isinstance(found.other[-1].action, End)
    entries = read(record_of(name), "record")
    assert entries.end is not None
    assert found.other[-1].at == entries.end.at
    assert conclusion(found) == f"all {len(found.other)} actions are the same, at the same times"
    assert not any(line.startswith(("*", "~")) for line in lines(found))


def test_a_stricter_limit_would_have_aborted_earlier() -> None:
    """The first question after a bad deploy, how much sooner it could have ended, would have no answer."""
    found = under("bad", errors=replace(STEPS.errors or Limit(), alpha=0.4))
    assert found.parting is not None
    assert (found.parting.how, found.parting.other.state.phase) == (How.FAILS, Phase.COMPARE)
    assert found.parting.then is not None
    assert found.parting.then.at > found.parting.other.at
    assert found.parting.then.state.phase is Phase.COMPARE
    said = conclusion(found)
    assert said.startswith("it would have aborted at 2:26 in the step with 5 %, 1:55 before the rollout did: ")
    assert "5xx: candidate 2 of 64" in said
    *_, last = lines(found)
    assert last.startswith("*     2:26  compare   compare the candidate")
    assert "(the rollout: wait 2.0 s: " in last


def test_a_laxer_limit_would_have_gone_on_and_no_one_knows_how() -> None:
    """A replay would make up what a release did that had no traffic any more."""
    found = under("bad", errors=None)
    assert found.parting is not None
    assert found.parting.how is How.GOES_ON
    said = conclusion(found)
    assert said.startswith("it would not have aborted at 4:21 in the step with 5 %, as the rollout did (")
    assert said.endswith("; what would have followed is not in the record")


def test_what_the_rollout_never_did_is_told() -> None:
    """An abort for figures that came too late would look like one that the rollout had, too."""
    found = under("good", data_deadline=30.0)
    said = conclusion(found)
    assert said.startswith("it would have aborted at 1:44 in the step with 5 %; the rollout did not: ")
    assert "the rollout did not" not in conclusion(found, "it was killed"), "nobody knows"


def test_a_step_that_would_have_been_passed_sooner() -> None:
    """A convergence that is too long could not be found out from the record."""
    found = under("good", convergence=10.0)
    assert found.parting is not None
    assert found.parting.how is How.SOONER
    assert conclusion(found).startswith(
        "it would have passed the step with 25 % at 8:40, 59 s before the rollout did; "
    )


def test_a_gate_that_would_have_been_passed_sooner_or_later() -> None:
    """More readings in a row would be said to change nothing."""
    sooner, later = under("start", readings=2), under("start", readings=6)
    assert conclusion(sooner).startswith("it would have passed the gate at 8 s, 2 s before the rollout did; ")
    assert later.parting is not None
    assert later.parting.how is How.LATER
    assert "it would have passed 6 s later if every reading had stayed as it was" in conclusion(later)


def test_what_was_never_read_is_not_made_up() -> None:
    """A gate would be said to be passed by machines whose image nobody has looked at."""
    found = given("start")
    number = next(number for number, each in enumerate(found.answers) if each.to == "probe")
    order = replace(found.order, candidate=replace(found.order.candidate, image="ami-new"))
    images = replace(found.answers[number], to="read-images", event=messages.ImagesRead({}))
    short = replace(found, order=order, answers=(*found.answers[:number], images), phases=(), short="cut")
    parting = replay(short, replace(STEPS, readings=6)).parting
    assert parting is not None
    assert (parting.how, parting.then) == (How.LATER, None)


def test_a_longer_hold_would_have_been_passed_later_at_the_earliest() -> None:
    """A time would be told that rests on figures of minutes in which the candidate had another weight."""
    found = under("good", strategy=strategy(replace(FIRST, hold=400), SECOND))
    assert found.parting is not None
    assert found.parting.then is None
    said = conclusion(found)
    assert "it would not have passed the step with 5 % at 4:40, as the rollout did; still open then: " in said
    assert "it would have passed 2:12 later at the earliest" in said
    more = conclusion(under("good", strategy=strategy(replace(FIRST, min_requests=400), SECOND)))
    assert "still open then: 30 of 400 requests are counted; what would" in more


def test_a_probe_that_would_not_have_passed() -> None:
    """A wrong status would be held as if it had been right."""
    said = conclusion(under("start", probe_statuses=(201,)))
    assert said == (
        "it would not have passed the probe at 11 s, as the rollout did; what would have followed is not in the record"
    )


@pytest.mark.parametrize("weight", [2, 10])
def test_other_weights_are_where_it_ends(weight: int) -> None:
    """Figures of 5 % of the traffic would be taken for those of another weight."""
    found = under("start", strategy=strategy(Step(weight)))
    assert found.parting is not None
    assert found.parting.how is How.OTHERWISE
    assert conclusion(found).startswith(
        f"at 11 s it would have parted from the rollout: write the weights: live {100 - weight}, new {weight} (the"
        " rollout: write the weights: live 95, new 5); "
    )


def test_what_only_takes_other_seconds_is_no_parting() -> None:
    """A replay would end at the first switch that is set to another time, long before anything that matters."""
    found = under("good", warm=100.0)
    assert found.parting is None
    assert conclusion(found) == "it would have gone the same way: only waits or schedules differ, in 1 action"
    (marked,) = [line for line in lines(found) if line.startswith("~")]
    assert "schedule the scale-in of live in 1:40 (the rollout: schedule the scale-in of live in 10:00)" in marked
    (waits,) = [line for line in lines(under("start", interval=2.5, warm=600.0)) if "gate" in line]
    assert waits.startswith("~")


def test_a_record_that_is_cut_off_is_replayed_as_far_as_it_goes() -> None:
    """What a killed deploy has left could not be replayed, or would be told as if it were all."""
    found = given("start")
    again = replay(found, STEPS)
    assert conclusion(again, found.short).endswith("because the rollout still runs, or was killed")
    *_, last = lines(again)
    assert "hold " in last
    assert last.endswith(" readings")
    full = record_of("good").splitlines(keepends=True)
    cut = [*full[:60], b'{"line": "answers-cut", "at": 20.0}\n', full[-1]]
    assert "it has reached its size for them" in recorded(read(b"".join(cut), "record"), "record").short
    taken = [*full[:60], b'{"line": "taken-up", "at": 20.0, "reason": "killed"}\n', full[-1]]
    assert "was killed" in recorded(read(b"".join(taken), "record"), "record").short


def without(kind: str) -> bytes:
    lines_ = record_of("good").splitlines(keepends=True)
    return b"".join(line for line in lines_ if json.loads(line)["line"] != kind)


def test_a_record_without_readings_is_refused() -> None:
    """The record of an older Fleetswap would be replayed as a rollout that did nothing."""
    with pytest.raises(InputError, match="record cannot be replayed: the Fleetswap that wrote it did not keep what"):
        recorded(read(without("order"), "record"), "record")


@pytest.mark.parametrize(
    "change",
    [
        lambda line: {**line, "event": "guessed"},
        lambda line: {**line, "told": {"answer": 5}},
        lambda line: {**line, "whole": True, "told": {}},
        lambda line: {**line, "event": "confirmed", "told": {"targets": {"x": 1}}},
    ],
)
def test_readings_that_do_not_fit_are_refused(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """A damaged record would end with a traceback, or be replayed as what it is not."""
    told = [json.loads(line) for line in record_of("good").splitlines()]
    number = next(number for number, line in enumerate(told) if line.get("event") == "confirmed")
    told[number] = change({**told[number], "whole": False})
    damaged = b"".join(json.dumps(line).encode() + b"\n" for line in told)
    with pytest.raises(InputError, match=r"record is damaged: its readings do not fit together \("):
        recorded(read(damaged, "record"), "record")


def test_a_state_machine_that_decides_otherwise_is_found_out() -> None:
    """The record of another version would be replayed as what this version would have done, and called the same."""
    found = given("bad")
    answers_ = list(found.answers)
    answers_[3] = replace(answers_[3], to="disarm")
    with pytest.raises(FleetswapError, match=r"at 0\.\d+ s the rollout did disarm, and this version of Fleetswap does"):
        course(replace(found, answers=tuple(answers_)))
    with pytest.raises(FleetswapError, match="the rollout did end, and this version"):
        course(replace(found, answers=found.answers[:-1]))
    phases = [(at + 1, phase) for at, phase in found.phases]
    with pytest.raises(FleetswapError, match=r"the rollout did enter scale, and this version .* enter scale at"):
        course(replace(found, phases=tuple(phases)))


# The lines


def through(events: list[Event]) -> list[Answered]:
    """The lines of these events, which are seen to come back as they were."""
    coder, made = Answers(), list[Answered]()
    for event in events:
        coder, line = coder.after(begin(ORDER, 0.0), event, at=1.0, clock=1.25)
        made.append(Answered(**json.loads(json.dumps(plain(line)))))
    assert [told for _, told in answers(made)] == [json.loads(json.dumps(readings._plain(event))) for event in events]
    return made


def targets(*states: str) -> tuple[Target, ...]:
    return tuple(Target(f"i-{number}", state) for number, state in enumerate(states))


def test_only_what_differs_is_kept() -> None:
    """A record of an hour would reach its greatest size in minutes."""
    one = Seen(RULE, (), (("tg-new", targets("initial", "initial")),), (), tags={"a": "1", "b": "2"})
    made = through(
        [
            one,
            one,
            replace(one, targets=(("tg-new", targets("healthy", "initial")),)),
            replace(one, targets=(("tg-new", targets("healthy", "initial", "initial")),)),
            replace(one, targets=(("tg-new", targets("healthy")),), tags={"b": "2", "c": "3"}),
            replace(one, rule=None),
            one,
            Did(),
        ]
    )
    told = [line.told for line in made]
    assert [line.whole for line in made] == [True, *[False] * 7]
    assert told[1] == {}
    assert told[2] == {"targets": {"0": {"1": {"0": {"state": "healthy"}}}}}
    assert told[3]["targets"]["0"]["1"].keys() == {"2"}
    assert told[4]["tags"] == {"c": "3", "": ["a"]}
    assert told[5]["rule"] is None
    assert told[7] == {}


def reading(now: float, requests: int = 9) -> EvidenceRead:
    """As CloudWatch answers it, whose clock is another one."""
    figures = {name: Figures(requests=requests, good=requests) for name in ("tg-new", "tg-live")}
    old = {name: Figures(requests=7, good=7) for name in figures}
    told = [Told(60 * number, old, requests=14) for number in range(int(now) // 60 - 1)]
    newest = [Told(60 * (int(now) // 60 + number), figures, requests=2 * requests) for number in (-1, 0)]
    clock = 98765.432101234 + now
    periods = Report(int(now), 60, (*told, *newest)).periods("tg-new", "tg-live", clock, clock + 0.0123)
    return EvidenceRead(Evidence(RULE, True, targets("healthy"), answer=Answer(200), periods=periods))  # noqa: FBT003


def test_an_hour_in_which_every_reading_says_something_new_fits() -> None:
    """An hour's canary could not be replayed to its end."""
    coder, size = Answers(), 0
    for second in range(60, 3660, 2):
        for each in (reading(second + 0.123, requests=second), Did()):
            coder, line = coder.after(begin(ORDER, 0.0), each, at=second + 0.123, clock=98765.432101234 + second)
            size += len(json.dumps(plain(line))) + 1
    assert size < record_file.GREATEST / 4
    through([reading(now) for now in (100.5, 160.1, 161.3)])


def test_what_would_not_come_back_exactly_is_kept_whole() -> None:
    """A period would move by a rounding, and a rollout that is replayed would decide otherwise."""
    event = reading(200.0)
    first, *others = event.evidence.periods or ()
    moved = (replace(first, began=first.began + 1e-9), *others)
    event = EvidenceRead(replace(event.evidence, periods=moved))
    (line,) = through([event])
    assert "placed" not in line.told["evidence"]
    tagged = Seen(None, (), (), (), tags={"": "x"})
    assert [line.whole for line in through([replace(tagged, tags={}), tagged])] == [True, True]


def test_no_answer_is_left_out() -> None:
    """An event or an action that comes later would end the record of every rollout in which it comes."""
    assert set(EVENTS.values()) == set(messages.Event.__args__)
    assert set(ACTIONS) == set(messages.Action.__args__)
    assert len(set(ACTIONS.values())) == len(ACTIONS)


def test_what_is_no_answer_is_refused() -> None:
    """What nobody can read back would be written."""
    event = EvidenceRead(Evidence(None, object(), None))  # type: ignore[arg-type] # what no type checker has seen
    with pytest.raises(TypeError, match="an answer holds object"):
        Answers().after(begin(ORDER, 0.0), event, at=0.0, clock=0.0)
    with pytest.raises(TypeError, match="an answer is not an object, but int"):
        list(answers([Answered(at=0.0, clock=0.0, to="wait", event="did", told=5)]))  # type: ignore[arg-type] # damaged


CALL = HookCall(0, Hook(Moment.BEFORE_TRAFFIC, ("./smoke-test", "x")), "run", "web", "new", "live", 0)


def test_every_action_has_words() -> None:
    """A line of a replay would be empty, or a traceback."""
    new = ORDER.candidate
    rule = RULE
    said: dict[messages.Action, str] = {
        messages.Resize(new, 2, 3): "size of new: 3 wanted, minimum 2",
        messages.Resize(new, 2, None): "size of new: minimum 2",
        messages.Tag(new, "a", "b"): "tag new: a",
        messages.Untag(new, ("a", "b")): "untag new: a, b",
        messages.MarkPaused(new, "run before-5", 60, Otherwise.ABORT): "tag new: paused for 1:00 at most, then abort",
        messages.RunHook(CALL, 2): "run hook smoke-test (before-traffic)",
        messages.OnDemand(new, 50): "new: 50 % On-Demand Instances",
        messages.ScheduleScaleIn(new, 60): "schedule the scale-in of new in 1:00",
        messages.CancelScaleIn(new): "cancel the scale-in of new",
        messages.Follow(new, ()): "new follows 0 schedules",
        messages.Follow(new, (Schedule("a", "0 8 * * *", "UTC", 3),)): "new follows 1 schedule",
        messages.KeepWarmPool(new, None): "new has no warm pool",
        messages.KeepWarmPool(new, WarmPool(0, 0)): "new has a warm pool",
        messages.Arm(90, rule): "set the dead man's switch to 1:30",
        messages.Route(rule.weights): "write the weights: live 95, new 5",
        messages.Restore(rule): "restore the weights: live 95, new 5",
        messages.Restore(None): "restore the weights: no rule",
        messages.TagRule((("a", "1"),), ("b",)): "tag the rule: a, not b",
        Wait(2, "x\ny", messages.ReadRule()): "wait 2.0 s: x y",
        End(): "end: succeeded",
        End(messages.Kind.ABORTED, "no"): "end: no",
        messages.ReadRule(): "read the rule",
    }
    for action, text in said.items():
        assert words(action, ORDER) == text
    assert {type(action) for action in said} | set(READS) == set(ACTIONS)
