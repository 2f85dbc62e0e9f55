"""The whole rollout in a simulated world: what is true afterwards, whatever goes wrong on the way."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetswap.domain.errors import Aborted, CloudError, InputError
from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.health import Answer, Failure
from fleetswap.domain.rollout.model import Order, Rule
from fleetswap.domain.rollout.moments import Hook, HookCall, HookResult, Moment
from fleetswap.workflows.rollout.record_file import RecordFile
from fleetswap.workflows.rollout.recorder import Recorder
from fleetswap.workflows.rollout.run import Outcome, observe, retire, roll_out
from tests.fakes.world import POLICY, REFUSED, THROTTLED, Fault, Release, World, order, running


def run(world: World, wanted: Order) -> Outcome:
    return roll_out(wanted, balancer=world, fleet=world, prober=world, clock=world, say=world.say, show=world.say)


def first_deploy() -> tuple[World, Order]:
    return World(new=Release()), order("new")


def swap() -> tuple[World, Order]:
    """Live has scaled out to 3; an older standby is still warm and must go."""
    world = World(new=Release(), live=running(3, minimum=2), old=running(2))
    world.put_traffic(live=100)
    return world, order("new", "live", "old", standby="live")


def swap_without_standby() -> tuple[World, Order]:
    world = World(new=Release(), live=running(2))
    world.put_traffic(live=100)
    return world, order("new", "live")


def go_back() -> tuple[World, Order]:
    """The standby is warm, and live is what fails."""
    world = World(good=running(2), bad=running(2, minimum=2))
    world.put_traffic(bad=100)
    return world, order("good", "bad", standby="bad")


def broken_candidate() -> tuple[World, Order]:
    world, wanted = swap()
    world.releases["new"] = Release(healthy=False, console="booting\nKernel panic\n")
    return world, wanted


def breaks_under_load() -> tuple[World, Order]:
    world, wanted = swap()
    world.releases["new"].loaded_status = 500
    return world, wanted


SUCCEEDING = [first_deploy, swap, swap_without_standby, go_back]
FAILING = [broken_candidate, breaks_under_load]


def test_first_deploy() -> None:
    """A service would never get its first traffic, or start with fewer machines than the settings ask for."""
    world, wanted = first_deploy()
    outcome = run(world, wanted)
    assert (outcome.live, outcome.previous) == ("new", None)
    assert world.serving() == {"tg-new"}
    assert world.size("new") == (2, 2)
    assert set(outcome.phases) == {"look", "scale", "gate", "probe", "shift", "settle"}
    assert outcome.phases["gate"] >= 6


def test_swap_matches_what_live_has_now() -> None:
    """The new release would take a load with fewer machines than carried it, or the standby would go cold."""
    world, wanted = swap()
    outcome = run(world, wanted)
    assert (outcome.live, outcome.previous) == ("new", "live")
    assert world.serving() == {"tg-new"}
    assert world.size("new") == (2, 3), "as many machines as live had; the pin is released"
    assert world.size("live") == (3, 3), "kept warm: target tracking must not shrink it"
    assert world.size("old") == (0, 0)
    assert not world.dark


def test_without_a_standby_the_old_release_ends() -> None:
    """Machines of a release that is not kept would run, and cost, for ever."""
    world, wanted = swap_without_standby()
    run(world, wanted)
    assert world.serving() == {"tg-new"}
    assert world.size("live") == (0, 0)
    assert not world.dark


def test_going_back_to_a_warm_standby_is_quick() -> None:
    """A rollback would wait between readings as if machines had to boot; the time is the simulated clock's."""
    world, wanted = go_back()
    started = world.time
    outcome = run(world, wanted)
    assert world.serving() == {"tg-good"}
    assert world.size("good") == (2, 2)
    assert world.size("bad") == (2, 2)
    assert world.time - started < 3
    assert outcome.previous == "bad"


def test_a_finished_rollout_changes_nothing_when_repeated() -> None:
    """A second `up` would move traffic or resize groups again."""
    world, wanted = swap()
    run(world, wanted)
    before = (world.rule_now, {name: world.size(name) for name in world.releases}, len(world.traffic))
    started = world.time
    run(world, wanted)
    assert (world.rule_now, {name: world.size(name) for name in world.releases}, len(world.traffic)) == before
    assert world.time - started < 3


def test_mends_what_a_dead_deployer_left() -> None:
    """A deployer that died after the shift would leave its pin, a cold standby's bounds and an old release running."""
    world = World(new=running(3), live=running(3, minimum=2), old=running(1))
    world.put_traffic(new=100)
    wanted = order("new", "live", "old", standby="live")
    assert observe(wanted, balancer=world, fleet=world).drift
    run(world, wanted)
    assert world.size("new") == (2, 3)
    assert world.size("live") == (3, 3)
    assert world.size("old") == (0, 0)
    assert observe(wanted, balancer=world, fleet=world).drift == ()


def test_traffic_flipped_from_outside_is_brought_back() -> None:
    """A flip by hand would be taken for the truth of the ledger, and never mended."""
    world = World(new=running(2), live=running(2))
    world.put_traffic(live=70, new=30)
    wanted = order("new", "live", standby="live")
    seen = observe(wanted, balancer=world, fleet=world)
    assert seen.live is None
    assert seen.weights == {"live": 70, "new": 30}
    run(world, wanted)
    seen = observe(wanted, balancer=world, fleet=world)
    assert (seen.live, seen.drift) == ("new", ())
    assert seen.sizes == {"new": (2, 2), "live": (2, 2)}


def test_a_broken_candidate_is_told_in_full_and_cleaned_up() -> None:
    """A release that fails its health check would get traffic, stay, or fail without saying why."""
    world, wanted = broken_candidate()
    before = world.rule_now
    with pytest.raises(Aborted) as caught:
        run(world, wanted)
    text = str(caught.value)
    assert "3 of 3 machines launched, 0 healthy" in text
    assert "Target.ResponseCodeMismatch Health checks failed with these codes: [503]" in text
    assert "console of i-" in text
    assert "booting | Kernel panic" in text
    assert "live keeps all the traffic" in text
    assert "\n" not in text
    assert world.rule_now == before
    assert world.size("new") == (0, 0)
    assert world.size("live") == (2, 3)
    assert world.size("old") == (2, 2)
    assert any("(health check returns [503])" in line for line in world.log), "the reason shows while waiting, too"


def test_a_console_that_fails_does_not_hide_the_reason() -> None:
    """The abort would be reported as whatever went wrong while it was being illustrated."""
    for error in (REFUSED, KeyboardInterrupt()):
        world, wanted = broken_candidate()
        world.broken_calls["console"] = error
        with pytest.raises(Aborted, match=r"Target\.ResponseCodeMismatch"):
            run(world, wanted)
        assert world.size("new") == (0, 0)


def test_progress_is_not_noise() -> None:
    """A gate of ten minutes would print hundreds of equal lines."""
    world, wanted = broken_candidate()
    with pytest.raises(Aborted):
        roll_out(wanted, balancer=world, fleet=world, prober=world, clock=world, say=world.say)
    assert len(world.log) < 12


def test_a_release_that_cannot_launch_is_given_up_early() -> None:
    """An AMI that cannot launch would cost the whole deadline, and its reason would be lost."""
    world, wanted = swap()
    world.releases["new"].cannot_launch = "The image id '[ami-1]' does not exist"
    started = world.time
    with pytest.raises(Aborted, match=r"no machine can be launched: The image id '\[ami-1\]' does not exist"):
        run(world, wanted)
    assert world.time - started < POLICY.deadline / 2
    assert world.size("new") == (0, 0)


def test_machines_that_die_after_the_probe_get_no_traffic() -> None:
    """The shift would go to a fleet that was healthy a moment ago."""
    world, wanted = swap()
    get, forward, probes = world.get, world.forward, 0

    def dying(url: str, *, release: str | None, timeout: float) -> Answer:
        nonlocal probes
        answer = get(url, release=release, timeout=timeout)
        probes += 1
        if probes == POLICY.readings:
            world.releases["new"].machines[0].born = world.time
        return answer

    def checked(listener: str, weights: tuple[tuple[str, int], ...]) -> None:
        assert sum(target.state == "healthy" for target in world.targets("tg-new")) == 3
        forward(listener, weights)

    world.get = dying  # type: ignore[method-assign] # one machine is replaced after the last probe
    world.forward = checked  # type: ignore[method-assign] # looks before it writes
    run(world, wanted)
    assert world.serving() == {"tg-new"}
    assert probes > POLICY.readings * 2


def test_weights_that_do_not_hold_are_no_success() -> None:
    """The old release would be scaled in, or called standby, while it still has the traffic."""
    world, wanted = swap_without_standby()

    def accepted(listener: str, weights: tuple[tuple[str, int], ...]) -> None:
        assert (listener, len(weights)) == (wanted.listener, 1)

    world.forward = accepted  # type: ignore[method-assign] # and without effect
    with pytest.raises(Aborted, match="the listener does not show the new weights yet; live has all the traffic again"):
        run(world, wanted)
    assert world.size("live") == (2, 2)
    assert world.size("new") == (0, 0)


def test_what_served_is_scaled_in_last() -> None:
    """An error in the clean-up would find the way back already closed, though only an old release was in the way."""
    world, wanted = swap()
    wanted = replace(wanted, standby=None)
    schedule = world.schedule_scale_in

    def refusing(name: str, seconds: float, note: str = "") -> None:
        if name == "asg-old":
            raise REFUSED
        schedule(name, seconds, note)

    world.schedule_scale_in = refusing  # type: ignore[method-assign] # the old release cannot be scaled in
    with pytest.raises(CloudError, match="live has all the traffic again"):
        run(world, wanted)
    assert world.size("live") == (2, 3)
    assert not world.dark


def test_missing_capacity_is_waited_for() -> None:
    """A shortage of a minute would abort a deploy that only had to wait."""
    world, wanted = swap()
    world.releases["new"].cannot_launch = "InsufficientInstanceCapacity"
    sleep = world.sleep

    def sleeping(seconds: float, stop: threading.Event | None = None) -> None:
        sleep(seconds, stop)
        if world.time > 1060:
            world.releases["new"].cannot_launch = ""

    world.sleep = sleeping  # type: ignore[method-assign] # the shortage ends
    run(world, wanted)
    assert world.serving() == {"tg-new"}


def test_a_probe_that_fails_aborts_before_the_shift() -> None:
    """A release whose health check lies would get traffic."""
    world, wanted = swap()
    world.releases["new"].status = 500
    with pytest.raises(Aborted, match="probe of new: / responds with status 500, expected 200; live keeps all"):
        run(world, wanted)
    assert [serving for _, serving in world.traffic][-1] == {"tg-live"}
    assert all("tg-new" not in serving for _, serving in world.traffic)
    assert world.size("new") == (0, 0)


def test_a_release_that_breaks_under_load_is_put_back_soon() -> None:
    """Users would get errors until the deadline, although every answer after the shift is bad."""
    world, wanted = breaks_under_load()
    before = world.rule_now
    with pytest.raises(
        Aborted,
        match="with the traffic on new, / responds with status 500, expected 200; live has all the traffic again",
    ):
        run(world, wanted)
    assert world.rule_now == before, "the very same actions, verbatim"
    assert world.size("new") == (0, 0)
    shifted = [moment for moment, serving in world.traffic if serving == {"tg-new"}]
    back = [moment for moment, serving in world.traffic if serving == {"tg-live"}]
    assert back[-1] - shifted[0] <= POLICY.interval * POLICY.readings + 1


def test_a_failed_first_deploy_leaves_no_rule() -> None:
    """The listener would go on forwarding to a release that is being scaled in."""
    world, wanted = first_deploy()
    world.releases["new"].loaded_status = 500
    with pytest.raises(Aborted, match="nothing has the traffic, as before"):
        run(world, wanted)
    assert world.rule_now is None
    assert world.size("new") == (0, 0)


def test_a_standby_that_fails_its_probe_stays_warm() -> None:
    """A failed rollback would throw away the only release that could still be put right."""
    world, wanted = go_back()
    world.releases["good"].status = 500
    with pytest.raises(Aborted):
        run(world, wanted)
    assert world.serving() == {"tg-bad"}
    assert world.size("good") == (2, 2)


def test_what_a_dead_deployer_left_is_cleaned_up() -> None:
    """A candidate left half-way by a deployer that died would keep its broken machines through every later try."""
    world = World(new=running(2, healthy=False), live=running(2))
    world.put_traffic(live=100)
    with pytest.raises(Aborted):
        run(world, order("new", "live", standby="live"))
    assert world.size("new") == (0, 0)


def test_live_that_is_sick_keeps_its_machines() -> None:
    """Mending a live release that does not get healthy would take its last machines away."""
    world = World(live=running(2, healthy=False))
    world.put_traffic(live=100)
    with pytest.raises(Aborted, match="live keeps all the traffic"):
        run(world, order("live"))
    assert world.size("live") == (2, 2)
    assert world.serving() == {"tg-live"}


def test_a_release_out_of_bounds_is_refused_untouched() -> None:
    """A candidate that may not grow to what live has would take the traffic with too few machines."""
    world, wanted = swap()
    world.releases["new"].maximum = 2
    with pytest.raises(InputError, match="new needs 3 machines, as many as serve now, but its maximum is 2"):
        run(world, wanted)
    assert world.size("new") == (0, 0)
    assert world.serving() == {"tg-live"}


def test_what_a_hand_has_put_on_the_rule_is_drift_and_is_taken_off() -> None:
    """Users would get 503 of a condition that someone has added, and no preview would show it."""
    world, wanted = first_deploy()
    run(world, wanted)
    assert world.rule_now is not None
    world.rule_now = replace(world.rule_now, odd=("condition host-header www.example.com",))
    assert observe(wanted, balancer=world, fleet=world).drift == (
        "someone has added to the listener rule: condition host-header www.example.com; the next update removes it",
    )
    run(world, wanted)
    assert observe(wanted, balancer=world, fleet=world).drift == ()


def test_the_rule_says_who_owns_it() -> None:
    """A resource that was replaced would take the service down when Pulumi deletes it."""
    world, wanted = swap()
    run(world, replace(wanted, owner="web-rollout-1"))
    assert world.rule_tags[rollout_tags.OWNER] == "web-rollout-1"
    run(world, replace(wanted, owner="web-rollout-2"))
    assert world.rule_tags[rollout_tags.OWNER] == "web-rollout-2"


def test_live_that_grows_meanwhile_is_matched() -> None:
    """Scaling goes on while the candidate boots: the shift would go to a fleet of the size of some minutes ago."""
    world, wanted = swap()
    sleep = world.sleep

    def sleeping(seconds: float, stop: threading.Event | None = None) -> None:
        sleep(seconds, stop)
        world.releases["live"].desired = 5

    world.sleep = sleeping  # type: ignore[method-assign] # live scales out during the gate
    run(world, wanted)
    assert world.size("new") == (2, 5)


def test_a_live_release_that_no_one_declared_is_matched_and_put_back() -> None:
    """Traffic that was put by hand on a release outside the order would be lost when a deploy fails."""
    world = World(new=Release(loaded_status=500), alien=running(4))
    world.put_traffic(alien=7)
    before = world.rule_now
    with pytest.raises(
        Aborted, match="on new, / responds with status 500, expected 200; alien has all the traffic again"
    ):
        run(world, order("new"))
    assert world.rule_now == before
    assert world.size("alien") == (4, 4)
    world.releases["new"].loaded_status = 200
    assert run(world, order("new")).previous == "alien", "named by its tags"
    assert world.size("new") == (2, 4)
    assert world.size("alien") == (4, 4), "what the order does not know is left alone"


@pytest.mark.parametrize("to", ["live", "new"])
def test_a_move_by_someone_else_stops_the_rollout(to: str) -> None:
    """Two deployers would undo each other, or the candidate would be scaled in under someone's `--now`."""
    world, wanted = swap()
    world.put_traffic(old=100)
    sleep = world.sleep

    def sleeping(seconds: float, stop: threading.Event | None = None) -> None:
        sleep(seconds, stop)
        if world.releases["new"].machines and world.time > world.releases["new"].machines[0].born + 6:
            world.put_traffic(**{to: 100})

    world.sleep = sleeping  # type: ignore[method-assign] # someone moves the traffic during the gate
    with pytest.raises(Aborted, match="someone else moved"):
        run(world, wanted)
    assert world.serving() == {f"tg-{to}"}
    assert world.size("new") == ((0, 0) if to == "live" else (2, 2))
    assert not world.dark


def test_no_rollback_to_a_dead_release() -> None:
    """An error during the clean-up would move the traffic from a healthy release to one without a healthy machine."""
    world = World(new=Release(), live=running(2, healthy=False))
    world.put_traffic(live=100)
    resize = world.resize

    def refusing(name: str, *, minimum: int, desired: int | None) -> None:
        if world.serving() == {"tg-new"}:
            raise REFUSED
        resize(name, minimum=minimum, desired=desired)

    world.resize = refusing  # type: ignore[method-assign] # permissions end after the shift
    with pytest.raises(CloudError, match="the traffic stays on new, because live has no healthy machine"):
        run(world, order("new", "live", standby="live"))
    assert world.serving() == {"tg-new"}
    assert world.size("new") == (2, 2)


def test_a_put_back_that_fails_is_told_after_the_first_error() -> None:
    """The first error would be hidden by that of the put-back, or the candidate would lose machines under traffic."""
    world, wanted = breaks_under_load()
    world.broken_calls["restore"] = CloudError("AWS refuses elasticloadbalancing:ModifyRule on arn:rule")
    with pytest.raises(Aborted) as caught:
        run(world, wanted)
    text = str(caught.value)
    assert text.startswith("with the traffic on new, / responds with status 500, expected 200")
    assert "could not restore the traffic to live (AWS refuses elasticloadbalancing:ModifyRule" in text
    assert "run `pulumi up` again" in text
    assert world.serving() == {"tg-new"}
    assert world.size("new") == (3, 3)


def test_a_group_that_cannot_be_put_back_is_told() -> None:
    """Machines would be left running without a word."""
    world, wanted = broken_candidate()
    resize = world.resize

    def refusing(name: str, *, minimum: int, desired: int | None) -> None:
        if desired == 0:
            raise REFUSED
        resize(name, minimum=minimum, desired=desired)

    world.resize = refusing  # type: ignore[method-assign] # may grow, may not shrink
    with pytest.raises(Aborted, match=r"not healthy.*could not restore new to 0 machines \(AWS refuses"):
        run(world, wanted)


def test_a_refused_shift_needs_no_put_back() -> None:
    """A missing permission would be reported twice, and the candidate left running though it never had traffic."""
    world, wanted = swap()
    refusal = CloudError("AWS refuses elasticloadbalancing:ModifyRule on arn:rule")
    world.broken_calls |= {"forward": refusal, "restore": refusal}
    with pytest.raises(CloudError) as caught:
        run(world, wanted)
    assert "could not restore" not in str(caught.value)
    assert world.size("new") == (0, 0)
    assert world.serving() == {"tg-live"}


def test_put_back_outlasts_an_outage() -> None:
    """A throttle of half a minute during the put-back would leave users on a broken release."""
    world, wanted = breaks_under_load()
    restore, tries = world.restore, 0

    def flaky(listener: str, rule: Rule | None) -> None:
        nonlocal tries
        tries += 1
        if tries < 30:
            raise THROTTLED
        restore(listener, rule)

    world.restore = flaky  # type: ignore[method-assign] # throttled for a while
    with pytest.raises(Aborted):
        run(world, wanted)
    assert world.serving() == {"tg-live"}
    assert world.size("new") == (0, 0)


def test_an_unanswered_first_look_ends_soon() -> None:
    """With the endpoint down, a deploy would hang for the whole deadline before it said so."""
    world, wanted = swap()
    world.broken_calls["rule"] = THROTTLED
    with pytest.raises(CloudError, match="does not answer"):
        run(world, wanted)
    assert world.time - 1000 < 60


def test_old_scaling_failures_do_not_count() -> None:
    """A group that failed to launch before would be given up at once."""
    world, wanted = swap()
    world.releases["new"].failures = [Failure(str(n), "bad AMI") for n in range(5)]
    run(world, wanted)
    assert world.serving() == {"tg-new"}


def test_a_listener_that_hears_nothing_does_not_matter() -> None:
    """A closed terminal would roll a deploy back half-way, or leave the put-back undone."""
    world, wanted = swap()

    def deaf(text: str) -> None:
        raise BrokenPipeError(text)

    roll_out(wanted, balancer=world, fleet=world, prober=world, clock=world, say=deaf)
    assert world.serving() == {"tg-new"}


def test_retire_takes_traffic_off_before_machines() -> None:
    """Deleting the service would cut requests off, or leave a rule that blocks the deletion of its target groups."""
    world = World(new=running(2), live=running(2))
    world.put_traffic(new=100)
    wanted = order("new", "live", "gone", standby="live")
    retire(wanted, balancer=world, fleet=world, clock=world, say=world.say)
    assert world.rule_now is None
    assert world.size("new") == (0, 0)
    assert world.size("live") == (0, 0)
    assert not world.dark
    retire(wanted, balancer=world, fleet=world, clock=world, say=world.say)


def test_retire_keeps_machines_while_the_rule_stands() -> None:
    """A rule that cannot be deleted would go on forwarding to machines that are gone."""
    world = World(new=running(2))
    world.put_traffic(new=100)
    world.broken_calls["restore"] = THROTTLED
    with pytest.raises(CloudError):
        retire(order("new"), balancer=world, fleet=world, clock=world)
    assert world.size("new") == (2, 2)


# Whatever breaks, at whatever moment


def failure(world: World, wanted: Order) -> BaseException | None:
    try:
        run(world, wanted)
    except BaseException as error:  # noqa: BLE001 - planted ones are of every kind
        return error
    return None


class Planted(Exception):
    """An error that nothing in the product knows."""


def facts(world: World) -> dict[str, tuple[int, int]]:
    return {name: world.size(name) for name in world.releases}


def judge(world: World, wanted: Order, before: Rule | None, sizes: dict[str, tuple[int, int]], *, ended: bool) -> None:
    """The invariants of every end."""
    new = wanted.candidate.release
    assert not world.dark, "traffic on a release without a healthy machine"
    if ended:
        assert world.serving() == {f"tg-{new}"}
        assert world.releases[new].minimum == wanted.policy.minimum
        return
    if world.serving() == {f"tg-{new}"} and before is not None and before.serving != {f"tg-{new}"}:
        # The one way to stay: the old release was being scaled in already.
        assert world.releases["live"].desired == 0 or wanted.standby is None
        assert world.releases[new].desired >= wanted.policy.minimum
        return
    assert world.rule_now == before
    for name, (minimum, desired) in sizes.items():
        kept = name != new or f"tg-{name}" in (before.serving if before else ()) or sizes[name] != (0, 0)
        assert world.size(name) == ((minimum, desired) if kept else (0, 0)), name


ERRORS: list[Callable[[], BaseException]] = [Planted, KeyboardInterrupt, SystemExit, lambda: CloudError("planted")]


@pytest.mark.parametrize("after", [False, True], ids=["before it happens", "after it happened"])
@pytest.mark.parametrize("scenario", SUCCEEDING + FAILING)
def test_an_error_at_every_call(scenario: Callable[[], tuple[World, Order]], after: bool) -> None:  # noqa: FBT001
    """A crash at some moment would lose the traffic, leave a candidate running, or be hidden by another error."""
    world, wanted = scenario()
    try:
        run(world, wanted)
    except Aborted:
        assert scenario in FAILING
    calls = world.calls
    assert calls > 20
    for call in range(2, calls + 1):  # the first is the clock's, before anything is looked at
        error = ERRORS[call % len(ERRORS)]()
        world, wanted = scenario()
        world.faults[call] = Fault(error, after=after)
        before, sizes = world.rule_now, facts(world)
        raised = failure(world, wanted)
        if isinstance(raised, Aborted):
            assert scenario in FAILING, "an abort that the world gives no reason for"
        elif raised is None:
            assert scenario in SUCCEEDING
        else:
            assert error in {raised, raised.__cause__}, f"call {call}: {raised!r} hides {error!r}"
        ended = raised is None
        judge(world, wanted, before, sizes, ended=ended)


@pytest.mark.parametrize("scenario", SUCCEEDING)
def test_a_throttle_at_every_call_changes_nothing(scenario: Callable[[], tuple[World, Order]]) -> None:
    """One throttled call would fail a deploy that only had to ask again."""
    world, wanted = scenario()
    run(world, wanted)
    expected, names = facts(world), world.names
    for call, name in enumerate(names):
        if name in {"", "now", "sleep"}:
            continue  # the clock is no AWS call
        for after in (False, True):
            world, wanted = scenario()
            world.faults[call] = Fault(THROTTLED, after=after)
            run(world, wanted)
            assert world.serving() == {wanted.candidate.target_group}
            assert facts(world) == expected


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SUCCEEDING + FAILING),
    st.dictionaries(
        st.integers(2, 140),
        st.tuples(st.sampled_from([Planted, KeyboardInterrupt, lambda: THROTTLED, lambda: REFUSED]), st.booleans()),
        max_size=12,
    ),
)
def test_many_errors_in_one_rollout(
    scenario: Callable[[], tuple[World, Order]], planted: dict[int, tuple[Callable[[], BaseException], bool]]
) -> None:
    """Errors on top of errors, also in the put-back, would put traffic where no machine is healthy."""
    world, wanted = scenario()
    world.faults = {call: Fault(error(), after=after) for call, (error, after) in planted.items()}
    before = world.rule_now
    raised = failure(world, wanted)
    world.faults.clear()  # the rollout is over; what is asked from here on is ours
    assert not world.dark
    if raised is None:
        assert world.serving() == {wanted.candidate.target_group}
        return
    told = f"{raised} {getattr(raised, '__notes__', '')}"
    new = wanted.candidate
    if world.size(new.release)[1] and scenario is not go_back:
        assert "could not" in told or "stays on" in told, "a candidate left running without a word"
    if world.serving() != (before.serving if before else frozenset()):
        assert "could not restore" in told or "stays on" in told, "traffic moved without a word"


def test_a_second_run_after_any_crash_ends_well() -> None:
    """A crash would leave a world from which the next `up` cannot deploy."""
    calls = 40
    for call in range(2, calls):
        world, wanted = swap()
        world.faults[call] = Fault(Planted())
        with pytest.raises(Planted):
            run(world, wanted)
        world.faults = {}
        run(world, wanted)
        assert world.serving() == {"tg-new"}
        assert world.size("new") == (2, 3)
        assert world.size("live") == (3, 3)


def test_capacity_of_the_settings_is_the_floor() -> None:
    """Raising `capacity.min` would not reach the live release."""
    world, wanted = first_deploy()
    run(world, wanted)
    more = replace(wanted, policy=replace(wanted.policy, minimum=4))
    assert observe(more, balancer=world, fleet=world).drift == ("new has 2 machines and a minimum of 2, instead of 4",)
    run(world, more)
    assert world.size("new") == (4, 4)


class Said:
    """A stand-in for what runs hooks."""

    def __init__(self, *results: HookResult | None | Exception) -> None:
        self.results, self.calls, self.stops = list(results), list[HookCall](), 0

    def run(self, call: HookCall, seconds: float) -> HookResult | None:
        assert seconds > call.hook.timeout
        self.calls.append(call)
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    def stop(self) -> None:
        self.stops += 1


def test_people_are_told_before_the_hooks_at_the_end_run(tmp_path: Path) -> None:
    """Whoever is on call would hear of a failure when the hooks are over, a quarter of an hour each; or the record end
    without them.
    """
    world, wanted = swap()
    wanted = replace(wanted, policy=replace(wanted.policy, hooks=(Hook(Moment.END, ("a",), timeout=5),)))

    class Late(Said):
        def run(self, call: HookCall, seconds: float) -> HookResult | None:
            assert [notice.ending for notice in world.notices] == ["succeeded"]
            return super().run(call, seconds)

    hooks = Late(HookResult(ok=True))
    sink = Recorder(RecordFile(tmp_path))
    ports = {"balancer": world, "fleet": world, "prober": world, "notifier": world}
    roll_out(wanted, **ports, clock=world, hooks=hooks, recorder=sink, say=world.say)  # type: ignore[arg-type]
    assert not [line for line in world.log if line.startswith("warning")]
    (path,) = tmp_path.glob("*.jsonl")
    assert [json.loads(line)["line"] for line in path.read_text().splitlines()][-2:] == ["hook", "end"]


def test_hooks_at_the_end_run_however_it_ended_and_change_nothing() -> None:
    """A notice would be missing for the very rollouts that failed; or a broken chat undo a good deploy."""
    last = tuple(Hook(Moment.END, (name,), timeout=5) for name in ("a", "b", "c", "d"))
    world, wanted = swap()
    wanted = replace(wanted, policy=replace(wanted.policy, hooks=last))
    hooks = Said(HookResult(ok=False, words="no"), None, OSError("gone"), HookResult(ok=True))
    done = roll_out(wanted, balancer=world, fleet=world, prober=world, clock=world, hooks=hooks, say=world.say)
    assert (done.live, [call.ending for call in hooks.calls]) == ("new", ["succeeded"] * 4)
    assert hooks.stops == 4
    warnings = [line for line in world.log if line.startswith("warning: hook")]
    assert warnings == [
        "warning: hook a (end) failed: no",
        "warning: hook b (end) failed: it was interrupted",
        "warning: hook c (end) failed: OSError: gone",
    ]
    world, wanted = broken_candidate()
    wanted = replace(wanted, policy=replace(wanted.policy, hooks=last[:1]))
    hooks = Said(HookResult(ok=True))
    with pytest.raises(Aborted, match="not healthy"):
        roll_out(wanted, balancer=world, fleet=world, prober=world, clock=world, hooks=hooks)
    assert [(call.ending, call.weight) for call in hooks.calls] == [("aborted", 0)]
