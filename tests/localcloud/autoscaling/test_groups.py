"""Auto scaling groups: what they launch, retire, replace, refuse and tell."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

import pytest

from localcloud.autoscaling import maintenance, scaling
from localcloud.moto_state import LOCK, backend
from localcloud.server import LocalCloud
from tests.localcloud.balancer.world import until
from tests.localcloud.clients import Clients, Network, refusal


def shown(clients: Clients, name: str = "web") -> Any:
    return clients.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0]


def activities(clients: Clients, name: str = "web") -> list[Any]:
    return list(clients.autoscaling.describe_scaling_activities(AutoScalingGroupName=name)["Activities"])


def mixed(template: str, **distribution: Any) -> dict[str, Any]:
    return {
        "MixedInstancesPolicy": {
            "LaunchTemplate": {
                "LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "1"},
                "Overrides": [{"InstanceType": "t3.micro"}, {"InstanceType": "t3a.micro"}],
            },
            "InstancesDistribution": {"SpotAllocationStrategy": "price-capacity-optimized", **distribution},
        }
    }


def create(clients: Clients, network: Network, **asked: Any) -> None:
    clients.autoscaling.create_auto_scaling_group(
        **{
            "AutoScalingGroupName": "web",
            "MinSize": 0,
            "MaxSize": 9,
            "VPCZoneIdentifier": ",".join(network.subnets),
            **asked,
        }
    )


def target_group(clients: Clients, network: Network, *, in_use: bool = True) -> str:
    arn = clients.elbv2.create_target_group(Name="web", Protocol="HTTP", Port=8080, VpcId=network.vpc)["TargetGroups"][
        0
    ]["TargetGroupArn"]
    if in_use:
        balancer = clients.elbv2.create_load_balancer(Name="web", Subnets=network.subnets)["LoadBalancers"][0]
        clients.elbv2.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": arn}],
        )
    return arn


def tick() -> None:
    with LOCK:
        scaling.tick(backend("autoscaling"))


def test_a_group_fills_itself_over_its_subnets(clients: Clients) -> None:
    """The size would not come from the image's snapshot, and one zone would hold the whole fleet."""
    network = clients.network()
    clients.group(clients.template(clients.image()), network, DesiredCapacity=4, MaxSize=4)
    instances = clients.instances()
    assert Counter(instance["SubnetId"] for instance in instances) == dict.fromkeys(network.subnets, 2)
    group = shown(clients)
    assert {i["InstanceId"] for i in group["Instances"]} == {i["InstanceId"] for i in instances}
    assert {a["StatusCode"] for a in activities(clients)} == {"Successful"}
    clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=2)
    assert Counter(instance["SubnetId"] for instance in clients.instances()) == dict.fromkeys(network.subnets, 1)
    assert [a["Description"].split(":")[0] for a in activities(clients)[:2]] == ["Terminating EC2 instance"] * 2


def test_a_scale_in_keeps_the_zones_even(clients: Clients) -> None:
    """A scale-in would take the oldest wherever it is, and could leave the whole fleet in one zone."""
    network = clients.network()
    clients.group(clients.template(clients.image()), network, DesiredCapacity=3)
    first = network.subnets[0]
    oldest = min((i for i in clients.instances() if i["SubnetId"] == first), key=lambda i: i["PrivateIpAddress"])
    clients.ec2.terminate_instances(InstanceIds=[oldest["InstanceId"]])  # now the other zone's is the oldest
    clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=2)
    assert Counter(instance["SubnetId"] for instance in clients.instances()) == dict.fromkeys(network.subnets, 1)


def test_a_group_launches_the_version_it_names(clients: Clients) -> None:
    """A release would run another image than the one it names."""
    network = clients.network()
    first, second = clients.image("web-1"), clients.image("web-2")
    template = clients.template(first)
    clients.ec2.create_launch_template_version(
        LaunchTemplateId=template, SourceVersion="1", LaunchTemplateData={"ImageId": second}
    )
    versioned = {"LaunchTemplateId": template, "Version": "2"}
    clients.group(template, network, DesiredCapacity=1, LaunchTemplate=versioned)
    assert [instance["ImageId"] for instance in clients.instances()] == [second]
    assert shown(clients)["Instances"][0]["LaunchTemplate"]["Version"] == "2"


@pytest.mark.parametrize(("desired", "spot"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2)])
def test_a_mixed_group_keeps_its_share_on_demand(clients: Clients, desired: int, spot: int) -> None:
    """A group would run on Spot alone, or start too few machines, as it does in moto."""
    network = clients.network()
    template = clients.template(clients.image())
    policy = mixed(template, OnDemandBaseCapacity=1, OnDemandPercentageAboveBaseCapacity=50)
    create(clients, network, DesiredCapacity=desired, **policy)
    lifecycles = Counter(instance.get("InstanceLifecycle", "on-demand") for instance in clients.instances())
    assert (lifecycles["on-demand"], lifecycles["spot"]) == (desired - spot, spot)


def test_an_update_keeps_what_it_does_not_name(clients: Clients) -> None:
    """Changing the bounds would lose the mixed instances policy, as in moto."""
    network = clients.network()
    create(
        clients, network, HealthCheckGracePeriod=0, DefaultInstanceWarmup=5, **mixed(clients.template(clients.image()))
    )
    clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName="web", MinSize=1, MaxSize=3)
    group = shown(clients)
    assert len(group["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]) == 2
    assert (group["HealthCheckGracePeriod"], group["DefaultInstanceWarmup"]) == (0, 5)
    assert (group["MinSize"], group["MaxSize"], group["DesiredCapacity"]) == (1, 3, 1)
    assert len(clients.instances()) == 1
    clients.autoscaling.update_auto_scaling_group(
        AutoScalingGroupName="web", **mixed(clients.template(clients.image("web-2")))
    )
    assert len(shown(clients)["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]) == 2


def test_a_launch_that_fails_is_a_failed_activity_and_tried_again(clients: Clients) -> None:
    """A rollout could not tell why no machine comes, or the call itself would fail, as in moto."""
    network = clients.network()
    image_id = clients.image()
    template = clients.template(image_id)
    clients.group(template, network)
    clients.ec2.deregister_image(ImageId=image_id)
    clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=2)
    tick()
    assert clients.instances() == []
    failed = activities(clients)[0]
    assert failed["StatusCode"] == "Failed"
    assert image_id in failed["StatusMessage"]
    clients.ec2.create_launch_template_version(
        LaunchTemplateId=template, SourceVersion="1", LaunchTemplateData={"ImageId": clients.image("web-2")}
    )
    versioned = {"LaunchTemplateId": template, "Version": "2"}
    with LOCK:
        group = backend("autoscaling").autoscaling_groups["web"]
        group._set_launch_configuration(None, versioned, None)
        scaling.book(group).retry_at = 0.0
    tick()
    assert len(clients.instances()) == 2


def test_a_terminated_or_unhealthy_instance_is_replaced(clients: Clients) -> None:
    """A fleet would shrink for good when a machine dies."""
    network = clients.network()
    clients.group(clients.template(clients.image()), network, DesiredCapacity=2)
    before = {instance["InstanceId"] for instance in clients.instances()}
    terminated, unhealthy = sorted(before)
    clients.ec2.terminate_instances(InstanceIds=[terminated])
    clients.autoscaling.set_instance_health(InstanceId=unhealthy, HealthStatus="Unhealthy")
    tick()
    after = {instance["InstanceId"] for instance in clients.instances()}
    assert len(after) == 2
    assert not after & before


def test_a_maintenance_policy_launches_before_it_terminates(clients: Clients) -> None:
    """What a fleet of two does while one of them is replaced could not be seen here."""
    network = clients.network()
    policy = {"MinHealthyPercentage": 100, "MaxHealthyPercentage": 110}
    clients.group(clients.template(clients.image()), network, DesiredCapacity=2, InstanceMaintenancePolicy=policy)
    before = {instance["InstanceId"] for instance in clients.instances()}
    seen = []
    with LOCK:  # throughout: the local cloud ticks too, and what it does would not be seen
        for each in before:
            backend("autoscaling").set_instance_health(each, "Unhealthy")
        for _ in range(4):
            seen.append(len(scaling.live(backend("autoscaling").autoscaling_groups["web"])))
            tick()
    assert max(seen) == 3, "110 % of two is one more"
    after = {instance["InstanceId"] for instance in clients.instances()}
    assert len(after) == 2
    assert not after & before
    clients.autoscaling.update_auto_scaling_group(
        AutoScalingGroupName="web",
        InstanceMaintenancePolicy={"MinHealthyPercentage": -1, "MaxHealthyPercentage": -1},
    )
    assert "InstanceMaintenancePolicy" not in shown(clients)


@pytest.mark.parametrize(
    ("policy", "desired", "ready", "unhealthy", "goes", "extra"),
    [
        ((100, 110), 2, 1, 1, 0, 1),
        ((100, 110), 2, 2, 1, 1, 1),
        ((100, 110), 2, 1, 2, 1, 1),
        ((50, 110), 2, 1, 1, 1, 1),
        ((100, 100), 2, 1, 1, 1, 0),  # nothing may be launched first, so something must go
        ((100, 150), 10, 4, 6, 0, 5),
        (None, 2, 0, 2, 2, 0),
    ],
)
def test_how_many_go_and_how_many_come(
    policy: tuple[int, int] | None, desired: int, ready: int, unhealthy: int, goes: int, extra: int
) -> None:
    """Fewer would stay in service than the policy promises, or more would be paid for."""
    asked = None if policy is None else {"MinHealthyPercentage": policy[0], "MaxHealthyPercentage": policy[1]}
    assert maintenance.goes(asked, desired=desired, ready=ready, unhealthy=unhealthy) == goes
    assert maintenance.surplus(asked, desired=desired, unhealthy=unhealthy) == extra


@pytest.mark.parametrize("policy", [(100, None), (-1, 100), (101, 110), (90, 99), (10, 111)])
def test_a_maintenance_policy_is_checked(clients: Clients, policy: tuple[int, int | None]) -> None:
    """A deploy would fail on AWS only."""
    low, high = policy
    asked = {"MinHealthyPercentage": low} | ({} if high is None else {"MaxHealthyPercentage": high})
    network, template = clients.network(), clients.template(clients.image())
    assert refusal(lambda: clients.group(template, network, InstanceMaintenancePolicy=asked)) == "ValidationError"


def test_requests_are_tracked_of_an_attached_target_group_only(clients: Clients) -> None:
    """A policy that AWS refuses would be made here, and the fleet would never scale by requests there."""
    network = clients.network()
    arn = target_group(clients, network)
    template = clients.template(clients.image())
    clients.group(template, network, TargetGroupARNs=[arn])
    balancer = clients.elbv2.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
    label = f"{balancer.partition(':loadbalancer/')[2]}/{arn.rpartition(':')[2]}"

    def put(metric: Any) -> None:
        clients.autoscaling.put_scaling_policy(
            AutoScalingGroupName="web",
            PolicyName="web",
            PolicyType="TargetTrackingScaling",
            TargetTrackingConfiguration={"PredefinedMetricSpecification": metric, "TargetValue": 500},
        )

    requests = {"PredefinedMetricType": "ALBRequestCountPerTarget"}
    for wrong in (
        requests,
        {**requests, "ResourceLabel": label.replace("targetgroup/web", "targetgroup/other")},
        {**requests, "ResourceLabel": label.replace("app/web", "app/other")},
        {"PredefinedMetricType": "ASGAverageCPUUtilization", "ResourceLabel": label},
        {"PredefinedMetricType": "Requests"},
    ):
        assert refusal(functools.partial(put, wrong)) == "ValidationError", wrong
    put({**requests, "ResourceLabel": label})
    for alarm in clients.cloudwatch.describe_alarms()["MetricAlarms"]:
        assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/ApplicationELB", "RequestCountPerTarget")
        assert {each["Name"] for each in alarm["Dimensions"]} == {"LoadBalancer", "TargetGroup"}


def test_a_group_acts_a_little_later(cloud: LocalCloud, clients: Clients) -> None:
    """What a program sees between its request and what follows from it would never be met here."""
    late = 1000.0

    def pass_time() -> None:
        with LOCK:
            kept = scaling.book(backend("autoscaling").autoscaling_groups["web"])
            kept.act_at -= late
            kept.retry_at -= late

    cloud.lateness.change({"scaling": [late, late]})
    clients.group(clients.template(clients.image()), clients.network(), DesiredCapacity=1)
    assert clients.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["DesiredCapacity"] == 1
    assert clients.instances() == []
    pass_time()
    until(clients.instances, "the launch")
    clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=0)
    assert len(clients.instances()) == 1
    pass_time()
    until(lambda: not clients.instances(), "the end")


def test_capacity_and_bounds_are_checked(clients: Clients) -> None:
    """A rollout that asks for more than the group's maximum would get it."""
    network = clients.network()
    template = clients.template(clients.image())
    launch = {"LaunchTemplate": {"LaunchTemplateId": template}}
    assert refusal(lambda: create(clients, network, MinSize=3, MaxSize=2, **launch)) == "ValidationError"
    assert refusal(lambda: create(clients, network, MinSize=1, MaxSize=2, DesiredCapacity=0, **launch)) == (
        "ValidationError"
    )
    assert refusal(lambda: create(clients, network, VPCZoneIdentifier="subnet-12345678", **launch)) == "ValidationError"
    assert refusal(lambda: create(clients, network, TargetGroupARNs=["arn:none"], **launch)) == "ValidationError"
    missing = {"LaunchTemplate": {"LaunchTemplateId": template, "Version": "7"}}
    assert refusal(lambda: create(clients, network, **missing)) == "ValidationError"
    create(clients, network, MinSize=1, MaxSize=2, **launch)
    assert refusal(lambda: create(clients, network, MinSize=1, MaxSize=2, **launch)) == "AlreadyExists"
    set_desired = clients.autoscaling.set_desired_capacity
    for desired in (0, 3):
        call = functools.partial(set_desired, AutoScalingGroupName="web", DesiredCapacity=desired)
        assert refusal(call) == "ValidationError"
    assert refusal(lambda: set_desired(AutoScalingGroupName="none", DesiredCapacity=1)) == "ValidationError"
    update = clients.autoscaling.update_auto_scaling_group
    assert refusal(lambda: update(AutoScalingGroupName="web", MinSize=5)) == "ValidationError"
    assert shown(clients)["DesiredCapacity"] == 1


def test_a_group_with_instances_is_deleted_only_by_force(clients: Clients) -> None:
    """A destroy that AWS refuses would pass, or leave machines running."""
    network = clients.network()
    clients.group(clients.template(clients.image()), network, DesiredCapacity=1)
    assert refusal(lambda: clients.autoscaling.delete_auto_scaling_group(AutoScalingGroupName="web")) == "ResourceInUse"
    clients.autoscaling.delete_auto_scaling_group(AutoScalingGroupName="web", ForceDelete=True)
    assert clients.instances() == []
    assert refusal(lambda: activities(clients)) == "ValidationError"
    kept = clients.autoscaling.describe_scaling_activities(AutoScalingGroupName="web", IncludeDeletedGroups=True)
    assert len(kept["Activities"]) == 2


def test_a_policy_answers_with_arn_and_alarms(clients: Clients) -> None:
    """The AWS plugin could not store the policy's ARN, or two releases could not have a policy of one name."""
    network = clients.network()
    template = clients.template(clients.image())
    config = {
        "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
        "TargetValue": 50.0,
    }
    for name in ("one", "two"):
        clients.group(template, network, AutoScalingGroupName=name)
        made = clients.autoscaling.put_scaling_policy(
            AutoScalingGroupName=name,
            PolicyName="cpu",
            PolicyType="TargetTrackingScaling",
            TargetTrackingConfiguration=config,  # type: ignore[arg-type] # a literal's type is too wide
        )
        assert name in made["PolicyARN"]
        assert len(made["Alarms"]) == 2
    policies = clients.autoscaling.describe_policies(AutoScalingGroupName="one")["ScalingPolicies"]
    assert [len(policy["Alarms"]) for policy in policies] == [2]
    assert len(clients.cloudwatch.describe_alarms()["MetricAlarms"]) == 4
    clients.autoscaling.delete_policy(AutoScalingGroupName="one", PolicyName="cpu")
    left = clients.autoscaling.describe_policies()["ScalingPolicies"]
    assert [policy["AutoScalingGroupName"] for policy in left] == ["two"]
    assert len(clients.cloudwatch.describe_alarms()["MetricAlarms"]) == 2


class Drains:
    """Machines whose targets drain when told."""

    def __init__(self) -> None:
        self.empty = False

    def target_health(self, target_group_arn: str) -> list[Any]:
        del target_group_arn
        return []

    def console_output(self, instance_id: str) -> str:
        del instance_id
        return "panic"

    def drained(self, target_group_arn: str, instance_id: str) -> bool:
        del target_group_arn, instance_id
        return self.empty


def test_a_retired_instance_drains_before_it_ends(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scale-in would cut the requests that are under way."""
    network = clients.network()
    arn = target_group(clients, network)
    clients.group(clients.template(clients.image()), network, DesiredCapacity=1, TargetGroupARNs=[arn])
    registered = clients.elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    assert [health["TargetHealth"]["State"] for health in registered] == ["initial"]
    machines = Drains()
    with LOCK:
        monkeypatch.setattr(type(backend("elbv2")), "machines", machines)
    clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=0)
    tick()
    assert [i["LifecycleState"] for i in shown(clients)["Instances"]] == ["Terminating"]
    assert len(clients.instances()) == 1
    assert activities(clients)[0]["StatusCode"] == "InProgress"
    machines.empty = True
    tick()
    assert clients.instances() == []
    assert activities(clients)[0]["StatusCode"] == "Successful"


def test_tags_of_a_group_that_is_gone_are_refused(clients: Clients) -> None:
    """A clean-up that comes too late would be answered with an error of the stand-in."""
    tag: Any = {"ResourceId": "none", "ResourceType": "auto-scaling-group", "Key": "k", "PropagateAtLaunch": False}
    auto = clients.autoscaling
    assert refusal(lambda: auto.create_or_update_tags(Tags=[tag])) == "ValidationError"
    assert refusal(lambda: auto.delete_tags(Tags=[tag])) == "ValidationError"
