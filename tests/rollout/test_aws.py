"""The rollout's adapters against moto's ELBv2, Auto Scaling and EC2, where moto is like AWS."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, NoCredentialsError
from botocore.stub import ANY, Stubber
from moto import mock_aws

from fleetswap.aws.errors import explained
from fleetswap.aws.rollout.adapters import Adapters
from fleetswap.aws.rollout.balancer import Balancer, tag_value
from fleetswap.aws.rollout.fleet import Fleet
from fleetswap.aws.rollout.notifier import Topic, region_of
from fleetswap.aws.session import Cloud
from fleetswap.domain import tags
from fleetswap.domain.errors import CloudError, InputError, TryAgain
from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.findings import Finding
from fleetswap.domain.rollout.health import Answer, Target, Verdict
from fleetswap.domain.rollout.model import Group, Order, ReleaseTarget, Rule
from fleetswap.domain.rollout.notices import Ending, Notice
from fleetswap.domain.rollout.policy import Check, Policy
from fleetswap.domain.rollout.rule import PRIORITY
from fleetswap.domain.rollout.schedules import Schedule, digest
from fleetswap.domain.rollout.warm_pool import WarmPool
from fleetswap.workflows.clock import SystemClock
from fleetswap.workflows.rollout.run import Outcome, observe, retire, roll_out

REGION = "us-east-1"


@pytest.fixture
def aws(_local_cloud: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Moto instead of AWS, and credentials that open nothing."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield


def client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)  # type: ignore[call-overload] # the service is a variable here


class Site:
    """A load balancer with a listener, two target groups, and groups of machines."""

    def __init__(self) -> None:
        ec2, elb = client("ec2"), client("elbv2")
        self.elb = elb
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnets = [
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"][
                "SubnetId"
            ]
            for n, zone in enumerate("ab")
        ]
        balancer = elb.create_load_balancer(Name="web", Subnets=self.subnets)["LoadBalancers"][0]["LoadBalancerArn"]
        self.target_groups = [
            elb.create_target_group(Name=f"web-{n}", Protocol="HTTP", Port=8080, VpcId=vpc)["TargetGroups"][0][
                "TargetGroupArn"
            ]
            for n in "ab"
        ]
        fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}
        self.listener = elb.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=[fixed])[
            "Listeners"
        ][0]["ListenerArn"]
        image = ec2.register_image(Name="web")["ImageId"]
        ec2.create_launch_template(
            LaunchTemplateName="web", LaunchTemplateData={"ImageId": image, "InstanceType": "t3.micro"}
        )
        for name, target_group in zip(("web-a", "web-b"), self.target_groups, strict=True):
            client("autoscaling").create_auto_scaling_group(
                AutoScalingGroupName=name,
                MinSize=0,
                MaxSize=4,
                DesiredCapacity=0,
                LaunchTemplate={"LaunchTemplateName": "web", "Version": "1"},
                VPCZoneIdentifier=",".join(self.subnets),
                TargetGroupARNs=[target_group],
            )

    def rules(self) -> list[Any]:
        rules: list[Any] = self.elb.describe_rules(ListenerArn=self.listener)["Rules"]
        return [rule for rule in rules if not rule["IsDefault"]]


@pytest.fixture
def site(aws: None) -> Site:
    """A fresh account with one site."""
    del aws
    return Site()


@pytest.fixture
def balancer(site: Site) -> Balancer:
    """The hand under test."""
    return Balancer(site.elb, tags={tags.SERVICE: "web", tags.STACK: "fleetswap/local"})


def test_forward_makes_one_rule_and_then_changes_it(site: Site, balancer: Balancer) -> None:
    """Each rollout would leave a rule behind, or the weights would stay where they were."""
    one, two = site.target_groups
    assert balancer.rule(site.listener) is None
    balancer.forward(site.listener, ((one, 100),))
    balancer.forward(site.listener, ((two, 100),))
    balancer.forward(site.listener, ((two, 100),))
    rules = site.rules()
    assert [rule["Priority"] for rule in rules] == [str(PRIORITY)]
    assert rules[0]["Conditions"][0]["Values"] == ["/*"]
    found = balancer.rule(site.listener)
    assert found is not None
    assert found.serving == {two}
    tagged = site.elb.describe_tags(ResourceArns=[rules[0]["RuleArn"]])["TagDescriptions"][0]["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tagged} == {tags.SERVICE: "web", tags.STACK: "fleetswap/local"}


OURS = [{"Key": tags.SERVICE, "Value": "web"}, {"Key": tags.STACK, "Value": "fleetswap/local"}]
LOGIN = {
    "Type": "authenticate-oidc",
    "Order": 1,
    "AuthenticateOidcConfig": {
        "Issuer": "https://login.example.com",
        "AuthorizationEndpoint": "https://login.example.com/a",
        "TokenEndpoint": "https://login.example.com/t",
        "UserInfoEndpoint": "https://login.example.com/u",
        "ClientId": "web",
    },
}


def test_a_login_that_someone_has_put_on_the_rule_stays(aws: None) -> None:
    """The next deploy would make the site public; and no answer tells the secret, so the switch could not write it."""
    del aws
    elb = client("elbv2")
    forward = {"Type": "forward", "Order": 2, "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": "a", "Weight": 1}]}}
    rule = {"RuleArn": "arn:r", "Priority": str(PRIORITY), "Actions": [LOGIN, forward]}
    config = {**LOGIN["AuthenticateOidcConfig"], "UseExistingClientSecret": True}  # type: ignore[dict-item] # a mapping
    login = {**LOGIN, "AuthenticateOidcConfig": config}
    target = {"TargetGroupArn": "b", "Weight": 100}
    with Stubber(elb) as stub:
        stub.add_response("describe_rules", {"Rules": [rule]})
        found = Balancer(elb, tags={}).rule("arn:l")
        assert found is not None
        assert json.loads(found.verbatim)["Actions"] == [login, forward], "what the switch writes"
        stub.add_response("describe_rules", {"Rules": [rule]})
        stub.add_response(
            "modify_rule",
            {},
            {
                "RuleArn": "arn:r",
                "Actions": [login, {"Type": "forward", "ForwardConfig": {"TargetGroups": [target]}, "Order": 2}],
            },
        )
        Balancer(elb, tags={}).forward("arn:l", (("b", 100),))
        stub.add_response("describe_rules", {"Rules": [rule]})
        stub.add_response("modify_rule", {}, {"RuleArn": "arn:r", "Actions": [login, forward]})
        before = Rule((("a", 1),), json.dumps({"Actions": [{**forward, "Order": 1}]}))
        Balancer(elb, tags={}).restore("arn:l", before)
        stub.assert_no_pending_responses()


def test_a_rule_of_someone_else_is_not_touched(site: Site, balancer: Balancer) -> None:
    """A rule that happens to have our priority would get our weights, and be deleted at the end."""
    fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}
    given = site.elb.create_rule(
        ListenerArn=site.listener,
        Priority=PRIORITY,
        Conditions=[{"Field": "path-pattern", "Values": ["/*"]}],
        Actions=[fixed],
        Tags=[{"Key": tags.SERVICE, "Value": "shop"}, {"Key": tags.STACK, "Value": "fleetswap/local"}],
    )["Rules"][0]
    calls: list[Callable[[], object]] = [
        lambda: balancer.rule(site.listener),
        lambda: balancer.forward(site.listener, ((site.target_groups[0], 100),)),
        lambda: balancer.restore(site.listener, None),
        lambda: balancer.tag(site.listener, {"k": "v"}),
    ]
    for call in calls:
        with pytest.raises(InputError, match=f"rule {given['RuleArn']} has priority 50000 .* give it another priority"):
            call()
    assert site.rules()[0]["Actions"] == given["Actions"]


def test_what_someone_has_put_on_the_rule_is_seen_and_taken_off(site: Site, balancer: Balancer) -> None:
    """A condition that was added by hand would give users 503 for ever, without a word in any preview."""
    one, two = site.target_groups
    balancer.forward(site.listener, ((one, 30), (two, 70)))
    found = balancer.rule(site.listener)
    assert found is not None
    assert found.odd == ()
    forward = {
        "TargetGroups": [{"TargetGroupArn": one, "Weight": 30}, {"TargetGroupArn": two, "Weight": 70}],
        "TargetGroupStickinessConfig": {"Enabled": True, "DurationSeconds": 60},
    }
    site.elb.modify_rule(
        RuleArn=site.rules()[0]["RuleArn"],
        Conditions=[{"Field": "host-header", "HostHeaderConfig": {"Values": ["www.example.com"]}}],
        Actions=[{"Type": "forward", "ForwardConfig": forward}],
    )
    found = balancer.rule(site.listener)
    assert found is not None
    assert found.odd == (
        "condition host-header www.example.com",
        "stickiness, which keeps users on one release whatever the weights are",
    )
    balancer.mend(site.listener)
    found = balancer.rule(site.listener)
    assert found is not None
    assert (found.odd, dict(found.weights)) == ((), {one: 30, two: 70})


def test_a_rule_that_someone_has_moved_is_found_and_moved_back(site: Site, balancer: Balancer) -> None:
    """A second rule behind it would get the weights and no request; and what the first one serves lose its machines."""
    one, two = site.target_groups
    balancer.forward(site.listener, ((one, 100),))
    arn = site.rules()[0]["RuleArn"]
    site.elb.set_rule_priorities(RulePriorities=[{"RuleArn": arn, "Priority": 7}])
    later = Balancer(site.elb, tags={tags.SERVICE: "web", tags.STACK: "fleetswap/local"})
    found = later.rule(site.listener)
    assert found is not None
    assert (sorted(found.serving), found.odd) == ([one], ("priority 7 instead of 50000",))
    later.forward(site.listener, ((two, 100),))
    later.mend(site.listener)
    assert [(rule["RuleArn"], rule["Priority"]) for rule in site.rules()] == [(arn, "50000")]


def test_restore_writes_the_former_actions_verbatim(site: Site, balancer: Balancer) -> None:
    """A put-back would lose what else the rule did: its weights, its stickiness."""
    one, two = site.target_groups
    forward = {
        "TargetGroups": [{"TargetGroupArn": one, "Weight": 30}, {"TargetGroupArn": two, "Weight": 70}],
        "TargetGroupStickinessConfig": {"Enabled": True, "DurationSeconds": 60},
    }
    site.elb.create_rule(
        ListenerArn=site.listener,
        Priority=PRIORITY,
        Conditions=[{"Field": "path-pattern", "Values": ["/*"]}],
        Actions=[{"Type": "forward", "ForwardConfig": forward}],
        Tags=OURS,
    )
    former = site.rules()[0]["Actions"]
    before = balancer.rule(site.listener)
    assert before is not None
    assert dict(before.weights) == {one: 30, two: 70}
    balancer.forward(site.listener, ((two, 100),))
    assert site.rules()[0]["Actions"] != former
    balancer.restore(site.listener, before)
    assert site.rules()[0]["Actions"] == former
    balancer.restore(site.listener, None)
    balancer.restore(site.listener, None)
    assert site.rules() == []
    balancer.restore(site.listener, before)
    assert site.rules()[0]["Actions"] == former, "also if the rule was deleted meanwhile"


@pytest.mark.parametrize("form", ["lone", "fixed"])
def test_rules_of_another_form_are_read(site: Site, balancer: Balancer, form: str) -> None:
    """A rule made by hand would crash the deploy, or be taken for one that serves."""
    action = {
        "lone": {"Type": "forward", "TargetGroupArn": site.target_groups[0]},
        "fixed": {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}},
    }[form]
    site.elb.create_rule(
        ListenerArn=site.listener,
        Priority=PRIORITY,
        Conditions=[{"Field": "path-pattern", "Values": ["/*"]}],
        Actions=[action],
        Tags=OURS,
    )
    found = balancer.rule(site.listener)
    assert found is not None
    assert found.serving == ({site.target_groups[0]} if form == "lone" else set())


def test_the_rule_is_found_among_many(site: Site, balancer: Balancer) -> None:
    """Beside the preview rules of many releases, the rule would be missed and made again, which AWS refuses."""
    balancer.forward(site.listener, ((site.target_groups[0], 100),))
    for priority in range(1, 30):
        site.elb.create_rule(
            ListenerArn=site.listener,
            Priority=priority,
            Conditions=[
                {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X", "Values": [str(priority)]}}
            ],
            Actions=[{"Type": "forward", "TargetGroupArn": site.target_groups[1]}],
        )
    found = balancer.rule(site.listener)
    assert found is not None
    assert found.serving == {site.target_groups[0]}


def test_rules_are_read_to_the_last_page(aws: None) -> None:
    """A load balancer with many rules answers in pages; the rule on the second would be missed."""
    del aws
    elb = client("elbv2")
    preview = {"Priority": "1", "RuleArn": "arn:1", "Actions": [], "IsDefault": False}
    ours = {
        "Priority": str(PRIORITY),
        "RuleArn": "arn:2",
        "IsDefault": False,
        "Actions": [{"Type": "forward", "TargetGroupArn": "arn:tg"}],
    }
    with Stubber(elb) as stub:
        stub.add_response("describe_rules", {"Rules": [preview], "NextMarker": "m"}, {"ListenerArn": "arn:l"})
        stub.add_response("describe_rules", {"Rules": [ours]}, {"ListenerArn": "arn:l", "Marker": "m"})
        found = Balancer(elb, tags={}).rule("arn:l")
    assert found is not None
    assert found.serving == {"arn:tg"}


def test_a_rule_without_tags(site: Site) -> None:
    """A rollback, after someone has deleted the rule, would be refused for an empty list."""
    Balancer(site.elb, tags={}).forward(site.listener, ((site.target_groups[0], 100),))
    assert len(site.rules()) == 1


def test_a_rule_made_by_a_lost_answer_is_taken_over(aws: None) -> None:
    """A first deploy whose CreateRule was retried would fail, although the rule is there."""
    del aws
    elb = client("elbv2")
    ours = {
        "Priority": str(PRIORITY),
        "RuleArn": "arn:rule",
        "IsDefault": False,
        "Actions": [{"Type": "forward", "TargetGroupArn": "arn:tg"}],
    }
    with Stubber(elb) as stub:
        stub.add_response("describe_rules", {"Rules": []})
        stub.add_client_error("create_rule", "PriorityInUse", http_status_code=400)
        stub.add_response("describe_rules", {"Rules": [ours]})
        stub.add_response("modify_rule", {"Rules": [ours]})
        Balancer(elb, tags={"k": "v"}).forward("arn:l", (("arn:tg", 100),))
        stub.assert_no_pending_responses()


def test_our_own_new_rule_is_no_strangers(aws: None) -> None:
    """A first deploy would be refused because its own rule is read before its tags are."""
    del aws
    elb = client("elbv2")
    ours = {
        "Priority": str(PRIORITY),
        "RuleArn": "arn:rule",
        "IsDefault": False,
        "Actions": [{"Type": "forward", "TargetGroupArn": "arn:tg"}],
    }
    with Stubber(elb) as stub:
        stub.add_response("describe_rules", {"Rules": []})
        stub.add_response("create_rule", {"Rules": [ours]})
        stub.add_response("describe_rules", {"Rules": [ours]})
        stub.add_response("describe_tags", {"TagDescriptions": []})
        balancer = Balancer(elb, tags=tags.policy("acme/fleetswap/prod", "web", name="web"))
        balancer.forward("arn:l", (("arn:tg", 100),))
        found = balancer.rule("arn:l")
    assert found is not None
    assert found.serving == {"arn:tg"}


def test_targets_carry_the_reason(aws: None) -> None:
    """The gate would not know why a target is unhealthy."""
    del aws
    elb = client("elbv2")
    answer = {
        "TargetHealthDescriptions": [
            {"Target": {"Id": "i-1", "Port": 8080}, "TargetHealth": {"State": "healthy"}},
            {
                "Target": {"Id": "i-2"},
                "TargetHealth": {
                    "State": "unhealthy",
                    "Reason": "Target.ResponseCodeMismatch",
                    "Description": "Health checks failed with these codes: [503]",
                },
            },
        ]
    }
    with Stubber(elb) as stub:
        stub.add_response("describe_target_health", answer, {"TargetGroupArn": "arn:tg"})
        found = Balancer(elb, tags={}).targets("arn:tg")
    assert found == (
        Target("i-1", "healthy"),
        Target("i-2", "unhealthy", "Target.ResponseCodeMismatch", "Health checks failed with these codes: [503]"),
    )


def test_groups_are_read_and_resized(site: Site) -> None:
    """The candidate would not be scaled, or its bounds would be misread."""
    assert site.rules() == []
    fleet = Fleet(client("autoscaling"), lambda: client("ec2"))
    assert fleet.group("nobody") is None
    assert fleet.group("web-a") == Group(0, 0, 4, (), grace=300)
    fleet.resize("web-a", minimum=2, desired=2)
    fleet.resize("web-a", minimum=2, desired=2)
    group = fleet.group("web-a")
    assert group is not None
    assert (group.minimum, group.desired, len(group.machines)) == (2, 2, 2)
    assert all(machine.launched for machine in group.machines)
    fleet.resize("web-a", minimum=1, desired=None)
    group = fleet.group("web-a")
    assert group is not None
    assert (group.minimum, group.desired) == (1, 2), "lowering the minimum leaves the scaling policy's figure alone"
    targets = Balancer(site.elb, tags={}).targets(site.target_groups[0])
    assert {target.machine for target in targets} == {machine.id for machine in group.machines}
    assert isinstance(fleet.console(group.machines[0].id), str)


class Answering:
    """Stand-in for the HTTP prober: moto has no machines, so every answer is good."""

    def get(self, url: str, *, release: str | None, timeout: float) -> Answer:
        assert url == "http://web/"
        assert release in {None, "web-a", "web-b"}
        assert timeout == 5
        return Answer(200)


def test_deploy_swap_and_go_back(site: Site, balancer: Balancer) -> None:
    """The workflow and its adapters would not fit together, or a call of theirs would be one that AWS does not have."""
    fleet = Fleet(client("autoscaling"), lambda: client("ec2"))
    one, two = (
        ReleaseTarget(name, name, target_group)
        for name, target_group in zip(("web-a", "web-b"), site.target_groups, strict=True)
    )
    policy = Policy(minimum=2, interval=0.01, quick=0.01, convergence=0.01)

    def deploy(candidate: ReleaseTarget, other: ReleaseTarget, standby: str | None) -> Outcome:
        pool = WarmPool(1, 1, "Running")
        order = Order("web", site.listener, "http://web", candidate, (other,), standby, policy, warm_pool=pool)
        outcome = roll_out(order, balancer=balancer, fleet=fleet, prober=Answering(), clock=SystemClock())
        assert observe(order, balancer=balancer, fleet=fleet).drift == ()
        pools = [group.warm_pool for each in (candidate, other) if (group := fleet.group(each.group)) is not None]
        assert pools == [pool, None]
        return outcome

    assert deploy(one, two, None).previous is None
    assert deploy(two, one, "web-a").previous == "web-a"
    warm = fleet.group("web-a")
    assert deploy(one, two, "web-b").previous == "web-b"
    again = fleet.group("web-a")
    assert warm is not None
    assert again is not None
    assert warm.machines == again.machines, "going back launches nothing"
    assert (warm.minimum, warm.desired) == (2, 2)
    order = Order("web", site.listener, "http://web", one, (two,), "web-b", policy)
    retire(order, balancer=balancer, fleet=fleet, clock=SystemClock())
    assert site.rules() == []
    for name in ("web-a", "web-b"):
        group = fleet.group(name)
        assert group is not None
        assert (group.minimum, group.desired, group.machines) == (0, 0, ())


def test_the_tags_of_the_rule(site: Site, balancer: Balancer) -> None:
    """Live, standby and a hand's rollback would be forgotten, or the tags of the tag policy would be lost."""
    balancer.tag(site.listener, {rollout_tags.LIVE: "web-a"})
    assert balancer.tags(site.listener) == {}, "there is no rule yet"
    balancer.forward(site.listener, ((site.target_groups[0], 100),))
    own = {tags.SERVICE: "web", tags.STACK: "fleetswap/local"}
    balancer.tag(
        site.listener, {rollout_tags.LIVE: "web-a", rollout_tags.ROLLED_BACK: "web-b 2026-11-24T12:00:00+00:00"}
    )
    balancer.tag(site.listener, {rollout_tags.LIVE: "web-a"})
    assert balancer.tags(site.listener) == {
        **own,
        rollout_tags.LIVE: "web-a",
        rollout_tags.ROLLED_BACK: "web-b 2026-11-24T12:00:00+00:00",
    }
    balancer.tag(site.listener, {rollout_tags.LIVE: "web-b"}, remove=[rollout_tags.ROLLED_BACK, rollout_tags.STANDBY])
    assert balancer.tags(site.listener) == {**own, rollout_tags.LIVE: "web-b"}


def test_what_a_tag_may_hold() -> None:
    """A reason with a bracket or of a thousand letters would be refused, and with it the clean-up of a rollout."""
    assert tag_value("5xx: 7 of 120 (5.8 %),\nlive é") == "5xx: 7 of 120 5.8 live é"
    assert len(tag_value("x" * 1000)) == 256


def test_stickiness_is_reset_with_the_weights(site: Site, balancer: Balancer) -> None:
    """Users whom a cookie holds to the old release would stay there, whatever the weights say."""
    one, two = site.target_groups
    forward = {
        "TargetGroups": [{"TargetGroupArn": one, "Weight": 1}],
        "TargetGroupStickinessConfig": {"Enabled": True, "DurationSeconds": 60},
    }
    site.elb.create_rule(
        ListenerArn=site.listener,
        Priority=PRIORITY,
        Conditions=[{"Field": "path-pattern", "Values": ["/*"]}],
        Actions=[{"Type": "forward", "ForwardConfig": forward}],
        Tags=OURS,
    )
    balancer.forward(site.listener, ((one, 95), (two, 5)))
    now = site.rules()[0]["Actions"][0]["ForwardConfig"]
    assert not now.get("TargetGroupStickinessConfig", {}).get("Enabled", False)


def test_a_rule_is_what_modify_rule_takes(site: Site, balancer: Balancer) -> None:
    """The dead man's switch would send a request that ELBv2 refuses, on the one day that it is needed."""
    one, two = site.target_groups
    balancer.forward(site.listener, ((one, 100),))
    before = balancer.rule(site.listener)
    assert before is not None
    balancer.forward(site.listener, ((one, 95), (two, 5)))
    site.elb.modify_rule(**json.loads(before.verbatim))
    again = balancer.rule(site.listener)
    assert again is not None
    assert again.shares() == before.shares()


def test_the_tags_of_a_group_are_its_memory(site: Site) -> None:
    """A pin would never be released, and `fleetswap abort` would not be heard."""
    fleet = Fleet(client("autoscaling"), lambda: client("ec2"))
    group = fleet.group("web-a")
    assert group is not None
    assert (group.pin, group.abort, group.scale_in, group.on_demand_pin) == (None, None, None, None)
    fleet.tag(
        "web-a",
        {rollout_tags.PIN: "2", rollout_tags.ABORT: "says\nme", rollout_tags.ON_DEMAND: "0", "other": "x" * 999},
    )
    group = fleet.group("web-a")
    assert group is not None
    assert (group.pin, group.abort, group.on_demand_pin) == (2, "says me", 0)
    fleet.untag("web-a", [rollout_tags.PIN, rollout_tags.ABORT, rollout_tags.SCALE_IN])
    fleet.untag("web-a", [rollout_tags.PIN])
    group = fleet.group("web-a")
    assert group is not None
    assert (group.pin, group.abort, group.on_demand_pin) == (None, None, 0)
    assert site.rules() == []


def test_machines_do_not_inherit_the_tags(aws: None) -> None:
    """Each machine launched during a rollout would carry its pin for ever."""
    del aws
    scaling = client("autoscaling")
    tag = {"ResourceId": "web-a", "ResourceType": "auto-scaling-group", "Key": rollout_tags.PIN}
    with Stubber(scaling) as stub:
        stub.add_response("create_or_update_tags", {}, {"Tags": [{**tag, "Value": "1", "PropagateAtLaunch": False}]})
        Fleet(scaling, lambda: client("ec2")).tag("web-a", {rollout_tags.PIN: "1"})
        stub.add_client_error("delete_tags", "ValidationError", http_status_code=400, expected_params={"Tags": [tag]})
        stub.add_response("describe_auto_scaling_groups", {"AutoScalingGroups": []})
        Fleet(scaling, lambda: client("ec2")).untag("web-a", [rollout_tags.PIN])


def test_a_standby_is_scaled_in_by_aws_itself(site: Site) -> None:
    """A warm standby would cost money until someone deploys again, or be scaled in under the traffic."""
    scaling = client("autoscaling")
    fleet = Fleet(scaling, lambda: client("ec2"))
    assert site.rules() == []
    fleet.cancel_scale_in("web-a")
    fleet.schedule_scale_in("web-a", 7200)
    fleet.schedule_scale_in("web-a", 3600)
    planned = scaling.describe_scheduled_actions(AutoScalingGroupName="web-a")["ScheduledUpdateGroupActions"]
    assert [(plan["ScheduledActionName"], plan["MinSize"], plan["DesiredCapacity"]) for plan in planned] == [
        (rollout_tags.STANDBY_ACTION, 0, 0)
    ]
    assert "MaxSize" not in planned[0], "the greatest size is the program's"
    group = fleet.group("web-a")
    assert group is not None
    assert group.scale_in is not None
    seconds = (datetime.fromisoformat(group.scale_in) - datetime.now(UTC)).total_seconds()
    assert 3000 < seconds <= 3601
    fleet.cancel_scale_in("web-a")
    fleet.cancel_scale_in("web-a")
    assert scaling.describe_scheduled_actions(AutoScalingGroupName="web-a")["ScheduledUpdateGroupActions"] == []
    group = fleet.group("web-a")
    assert group is not None
    assert group.scale_in is None


def test_a_planned_scale_in_is_never_without_its_tag(aws: None) -> None:
    """A deployer that dies between the two would leave a plan that no one knows of."""
    del aws
    scaling = client("autoscaling")
    with Stubber(scaling) as stub:
        stub.add_response("describe_scheduled_actions", {"ScheduledUpdateGroupActions": []})
        stub.add_client_error("create_or_update_tags", "Throttling", http_status_code=400)
        with pytest.raises(TryAgain):
            Fleet(scaling, lambda: client("ec2")).schedule_scale_in("web-a", 60)
        stub.add_client_error("delete_scheduled_action", "ValidationError", http_status_code=400)
        stub.add_response(
            "describe_scheduled_actions", {"ScheduledUpdateGroupActions": [{"AutoScalingGroupName": "x"}]}
        )
        with pytest.raises(CloudError, match="autoscaling:DeleteScheduledAction on web-a: AWS refused"):
            Fleet(scaling, lambda: client("ec2")).cancel_scale_in("web-a")
        stub.assert_no_pending_responses()


def test_the_schedules_of_a_group_are_read_as_they_were_written(site: Site) -> None:
    """A rollback by hand would leave them with what was given up; or take a planned scale-in along as one of them."""
    fleet = Fleet(client("autoscaling"), lambda: client("ec2"))
    assert site.rules() == []
    wanted = (Schedule("day", "0 8 * * 1-5", "Europe/Berlin", 2), Schedule("night", "30 20 * * *", "UTC", 1))
    fleet.follow("web-a", wanted, 1)
    fleet.schedule_scale_in("web-a", 3600)
    found = fleet.schedules("web-a")
    assert found == wanted
    group = fleet.group("web-a")
    assert group is not None
    assert group.follows == digest(found)


def test_images_of_machines(site: Site) -> None:
    """A candidate whose machines run another image would pass."""
    assert site.rules() == []
    fleet = Fleet(client("autoscaling"), lambda: client("ec2"))
    fleet.resize("web-a", minimum=2, desired=2)
    group = fleet.group("web-a")
    assert group is not None
    machines = [machine.id for machine in group.machines]
    image = client("ec2").describe_images(Filters=[{"Name": "name", "Values": ["web"]}])["Images"][0]["ImageId"]
    assert fleet.images([*machines, "i-0123456789abcdef0"]) == dict.fromkeys(machines, image)
    assert fleet.images([]) == {}, "no ids would ask for all machines of the account"


def test_images_of_a_large_fleet(aws: None) -> None:
    """A filter of more than 200 values is refused."""
    del aws
    ec2 = client("ec2")
    ids = [f"i-{number}" for number in range(201)]
    with Stubber(ec2) as stub:
        for some in (ids[:200], ids[200:]):
            answer = {"Reservations": [{"Instances": [{"InstanceId": some[0], "ImageId": "ami-1"}]}]}
            stub.add_response("describe_instances", answer, {"Filters": [{"Name": "instance-id", "Values": some}]})
        assert Fleet(client("autoscaling"), lambda: ec2).images(ids) == {"i-0": "ami-1", "i-200": "ami-1"}
        stub.assert_no_pending_responses()


def test_the_share_of_on_demand_machines(aws: None) -> None:
    """The fallback from spot would lose the instance types, or be refused for naming a launch template twice."""
    del aws
    scaling = client("autoscaling")
    described = {"LaunchTemplateId": "lt-1", "LaunchTemplateName": "web", "Version": "3"}
    written = {"LaunchTemplateId": "lt-1", "Version": "3"}
    named = {"LaunchTemplateName": "arm", "Version": "1"}

    def policy(template: dict[str, str], percent: int) -> dict[str, Any]:
        overrides = [
            {"InstanceType": "t3.micro", "LaunchTemplateSpecification": template},
            {"InstanceType": "t4g.micro", "LaunchTemplateSpecification": named},
        ]
        return {
            "LaunchTemplate": {"LaunchTemplateSpecification": template, "Overrides": overrides},
            "InstancesDistribution": {
                "OnDemandBaseCapacity": 1,
                "OnDemandPercentageAboveBaseCapacity": percent,
                "SpotAllocationStrategy": "price-capacity-optimized",
            },
        }

    group = {
        "AutoScalingGroupName": "web-a",
        "MinSize": 0,
        "MaxSize": 4,
        "DesiredCapacity": 0,
        "DefaultCooldown": 300,
        "AvailabilityZones": [],
        "HealthCheckType": "ELB",
        "CreatedTime": datetime(2026, 1, 1, tzinfo=UTC),
    }
    fleet = Fleet(scaling, lambda: client("ec2"))
    with Stubber(scaling) as stub:
        whole = {**group, "MixedInstancesPolicy": policy(described, 20)}
        stub.add_response("describe_auto_scaling_groups", {"AutoScalingGroups": [whole]})
        stub.add_response(
            "update_auto_scaling_group",
            {},
            {"AutoScalingGroupName": "web-a", "MixedInstancesPolicy": policy(written, 100)},
        )
        fleet.on_demand("web-a", 100)
        stub.add_response("describe_auto_scaling_groups", {"AutoScalingGroups": [whole]})
        found = fleet.group("web-a")
        assert found is not None
        assert found.on_demand_percent == 20
        stub.add_response("describe_auto_scaling_groups", {"AutoScalingGroups": [group]})
        fleet.on_demand("web-a", 100)  # a group of one launch template has no policy to change
        stub.assert_no_pending_responses()


def test_people_are_told(aws: None) -> None:
    """The message would not arrive, or could not be filtered for what has gone wrong."""
    del aws
    sns = client("sns")
    alarm = Finding(Check.ALARMS, Verdict.PROMOTE, subject="web-5xx", value="OK")
    notice = Notice(Ending.ABORTED, "wéb", "web-b", "web-a", "5xx: candidate 7 of 120", "web-a", (alarm,))
    asked = {
        "TopicArn": "arn:aws:sns:us-east-1:1:ops",
        "Subject": "w?b: rollout of web-b aborted",
        "Message": notice.text,
        "MessageAttributes": {
            "service": {"DataType": "String", "StringValue": "wéb"},
            "ending": {"DataType": "String", "StringValue": "aborted"},
            "release": {"DataType": "String", "StringValue": "web-b"},
        },
    }
    with Stubber(sns) as stub:
        stub.add_response("publish", {"MessageId": "1"}, asked)
        Topic(sns, "arn:aws:sns:us-east-1:1:ops").tell(notice)
        stub.add_response("publish", {"MessageId": "2"}, {**asked, "Subject": ANY, "Message": ANY})
        Topic(sns, "arn:aws:sns:us-east-1:1:ops").tell(replace(notice, reason="é" * 200_000))
        stub.add_client_error("publish", "NotFound", http_status_code=404, service_message="Topic does not exist")
        with pytest.raises(CloudError, match=r"^sns:Publish on \S+: not found: .*NotFound: Topic"):
            Topic(sns, "arn:aws:sns:us-east-1:1:ops").tell(notice)


def test_a_published_message_fits(aws: None) -> None:
    """A long console, or a service with a long name, would make the one message fail."""
    del aws
    sns = client("sns")
    arn = sns.create_topic(Name="ops")["TopicArn"]
    Topic(sns, arn).tell(Notice(Ending.FAILED, "w" * 300, "web-b", None, "é" * 200_000, "nothing"))


def test_a_template_that_may_not_be_used_names_the_rights_that_it_takes() -> None:
    """AWS names no action here; whoever looks for autoscaling:UpdateAutoScalingGroup has it already."""
    answer: Any = {"Error": {"Code": "AccessDenied", "Message": "You are not authorized to use launch template: lt-1"}}
    with pytest.raises(CloudError) as caught, explained("autoscaling:UpdateAutoScalingGroup", "web-1"):
        raise ClientError(answer, "UpdateAutoScalingGroup")
    told = "UpdateAutoScalingGroup on web-1: access denied: allow ec2:RunInstances, ec2:CreateTags and iam:PassRole in"
    assert told in str(caught.value)


def test_a_fifo_topic_is_told_of_each_end(aws: None) -> None:
    """Nobody would be told of a failed deploy: SNS refuses a message to such a topic that belongs to no group."""
    del aws
    sns, sqs = client("sns"), client("sqs")
    arn = sns.create_topic(Name="ops.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
    queue = sqs.create_queue(QueueName="ops.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    its_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=its_arn)
    for _ in range(2):
        Topic(sns, arn).tell(Notice(Ending.FAILED, "web", "web-b", None, "reason", "nothing"))
    told = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, AttributeNames=["All"])["Messages"]
    assert len(told) == 2, "two ends that read alike"
    assert {message["Attributes"]["MessageGroupId"] for message in told} == {"web"}


def test_a_topic_is_asked_in_its_own_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic of another region does not exist in ours, and nobody would be told."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    region = region_of("arn:aws:sns:eu-west-1:123456789012:ops")
    assert Cloud("us-east-1").sns(region).meta.region_name == "eu-west-1"
    assert Cloud("us-east-1").sns().meta.region_name == "us-east-1"


def test_failed_activities_are_read(aws: None) -> None:
    """A launch that fails would be waited for in silence until the deadline."""
    del aws
    scaling = client("autoscaling")
    common = {"AutoScalingGroupName": "web-a", "Cause": "a user request", "StartTime": "2026-01-01T00:00:00Z"}
    activities = [
        {"ActivityId": "1", "StatusCode": "Failed", "StatusMessage": "no such AMI. Launching failed.", **common},
        {"ActivityId": "2", "StatusCode": "Successful", **common},
        {"ActivityId": "3", "StatusCode": "Failed", "Description": "Launching", **common},
        {
            "ActivityId": "4",
            "StatusCode": "Cancelled",
            "StatusMessage": "Instance became unhealthy while waiting for instance to be in InService state."
            " Termination Reason: Client.InvalidKMSKey.InvalidState: The KMS key provided is in an incorrect state",
            **common,
            "Cause": "another",
        },
        {"ActivityId": "5", "StatusCode": "Cancelled", "Description": "Launching a new EC2 instance: i-1", **common},
        {"ActivityId": "6", "StatusCode": "Failed", "Description": "Terminating EC2 instance: i-2", **common},
    ]
    with Stubber(scaling) as stub:
        stub.add_response("describe_scaling_activities", {"Activities": activities})
        found = Fleet(scaling, lambda: client("ec2")).failures("web-a")
    assert [(each.id, each.attempt) for each in found] == [
        ("1", "a user request"),
        ("3", "a user request"),
        ("4", "another"),
    ]
    assert [each.message for each in found[:2]] == ["no such AMI. Launching failed.", "Launching"]
    assert found[2].is_of_a_key


def test_a_group_that_is_gone_has_no_failures(site: Site) -> None:
    """A group deleted by hand would end the deploy with AWS's own words, which tell no remedy."""
    assert site.rules() == []
    assert Fleet(client("autoscaling"), lambda: client("ec2")).failures("gone") == ()


def test_console_of_an_old_instance_type(aws: None) -> None:
    """Instance types without `Latest` would have no console in the message at all."""
    del aws
    ec2 = client("ec2")
    with Stubber(ec2) as stub:
        stub.add_client_error("get_console_output", "UnsupportedOperation", http_status_code=400)
        stub.add_response("get_console_output", {"Output": "Kernel panic"}, {"InstanceId": "i-1"})
        assert Fleet(client("autoscaling"), lambda: ec2).console("i-1") == "Kernel panic"
        stub.add_client_error("get_console_output", "InvalidInstanceID.NotFound", http_status_code=400)
        with pytest.raises(
            CloudError, match=r"ec2:GetConsoleOutput on i-1: not found: .* \(InvalidInstanceID.NotFound\)"
        ):
            Fleet(client("autoscaling"), lambda: ec2).console("i-1")


def failed(code: str, status: int, message: str = "") -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "ModifyRule")


@pytest.mark.parametrize(
    "error",
    [
        failed("Throttling", 400),
        failed("RequestLimitExceeded", 503),
        failed("TooManyRequestsException", 429),
        failed("InternalFailure", 500),
        failed("", 502),
        failed("ResourceContention", 500),
        failed("ScalingActivityInProgress", 400),
        EndpointConnectionError(endpoint_url="http://x"),
        ConnectTimeoutError(endpoint_url="http://x"),
    ],
    ids=str,
)
def test_what_passes_is_unavailable(error: Exception) -> None:
    """A throttle would be taken for a refusal, and end a deploy or a put-back that only had to wait."""
    with pytest.raises(TryAgain, match="elasticloadbalancing:ModifyRule on arn:rule") as caught, call():
        raise error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            failed("AccessDenied", 403, "User: arn:... is not authorized"),
            "access denied: allow elasticloadbalancing:Mod",
        ),
        (failed("UnauthorizedOperation", 403), "access denied: allow elasticloadbalancing:Mod"),
        (failed("RuleNotFound", 400, "One or more\nrules not found"), "RuleNotFound: One or more rules not found"),
        (failed("ValidationError", 400, "too big"), "ValidationError: too big"),
        (NoCredentialsError(), "no AWS credentials: set AWS_PROFILE"),
    ],
    ids=str,
)
def test_what_lasts_is_told_in_one_line(error: Exception, words: str) -> None:
    """A missing permission would be retried for minutes, or told without its name."""
    with pytest.raises(CloudError, match=words) as caught, call():
        raise error
    assert not isinstance(caught.value, TryAgain)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


def call() -> Any:
    return explained("elasticloadbalancing:ModifyRule", "arn:rule")


def test_who_asks_about_groups_alone_makes_no_client_of_ec2() -> None:
    """Every preview would read the model of EC2, a third of the time in which its rollout looks at what is real."""
    made: list[Cloud] = []

    class Counted(Cloud):
        def ec2(self) -> Any:
            made.append(self)

    adapters = Adapters(Counted("us-east-1"), stack="p/s", service="web", listener="arn:listener", tags={})
    with Stubber(cast("Any", adapters.fleet)._autoscaling) as stub:
        stub.add_response("describe_auto_scaling_groups", {"AutoScalingGroups": []})
        assert adapters.fleet.group("web-a") is None
    assert made == []
