"""Schedules and scheduled actions: when they fire, what they then do, and what is refused."""

from __future__ import annotations

import functools
import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from localcloud import scheduler
from localcloud.moto_state import LOCK
from tests.localcloud.clients import Clients, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.server import LocalCloud
    from tests.localcloud.conftest import Clock

SECONDS = 60.0
GOTO = "arn:aws:scheduler:::aws-sdk:autoscaling:setDesiredCapacity"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    monkeypatch.setattr(scheduler, "RETRY_SECONDS", (0.01, 0.01))


class Fleet:
    """An auto scaling group of up to four, and a schedule called `s` that sets its capacity to 3."""

    def __init__(self, cloud: LocalCloud, clients: Clients, clock: Clock) -> None:
        self.clients, self.clock, self.cloud = clients, clock, cloud
        self.now = clock.now = 1_800_000_000.0  # it stands still between steps
        self.scheduler = clients.client("scheduler")
        self.role = clients.iam.create_role(RoleName="switch", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
        self.may("autoscaling:SetDesiredCapacity")
        clients.group(clients.template(clients.image()), clients.network())

    def may(self, action: str) -> None:
        """From now on, this is what the schedule's role may do."""
        statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.clients.iam.put_role_policy(RoleName="switch", PolicyName="own", PolicyDocument=document)

    def at(self, seconds: float, zone: str = "UTC") -> str:
        """The schedule expression of a time in so many seconds."""
        moment = datetime.fromtimestamp(self.now + seconds, ZoneInfo(zone))
        return f"at({moment:%Y-%m-%dT%H:%M:%S})"

    def asked(self, **changed: Any) -> dict[str, Any]:
        target = {
            "Arn": GOTO,
            "RoleArn": self.role,
            "Input": json.dumps({"AutoScalingGroupName": "web", "DesiredCapacity": 3}),
            **changed.pop("target", {}),
        }
        return {
            "Name": "s",
            "ScheduleExpression": self.at(60),
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": target,
            **changed,
        }

    def create(self, **changed: Any) -> Any:
        return self.scheduler.create_schedule(**self.asked(**changed))

    def desired(self, group: str = "web") -> int:
        found = self.clients.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])
        return found["AutoScalingGroups"][0]["DesiredCapacity"]

    def there(self) -> bool:
        return bool(self.scheduler.list_schedules()["Schedules"])

    def step(self, seconds: float) -> None:
        """Let time pass, and what is due begin."""
        self.now += seconds
        self.clock.now = self.now
        with LOCK:
            self.cloud._control.tick()

    def until(self, true: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not true():
            assert time.monotonic() < deadline, f"never came: {what}"
            time.sleep(0.02)

    def settled(self) -> None:
        """Wait until nothing is being fired any more."""
        pool = self.cloud._control._firing._pool
        pool.submit(lambda: None).result(SECONDS)
        self.until(lambda: pool._work_queue.empty() and pool._idle_semaphore._value > 0, "the firing's end")


@pytest.fixture
def fleet(cloud: LocalCloud, clients: Clients, clock: Clock) -> Fleet:
    """See `Fleet`."""
    return Fleet(cloud, clients, clock)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_a_schedule_fires_at_its_time_and_goes(fleet: Fleet, zone: str) -> None:
    """A dead man's switch would never act, or act hours off, or stay behind."""
    fleet.create(ScheduleExpression=fleet.at(60, zone), ScheduleExpressionTimezone=zone, ActionAfterCompletion="DELETE")
    fleet.step(59)
    fleet.settled()
    assert (fleet.desired(), fleet.there()) == (0, True)
    fleet.step(1)
    fleet.until(lambda: fleet.desired() == 3, "the new capacity")
    fleet.until(lambda: not fleet.there(), "the deletion")


def test_what_is_planned_comes_late(fleet: Fleet) -> None:
    """A switch, or a scale-in, would be rehearsed as if AWS came to the second."""
    fleet.cloud.lateness.change({"schedules": [5, 5], "actions": [8, 8]})
    fleet.create()
    fleet.clients.autoscaling.put_scheduled_update_group_action(
        AutoScalingGroupName="web",
        ScheduledActionName="a",
        StartTime=datetime.fromtimestamp(fleet.now + 60, UTC),
        DesiredCapacity=1,
    )
    fleet.step(64)
    fleet.settled()
    assert fleet.desired() == 0
    fleet.step(1)
    fleet.until(lambda: fleet.desired() == 3, "the firing")
    fleet.step(2)
    assert fleet.desired() == 3
    fleet.step(1)
    assert fleet.desired() == 1


def test_a_recurring_action_comes_each_time_in_its_time_zone(fleet: Fleet) -> None:
    """A fleet that grows every morning could not be rehearsed; or it would grow once, or at the wrong hour."""
    start = datetime(2027, 1, 21, 6, 59, tzinfo=UTC).timestamp()  # a Thursday
    fleet.step(start - fleet.now)
    for name, hour, size in (("day", 8, 3), ("night", 20, 1)):
        fleet.clients.autoscaling.put_scheduled_update_group_action(
            AutoScalingGroupName="web",
            ScheduledActionName=name,
            Recurrence=f"0 {hour} * * 4-5",
            TimeZone="Europe/Berlin",
            MinSize=size,
            DesiredCapacity=size,
        )
    seen = []
    for _ in range(3):
        for seconds in (59, 1, 12 * 3600 - 60):
            fleet.step(seconds)
            seen.append(fleet.desired())
        fleet.step(12 * 3600)
    thursday, friday, saturday = [0, 3, 3], [1, 3, 3], [1, 1, 1]
    assert seen == [*thursday, *friday, *saturday]
    left = fleet.clients.autoscaling.describe_scheduled_actions()["ScheduledUpdateGroupActions"]
    assert len(left) == 2, "they stay"


@pytest.mark.parametrize(
    ("recurrence", "zone"),
    [("0 8 * *", "UTC"), ("60 8 * * *", "UTC"), ("0 8 * * x", "UTC"), ("0 8 * * *", "Mars/Olympus"), (None, "UTC")],
)
def test_what_is_no_recurrence_is_refused(fleet: Fleet, recurrence: str | None, zone: str) -> None:
    """A deploy would fail on AWS only, after the traffic has moved."""
    asked: dict[str, Any] = {"StartTime": datetime.fromtimestamp(fleet.now + 60, UTC)}
    if recurrence is not None:
        asked = {"Recurrence": recurrence}
    put = functools.partial(
        fleet.clients.autoscaling.put_scheduled_update_group_action,
        AutoScalingGroupName="web",
        ScheduledActionName="a",
        MinSize=1,
        TimeZone=zone,
        **asked,
    )
    assert refusal(put) == "ValidationError"


def test_a_schedule_that_is_kept_fires_once(fleet: Fleet) -> None:
    """What was scaled since would be scaled back again and again."""
    fleet.create()
    fleet.step(60)
    fleet.until(lambda: fleet.desired() == 3, "the new capacity")
    fleet.clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=1)
    fleet.step(60)
    fleet.settled()
    assert (fleet.desired(), fleet.there()) == (1, True)


def test_an_update_moves_the_time_and_replaces_everything(fleet: Fleet) -> None:
    """A switch that was pushed out would fire all the same, or an update keep what it does not name."""
    fleet.create(State="DISABLED", ActionAfterCompletion="DELETE", Description="d")
    fleet.scheduler.update_schedule(**fleet.asked(ScheduleExpression=fleet.at(600)))
    shown = fleet.scheduler.get_schedule(Name="s")
    assert shown["State"] == "ENABLED"
    assert not shown.get("Description")
    assert shown.get("ActionAfterCompletion") in {None, "NONE"}
    fleet.step(60)
    fleet.settled()
    assert fleet.desired() == 0
    fleet.step(540)
    fleet.until(lambda: fleet.desired() == 3, "the new capacity")
    fleet.scheduler.update_schedule(**fleet.asked(ScheduleExpression=fleet.at(5)))
    fleet.clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=1)
    fleet.step(5)
    fleet.until(lambda: fleet.desired() == 3, "a second firing, after the update")


def test_a_schedule_has_the_rights_of_its_role(fleet: Fleet, cloud: LocalCloud) -> None:
    """A dead man's switch whose role lacks ModifyRule would act here, and do nothing on AWS."""
    fleet.may("autoscaling:SetInstanceHealth")
    fleet.create()
    fleet.step(60)

    def denied() -> list[Any]:
        return [one for one in cloud.authorizations.shown() if not one["allowed"]]

    fleet.until(lambda: bool(denied()), "the denial")
    [refused] = denied()
    assert fleet.desired() == 0
    assert refused["action"] == "autoscaling:SetDesiredCapacity"
    assert refused["principal"].startswith("arn:aws:sts::123456789012:assumed-role/switch/scheduler-")


def test_a_schedule_whose_role_no_longer_trusts_the_service_does_nothing(fleet: Fleet) -> None:
    """A trust policy that was changed after the switch was armed would go unnoticed."""
    fleet.create()
    other = TRUST.replace("scheduler.amazonaws.com", "ec2.amazonaws.com")
    fleet.clients.iam.update_assume_role_policy(RoleName="switch", PolicyDocument=other)
    fleet.step(60)
    fleet.settled()
    assert fleet.desired() == 0


def test_a_disabled_schedule_never_fires(fleet: Fleet) -> None:
    """A switch that was turned off would move traffic."""
    fleet.create(State="DISABLED")
    fleet.step(120)
    fleet.settled()
    assert fleet.desired() == 0


def test_a_deleted_schedule_does_not_fire(fleet: Fleet) -> None:
    """A rollout that ended well would be undone."""
    fleet.create()
    fleet.scheduler.delete_schedule(Name="s")
    fleet.step(120)
    fleet.settled()
    assert fleet.desired() == 0
    assert refusal(lambda: fleet.scheduler.delete_schedule(Name="s")) == "ResourceNotFoundException"


def test_an_attempt_that_fails_is_made_again(fleet: Fleet) -> None:
    """A switch that met a throttled API would be lost, or a wrong call be made for a day."""
    fleet.cloud.faults.add({"service": "autoscaling", "operation": "SetDesired*", "fault": "throttle", "count": 2})
    fleet.create(ActionAfterCompletion="DELETE")
    fleet.step(60)
    fleet.until(lambda: fleet.desired() == 3, "the new capacity")
    (rule,) = fleet.cloud.faults.shown()
    assert rule["fired"] == 2


def test_attempts_end(fleet: Fleet) -> None:
    """A call that nobody wants any more would be made for ever; or the schedule stay that is to go."""
    fleet.cloud.faults.add([{"service": "scheduler", "operation": "Invoke", "fault": "error-500"}])
    fleet.create(ActionAfterCompletion="DELETE", target={"RetryPolicy": {"MaximumRetryAttempts": 2}})
    fleet.step(60)
    fleet.until(lambda: not fleet.there(), "the deletion")
    (rule,) = fleet.cloud.faults.shown()
    assert (rule["fired"], fleet.desired()) == (3, 0)


def test_a_call_that_is_refused_is_not_made_again(fleet: Fleet) -> None:
    """A rule that is gone would be looked for, for a day."""
    fleet.cloud.faults.add({"service": "autoscaling", "operation": "SetDesired*", "fault": "not-found"})
    fleet.create(ActionAfterCompletion="DELETE")
    fleet.step(60)
    fleet.until(lambda: not fleet.there(), "the deletion")
    assert fleet.cloud.faults.shown()[0]["fired"] == 1


def test_a_rule_of_a_listener_is_modified(fleet: Fleet) -> None:
    """The one call that the dead man's switch is made of would not be understood."""
    elbv2, network = fleet.clients.elbv2, fleet.clients.network()
    fixed: Any = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}
    group = elbv2.create_target_group(Name="a", Protocol="HTTP", Port=8080, VpcId=network.vpc)["TargetGroups"][0]
    balancer = elbv2.create_load_balancer(Name="web", Subnets=network.subnets)["LoadBalancers"][0]
    listener = elbv2.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=80, DefaultActions=[fixed]
    )["Listeners"][0]["ListenerArn"]
    condition: Any = {"Field": "path-pattern", "PathPatternConfig": {"Values": ["/*"]}}
    rule = elbv2.create_rule(ListenerArn=listener, Priority=1, Conditions=[condition], Actions=[fixed])["Rules"][0]
    forward = {"TargetGroups": [{"TargetGroupArn": group["TargetGroupArn"], "Weight": 7}]}
    asked = {"RuleArn": rule["RuleArn"], "Actions": [{"Type": "forward", "ForwardConfig": forward}]}
    target = {"Arn": "arn:aws:scheduler:::aws-sdk:elasticloadbalancingv2:modifyRule", "Input": json.dumps(asked)}
    fleet.may("elasticloadbalancing:ModifyRule")
    fleet.create(target=target)
    fleet.step(60)

    def actions() -> Any:
        return elbv2.describe_rules(RuleArns=[rule["RuleArn"]])["Rules"][0]["Actions"][0]

    fleet.until(lambda: actions()["Type"] == "forward", "the forward")
    assert actions()["ForwardConfig"]["TargetGroups"][0]["Weight"] == 7


WRONG: list[dict[str, Any]] = [
    {"ScheduleExpression": "at(2027-01-15 08:00:00)"},
    {"ScheduleExpression": "at(2027-02-30T08:00:00)"},
    {"ScheduleExpression": "at(2026-01-01T00:00:00)"},
    {"ScheduleExpressionTimezone": "Mars/Olympus"},
    {"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}},
    {"State": "ON"},
    {"ActionAfterCompletion": "KEEP"},
    {"Name": "a b"},
    {"target": {"RoleArn": "arn:aws:iam::123456789012:role/none"}},
    {"target": {"Arn": "arn:aws:scheduler:::aws-sdk:elasticloadbalancingv2:describeRules"}},
    {"target": {"Arn": "arn:aws:scheduler:::aws-sdk:elasticloadbalancingv2:moveRule"}},
    {"target": {"Input": "no JSON"}},
    {"target": {"RetryPolicy": {"MaximumEventAgeInSeconds": 59}}},
    {"target": {"RetryPolicy": {"MaximumRetryAttempts": 186}}},
]


def test_a_schedule_that_never_could_fire_is_refused(fleet: Fleet) -> None:
    """A wrong switch would look armed, and the traffic be uninsured."""

    def answer(changed: dict[str, Any]) -> str:
        return refusal(lambda: fleet.create(**dict(changed)))

    assert [changed for changed in WRONG if answer(changed) != "ValidationException"] == []
    assert not fleet.there()


def test_names_and_groups_are_known(fleet: Fleet) -> None:
    """Two deployers would each think that theirs is the only schedule; or a group be answered with an error of ours."""
    fleet.create()
    assert refusal(fleet.create) == "ConflictException"
    assert refusal(lambda: fleet.create(GroupName="none")) == "ResourceNotFoundException"
    assert refusal(lambda: fleet.scheduler.update_schedule(**fleet.asked(Name="t"))) == "ResourceNotFoundException"
    assert refusal(lambda: fleet.scheduler.delete_schedule_group(Name="default")) == "ValidationException"


def plan(fleet: Fleet, group: str = "web", seconds: float = 60, **sizes: Any) -> None:
    fleet.clients.autoscaling.put_scheduled_update_group_action(
        AutoScalingGroupName=group,
        ScheduledActionName="standby",
        StartTime=datetime.fromtimestamp(fleet.now, UTC) + timedelta(seconds=seconds),
        **sizes,
    )


def test_a_scheduled_action_is_carried_out_once(fleet: Fleet) -> None:
    """A standby would never be scaled in, or a group that has traffic again be scaled in later."""
    auto = fleet.clients.autoscaling
    auto.update_auto_scaling_group(AutoScalingGroupName="web", MinSize=2, DesiredCapacity=2)
    plan(fleet, MinSize=0, DesiredCapacity=0)
    fleet.step(59)
    assert len(auto.describe_scheduled_actions(AutoScalingGroupName="web")["ScheduledUpdateGroupActions"]) == 1
    assert fleet.desired() == 2
    fleet.step(1)
    assert fleet.desired() == 0
    assert auto.describe_auto_scaling_groups()["AutoScalingGroups"][0]["MinSize"] == 0
    assert auto.describe_scheduled_actions(AutoScalingGroupName="web")["ScheduledUpdateGroupActions"] == []


def test_scheduled_actions_belong_to_their_group(fleet: Fleet) -> None:
    """Cancelling one service's plan would cancel another's, or a deleted group's plan hit its successor."""
    auto = fleet.clients.autoscaling
    template = fleet.clients.template(fleet.clients.image("other"))
    fleet.clients.group(template, fleet.clients.network(), AutoScalingGroupName="other")
    plan(fleet, DesiredCapacity=1)
    plan(fleet, "other", DesiredCapacity=2)
    auto.delete_scheduled_action(AutoScalingGroupName="web", ScheduledActionName="standby")
    fleet.step(60)
    assert (fleet.desired("web"), fleet.desired("other")) == (0, 2)
    delete = auto.delete_scheduled_action
    assert refusal(lambda: delete(AutoScalingGroupName="web", ScheduledActionName="standby")) == "ValidationError"


def test_a_suspended_group_ignores_its_plan(fleet: Fleet) -> None:
    """A group that an operator has stopped by hand would move."""
    plan(fleet, DesiredCapacity=1)
    fleet.clients.autoscaling.suspend_processes(AutoScalingGroupName="web", ScalingProcesses=["ScheduledActions"])
    fleet.step(60)
    assert fleet.desired() == 0


def test_a_scheduled_action_that_could_not_be_is_refused(fleet: Fleet) -> None:
    """A plan for yesterday, or for nothing, would be kept and never carried out."""
    assert refusal(lambda: plan(fleet, seconds=-1, DesiredCapacity=1)) == "ValidationError"
    assert refusal(lambda: plan(fleet)) == "ValidationError"
    assert refusal(lambda: plan(fleet, "none", DesiredCapacity=1)) == "ValidationError"
    assert refusal(lambda: plan(fleet, MinSize=-1)) == "ValidationError"
