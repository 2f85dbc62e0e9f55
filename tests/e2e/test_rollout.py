"""The rollout, with the real engine, real machines, and users who never stop asking: canary, aborts, death, ways back.

Each test goes on from where the one before left the fleet. It has one machine a release, and its holds are short.
What users got is printed after each of them.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleetswap.aws.rollout.switch import schedule_name
from fleetswap.domain.rollout.record import Step, plain
from fleetswap.workflows.rollout.read_record import Record, load
from tests.e2e.load import Load
from tests.e2e.stack import ROOT, LocalStack, Ran
from tests.e2e.watch import Weights
from tools.local.work import STACK, Work

pytestmark = [pytest.mark.e2e]

USERS = 4
TOPIC = "arn:aws:sns:us-east-1:123456789012:deploys"
MARKS = ("fleetswap:pin", "fleetswap:abort", "fleetswap:on-demand")

ROLLOUT = {
    "strategy": [{"weight": 20, "hold": 1, "min_requests": 10}, {"weight": 60, "hold": 1}],
    "bake": 1,
    "deadline": 600,
    "readings": 2,
    "interval": 0.5,
    "convergence": 4,
    "data_deadline": 120,
    "alerts": TOPIC,
}
"""A step takes 40 to 55 seconds here: convergence, a whole period of 10 s, and until it is settled."""

SHORT = {**ROLLOUT, "strategy": [{"weight": 20, "hold": 1, "min_requests": 10}], "bake": 0}

FOR_A_KILL = {
    **ROLLOUT,
    "strategy": [{"weight": 20, "hold": 10}, {"weight": 60, "hold": 10}],
    "errors": None,
    "data_deadline": 5,
    "shift_deadline": 10,
    "switch_margin": 15,
    "warm": 2,
}
"""The switch fires 40 s after it was armed."""

LONG = {**FOR_A_KILL, "strategy": [{"weight": 20, "hold": 120}], "switch_margin": 120}
"""Whoever waits for the end of the step, or for the switch, waits for minutes."""

GUARDIAN = "fleetswap_pulumi.guardian"
PROVIDER = "pulumi.dynamic"

FAILING = [
    {"fault": fault, "service": service, "rate": rate, "seed": seed}
    for seed, service in enumerate(("elbv2", "autoscaling", "cloudwatch", "scheduler"))
    for fault, rate in (("throttle", 0.2), ("error-500", 0.05))
]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack with one machine a release."""
    stack = LocalStack(
        tmp_path_factory.mktemp("rollout"),
        has_users=True,
        capacity={"min": 1, "max": 2},
        retention={"images": 1, "min_age": 0},
        rollout=ROLLOUT,
    )
    yield stack
    stack.run("down")


def users(stack: LocalStack, *, patience: float = 10) -> Load:
    return Load(stack.url, users=USERS, pause=0.4, patience=patience)


def under_load(stack: LocalStack, verb: str, *, version: str = "", patience: float = 10) -> tuple[Ran, Load, Weights]:
    """Run a verb while users ask; the load begins before and ends after it."""
    with users(stack, patience=patience) as load, Weights(stack) as weights:
        time.sleep(0.5)
        ran = stack.run(verb, version=version)
        time.sleep(1)
    print(load.report(), f"weights: {weights.seen}", sep="\n")
    return ran, load, weights


def marks(stack: LocalStack) -> list[str]:
    """What rollouts have written on groups and no end of one leaves."""
    return [key for tags in stack.tags_of_groups().values() for key in tags if key in MARKS]


def assert_at_rest(stack: LocalStack, version: str) -> None:
    """One version has all the traffic, and nothing of a rollout is left: no pin, no switch."""
    assert stack.serves(version)
    assert list(stack.weights().values()) == [100]
    assert marks(stack) == []
    assert stack.schedules() == []


def notices(stack: LocalStack) -> list[str]:
    """The subjects of the messages that were sent, the oldest first."""
    return [notice["subject"] for notice in stack.admin("GET", "notifications")["notifications"]]


def phase(ran: Ran, name: str) -> float:
    """The seconds that a phase of the rollout took."""
    found = re.search(rf"\b{name} ([\d.]+) s", ran.said)
    assert found, ran.said
    return float(found[1])


def recorded(ran: Ran) -> Record:
    """The record that a rollout has said it keeps."""
    found = re.search(r"record of this rollout: (\S+\.jsonl)", ran.said)
    assert found, ran.said
    return load(Path(found[1]))


def test_a_first_deploy_has_no_canary_and_needs_no_one_to_tell(fleet: LocalStack) -> None:
    """There is no live release to share with, and a topic that does not exist must not fail a deploy."""
    ran = fleet.run("up")
    assert ran.status == 0
    assert "could not send the notification" in ran.said
    assert_at_rest(fleet, "1")
    fleet.client("sns").create_topic(Name=TOPIC.rsplit(":", 1)[1])


def test_a_good_version_goes_through_the_canary(fleet: LocalStack) -> None:
    """All users would get a new version at once, or some would see the change."""
    ran, load, weights = under_load(fleet, "up", version="2")
    assert ran.status == 0
    assert weights.parts() == [(100,), (20, 80), (40, 60), (100,)]
    assert load.failures == {}
    assert set(load.versions) == {"1", "2"}
    assert_at_rest(fleet, "2")
    assert "succeeded" in notices(fleet)[-1]
    read = recorded(ran)
    steps = [entry for entry in read.entries if isinstance(entry, Step)]
    assert [(step.weight, step.verdict) for step in steps] == [(20, "promote"), (60, "promote"), (100, "promote")]
    assert read.end is not None
    resources = json.loads(Work(ROOT, fleet.folder).stack_state.read_text())["checkpoint"]["latest"]["resources"]
    (kept,) = [one["outputs"]["record"] for one in resources if one["type"].endswith("fleetswap:Rollout")]
    assert kept == {
        "version": 1,
        "run": read.header.run,
        "started": read.header.started,
        "phases": [plain(each) for each in read.end.phases],
        "steps": [plain(step) for step in steps],
    }


def test_the_history_of_the_stack_has_the_deploys_from_commit_to_bake(fleet: LocalStack) -> None:
    """Nobody could see what makes a deploy slow, or a phase of it would be missing."""
    told = fleet.fleetswap("history", "--json", "--stack", STACK, cwd=ROOT)
    second, first = json.loads(told.said)["deploys"][:2]
    assert second["previous"] == first["release"]
    assert "previous" not in first
    for deploy in (first, second):
        assert deploy["outcome"] == "succeeded"
        spans = {span["name"]: span for span in deploy["spans"]}
        assert list(spans) == sorted(spans, key=lambda name: spans[name]["start"])
        assert {"evaluation", "build", "upload", "launch", "first healthy", "gate", "live"} <= set(spans)
        assert spans["launch"]["seconds"] > 1  # a machine has booted
        passed = datetime.fromisoformat(spans["live"]["start"]) - datetime.fromisoformat(deploy["started"])
        assert deploy["totals"]["start to live"] == pytest.approx(passed.total_seconds())
    steps = [span["name"] for span in second["spans"] if span["name"].startswith("step")]
    assert steps == ["step 20 %", "step 60 %", "step 100 %"]
    shown = fleet.fleetswap("show", "live", "--stack", STACK, cwd=ROOT)
    assert f"deploy of {second['release']} in place of {first['release']}" in shown.said


def test_a_version_that_fails_under_traffic_is_caught_in_the_canary(fleet: LocalStack) -> None:
    """A version that is healthy and answers its probe, but fails for users, would get all of them."""
    # Six of ten answers are missing: of ten requests, too often too few to tell.
    steps = [{"weight": 20, "hold": 1, "min_requests": 25}, {"weight": 60, "hold": 1}]
    fleet.set(rollout={**ROLLOUT, "strategy": steps, "report_only": ["probe"], "data_deadline": 300})
    ran, load, weights = under_load(fleet, "up", version="flaky")
    assert ran.status != 0
    assert re.search(r"with 20 % of the traffic on web-\w+, .*\b5xx\b", ran.said)
    assert weights.parts() == [(100,), (20, 80), (100,)]
    assert load.failures_of("flaky") == sum(load.failures.values()) > 0
    assert load.share("flaky") < 0.4
    assert set(load.versions) == {"2"}
    assert_at_rest(fleet, "2")
    assert "rolled back" in notices(fleet)[-1]


@pytest.mark.parametrize(
    ("version", "failure"), [("dropping", r"502 .*502 Bad Gateway"), ("hanging", r"TimeoutError|50[24] ")]
)
def test_a_version_that_gives_users_no_answer_is_caught_in_the_canary(
    fleet: LocalStack, version: str, failure: str
) -> None:
    """A version that crashes on what users ask, or hangs, would get all of them: it answers none with an error."""
    live = fleet.get().split()[1]
    # Six of ten answers are missing: of ten requests, too often too few to tell.
    steps = [{"weight": 20, "hold": 1, "min_requests": 25}, {"weight": 60, "hold": 1}]
    fleet.set(rollout={**ROLLOUT, "strategy": steps, "report_only": ["probe"], "data_deadline": 300})
    ran, load, weights = under_load(fleet, "up", version=version, patience=3)
    assert ran.status != 0
    assert re.search(r"with 20 % of the traffic on web-\w+, .*\b5xx\b", ran.said)
    assert weights.parts() == [(100,), (20, 80), (100,)]
    given_up = "TimeoutError"  # by a user of any version, where the computer is slower than a user's patience
    assert all(re.match(f"{failure}|{given_up}", said, re.DOTALL) for said in load.failures), load.failures
    assert any(re.match(failure, said, re.DOTALL) for said in load.failures), load.failures
    assert load.share("") < 0.4
    assert set(load.versions) <= {live, version}
    assert_at_rest(fleet, live)


def test_a_version_that_is_slow_is_caught_in_the_canary(fleet: LocalStack) -> None:
    """A version that makes users wait would get all of them, because each of its answers is a 200."""
    fleet.set(rollout={**ROLLOUT, "slow": 1.5})
    ran, load, weights = under_load(fleet, "up", version="slow")
    assert ran.status != 0
    assert re.search(r"with 20 % of the traffic on web-\w+, .*\bslow\b", ran.said)
    assert weights.parts() == [(100,), (20, 80), (100,)]
    assert load.failures == {}
    assert_at_rest(fleet, "2")


def test_one_ctrl_c_ends_a_rollout_in_order(fleet: LocalStack) -> None:
    """Whoever stops a deploy, because the new version is bad or a job was cancelled, would get it everywhere."""
    fleet.set(rollout=LONG)
    machines, version = fleet.groups(), fleet.get().split()[1]
    with users(fleet) as load, Weights(fleet) as weights:
        started = fleet.start("up", version="stopped")
        assert weights.wait_for(20, 80, seconds=400)
        fleet.interrupt(started)
        assert weights.wait_for(100, seconds=60)
        said, _ = started.communicate(timeout=180)
    print(said, load.report(), weights.seen, sep="\n")
    assert started.returncode != 0
    assert re.search(r"cancelled; web-\w+ has all the traffic again", said)
    assert load.failures == {}
    assert_at_rest(fleet, version)
    assert "rolled back" in notices(fleet)[-1]
    deadline = time.monotonic() + 180  # by AWS, when the weights have reached every node
    while not set(fleet.groups()) <= set(machines) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert set(fleet.groups()) <= set(machines), "the new version's machines are left running"


@pytest.mark.parametrize("killed", [PROVIDER, "pulumi\0up"], ids=["provider", "engine"])
def test_what_is_killed_is_put_back_within_seconds(fleet: LocalStack, killed: str) -> None:
    """After a second Ctrl-C, or in a killed job, the traffic would stay shared until the switch fires.

    The engine lets a provider live for 5 seconds after the second Ctrl-C; whoever kills a job does not.
    """
    fleet.set(rollout=LONG)
    told, version = len(notices(fleet)), fleet.get().split()[1]
    with users(fleet) as load, Weights(fleet) as weights:
        started = fleet.start("up", version="stopped")
        assert weights.wait_for(20, 80, seconds=400)
        pids = fleet.running(killed)
        if killed == PROVIDER:
            fleet.interrupt(started)
            fleet.interrupt(started)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert weights.wait_for(100, seconds=60)
        said, _ = started.communicate(timeout=180)
        deadline = time.monotonic() + 120
        while (len(notices(fleet)) == told or fleet.running(GUARDIAN)) and time.monotonic() < deadline:
            time.sleep(0.2)
    print(said, load.report(), weights.seen, sep="\n")
    assert pids
    assert started.returncode != 0
    assert load.failures == {}
    assert_at_rest(fleet, version)
    assert "rolled back" in notices(fleet)[told]
    assert fleet.running(GUARDIAN) == [], "a guardian is left behind"


def test_throttled_calls_and_a_second_deployer_change_nothing(fleet: LocalStack) -> None:
    """A busy account, or two people at once, would break a deploy that users see."""
    fleet.set(rollout=SHORT)
    fleet.admin("POST", "faults", FAILING)
    with users(fleet) as load, Weights(fleet) as weights:
        others = set(fleet.running(PROVIDER))
        first = fleet.start("up", version="3")
        deadline = time.monotonic() + 400
        while set(fleet.running(PROVIDER)) <= others and time.monotonic() < deadline:
            time.sleep(0.1)  # until it holds its lock and that of pulumi
        by_make = fleet.run("up", version="1")
        by_hand = fleet.pulumi("up", "--yes", "--skip-preview")
        said, _ = first.communicate(timeout=1500)
        time.sleep(1)
    rules = fleet.admin("GET", "faults")["rules"]
    fleet.admin("DELETE", "faults")
    print(said, load.report(), f"weights: {weights.seen}", rules, sep="\n")
    assert first.returncode == 0
    assert by_make.status != 0
    assert "currently locked by `make up`" in by_make.said
    assert by_hand.status != 0
    assert "currently locked" in by_hand.said
    assert all(any(rule["fired"] for rule in rules if rule["service"] == name) for name in ("elbv2", "autoscaling"))
    assert weights.parts() == [(100,), (20, 80), (100,)]
    assert load.failures == {}
    assert_at_rest(fleet, "3")


@pytest.mark.parametrize("step", [(20, 80), (40, 60)], ids=["first step", "second step"])
def test_the_switch_brings_the_traffic_home_after_a_death(fleet: LocalStack, step: tuple[int, int]) -> None:
    """The traffic would stay shared with a version that no one watches, because the deploying machine died."""
    fleet.set(rollout=FOR_A_KILL)
    with users(fleet) as load, Weights(fleet) as weights:
        started = fleet.start("up", version="4")
        reached = weights.wait_for(*step, seconds=400)
        killed = fleet.kill_deployers(started)
        died = time.monotonic()
        home = weights.wait_for(100, seconds=180)
        took = time.monotonic() - died
        time.sleep(1)
    print(load.report(), f"weights: {weights.seen}", f"{killed} processes killed; home after {took:.1f} s", sep="\n")
    assert reached
    assert killed >= 3
    assert home
    assert fleet.deployers() == []
    assert weights.seen[-1] == weights.seen[0]
    assert load.failures == {}
    assert fleet.serves("3")
    assert fleet.schedules() == []
    assert "fleetswap:pin" in marks(fleet)  # for the next update to undo


def test_the_next_update_after_a_death_heals_everything(fleet: LocalStack) -> None:
    """The stack would stay locked, or keep a pin, or the machines of the update that died."""
    fleet.set(rollout={**SHORT, "warm": FOR_A_KILL["warm"]})  # the next test wants a cold standby
    ran, load, weights = under_load(fleet, "up", version="4")
    assert ran.status == 0
    assert "was killed" in ran.said
    assert weights.parts() == [(100,), (20, 80), (100,)]
    assert load.failures == {}
    assert_at_rest(fleet, "4")


def test_a_rollback_to_a_standby_that_is_cold_by_now(fleet: LocalStack) -> None:
    """The way back would be closed once AWS has scaled the standby in, or would put users on no machine."""
    deadline = time.monotonic() + 180
    while len(fleet.groups()) > 1 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert len(fleet.groups()) == 1
    fleet.set(rollout=ROLLOUT)
    ran, load, weights = under_load(fleet, "rollback")
    assert ran.status == 0
    assert weights.parts() == [(100,), (100,)]
    assert phase(ran, "gate") > 1
    assert load.failures == {}
    assert_at_rest(fleet, "3")
    assert len(set(fleet.groups())) == 2


def test_a_rollback_without_the_state_is_seen_by_the_next_update(fleet: LocalStack) -> None:
    """A broken state backend would hold users on a bad version, or the next update would bring it back."""
    state = fleet.folder / "state"
    state.rename(fleet.folder / "lost")
    try:
        with users(fleet) as load:
            endpoint = fleet.client("elbv2").meta.endpoint_url
            went = fleet.fleetswap("rollback", "--now", "--service", "web", "--endpoint-url", endpoint)
    finally:
        (fleet.folder / "lost").rename(state)
    assert went.status == 0
    assert load.failures == {}
    assert_at_rest(fleet, "4")
    # The settings still name the release that was left.
    refused, after, _ = under_load(fleet, "up")
    assert refused.status != 0
    assert re.search(r"release web-\w+ was rolled back with", refused.said)
    agreed, _, weights = under_load(fleet, "rollback")
    assert agreed.status == 0
    assert weights.parts() == [(100,)]
    assert after.failures == {}
    assert_at_rest(fleet, "4")


def test_taking_the_service_down_leaves_nothing(fleet: LocalStack) -> None:
    """A switch or a scheduled scale-in would be left that acts on what someone builds later."""
    # As a rollout leaves it that dies; an hour from now.
    roles = fleet.client("iam").list_roles()["Roles"]
    balancers = fleet.client("elbv2").describe_load_balancers()["LoadBalancers"]
    listeners = fleet.client("elbv2").describe_listeners(LoadBalancerArn=balancers[0]["LoadBalancerArn"])["Listeners"]
    listener = listeners[0]["ListenerArn"]
    rule = f"{listener.replace(':listener/', ':listener-rule/')}/1"
    fleet.client("scheduler").create_schedule(
        Name=schedule_name("web", listener),
        ScheduleExpression=f"at({datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": "arn:aws:scheduler:::aws-sdk:elasticloadbalancingv2:modifyRule",
            "RoleArn": next(role["Arn"] for role in roles if role["RoleName"].startswith("web-switch")),
            "Input": json.dumps({"RuleArn": rule, "Actions": []}),
        },
    )
    assert fleet.pulumi("destroy", "--yes", "--skip-preview").status == 0
    assert fleet.schedules() == []
    assert fleet.tags_of_groups() == {}
    assert fleet.groups() == []
    assert fleet.client("autoscaling").describe_scheduled_actions()["ScheduledUpdateGroupActions"] == []
    assert fleet.denials() == []
