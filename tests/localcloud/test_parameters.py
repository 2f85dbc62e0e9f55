"""Names, numbers and tags that AWS refuses, filters as EC2 reads them, and the zones that an account has."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from localcloud.ec2.filters import fits
from tests.localcloud.clients import Clients, Network, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.server import LocalCloud


def group(c: Clients, net: Network, **asked: Any) -> Any:
    return c.elbv2.create_target_group(**{"Name": "web", "Port": 80, "Protocol": "HTTP", "VpcId": net.vpc, **asked})


def balancer(c: Clients, net: Network, name: str = "web") -> Any:
    return c.elbv2.create_load_balancer(Name=name, Subnets=net.subnets)["LoadBalancers"][0]["LoadBalancerArn"]


def listener(c: Clients, net: Network, **asked: Any) -> Any:
    fixed: Any = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}
    arn = asked.get("LoadBalancerArn") or balancer(c, net)
    wanted = {"LoadBalancerArn": arn, "Port": 18_081, "Protocol": "HTTP", "DefaultActions": [fixed], **asked}
    return c.elbv2.create_listener(**wanted)["Listeners"][0]["ListenerArn"]


def tagged(tags: list[tuple[str, str]]) -> list[Any]:
    return [{"Key": key, "Value": value} for key, value in tags]


def security_group(c: Clients, net: Network, name: str, description: str = "web") -> Any:
    return c.ec2.create_security_group(GroupName=name, Description=description, VpcId=net.vpc)


def tracking(c: Clients, net: Network, **asked: Any) -> Any:
    mixed(c, net)
    metric = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"}, "TargetValue": 1.0}
    wanted = {"PolicyType": "TargetTrackingScaling", "TargetTrackingConfiguration": metric, **asked}
    c.autoscaling.put_scaling_policy(AutoScalingGroupName="web", PolicyName="cpu", **wanted)


def header_rule(c: Clients, net: Network, values: list[str]) -> Any:
    condition: Any = {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "x", "Values": values}}
    fixed: Any = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}]
    c.elbv2.create_rule(ListenerArn=listener(c, net), Priority=1, Conditions=[condition], Actions=fixed)


def default_rule(c: Clients, net: Network) -> str:
    return c.elbv2.describe_rules(ListenerArn=listener(c, net))["Rules"][0]["RuleArn"]


def protected(c: Clients, net: Network) -> str:
    arn: str = balancer(c, net)
    wanted: Any = [{"Key": "deletion_protection.enabled", "Value": "true"}]
    c.elbv2.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=wanted)
    return arn


def let_in(c: Clients, net: Network, first: int, last: int) -> Any:
    rule: Any = {"IpProtocol": "tcp", "FromPort": first, "ToPort": last, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    c.ec2.authorize_security_group_ingress(GroupId=net.group, IpPermissions=[rule])


def mixed(c: Clients, net: Network, *types: str, spot: str = "lowest-price", **asked: Any) -> Any:
    template = {"LaunchTemplateId": c.template(c.image()), "Version": "1"}
    policy: Any = {
        "InstancesDistribution": {"SpotAllocationStrategy": spot},
        "LaunchTemplate": {
            "LaunchTemplateSpecification": template,
            "Overrides": [{"InstanceType": name} for name in types or ("t3.micro",)],
        },
    }
    c.autoscaling.create_auto_scaling_group(
        **{
            "AutoScalingGroupName": "web",
            "MinSize": 0,
            "MaxSize": 1,
            "MixedInstancesPolicy": policy,
            "VPCZoneIdentifier": net.subnets[0],
            **asked,
        }
    )


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda c, n: balancer(c, n, "internal-web"), "ValidationError"),
        (lambda c, n: balancer(c, n, "web-"), "ValidationError"),
        (lambda c, n: balancer(c, n, "w" * 33), "ValidationError"),
        (lambda c, n: balancer(c, n, "web_1"), "ValidationError"),
        (lambda c, n: group(c, n, Name="a--b"), "ValidationError"),
        (lambda c, n: group(c, n, Name="-a"), "ValidationError"),
        (lambda c, n: group(c, n, Matcher={"HttpCode": "299-200"}), "ValidationError"),
        (lambda c, n: group(c, n, Port=0), "ValidationError"),
        (lambda c, n: group(c, n, HealthCheckIntervalSeconds=301), "ValidationError"),
        (lambda c, n: group(c, n, HealthCheckPath="/" + "x" * 1_024), "ValidationError"),
        (lambda c, n: listener(c, n, Protocol="HTTPS"), "ValidationError"),
        (lambda c, n: listener(c, n, Certificates=[{"CertificateArn": "arn:aws:acm:x"}]), "ValidationError"),
        (
            lambda c, n: listener(
                c, n, Protocol="HTTPS", Certificates=[{"CertificateArn": "arn:aws:acm:us-east-1:1:"}]
            ),
            "CertificateNotFound",
        ),
        (lambda c, n: security_group(c, n, "sg-web"), "InvalidParameterValue"),
        (lambda c, n: security_group(c, n, "w" * 256), "InvalidParameterValue"),
        (lambda c, n: security_group(c, n, "front", "web: schön"), "InvalidParameterValue"),
        (lambda c, n: mixed(c, n, "t3.micro", "t3.micro"), "ValidationError"),
        (lambda c, n: mixed(c, n, DefaultInstanceWarmup=3_601), "ValidationError"),
        (lambda c, n: mixed(c, n, AutoScalingGroupName="w" * 256), "ValidationError"),
        (lambda c, n: mixed(c, n, "t9.huge"), "ValidationError"),
        (lambda c, n: mixed(c, n, "c7g.large"), "ValidationError"),
        (lambda c, n: mixed(c, n, spot="cheapest"), "ValidationError"),
        (lambda c, n: mixed(c, n, HealthCheckType="HTTP"), "ValidationError"),
        (lambda c, n: mixed(c, n, HealthCheckGracePeriod=-1), "ValidationError"),
        (lambda c, n: tracking(c, n, PolicyType="Fast"), "ValidationError"),
        (lambda c, n: tracking(c, n, TargetTrackingConfiguration={}), "ValidationError"),
        (lambda c, n: group(c, n, HealthCheckPath="health"), "ValidationError"),
        (lambda c, n: header_rule(c, n, list("abcdef")), "ValidationError"),
        (lambda c, n: c.elbv2.delete_rule(RuleArn=default_rule(c, n)), "OperationNotPermitted"),
        (lambda c, n: c.elbv2.delete_load_balancer(LoadBalancerArn=protected(c, n)), "OperationNotPermitted"),
        (lambda c, n: let_in(c, n, 9, 8), "InvalidParameterValue"),
        (lambda c, n: let_in(c, n, 9, 65_536), "InvalidParameterValue"),
        (
            lambda c, n: c.ec2.create_subnet(VpcId=n.vpc, CidrBlock="10.9.9.0/29", AvailabilityZone="us-east-1a"),
            "InvalidSubnet.Range",
        ),
        (
            lambda c, _: c.ec2.create_launch_template(LaunchTemplateName="web 1", LaunchTemplateData={"KernelId": "x"}),
            "InvalidLaunchTemplateName.MalformedException",
        ),
        (lambda c, _: c.template(c.image(), MetadataOptions={"HttpPutResponseHopLimit": 65}), "InvalidParameterValue"),
        (lambda c, _: c.image(Description="x" * 256), "InvalidParameterValue"),
        (lambda c, _: c.iam.create_role(RoleName="w" * 65, AssumeRolePolicyDocument="{}"), "ValidationError"),
        (lambda c, _: c.ec2.create_launch_template(LaunchTemplateName="web"), "MissingParameter"),
        (
            lambda c, _: c.template(c.image(), TagSpecifications=[{"ResourceType": "launch-template", "Tags": []}]),
            "InvalidParameterValue",
        ),
    ],
)
def test_names_and_numbers_that_aws_refuses(
    clients: Clients, call: Callable[[Clients, Network], object], code: str
) -> None:
    """Settings would be taken here that leave half a stack on AWS."""
    network = clients.network()
    assert refusal(lambda: call(clients, network)) == code


MANY = [(f"key{number}", "x") for number in range(51)]


@pytest.mark.parametrize(
    "tags",
    [[("x" * 129, "v")], [("k", "v" * 257)], [("aws:web", "v")], [("k", "1"), ("k", "2")], [("", "v")], MANY],
    ids=["long key", "long value", "aws:", "twice", "empty key", "51"],
)
def test_tags_that_aws_refuses(clients: Clients, tags: list[tuple[str, str]]) -> None:
    """A tag of the settings would be taken here that AWS refuses after a dozen resources."""
    asked, network = tagged(tags), clients.network()
    calls: list[tuple[Callable[[], object], set[str]]] = [
        (lambda: group(clients, network, Tags=asked), {"ValidationError", "TooManyTags", "DuplicateTagKeys"}),
        (lambda: mixed(clients, network, Tags=[{"ResourceId": "web", **tag} for tag in asked]), {"ValidationError"}),
        (
            lambda: clients.ec2.create_tags(Resources=[network.vpc], Tags=asked),
            {"InvalidParameterValue", "TagLimitExceeded"},
        ),
        (
            lambda: clients.ec2.create_vpc(
                CidrBlock="10.8.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": asked}]
            ),
            {"InvalidParameterValue", "TagLimitExceeded"},
        ),
        (lambda: clients.ebs.start_snapshot(VolumeSize=1, Tags=asked), {"ValidationException"}),
        (
            lambda: clients.iam.create_instance_profile(InstanceProfileName="web", Tags=asked),
            {"ValidationError", "InvalidInput"},
        ),
        (
            lambda: clients.client("sns").create_topic(Name="alerts", Tags=asked),
            {"InvalidParameter", "TagLimitExceeded"},
        ),
    ]
    for call, codes in calls:
        assert refusal(call) in codes


def test_the_longest_tags_that_aws_takes(clients: Clients) -> None:
    """The limits would be those of another service."""
    longest = tagged([("k" * 127, "v" * 256)])
    vpc = clients.network().vpc
    clients.ec2.create_tags(Resources=[vpc], Tags=longest)
    assert refusal(lambda: clients.ec2.create_tags(Resources=[vpc], Tags=tagged([("k" * 128, "v")]))) == (
        "InvalidParameterValue"
    )
    clients.client("sns").create_topic(Name="alerts", Tags=tagged([("k" * 128, "v" * 256)]))
    clients.ebs.start_snapshot(VolumeSize=1, Tags=tagged([("k" * 127, "v" * 255)]))
    for wrong in (("k" * 128, "v"), ("k", "v" * 256)):
        asked = tagged([wrong])
        assert refusal(lambda asked=asked: clients.ebs.start_snapshot(VolumeSize=1, Tags=asked)) == (  # type: ignore[misc] # mypy cannot infer it
            "ValidationException"
        )


def test_fifty_tags_are_fifty(clients: Clients) -> None:
    """A load balancer or a group would take fewer tags than AWS, or more of them one by one."""
    arn = group(clients, clients.network(), Tags=tagged(MANY[:25]))["TargetGroups"][0]["TargetGroupArn"]
    clients.elbv2.add_tags(ResourceArns=[arn], Tags=tagged(MANY[25:50]))
    assert refusal(lambda: clients.elbv2.add_tags(ResourceArns=[arn], Tags=tagged(MANY[50:]))) == "TooManyTags"


def test_tags_of_twenty_resources_at_once(clients: Clients) -> None:
    """A stack with more rules than that would be looked at here and not on AWS, and what is gone be taken for bare."""
    arn = group(clients, clients.network(), Tags=tagged([("a", "b")]))["TargetGroups"][0]["TargetGroupArn"]
    assert len(clients.elbv2.describe_tags(ResourceArns=[arn] * 20)["TagDescriptions"]) == 1
    assert refusal(lambda: clients.elbv2.describe_tags(ResourceArns=[arn] * 21)) == "ValidationError"
    assert refusal(lambda: clients.elbv2.describe_tags(ResourceArns=[arn + "0"])) == "TargetGroupNotFound"


def test_a_target_group_belongs_to_one_load_balancer(clients: Clients) -> None:
    """Two stacks of one name would share a target group here, and the second would fail half-way on AWS."""
    network = clients.network()
    arn = group(clients, network)["TargetGroups"][0]["TargetGroupArn"]
    forward: Any = [{"Type": "forward", "TargetGroupArn": arn}]
    first = listener(clients, network, DefaultActions=forward)
    other = balancer(clients, network, "other")
    second = listener(clients, network, LoadBalancerArn=other)
    path: Any = [{"Field": "path-pattern", "Values": ["/x"]}]
    rule = clients.elbv2.create_rule(
        ListenerArn=second,
        Priority=1,
        Conditions=path,
        Actions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}],
    )["Rules"][0]["RuleArn"]
    for call in (
        lambda: listener(clients, network, LoadBalancerArn=other, Port=18_082, DefaultActions=forward),
        lambda: clients.elbv2.modify_listener(ListenerArn=second, DefaultActions=forward),
        lambda: clients.elbv2.create_rule(ListenerArn=second, Priority=2, Conditions=path, Actions=forward),
        lambda: clients.elbv2.modify_rule(RuleArn=rule, Actions=forward),
    ):
        assert refusal(call) == "TargetGroupAssociationLimit"
    clients.elbv2.modify_listener(ListenerArn=first, DefaultActions=forward)


def test_a_secure_listener(clients: Clients) -> None:
    """What the front door asks for with a certificate would be refused here, or a policy be taken that AWS lacks."""
    network, arn = clients.network(), clients.certificate("example.com")
    secure: Any = {"Protocol": "HTTPS", "Certificates": [{"CertificateArn": arn}]}
    policy = "ELBSecurityPolicy-TLS13-1-2-2021-06"
    made = listener(clients, network, **secure, SslPolicy=policy)
    told = clients.elbv2.describe_listeners(ListenerArns=[made])["Listeners"][0]
    assert (told["SslPolicy"], told["Certificates"]) == (policy, [{"CertificateArn": arn}])
    attributes = clients.elbv2.describe_listener_attributes(ListenerArn=made)["Attributes"]
    assert {"Key": "routing.http.request.x_amzn_tls_version.header_name", "Value": "X-Amzn-Tls-Version"} in attributes
    again: Any = {**secure, "LoadBalancerArn": told["LoadBalancerArn"], "Port": 18_083}
    assert refusal(lambda: listener(clients, network, **again, SslPolicy="none")) == "SSLPolicyNotFound"


def test_a_group_of_a_template_that_cannot_launch_is_refused(clients: Clients) -> None:
    """A group whose image is gone would be made here, and fail at its first launch only."""
    network, image = clients.network(), clients.image()
    template = clients.template(image)
    clients.group(template, network)
    clients.ec2.deregister_image(ImageId=image)
    assert refusal(lambda: clients.group(template, network, AutoScalingGroupName="other")) == "ValidationError"
    again: Any = {"AutoScalingGroupName": "web", "LaunchTemplate": {"LaunchTemplateId": template, "Version": "1"}}
    assert refusal(lambda: clients.autoscaling.update_auto_scaling_group(**again)) == "ValidationError"


def test_a_fifo_topic_wants_to_know_the_order(clients: Clients) -> None:
    """A notice to such a topic would be told here and refused on AWS."""
    sns = clients.client("sns")
    topic = sns.create_topic(Name="alerts.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
    assert refusal(lambda: sns.publish(TopicArn=topic, Message="x")) == "InvalidParameter"
    assert refusal(lambda: sns.publish(TopicArn=topic, Message="x", MessageGroupId="web")) == "InvalidParameter"
    sns.publish(TopicArn=topic, Message="x", MessageGroupId="web", MessageDeduplicationId="1")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("shop/prod", {"shop/prod"}),
        ("shop/*", {"shop/prod", "shop/test"}),
        ("shop/t?st", {"shop/test"}),
        (r"shop/\*", set()),
        (r"\*", {"*"}),
        ("*", {"shop/prod", "shop/test", "*"}),
        ("shop/[pt]*", set()),
        (r"a\\b", set()),
    ],
)
def test_filters_have_wildcards(clients: Clients, text: str, found: set[str]) -> None:
    """A name with a wildcard in it would find its own resources only, and on AWS another stack's, too."""
    ids = {
        clients.ebs.start_snapshot(VolumeSize=1, Tags=tagged([("stack", name)]))["SnapshotId"]: name
        for name in ("shop/prod", "shop/test", "*")
    }
    told = clients.ec2.describe_snapshots(Filters=[{"Name": "tag:stack", "Values": [text]}])["Snapshots"]
    assert {ids[snapshot["SnapshotId"]] for snapshot in told} == found


@pytest.mark.parametrize(
    ("value", "wanted", "good"),
    [
        ("a*c", [r"a\*c"], True),
        ("abc", [r"a\*c"], False),
        ("a\\b", [r"a\\b"], True),
        ("a\\b", [r"a\b"], False),
        ("ab", [r"a\b"], True),
        ("a\nb", ["a*b"], True),
        ("ABC", ["abc"], False),
        (["x", "y"], ["z", "y"], True),
        (True, ["true"], True),
        (8, ["8"], True),
        (None, ["*"], False),
        ("x", [], False),
    ],
)
def test_what_fits_a_filter(value: object, wanted: list[str], good: bool) -> None:  # noqa: FBT001 - a column
    """Another resource would be found than AWS finds."""
    assert fits(value, wanted) is good


def test_a_call_takes_two_hundred_filter_values(clients: Clients) -> None:
    """A fleet of 201 machines would be asked for at once here, and never be told of on AWS."""
    values = [f"i-{number:017x}" for number in range(201)]
    assert (
        clients.ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": values[:200]}])["Reservations"] == []
    )
    wanted: Any = [{"Name": "instance-id", "Values": values}]
    assert refusal(lambda: clients.ec2.describe_instances(Filters=wanted)) == "FilterLimitExceeded"


def test_zones_are_the_region_s_own(cloud: LocalCloud, clients: Clients) -> None:
    """A network in zones that the account lacks would come up here, and not on AWS."""
    vpc = clients.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]

    def letters() -> str:
        zones = clients.ec2.describe_availability_zones(Filters=[{"Name": "state", "Values": ["available"]}])
        assert {zone["OptInStatus"] for zone in zones["AvailabilityZones"]} == {"opt-in-not-required"}
        return "".join(zone["ZoneName"][-1] for zone in zones["AvailabilityZones"])

    def subnet(zone: str) -> object:
        return clients.ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24", AvailabilityZone=zone)

    def offer(wanted: str) -> Any:
        body = json.dumps({"letters": wanted}).encode()
        request = urllib.request.Request(f"{cloud.endpoint}/_localcloud/zones", body, method="POST")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["zones"]

    assert letters() == "abcdef"
    assert refusal(lambda: subnet("us-east-1z")) == "InvalidParameterValue"
    assert refusal(lambda: subnet("eu-west-1a")) == "InvalidParameterValue"
    assert offer("ac") == ["us-east-1a", "us-east-1c"]
    assert letters() == "ac"
    assert refusal(lambda: subnet("us-east-1b")) == "InvalidParameterValue"
    subnet("us-east-1c")


def test_a_rule_of_a_security_group_changes_in_place(clients: Clients) -> None:
    """A changed group, port or protocol of a rule would stay what it was, and each preview would want it again."""
    network = clients.network()
    other = security_group(clients, network, "other")["GroupId"]
    made = clients.ec2.authorize_security_group_ingress(
        GroupId=network.group,
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": network.group}]},
            {"IpProtocol": "udp", "FromPort": 53, "ToPort": 53, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]},
        ],
    )["SecurityGroupRules"]
    assert [rule["IpProtocol"] for rule in made] == ["tcp", "udp"]

    def change(index: int, **rule: Any) -> object:
        wanted: Any = [{"SecurityGroupRuleId": made[index]["SecurityGroupRuleId"], "SecurityGroupRule": rule}]
        return clients.ec2.modify_security_group_rules(GroupId=network.group, SecurityGroupRules=wanted)

    change(0, IpProtocol="-1", ReferencedGroupId=other, Description="all")
    change(1, IpProtocol="tcp", FromPort=53, ToPort=54, CidrIpv4="10.1.0.0/16")
    told = clients.ec2.describe_security_group_rules(
        SecurityGroupRuleIds=[rule["SecurityGroupRuleId"] for rule in made]
    )["SecurityGroupRules"]
    keys = ("IpProtocol", "FromPort", "ToPort", "CidrIpv4", "Description")
    assert [tuple(rule.get(key) for key in keys) for rule in told] == [
        ("-1", -1, -1, None, "all"),
        ("tcp", 53, 54, "10.1.0.0/16", None),
    ]
    assert told[0]["ReferencedGroupInfo"]["GroupId"] == other
    assert (
        refusal(lambda: change(1, IpProtocol="tcp", FromPort=1, ToPort=1, CidrIpv6="::/0")) == "InvalidParameterValue"
    )
    assert refusal(lambda: change(1, IpProtocol="tcp", CidrIpv4="10.1.0.0/16")) == "InvalidParameterValue"


@pytest.mark.parametrize(
    ("key", "value"),
    [("idle_timeout.timeout_seconds", "4001"), ("routing.http2.enabled", "yes"), ("tcp.idle_timeout.seconds", "350")],
)
def test_attributes_that_aws_refuses(clients: Clients, key: str, value: str) -> None:
    """A setting of the load balancer would be taken here that AWS refuses."""
    arn = balancer(clients, clients.network())
    wanted: Any = [{"Key": key, "Value": value}]
    assert (
        refusal(lambda: clients.elbv2.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=wanted))
        == "ValidationError"
    )
