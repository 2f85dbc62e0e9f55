"""`fleetswap drill` against the local cloud: a fleet that can be rolled back, and each thing that can break that."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fleetswap.aws.account import Account
from fleetswap.aws.rollout.balancer import Balancer
from fleetswap.aws.rollout.previews import Previews
from fleetswap.aws.rollout.probe import HttpProber
from fleetswap.aws.rollout.switch import Switch
from fleetswap.aws.session import Cloud
from fleetswap.cli import locate
from fleetswap.cli.drill import plain, world_of
from fleetswap.domain import tags
from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.health import Answer
from fleetswap.workflows.rollout.drill import CHECKS, World, drill
from tests.cli.conftest import Local, Ran
from tests.fakes.ebs import BLOCK, disk_bytes
from tests.fakes.localcloud import Served, serve

STACK, SERVICE = "shop/prod", "web"
TAGS = tags.policy(STACK, SERVICE, name=SERVICE)
STANDBY, LIVE = "web-a", "web-b"
SCHEDULER, EC2 = "scheduler.amazonaws.com", "ec2.amazonaws.com"

Cli = Callable[..., Ran]


def listed(given: dict[str, str]) -> list[dict[str, str]]:
    """Tags as AWS takes them."""
    return [{"Key": key, "Value": value} for key, value in given.items()]


def trusting(principal: str) -> str:
    """The trust policy of a role that a service assumes."""
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": principal}}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def allowing(**statement: object) -> str:
    """A policy of one statement."""
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", **statement}]})


def same(client: Any, _region: str = "") -> Any:
    """The client that there is."""
    return client


class Fleet:
    """A service as a rollout leaves it: one machine of the standby is warm, two of the live release have the traffic.

    The group of the standby launches what `launch` says; its parts are the test's to break.
    """

    numbers = itertools.count(1)

    def __init__(self, served: Served) -> None:
        self.served = served
        cloud = Cloud("us-east-1", served.endpoint)
        self.iam, self.kms = cloud.iam(), cloud.kms("us-east-1")
        self.elb: Any = cloud.elbv2()
        self.scaling: Any = cloud.autoscaling()
        self.ec2: Any = cloud.ec2()
        self.scheduler: Any = cloud.scheduler()
        self.key = self.kms.create_key()["KeyMetadata"]["Arn"]
        self.vpc = self.ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        self.subnets = [self.subnet(f"10.7.{number}.0/24", zone) for number, zone in enumerate("ab")]
        self.group = self.security_group()
        self.iam.create_role(RoleName="web-switch-1", AssumeRolePolicyDocument=trusting(SCHEDULER), Tags=listed(TAGS))
        self.modify = allowing(Action="elasticloadbalancing:ModifyRule")
        self.iam.put_role_policy(RoleName="web-switch-1", PolicyName="switch", PolicyDocument=self.modify)
        self.role = self.iam.get_role(RoleName="web-switch-1")["Role"]["Arn"]
        self.allow_launches()
        self.snapshot, self.image = self.ami()
        self.good = self.template(ImageId=self.image, SecurityGroupIds=[self.group])
        self.listener = self.make_listener()
        self.arns = {name: self.release(name, count) for name, count in ((STANDBY, 1), (LIVE, 2))}
        self.balancer = Balancer(self.elb, tags=TAGS)
        self.balancer.forward(self.listener, ((self.arns[LIVE], 100),))
        self.balancer.tag(
            self.listener,
            {rollout_tags.LIVE: LIVE, rollout_tags.STANDBY: STANDBY, rollout_tags.BOOTS: "2/30/41"},
        )
        self.switch = Switch(self.scheduler, service=SERVICE, stack=STACK, listener=self.listener, role=self.role)
        self.iam.create_user(UserName="operator")
        self.may(Action="*")
        self.world: World | None = None
        self.at: Any = None
        self.credentials = self.iam.create_access_key(UserName="operator")["AccessKey"]

    def connect(self) -> None:
        """Find the service as whoever runs the drill. Each client is made once: that takes longer than what it asks."""
        self.at = locate.find(SERVICE, None, None, self.served.endpoint)
        cloud = self.at.cloud
        for name in ("iam", "scheduler", "service_quotas", "elbv2", "ec2", "autoscaling", "sts"):
            setattr(cloud, name, partial(same, getattr(cloud, name)()))
        cloud.kms = partial(same, cloud.kms("us-east-1"))
        cloud.small_ec2 = cloud.ec2
        self.world = world_of(self.at)

    def may(self, **statement: object) -> None:
        """What whoever runs the drill may do."""
        self.iam.put_user_policy(UserName="operator", PolicyName="own", PolicyDocument=allowing(**statement))

    def allow_launches(self) -> None:
        """The key's own policy, and a grant for Auto Scaling's service-linked role, which AWS makes with a group."""
        role = "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
        account = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*"}
        scaling = {"Effect": "Allow", "Principal": "*", "Action": "kms:*"}
        scaling["Condition"] = {"ArnEquals": {"aws:PrincipalArn": role}}  # type: ignore[assignment]
        self.account_only = json.dumps({"Version": "2012-10-17", "Statement": [{**account, "Resource": "*"}]})
        statements = [{**account, "Resource": "*"}, {**scaling, "Resource": "*"}]
        self.for_all = json.dumps({"Version": "2012-10-17", "Statement": statements})
        self.kms.put_key_policy(KeyId=self.key, PolicyName="default", Policy=self.for_all)

    def subnet(self, block: str, zone: str) -> str:
        made = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=block, AvailabilityZone=f"us-east-1{zone}")
        return str(made["Subnet"]["SubnetId"])

    def security_group(self) -> str:
        name = f"machines-{next(self.numbers)}"
        return str(self.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.vpc)["GroupId"])

    def ami(self) -> tuple[str, str]:
        """A snapshot that the key encrypts, and an AMI of it."""
        plain = Local(self.served.endpoint).hold(lambda _: {0: disk_bytes(["data"], BLOCK, seed=1)})
        snapshot = self.ec2.copy_snapshot(
            SourceSnapshotId=plain, SourceRegion="us-east-1", Encrypted=True, KmsKeyId=self.key
        )["SnapshotId"]
        image = self.ec2.register_image(
            Name=f"web-{next(self.numbers)}",
            Architecture="x86_64",
            RootDeviceName="/dev/xvda",
            VirtualizationType="hvm",
            EnaSupport=True,
            BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}],
        )["ImageId"]
        return snapshot, image

    def template(self, **data: object) -> str:
        """A launch template of this."""
        made = self.ec2.create_launch_template(
            LaunchTemplateName=f"web-{next(self.numbers)}", LaunchTemplateData={"InstanceType": "t3.nano", **data}
        )
        return str(made["LaunchTemplate"]["LaunchTemplateId"])

    def make_listener(self) -> str:
        balancer = self.elb.create_load_balancer(Name=SERVICE, Subnets=self.subnets, Tags=listed(TAGS))
        made = self.elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancers"][0]["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}],
            Tags=listed(TAGS),
        )
        return str(made["Listeners"][0]["ListenerArn"])

    def release(self, name: str, count: int) -> str:
        made = self.elb.create_target_group(Name=name, Protocol="HTTP", Port=8080, VpcId=self.vpc)
        arn = str(made["TargetGroups"][0]["TargetGroupArn"])
        given = tags.policy(STACK, SERVICE, name=name, release=name)
        self.previews(given).ensure(name, arn, given)
        of_group = {"ResourceId": name, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": True}
        self.scaling.create_auto_scaling_group(
            AutoScalingGroupName=name,
            MinSize=0,
            MaxSize=4,
            DesiredCapacity=count,
            MixedInstancesPolicy=self.policy(self.good),
            VPCZoneIdentifier=",".join(self.subnets),
            TargetGroupARNs=[arn],
            Tags=[{**each, **of_group} for each in listed({**given, tags.KEYS: self.key})],
        )
        return arn

    def previews(self, given: dict[str, str]) -> Previews:
        return Previews(self.elb, self.listener, tags=given)

    @staticmethod
    def policy(template: str, types: tuple[str, ...] = ("t3.nano", "t3a.nano")) -> dict[str, Any]:
        return {
            "LaunchTemplate": {
                "LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "1"},
                "Overrides": [{"InstanceType": each} for each in types],
            },
            "InstancesDistribution": {"OnDemandBaseCapacity": 4, "OnDemandPercentageAboveBaseCapacity": 0},
        }

    def update(self, **group: object) -> None:
        """Change the standby's group."""
        self.scaling.update_auto_scaling_group(AutoScalingGroupName=STANDBY, **group)

    @contextmanager
    def launching(self, template: str) -> Iterator[None]:
        """The standby's group launches with another launch template meanwhile."""
        self.update(MixedInstancesPolicy=self.policy(template))
        try:
            yield
        finally:
            self.update(MixedInstancesPolicy=self.policy(self.good))


@pytest.fixture(scope="module")
def fleet(_local_cloud: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One for all tests; each leaves it as it found it. Made by the root."""
    with pytest.MonkeyPatch.context() as patch, serve(tmp_path_factory.mktemp("cloud"), healthy=True) as served:
        patch.setenv("AWS_ACCESS_KEY_ID", "local")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "local")
        patch.delenv("AWS_PROFILE", raising=False)
        yield Fleet(served)


@pytest.fixture(autouse=True)
def as_operator(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The drill runs as a user of IAM, elsewhere than in a project. The standby responds; nothing else listens here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", fleet.served.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", fleet.credentials["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", fleet.credentials["SecretAccessKey"])
    responds(monkeypatch, Answer(200))
    if fleet.world is None:
        fleet.connect()


def responds(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    """What the standby responds through its preview rule."""
    monkeypatch.setattr(HttpProber, "get", lambda *_args, **_options: answer)


def tried(fleet: Fleet, to: str | None = None) -> dict[str, Any]:
    """What a drill finds."""
    assert fleet.world is not None
    return plain(drill(fleet.at.service, to, fleet.world))


# Each breaks one thing, and repairs it.


@contextmanager
def deregistered_ami(fleet: Fleet) -> Iterator[None]:
    _, image = fleet.ami()
    with fleet.launching(fleet.template(ImageId=image, SecurityGroupIds=[fleet.group])):
        fleet.ec2.deregister_image(ImageId=image)
        yield


@contextmanager
def deleted_snapshot(fleet: Fleet) -> Iterator[None]:
    """AWS refuses to delete the snapshot of an AMI, and takes one back from sharing: here it is not shown."""
    ec2 = fleet.at.cloud.ec2()
    found = ec2.describe_snapshots

    def without(**asked: Any) -> Any:
        return {"Snapshots": [each for each in found(**asked)["Snapshots"] if each["SnapshotId"] != fleet.snapshot]}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ec2, "describe_snapshots", without)
        yield


@contextmanager
def disabled_key(fleet: Fleet) -> Iterator[None]:
    fleet.kms.disable_key(KeyId=fleet.key)
    try:
        yield
    finally:
        fleet.kms.enable_key(KeyId=fleet.key)


@contextmanager
def doomed_key(fleet: Fleet) -> Iterator[None]:
    fleet.kms.schedule_key_deletion(KeyId=fleet.key, PendingWindowInDays=7)
    try:
        yield
    finally:
        fleet.kms.cancel_key_deletion(KeyId=fleet.key)
        fleet.kms.enable_key(KeyId=fleet.key)


@contextmanager
def key_for_nobody(fleet: Fleet) -> Iterator[None]:
    fleet.kms.put_key_policy(KeyId=fleet.key, PolicyName="default", Policy=fleet.account_only)
    try:
        yield
    finally:
        fleet.kms.put_key_policy(KeyId=fleet.key, PolicyName="default", Policy=fleet.for_all)


@contextmanager
def deleted_template(fleet: Fleet) -> Iterator[None]:
    template = fleet.template(ImageId=fleet.image, SecurityGroupIds=[fleet.group])
    with fleet.launching(template):
        fleet.ec2.delete_launch_template(LaunchTemplateId=template)
        yield


@contextmanager
def small_group(fleet: Fleet) -> Iterator[None]:
    fleet.update(MaxSize=1)
    try:
        yield
    finally:
        fleet.update(MaxSize=4)


@contextmanager
def suspended_launches(fleet: Fleet) -> Iterator[None]:
    fleet.scaling.suspend_processes(AutoScalingGroupName=STANDBY, ScalingProcesses=["Launch"])
    try:
        yield
    finally:
        fleet.scaling.resume_processes(AutoScalingGroupName=STANDBY, ScalingProcesses=["Launch"])


@contextmanager
def full_subnets(fleet: Fleet) -> Iterator[None]:
    found = fleet.ec2.describe_subnets()["Subnets"]
    full = {"Subnets": [{**each, "AvailableIpAddressCount": 0} for each in found if each["SubnetId"] in fleet.subnets]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fleet.at.cloud.ec2(), "describe_subnets", lambda **_asked: full)
        yield


@contextmanager
def small_quota(fleet: Fleet) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        quota = {"Quota": {"Value": 5.0}}  # of a new account; three machines of two vCPUs run
        patch.setattr(fleet.at.cloud.service_quotas(), "get_service_quota", lambda **_asked: quota)
        yield


@contextmanager
def no_preview_rule(fleet: Fleet) -> Iterator[None]:
    given = tags.policy(STACK, SERVICE, name=STANDBY, release=STANDBY)
    fleet.previews(given).remove(STANDBY)
    try:
        yield
    finally:
        fleet.previews(given).ensure(STANDBY, fleet.arns[STANDBY], given)


@contextmanager
def failing_standby(_fleet: Fleet) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        responds(patch, Answer(500))
        yield


@contextmanager
def unhealthy_standby(fleet: Fleet) -> Iterator[None]:
    fleet.served.ask("POST", "target-health", {"state": "unhealthy"})
    try:
        yield
    finally:
        fleet.served.ask("POST", "target-health", {"state": "healthy"})


@contextmanager
def distrusting_role(fleet: Fleet) -> Iterator[None]:
    fleet.iam.update_assume_role_policy(RoleName="web-switch-1", PolicyDocument=trusting(EC2))
    try:
        yield
    finally:
        fleet.iam.update_assume_role_policy(RoleName="web-switch-1", PolicyDocument=trusting(SCHEDULER))


@contextmanager
def powerless_role(fleet: Fleet) -> Iterator[None]:
    less = allowing(Action="elasticloadbalancing:DescribeRules")
    fleet.iam.put_role_policy(RoleName="web-switch-1", PolicyName="switch", PolicyDocument=less)
    try:
        yield
    finally:
        fleet.iam.put_role_policy(RoleName="web-switch-1", PolicyName="switch", PolicyDocument=fleet.modify)


@contextmanager
def deleted_subnet(fleet: Fleet) -> Iterator[None]:
    lost = fleet.subnet("10.7.9.0/24", "a")
    fleet.update(VPCZoneIdentifier=",".join([*fleet.subnets, lost]))
    fleet.ec2.delete_subnet(SubnetId=lost)
    try:
        yield
    finally:
        fleet.update(VPCZoneIdentifier=",".join(fleet.subnets))


@contextmanager
def deleted_security_group(fleet: Fleet) -> Iterator[None]:
    lost = fleet.security_group()
    with fleet.launching(fleet.template(ImageId=fleet.image, SecurityGroupIds=[lost])):
        fleet.ec2.delete_security_group(GroupId=lost)
        yield


@contextmanager
def withdrawn_type(_fleet: Fleet) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Account, "offered", lambda *_asked: frozenset())
        yield


@contextmanager
def missing_permission(fleet: Fleet) -> Iterator[None]:
    fleet.iam.put_user_policy(
        UserName="operator",
        PolicyName="own",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {"Effect": "Allow", "NotAction": "autoscaling:UpdateAutoScalingGroup", "Resource": "*"},
                ],
            }
        ),
    )
    try:
        yield
    finally:
        fleet.may(Action="*")


@contextmanager
def armed_switch(fleet: Fleet) -> Iterator[None]:
    rule = fleet.balancer.rule(fleet.listener)
    assert rule is not None
    fleet.switch.arm(600, rule, "a run")
    try:
        yield
    finally:
        fleet.switch.disarm(None)


@contextmanager
def sticky_rule(fleet: Fleet) -> Iterator[None]:
    """A person has made the rule sticky."""
    rule = fleet.balancer.rule(fleet.listener)
    assert rule is not None
    written = json.loads(rule.verbatim)
    written["Actions"][0]["ForwardConfig"]["TargetGroupStickinessConfig"] = {"Enabled": True, "DurationSeconds": 60}
    fleet.elb.modify_rule(**written)
    try:
        yield
    finally:
        fleet.balancer.restore(fleet.listener, rule)


BREAKAGES: dict[Callable[[Fleet], AbstractContextManager[None]], tuple[str, str]] = {
    deregistered_ami: ("ami", "does not exist: it was deregistered"),
    deleted_snapshot: ("snapshot", "does not exist"),
    disabled_key: ("keys", "is Disabled"),
    doomed_key: ("keys", "is PendingDeletion"),
    key_for_nobody: ("keys", "lets EC2 Auto Scaling use it"),
    deleted_template: ("template", "does not exist"),
    small_group: ("group", "web-a may have 1 machine, and 2 machines serve now"),
    suspended_launches: ("group", "of web-a, Launch is suspended"),
    full_subnets: ("addresses", "1 machine would start, and the subnets have 0 free addresses"),
    small_quota: ("quota", "1 On-Demand would start, and there is room for 0"),
    no_preview_rule: ("preview", "the listener has no preview rule of web-a"),
    failing_standby: ("preview", "web-a responds with status 500"),
    unhealthy_standby: ("health", "web-a has 0 of 1 machine healthy"),
    distrusting_role: ("switch", "EventBridge Scheduler cannot assume arn:aws:iam::123456789012:role/web-switch-1"),
    powerless_role: ("switch", "do not let it modify the listener's rule"),
    deleted_subnet: ("network", "does not exist"),
    deleted_security_group: ("network", "does not exist"),
    withdrawn_type: ("types", "no zone of the subnets offers t3.nano, t3a.nano"),
    missing_permission: ("permissions", "autoscaling:UpdateAutoScalingGroup on arn:aws:autoscaling:"),
    armed_switch: ("rollout", "the dead man's switch is armed in "),
    sticky_rule: ("rule", "it has stickiness"),
}
"""What breaks a rollback: the check that names it, and its words."""


ROUNDS: tuple[tuple[Callable[[Fleet], AbstractContextManager[None]], ...], ...] = (
    (disabled_key, small_group, full_subnets, small_quota, no_preview_rule, distrusting_role, missing_permission),
    (doomed_key, suspended_launches, failing_standby, powerless_role, deleted_subnet, withdrawn_type, sticky_rule),
    (key_for_nobody, unhealthy_standby, deleted_security_group, armed_switch),
    (deleted_snapshot,),
    (deregistered_ami,),
    (deleted_template,),
)
"""What is broken at the same time, each in a check of its own: one drill names them all."""


@pytest.fixture(scope="module")
def drilled() -> dict[int, dict[str, Any]]:
    """What the drills of the rounds have found so far."""
    return {}


@pytest.mark.parametrize("broken", BREAKAGES, ids=lambda each: each.__name__)
def test_what_breaks_a_rollback_is_named(
    fleet: Fleet, drilled: dict[int, dict[str, Any]], broken: Callable[[Fleet], AbstractContextManager[None]]
) -> None:
    """It would be found out when users wait for the rollback."""
    number = next(number for number, each in enumerate(ROUNDS) if broken in each)
    if number not in drilled:
        with ExitStack() as all_of_them:
            for each in ROUNDS[number]:
                all_of_them.enter_context(each(fleet))
            drilled[number] = tried(fleet)
    result = drilled[number]
    failed = {each["check"]: each for each in result["checks"] if each["state"] == "failed"}
    assert set(failed) == {BREAKAGES[each][0] for each in ROUNDS[number]}, result
    check, words = BREAKAGES[broken]
    assert words in failed[check]["detail"]
    assert failed[check]["remedy"], "what to do"
    assert result["proved"] is False
    assert "unknown" not in {each["state"] for each in result["checks"]}


def test_a_fleet_that_can_be_rolled_back(cli: Cli, fleet: Fleet) -> None:
    """A rollback that works would be said not to, or a schedule of the drill would be left."""
    ran = cli("drill", "--service", SERVICE, "--json", "--strict")
    assert (ran.status, ran.err) == (0, "")
    result = ran.result
    assert {each["state"] for each in result["checks"]} == {"ok"}, result
    assert [each["check"] for each in result["checks"]] == list(CHECKS)
    assert (result["proved"], result["release"], result["from"]) == (True, STANDBY, LIVE)
    assert (result["warm"], result["seconds"]) == (False, 46.0), "41 s is the slowest boot"
    assert fleet.scheduler.list_schedules()["Schedules"] == []


def test_the_live_release_is_what_the_next_deploy_is_rolled_back_to(fleet: Fleet) -> None:
    """The comment of a pull request would prove a rollback that nobody will need after it."""
    result = tried(fleet, "live")
    assert (result["release"], result["proved"], result["warm"]) == (LIVE, True, True)


def test_a_role_that_may_only_read_proves_nothing_that_it_cannot_see(cli: Cli, fleet: Fleet) -> None:
    """The preview's role would find a rollback proved that nobody has tried, or fail each pull request."""
    fleet.may(Action=["autoscaling:Describe*", "elasticloadbalancing:Describe*", "scheduler:GetSchedule"])
    try:
        ran = cli("drill", "--service", SERVICE)
        strict = cli("drill", "--service", SERVICE, "--strict", "--json")
    finally:
        fleet.may(Action="*")
    states = {line.split()[1]: line.split()[0] for line in ran.out.splitlines()[1:-1]}
    assert {name for name, state in states.items() if state == "ok"} == {
        "rollout",
        "rule",
        "health",
        "preview",
        "group",
    }
    assert set(states.values()) == {"ok", "unknown"}
    assert ran.status == 0
    assert "warning: whether a rollback to web-a works is not proved: 11 checks (template, " in ran.err
    assert (strict.status, strict.result["proved"]) == (1, None)


def test_two_names_of_a_release_are_refused(cli: Cli) -> None:
    """One of them would be ignored."""
    assert cli("drill", "--live", "--to", STANDBY).status == 2
