"""Each action that our own code calls, taken out of an otherwise complete policy: the error names it, with the remedy.

Against the local cloud's control plane, through the adapters that a deploy uses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from fleetswap.aws import dashboards
from fleetswap.aws.account import Account
from fleetswap.aws.image.block_writer import BlockPuts
from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.aws.image.protection import lift, protect
from fleetswap.aws.image.snapshots import exists, write_tags
from fleetswap.aws.key_policies import KeyPolicy
from fleetswap.aws.keys import Keys
from fleetswap.aws.network import Networks
from fleetswap.aws.quotas import Quotas
from fleetswap.aws.rollout.adapters import Adapters
from fleetswap.aws.rollout.finder import Finder
from fleetswap.aws.rollout.fronts import Fronts
from fleetswap.aws.rollout.identity import Identity
from fleetswap.aws.rollout.launch_parts import LaunchParts
from fleetswap.aws.session import Cloud
from fleetswap.domain import tags
from fleetswap.domain.drill.seen import Launches
from fleetswap.domain.errors import CloudError
from fleetswap.domain.image.blocks import digest
from fleetswap.domain.image.snapshots import Start
from fleetswap.domain.permissions.purposes import Purpose
from fleetswap.domain.permissions.simulate import Question
from fleetswap.domain.release.hardware import Range, Requirements
from fleetswap.domain.rollout.model import Rule
from fleetswap.domain.rollout.notices import Ending, Notice
from fleetswap.domain.rollout.warm_pool import EMPTY
from tests.fakes.ebs import BLOCK, nothing
from tests.fakes.localcloud import serve
from tests.permissions.scopes import EVERYTHING, GUEST
from tests.permissions.test_policies import actions
from tests.rollout.test_local_cloud import Site

REGION, STACK, SERVICE = "us-east-1", "shop/prod", "web"
TAGS = tags.policy(STACK, SERVICE, name=SERVICE)
ROLE = "arn:aws:iam::123456789012:role/web-switch-1"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


@dataclass(frozen=True)
class Scene:
    """A service on a local cloud: a root that has made it, and the adapters of a user."""

    root: Any
    """Makes a client of the root."""
    site: Site
    cloud: Cloud
    aws: Adapters
    bare: str
    """A listener without a rule of ours."""
    vpc: str
    snapshot: str
    pending: str
    topic: str

    def without(self, action: str) -> None:
        """From now on, the user may do everything but this."""
        statement = {"Effect": "Allow", "NotAction": action, "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.root("iam").put_user_policy(UserName="deployer", PolicyName="own", PolicyDocument=document)

    @property
    def ebs(self) -> DirectSnapshots:
        return DirectSnapshots(*self.cloud.ebs_and_ec2(1))

    @property
    def fronts(self) -> Fronts:
        return Fronts(self.cloud, TAGS)

    def arm(self) -> None:
        self.aws.switch.arm(600, self.rule, "a run")

    def arm_anew(self) -> None:
        self.aws.switch.disarm(None)
        self.arm()

    @property
    def rule(self) -> Rule:
        found = self.aws.balancer.rule(self.site.listener)
        assert found is not None
        return found

    @property
    def key_policy(self) -> KeyPolicy:
        made = self.root("kms").create_key()["KeyMetadata"]["Arn"]
        return KeyPolicy(self.cloud.kms(REGION), made)

    def put(self) -> None:
        ebs, _ = self.cloud.ebs_and_ec2(1)
        line = BlockPuts.of(self.cloud, ebs).connect()
        try:
            line.put(self.pending, 0, bytes(BLOCK), digest(bytes(BLOCK)), nothing)
        finally:
            line.close()


@pytest.fixture(scope="module")
def scene(_local_cloud: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Made by the root, before the user's first call."""
    with pytest.MonkeyPatch.context() as patch, serve(tmp_path_factory.mktemp("cloud")) as served:
        patch.delenv("AWS_PROFILE", raising=False)

        def root(service: str) -> Any:
            return boto3.client(
                service,  # type: ignore[call-overload] # any service's name
                endpoint_url=served.endpoint,
                region_name=REGION,
                aws_access_key_id="local",
                aws_secret_access_key="local",  # noqa: S106 - no secret: the local cloud takes anything
            )

        def become(key: str, secret: str) -> Cloud:
            patch.setenv("AWS_ACCESS_KEY_ID", key)
            patch.setenv("AWS_SECRET_ACCESS_KEY", secret)
            cloud = Cloud(REGION, served.endpoint)
            cloud.sts()
            return cloud

        site = Site(become("local", "local"))
        iam = root("iam")
        iam.create_role(RoleName="web-switch-1", AssumeRolePolicyDocument=json.dumps(TRUST))
        elb = site.elb
        balancer = elb.describe_load_balancers()["LoadBalancers"][0]
        fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}
        bare = elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=81, DefaultActions=[fixed]
        )["Listeners"][0]["ListenerArn"]
        listed = [{"Key": key, "Value": value} for key, value in TAGS.items()]
        elb.add_tags(ResourceArns=[balancer["LoadBalancerArn"], site.listener, bare], Tags=listed)
        iam.create_user(UserName="deployer")
        made = iam.create_access_key(UserName="deployer")["AccessKey"]
        ebs = root("ebs")
        snapshot, pending = (str(ebs.start_snapshot(VolumeSize=1)["SnapshotId"]) for _ in range(2))
        ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=0)
        topic = root("sns").create_topic(Name="deploys")["TopicArn"]
        cloud = become(made["AccessKeyId"], made["SecretAccessKey"])
        aws = Adapters(cloud, stack=STACK, service=SERVICE, listener=site.listener, tags=TAGS, switch_role=ROLE)
        scene = Scene(root, site, cloud, aws, bare, balancer["VpcId"], snapshot, pending, topic)
        scene.without("none:Nothing")
        aws.balancer.forward(site.listener, ((site.target_groups[0], 100),))
        scene.arm()
        aws.fleet.schedule_scale_in("web-a", 600)
        yield scene


IMAGE = "ami-0a1b2c3d4e5f60718"
LAUNCHES = Launches("arn", "lt-0a1b2c3d4e5f60718", "1", ())
USER = "arn:aws:iam::123456789012:user/deployer"


def find(scene: Scene) -> None:
    Finder(scene.cloud.elbv2(), scene.cloud.autoscaling()).find(SERVICE)


def notify(scene: Scene) -> None:
    notifier = scene.aws.notifier(scene.topic)
    assert notifier is not None
    notifier.tell(Notice(Ending.SUCCEEDED, SERVICE, "web-1", None, "", "web-1"))


LAUNCHING = "ec2:RunInstances, ec2:CreateTags and iam:PassRole"
"""What AWS says of a launch template names no action (see `fleetswap.aws.errors`)."""

CALLS: dict[str, tuple[Callable[[Scene], object], ...]] = {
    "autoscaling:CreateOrUpdateTags": (lambda s: s.aws.fleet.tag("web-a", {"a": "b"}),),
    "autoscaling:DeleteScheduledAction": (lambda s: s.aws.fleet.cancel_scale_in("web-a"),),
    "autoscaling:DeleteTags": (lambda s: s.aws.fleet.untag("web-a", ["a"]),),
    "autoscaling:DescribeAutoScalingGroups": (
        lambda s: s.aws.fleet.group("web-a"),
        lambda s: Quotas(s.cloud).groups(),
        find,
    ),
    "autoscaling:DescribeScalingActivities": (lambda s: s.aws.fleet.failures("web-a"),),
    "autoscaling:DescribeScheduledActions": (lambda s: s.aws.fleet.schedule_scale_in("web-a", 600),),
    "autoscaling:DeleteWarmPool": (lambda s: s.aws.fleet.keep_warm_pool("web-a", None),),
    "autoscaling:PutWarmPool": (lambda s: s.aws.fleet.keep_warm_pool("web-a", EMPTY),),
    "autoscaling:PutScheduledUpdateGroupAction": (lambda s: s.aws.fleet.schedule_scale_in("web-a", 600),),
    "autoscaling:UpdateAutoScalingGroup": (lambda s: s.aws.fleet.resize("web-a", minimum=0, desired=0),),
    "cloudwatch:DescribeAlarms": (lambda s: s.aws.metrics().alarms(["a"]),),
    "cloudwatch:DeleteDashboards": (lambda s: dashboards.delete(s.cloud.cloudwatch(), "web"),),
    "cloudwatch:GetDashboard": (lambda s: dashboards.exists(s.cloud.cloudwatch(), "web"),),
    "cloudwatch:PutDashboard": (lambda s: dashboards.put(s.cloud.cloudwatch(), "web", '{"widgets": []}'),),
    "cloudwatch:GetMetricData": (lambda s: s.aws.metrics().counts(s.site.target_groups, 60, None),),
    "ebs:CompleteSnapshot": (lambda s: s.ebs.complete(s.pending, 0, ""),),
    "ebs:GetSnapshotBlock": (lambda s: s.ebs.get(s.snapshot, 0, "token"),),
    "ebs:ListSnapshotBlocks": (lambda s: s.ebs.list_blocks(s.snapshot, 0, None),),
    "ebs:PutSnapshotBlock": (Scene.put,),
    "ebs:StartSnapshot": (lambda s: s.ebs.start(Start("a", 1, TAGS, "", encrypted=False, kms_key=None)),),
    "ec2:CopySnapshot": (lambda s: s.ebs.copy(s.snapshot, TAGS, description="", encrypted=False, kms_key=None),),
    "ec2:CreateTags": (
        lambda s: s.ebs.start(Start("b", 1, TAGS, "", encrypted=False, kms_key=None)),
        lambda s: s.ebs.tag(s.snapshot, TAGS),
        lambda s: write_tags(s.cloud.ec2(), s.snapshot, TAGS, {}),
    ),
    "ec2:DeleteSnapshot": (lambda s: s.ebs.delete(s.snapshot),),
    "ec2:DeleteTags": (lambda s: write_tags(s.cloud.ec2(), s.snapshot, {"a": "b"}, {"old": "tag"}),),
    "ec2:DescribeAvailabilityZones": (lambda s: Account(s.cloud).zones(),),
    "ec2:DescribeInstanceTypeOfferings": (lambda s: Account(s.cloud).offered(["t3.nano"], ["a"]),),
    "ec2:DescribeInstanceTypes": (lambda s: Account(s.cloud).instance_types(["t3.nano"]),),
    "ec2:GetInstanceTypesFromInstanceRequirements": (
        lambda s: Account(s.cloud).matching(Requirements(Range(1), Range(1)), "x86_64"),
    ),
    "ec2:DescribeImages": (lambda s: LaunchParts(s.cloud).ami(IMAGE),),
    "ec2:DescribeLaunchTemplateVersions": (lambda s: LaunchParts(s.cloud).template(LAUNCHES),),
    "ec2:DescribeInstances": (lambda s: s.aws.fleet.images(["i-0a1b2c3d4e5f60718"]),),
    "ec2:DescribePlacementGroups": (lambda s: Account(s.cloud).placement_group("web"),),
    "ec2:DescribePrefixLists": (lambda s: Networks(s.cloud, STACK).prefix_lists(["pl-1"]),),
    "ec2:DescribeRouteTables": (lambda s: Networks(s.cloud, STACK).vpc(s.vpc, ["sg-1"]),),
    "ec2:DescribeSecurityGroups": (lambda s: Networks(s.cloud, STACK).vpc(s.vpc, ["sg-1"]),),
    "ec2:DescribeSnapshots": (lambda s: s.ebs.describe(s.snapshot), lambda s: exists(s.cloud.ec2(), s.snapshot)),
    "ec2:DescribeSubnets": (lambda s: Networks(s.cloud, STACK).vpc(s.vpc, ["sg-1"]),),
    "ec2:DescribeVpcAttribute": (lambda s: Networks(s.cloud, STACK).vpc(s.vpc, ["sg-1"]),),
    "ec2:DescribeVpcEndpointServices": (lambda s: Networks(s.cloud, STACK).endpoint_services(["kms"]),),
    "ec2:DescribeVpcEndpoints": (lambda s: Networks(s.cloud, STACK).vpc(s.vpc, ["sg-1"]),),
    "ec2:DescribeVpcs": (
        lambda s: Networks(s.cloud, STACK).vpc(s.vpc, ["sg-1"]),
        lambda s: Networks(s.cloud, STACK).own_vpcs(),
    ),
    "ec2:DisableImageDeregistrationProtection": (lambda s: lift(s.cloud.ec2(), IMAGE),),
    "ec2:EnableImageDeregistrationProtection": (lambda s: protect(s.cloud.ec2(), IMAGE),),
    "ec2:GetConsoleOutput": (lambda s: s.aws.fleet.console("i-0a1b2c3d4e5f60718"),),
    "ec2:RunInstances": (lambda s: s.aws.fleet.on_demand("web-a", 50),),
    "elasticloadbalancing:AddTags": (lambda s: s.aws.balancer.tag(s.site.listener, {"a": "b"}),),
    "elasticloadbalancing:CreateRule": (lambda s: s.aws.balancer.forward(s.bare, ((s.site.target_groups[1], 1),)),),
    "elasticloadbalancing:DeleteRule": (lambda s: s.aws.balancer.restore(s.site.listener, None),),
    "elasticloadbalancing:DescribeAccountLimits": (lambda s: s.fronts.listener(s.site.listener),),
    "elasticloadbalancing:DescribeListeners": (find, lambda s: s.fronts.listener(s.site.listener)),
    "elasticloadbalancing:DescribeLoadBalancerAttributes": (lambda s: s.fronts.listener(s.site.listener),),
    "elasticloadbalancing:DescribeLoadBalancers": (find, lambda s: s.fronts.listener(s.site.listener)),
    "elasticloadbalancing:DescribeRules": (lambda s: s.aws.balancer.rule(s.site.listener), find),
    "elasticloadbalancing:DescribeTags": (lambda s: s.aws.balancer.tags(s.site.listener), find),
    "elasticloadbalancing:DescribeTargetGroups": (
        lambda s: s.fronts.listener(s.site.listener),
        lambda s: Quotas(s.cloud).target_groups(),
    ),
    "elasticloadbalancing:DescribeTargetHealth": (lambda s: s.aws.balancer.targets(s.site.target_groups[0]),),
    "elasticloadbalancing:ModifyRule": (lambda s: s.aws.balancer.mend(s.site.listener),),
    "elasticloadbalancing:RemoveTags": (lambda s: s.aws.balancer.tag(s.site.listener, {}, ["a"]),),
    "iam:PassRole": (Scene.arm,),
    "iam:GetRole": (lambda s: Identity(s.cloud).switch_role(STACK, SERVICE, "*"),),
    "iam:ListRoles": (lambda s: Identity(s.cloud).switch_role(STACK, SERVICE, "*"),),
    "iam:SimulatePrincipalPolicy": (
        lambda s: Identity(s.cloud).denied(USER, Question(("ec2:StopInstances",), "*", {})),
    ),
    "kms:GetKeyPolicy": (lambda s: s.key_policy.read(),),
    "kms:PutKeyPolicy": (lambda s: s.key_policy.write("{}"),),
    "route53:GetHostedZone": (lambda s: s.fronts.zone("Z0123456789"),),
    "route53:ListHostedZonesByName": (lambda s: s.fronts.zones("example.com"),),
    "scheduler:DeleteSchedule": (lambda s: s.aws.switch.disarm(None),),
    "scheduler:GetSchedule": (lambda s: s.aws.switch.armed(),),
    "scheduler:UpdateSchedule": (Scene.arm,),
    "scheduler:CreateSchedule": (Scene.arm_anew,),  # after those that need a schedule
    "servicequotas:GetServiceQuota": (lambda s: LaunchParts(s.cloud).quota("L-1216C47A"),),
    "sns:Publish": (notify,),
}


@pytest.mark.parametrize(
    ("action", "call"), [pytest.param(one, call, id=one) for one, calls in CALLS.items() for call in calls]
)
def test_the_error_names_the_action_that_is_missing(scene: Scene, action: str, call: Callable[[Scene], object]) -> None:
    """Whoever deploys would not know which permission to ask for."""
    scene.without(action)
    try:
        with pytest.raises(CloudError) as raised:
            call(scene)
    finally:
        scene.without("none:Nothing")
    told = str(raised.value)
    assert ": access denied: allow " in told, told
    assert action in told.partition(": access denied: allow ")[2].partition(" in your IAM policy")[0], told
    assert "\n" not in told


def test_a_key_that_may_not_be_described_is_a_state_and_names_the_action(scene: Scene) -> None:
    """A deploy that can do without the answer would end in an error; one that cannot, would not say what to allow."""
    key = scene.root("kms").create_key()["KeyMetadata"]["Arn"]
    assert Keys(scene.cloud).state(key).works
    scene.without("kms:DescribeKey")
    try:
        state = Keys(scene.cloud).state(key)
    finally:
        scene.without("none:Nothing")
    assert state.state == "denied"
    assert "allow kms:DescribeKey on it" in state.line("nobody needs it")
    assert "kms:DescribeKey" in state.told


def test_each_of_these_actions_is_printed() -> None:
    """The command would print a policy that lacks what the deployer calls."""
    deploy = actions(EVERYTHING, Purpose.DEPLOY) | actions(GUEST, Purpose.DEPLOY)
    assert CALLS.keys() <= deploy | actions(EVERYTHING, Purpose.DRILL)
