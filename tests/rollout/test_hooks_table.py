"""Hooks and pauses as tables: what runs when, what is watched meanwhile, who may continue, and what is recorded."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout import clean_up, hook, pause, pins, probe, progress, record, rollout_tags, scale
from fleetswap.domain.rollout.evidence import Evidence
from fleetswap.domain.rollout.health import Answer
from fleetswap.domain.rollout.machine import _arrive, step
from fleetswap.domain.rollout.messages import (
    Arm,
    Broke,
    Did,
    End,
    Event,
    EvidenceRead,
    Held,
    HookRead,
    Kind,
    Look,
    MarkPaused,
    Probed,
    ReadEvidence,
    RunHook,
    ScheduleScaleIn,
    Unanswered,
    Untag,
    Wait,
)
from fleetswap.domain.rollout.model import Armed, Group
from fleetswap.domain.rollout.moments import Hook, HookResult, Moment, Otherwise, Pause, contradictions, due
from fleetswap.domain.rollout.notices import notice_of
from fleetswap.domain.rollout.policy import Policy
from fleetswap.domain.rollout.record import Chronicle, Hooked, Paused
from fleetswap.domain.rollout.replay import stage
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.strategy import Step, Strategy
from fleetswap.domain.rollout.transition import Go, Next
from tests.rollout.tables import NEW, ON_LIVE, ON_NEW, ORDER, POLICY, SHARED, seen, state

SMOKE, CHECK = (
    Hook(Moment.BEFORE_TRAFFIC, ("./smoke-test", "x"), timeout=30),
    Hook(Moment.BEFORE_TRAFFIC, url="https://a"),
)
STEP, BAKE = Hook(Moment.AFTER_STEP, function="f"), Hook(Moment.BEFORE_BAKE, ("b",))
LAST = Hook(Moment.END, ("e",))
CANARY = Strategy((Step(5, hold=10), Step(50, hold=10)), bake=10)
ASKING = replace(
    POLICY,
    strategy=CANARY,
    hooks=(SMOKE, CHECK, STEP, BAKE, LAST),
    pause=(Pause(0, 600), Pause(50, 600, Otherwise.CONTINUE)),
)
OK, BAD = HookRead(HookResult(ok=True)), HookRead(HookResult(ok=False, words="no"))
HEALTHY = {"new": 2, "live": 2}
GROUP = Group(2, 2, 8, pin=2)


def at(phase: Phase = Phase.PROBE, policy: Policy = ASKING, **known: Any) -> State:
    """A candidate that is about to get its first weight."""
    of = replace(ORDER, policy=policy, switch_role="arn:role", url="http://a")
    usual: dict[str, Any] = {"steps": CANARY.plan(trusted=False), "wanted": 2, "latest": seen(), "deadline": 1100.0}
    return state(of, phase=phase, **(usual | known))


def in_step(phase: Phase = Phase.HOLD, policy: Policy = ASKING, **known: Any) -> State:
    """One with 5 % of the traffic."""
    return at(
        phase, policy, moved=True, written=(SHARED.weights,), since=1000.0, armed_until=1400.0, owned=True, **known
    )


def entered(made: Next, now: float = 1000.0) -> State:
    """Where a phase has led to."""
    return _arrive(made, now)


def run(state: State, *events: Event, now: float = 1010.0) -> State:
    for event in events:
        state = step(state, event, now)
    return state


def reading(**known: Any) -> EvidenceRead:
    targets = seen(healthy=HEALTHY).targets_of("tg-new")
    usual: dict[str, Any] = {"targets": targets, "group": GROUP, "answer": Answer(200)}
    return EvidenceRead(Evidence(rule=SHARED, rule_known=True, **(usual | known)))


# The values


@pytest.mark.parametrize(
    "wrong",
    [{}, {"command": ()}, {"command": ("a",), "url": "https://a"}, {"url": "https://a", "function": "f"}],
    ids=str,
)
def test_a_hook_is_exactly_one_thing(wrong: dict[str, Any]) -> None:
    """One of two would be left out, and nobody know which."""
    with pytest.raises(InputError, match="exactly one"):
        Hook(Moment.END, **wrong)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_time_without_end_is_refused(seconds: float) -> None:
    """A rollout would wait for ever, or not at all."""
    with pytest.raises(InputError, match="timeout"):
        Hook(Moment.END, ("a",), timeout=seconds)
    with pytest.raises(InputError, match="deadline"):
        Pause(0, seconds)


def test_a_pause_that_nothing_reaches_is_refused() -> None:
    """A person would believe to be asked, and never be; all of them are reported at once."""
    pauses = (Pause(0), Pause(5), Pause(7), Pause(50), Pause(50))
    assert [number for number, _ in contradictions(pauses, CANARY)] == [1, 2, 4]
    with pytest.raises(InputError, match=r"pause 1 pauses where pause 0 does.*pause 2 no step has the weight 7"):
        replace(ASKING, pause=pauses)
    with pytest.raises(InputError, match="not the weight"):
        Pause(101)


@pytest.mark.parametrize(
    ("former", "weight", "place"),
    [(0, 5, "before-traffic"), (5, 50, "before-50"), (50, 100, None), (0, 100, "before-traffic")],
)
def test_a_pause_is_due_even_if_its_step_is_skipped(former: int, weight: int, place: str | None) -> None:
    """Without a healthy machine of live all the traffic would move at once, though a person was to be asked."""
    found = due(ASKING.pause, former, weight)
    assert (found.place if found else None) == place


def test_words_of_hooks_and_pauses() -> None:
    """A message would show arguments, or the path of a URL, which may hold more than all should read."""
    hooks = (SMOKE, Hook(Moment.END, url="https://a.example.com:8443/T0/secret"), STEP, Hook(Moment.END, ("/",)))
    assert [each.label for each in hooks] == ["smoke-test", "a.example.com:8443", "lambda f", "/"]
    arn = "arn:aws:lambda:eu-central-1:111122223333:function:f:live"
    assert Hook(Moment.END, function=arn).label == "lambda f:live"
    assert [Pause(weight).before for weight in (0, 5, 100)] == [
        "before any traffic",
        "before 5 %",
        "before all the traffic",
    ]


# Hooks


def test_hooks_run_in_their_order_between_probe_and_pause() -> None:
    """A candidate would get traffic before its smoke test has passed."""
    first = run(at(streak=replace(at().streak, good=2)), Probed(Answer(200)))
    assert (first.phase, first.doing) == (Phase.HOOK, RunHook(first.hook, POLICY.interval))
    assert (first.hook.hook, first.hook.attempt, first.hook.weight, first.hook.previews) == (SMOKE, 1, 0, True)
    second = run(first, OK)
    assert (second.hook.hook, second.hook_until) == (CHECK, 1070.0)
    paused = run(second, OK)
    assert (paused.phase, paused.doing) == (Phase.PAUSE, MarkPaused(NEW, "me before-traffic", 600, Otherwise.ABORT))


def test_a_candidate_without_an_address_has_its_hooks_all_the_same() -> None:
    """Where nothing is probed, nothing would be tested."""
    made = replace(at(Phase.GATE), order=replace(at().order, url=""), doing=Look())
    assert isinstance(found := probe.enter(made, 1.0), Go)
    assert (found.phase, found.state.moment) == (Phase.HOOK, Moment.BEFORE_TRAFFIC)


def test_a_trusted_release_waits_for_nothing() -> None:
    """A rollback would wait for a person, or for a test of what has long served."""
    trusted = replace(at(), order=replace(at().order, trusted=True))
    assert isinstance(found := hook.enter(trusted, 1.0), Go)
    assert found.phase is Phase.PAUSE
    assert entered(pause.enter(found.state, 1.0)).doing == Look(first=False)


def test_a_failing_hook_aborts_with_its_words() -> None:
    """The traffic would stay on what the hook has refused, or nobody know why it went."""
    first = entered(hook.enter(at(moment=Moment.BEFORE_TRAFFIC), 1001.0))
    failed = run(first, BAD)
    assert failed.ending == End(Kind.ABORTED, "hook smoke-test (before-traffic) failed: no")
    assert (failed.phase, failed.hook_until) == (Phase.COMPARE, None)
    late = run(first, HookRead(HookResult(ok=False, late=True)))
    assert late.ending.reason == "hook smoke-test (before-traffic) did not end within 30 s"


def test_a_hook_that_is_not_killed_in_time_is_late_all_the_same() -> None:
    """An executor that hangs would hold up the rollout until the switch fires."""
    first = entered(hook.enter(at(), 1000.0))
    running = HookRead(None)
    assert run(first, running, now=1034.9).phase is Phase.HOOK
    assert run(first, running, now=1035.0).ending.reason.endswith("did not end within 30 s")


def test_what_is_planned_for_our_death_is_pushed_out_first() -> None:
    """The switch would fire, or AWS end the candidate's machines, while a hook runs."""
    moment = in_step(moment=Moment.AFTER_STEP)
    first = entered(hook.enter(moment, 1010.0))
    ahead = STEP.timeout + POLICY.shift_deadline + 60 + POLICY.data_deadline + POLICY.switch_margin
    assert first.doing == ScheduleScaleIn(NEW, ahead + 360 + 3600, note="me")
    armed = run(first, Did())
    assert armed.doing == Arm(ahead, ON_LIVE, guarded=True)
    assert run(armed, Did()).doing == RunHook(first.hook, POLICY.interval)
    held = run(armed, Held("another run"), Did())
    assert (held.doing, held.phase) == (Look(first=False), Phase.HOOK)
    again = run(held, seen(SHARED, healthy=HEALTHY, new=GROUP))
    assert isinstance(again.doing, ScheduleScaleIn), "not started without it"
    planned = at(touched=(ScheduleScaleIn(NEW, 10, note="me"),))
    assert isinstance(entered(hook.enter(planned, 1.0)).doing, ScheduleScaleIn), "without a switch that is armed, too"


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (seen(ON_LIVE, healthy=HEALTHY, new=replace(GROUP, abort="stop it")), "aborted on request: stop it"),
        (seen(ON_LIVE, healthy=HEALTHY, new=GROUP, armed=Armed(ON_LIVE, 9, "you")), "another rollout of this service"),
        (seen(ON_NEW, healthy=HEALTHY, new=GROUP), "someone else moved the traffic"),
        (seen(ON_LIVE, healthy={"live": 2}, new=GROUP), "release new no longer has a healthy machine"),
    ],
)
def test_what_ends_a_hook_before_the_traffic(event: Event, reason: str) -> None:
    """A hook of many minutes would go on, whatever happens meanwhile."""
    watching = run(entered(hook.enter(at(), 1000.0)), HookRead(None))
    assert watching.doing == Look(first=False)
    for _ in range(POLICY.readings):
        assert isinstance(watching, State)
        if watching.phase is Phase.HOOK:
            watching = run(replace(watching, doing=Look(first=False)), event)
    assert reason in watching.ending.reason


def test_a_candidate_with_traffic_is_judged_while_its_hook_runs() -> None:
    """Users would be on a bad release for as long as the hook takes."""
    first = run(entered(hook.enter(in_step(moment=Moment.AFTER_STEP), 1010.0)), Did(), Did(), HookRead(None))
    assert first.doing == ReadEvidence(10.0, "tg-live", shared=True)
    assert [span.weight for span in first.watch.spans] == [5]
    good = run(first, reading())
    assert good.doing == RunHook(first.hook, POLICY.interval)
    bad = run(first, reading(answer=Answer(500)))
    assert bad.doing == RunHook(first.hook, POLICY.quick), "users may be hurt: look again soon"
    for _ in range(POLICY.readings - 1):
        bad = run(bad, HookRead(None), reading(answer=Answer(500)))
    assert bad.phase is Phase.COMPARE
    with pytest.raises(TypeError):
        run(first, Probed(Answer(200)))


def test_a_hook_that_ends_is_no_way_past_a_bad_reading() -> None:
    """The next weight would be written while alarms go off, because the readings begin anew with each step."""
    first = run(entered(hook.enter(in_step(moment=Moment.AFTER_STEP), 1010.0)), Did(), Did(), HookRead(None))
    bad = run(first, reading(answer=Answer(500)), OK)
    assert bad.doing == Wait(POLICY.quick, "the last reading was bad: reading again", bad.doing.then)  # type: ignore[union-attr]
    asked = run(bad, Did(), reading())
    assert asked.doing == RunHook(first.hook, POLICY.interval), "it has ended, and is not started again"
    assert run(asked, OK).doing != asked.doing
    for _ in range(POLICY.readings - 1):
        bad = run(bad, Did(), reading(answer=Answer(500)), *([OK] if bad.streak.bad < POLICY.readings - 1 else []))
    assert bad.phase is Phase.COMPARE
    unknown = run(first, reading(answer=Answer(500)), OK, now=first.deadline)
    assert "was not seen to be over in time" in unknown.ending.reason
    alone = run(entered(hook.enter(at(), 1000.0)), HookRead(None), seen(healthy={"live": 2}, new=GROUP), OK)
    assert isinstance(alone.doing, Wait), "nor does a candidate without a healthy machine get traffic"


def test_nobody_is_left_unwatched_until_the_switch_is_pushed_out() -> None:
    """Evidence would be read again only when the scheduler answers, for as long as the hook or pause may take."""
    late = 1010.0 + POLICY.shift_deadline
    for first in (
        entered(hook.enter(in_step(moment=Moment.AFTER_STEP), 1010.0), 1010.0),
        entered(pause.enter(in_step(), 1010.0), 1010.0),
        run(entered(pause.enter(in_step(), 0.0)), Did(), Did(), Did(), reading(), now=1010.0),
    ):
        assert run(first, Unanswered("no"), now=late - 1).ending.kind is None
        assert run(first, Unanswered("no"), now=late).ending.kind is Kind.CLOUD


def test_a_hook_before_the_bake_leads_to_the_bake_and_its_clock_begins_there() -> None:
    """The bake would be over when the hook is, or the step count from the end of the hook."""
    moved = in_step(Phase.SHIFT, moment=Moment.BEFORE_BAKE, steps=CANARY.plan(trusted=False)[-1:])
    moved = replace(moved, written=(ON_NEW.weights,))
    first = run(entered(hook.enter(moved, 1010.0)), Did(), Did())
    assert (first.hook.hook, first.hook.weight) == (BAKE, 100)
    bake = run(first, OK, now=1040.0)
    assert (bake.phase, bake.hold_until) == (Phase.BAKE, 1050.0)
    assert [(span.weight, span.since) for span in bake.watch.spans] == [(100, 1070.0)]


def test_hooks_at_the_end_know_how_it_ended() -> None:
    """A notice would say nothing, or the wrong thing."""
    ended = at(Phase.DONE, doing=End(), now_on="new")
    (call,) = hook.last(ended, notice_of(ended, End(), 1100.0))
    document = call.document("p/prod")
    assert document == {
        "version": 1,
        "moment": "end",
        "run": "me",
        "service": "web",
        "stack": "p/prod",
        "release": "new",
        "previous": "live",
        "weight": 100,
        "attempt": 1,
        "url": "http://a",
        "ending": "succeeded",
        "serving": "new",
        "reason": "",
    }
    failed = at(Phase.DONE, doing=End(Kind.ABORTED, "no"))
    (call,) = hook.last(failed, notice_of(failed, End(Kind.ABORTED, "no"), 1100.0))
    assert (call.weight, call.ending, call.reason, call.previews) == (0, "aborted", "no", False)


# Pauses


def paused(**known: Any) -> State:
    """Before any traffic, since 1000."""
    return run(entered(pause.enter(at(**known), 1000.0)), Did(), now=1000.0)


def test_a_pause_before_the_traffic_looks_and_waits() -> None:
    """The candidate would get traffic without anybody's say."""
    first = paused()
    assert first.doing == Look(first=False)
    calm = run(first, seen(healthy=HEALTHY, new=GROUP))
    assert calm.doing == Wait(10.0, "paused before any traffic", Look(first=False))
    assert run(calm, Did()).doing == Look(first=False)


@pytest.mark.parametrize(
    ("tag", "goes_on"),
    [
        ("me before-traffic 2026-11-27T10:00:00+00:00", True),
        ("me before-50 2026-11-27T10:00:00+00:00", False),
        ("you before-traffic 2026-11-27T10:00:00+00:00", False),
        ("", False),
        (None, False),
    ],
)
def test_only_its_own_name_continues_a_pause(tag: str | None, goes_on: bool) -> None:  # noqa: FBT001 - a table
    """A request to continue an earlier pause, or that of a rollout that died, would continue this one."""
    after = run(paused(), seen(healthy=HEALTHY, new=replace(GROUP, continued=tag)))
    if not goes_on:
        assert after.pause is not None
        return
    assert after.doing == Untag(NEW, (rollout_tags.PAUSED, rollout_tags.CONTINUE))
    after = run(after, Did(), now=1500.0)
    assert (after.phase, after.doing, after.deadline) == (Phase.SHIFT, Look(first=False), 1500.0 + 100)
    assert entered(pause.enter(after, 1500.0)).doing == Look(first=False), "nobody is asked twice"


def test_a_pause_ends_at_its_deadline_as_the_settings_say() -> None:
    """A rollout would wait for ever, or do the opposite of what was asked for."""
    late = run(paused(), seen(healthy=HEALTHY, new=GROUP), now=1600.0)
    assert late.ending == End(Kind.CANCELLED, "nobody has continued the rollout before any traffic within 10:00")
    step_50 = run(entered(pause.enter(in_step(), 1000.0)), Did(), Did(), Did())
    assert isinstance(run(step_50, reading(), now=1300.0).doing, ScheduleScaleIn), "what is planned comes later"
    assert run(replace(step_50, armed_until=9999.0), reading(), now=1600.0).doing == Untag(
        NEW, (rollout_tags.PAUSED, rollout_tags.CONTINUE)
    )


@pytest.mark.parametrize("continued", [None, "me before-50 x"])
def test_no_pause_is_continued_on_a_bad_reading(continued: str | None) -> None:
    """More users would get a candidate that has just begun to fail, at the deadline or because someone said yes."""
    now = 1020.0
    group = replace(GROUP, continued=continued)
    first = run(entered(pause.enter(in_step(), 1000.0)), Did(), Did(), Did())
    first = replace(first, armed_until=9999.0, push_at=9999.0, pause_until=now if continued is None else 1600.0)
    bad = reading(group=group, answer=Answer(500))
    doubted = run(first, bad, now=now)
    assert isinstance(doubted.doing, Wait)
    assert doubted.doing.seconds == POLICY.quick
    assert run(doubted, Did(), reading(group=group), now=now).doing == Untag(
        NEW, (rollout_tags.PAUSED, rollout_tags.CONTINUE)
    )
    for _ in range(POLICY.readings - 1):
        doubted = run(doubted, Did(), bad, now=now)
    assert doubted.ending.kind is Kind.ABORTED


def test_a_pause_with_traffic_is_followed_by_the_next_step() -> None:
    """The step before would be taken again, or one be left out."""
    first = run(entered(pause.enter(in_step(), 1000.0)), Did(), Did(), Did())
    group = replace(GROUP, continued="me before-50 x")
    after = run(first, reading(group=group), Did())
    assert (after.doing, [each.weight for each in after.steps]) == (Look(first=False), [50, 100])
    settled = replace(first, doing=Look(first=False))
    assert run(settled, seen(SHARED, healthy=HEALTHY, new=GROUP)).pause is not None
    assert run(first, reading(group=None)).pause is not None, "what is unknown is no yes"
    assert run(first, reading(group=replace(group, abort="no"))).ending.kind is Kind.CANCELLED, "and no comes first"


def test_a_pause_survives_an_outage_but_not_for_ever() -> None:
    """One throttle in an hour would end the rollout; or an outage hold the pause past its deadline."""
    first = paused()
    assert run(first, Unanswered("throttled"), now=1599.0).pause is not None
    assert run(first, Unanswered("throttled"), now=1600.0 + POLICY.shift_deadline).ending.kind is Kind.CLOUD
    assert run(first, Broke("Ctrl-C", Kind.CANCELLED)).ending.kind is Kind.CANCELLED


def test_the_tags_of_a_pause_are_taken_off_whoever_left_them() -> None:
    """A release would seem to wait for a person for ever."""
    mine = at(touched=(MarkPaused(NEW, "me x", 1, Otherwise.ABORT),))
    assert pins.keys_on(mine, NEW) == (rollout_tags.PAUSED,)
    assert pins.release(mine, NEW) == [
        Untag(NEW, (rollout_tags.ABORT, rollout_tags.CONTINUE, rollout_tags.PAUSED)),
    ]
    left = at(first=seen(new=replace(GROUP, paused="a b c d e", continued="a b")))
    assert pins.keys_on(left, NEW) == (rollout_tags.CONTINUE, rollout_tags.PAUSED, rollout_tags.PIN)
    gone = Untag(NEW, (rollout_tags.PAUSED, rollout_tags.CONTINUE))
    world = seen(new=replace(GROUP, paused="a b c d e"))
    assert gone in scale.changes(at(), world, 2)
    assert gone not in scale.changes(at(paused=("before-traffic",)), world, 2)
    assert clean_up.words(MarkPaused(NEW, "a b", 1, Otherwise.ABORT)) == "remove the rollout's tags from new"


def test_the_value_of_the_tag_reads_as_it_was_written() -> None:
    """`fleetswap continue` would not find the pause, or name another one."""
    since, until = "2026-11-27T10:00:00+00:00", "2026-11-27T11:00:00+00:00"
    value = rollout_tags.Paused("run", "before-25", since, until, "abort")
    assert rollout_tags.Paused.read(value.value) == value
    assert rollout_tags.Paused.read("by hand") is None
    assert (value.before, replace(value, place="before-traffic").before) == ("before 25 %", "before any traffic")
    hour = [datetime(2026, 11, 27, 11, minute, tzinfo=UTC) for minute in (4, 6)]
    assert [value.is_over(now) for now in hour] == [False, True]
    assert not replace(value, until="soon").is_over(hour[1])


# What is told and kept


def test_what_people_see_of_hooks_and_pauses() -> None:
    """A rollout would seem to hang, and nobody know how to continue it."""
    before = at(streak=replace(at().streak, good=2))
    first = run(before, Probed(Answer(200)))
    assert progress.lines(before, first) == ("new: before-traffic: running smoke-test, for 30 s at most",)
    second = run(first, OK)
    assert progress.lines(first, second) == ("new: before-traffic: running a, for 1:00 at most",)
    assert progress.row(first, HookRead(None), 1011.0) == "before-traffic: smoke-test runs, 29 s left"
    waits = run(second, OK)
    text = "new: paused before any traffic: run `fleetswap continue` or `fleetswap abort`; in 10:00 it is aborted"
    assert progress.lines(second, waits) == (text,)
    event = seen(healthy=HEALTHY, new=GROUP)
    row = progress.row(run(waits, Did(), event, now=1011.0), event, 1011.0)
    assert row == "paused before any traffic, 9:59 left; `fleetswap continue`"
    assert progress.lines(at(Phase.HOLD), replace(waits, pause=None)) == ()


def test_hooks_and_pauses_are_in_the_record_with_their_times() -> None:
    """A report could not say what the rollout has waited for."""
    chronicle, lines, now = Chronicle(), list[record.Entry](), 1010.0
    before = at(streak=replace(at().streak, good=2))
    answer = seen(healthy=HEALTHY, new=replace(GROUP, continued="me before-traffic x"))
    events: list[Event] = [Probed(Answer(200)), OK, OK, Did(), answer]
    for event in events:
        now += 5
        after = step(before, event, now)
        chronicle, found = chronicle.after(before, event, after, now)
        lines += found
        before = after
    hooks = [each for each in lines if isinstance(each, Hooked)]
    assert [(each.hook, each.began, each.at, each.verdict.value) for each in hooks] == [
        ("smoke-test", 15.0, 20.0, "promote"),
        ("a", 20.0, 25.0, "promote"),
    ]
    (pause_line,) = [each for each in lines if isinstance(each, Paused)]
    assert (pause_line.began, pause_line.at, pause_line.before, pause_line.verdict.value) == (25.0, 35.0, 0, "promote")
    first = entered(hook.enter(at(), 1000.0))
    ends: list[tuple[Event, str]] = [(BAD, "no"), (Broke("Ctrl-C"), "Ctrl-C")]
    for event, reason in ends:
        _, found = Chronicle().after(first, event, step(first, event, 1010.0), 1010.0)
        (line,) = [each for each in found if isinstance(each, Hooked)]
        assert (line.verdict.value, line.reason) == ("abort", reason)
    assert [stage(each) for each in (first, in_step(Phase.PAUSE))] == [(4, 0), (5, 11)]
