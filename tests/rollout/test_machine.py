"""The state machine against a hostile world: any answers in any order, and what it may never ask for."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.drift import drift
from fleetswap.domain.rollout.evidence import Evidence
from fleetswap.domain.rollout.health import Answer, Failure, Machine, Reading, Target, TargetState
from fleetswap.domain.rollout.machine import begin, step
from fleetswap.domain.rollout.messages import (
    Arm,
    Broke,
    Compare,
    Compared,
    Confirm,
    Confirmed,
    Did,
    Disarm,
    End,
    Event,
    EvidenceRead,
    Explain,
    Explained,
    HealthRead,
    ImagesRead,
    Look,
    Probe,
    Probed,
    ReadEvidence,
    ReadHealth,
    ReadImages,
    ReadRule,
    Resize,
    Restore,
    Route,
    RuleRead,
    ScheduleScaleIn,
    Seen,
    Unanswered,
    Wait,
)
from fleetswap.domain.rollout.model import Armed, Group, Order, ReleaseTarget, Rule, shares
from fleetswap.domain.rollout.notices import notice_of
from fleetswap.domain.rollout.periods import Figures, Period
from fleetswap.domain.rollout.policy import Policy, Shortage
from fleetswap.domain.rollout.rates import Limit
from fleetswap.domain.rollout.record import Chronicle, plain
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.rollout.strategy import Step, Strategy
from tests.fakes.world import order, target

POLICY = Policy(minimum=1, deadline=30, readings=2, interval=2, shift_deadline=10, patience=20)
ORDER = order("new", "live", "old", standby="live", policy=POLICY)
CANARY = replace(
    ORDER,
    switch_role="arn:role",
    candidate=replace(ORDER.candidate, image="ami-1"),
    policy=replace(
        POLICY,
        strategy=Strategy((Step(10, hold=5), Step(50, hold=5, min_requests=10)), bake=10),
        data_deadline=20,
        alarms=("up",),
        errors=Limit(),
        shortage=Shortage.ON_DEMAND,
        shortage_patience=5,
    ),
)
ORDERS = [ORDER, CANARY, replace(CANARY, trusted=True)]
RULES = [
    None,
    Rule((("tg-live", 1),), "live"),
    Rule((("tg-new", 100),), "new"),
    Rule((("tg-live", 60), ("tg-new", 40)), "both"),
    Rule((("tg-alien", 1),), "alien"),
    Rule((("tg-live", 1), ("tg-new", 0)), "live again"),
    Rule((), verbatim="a maintenance page"),
]

counts = st.integers(0, 2)
rules = st.sampled_from(RULES)
target_lists = st.lists(
    st.sampled_from(
        [Target("i-1", "healthy"), Target("i-2", "unhealthy", "Target.Timeout"), Target("i-3", "draining")]
    ),
    max_size=3,
).map(tuple)
answers = st.sampled_from([Answer(200), Answer(500), Answer(None, "refused")])
groups = st.one_of(
    st.none(),
    st.builds(
        Group,
        counts,
        counts,
        st.integers(1, 4),
        st.just(()),
        pin=st.none() | counts,
        abort=st.sampled_from([None, None, None, "by hand"]),
        scale_in=st.sampled_from([None, "9:00"]),
        scale_in_note=st.sampled_from(["", rollout_tags.LEFT, "another"]),
        has_action=st.booleans(),
        on_demand_percent=st.sampled_from([None, 0, 100]),
        on_demand_pin=st.none() | st.just(0),
    ),
)
reasons = st.sampled_from(["bad AMI", "no capacity"])
failures = st.lists(st.builds(Failure, st.sampled_from("abcdef"), reasons), max_size=4).map(tuple)
alarm_states = st.sampled_from(["OK", "OK", "OK", "ALARM", "INSUFFICIENT_DATA"])
errors: st.SearchStrategy[Event] = st.sampled_from([Unanswered("throttled"), Broke("interrupted")])


def seen(rule: Rule | None, new: Group | None, live: Group | None, old: Group | None) -> Seen:
    return Seen(rule, (("new", new), ("live", live), ("old", old)), (), ())


looks = st.builds(
    lambda rule, new, live, old, mine, theirs, failed, tags, alarm, armed: Seen(
        rule,
        (("new", new), ("live", live), ("old", old)),
        (("tg-new", mine), ("tg-live", theirs)),
        failed,
        tags,
        {"up": alarm},
        armed,
    ),
    rules,
    groups,
    groups,
    groups,
    target_lists,
    target_lists,
    failures,
    st.sampled_from([{}, {rollout_tags.LIVE: "live"}, {rollout_tags.ROLLED_BACK: "new 9:00"}]),
    alarm_states,
    st.none() | st.builds(Armed, rules.filter(bool), st.just(5.0), st.sampled_from(["", "another"])),
)
few = st.integers(0, 20).map(lambda requests: Figures(requests, requests - requests // 7, requests // 7))
evidence = st.builds(
    Evidence,
    rules,
    st.booleans(),
    st.none() | target_lists,
    st.none() | target_lists,
    groups,
    answers,
    st.none() | st.builds(lambda alarm: {"up": alarm}, alarm_states),
    st.none()
    | st.lists(
        st.builds(
            Period,
            st.sampled_from([0, 10, 20]),
            st.just(10.0),
            st.just(20.0),
            st.just(10),
            few,
            few,
            st.integers(0, 40),
        ),
        max_size=3,
    ).map(tuple),
)
ANSWERS: dict[type, st.SearchStrategy[Event]] = {
    Look: looks,
    ReadHealth: st.builds(
        HealthRead,
        st.builds(Reading, st.none() | target_lists, st.none() | st.just((Machine("i-1", "Pending"),)), failures),
    ),
    Probe: st.builds(Probed, answers),
    Confirm: st.builds(Confirmed, rules, st.booleans(), st.none() | target_lists, answers),
    Explain: st.builds(Explained, st.just("i-1"), st.sampled_from(["", "panic"])),
    Compare: st.builds(Compared, st.none() | counts, st.none() | counts, rules, st.booleans()),
    ReadRule: st.builds(RuleRead, rules),
    ReadImages: st.builds(ImagesRead, st.sampled_from([{}, {"i-1": "ami-1"}, {"i-1": "ami-2"}])),
    ReadEvidence: st.builds(EvidenceRead, evidence),
}
"""The answer to everything else is `Did`."""


class Watch:
    """Follows a run from outside and knows what may not be asked for."""

    def __init__(self) -> None:
        self.healthy_in_a_row = 0
        self.probed_in_a_row = 0
        self.confirmed_in_a_row = 0
        self.back_in_a_row = 0
        self.routed = False
        self.armed = False
        self.weights: list[int] = []

    def action(self, state: State) -> None:
        match state.doing:
            case Route():
                self.route(state, state.doing)
            case Resize(_, _, 0):
                self.scale_in(state, state.doing)
            case ScheduleScaleIn(note=rollout_tags.LEFT):
                self.scale_in(state, state.doing)
            case Restore():
                assert state.moved, "weights written back that were never moved"
                assert state.doing.rule == state.home
            case Arm():
                assert state.home is not None
                assert state.doing.rule == state.home, "the switch would move the traffic somewhere else"
                self.armed = True
            case Disarm():
                self.armed = False
            case _:
                pass

    def route(self, state: State, action: Route) -> None:
        if state.phase in {Phase.RECOVER, Phase.PUT_BACK}:
            assert state.home is not None
            assert action.weights == state.home.weights
            assert len(state.home.serving) == 1, "traffic put back on several releases"
        elif state.phase is Phase.SHIFT:
            assert sum(weight for _, weight in action.weights) == 100
            weight = dict(action.weights)["tg-new"]
            assert self.healthy_in_a_row >= POLICY.readings, "shift without proof of health"
            assert self.probed_in_a_row >= POLICY.readings, "shift without a probe"
            assert not state.is_live_already
            assert not self.weights or weight > self.weights[-1], "the weights do not ascend"
            assert self.armed or state.order.switch_role is None or state.home is None, "weights without a switch"
            self.weights.append(weight)
            self.routed = True
        else:
            assert action.weights == (("tg-new", 100),), "live is dead"

    def scale_in(self, state: State, action: Resize | ScheduleScaleIn) -> None:
        if action.target == state.order.candidate:
            assert state.phase is Phase.CLEAN_UP
            assert "tg-new" not in state.served, "what served would lose its machines"
            left = self.back_in_a_row >= POLICY.readings or "someone else moved" in state.ending.reason
            assert not self.routed or left, "scaled in under traffic"
        elif action.target.target_group in state.served and state.phase is Phase.SETTLE:
            assert self.confirmed_in_a_row >= POLICY.readings or state.is_live_already
            assert not self.armed, "the switch would put the traffic on what is scaled in"
        assert action.target.release != ORDER.standby or state.phase is Phase.CLEAN_UP

    def event(self, state: State, event: Event) -> None:
        match event:
            case HealthRead() if event.reading.targets is not None:
                healthy = sum(target.is_healthy for target in event.reading.targets)
                self.healthy_in_a_row = self.healthy_in_a_row + 1 if healthy >= state.wanted else 0
            case Probed():
                self.probed_in_a_row = self.probed_in_a_row + 1 if event.answer.status == 200 else 0
            case Confirmed():
                holds = event.rule_known and event.rule is not None and state.expected is not None
                holds = holds and shares(event.rule) == shares(state.expected)
                bad = (event.answer is not None and event.answer.status != 200) or (
                    event.targets is not None and not any(target.is_healthy for target in event.targets)
                )
                if bad:
                    self.confirmed_in_a_row = 0
                elif holds and event.targets is not None:
                    self.confirmed_in_a_row += 1
            case RuleRead():
                same = shares(event.rule) == shares(state.home)
                self.back_in_a_row = self.back_in_a_row + 1 if same else 0
            case _:
                pass


@settings(max_examples=400, deadline=None)
@given(st.data(), st.sampled_from(ORDERS), st.integers(0, 100))
def test_any_answers_in_any_order(data: st.DataObject, wanted: Order, fault_percent: int) -> None:
    """Some order of answers would make the machine hang, raise, or ask for what loses the traffic."""
    state, now, watch, chronicle = begin(wanted, 0.0), 0.0, Watch(), Chronicle()
    times: list[float] = []
    for _ in range(600):
        if isinstance(state.doing, End):
            break
        watch.action(state)
        faulty = data.draw(st.integers(0, 99)) < fault_percent // 3
        possible = errors if faulty else ANSWERS.get(type(state.doing), st.just(Did()))
        event = data.draw(possible)
        watch.event(state, event)
        now += state.doing.seconds if isinstance(state.doing, Wait) else data.draw(st.sampled_from([0.0, 0.5, 4.0]))
        before, state = state, step(state, event, now)
        chronicle, lines = chronicle.after(before, event, state, now)
        assert json.dumps([plain(line) for line in lines], allow_nan=False)
        times += [line.at for line in lines]
    assert isinstance(state.doing, End), "no end in sight"
    assert state.phase is Phase.DONE
    assert times == sorted(times)
    end = chronicle.end(state, state.doing, now)
    assert all(one.ended == after.began for one, after in pairwise(end.phases)), "a phase would be left out"
    assert json.dumps(plain(end), allow_nan=False)
    if state.doing.kind is None:
        assert watch.confirmed_in_a_row >= POLICY.readings or state.is_live_already
    else:
        assert state.doing.reason
    assert notice_of(state, state.doing, now).text


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_friendly_world_ends_in_success(data: st.DataObject) -> None:  # noqa: C901 - one case an action
    """The machine would be safe only because it never deploys anything."""
    rule = data.draw(rules)
    size = Group(1, data.draw(st.integers(1, 3)), 5)
    good = tuple(Target(f"i-{n}", TargetState.HEALTHY) for n in range(5))
    groups = {"new": Group(0, 0, 5), "live": size, "old": size}
    targets = (("tg-new", good), ("tg-live", good), ("tg-alien", ()))
    state, now = begin(ORDER, 0.0), 0.0
    current = rule
    for _ in range(100):
        match state.doing:
            case End():
                break
            case Look():
                event: Event = Seen(current, tuple(groups.items()), targets, ())
            case ReadRule():
                event = RuleRead(current)
            case Restore(back):
                current, event = back, Did()
            case Resize(of, minimum, int(desired)):
                groups[of.release], event = Group(minimum, desired, 5), Did()
            case ReadHealth():
                event = HealthRead(Reading(good))
            case Probe():
                event = Probed(Answer(200))
            case Route(weights):
                current, event = Rule(weights), Did()
            case Confirm():
                event = Confirmed(current, rule_known=True, targets=good, answer=Answer(200))
            case _:
                event = Did()
        now += 0.1
        state = step(state, event, now)
    assert state.doing == End()
    assert current is not None
    assert current.serving == {"tg-new"}


def test_an_event_out_of_place_is_a_defect() -> None:
    """A driver that answers the wrong question would steer the machine with nonsense."""
    with pytest.raises(TypeError, match="RuleRead cannot follow Look"):
        step(begin(ORDER, 0.0), RuleRead(None), 0.0)


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"minimum": 0}, "minimum"),
        ({"minimum": 1, "readings": 0}, "readings"),
        ({"minimum": 1, "deadline": 0}, "deadline"),
        ({"minimum": 1, "interval": float("nan")}, "interval"),
        ({"minimum": 1, "patience": float("inf")}, "patience"),
        ({"minimum": 1, "probe_path": "healthz"}, "probe_path"),
        ({"minimum": 1, "probe_path": "/a b"}, "probe_path"),
        ({"minimum": 1, "probe_statuses": ()}, "probe_statuses"),
        ({"minimum": 1, "probe_statuses": (99,)}, "probe_statuses"),
    ],
)
def test_wrong_policies_are_refused_by_name(wrong: dict[str, object], names: str) -> None:
    """A setting that can never succeed, or never wait, would show as a hanging or careless deploy."""
    with pytest.raises(InputError, match=names):
        Policy(**wrong)  # type: ignore[arg-type] # wrong on purpose


@pytest.mark.parametrize(
    ("candidate", "others", "standby"),
    [
        (target("new"), (target("new"),), None),
        (target("new"), (ReleaseTarget("live", "asg-new", "tg-live"),), None),
        (target("new"), (ReleaseTarget("live", "asg-live", "tg-new"),), None),
        (target("new"), (target("live"),), "old"),
        (target("new"), (target("live"),), "new"),
    ],
)
def test_wrong_orders_are_refused(
    candidate: ReleaseTarget, others: tuple[ReleaseTarget, ...], standby: str | None
) -> None:
    """Two releases on one group or target group would be scaled against each other."""
    with pytest.raises(InputError):
        Order("web", "arn", "http://127.0.0.1", candidate, others, standby, POLICY)


def test_an_address_of_another_kind_is_refused() -> None:
    """A probe could be made to read a local file."""
    with pytest.raises(InputError, match="http"):
        Order("web", "arn", "file:///etc/passwd", target("new"), (), None, POLICY)


COLD = Group(0, 0, 5)
GONE = "no longer exists: run `pulumi up --refresh` to create it again"


@pytest.mark.parametrize(
    ("rule", "new", "live", "old", "words"),
    [
        (RULES[2], Group(1, 2, 5), Group(2, 2, 5, scale_in="soon"), Group(0, 0, 5), ()),
        (RULES[2], Group(1, 2, 5), Group(0, 0, 5, scale_in="done"), Group(0, 0, 5), ()),
        (RULES[2], Group(1, 2, 5), Group(2, 2, 5), None, ("standby live would never be scaled in",)),
        (
            RULES[2],
            Group(1, 2, 5),
            Group(2, 2, 5, scale_in="9:00", has_action=False),
            None,
            ("standby live would never be scaled in: its tag names 9:00, but the scheduled action is missing",),
        ),
        (RULES[2], Group(1, 2, 5, scale_in="9:00"), COLD, None, ("new is scheduled to be scaled in at 9:00",)),
        (RULES[2], Group(1, 2, 5, pin=1), COLD, None, ("new is still pinned by an earlier rollout",)),
        (RULES[2], Group(1, 2, 5), COLD, None, ()),
        (RULES[0], Group(1, 1, 5), COLD, None, ("the traffic is on nothing instead of new",)),
        (RULES[3], Group(1, 1, 5), COLD, None, ("the traffic is on live and new instead of new",)),
        (RULES[4], Group(1, 1, 5), COLD, None, ("the traffic is on tg-alien instead of new",)),
        (RULES[2], None, COLD, None, (f"auto scaling group asg-new of new {GONE}",)),
        (RULES[2], Group(1, 1, 5), None, None, (f"standby: auto scaling group asg-live of live {GONE}",)),
        (RULES[2], Group(0, 0, 5), COLD, None, ("new has 0 machines and a minimum of 0, instead of 1",)),
        (RULES[2], Group(3, 3, 5), COLD, None, ("new has 3 machines and a minimum of 3, instead of 1",)),
        (RULES[2], Group(1, 1, 5), Group(1, 3, 5), None, ("standby live is not pinned to its 3 machines",)),
        (RULES[2], Group(1, 1, 5), COLD, Group(0, 2, 5), ("old has 2 machines instead of none",)),
        (RULES[2], Group(1, 1, 5), COLD, Group(0, 2, 5, scale_in="9:00"), ()),
        (
            RULES[2],
            Group(1, 1, 5),
            COLD,
            Group(0, 2, 5, scale_in="9:00", has_action=False),
            ("old has 2 machines instead of none",),
        ),
    ],
)
def test_drift(
    rule: Rule | None, new: Group | None, live: Group | None, old: Group | None, words: tuple[str, ...]
) -> None:
    """A change from outside would not show in the preview, or a healthy stack would always show one."""
    assert drift(ORDER, seen(rule, new, live, old)) == words


def test_a_lone_target_group_has_all_whatever_its_weight() -> None:
    """AWS may return another weight than was written; the put-back would then wait for ever."""
    assert Rule((("tg-a", 1),)).shares() == Rule((("tg-a", 100), ("tg-b", 0))).shares()
    assert Rule((("tg-a", 1), ("tg-b", 1))).shares() != Rule((("tg-a", 1), ("tg-b", 2))).shares()
