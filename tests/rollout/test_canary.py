"""A rollout in steps, through the real loop in the simulated world: what users, operators and the next run see."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from fleetswap.domain.errors import Aborted, CloudError, InputError
from fleetswap.domain.rollout import canary, evidence, rollout_tags, wording
from fleetswap.domain.rollout.boots import read
from fleetswap.domain.rollout.evidence import Evidence, Expected
from fleetswap.domain.rollout.findings import Finding
from fleetswap.domain.rollout.health import Answer, Streak, Target, Verdict
from fleetswap.domain.rollout.model import Group, Order, Rule
from fleetswap.domain.rollout.notices import Ending
from fleetswap.domain.rollout.periods import Figures, Known, Period, Watch
from fleetswap.domain.rollout.policy import Check, Policy, Shortage
from fleetswap.domain.rollout.rates import Limit
from fleetswap.domain.rollout.strategy import Step, Strategy
from fleetswap.workflows.rollout.run import Outcome, observe, roll_out
from tests.fakes.world import POLICY, REFUSED, Release, World, order, running

STEPS = replace(
    POLICY,
    strategy=Strategy((Step(5, hold=60, min_requests=20), Step(25, hold=30)), bake=60),
    alarms=("errors",),
    errors=Limit(),
    slow=1.0,
    data_deadline=300,
    warm=600,
)


def run(world: World, wanted: Order, *, notifier: bool = True) -> Outcome:
    return roll_out(
        wanted,
        balancer=world,
        fleet=world,
        prober=world,
        clock=world,
        metrics=world,
        switch=world,
        notifier=world if notifier else None,
        say=world.say,
    )


def deploy(policy: Policy = STEPS, **candidate: object) -> tuple[World, Order]:
    """Live has scaled out to 3 and is at home."""
    world = World(new=Release(**candidate), live=running(3, minimum=2))  # type: ignore[arg-type] # names of its fields
    world.put_traffic(live=100)
    world.alarm_states = {"errors": "OK"}
    return world, replace(order("new", "live", standby="live", policy=policy), switch_role="arn:role")


def test_a_good_release_climbs_the_steps() -> None:
    """The canary would skip a step, leave a pin, a schedule or an armed switch, or take for ever."""
    world, wanted = deploy()
    started = world.time
    outcome = run(world, wanted)
    assert world.written == [
        (("tg-live", 95), ("tg-new", 5)),
        (("tg-live", 75), ("tg-new", 25)),
        (("tg-new", 100),),
    ]
    assert world.size("new") == (2, 3)
    assert world.size("live") == (3, 3), "the standby is warm"
    assert world.releases["live"].scale_in_at == pytest.approx(world.time + 600, abs=5)
    assert world.schedule is None
    assert [release.tags for release in world.releases.values()] == [
        {},
        {rollout_tags.SCALE_IN: world.releases["live"].tags[rollout_tags.SCALE_IN]},
    ]
    assert read(world.rule_tags.pop(rollout_tags.BOOTS))[0].machines == 3
    assert world.rule_tags == {rollout_tags.LIVE: "new", rollout_tags.STANDBY: "live"}
    assert observe(wanted, balancer=world, fleet=world, switch=world).drift == ()
    assert {"hold", "bake"} <= set(outcome.phases)
    # Three steps, in each: convergence, up to a minute until the next one begins, that minute, and until it is settled.
    assert 3 * (60 + 60 + 135) < world.time - started < 3 * (60 + 60 + 60 + 135) + 30
    assert [notice.ending for notice in world.notices] == [Ending.SUCCEEDED]


def test_a_standby_that_aws_has_scaled_in_is_no_drift() -> None:
    """Every preview after the warm time would show a change, and the next update would warm the standby again."""
    world, wanted = deploy()
    run(world, wanted)
    world.sleep(700)
    assert world.size("live") == (0, 0)
    assert observe(wanted, balancer=world, fleet=world, switch=world).drift == ()
    run(world, wanted)
    assert world.size("live") == (0, 0)


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [({"error_rate": 0.5}, "5xx: candidate"), ({"slow_rate": 0.9}, "slow: candidate")],
    ids=["5xx", "slow"],
)
def test_what_only_users_see_ends_at_the_first_step(candidate: dict[str, object], reason: str) -> None:
    """A release that is healthy, but fails its users, would get all of them."""
    world, wanted = deploy(STEPS, **candidate)
    before = world.rule_now
    with pytest.raises(Aborted, match=f"with 5 % of the traffic on new, .*{reason}.*live has all the traffic again"):
        run(world, wanted)
    assert world.rule_now == before
    assert world.written == [(("tg-live", 95), ("tg-new", 5))]
    assert world.size("new") == (0, 0)
    assert world.size("live") == (2, 3)
    assert (world.releases["live"].tags, world.schedule) == ({}, None)
    assert world.releases["new"].tags.keys() == {rollout_tags.SCALE_IN}, "what AWS has done since"
    (notice,) = world.notices
    assert (notice.ending, notice.serving) == (Ending.ROLLED_BACK, "live")
    assert reason in wording.reasons(notice.evidence)


def test_for_report_only_is_only_told() -> None:
    """A check that is being tried out would abort deploys."""
    policy = replace(STEPS, report_only=("errors",))
    world, wanted = deploy(policy, error_rate=0.5)
    run(world, wanted)
    assert world.serving() == {"tg-new"}
    assert "(report only) 5xx: candidate" in wording.reasons(world.notices[0].evidence)


@pytest.mark.parametrize(
    ("state", "trusted", "reason"),
    [
        ("ALARM", False, "alarm errors is in ALARM already, before release new begins; live keeps all the traffic"),
        (None, False, "does not exist"),
        (None, True, "does not exist"),
    ],
)
def test_alarms_at_the_start(state: str | None, trusted: bool, reason: str) -> None:  # noqa: FBT001 - a table
    """A deploy into a burning house, or with an alarm that no one ever made, would begin."""
    world, wanted = deploy()
    world.alarm_states = {} if state is None else {"errors": state}
    with pytest.raises((Aborted, InputError), match=reason):
        run(world, replace(wanted, trusted=trusted))
    assert world.size("new") == (0, 0)
    assert not world.written
    assert not {"resize", "tag", "arm"} & set(world.names), "nothing was touched"


def test_a_rollback_begins_although_the_alarm_rings() -> None:
    """What is to end the alarm would be refused because of it."""
    world = World(new=running(3), live=running(3, minimum=2))
    world.put_traffic(live=100)
    world.alarm_states = {"errors": "ALARM"}
    wanted = replace(order("new", "live", standby="live", policy=STEPS), switch_role="arn:role", trusted=True)
    started = world.time
    run(world, wanted)
    assert world.written == [(("tg-new", 100),)], "no canary"
    assert world.time - started < 4, "and no waiting for metrics"


@pytest.mark.parametrize(
    ("state", "reason"),
    [("ALARM", "alarm errors is in ALARM"), ("INSUFFICIENT_DATA", "not enough evidence in time: alarm errors is")],
)
def test_an_alarm_that_turns(state: str, reason: str) -> None:
    """Ringing would not stop the rollout, or missing data would pass for quiet."""
    world, wanted = deploy()
    forward = world.forward

    def ringing(listener: str, weights: tuple[tuple[str, int], ...]) -> None:
        forward(listener, weights)
        world.alarm_states["errors"] = state

    world.forward = ringing  # type: ignore[method-assign] # the alarm turns with the first weight
    with pytest.raises(Aborted, match=reason):
        run(world, wanted)
    assert world.serving() == {"tg-live"}


def test_no_requests_are_no_proof() -> None:
    """A step would pass in the night, when no one was there to be hurt."""
    world, wanted = deploy()
    world.requests = 0.1
    with pytest.raises(Aborted, match=r"not enough evidence in time: \d of 20 requests are counted"):
        run(world, wanted)
    assert world.serving() == {"tg-live"}


def test_abort_from_outside() -> None:
    """`fleetswap abort` would not be heard, or would stop the next rollout, too."""
    world, wanted = deploy()
    world.releases["new"].tags[rollout_tags.ABORT] = "of an older rollout"
    sleep = world.sleep

    def sleeping(seconds: float, stop: threading.Event | None = None) -> None:
        sleep(seconds, stop)
        if len(world.serving()) == 2:
            world.releases["new"].tags[rollout_tags.ABORT] = "Ada at 12:00: looks wrong"

    world.sleep = sleeping  # type: ignore[method-assign] # someone stops it during the canary
    with pytest.raises(Aborted, match="aborted on request: Ada at 12:00: looks wrong; live has all the traffic again"):
        run(world, wanted)
    assert world.releases["new"].tags.keys() <= {rollout_tags.SCALE_IN}, "no mark but that of its end"


def test_rolled_back_by_hand_is_not_deployed_again_by_accident() -> None:
    """The next update would put the traffic right back on what a hand has just taken it from."""
    world, wanted = deploy()
    world.rule_tags[rollout_tags.ROLLED_BACK] = rollout_tags.RolledBack("new", "2026-11-24T12:00:00Z").value
    with pytest.raises(
        InputError,
        match=r"new was rolled back with `fleetswap rollback --now` at 2026-11-24T12:00:00Z: .*rollout\.again",
    ):
        run(world, wanted)
    assert not world.written
    run(world, replace(wanted, policy=replace(wanted.policy, again=True)))
    assert world.serving() == {"tg-new"}
    assert rollout_tags.ROLLED_BACK not in world.rule_tags


@pytest.mark.parametrize("allowed", [Shortage.ABORT, Shortage.ON_DEMAND])
def test_no_spot_capacity(allowed: Shortage) -> None:
    """A deploy would wait for spot machines until its deadline, or leave the group on demand, and dear, for ever."""
    world, wanted = deploy(replace(STEPS, shortage=allowed, shortage_patience=20), cannot_launch="no spot capacity")
    started = world.time
    if allowed is Shortage.ABORT:
        with pytest.raises(Aborted, match="EC2 has no capacity"):
            run(world, wanted)
        assert world.time - started < 60
        assert world.serving() == {"tg-live"}
    else:
        run(world, wanted)
        assert world.serving() == {"tg-new"}
    assert world.releases["new"].on_demand_percent == 0
    assert world.releases["new"].tags.keys() <= {rollout_tags.SCALE_IN}, "no mark but that of its end"


def test_a_machine_of_another_image_gets_no_traffic() -> None:
    """A launch template that points to another AMI would be deployed under the name of this release."""
    world, wanted = deploy(image="ami-other")
    wanted = replace(wanted, candidate=replace(wanted.candidate, image="ami-right"))
    with pytest.raises(Aborted, match="runs ami-other instead of ami-right"):
        run(world, wanted)
    assert not world.written


def test_weights_do_not_move_without_the_switch() -> None:
    """With the switch refused, a deployer that dies would leave its canary for ever."""
    world, wanted = deploy()
    world.broken_calls["arm"] = REFUSED
    with pytest.raises(CloudError, match="AWS refuses"):
        run(world, wanted)
    assert not world.written
    assert world.size("live") == (2, 3)
    assert world.releases["live"].tags == {}


def test_a_dead_deployer_is_followed_by_the_switch_and_then_by_the_next_run() -> None:
    """A canary would stay at its weights for ever when the deploying machine dies."""
    world, wanted = deploy()
    sleep = world.sleep

    class Death(BaseException):
        """The machine is gone: nothing runs any more."""

    def dying(seconds: float, stop: threading.Event | None = None) -> None:
        sleep(seconds, stop)
        if len(world.serving()) == 2:
            world.broken_calls |= dict.fromkeys(("forward", "restore", "resize", "untag", "disarm", "rule"), Death())

    world.sleep = dying  # type: ignore[method-assign] # in the middle of the first step
    with pytest.raises(BaseException, match=r"could not|Death|^$"):
        run(world, wanted)
    assert world.serving() == {"tg-live", "tg-new"}
    world.sleep, world.broken_calls = sleep, {}  # type: ignore[method-assign] # a new machine
    assert observe(wanted, balancer=world, fleet=world, switch=world).drift
    world.sleep(700)
    assert world.serving() == {"tg-live"}, "the switch"
    run(world, wanted)
    assert world.serving() == {"tg-new"}
    assert observe(wanted, balancer=world, fleet=world, switch=world).drift == ()


def test_a_switch_of_before_is_deleted_by_a_run_without_a_role() -> None:
    """The switch of a rollout that died would fire into the work of a stack that has given up its switch."""
    world, wanted = deploy()
    assert world.rule_now is not None
    world.schedule = (world.time + 50, world.rule_now, "a run that died")
    run(world, replace(wanted, switch_role=None))
    assert [world.schedule] == [None]
    world.sleep(100)
    assert world.serving() == {"tg-new"}


def test_a_failing_notifier_changes_nothing() -> None:
    """A mail server that is down would fail a deploy, or hide why it failed."""
    for bad in (False, True):
        world, wanted = deploy(error_rate=0.5 if bad else 0.0)
        world.broken_calls["tell"] = RuntimeError("no mail today")
        if bad:
            with pytest.raises(Aborted, match="5xx"):
                run(world, wanted)
        else:
            run(world, wanted)
        assert "warning: could not send the notification: RuntimeError: no mail today" in world.log


# The gate of a step, as a table

GOOD = Finding(Check.WEIGHTS, Verdict.PROMOTE)
OPEN = Finding(Check.REQUESTS, Verdict.WAIT)
BAD = Finding(Check.ALARMS, Verdict.ABORT)
ODD = Finding(Check.PROBE, Verdict.ABORT, again=True)


@pytest.mark.parametrize(
    ("found", "streak", "over", "left", "verdict"),
    [
        ((GOOD,), Streak(1), True, 9.0, Verdict.PROMOTE),
        ((GOOD,), Streak(1), True, -1.0, Verdict.PROMOTE),
        ((GOOD,), Streak(0), True, 9.0, Verdict.WAIT),
        ((GOOD,), Streak(0), True, -1.0, Verdict.WAIT),
        ((GOOD,), Streak(9), False, 9.0, Verdict.WAIT),
        ((GOOD, OPEN), Streak(9), True, 9.0, Verdict.WAIT),
        ((GOOD, OPEN), Streak(9), True, 0.0, Verdict.ABORT),
        ((GOOD, BAD), Streak(9), False, 9.0, Verdict.ABORT),
        ((GOOD, ODD), Streak(9), True, 9.0, Verdict.WAIT),
        ((GOOD, ODD), Streak(0, 1), True, 9.0, Verdict.ABORT),
        ((OPEN, ODD), Streak(0, 0), False, 9.0, Verdict.WAIT),
    ],
)
def test_verdicts_of_a_step(
    found: tuple[Finding, ...],
    streak: Streak,
    over: bool,  # noqa: FBT001 - a table
    left: float,
    verdict: Verdict,
) -> None:
    """Evidence would lead to the wrong verdict: missing data promoted, one stale reading taken for a disaster."""
    assert canary.judge(found, streak, readings=2, hold_over=over, seconds_left=left).verdict is verdict


def period(candidate: Figures, live: Figures, *, began: float = 100) -> Period:
    return Period(0, began, began + 60, 60, candidate, live, candidate.requests + live.requests)


FINE = Evidence(
    rule=Rule((("tg-live", 90), ("tg-new", 10))),
    rule_known=True,
    targets=(Target("i-1", "healthy"), Target("i-2", "healthy")),
    home_targets=(Target("i-3", "healthy"),),
    group=Group(2, 2, 8),
    answer=Answer(200),
    alarms={"errors": "OK"},
    periods=(period(Figures(100, 100), Figures(900, 899, 1)),),
)
LONG_AGO = Watch().held(10, 0.0)
EXPECTED = Expected(replace(STEPS, slow=None), FINE.rule, wanted=2, asked=100, now=1000.0)


@pytest.mark.parametrize(
    ("change", "verdict", "words"),
    [
        ({}, Verdict.PROMOTE, "the listener shows the new weights"),
        ({"rule_known": False}, Verdict.WAIT, "weights are unknown"),
        ({"rule": Rule((("tg-live", 1),))}, Verdict.WAIT, "still shows the old weights"),
        ({"targets": None}, Verdict.WAIT, "health of the machines is unknown"),
        ({"targets": (Target("i-1", "healthy"),)}, Verdict.WAIT, "1 of 2 machines healthy"),
        ({"targets": ()}, Verdict.ABORT, "0 of 2 machines healthy"),
        ({"home_targets": ()}, Verdict.ABORT, "has no healthy machine"),
        ({"group": Group(2, 2, 8, abort="stop")}, Verdict.ABORT, "aborted on request: stop"),
        ({"answer": Answer(500)}, Verdict.ABORT, "responds with status 500, expected 200"),
        ({"alarms": None}, Verdict.WAIT, "state of alarm errors is unknown"),
        ({"alarms": {"errors": "INSUFFICIENT_DATA"}}, Verdict.WAIT, "INSUFFICIENT_DATA"),
        ({"alarms": {}}, Verdict.WAIT, "does not exist"),
        ({"alarms": {"errors": "ALARM"}}, Verdict.ABORT, "is in ALARM"),
        ({"periods": None}, Verdict.WAIT, "CloudWatch does not respond"),
        ({"periods": ()}, Verdict.WAIT, "has no data points yet"),
        ({"periods": (period(Figures(99, 99), Figures(900, 900)),)}, Verdict.WAIT, "99 of 100 requests"),
        ({"periods": (period(Figures(), Figures(900, 900)),)}, Verdict.WAIT, "0 of 100 requests"),
        ({"periods": (period(Figures(100, 100), Figures(900, 900), began=-1),)}, Verdict.WAIT, "no whole period"),
        ({"periods": (period(Figures(100, 40, 60), Figures(900, 900)),)}, Verdict.ABORT, "5xx"),
    ],
)
def test_findings(change: dict[str, object], verdict: Verdict, words: str) -> None:
    """A kind of evidence would not count, or unknown would pass for good."""
    read = replace(FINE, **change)  # type: ignore[arg-type] # names of its fields
    watch = LONG_AGO.read(read.periods or (), 500.0)
    first = evidence.findings(read, replace(EXPECTED, watch=watch))[0]
    assert first.verdict is verdict
    assert words in wording.reasons([first])


FULL = Figures(50, 50)
LAST = "not yet those of the step's last period"


@pytest.mark.parametrize(
    ("told", "asked", "until", "missing"),
    [
        ([(60, FULL, 0)], 50, 70, None),
        ([(60, FULL, 0)], 0, 70, None),
        ([(60, FULL, 0)], 51, 70, "50 of 51 requests are counted"),
        ([(210, FULL, 0)], 50, 70, "no whole period"),
        ([(60, FULL, 390)], 50, 70, "no whole period"),
        ([(59, FULL, 0)], 50, 70, "no whole period"),
        ([(60, Figures(), 0)], 0, 70, "0 of 1 requests are counted"),
        ([(60, FULL, 0)], 50, 179, None),
        ([(60, FULL, 0)], 50, 180, LAST),
        ([(60, FULL, 0), (120, FULL, 0)], 100, 180, None),
        ([(60, FULL, 0), (120, FULL, 390)], 50, 179, None),
        ([(60, FULL, 0), (120, FULL, 390)], 50, 180, LAST),
        ([(60, FULL, 390), (120, FULL, 0)], 50, 180, LAST),
        ([(0, FULL, 0), (60, FULL, 0)], 50, 70, None),
    ],
)
def test_what_is_counted_of_a_step(
    told: list[tuple[float, Figures, float]], asked: int, until: float, missing: str | None
) -> None:
    """A step would be passed by requests that are not its own, not all there, or none, or by a part of its hold.

    `told` has the start of each period, its figures, and since when they have not changed; it is 400 now.
    """
    periods = [replace(period(figures, Figures(), began=began), start=int(began)) for began, figures, _ in told]
    known = tuple(Known(read, since) for read, (_, _, since) in zip(periods, told, strict=True))
    watch = replace(Watch().held(10, 60), known=known)
    expected = replace(EXPECTED, watch=watch, now=400.0, until=until, asked=asked)
    found = evidence.findings(replace(FINE, periods=tuple(periods)), expected)
    (counted,) = [finding for finding in found if finding.check is Check.REQUESTS]
    assert counted.verdict is (Verdict.PROMOTE if missing is None else Verdict.WAIT)
    assert missing is None or missing in wording.reasons([counted])


def test_figures_that_convict_are_read_again() -> None:
    """One answer of CloudWatch, which may come from a part of it that lags behind, would end a deploy."""
    watch = LONG_AGO.read((period(Figures(100, 40, 60), Figures(900, 900)),), 500.0)
    found = evidence.findings(FINE, replace(EXPECTED, watch=watch))
    (bad,) = [finding for finding in found if finding.verdict is Verdict.ABORT]
    assert bad.again
    assert canary.judge(found, Streak(), readings=2, hold_over=True, seconds_left=9).verdict is Verdict.WAIT


# Strategies and policies


def test_a_strategy_ends_with_all() -> None:
    """A rollout would end with users on two releases."""
    strategy = Strategy((Step(5), Step(50)), bake=30, trusted_bake=1)
    assert [step.weight for step in strategy.plan(trusted=False)] == [5, 50, 100]
    assert strategy.plan(trusted=False)[-1].hold == 30
    assert strategy.plan(trusted=True) == (Step(100, hold=1),)
    assert Strategy().plan(trusted=False) == (Step(100),)


@pytest.mark.parametrize(
    "steps",
    [
        ({"weight": 50}, {"weight": 5}),
        ({"weight": 5}, {"weight": 5}),
        ({"weight": 0},),
        ({"weight": 101},),
        ({"weight": 5, "hold": -1},),
        ({"weight": 5, "hold": float("nan")},),
        ({"weight": 5, "min_requests": -1},),
        ({"weight": 100}, {"weight": 100}),
    ],
)
def test_wrong_strategies_are_refused(steps: tuple[dict[str, float], ...]) -> None:
    """Weights that fall, or a hold that never ends, would show in the middle of a deploy."""
    with pytest.raises(InputError):
        Strategy(tuple(Step(**step) for step in steps))  # type: ignore[arg-type] # wrong on purpose


@pytest.mark.parametrize(
    "wrong",
    [{"report_only": ("health",)}, {"report_only": ("luck",)}, {"slow": 0.0}, {"warm": -1.0}, {"alarms": ("a", "a")}],
)
def test_wrong_checks_are_refused(wrong: dict[str, object]) -> None:
    """Traffic could be put on machines that are not healthy, or a misspelt check would be ignored."""
    with pytest.raises(InputError):
        Policy(minimum=1, **wrong)  # type: ignore[arg-type] # wrong on purpose
