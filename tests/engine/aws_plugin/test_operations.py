"""What operations do beyond a plain call: previews, versions, waiting, cleaning up, errors."""

# ruff: noqa: ARG002 - the fakes have the full signature of the operations
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from botocore.exceptions import ClientError
from pulumi.runtime import proto

from engine.aws_plugin import ec2_ipv6, operations, registry, wire
from engine.aws_plugin.config import Clients
from engine.aws_plugin.ec2_network import describe
from engine.aws_plugin.kind import Call, OperationError
from engine.aws_plugin.wire import UNKNOWN
from tests.engine.aws_plugin.conftest import Engine, Made, NoClients, provider_config
from tests.engine.aws_plugin.test_lifecycle import POLICY, TRUST, listener_inputs, mapping, stored_snapshot
from tests.localcloud.certificates import issued

VPC = "aws:ec2/vpc:Vpc"
SUBNET = "aws:ec2/subnet:Subnet"
SECURITY = "aws:ec2/securityGroup:SecurityGroup"
TARGETS = "aws:lb/targetGroup:TargetGroup"
BALANCER = "aws:lb/loadBalancer:LoadBalancer"
LISTENER = "aws:lb/listener:Listener"
RULE = "aws:lb/listenerRule:ListenerRule"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
GROUP = "aws:autoscaling/group:Group"
ROLE = "aws:iam/role:Role"
RECORD = "aws:route53/record:Record"
CERTIFICATE = "aws:lb/listenerCertificate:ListenerCertificate"


@pytest.fixture
def make(engine: Engine) -> Iterator[Callable[..., Made]]:
    """Make resources that are deleted at the end, the last first."""
    made: list[tuple[str, Made]] = []

    def create(type_name: str, inputs: dict[str, Any], name: str = "thing") -> Made:
        thing = engine.create(type_name, inputs, name)
        made.append((type_name, thing))
        return thing

    yield create
    for type_name, thing in reversed(made):
        engine.delete(type_name, thing)


def test_preview_of_a_create(engine: Engine, aws: Callable[[str], Any]) -> None:
    """Broken: a preview makes something, or hides from dependent resources that a value is not known yet."""
    before = len(aws("ec2").describe_vpcs()["Vpcs"])
    made = engine.create(VPC, {"cidrBlock": "10.0.0.0/16", "tags": {"a": "b"}}, preview=True)
    assert made.id == ""
    assert made.state["cidrBlock"] == "10.0.0.0/16"
    assert made.state["tagsAll"] == {"a": "b"}
    assert made.state["enableDnsSupport"] is True
    assert made.state["arn"] is made.state["mainRouteTableId"] is made.state["enableDnsHostnames"] is UNKNOWN
    assert len(aws("ec2").describe_vpcs()["Vpcs"]) == before


def test_template_versions(engine: Engine, make: Callable[..., Made], aws: Callable[[str], Any]) -> None:
    """Broken: a group that follows `latestVersion` misses a new version, or sees one where only tags changed."""
    inputs = {"imageId": "ami-12345678", "tags": {"a": "1"}, "updateDefaultVersion": True}
    template = make(TEMPLATE, inputs)
    assert (template.state["latestVersion"], template.state["defaultVersion"]) == (1, 1)
    changed = {**inputs, "imageId": "ami-87654321"}
    preview = engine.update(TEMPLATE, template, changed, preview=True)
    assert preview.state["latestVersion"] is UNKNOWN
    assert preview.state["imageId"] == "ami-87654321"
    retagged = {**inputs, "tags": {"a": "2"}}
    assert engine.update(TEMPLATE, template, retagged, preview=True).state["latestVersion"] == 1
    template = engine.update(TEMPLATE, template, retagged)
    assert template.state["latestVersion"] == 1
    template = engine.update(TEMPLATE, template, {**retagged, "imageId": "ami-87654321"})
    assert (template.state["latestVersion"], template.state["defaultVersion"]) == (2, 2)
    versions = aws("ec2").describe_launch_template_versions(LaunchTemplateId=template.id)["LaunchTemplateVersions"]
    assert {v["VersionNumber"]: v["LaunchTemplateData"]["ImageId"] for v in versions} == {
        1: "ami-12345678",
        2: "ami-87654321",
    }
    without = {**retagged, "imageId": "ami-11111111", "updateDefaultVersion": False}
    template = engine.update(TEMPLATE, template, without)
    assert (template.state["latestVersion"], template.state["defaultVersion"]) == (3, 2)


def test_security_group_starts_closed(make: Callable[..., Made], aws: Callable[[str], Any]) -> None:
    """Broken: AWS's own rule stays, and instances reach the whole internet unasked."""
    vpc = make(VPC, {"cidrBlock": "10.0.0.0/16"})
    group = make(SECURITY, {"vpcId": vpc.id})
    found = aws("ec2").describe_security_groups(GroupIds=[group.id])["SecurityGroups"][0]
    assert found["IpPermissionsEgress"] == []
    assert found["Description"] == "Managed by Pulumi"


def test_drift_is_seen(engine: Engine, make: Callable[..., Made], aws: Callable[[str], Any]) -> None:
    """Broken: `pulumi refresh` does not see what was changed by hand, and the next `up` does not put it back."""
    vpc = make(VPC, {"cidrBlock": "10.0.0.0/16", "tags": {"a": "b"}})
    inputs = {"port": 80, "protocol": "HTTP", "vpcId": vpc.id, "healthCheck": {"path": "/healthz"}, "tags": {"a": "b"}}
    targets = make(TARGETS, inputs)
    aws("elbv2").modify_target_group(TargetGroupArn=targets.id, HealthCheckPath="/other")
    aws("elbv2").add_tags(ResourceArns=[targets.id], Tags=[{"Key": "by", "Value": "hand"}])
    seen = engine.read(TARGETS, targets)
    assert seen.inputs["healthCheck"]["path"] == "/other"
    assert seen.state["tags"] == {"a": "b", "by": "hand"}
    assert {"healthCheck.path", "tags.by"} <= set(engine.diff(TARGETS, seen, inputs).detailedDiff)
    mended = engine.update(TARGETS, seen, inputs)
    assert engine.read(TARGETS, mended).state["healthCheck"]["path"] == "/healthz"
    assert dict(engine.diff(TARGETS, engine.read(TARGETS, mended), inputs).detailedDiff) == {}


def front_door(make: Callable[..., Made]) -> tuple[Made, Made]:
    """A network that the internet reaches, and a load balancer in it."""
    vpc = make(VPC, {"cidrBlock": "10.0.0.0/16"})
    make("aws:ec2/internetGateway:InternetGateway", {"vpcId": vpc.id})
    subnets = [
        make(SUBNET, {"vpcId": vpc.id, "cidrBlock": f"10.0.{n}.0/24", "availabilityZone": f"us-east-1{zone}"})
        for n, zone in enumerate("ab")
    ]
    balancer = make(BALANCER, {"subnets": [subnet.id for subnet in subnets]})
    return vpc, balancer


def test_rules_without_a_priority_come_last(engine: Engine, make: Callable[..., Made]) -> None:
    """Broken: a rule without a priority takes one that is taken, or comes before the others."""
    _, balancer = front_door(make)
    listener = make(LISTENER, listener_inputs(balancer.id))
    inputs = {
        "listenerArn": listener.id,
        "actions": [
            {"type": "fixed-response", "fixedResponse": {"contentType": "text/plain", "statusCode": "200"}},
        ],
        "conditions": [{"pathPattern": {"values": ["/a"]}}],
    }
    make(RULE, {**inputs, "priority": 41})
    last = make(RULE, inputs)
    assert last.state["priority"] == 42
    assert dict(engine.diff(RULE, last, inputs).detailedDiff) == {}
    assert balancer.state["arnSuffix"].startswith("app/thing-")
    assert balancer.state["dnsName"]


def test_what_another_made_is_not_adopted(engine: Engine, make: Callable[..., Made], aws: Callable[[str], Any]) -> None:
    """Broken: a load balancer or target group of the same name, which ELBv2's create returns, is taken over."""
    vpc, balancer = front_door(make)
    targets = {"name": "taken", "port": 80, "protocol": "HTTP", "vpcId": vpc.id}
    make(TARGETS, targets)
    subnets = [zone["SubnetId"] for zone in _balancer(aws, balancer.id)["AvailabilityZones"]]
    for type_name, inputs in ((TARGETS, targets), (BALANCER, {"name": balancer.state["name"], "subnets": subnets})):
        with pytest.raises(grpc.RpcError) as failed:
            engine.create(type_name, inputs)
        assert failed.value.details().endswith("already exists")
    assert _balancer(aws, balancer.id)["LoadBalancerName"] == balancer.state["name"]


def _balancer(aws: Callable[[str], Any], arn: str) -> Any:
    return aws("elbv2").describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"][0]


def test_a_record_of_another_is_not_overwritten(engine: Engine, aws: Callable[[str], Any]) -> None:
    """Broken: a deploy takes a name over that leads somewhere else, or deletes that record when it fails."""
    zone = aws("route53").create_hosted_zone(Name="example.org", CallerReference="b")["HostedZone"]["Id"]
    inputs = {"zoneId": zone.rpartition("/")[2], "name": "www", "type": "A", "ttl": 60, "records": ["10.0.0.1"]}
    first = engine.create(RECORD, inputs)
    with pytest.raises(grpc.RpcError) as failed:
        engine.create(RECORD, inputs)
    assert "creating Route 53 Record (thing): ChangeResourceRecordSets, InvalidChangeBatch: " in failed.value.details()
    assert engine.read(RECORD, first).state["records"] == ["10.0.0.1"]
    assert first.state["fqdn"] == "www.example.org"
    over = engine.create(RECORD, {**inputs, "records": ["10.0.0.2"], "allowOverwrite": True})
    assert engine.read(RECORD, first).state["records"] == ["10.0.0.2"]
    engine.delete(RECORD, over)


def test_a_record_goes_with_its_zone(engine: Engine, aws: Callable[[str], Any]) -> None:
    """Broken: a zone that was deleted by hand makes every refresh and destroy fail."""
    api = aws("route53")
    zone = api.create_hosted_zone(Name="example.edu", CallerReference="c")["HostedZone"]["Id"].rpartition("/")[2]
    inputs = {"zoneId": zone, "name": "www", "type": "A", "ttl": 60, "records": ["10.0.0.1"]}
    record = engine.create(RECORD, inputs)
    engine.delete(RECORD, record)
    api.delete_hosted_zone(Id=zone)
    assert engine.read(RECORD, record).id == ""
    engine.delete(RECORD, record)


def test_a_certificate_that_became_the_default_is_no_longer_an_extra(
    engine: Engine, make: Callable[..., Made], aws: Callable[[str], Any]
) -> None:
    """Broken: the default certificate counts as one beside it, and is taken from the listener."""
    _, balancer = front_door(make)
    first, second = (issued(aws("acm"), f"{name}.example.com") for name in "xy")
    https = {**listener_inputs(balancer.id, port=443), "protocol": "HTTPS", "certificateArn": first}
    listener = make(LISTENER, https)
    extra = engine.create(CERTIFICATE, {"listenerArn": listener.id, "certificateArn": second})
    assert engine.read(CERTIFICATE, extra).id == extra.id
    assert engine.imported(CERTIFICATE, f"{listener.id}_{first}").id == ""
    engine.delete(CERTIFICATE, extra)
    assert engine.read(CERTIFICATE, extra).id == ""


def test_what_the_official_plugin_reads_is_read(
    engine: Engine, make: Callable[..., Made], aws: Callable[[str], Any]
) -> None:
    """Broken: a right that the official plugin needs is not needed here, and is found missing on AWS only."""
    _, balancer = front_door(make)
    listener = make(LISTENER, listener_inputs(balancer.id))
    assert listener.state["routingHttpResponseServerEnabled"] is True
    role = make(ROLE, {"assumeRolePolicy": TRUST})
    policy = make("aws:iam/rolePolicy:RolePolicy", {"role": role.id, "name": "in", "policy": POLICY})
    managed = aws("iam").create_policy(PolicyName="seen", PolicyDocument=POLICY)["Policy"]["Arn"]
    make("aws:iam/rolePolicyAttachment:RolePolicyAttachment", {"role": role.id, "policyArn": managed})
    seen = engine.read(ROLE, role)
    assert [item["name"] for item in seen.state["inlinePolicies"]] == [policy.id.rpartition(":")[2]]
    assert seen.state["managedPolicyArns"] == [managed]
    assert dict(engine.diff(ROLE, seen, {"assumeRolePolicy": TRUST}).detailedDiff) == {}


def test_an_interface_that_lambda_keeps_is_named(
    engine: Engine, make: Callable[..., Made], aws: Callable[[str], Any]
) -> None:
    """Broken: a subnet that cannot go yet is tried until the time is up, and nobody learns what holds it."""
    vpc = make(VPC, {"cidrBlock": "10.0.0.0/16"})
    subnet = make(SUBNET, {"vpcId": vpc.id, "cidrBlock": "10.0.0.0/24", "availabilityZone": "us-east-1a"})
    kept = aws("ec2").create_network_interface(SubnetId=subnet.id, Description="AWS Lambda VPC ENI-web")
    interface = kept["NetworkInterface"]["NetworkInterfaceId"]
    with pytest.raises(grpc.RpcError) as failed:
        engine.delete(SUBNET, subnet)
    assert f"{subnet.id} still has {interface} of Lambda" in failed.value.details()
    aws("ec2").delete_network_interface(NetworkInterfaceId=interface)


class Scripted:
    """Clients of a fake EC2 that answers each call by a script."""

    region = "us-east-1"
    default_tags: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    ignored_tags: frozenset[str] = frozenset()
    ignored_prefixes: tuple[str, ...] = ()

    def __init__(self, **answers: list[Any]) -> None:
        self._answers = answers

    def client(self, service: str, region: str | None = None) -> Any:
        return self

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        return lambda **_: self._answers[operation].pop(0)


def test_a_nat_gateway_that_fails_says_why() -> None:
    """Broken: a NAT gateway that cannot be made is waited for to the end of time, without AWS's reason."""
    gateway = {"NatGatewayId": "nat-1", "State": "failed", "FailureCode": "Gateway.NotAttached", "FailureMessage": "no"}
    deleted = {**gateway, "State": "deleted"}
    clients = Scripted(
        create_nat_gateway=[{"NatGateway": {"NatGatewayId": "nat-1"}}],
        describe_nat_gateways=[
            {"NatGateways": [{**gateway, "State": "pending"}]},
            {"NatGateways": [gateway]},
            {"NatGateways": [{**gateway, "State": "deleting"}]},
            {"NatGateways": [deleted]},
        ],
        delete_nat_gateway=[{}],
    )
    with pytest.raises(OperationError, match=r"NAT gateway nat-1 failed: Gateway.NotAttached: no$"):
        operations.create(
            registry.find("aws:ec2/natGateway:NatGateway"),
            {"subnetId": "subnet-1", "allocationId": "eipalloc-1"},
            Call(clients, "us-east-1"),
            "web",
            preview=False,
        )


def test_an_endpoint_that_fails_says_why_and_is_waited_for_to_go() -> None:
    """Broken: an endpoint that fails hides its reason, or its network interfaces still hold the subnet."""
    failed = {"State": "Failed", "LastError": {"Code": "Quota", "Message": "full"}, "ServiceName": "kms"}
    clients = Scripted(
        create_vpc_endpoint=[{"VpcEndpoint": {"VpcEndpointId": "vpce-1"}}],
        describe_vpc_endpoints=[
            {"VpcEndpoints": [{**failed, "State": "pending"}]},
            {"VpcEndpoints": [failed]},
            {"VpcEndpoints": [{**failed, "State": "deleting"}]},
            {"VpcEndpoints": []},
        ],
        delete_vpc_endpoints=[{"Unsuccessful": []}],
    )
    with pytest.raises(OperationError, match=r"VPC endpoint vpce-1 is failed: Quota: full$"):
        operations.create(
            registry.find("aws:ec2/vpcEndpoint:VpcEndpoint"),
            {"vpcId": "vpc-1", "serviceName": "kms"},
            Call(clients, "us-east-1"),
            "web",
            preview=False,
        )


def test_an_ipv6_block_that_fails_says_why() -> None:
    """Broken: a VPC without the block that was asked for counts as made."""
    association = {"AssociationId": "a", "Ipv6CidrBlockState": {"State": "failed", "StatusMessage": "none left"}}
    vpc = {"VpcId": "vpc-1", "State": "available", "Ipv6CidrBlockAssociationSet": [association]}
    call = Call(Scripted(describe_vpcs=[{"Vpcs": [vpc]}]), "us-east-1")
    with pytest.raises(OperationError, match=r"the IPv6 block of vpc-1 was not associated: none left$"):
        ec2_ipv6.wait_associated(call, "vpc-1", "a", lambda: describe(call, "describe_vpcs", "Vpcs", VpcIds=["vpc-1"]))


def test_a_service_without_an_endpoint_fails_alone(stub: Any, endpoint: str) -> None:
    """Broken: a program without a domain must name an endpoint for Route 53, or a record of one without it is AWS's."""
    config = provider_config(endpoint)
    without = config["endpoints"].replace(f', "route53": "{endpoint}"', "").replace(f', "wafv2": "{endpoint}"', "")
    try:
        stub.Configure(proto.ConfigureRequest(args=wire.encode({**config, "endpoints": without})))
        engine = Engine(stub)
        engine.delete(VPC, engine.create(VPC, {"cidrBlock": "10.0.0.0/16"}))
        with pytest.raises(grpc.RpcError) as failed:
            engine.create(RECORD, {"zoneId": "Z1", "name": "a", "type": "A", "ttl": 60, "records": ["10.0.0.1"]})
        assert "the aws provider has no endpoint for route53: " in failed.value.details()
    finally:
        stub.Configure(proto.ConfigureRequest(args=wire.encode(config)))


@pytest.fixture
def group_inputs(make: Callable[..., Made], aws: Callable[[str], Any]) -> dict[str, Any]:
    """A group of machines that the local cloud can launch."""
    vpc = make(VPC, {"cidrBlock": "10.0.0.0/16"})
    subnet = make(SUBNET, {"vpcId": vpc.id, "cidrBlock": "10.0.0.0/24", "availabilityZone": "us-east-1a"})
    security = make(SECURITY, {"vpcId": vpc.id})
    snapshot = stored_snapshot(aws("ebs"))
    image = aws("ec2").register_image(
        Name=f"image-{snapshot}",
        RootDeviceName="/dev/xvda",
        Architecture="x86_64",
        VirtualizationType="hvm",
        EnaSupport=True,
        **mapping(snapshot),
    )["ImageId"]
    template = make(TEMPLATE, {"imageId": image, "instanceType": "t3.micro", "vpcSecurityGroupIds": [security.id]})
    return {
        "minSize": 0,
        "maxSize": 2,
        "desiredCapacity": 1,
        "launchTemplate": {"id": template.id, "version": "1"},
        "vpcZoneIdentifiers": [subnet.id],
    }


def instances(aws: Callable[[str], Any], group: str) -> list[Any]:
    groups = aws("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
    return [instance for found in groups for instance in found["Instances"]]


@pytest.mark.parametrize("force", [True, False])
def test_group_goes_with_its_instances(
    engine: Engine, make: Callable[..., Made], aws: Callable[[str], Any], group_inputs: dict[str, Any], *, force: bool
) -> None:
    """Broken: a group is not waited for, does not go while it has instances, or leaves them running."""
    inputs = {**group_inputs, "forceDelete": force}
    group = make(GROUP, inputs)
    assert len(instances(aws, group.id)) == 1
    started = instances(aws, group.id)[0]["InstanceId"]
    engine.delete(GROUP, group)
    assert engine.read(GROUP, group).id == ""
    state = aws("ec2").describe_instances(InstanceIds=[started])["Reservations"][0]["Instances"][0]["State"]["Name"]
    assert state in {"terminated", "shutting-down"}


def test_capacity_moved_by_others_stays(
    engine: Engine, make: Callable[..., Made], aws: Callable[[str], Any], group_inputs: dict[str, Any]
) -> None:
    """Broken: an update of the tags scales a live fleet back to what it was created with."""
    inputs = {**group_inputs, "desiredCapacity": 0, "waitForCapacityTimeout": "0", "forceDelete": True}
    group = make(GROUP, inputs)
    aws("autoscaling").set_desired_capacity(AutoScalingGroupName=group.id, DesiredCapacity=2)
    changed = {**inputs, "maxSize": 3}
    ignore = ("desiredCapacity", "minSize")
    for known in (group, engine.read(GROUP, group)):
        assert set(engine.diff(GROUP, known, changed, ignore).detailedDiff) == {"maxSize"}
        engine.update(GROUP, known, changed, ignore)
        found = aws("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group.id])
        assert found["AutoScalingGroups"][0]["DesiredCapacity"] == 2
    assert found["AutoScalingGroups"][0]["MaxSize"] == 3


def test_a_warm_pool_of_others_stays_and_goes_with_its_group(
    engine: Engine, make: Callable[..., Made], aws: Callable[[str], Any], group_inputs: dict[str, Any]
) -> None:
    """Broken: an update of a live group takes the warm pool that a rollout gave it; or its group cannot be deleted."""
    inputs = {**group_inputs, "desiredCapacity": 0, "waitForCapacityTimeout": "0", "forceDelete": True}
    group, scaling = make(GROUP, inputs), aws("autoscaling")

    def pool() -> dict[str, Any]:
        return dict(scaling.describe_warm_pool(AutoScalingGroupName=group.id).get("WarmPoolConfiguration", {}))

    scaling.put_warm_pool(AutoScalingGroupName=group.id, MinSize=1, PoolState="Running")
    known = engine.read(GROUP, group)
    assert known.state["warmPool"] == {"maxGroupPreparedCapacity": -1, "minSize": 1, "poolState": "Running"}
    changed = {**inputs, "maxSize": 3}
    assert set(engine.diff(GROUP, known, changed, ("warmPool",)).detailedDiff) == {"maxSize"}
    engine.update(GROUP, known, changed, ("warmPool",))
    assert pool()["MinSize"] == 1
    engine.update(GROUP, known, changed)
    assert pool() == {}, "what is read and not declared is taken away, if nobody says otherwise"
    scaling.put_warm_pool(AutoScalingGroupName=group.id, MinSize=1)
    engine.delete(GROUP, group)
    assert engine.read(GROUP, group).id == ""


def test_ignored_property_is_not_sent(engine: Engine, make: Callable[..., Made], aws: Callable[[str], Any]) -> None:
    """Broken: an update of a listener's port puts back the action that someone else owns (pulumi-aws#5772)."""
    _, balancer = front_door(make)
    listener = make(LISTENER, listener_inputs(balancer.id, "declared"))
    by_hand = {"ContentType": "text/plain", "MessageBody": "by hand", "StatusCode": "200"}
    aws("elbv2").modify_listener(
        ListenerArn=listener.id, DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": by_hand}]
    )
    seen = engine.read(LISTENER, listener)
    engine.update(LISTENER, seen, listener_inputs(balancer.id, "declared", port=81), ("defaultActions",))
    found = aws("elbv2").describe_listeners(ListenerArns=[listener.id])["Listeners"][0]
    assert found["Port"] == 81
    assert found["DefaultActions"][0]["FixedResponseConfig"]["MessageBody"] == "by hand"


def test_failed_launch_fails_the_group_and_leaves_nothing(
    engine: Engine, make: Callable[..., Made], group_inputs: dict[str, Any], aws: Callable[[str], Any]
) -> None:
    """Broken: a group that cannot launch is waited for until the end of time, without the reason, or is left there."""
    before = aws("ec2").describe_launch_template_versions(LaunchTemplateId=group_inputs["launchTemplate"]["id"])
    image = before["LaunchTemplateVersions"][0]["LaunchTemplateData"]["ImageId"]
    nothing = {"deviceName": "/dev/sdb", "ebs": {"volumeType": "gp3"}}
    inputs_of_template = {"imageId": image, "instanceType": "t3.micro", "blockDeviceMappings": [nothing]}
    template = make(TEMPLATE, inputs_of_template, "broken")
    inputs = {
        **group_inputs,
        "launchTemplate": {"id": template.id, "version": "1"},
        "name": "cannot-launch",
        "waitForCapacityTimeout": "120s",
    }
    with pytest.raises(grpc.RpcError) as failed:
        engine.create(GROUP, inputs)
    message = failed.value.details()
    assert message.startswith("creating Auto Scaling Group (thing): ")
    assert "The device /dev/sdb has neither a size nor a snapshot" in message
    assert "\n" not in message
    assert engine.read(GROUP, Made("cannot-launch", inputs, inputs)).id == ""


def test_what_is_in_use_is_waited_for(engine: Engine, make: Callable[..., Made], aws: Callable[[str], Any]) -> None:
    """Broken: a target group is not deleted because the rule that used it went a moment later."""
    vpc, balancer = front_door(make)
    targets = make(TARGETS, {"port": 80, "protocol": "HTTP", "vpcId": vpc.id})
    forward = {"type": "forward", "targetGroupArn": targets.id}
    listener = make(LISTENER, {"loadBalancerArn": balancer.id, "port": 80, "defaultActions": [forward]})

    with pytest.raises(grpc.RpcError) as failed:
        engine.delete(TARGETS, targets, timeout=0.3)
    assert failed.value.details().startswith(
        f"deleting ELBv2 Target Group ({targets.id}): DeleteTargetGroup, ResourceInUse"
    )

    later = threading.Timer(0.5, lambda: aws("elbv2").delete_listener(ListenerArn=listener.id))
    later.start()
    engine.delete(TARGETS, targets)
    later.join()
    assert engine.read(TARGETS, targets).id == ""


def test_errors_are_one_line(engine: Engine, make: Callable[..., Made]) -> None:
    """Broken: the user cannot tell which resource failed, in which call, and why."""
    make(ROLE, {"assumeRolePolicy": TRUST, "name": "taken"})
    with pytest.raises(grpc.RpcError) as failed:
        engine.create(ROLE, {"assumeRolePolicy": TRUST, "name": "taken"}, "web")
    assert failed.value.details().startswith("creating IAM Role (web): CreateRole, EntityAlreadyExists: ")


def test_nested_property_without_a_counterpart_is_refused(engine: Engine) -> None:
    """Broken: a nested property that the stand-in cannot pass on is dropped, and AWS never hears of it."""
    action = {"type": "authenticate-oidc", "jwtValidation": {"issuer": "a", "jwksEndpoint": "b"}}
    inputs = {"loadBalancerArn": "arn", "port": 80, "defaultActions": [action]}
    with pytest.raises(grpc.RpcError) as failed:
        engine.create(LISTENER, inputs)
    assert "jwtValidation: the stand-in for the AWS plugin does not implement it" in failed.value.details()


def failing_call(make_error: Callable[[], Exception], *, delete_fails: bool) -> tuple[Any, list[str]]:
    """A call whose kind makes something and then fails."""
    kind = registry.find("aws:iam/rolePolicyAttachment:RolePolicyAttachment")
    deleted: list[str] = []

    class Failing(type(kind)):  # type: ignore[misc] # the class is found at run time
        def create(self, call: Call, props: wire.Props) -> str:
            call.made = "half-made"
            raise make_error()

        def delete(self, call: Call, resource_id: str, known: wire.Props) -> None:
            deleted.append(resource_id)
            if delete_fails:
                message = "it cannot go"
                raise OperationError(message)

    return Failing(), deleted


def throttled() -> Exception:
    return ClientError({"Error": {"Code": "Throttling", "Message": "slow\ndown"}}, "AttachRolePolicy")


def test_half_made_is_taken_away() -> None:
    """Broken: a create that failed half-way leaves something that no state knows."""
    kind, deleted = failing_call(throttled, delete_fails=False)
    call = Call(NoClients(), "us-east-1")
    with pytest.raises(OperationError, match=r"^creating .*\(web\): AttachRolePolicy, Throttling: slow down$"):
        operations.create(kind, {"role": "a", "policyArn": "b"}, call, "web", preview=False)
    assert deleted == ["half-made"]


def test_half_made_that_cannot_go_reaches_the_state() -> None:
    """Broken: what could not be cleaned up is lost, or the clean-up's error hides the first one."""
    kind, _ = failing_call(throttled, delete_fails=True)
    with pytest.raises(operations.PartialError) as failed:
        operations.create(kind, {"role": "a", "policyArn": "b"}, Call(NoClients(), "us-east-1"), "web", preview=False)
    assert failed.value.resource_id == "half-made"
    message = str(failed.value)
    assert message.index("slow down") < message.index("it cannot go")
    assert "\n" not in message


def test_unexpected_errors_are_half_made_too() -> None:
    """Broken: a defect in the plugin leaves what was made before it struck."""
    kind, deleted = failing_call(lambda: KeyError("defect"), delete_fails=False)
    with pytest.raises(KeyError):
        operations.create(kind, {"role": "a", "policyArn": "b"}, Call(NoClients(), "us-east-1"), "web", preview=False)
    assert deleted == ["half-made"]


def test_default_tags_reach_aws(stub: Any, endpoint: str, aws: Callable[[str], Any]) -> None:
    """Broken: a tag policy in the provider's `defaultTags` tags nothing, or shows in `tags` as if it were given."""
    config = {**provider_config(endpoint), "defaultTags": '{"tags": {"team": "infra", "a": "default"}}'}
    try:
        stub.Configure(proto.ConfigureRequest(args=wire.encode(config)))
        engine = Engine(stub)
        inputs = {"cidrBlock": "10.0.0.0/16", "tags": {"a": "own"}}
        vpc = engine.create(VPC, inputs)
        tags = aws("ec2").describe_vpcs(VpcIds=[vpc.id])["Vpcs"][0]["Tags"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "infra", "a": "own"}
        assert vpc.state["tags"] == {"a": "own"}
        assert vpc.state["tagsAll"] == {"team": "infra", "a": "own"}
        refreshed = engine.read(VPC, vpc)
        assert refreshed.state == vpc.state
        assert dict(engine.diff(VPC, refreshed, inputs).detailedDiff) == {}
        engine.delete(VPC, vpc)
    finally:
        stub.Configure(proto.ConfigureRequest(args=wire.encode(provider_config(endpoint))))


def test_ignored_tags_are_never_seen(stub: Any, endpoint: str, aws: Callable[[str], Any]) -> None:
    """Broken: a refresh takes a tag that somebody else writes for drift, and the next update removes it."""
    config = {**provider_config(endpoint), "ignoreTags": '{"keys": ["fleetswap:pin"]}'}
    try:
        stub.Configure(proto.ConfigureRequest(args=wire.encode(config)))
        engine = Engine(stub)
        inputs = {"cidrBlock": "10.0.0.0/16", "tags": {"a": "own"}}
        vpc = engine.create(VPC, inputs)
        aws("ec2").create_tags(Resources=[vpc.id], Tags=[{"Key": "fleetswap:pin", "Value": "2"}])
        refreshed = engine.read(VPC, vpc)
        assert refreshed.state == vpc.state
        aws("ec2").create_tags(Resources=[vpc.id], Tags=[{"Key": "other", "Value": "2"}])
        assert engine.read(VPC, vpc).state["tags"] == {"a": "own", "other": "2"}
        engine.delete(VPC, vpc)
    finally:
        stub.Configure(proto.ConfigureRequest(args=wire.encode(provider_config(endpoint))))


def test_cloud_that_is_not_there_is_named() -> None:
    """Broken: with the local cloud stopped, the user sees a failed connection and not what to do about it."""
    endpoints = dict.fromkeys(("ec2", "autoscaling", "elbv2", "iam", "sts"), "http://127.0.0.1:1")
    credentials = {"accessKey": "local", "secretKey": "local"}
    clients = Clients("us-east-1", endpoints, credentials, max_retries=1)
    with pytest.raises(OperationError, match=r'reading EC2 VPC \(vpc-1\): .*"http://127.0.0.1:1/" Is the local cloud'):
        operations.read(registry.find(VPC), "vpc-1", {}, {}, Call(clients, "us-east-1"))


def test_waiting_ends() -> None:
    """Broken: something that never comes hangs the update for ever, or ends it without saying what was awaited."""
    call = Call(NoClients(), "us-east-1", timeout=0.1)
    asked: list[bool] = []
    with pytest.raises(OperationError, match="the moon took longer than 0 s"):
        call.wait("the moon", lambda: bool(asked.append(False)))  # type: ignore[func-returns-value] # it counts
    assert len(asked) > 1
