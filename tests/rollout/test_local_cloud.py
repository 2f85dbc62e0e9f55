"""The rollout's adapters against the local cloud, over the wire, where its answers must be AWS's."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from fleetswap.aws.rollout.balancer import Balancer
from fleetswap.aws.rollout.fleet import Fleet
from fleetswap.aws.rollout.metrics import Metrics
from fleetswap.aws.rollout.switch import Switch
from fleetswap.aws.session import Cloud
from fleetswap.domain.errors import TryAgain
from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.schedules import Schedule, digest
from tests.fakes.localcloud import serve


@pytest.fixture(scope="module")
def cloud(_local_cloud: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A local cloud for all tests, as late as AWS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "local")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "local")
        patch.delenv("AWS_PROFILE", raising=False)
        with serve(tmp_path_factory.mktemp("cloud"), late=True) as served:
            yield Cloud("us-east-1", served.endpoint)


class Site:
    """A listener, two target groups, and two groups that mix spot and on-demand machines."""

    def __init__(self, cloud: Cloud) -> None:
        self.elb: Any = cloud.elbv2()
        self.scaling: Any = cloud.autoscaling()
        ec2: Any = cloud.ec2()
        vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        subnets = [
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.7.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"][
                "SubnetId"
            ]
            for n, zone in enumerate("ab")
        ]
        balancer = self.elb.create_load_balancer(Name="web", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
        fixed: Any = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}
        self.listener = self.elb.create_listener(
            LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=[fixed]
        )["Listeners"][0]["ListenerArn"]
        self.target_groups = [
            self.elb.create_target_group(Name=name, Protocol="HTTP", Port=8080, VpcId=vpc)["TargetGroups"][0][
                "TargetGroupArn"
            ]
            for name in ("web-a", "web-b")
        ]
        volume = ec2.create_volume(Size=1, AvailabilityZone="us-east-1a")["VolumeId"]
        snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
        image = ec2.register_image(
            Name="web",
            Architecture="x86_64",
            VirtualizationType="hvm",
            EnaSupport=True,
            RootDeviceName="/dev/xvda",
            BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}],
        )["ImageId"]
        template = ec2.create_launch_template(
            LaunchTemplateName="web", LaunchTemplateData={"ImageId": image, "InstanceType": "t3.nano"}
        )["LaunchTemplate"]["LaunchTemplateId"]
        for name, target_group in zip(("web-a", "web-b"), self.target_groups, strict=True):
            self.scaling.create_auto_scaling_group(
                AutoScalingGroupName=name,
                MinSize=0,
                MaxSize=4,
                DesiredCapacity=0,
                VPCZoneIdentifier=",".join(subnets),
                TargetGroupARNs=[target_group],
                MixedInstancesPolicy={
                    "LaunchTemplate": {
                        "LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "1"},
                        "Overrides": [{"InstanceType": "t3.nano"}, {"InstanceType": "t3a.nano"}],
                    },
                    "InstancesDistribution": {
                        "OnDemandBaseCapacity": 1,
                        "OnDemandPercentageAboveBaseCapacity": 0,
                        "SpotAllocationStrategy": "price-capacity-optimized",
                    },
                },
            )

    def policy(self, name: str) -> Any:
        described = self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
        return described["AutoScalingGroups"][0]["MixedInstancesPolicy"]

    def weights(self) -> dict[str, int]:
        rules = self.elb.describe_rules(ListenerArn=self.listener)["Rules"]
        forward = next(rule["Actions"][0]["ForwardConfig"] for rule in rules if not rule["IsDefault"])
        return {group["TargetGroupArn"]: group["Weight"] for group in forward["TargetGroups"]}


@pytest.fixture(scope="module")
def site(cloud: Cloud) -> Site:
    """One site for all tests; each leaves it as it found it."""
    return Site(cloud)


@pytest.fixture
def fleet(cloud: Cloud) -> Fleet:
    """The hand under test."""
    return Fleet(cloud.autoscaling(), cloud.ec2)


def eventually(holds: Callable[[], bool], seconds: float = 180) -> bool:
    """Whether it holds within so many seconds; they are a bound, not a measure."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def test_the_fallback_from_spot_and_back(site: Site, fleet: Fleet) -> None:
    """A rehearsal of a capacity shortage would lose the instance types, and AWS would be the first to show it."""
    before = site.policy("web-a")
    fleet.on_demand("web-a", 100)
    group = fleet.group("web-a")
    assert group is not None
    assert (group.on_demand_percent, group.on_demand_base) == (100, 1)
    assert (group.minimum, group.desired, group.maximum) == (0, 0, 4)
    fleet.on_demand("web-a", 0)
    assert site.policy("web-a") == before


def test_tags_of_groups(fleet: Fleet, site: Site) -> None:
    """A pin would not be found by the next run of a rehearsal."""
    fleet.tag("web-a", {rollout_tags.PIN: "2", rollout_tags.ABORT: "because"})
    fleet.tag("web-a", {rollout_tags.PIN: "3"})
    group = fleet.group("web-a")
    assert group is not None
    assert (group.pin, group.abort) == (3, "because")
    fleet.untag("web-a", [rollout_tags.PIN, rollout_tags.ABORT])
    fleet.untag("web-a", [rollout_tags.PIN])
    fleet.untag("nobody", [rollout_tags.PIN])
    group = fleet.group("web-a")
    assert group is not None
    assert (group.pin, group.abort) == (None, None)
    assert site.target_groups


def test_each_standby_has_a_plan_of_its_own(site: Site, fleet: Fleet) -> None:
    """Cancelling one service's plan would cancel another's: moto knows scheduled actions by their name only."""
    for name in ("web-a", "web-b"):
        fleet.schedule_scale_in(name, 3600)
    both = site.scaling.describe_scheduled_actions()["ScheduledUpdateGroupActions"]
    assert sorted(plan["AutoScalingGroupName"] for plan in both) == ["web-a", "web-b"]
    fleet.cancel_scale_in("web-a")
    left = site.scaling.describe_scheduled_actions()["ScheduledUpdateGroupActions"]
    assert [plan["AutoScalingGroupName"] for plan in left] == ["web-b"]
    fleet.cancel_scale_in("web-a")
    fleet.cancel_scale_in("web-b")


def test_a_group_follows_its_schedules_and_no_others(site: Site, fleet: Fleet) -> None:
    """The fleet would not grow in the morning, follow former settings, or lose the scale-in of a standby."""
    every = [Schedule(name, f"0 {hour} * * *", "Europe/Berlin", 2) for name, hour in (("day", 8), ("night", 20))]
    for schedules in (every, [replace(every[0], name="noon")], [replace(every[0], name="noon")]):
        fleet.schedule_scale_in("web-a", 3600)
        fleet.follow("web-a", schedules, 1)
        group = fleet.group("web-a")
        assert group is not None
        assert (group.follows, group.minimum) == (digest(schedules), 2), "whichever was due last"
        planned = site.scaling.describe_scheduled_actions(AutoScalingGroupName="web-a")["ScheduledUpdateGroupActions"]
        names = {plan["ScheduledActionName"] for plan in planned}
        assert names == {rollout_tags.STANDBY_ACTION, *(f"fleetswap-schedule-{each.name}" for each in schedules)}
        own = [plan for plan in planned if plan["ScheduledActionName"] != rollout_tags.STANDBY_ACTION]
        assert {plan["TimeZone"] for plan in own} == {"Europe/Berlin"}
        assert {plan["MinSize"] for plan in own} == {2}
    fleet.resize("web-a", minimum=0, desired=0)
    for _ in range(2):
        fleet.follow("web-a", (), 1)
        group = fleet.group("web-a")
        assert group is not None
        assert (group.follows, group.minimum, group.is_planned or not group.desired) == ("", 0, True)
    (left,) = site.scaling.describe_scheduled_actions(AutoScalingGroupName="web-a")["ScheduledUpdateGroupActions"]
    assert left["ScheduledActionName"] == rollout_tags.STANDBY_ACTION
    fleet.cancel_scale_in("web-a")


def test_aws_scales_a_standby_in(site: Site, fleet: Fleet) -> None:
    """A rehearsal would keep the standby warm for ever, and show nothing of a cold way back."""
    fleet.resize("web-b", minimum=1, desired=2)
    fleet.schedule_scale_in("web-b", 1)

    def cold() -> bool:
        group = fleet.group("web-b")
        return group is not None and (group.minimum, group.desired) == (0, 0)

    assert eventually(cold)
    group = fleet.group("web-b")
    assert group is not None
    assert group.maximum == 4
    assert group.scale_in is not None, "the tag says that it was AWS"
    plans = site.scaling.describe_scheduled_actions(AutoScalingGroupName="web-b")["ScheduledUpdateGroupActions"]
    assert plans == [], "a plan is carried out once"
    fleet.cancel_scale_in("web-b")


def test_the_switch_fires(cloud: Cloud, site: Site) -> None:
    """A rehearsal of a dead deployer would leave the canary where it was."""
    balancer = Balancer(site.elb, tags={})
    one, two = site.target_groups
    balancer.forward(site.listener, ((one, 100),))
    before = balancer.rule(site.listener)
    assert before is not None
    balancer.forward(site.listener, ((one, 95), (two, 5)))
    iam = cloud._session.client("iam", endpoint_url=cloud.endpoint)
    role = iam.create_role(
        RoleName="switch",
        AssumeRolePolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
                ],
            }
        ),
    )["Role"]["Arn"]
    may = {"Effect": "Allow", "Action": "elasticloadbalancing:ModifyRule", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [may]})
    iam.put_role_policy(RoleName="switch", PolicyName="switch", PolicyDocument=document)
    switch = Switch(cloud.scheduler(), service="web", stack="local", listener=site.listener, role=role)
    try:
        switch.arm(3600, before, "run-1")
        armed = switch.armed()
        assert armed is not None
        assert armed.run == "run-1"
        assert armed.rule.weights == before.weights
        assert 3500 < armed.seconds < 3605
        switch.arm(5, before, "run-2")
        assert eventually(lambda: site.weights() == {one: 100})
        assert eventually(lambda: switch.armed() is None), "it fires once"
        switch.disarm("run-2")
    finally:
        balancer.restore(site.listener, None)


def test_alarms(cloud: Cloud, site: Site) -> None:
    """A rehearsal with an alarm that rings would show a good one, or none."""
    client: Any = cloud.cloudwatch()
    client.put_metric_alarm(
        AlarmName="web-5xx",
        Namespace="AWS/ApplicationELB",
        MetricName="HTTPCode_Target_5XX_Count",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=10,
        ComparisonOperator="GreaterThanThreshold",
    )
    metrics = Metrics(client, listener=site.listener)
    client.set_alarm_state(AlarmName="web-5xx", StateValue="ALARM", StateReason="a test")
    assert metrics.alarms(["web-5xx", "nobody"]) == {"web-5xx": "ALARM"}
    client.delete_alarms(AlarmNames=["web-5xx"])
    assert metrics.alarms(["web-5xx"]) == {}


def test_a_service_without_traffic_has_no_figures(cloud: Cloud, site: Site) -> None:
    """The requests of a rollout would be refused: a statistic, a period or a name that there is not."""
    for period in (60, 10):
        metrics = Metrics(cloud.cloudwatch(), listener=site.listener, period=period)
        report = metrics.counts(site.target_groups, 600, 0.5)
        assert (report.told, report.length) == ((), period)
        assert abs(report.now - time.time()) < 60, "the local cloud says what time it is"


def test_a_role_that_does_not_exist(cloud: Cloud, site: Site) -> None:
    """A wrong setting would be found on AWS only: the rollout would think itself insured."""
    balancer = Balancer(site.elb, tags={})
    balancer.forward(site.listener, ((site.target_groups[0], 100),))
    rule = balancer.rule(site.listener)
    assert rule is not None
    try:
        role = "arn:aws:iam::123456789012:role/no"
        switch = Switch(cloud.scheduler(), service="web2", stack="local", listener=site.listener, role=role)
        with pytest.raises(TryAgain, match="its trust policy must name scheduler"):
            switch.arm(60, rule, "run-1")
    finally:
        balancer.restore(site.listener, None)
