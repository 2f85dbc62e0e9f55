"""What works without the state: finding a service by tags, its status, the rollback, and stopping a rollout.

Against moto through the real adapters; where moto has no machines that can be ill, a balancer before it says so.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from fleetswap.aws.rollout.balancer import Balancer
from fleetswap.aws.rollout.finder import Finder
from fleetswap.aws.rollout.fleet import Fleet
from fleetswap.aws.rollout.switch import Switch
from fleetswap.domain import tags
from fleetswap.domain.errors import Aborted, CloudError, InputError, TryAgain
from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.health import Target
from fleetswap.domain.rollout.model import Rule
from fleetswap.domain.rollout.record import Found, Kind, Step, Written
from fleetswap.domain.rollout.rollback import POLICY, choose
from fleetswap.domain.rollout.rollout_tags import RolledBack
from fleetswap.domain.rollout.view import Service
from fleetswap.workflows.rollout.read_record import load
from fleetswap.workflows.rollout.record_file import RecordFile
from fleetswap.workflows.rollout.recorder import Recorder
from fleetswap.workflows.rollout.rollback import rollback_now
from fleetswap.workflows.rollout.service import abort, find, status

STACK = "acme/fleetswap/prod"
REGION = "us-east-1"


@cache
def client(service: str) -> Any:
    """One for all tests: making it takes longer than a test. Moto answers whichever is asked while it is on."""
    return boto3.client(service, region_name=REGION)  # type: ignore[call-overload] # the service is a variable here


class Clock:
    """Time that passes only while someone waits; `then` is what happens meanwhile."""

    def __init__(self) -> None:
        self.time = 0.0
        self.then: Callable[[], None] = lambda: None

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:  # noqa: ARG002 (as of any clock)
        assert seconds > 0
        self.time += seconds
        self.then()


class World:
    """A service with three releases, as the program makes it."""

    def __init__(self) -> None:
        self.elb, self.scaling, ec2 = client("elbv2"), client("autoscaling"), client("ec2")
        self.vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnets = [
            ec2.create_subnet(VpcId=self.vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"][
                "SubnetId"
            ]
            for n, zone in enumerate("ab")
        ]
        image = ec2.register_image(Name="web")["ImageId"]
        ec2.create_launch_template(
            LaunchTemplateName="web", LaunchTemplateData={"ImageId": image, "InstanceType": "t3.micro"}
        )
        self.arns: dict[str, str] = {}
        self.listener = self.front("web", STACK)
        for name in "abc":
            self.release(f"web-{name}")
        self.balancer = Balancer(self.elb, tags=tags.policy(STACK, "web", name="web"))
        self.fleet = Fleet(self.scaling, lambda: ec2)
        self.switch = Switch(
            client("scheduler"),
            service="web",
            stack=STACK,
            listener=self.listener,
            role="arn:aws:iam::123456789012:role/switch",
        )
        self.clock = Clock()
        self.said: list[str] = []

    def tagged(self, stack: str, release: str | None = None) -> list[dict[str, str]]:
        given = tags.policy(stack, "web", name="x", release=release)
        return [{"Key": key, "Value": value} for key, value in given.items()]

    def front(self, name: str, stack: str) -> str:
        balancer = self.elb.create_load_balancer(Name=name, Subnets=self.subnets, Tags=self.tagged(stack))
        fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}
        listeners = self.elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancers"][0]["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=[fixed],
            Tags=self.tagged(stack),
        )
        arn: str = listeners["Listeners"][0]["ListenerArn"]
        return arn

    def release(self, name: str) -> None:
        made = self.elb.create_target_group(Name=name, Protocol="HTTP", Port=8080, VpcId=self.vpc)
        self.arns[name] = made["TargetGroups"][0]["TargetGroupArn"]
        self.scaling.create_auto_scaling_group(
            AutoScalingGroupName=f"{name}-1f2e",
            MinSize=0,
            MaxSize=4,
            DesiredCapacity=0,
            LaunchTemplate={"LaunchTemplateName": "web", "Version": "1"},
            VPCZoneIdentifier=",".join(self.subnets),
            TargetGroupARNs=[self.arns[name]],
            Tags=[
                {**tag, "ResourceId": f"{name}-1f2e", "ResourceType": "auto-scaling-group", "PropagateAtLaunch": True}
                for tag in self.tagged(STACK, release=name)
            ],
        )

    @property
    def service(self) -> Service:
        return find(Finder(self.elb, self.scaling), "web", None)

    def size(self, name: str, minimum: int, desired: int) -> None:
        self.fleet.resize(f"{name}-1f2e", minimum=minimum, desired=desired)

    def sizes(self, name: str) -> tuple[int, int]:
        group = self.fleet.group(f"{name}-1f2e")
        assert group is not None
        return group.minimum, group.desired

    def group_tags(self, name: str) -> dict[str, str]:
        group = self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[f"{name}-1f2e"])["AutoScalingGroups"][
            0
        ]
        return {tag["Key"]: tag["Value"] for tag in group["Tags"]}

    def weigh(self, **weights: int) -> None:
        pairs = tuple((self.arns[f"web-{name}"], weight) for name, weight in weights.items())
        self.balancer.forward(self.listener, pairs)

    def serving(self) -> set[str]:
        rule = self.balancer.rule(self.listener)
        assert rule is not None
        return {name for name, arn in self.arns.items() if arn in rule.serving}

    def settled(self) -> None:
        """As a rollout from a to b leaves it."""
        self.size("web-b", 1, 3)
        self.size("web-a", 2, 2)
        self.weigh(b=100)
        self.balancer.tag(self.listener, {rollout_tags.LIVE: "web-b", rollout_tags.STANDBY: "web-a"})

    def back(
        self, to: str | None = None, *, balancer: Any = None, switch: Any = None, recorder: Recorder | None = None
    ) -> Any:
        return rollback_now(
            self.service,
            to,
            balancer=balancer or self.balancer,
            fleet=self.fleet,
            switch=switch or self.switch,
            clock=self.clock,
            policy=replace(POLICY, deadline=8, shift_deadline=6),
            say=self.said.append,
            recorder=recorder,
        )


class Ill:
    """A balancer some of whose target groups have machines that are ill, and which may be slow to believe."""

    def __init__(self, world: World, *ill: str) -> None:
        self._world = world
        self._ill = {world.arns[name] for name in ill}
        self.throttled = 0
        self.deaf = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.balancer, name)

    def targets(self, target_group: str) -> tuple[Target, ...]:
        if self.throttled:
            self.throttled -= 1
            raise TryAgain("AWS does not answer to elasticloadbalancing:DescribeTargetHealth for now (Throttling)")
        found = self._world.balancer.targets(target_group)
        if target_group in self._ill:
            return tuple(Target(target.machine, "unhealthy", "Target.Timeout", "Request timed out") for target in found)
        return found

    def forward(self, listener: str, weights: tuple[tuple[str, int], ...]) -> None:
        if self.deaf:
            self.deaf -= 1
            return
        self._world.balancer.forward(listener, weights)


@pytest.fixture
def world(_local_cloud: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A fresh account with one service."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield World()


def test_two_stacks_of_one_name_are_told_apart_by_nothing(world: World) -> None:
    """The last listener would win: the fleet of another backend would be rolled back, with status 0."""
    finder = Finder(world.elb, world.scaling)
    other = world.front("other", STACK)
    world.balancer.forward(world.listener, ((world.arns["web-a"], 100),))
    assert find(finder, "web", STACK).listener == world.listener, "one without a rule carries no traffic"
    world.balancer.forward(other, ((world.arns["web-b"], 100),))
    for stack in (None, STACK):
        with pytest.raises(InputError, match=f"two listeners, .*{other}.*: two stacks have this name.*run `pulumi up`"):
            find(finder, "web", stack)


def test_a_group_that_nobody_knows_of_is_no_release(world: World) -> None:
    """A group left by a deployer that died would be a second side of live: the way back would lead to live itself."""
    world.size("web-a", 1, 1)
    world.size("web-b", 1, 2)
    world.balancer.forward(world.listener, ((world.arns["web-b"], 100),))
    world.balancer.tag(world.listener, {rollout_tags.LIVE: "web-b", rollout_tags.STANDBY: "web-a"})
    world.scaling.create_auto_scaling_group(
        AutoScalingGroupName="web-b-9999",
        MinSize=0,
        MaxSize=4,
        DesiredCapacity=0,
        LaunchTemplate={"LaunchTemplateName": "web", "Version": "1"},
        VPCZoneIdentifier=",".join(world.subnets),
        TargetGroupARNs=[world.arns["web-b"]],
        Tags=[
            {**tag, "ResourceId": "web-b-9999", "ResourceType": "auto-scaling-group", "PropagateAtLaunch": True}
            for tag in world.tagged(STACK, release="web-b")
        ],
    )
    service = world.service
    assert [target.group for target in service.releases] == ["web-a-1f2e", "web-b-1f2e", "web-c-1f2e"], (
        "the one with machines"
    )
    assert service.extra == (
        "auto scaling group web-b-9999 (0 machines) has the tags and the target group of web-b as well: delete it if"
        " nobody needs it",
    )
    now = status(service, balancer=world.balancer, fleet=world.fleet, switch=world.switch)
    assert choose(now, None).release == "web-a"
    with pytest.raises(InputError, match="web-b already has all the traffic"):
        choose(now, "web-b")


def test_a_service_is_found_by_its_tags(world: World) -> None:
    """Without the state there would be no way back: nothing tells which listener and groups are the service's."""
    service = world.service
    assert (service.stack, service.name, service.listener) == (STACK, "web", world.listener)
    assert [(target.release, target.group, target.target_group) for target in service.releases] == [
        (name, f"{name}-1f2e", world.arns[name]) for name in ("web-a", "web-b", "web-c")
    ]
    finder = Finder(world.elb, world.scaling)
    with pytest.raises(InputError, match="tags of service shop"):
        find(finder, "shop", None)
    other = world.front("staging", "acme/fleetswap/staging")
    with pytest.raises(InputError, match=r"several stacks .*prod, .*staging.: name one with --stack"):
        find(finder, "web", None)
    staging = find(finder, "web", "acme/fleetswap/staging")
    assert (staging.listener, staging.releases) == (other, ()), "another stack's releases are not its own"
    with pytest.raises(InputError, match=r"of stack acme/fleetswap/test .stacks: "):
        find(finder, "web", "acme/fleetswap/test")


def test_a_service_among_many_load_balancers(world: World) -> None:
    """More load balancers than one call may ask about would hide the service, or fail the command."""
    for number in range(21):
        world.elb.create_load_balancer(Name=f"other-{number}", Subnets=world.subnets)
    assert world.service.listener == world.listener


def test_the_listener_with_the_rule_is_taken(world: World) -> None:
    """Of a load balancer that also redirects from port 80, the wrong listener would get the weights."""
    world.settled()
    balancer = world.elb.describe_listeners(ListenerArns=[world.listener])["Listeners"][0]["LoadBalancerArn"]
    for port in (81, 79, 8080):
        world.elb.create_listener(
            LoadBalancerArn=balancer,
            Protocol="HTTP",
            Port=port,
            DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}],
            Tags=world.tagged(STACK),
        )
    assert world.service.listener == world.listener


def test_status_tells_what_is_real(world: World) -> None:
    """Who is woken at night would not see who has the traffic, what is pinned, and what will happen by itself."""
    world.settled()
    rule = world.balancer.rule(world.listener)
    assert rule is not None
    world.switch.arm(300, rule, "run-1")
    world.fleet.tag("web-b-1f2e", {rollout_tags.PIN: "1", rollout_tags.ABORT: "because"})
    world.fleet.schedule_scale_in("web-a-1f2e", 3600)
    world.balancer.tag(world.listener, {rollout_tags.ROLLED_BACK: "web-c 2026-11-24T12:00:00+00:00"})
    world.weigh(b=95, c=5)
    now = status(world.service, balancer=world.balancer, fleet=world.fleet, switch=world.switch)
    assert {each.release: (each.weight, each.desired, each.healthy) for each in now.releases} == {
        "web-a": (0, 2, 2),
        "web-b": (95, 3, 3),
        "web-c": (5, 0, 0),
    }
    assert [each.release for each in now.serving] == ["web-b", "web-c"]
    assert (now.live, now.standby, now.unknown, now.strangers) == ("web-b", "web-a", (), ())
    assert now.rolled_back == RolledBack("web-c", "2026-11-24T12:00:00+00:00")
    assert now.switch is not None
    assert now.switch.run == "run-1"
    b, a = now.release("web-b").group, now.release("web-a").group
    assert a is not None
    assert b is not None
    assert (b.pin, b.abort) == (1, "because")
    assert a.scale_in is not None


def test_status_tells_what_it_could_not_read(world: World) -> None:
    """A missing permission for one thing would hide all the others."""
    world.settled()

    class Refused:
        def armed(self) -> None:
            raise CloudError("AWS refuses scheduler:GetSchedule on fleetswap-web-1")

    now = status(world.service, balancer=world.balancer, fleet=world.fleet, switch=Refused())  # type: ignore[arg-type] # only armed is called
    assert now.unknown == ("AWS refuses scheduler:GetSchedule on fleetswap-web-1",)
    assert now.live == "web-b"


def test_back_to_a_warm_standby(world: World) -> None:
    """The one command for a bad night would move nothing, or lose machines, or leave a switch that undoes it."""
    world.settled()
    world.fleet.schedule_scale_in("web-a-1f2e", 3600)
    old = Rule(((world.arns["web-b"], 100),), json.dumps({"RuleArn": "arn:old", "Actions": []}))
    world.switch.arm(60, old, "a run that died")
    done = world.back()
    assert (done.live, done.left, done.machines, done.warnings) == ("web-a", "web-b", 3, ())
    assert world.serving() == {"web-a"}
    assert world.sizes("web-a") == (1, 3), "as many as served, and the minimum of the one that served"
    assert world.sizes("web-b") == (3, 3), "what was left keeps its machines, also from target tracking"
    assert world.switch.armed() is None
    planned = world.scaling.describe_scheduled_actions(AutoScalingGroupName="web-a-1f2e")
    assert planned["ScheduledUpdateGroupActions"] == [], "AWS would scale in what has the traffic"
    written = world.balancer.tags(world.listener)
    assert (written[rollout_tags.LIVE], written[rollout_tags.STANDBY]) == ("web-a", "web-b")
    told = RolledBack.read(written[rollout_tags.ROLLED_BACK])
    assert told.release == "web-b"
    assert abs((datetime.now(UTC) - datetime.fromisoformat(told.at)).total_seconds()) < 60
    with pytest.raises(InputError, match="web-a already has all the traffic"):
        world.back("web-a")


def test_back_to_a_cold_standby(world: World) -> None:
    """AWS has scaled the standby in: traffic would move to a release without machines."""
    world.settled()
    world.size("web-a", 0, 0)
    done = world.back()
    assert (done.live, done.machines) == ("web-a", 3)
    assert world.sizes("web-a") == (1, 3)
    assert any("scaling to 3 machines" in line for line in world.said)


def test_out_of_a_canary_that_no_one_attends(world: World) -> None:
    """The deployer is gone in the middle of a canary: the rollback would go to the old standby, not to live."""
    world.settled()
    world.size("web-c", 3, 3)
    world.size("web-b", 3, 3)
    world.fleet.tag("web-b-1f2e", {rollout_tags.PIN: "1"})
    world.weigh(b=75, c=25)
    done = world.back()
    assert (done.live, done.left) == ("web-b", "web-c")
    assert world.serving() == {"web-b"}
    assert world.sizes("web-b") == (1, 3), "the pin is released"
    assert rollout_tags.PIN not in world.group_tags("web-b")
    assert "rolled back with `fleetswap rollback --now` to web-b" in world.group_tags("web-c")[rollout_tags.ABORT], (
        "a rollout that still runs stops"
    )
    assert RolledBack.read(world.balancer.tags(world.listener)[rollout_tags.ROLLED_BACK]).release == "web-c"


def test_a_rollback_keeps_a_record(world: World, tmp_path: Path) -> None:
    """A report of an incident would have every deploy, and not what was done about the bad one."""
    world.settled()
    world.back(recorder=Recorder(RecordFile(tmp_path), kind=Kind.ROLLBACK, stack=STACK))
    (path,) = tmp_path.glob("*-web-a-*.jsonl")
    read = load(path)
    assert (read.header.kind, read.header.candidate, read.header.stack) == (Kind.ROLLBACK, "web-a", STACK)
    assert [entry.previous for entry in read.entries if isinstance(entry, Found)] == ["web-b"]
    assert [entry.weights for entry in read.entries if isinstance(entry, Written)] == [{"web-a": 100}]
    assert [(step.weight, step.verdict) for step in read.entries if isinstance(step, Step)] == [(100, "promote")]
    assert read.end is not None
    assert (read.end.ending, read.end.serving) == ("succeeded", "web-a")
    assert f"record of this rollout: {path}" in world.said


def test_back_to_a_named_release(world: World) -> None:
    """The standby may be as bad as live, and the one before it still has its group."""
    world.settled()
    assert world.back("web-c").live == "web-c"
    assert world.serving() == {"web-c"}
    with pytest.raises(
        InputError, match=r"release web-z of web has no auto scaling group .there are: web-a, web-b, we"
    ):
        world.back("web-z")


def test_back_without_tags(world: World) -> None:
    """Of a fleet that an older version deployed, or after the switch has fired, the tags say nothing, or what was."""
    world.size("web-a", 1, 1)
    world.size("web-b", 1, 1)
    world.weigh(b=100)
    assert world.back().live == "web-a", "the only other one with machines"
    world.balancer.tag(
        world.listener, {rollout_tags.LIVE: "web-b", rollout_tags.STANDBY: "web-a"}
    )  # and a switch put back a
    assert world.back().live == "web-b"
    world.size("web-c", 1, 1)
    world.balancer.tag(world.listener, {}, remove=[rollout_tags.LIVE, rollout_tags.STANDBY])
    with pytest.raises(InputError, match=r"no tag says which release to roll back to .there are: web-a, web-c.: name"):
        world.back()


def test_an_ill_standby_gets_no_traffic(world: World) -> None:
    """The way back would lead from a half-broken release to a wholly broken one."""
    world.settled()
    why = r"web-a is not healthy after 8 s: 3 of 3 machines launched, 0 healthy; i-.*: name another release with --to"
    with pytest.raises(Aborted, match=why):
        world.back(balancer=Ill(world, "web-a"))
    assert world.serving() == {"web-b"}
    assert world.sizes("web-b") == (1, 3)


def test_a_small_standby_is_better_than_an_ill_release(world: World) -> None:
    """No machine of live answers; waiting for the last machine of the standby would lengthen the night."""
    world.settled()
    world.scaling.update_auto_scaling_group(AutoScalingGroupName="web-a-1f2e", MaxSize=2)
    done = world.back(balancer=Ill(world, "web-b"))
    assert done.machines == 2
    assert "web-a can have at most 2 machines, but 3 serve now" in done.warnings
    assert world.serving() == {"web-a"}


def test_more_health_than_now_is_enough_at_the_deadline(world: World) -> None:
    """EC2 gives two of three machines, live has none that is healthy: the traffic would stay there for ever."""
    world.settled()

    class TwoOfThree(Ill):
        def targets(self, target_group: str) -> tuple[Target, ...]:
            return super().targets(target_group)[:2]

    done = world.back(balancer=TwoOfThree(world, "web-b"))
    assert world.serving() == {"web-a"}
    assert "continuing, because what serves now has only 0" in done.warnings[0]


def test_throttles_are_waited_for(world: World) -> None:
    """In a bad night AWS throttles, and the command would end half-way."""
    world.settled()
    balancer = Ill(world)
    balancer.throttled = 5
    balancer.deaf = 2
    done = world.back(balancer=balancer)
    assert world.serving() == {"web-a"}
    assert done.seconds > 0
    balancer = Ill(world)
    balancer.deaf = 10_000
    with pytest.raises(
        Aborted, match="the listener does not show the new weights yet; web-a has all the traffic again"
    ):
        world.back(balancer=balancer)
    assert world.serving() == {"web-a"}


def test_a_switch_that_cannot_be_reached_is_no_reason_to_stay(world: World) -> None:
    """The deployer's role lacks a permission for the scheduler, and the traffic would stay on a broken release."""
    world.settled()

    class Refused:
        def armed(self) -> None:
            raise CloudError("AWS refuses scheduler:GetSchedule on x")

        def disarm(self, run: str | None) -> None:
            assert run is None
            raise CloudError("AWS refuses scheduler:DeleteSchedule on x")

    done = world.back(switch=Refused())
    assert world.serving() == {"web-a"}
    assert done.warnings == ("AWS refuses scheduler:GetSchedule on x", "AWS refuses scheduler:DeleteSchedule on x")


def test_someone_else_moves_the_traffic_meanwhile(world: World) -> None:
    """A rollout that is being put back writes its own weights: the hand's must be the last ones."""
    world.settled()
    times = iter(range(3))

    def other() -> None:
        if next(times, None) is not None:
            world.weigh(b=100)

    world.clock.then = other
    world.back()
    assert world.serving() == {"web-a"}


def test_abort_tells_the_candidate(world: World) -> None:
    """A rollout would not hear that it is to stop, or what has the traffic would be told so."""
    world.settled()
    told = abort(world.service, "wrong\nbranch", balancer=world.balancer, fleet=world.fleet, clock=world.clock)
    assert told == ("web-a",), "only a rollout back to the standby can be running"
    world.size("web-c", 1, 1)
    assert abort(world.service, "x", balancer=world.balancer, fleet=world.fleet, clock=world.clock) == ("web-c",)
    value = world.group_tags("web-c")[rollout_tags.ABORT]
    assert value.startswith("x (20")
    world.weigh(b=95, a=5)
    assert abort(world.service, "x", balancer=world.balancer, fleet=world.fleet, clock=world.clock) == ("web-a",)
    assert rollout_tags.ABORT not in world.group_tags("web-b")


def test_abort_without_a_rollout(world: World) -> None:
    """An engineer would believe that something was stopped."""
    world.size("web-b", 1, 1)
    world.weigh(b=100)
    with pytest.raises(InputError, match="no rollout of web can be running"):
        abort(world.service, "x", balancer=world.balancer, fleet=world.fleet, clock=world.clock)


def test_repeating_a_rollback_that_failed(world: World) -> None:
    """The first try moved nothing; the second must not take what it left for the order of things."""
    world.settled()
    balancer = Ill(world)
    balancer.deaf = 10_000
    with pytest.raises(Aborted):
        world.back(balancer=balancer)
    assert world.back().live == "web-a"
