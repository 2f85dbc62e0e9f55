"""Whole requests against policies: what AWS checks for each, and in what words it refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from localcloud.moto_state import LOCK, backend
from tests.localcloud.authorization.conftest import ACCOUNT, Key, People, allow, policy, trust
from tests.localcloud.clients import refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.server import LocalCloud
    from tests.localcloud.clients import Clients

NOBODY = "User: arn:aws:iam::123456789012:user/deployer is not authorized to perform: "
EC2 = f"arn:aws:ec2:us-east-1:{ACCOUNT}"
ELB = f"arn:aws:elasticloadbalancing:us-east-1:{ACCOUNT}"
TAGS: list[Any] = [{"Key": "team", "Value": "web"}]


def refused(call: Callable[[], object]) -> tuple[int, str, str]:
    """Status, code and message of a refusal."""
    with pytest.raises(ClientError) as error:
        call()
    answer: Any = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def needs(people: People, call: Callable[[], object], *statements: dict[str, Any]) -> list[str]:
    """Refused without each of these statements, with the words of the first that is missing; then let through."""
    messages = []
    for without in range(len(statements)):
        people.may(*[one for number, one in enumerate(statements) if number != without] or [allow("none:Nothing")])
        messages.append(refused(call)[2])
    people.may(*statements)
    call()
    return messages


DENIALS = [
    ("ec2", "describe_vpcs", {}, 403, "UnauthorizedOperation", "ec2:DescribeVpcs"),
    ("elbv2", "describe_rules", {}, 403, "AccessDenied", "elasticloadbalancing:DescribeRules"),
    ("autoscaling", "describe_policies", {}, 403, "AccessDenied", "autoscaling:DescribePolicies"),
    ("iam", "list_roles", {}, 403, "AccessDenied", "iam:ListRoles"),
    ("ebs", "list_snapshot_blocks", {"SnapshotId": "snap-1"}, 403, "AccessDeniedException", "ebs:ListSnapshotBlocks"),
    ("kms", "list_keys", {}, 400, "AccessDeniedException", "kms:ListKeys"),
    ("cloudwatch", "get_metric_data", {}, 400, "AccessDeniedException", "cloudwatch:GetMetricData"),
    ("scheduler", "list_schedules", {}, 403, "AccessDeniedException", "scheduler:ListSchedules"),
    ("sns", "list_topics", {}, 403, "AuthorizationError", "sns:ListTopics"),
    ("s3", "list_buckets", {}, 403, "AccessDenied", "s3:ListAllMyBuckets"),
    ("route53", "list_hosted_zones", {}, 403, "AccessDenied", "route53:ListHostedZones"),
    ("acm", "list_certificates", {}, 400, "AccessDeniedException", "acm:ListCertificates"),
    ("wafv2", "list_web_acls", {"Scope": "REGIONAL"}, 400, "AccessDeniedException", "wafv2:ListWebACLs"),
]


@pytest.mark.parametrize(("service", "operation", "asked", "status", "code", "action"), DENIALS)
def test_each_service_refuses_in_its_own_words(
    people: People, service: str, operation: str, asked: dict[str, Any], status: int, code: str, action: str
) -> None:
    """Fleetswap would be tested with errors that AWS does not have."""
    client = people.client(service, people.user())
    found = refused(lambda: getattr(client, operation)(**asked))
    assert found[:2] == (status, code)
    assert f"{NOBODY}{action}" in found[2]
    assert found[2].endswith(f"because no identity-based policy allows the {action} action")


def test_ec2_says_more(people: People) -> None:
    """The words that fleetswap's table of errors cuts away would never be met."""
    ec2 = people.client("ec2", people.user())
    status, code, message = refused(lambda: ec2.create_vpc(CidrBlock="10.0.0.0/16"))
    assert (status, code) == (403, "UnauthorizedOperation")
    assert message.startswith(
        f"You are not authorized to perform this operation. {NOBODY}ec2:CreateVpc on resource: {EC2}:vpc/* because no"
        " identity-based policy allows the ec2:CreateVpc action. Encoded authorization failure message: "
    )


def test_who_am_i_is_always_answered(people: People) -> None:
    """STS API reference: no policy can deny GetCallerIdentity."""
    sts = people.client("sts", people.user(allow("*", effect="Deny")))
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/deployer"


def test_a_dry_run_tells_whether_it_may(people: People, clients: Clients) -> None:
    """A check before the first resource would make one, or always say yes."""
    ec2 = people.client("ec2", people.user())
    assert refused(lambda: ec2.create_vpc(CidrBlock="10.0.0.0/16", DryRun=True))[1] == "UnauthorizedOperation"
    people.may(allow("ec2:CreateVpc"))
    assert refused(lambda: ec2.create_vpc(CidrBlock="10.0.0.0/16", DryRun=True))[:2] == (412, "DryRunOperation")
    assert not [vpc for vpc in clients.ec2.describe_vpcs()["Vpcs"] if vpc["CidrBlock"] == "10.0.0.0/16"]


def test_tags_given_on_creation_are_a_right_of_their_own(people: People, clients: Clients) -> None:
    """ec2:CreateTags and elasticloadbalancing:AddTags could be left out of the printed policy."""
    key = people.user()
    ec2, elbv2 = people.client("ec2", key), people.client("elbv2", key)
    vpc = clients.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    create = {"StringEquals": {"ec2:CreateAction": "CreateSubnet", "aws:RequestTag/team": "web"}}
    specification = [{"ResourceType": "subnet", "Tags": TAGS}]
    messages = needs(
        people,
        lambda: ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24", TagSpecifications=specification),
        allow("ec2:CreateSubnet", resource=f"{EC2}:subnet/*"),
        allow("ec2:CreateSubnet", resource=f"{EC2}:vpc/{vpc}"),
        allow("ec2:CreateTags", resource=f"{EC2}:subnet/*", condition=create),
    )
    for message, missing in zip(messages, (f"{EC2}:subnet/*", f"{EC2}:vpc/{vpc}", f"{EC2}:subnet/*"), strict=True):
        assert f"on resource: {missing} because" in message
    group = {"StringEquals": {"elasticloadbalancing:CreateAction": "CreateTargetGroup"}}
    messages = needs(
        people,
        lambda: elbv2.create_target_group(Name="web", Protocol="HTTP", Port=80, VpcId=vpc, Tags=TAGS),
        allow("elasticloadbalancing:CreateTargetGroup", resource=f"{ELB}:targetgroup/web/*"),
        allow("elasticloadbalancing:AddTags", resource=f"{ELB}:targetgroup/*", condition=group),
    )
    assert f"{NOBODY}elasticloadbalancing:AddTags on resource: {ELB}:targetgroup/web/*" in messages[1]


def test_tags_of_a_resource_decide(people: People, clients: Clients) -> None:
    """A policy that allows only what the stack made would allow all or nothing."""
    ec2 = people.client("ec2", people.user())
    mine, other = (clients.ec2.create_vpc(CidrBlock=f"10.{n}.0.0/16")["Vpc"]["VpcId"] for n in (1, 2))
    clients.ec2.create_tags(Resources=[mine], Tags=TAGS)
    people.may(allow("ec2:DeleteVpc", condition={"StringEquals": {"aws:ResourceTag/team": "web"}}))
    assert refusal(lambda: ec2.delete_vpc(VpcId=other)) == "UnauthorizedOperation"
    ec2.delete_vpc(VpcId=mine)


def test_another_region_is_another_resource(people: People) -> None:
    """A policy for one region would open all."""
    key = people.user(allow("ec2:DescribeVpcs", condition={"StringEquals": {"aws:RequestedRegion": "us-east-1"}}))
    people.client("ec2", key).describe_vpcs()
    people.may(allow("ec2:DescribeVpcs", condition={"StringNotEquals": {"ec2:Region": "us-east-1"}}))
    assert refusal(people.client("ec2", key).describe_vpcs) == "UnauthorizedOperation"


class Launch:
    """A launch template of a tagged machine with a role, and where it would run."""

    def __init__(self, clients: Clients) -> None:
        clients.iam.create_role(RoleName="web", AssumeRolePolicyDocument=trust(Service="ec2.amazonaws.com"))
        clients.iam.create_instance_profile(InstanceProfileName="web")
        clients.iam.add_role_to_instance_profile(InstanceProfileName="web", RoleName="web")
        self.network = clients.network()
        self.image = clients.image()
        self.template = clients.ec2.create_launch_template(
            LaunchTemplateName="web",
            LaunchTemplateData={
                "ImageId": self.image,
                "InstanceType": "t3.micro",
                "IamInstanceProfile": {"Name": "web"},
                "SecurityGroupIds": [self.network.group],
                "TagSpecifications": [{"ResourceType": "instance", "Tags": TAGS}],
            },
        )["LaunchTemplate"]["LaunchTemplateId"]

    def rights(self) -> list[dict[str, Any]]:
        """What the Auto Scaling user guide says that a group with this template takes, one resource a statement."""
        kinds = [
            f"arn:aws:ec2:us-east-1::image/{self.image}",
            f"{EC2}:instance/*",
            f"{EC2}:launch-template/{self.template}",
            f"{EC2}:network-interface/*",
            f"{EC2}:security-group/{self.network.group}",
            f"{EC2}:subnet/*",
            f"{EC2}:volume/*",
        ]
        return [
            *(allow("ec2:RunInstances", resource=kind) for kind in kinds),
            allow(
                "ec2:CreateTags",
                resource=f"{EC2}:*/*",
                condition={"StringEquals": {"ec2:CreateAction": "RunInstances"}},
            ),
            allow(
                "iam:PassRole",
                resource=f"arn:aws:iam::{ACCOUNT}:role/web",
                condition={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
            ),
        ]


def test_a_group_takes_all_that_its_launches_take(people: People, clients: Clients) -> None:
    """The deploying role's policy could lack ec2:RunInstances on one kind of resource, and only AWS would say so."""
    launch = Launch(clients)
    clients.iam.create_service_linked_role(AWSServiceName="autoscaling.amazonaws.com")
    groups = people.client("autoscaling", people.user())
    specification = {"LaunchTemplateId": launch.template, "Version": "1"}
    made = iter(range(99))

    def create() -> None:
        groups.create_auto_scaling_group(
            AutoScalingGroupName=f"web-{next(made)}",
            MinSize=0,
            MaxSize=2,
            VPCZoneIdentifier=",".join(launch.network.subnets),
            MixedInstancesPolicy={"LaunchTemplate": {"LaunchTemplateSpecification": specification}},
        )

    messages = needs(people, create, *launch.rights(), allow("autoscaling:CreateAutoScalingGroup"))
    assert set(messages[:-1]) == {f"You are not authorized to use launch template: {launch.template}"}
    assert "autoscaling:CreateAutoScalingGroup on resource: " in messages[-1]
    assert ":autoScalingGroup:*:autoScalingGroupName/web-" in messages[-1]


def test_a_group_s_template_is_checked_again_when_it_changes_and_not_otherwise(
    people: People, clients: Clients
) -> None:
    """A deploy that only changes capacity would need RunInstances, or one that changes the template would not."""
    launch = Launch(clients)
    clients.group(launch.template, launch.network)
    groups = people.client("autoscaling", people.user(allow("autoscaling:UpdateAutoScalingGroup")))
    groups.update_auto_scaling_group(AutoScalingGroupName="web", MaxSize=3)
    asked = {
        "AutoScalingGroupName": "web",
        "LaunchTemplate": {"LaunchTemplateId": launch.template, "Version": "1"},
    }
    assert refused(lambda: groups.update_auto_scaling_group(**asked)) == (
        403,
        "AccessDenied",
        f"You are not authorized to use launch template: {launch.template}",
    )
    people.may(allow("autoscaling:UpdateAutoScalingGroup"), *launch.rights())
    groups.update_auto_scaling_group(**asked)


def test_a_launch_says_what_is_missing(people: People, clients: Clients) -> None:
    """RunInstances itself names the resource, unlike Auto Scaling."""
    launch = Launch(clients)
    ec2 = people.client("ec2", people.user())
    [subnet, _] = launch.network.subnets
    messages = needs(
        people,
        lambda: ec2.run_instances(
            LaunchTemplate={"LaunchTemplateName": "web"}, SubnetId=subnet, MinCount=1, MaxCount=1
        ),
        *launch.rights(),
    )
    assert f"ec2:RunInstances on resource: {EC2}:subnet/{subnet} because" in messages[5]
    assert f"ec2:CreateTags on resource: {EC2}:instance/* because" in messages[7]
    assert f"iam:PassRole on resource: arn:aws:iam::{ACCOUNT}:role/web because" in messages[8]


def test_a_role_is_passed_to_a_profile_and_to_the_scheduler(people: People, clients: Clients) -> None:
    """iam:PassRole could be left out, or be given for every service."""
    key = people.user()
    role = clients.iam.create_role(
        RoleName="switch", AssumeRolePolicyDocument=trust(Service=["scheduler.amazonaws.com", "ec2.amazonaws.com"])
    )["Role"]["Arn"]
    clients.iam.create_instance_profile(InstanceProfileName="web")
    iam, scheduler = people.client("iam", key), people.client("scheduler", key)

    def passing(service: str) -> dict[str, Any]:
        return allow("iam:PassRole", resource=role, condition={"StringEquals": {"iam:PassedToService": service}})

    messages = needs(
        people,
        lambda: iam.add_role_to_instance_profile(InstanceProfileName="web", RoleName="switch"),
        passing("ec2.amazonaws.com"),
        allow("iam:AddRoleToInstanceProfile", resource=f"arn:aws:iam::{ACCOUNT}:instance-profile/web"),
    )
    assert f"{NOBODY}iam:PassRole on resource: {role} because" in messages[0]
    needs(
        people,
        lambda: scheduler.create_schedule(
            Name="s",
            ScheduleExpression="at(2100-01-01T00:00:00)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": "arn:aws:scheduler:::aws-sdk:ec2:startInstances", "RoleArn": role, "RetryPolicy": {}},
        ),
        passing("scheduler.amazonaws.com"),
        allow("scheduler:CreateSchedule", resource=f"arn:aws:scheduler:us-east-1:{ACCOUNT}:schedule/default/s"),
    )


def test_aws_makes_its_own_roles_in_a_new_account(people: People, clients: Clients) -> None:
    """iam:CreateServiceLinkedRole could be left out, and every new account would refuse the first deploy."""
    launch = Launch(clients)
    elbv2 = people.client("elbv2", people.user())
    of = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/elasticloadbalancing.amazonaws.com"
    linked = allow(
        "iam:CreateServiceLinkedRole",
        resource=f"{of}/*",
        condition={"StringEquals": {"iam:AWSServiceName": "elasticloadbalancing.amazonaws.com"}},
    )
    messages = needs(
        people,
        lambda: elbv2.create_load_balancer(Name="web", Subnets=launch.network.subnets),
        linked,
        allow("elasticloadbalancing:CreateLoadBalancer", resource=f"{ELB}:loadbalancer/app/web/*"),
    )
    role = f"{of}/AWSServiceRoleForElasticLoadBalancing"
    assert f"{NOBODY}iam:CreateServiceLinkedRole on resource: {role} because" in messages[0]
    people.may(allow("elasticloadbalancing:CreateLoadBalancer"))  # the role is there now
    elbv2.create_load_balancer(Name="web-2", Subnets=launch.network.subnets)
    assert clients.iam.get_role(RoleName="AWSServiceRoleForElasticLoadBalancing")["Role"]["Arn"] == role
    groups = people.client("autoscaling", people.user(allow("autoscaling:*"), name="another"))
    message = refused(lambda: groups.create_auto_scaling_group(AutoScalingGroupName="web", MinSize=0, MaxSize=1))[2]
    assert message.startswith("The default Service-Linked Role for Auto Scaling could not be created.")


def test_a_role_s_boundary_can_be_demanded(people: People) -> None:
    """`fleetswap:iam.permissions_boundary` is there for accounts that deny roles without one."""
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/limit"
    condition = {"StringEquals": {"iam:PermissionsBoundary": boundary}}
    key = people.user(
        allow("iam:CreateRole", "iam:PutRolePolicy", "iam:TagRole", condition=condition), allow("iam:CreatePolicy")
    )
    iam = people.client("iam", key)
    iam.create_policy(PolicyName="limit", PolicyDocument=policy(allow("ec2:*")))
    asked = {"RoleName": "web", "AssumeRolePolicyDocument": trust(Service="ec2.amazonaws.com")}
    assert refused(lambda: iam.create_role(**asked))[1] == "AccessDenied"
    iam.create_role(**asked, PermissionsBoundary=boundary)
    iam.put_role_policy(RoleName="web", PolicyName="own", PolicyDocument=policy(allow("ec2:*")))


def test_a_role_is_made_with_its_tags_and_at_its_path(people: People) -> None:
    """iam:TagRole could be left out; a policy on a path would fit no role."""
    iam = people.client("iam", people.user())
    role = f"arn:aws:iam::{ACCOUNT}:role/fleetswap/web"
    messages = needs(
        people,
        lambda: iam.create_role(
            RoleName="web", Path="/fleetswap/", AssumeRolePolicyDocument=trust(Service="ec2.amazonaws.com"), Tags=TAGS
        ),
        allow("iam:CreateRole", resource=role),
        allow("iam:TagRole", resource=role, condition={"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}),
    )
    assert f"iam:TagRole on resource: {role}" in messages[1]
    people.may(allow("iam:GetRole", resource=role))
    iam.get_role(RoleName="web")


def test_a_role_is_assumed_by_whom_it_trusts(people: People, clients: Clients) -> None:
    """`aws:assumeRoles` would work with any role here, and on AWS with none that does not trust the caller."""
    key = people.user(allow("sts:AssumeRole"))
    sts = people.client("sts", key)
    asked = {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/deploy", "RoleSessionName": "x"}
    assert refused(lambda: sts.assume_role(**asked))[1] == "AccessDenied"
    assert refused(lambda: people.client("sts", None).assume_role(**asked))[1] == "AccessDenied"
    clients.iam.create_role(RoleName="deploy", AssumeRolePolicyDocument=trust(Service="ec2.amazonaws.com"))
    assert refused(lambda: sts.assume_role(**asked))[1] == "AccessDenied"
    external = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"AWS": ACCOUNT},
                "Condition": {"StringEquals": {"sts:ExternalId": "42"}},
            },
        }
    )
    clients.iam.update_assume_role_policy(RoleName="deploy", PolicyDocument=external)
    assert refused(lambda: sts.assume_role(**asked))[1] == "AccessDenied"
    sts.assume_role(**asked, ExternalId="42")
    people.may(allow("ec2:*"))
    assert refused(lambda: sts.assume_role(**asked, ExternalId="42"))[1] == "AccessDenied"


def test_a_session_policy_limits_a_session(people: People, clients: Clients) -> None:
    """A session that is begun with less would have all that its role has."""
    clients.iam.create_role(RoleName="operator", AssumeRolePolicyDocument=trust(AWS=ACCOUNT))
    clients.iam.put_role_policy(RoleName="operator", PolicyName="own", PolicyDocument=policy(allow("ec2:Describe*")))
    limit = policy(allow("ec2:DescribeVpcs"))
    arn = clients.iam.create_policy(PolicyName="limit", PolicyDocument=limit)["Policy"]["Arn"]
    for key in (people.session(Policy=limit), people.session(PolicyArns=[{"arn": arn}])):
        ec2 = people.client("ec2", key)
        ec2.describe_vpcs()
        message = refused(ec2.describe_subnets)[2]
        assert message.endswith("because no session policy allows the ec2:DescribeSubnets action")


class Secret:
    """A key, something encrypted with it, and a machine's role."""

    def __init__(self, people: People, clients: Clients) -> None:
        self._people, self._clients = people, clients
        self.kms = clients.client("kms")
        self.key = self.kms.create_key()["KeyMetadata"]["Arn"]
        self.blob = self.kms.encrypt(KeyId=self.key, Plaintext=b"x", EncryptionContext={"service": "web"})[
            "CiphertextBlob"
        ]
        clients.iam.create_role(RoleName="machine", AssumeRolePolicyDocument=trust(AWS=ACCOUNT))
        self.machine = people.client("kms", people.session("machine"))

    def role(self, *statements: dict[str, Any]) -> None:
        self._clients.iam.put_role_policy(RoleName="machine", PolicyName="own", PolicyDocument=policy(*statements))

    def policy(self, *principals: Any) -> None:
        statements = [allow("kms:*") | {"Principal": principal} for principal in principals]
        statements.append(allow("kms:PutKeyPolicy") | {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}})
        self.kms.put_key_policy(
            KeyId=self.key,
            PolicyName="default",
            Policy=policy(*statements),
            BypassPolicyLockoutSafetyCheck=True,
        )

    def decrypt(self, **context: str) -> Any:
        return self.machine.decrypt(CiphertextBlob=self.blob, EncryptionContext=context or {"service": "web"})


def test_a_machine_decrypts_what_its_role_and_the_key_allow(people: People, clients: Clients) -> None:
    """A machine of one service could read the secrets of all, or of none."""
    secret = Secret(people, clients)
    assert refused(secret.decrypt)[:2] == (400, "AccessDeniedException")
    condition = {"StringEquals": {"kms:EncryptionContext:service": "web"}}
    secret.role(allow("kms:Decrypt", resource=secret.key, condition=condition))
    assert secret.decrypt()["Plaintext"] == b"x"
    assert refused(lambda: secret.decrypt(service="other"))[1] == "AccessDeniedException"
    clients.iam.create_role(RoleName="other", AssumeRolePolicyDocument=trust(AWS=ACCOUNT))
    secret.policy({"AWS": f"arn:aws:iam::{ACCOUNT}:role/other"})
    message = refused(secret.decrypt)[2]
    assert message.endswith("because no resource-based policy allows the kms:Decrypt action")
    secret.role(allow("ec2:*"))
    secret.policy({"AWS": f"arn:aws:iam::{ACCOUNT}:role/machine"})
    assert secret.decrypt()["Plaintext"] == b"x"


def test_a_grant_is_enough(people: People, clients: Clients) -> None:
    """KMS developer guide, "Grants in AWS KMS": what a grant names needs no policy."""
    secret = Secret(people, clients)
    secret.kms.create_grant(
        KeyId=secret.key,
        GranteePrincipal=f"arn:aws:iam::{ACCOUNT}:role/machine",
        Operations=["Decrypt"],
        Constraints={"EncryptionContextSubset": {"service": "web"}},
    )
    assert secret.decrypt()["Plaintext"] == b"x"
    assert refused(lambda: secret.decrypt(service="other"))[1] == "AccessDeniedException"
    assert refused(lambda: secret.machine.describe_key(KeyId=secret.key))[1] == "AccessDeniedException"


def test_an_upload_under_encryption_by_default_uses_the_key(people: People, clients: Clients) -> None:
    """EBS user guide: whoever starts an encrypted snapshot needs the key; EBS says so as a dependency."""
    key = clients.client("kms").create_key()["KeyMetadata"]["Arn"]
    clients.ec2.modify_ebs_default_kms_key_id(KmsKeyId=key)
    clients.ec2.enable_ebs_encryption_by_default()
    ebs = people.client("ebs", people.user(allow("ebs:StartSnapshot", "ec2:CreateTags")))
    with pytest.raises(ClientError) as error:
        ebs.start_snapshot(VolumeSize=1, Tags=TAGS)
    answer: Any = error.value.response
    assert (answer["Error"]["Code"], answer["Reason"]) == ("AccessDeniedException", "DEPENDENCY_ACCESS_DENIED")
    people.may(
        allow("ebs:StartSnapshot", resource="arn:aws:ec2:us-east-1::snapshot/*"),
        allow(
            "ec2:CreateTags",
            resource="arn:aws:ec2:us-east-1::snapshot/*",
            condition={"StringEquals": {"aws:RequestTag/team": "web"}},
        ),
        allow(
            "kms:CreateGrant",
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:GenerateDataKeyWithoutPlaintext",
            "kms:ReEncrypt*",
            resource=key,
        ),
    )
    assert ebs.start_snapshot(VolumeSize=1, Tags=TAGS)["KmsKeyArn"] == key


def test_a_block_of_an_encrypted_snapshot_takes_its_key(people: People, clients: Clients) -> None:
    """EBS user guide: `fleetswap download` of an encrypted image needs kms:Decrypt."""
    key = clients.client("kms").create_key()["KeyMetadata"]["Arn"]
    snapshot = clients.snapshot(Encrypted=True, KmsKeyArn=key)
    ebs = people.client("ebs", people.user(allow("ebs:*")))
    [found] = ebs.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"]
    asked = {"SnapshotId": snapshot, "BlockIndex": found["BlockIndex"], "BlockToken": found["BlockToken"]}
    message = refused(lambda: ebs.get_snapshot_block(**asked))[2]
    assert f"{NOBODY}kms:Decrypt on resource: {key}" in message
    people.may(allow("ebs:*"), allow("kms:Decrypt", resource=key))
    assert ebs.get_snapshot_block(**asked)["DataLength"] == 524_288


def test_a_group_launches_nothing_with_a_key_that_auto_scaling_may_not_use(cloud: LocalCloud, clients: Clients) -> None:
    """permissions.md's second policy would be advice that nothing here tests; such a launch is Cancelled on AWS."""
    kms = clients.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    clients.ec2.modify_ebs_default_kms_key_id(KmsKeyId=key)
    clients.ec2.enable_ebs_encryption_by_default()
    clients.group(clients.template(clients.image()), clients.network(), MinSize=1, MaxSize=1, DesiredCapacity=1)
    [instance] = backend("autoscaling").autoscaling_groups["web"].instance_states
    with LOCK:
        instance.instance.__dict__["dies"] = (0.0, *instance.instance.__dict__["dies"][1:])
        cloud._control.tick()
    activities = clients.autoscaling.describe_scaling_activities(AutoScalingGroupName="web")["Activities"]
    assert activities[-1]["StatusCode"] == "Cancelled"
    assert "Client.InternalError" in activities[-1]["StatusMessage"]
    service = {
        "AWS": f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    }
    uses = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    grants = allow("kms:CreateGrant", condition={"Bool": {"kms:GrantIsForAWSResource": "true"}})
    statements = [
        allow("kms:*") | {"Principal": {"AWS": ACCOUNT}},
        allow(*uses) | {"Principal": service},
        grants | {"Principal": service},
    ]
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy(*statements))
    clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=1)
    with LOCK:
        cloud._control.tick()
    states = backend("autoscaling").autoscaling_groups["web"].instance_states
    assert "dies" not in states[-1].instance.__dict__


def test_a_topic_s_key_is_asked_too(people: People, clients: Clients) -> None:
    """Alerts to an encrypted topic would arrive here, and on AWS be refused as KMSAccessDenied."""
    key = clients.client("kms").create_key()["KeyMetadata"]["Arn"]
    topic = clients.client("sns").create_topic(Name="deploys", Attributes={"KmsMasterKeyId": key})["TopicArn"]
    sns = people.client("sns", people.user(allow("sns:Publish", resource=topic)))
    assert refused(lambda: sns.publish(TopicArn=topic, Message="x"))[1] == "KMSAccessDenied"
    people.may(allow("sns:Publish"), allow("kms:GenerateDataKey*", "kms:Decrypt", resource=key))
    sns.publish(TopicArn=topic, Message="x")


def test_a_bucket_s_policy_has_a_say(people: People, clients: Clients) -> None:
    """A Deny of the bucket's owner would be ignored."""
    s3 = clients.client("s3")
    s3.create_bucket(Bucket="logs")
    own = people.client("s3", people.user(allow("s3:*")))
    own.put_object(Bucket="logs", Key="a/b c", Body=b"x")
    deny = allow("s3:PutObject", resource="arn:aws:s3:::logs/a/*", effect="Deny") | {"Principal": "*"}
    s3.put_bucket_policy(Bucket="logs", Policy=policy(deny))
    assert refused(lambda: own.put_object(Bucket="logs", Key="a/b c", Body=b"x"))[:2] == (403, "AccessDenied")
    own.put_object(Bucket="logs", Key="b", Body=b"x")


def test_a_record_s_name_is_compared_as_route_53_normalizes_it(people: People, clients: Clients) -> None:
    """The printed policy would not let the AWS provider write the domain, or let it write another."""
    route53 = clients.client("route53")
    zone = route53.create_hosted_zone(Name="example.com", CallerReference="one")["HostedZone"]["Id"]
    names = {"route53:ChangeResourceRecordSetsNormalizedRecordNames": "shop.example.com"}
    condition = {"ForAllValues:StringEquals": names}
    limited = people.client("route53", people.user(allow("route53:ChangeResourceRecordSets", condition=condition)))

    def write(*names: str) -> None:
        records = [{"Name": name, "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "10.0.0.1"}]} for name in names]
        changes = [{"Action": "UPSERT", "ResourceRecordSet": record} for record in records]
        limited.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})

    write("shop.example.com.")
    write("shop.example.com")
    assert refused(lambda: write("example.com"))[1] == "AccessDenied"
    assert refused(lambda: write("shop.example.com", "login.example.com"))[1] == "AccessDenied"


def test_an_operation_that_is_not_listed_is_asked_of_everything(cloud: LocalCloud, people: People) -> None:
    """A call that the table does not know would be let through, and nobody would see that it is unknown."""
    key = people.user(allow("ec2:AcceptVpcPeeringConnection", resource=f"{EC2}:*"))
    ec2 = people.client("ec2", key)
    asked = {"VpcPeeringConnectionId": "pcx-1"}
    assert refusal(lambda: ec2.accept_vpc_peering_connection(**asked)) == "UnauthorizedOperation"
    people.may(allow("ec2:AcceptVpcPeeringConnection"))
    assert refusal(lambda: ec2.accept_vpc_peering_connection(**asked)) == "InvalidVpcPeeringConnectionId.NotFound"
    unknown = {one["operation"] for one in cloud.authorizations.shown() if not one["listed"]}
    assert unknown == {"ec2:AcceptVpcPeeringConnection"}


def test_managed_policies_and_groups_count(people: People, clients: Clients) -> None:
    """Whoever has their rights by a group, or by AWS's own policy, would have none."""
    key = people.user()
    ec2 = people.client("ec2", key)
    assert refusal(ec2.describe_vpcs) == "UnauthorizedOperation"
    clients.iam.attach_user_policy(UserName="deployer", PolicyArn="arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess")
    ec2.describe_vpcs()
    clients.iam.create_group(GroupName="denied")
    arn = clients.iam.create_policy(PolicyName="no", PolicyDocument=policy(allow("ec2:*", effect="Deny")))["Policy"][
        "Arn"
    ]
    clients.iam.attach_group_policy(GroupName="denied", PolicyArn=arn)
    clients.iam.add_user_to_group(GroupName="denied", UserName="deployer")
    assert refused(ec2.describe_vpcs)[2].endswith("with an explicit deny in an identity-based policy")
    clients.iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(allow("s3:*")), SetAsDefault=True)
    ec2.describe_vpcs()


def test_a_boundary_of_a_role_limits_its_sessions(people: People, clients: Clients) -> None:
    """The boundary of the machines' roles would be without effect here."""
    limit = policy(allow("kms:*"))
    arn = clients.iam.create_policy(PolicyName="limit", PolicyDocument=limit)["Policy"]["Arn"]
    clients.iam.create_role(RoleName="operator", AssumeRolePolicyDocument=trust(AWS=ACCOUNT), PermissionsBoundary=arn)
    clients.iam.put_role_policy(RoleName="operator", PolicyName="own", PolicyDocument=policy(allow("*")))
    key = people.session()
    people.client("kms", key).list_keys()
    message = refused(people.client("ec2", key).describe_vpcs)[2]
    assert message.endswith("because no permissions boundary allows the ec2:DescribeVpcs action")


def test_a_key_is_a_name_for_its_owner_alone(people: People, clients: Clients) -> None:
    """Two users' rights would be mixed up."""
    one, two = people.user(allow("ec2:*")), people.user(allow("iam:*"), name="another")
    people.client("ec2", one).describe_vpcs()
    assert refusal(people.client("ec2", two).describe_vpcs) == "UnauthorizedOperation"
    assert refusal(people.client("ec2", Key(two.id, one.secret)).describe_vpcs) == "AuthFailure"
    assert clients.ec2.describe_vpcs()
