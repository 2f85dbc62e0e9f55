"""Everything that the program makes, made with plain clients and read back: what was asked for, as AWS tells it.

Expected answers are whole, so a member that nobody asked for and AWS does not add is an error, too. The properties are
those that `components` declares. What AWS adds comes from the API references' examples and from their defaults.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import pytest

from localcloud.ebs.store import SnapshotStore
from localcloud.server import LocalCloud
from tests.localcloud.certificates import issued
from tests.localcloud.clients import Clients
from tests.localcloud.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNT = "123456789012"
TAGS = [{"Key": "Name", "Value": "web"}, {"Key": "fleetswap:stack", "Value": "shop/prod"}]
MORE = {"Key": "team", "Value": "web"}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": ["ec2.amazonaws.com", "scheduler.amazonaws.com"]},
            "Action": "sts:AssumeRole",
        }
    ],
}
MAY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
MANAGED = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
ROOT = "/dev/xvda"


def specification(kind: str) -> Any:
    return [{"ResourceType": kind, "Tags": TAGS}]


@dataclass
class World:
    """One of everything, and what watched it being made."""

    aws: Clients
    wire: Wire
    ids: dict[str, str] = field(default_factory=dict)
    subnets: list[str] = field(default_factory=list)

    def client(self, service: str) -> Any:
        return self.wire.watch(self.aws.client(service))


@pytest.fixture(scope="module")
def world(_local_cloud: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Made in the order of the program, by clients whose every answer is compared with the service's model."""
    root = tmp_path_factory.mktemp("as-aws")
    cloud = LocalCloud(root, 0, machines=False, store=SnapshotStore(root / "snapshots", settle_seconds=0.0))
    cloud.start()
    try:
        with Clients(cloud.endpoint) as aws:
            world = World(aws, Wire())
            _network(world)
            _ways_out(world)
            _image(world)
            _front(world)
            _template(world)
            _group(world)
            _watch(world)
            yield world
    finally:
        cloud.stop()


def _network(world: World) -> None:
    ec2, ids = world.client("ec2"), world.ids
    ids["vpc"] = ec2.create_vpc(CidrBlock="10.20.0.0/16", TagSpecifications=specification("vpc"))["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=ids["vpc"], EnableDnsHostnames={"Value": True})
    made = ec2.create_internet_gateway(TagSpecifications=specification("internet-gateway"))
    ids["gateway"] = made["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=ids["gateway"], VpcId=ids["vpc"])
    table = ec2.create_route_table(VpcId=ids["vpc"], TagSpecifications=specification("route-table"))
    ids["table"] = table["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=ids["table"], DestinationCidrBlock="0.0.0.0/0", GatewayId=ids["gateway"])
    for zone, block in (("a", "10.20.0.0/17"), ("b", "10.20.128.0/17")):
        subnet = ec2.create_subnet(
            VpcId=ids["vpc"],
            CidrBlock=block,
            AvailabilityZone=f"us-east-1{zone}",
            TagSpecifications=specification("subnet"),
        )
        world.subnets.append(subnet["Subnet"]["SubnetId"])
        ec2.associate_route_table(SubnetId=world.subnets[-1], RouteTableId=ids["table"])
    for name in ("front", "machines"):
        group = ec2.create_security_group(
            GroupName=f"web-{name}",
            Description=f"web: {name}",
            VpcId=ids["vpc"],
            TagSpecifications=specification("security-group"),
        )
        ids[name] = group["GroupId"]
        everything = ec2.describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"][0]
        ec2.revoke_security_group_egress(GroupId=group["GroupId"], IpPermissions=everything["IpPermissionsEgress"])
    ids["open"] = _rule(ec2.authorize_security_group_ingress, ids["front"], 80, IpRanges=[{"CidrIp": "0.0.0.0/0"}])
    ids["out"] = _rule(
        ec2.authorize_security_group_egress, ids["front"], 8080, UserIdGroupPairs=[{"GroupId": ids["machines"]}]
    )
    ids["in"] = _rule(
        ec2.authorize_security_group_ingress, ids["machines"], 8080, UserIdGroupPairs=[{"GroupId": ids["front"]}]
    )


def _ways_out(world: World) -> None:
    """In a VPC of two stacks of addresses: NAT, endpoints, and the rules that let machines out to them."""
    ec2, ids = world.client("ec2"), world.ids
    made = ec2.create_vpc(CidrBlock="10.21.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]
    ids["dual"], block = made["VpcId"], made["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]
    ec2.modify_vpc_attribute(VpcId=ids["dual"], EnableDnsHostnames={"Value": True})
    internet = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=internet, VpcId=ids["dual"])
    subnet = ec2.create_subnet(
        VpcId=ids["dual"],
        CidrBlock="10.21.0.0/24",
        Ipv6CidrBlock=block.replace("/56", "/64"),
        AvailabilityZone="us-east-1a",
    )
    ids["subnet"] = subnet["Subnet"]["SubnetId"]
    ec2.modify_subnet_attribute(SubnetId=ids["subnet"], AssignIpv6AddressOnCreation={"Value": True})
    ids["eip"] = ec2.allocate_address(Domain="vpc", TagSpecifications=specification("elastic-ip"))["AllocationId"]
    nat = ec2.create_nat_gateway(
        SubnetId=ids["subnet"], AllocationId=ids["eip"], TagSpecifications=specification("natgateway")
    )
    ids["nat"] = nat["NatGateway"]["NatGatewayId"]
    egress = ec2.create_egress_only_internet_gateway(
        VpcId=ids["dual"], TagSpecifications=specification("egress-only-internet-gateway")
    )
    ids["egress"] = egress["EgressOnlyInternetGateway"]["EgressOnlyInternetGatewayId"]
    ids["private"] = ec2.create_route_table(VpcId=ids["dual"])["RouteTable"]["RouteTableId"]
    table: Any = {"RouteTableId": ids["private"]}
    ec2.create_route(**table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=ids["nat"])
    ec2.create_route(**table, DestinationIpv6CidrBlock="::/0", EgressOnlyInternetGatewayId=ids["egress"])
    ids["doors"] = ec2.create_security_group(GroupName="doors", Description="doors", VpcId=ids["dual"])["GroupId"]
    tags = specification("vpc-endpoint")
    kms = ec2.create_vpc_endpoint(
        VpcId=ids["dual"],
        ServiceName="com.amazonaws.us-east-1.kms",
        VpcEndpointType="Interface",
        SubnetIds=[ids["subnet"]],
        SecurityGroupIds=[ids["doors"]],
        PrivateDnsEnabled=True,
        TagSpecifications=tags,
    )
    ids["kms"] = kms["VpcEndpoint"]["VpcEndpointId"]
    s3 = ec2.create_vpc_endpoint(
        VpcId=ids["dual"],
        ServiceName="com.amazonaws.us-east-1.s3",
        VpcEndpointType="Gateway",
        PrivateDnsEnabled=False,
        RouteTableIds=[ids["private"]],
        TagSpecifications=tags,
    )
    ids["s3"] = s3["VpcEndpoint"]["VpcEndpointId"]
    named = [{"Name": "prefix-list-name", "Values": ["com.amazonaws.us-east-1.s3"]}]
    ids["prefixes"] = only(ec2.describe_prefix_lists(Filters=named), "PrefixLists")["PrefixListId"]
    out = ec2.authorize_security_group_egress
    ids["to-s3"] = _rule(out, ids["doors"], 443, PrefixListIds=[{"PrefixListId": ids["prefixes"]}])
    ids["to-six"] = _rule(out, ids["doors"], 443, Ipv6Ranges=[{"CidrIpv6": "2000::/3"}])
    # Both are late, so that the control plane's own thread settles them.
    deadline = time.monotonic() + 60
    while not _are_there(ec2, ids):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _are_there(ec2: Any, ids: dict[str, str]) -> bool:
    nat = only(ec2.describe_nat_gateways(NatGatewayIds=[ids["nat"]]), "NatGateways")
    kms = only(ec2.describe_vpc_endpoints(VpcEndpointIds=[ids["kms"]]), "VpcEndpoints")
    return bool((nat["State"], kms["State"]) == ("available", "available"))


def _rule(authorize: Any, group: str, port: int, **source: Any) -> str:
    made = authorize(
        GroupId=group,
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **source}],
        TagSpecifications=specification("security-group-rule"),
    )
    return str(made["SecurityGroupRules"][0]["SecurityGroupRuleId"])


def _image(world: World) -> None:
    world.ids["snapshot"] = world.aws.snapshot(Tags=TAGS, Description="web 1")
    made = world.client("ec2").register_image(
        Name="web-1",
        Description="sha256:0",
        Architecture="x86_64",
        VirtualizationType="hvm",
        BootMode="uefi",
        EnaSupport=True,
        ImdsSupport="v2.0",
        SriovNetSupport="simple",
        RootDeviceName=ROOT,
        BlockDeviceMappings=[
            {
                "DeviceName": ROOT,
                "Ebs": {"SnapshotId": world.ids["snapshot"], "VolumeType": "gp3", "DeleteOnTermination": True},
            }
        ],
        TagSpecifications=specification("image"),
    )
    world.ids["image"] = made["ImageId"]


BALANCER = {"routing.http.drop_invalid_header_fields.enabled": "true", "idle_timeout.timeout_seconds": "61"}
TARGETS = {"deregistration_delay.timeout_seconds": "5"}
NO_RELEASE = {
    "Type": "fixed-response",
    "Order": 1,
    "FixedResponseConfig": {"ContentType": "text/plain", "MessageBody": "no release\n", "StatusCode": "503"},
}
CONDITION = {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "x-release", "Values": ["web-1"]}}


def _front(world: World) -> None:
    elb, ids = world.client("elbv2"), world.ids
    balancer = elb.create_load_balancer(
        Name="web",
        Subnets=world.subnets,
        SecurityGroups=[ids["front"]],
        Scheme="internet-facing",
        Type="application",
        Tags=TAGS,
    )["LoadBalancers"][0]
    ids["balancer"] = balancer["LoadBalancerArn"]
    elb.modify_load_balancer_attributes(LoadBalancerArn=ids["balancer"], Attributes=_attributes(BALANCER))
    targets = elb.create_target_group(
        Name="web-1",
        Port=8080,
        Protocol="HTTP",
        VpcId=ids["vpc"],
        TargetType="instance",
        HealthCheckEnabled=True,
        HealthCheckProtocol="HTTP",
        HealthCheckPort="traffic-port",
        HealthCheckPath="/health",
        HealthCheckIntervalSeconds=5,
        HealthCheckTimeoutSeconds=2,
        HealthyThresholdCount=2,
        UnhealthyThresholdCount=3,
        Matcher={"HttpCode": "200-299"},
        Tags=TAGS,
    )["TargetGroups"][0]
    ids["targets"] = targets["TargetGroupArn"]
    elb.modify_target_group_attributes(TargetGroupArn=ids["targets"], Attributes=_attributes(TARGETS))
    listener = elb.create_listener(
        LoadBalancerArn=ids["balancer"], Port=18_080, Protocol="HTTP", DefaultActions=[NO_RELEASE], Tags=TAGS
    )["Listeners"][0]
    ids["listener"] = listener["ListenerArn"]
    rule = elb.create_rule(
        ListenerArn=ids["listener"],
        Priority=7,
        Conditions=[CONDITION],
        Actions=[{"Type": "forward", "Order": 1, "TargetGroupArn": ids["targets"]}],
        Tags=TAGS,
    )["Rules"][0]
    ids["rule"] = rule["RuleArn"]
    traffic = elb.create_rule(
        ListenerArn=ids["listener"],
        Priority=50_000,
        Conditions=[{"Field": "path-pattern", "Values": ["/*"]}],
        Actions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": [_share(ids["targets"], 100)]}}],
        Tags=TAGS,
    )["Rules"][0]
    ids["traffic"] = traffic["RuleArn"]


def _attributes(wanted: dict[str, str]) -> Any:
    return [{"Key": key, "Value": value} for key, value in wanted.items()]


def _share(arn: str, weight: int) -> dict[str, Any]:
    return {"TargetGroupArn": arn, "Weight": weight}


def _template(world: World) -> None:
    iam, ec2, ids = world.client("iam"), world.client("ec2"), world.ids
    iam.create_role(RoleName="web-1", AssumeRolePolicyDocument=json.dumps(TRUST), Tags=TAGS)
    iam.attach_role_policy(RoleName="web-1", PolicyArn=MANAGED)
    iam.put_role_policy(RoleName="web-1", PolicyName="switch", PolicyDocument=json.dumps(MAY))
    iam.create_instance_profile(InstanceProfileName="web-1", Tags=TAGS)
    iam.add_role_to_instance_profile(InstanceProfileName="web-1", RoleName="web-1")
    profile = iam.get_instance_profile(InstanceProfileName="web-1")["InstanceProfile"]
    ids["profile"] = profile["Arn"]
    made = ec2.create_launch_template(
        LaunchTemplateName="web-1",
        LaunchTemplateData=_data(world),
        TagSpecifications=specification("launch-template"),
    )
    ids["template"] = made["LaunchTemplate"]["LaunchTemplateId"]


def _data(world: World) -> Any:
    return {
        "ImageId": world.ids["image"],
        "IamInstanceProfile": {"Arn": world.ids["profile"]},
        "SecurityGroupIds": [world.ids["machines"]],
        "BlockDeviceMappings": [
            {
                "DeviceName": ROOT,
                "Ebs": {"VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True, "VolumeSize": 4},
            }
        ],
        "MetadataOptions": {"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1},
        "Monitoring": {"Enabled": True},
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": TAGS} for kind in ("instance", "volume", "network-interface")
        ],
    }


TRACKING = {"PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"}, "TargetValue": 60.0}


def _group(world: World) -> None:
    scaling, ids = world.client("autoscaling"), world.ids
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="web-1",
        MinSize=0,
        MaxSize=4,
        DesiredCapacity=0,
        VPCZoneIdentifier=",".join(world.subnets),
        TargetGroupARNs=[ids["targets"]],
        HealthCheckType="ELB",
        HealthCheckGracePeriod=300,
        DefaultInstanceWarmup=60,
        CapacityRebalance=True,
        MixedInstancesPolicy={
            "InstancesDistribution": {
                "OnDemandBaseCapacity": 2,
                "OnDemandPercentageAboveBaseCapacity": 0,
                "SpotAllocationStrategy": "price-capacity-optimized",
            },
            "LaunchTemplate": {
                "LaunchTemplateSpecification": {"LaunchTemplateId": ids["template"], "Version": "1"},
                "Overrides": [{"InstanceType": "c7a.large"}, {"InstanceType": "m7a.large"}],
            },
        },
        Tags=_group_tags(),
    )
    scaling.put_scaling_policy(
        AutoScalingGroupName="web-1",
        PolicyName="cpu",
        PolicyType="TargetTrackingScaling",
        Enabled=True,
        TargetTrackingConfiguration=TRACKING,
    )
    scaling.put_scheduled_update_group_action(
        AutoScalingGroupName="web-1",
        ScheduledActionName="standby",
        StartTime="2099-01-01T00:00:00Z",
        MinSize=0,
        DesiredCapacity=0,
    )


def _group_tags() -> Any:
    return [
        {"ResourceId": "web-1", "ResourceType": "auto-scaling-group", "PropagateAtLaunch": True, **tag} for tag in TAGS
    ]


ALARM = {
    "AlarmName": "errors",
    "Namespace": "AWS/ApplicationELB",
    "MetricName": "HTTPCode_Target_5XX_Count",
    "Dimensions": [{"Name": "LoadBalancer", "Value": "app/web/1"}],
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 2,
    "Threshold": 5.0,
    "ComparisonOperator": "GreaterThanThreshold",
}
SCHEDULE = {
    "Name": "switch",
    "ScheduleExpression": "at(2099-01-01T00:00:00)",
    "ScheduleExpressionTimezone": "UTC",
    "FlexibleTimeWindow": {"Mode": "OFF"},
    "ActionAfterCompletion": "DELETE",
}


def _target(world: World) -> dict[str, Any]:
    return {
        "Arn": "arn:aws:scheduler:::aws-sdk:elasticloadbalancingv2:modifyRule",
        "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/web-1",
        "Input": json.dumps({"RuleArn": world.ids["traffic"]}),
        "RetryPolicy": {"MaximumRetryAttempts": 20, "MaximumEventAgeInSeconds": 300},
    }


def _watch(world: World) -> None:
    world.ids["topic"] = world.client("sns").create_topic(Name="alerts", Tags=TAGS)["TopicArn"]
    world.client("cloudwatch").put_metric_alarm(**ALARM, Tags=TAGS)
    world.client("scheduler").create_schedule(**SCHEDULE, Target=_target(world))


def only(answer: Any, key: str) -> Any:
    """The one item of an answer's list."""
    (found,) = answer[key]
    return found


def by_key(tags: Any) -> Any:
    return sorted(tags, key=lambda tag: str(tag["Key"]))


def test_nat_gateway_and_its_address(world: World) -> None:
    """Each preview would want another address for the gateway, or replace it."""
    ec2, ids = world.client("ec2"), world.ids
    gateway = only(ec2.describe_nat_gateways(NatGatewayIds=[ids["nat"]]), "NatGateways")
    address = only(ec2.describe_addresses(AllocationIds=[ids["eip"]]), "Addresses")
    assert gateway == {
        "NatGatewayId": ids["nat"],
        "State": "available",
        "ConnectivityType": "public",
        "AvailabilityMode": "zonal",
        "SubnetId": ids["subnet"],
        "VpcId": ids["dual"],
        "CreateTime": ANY,
        "Tags": TAGS,
        "NatGatewayAddresses": [
            {
                "AllocationId": ids["eip"],
                "AssociationId": address["AssociationId"],
                "NetworkInterfaceId": address["NetworkInterfaceId"],
                "PrivateIp": address["PrivateIpAddress"],
                "PublicIp": address["PublicIp"],
                "IsPrimary": True,
                "Status": "succeeded",
            }
        ],
    }
    assert (address["Domain"], address["Tags"]) == ("vpc", TAGS)
    assert (address["NetworkBorderGroup"], address["PublicIpv4Pool"]) == ("us-east-1", "amazon")
    told = ec2.describe_addresses_attribute(AllocationIds=[ids["eip"]], Attribute="domain-name")["Addresses"]
    assert told == [{"AllocationId": ids["eip"], "PublicIp": address["PublicIp"]}]


def test_ways_out_in_ipv6(world: World) -> None:
    """A network with IPv6 would never settle, or its machines have no address in it."""
    ec2, ids = world.client("ec2"), world.ids
    asked: Any = {"EgressOnlyInternetGatewayIds": [ids["egress"]]}
    assert only(ec2.describe_egress_only_internet_gateways(**asked), "EgressOnlyInternetGateways") == {
        "EgressOnlyInternetGatewayId": ids["egress"],
        "Attachments": [{"State": "attached", "VpcId": ids["dual"]}],
        "Tags": TAGS,
    }
    vpc = only(ec2.describe_vpcs(VpcIds=[ids["dual"]]), "Vpcs")
    block = only(vpc, "Ipv6CidrBlockAssociationSet")
    assert (block["Ipv6CidrBlockState"], block["Ipv6Pool"]) == ({"State": "associated"}, "Amazon")
    subnet = only(ec2.describe_subnets(SubnetIds=[ids["subnet"]]), "Subnets")
    assert only(subnet, "Ipv6CidrBlockAssociationSet")["Ipv6CidrBlockState"] == {"State": "associated"}
    assert subnet["AssignIpv6AddressOnCreation"] is True
    assert subnet["AvailableIpAddressCount"] == 251 - 2, "without those of the gateway and of the endpoint"
    table = only(ec2.describe_route_tables(RouteTableIds=[ids["private"]]), "RouteTables")
    targets = ("NatGatewayId", "EgressOnlyInternetGatewayId", "GatewayId")
    ways = [{key: route[key] for key in targets if key in route} for route in table["Routes"]]
    local = {"GatewayId": "local"}
    assert ways == [
        local,
        local,
        {"NatGatewayId": ids["nat"]},
        {"EgressOnlyInternetGatewayId": ids["egress"]},
        {"GatewayId": ids["s3"]},
    ]
    assert {route["State"] for route in table["Routes"]} == {"active"}


def test_the_endpoints(world: World) -> None:
    """Each preview would want another endpoint, or the official provider not find its network interface."""
    ec2, ids = world.client("ec2"), world.ids
    everybody = {"Statement": [{"Action": "*", "Effect": "Allow", "Principal": "*", "Resource": "*"}]}
    common = {
        "VpcId": ids["dual"],
        "State": "available",
        "PolicyDocument": ANY,
        "IpAddressType": "ipv4",
        "RequesterManaged": False,
        "CreationTimestamp": ANY,
        "Tags": TAGS,
        "OwnerId": ACCOUNT,
        "ServiceRegion": "us-east-1",
    }
    kms = only(ec2.describe_vpc_endpoints(VpcEndpointIds=[ids["kms"]]), "VpcEndpoints")
    interface = only(kms, "NetworkInterfaceIds")
    assert kms == common | {
        "VpcEndpointId": ids["kms"],
        "VpcEndpointType": "Interface",
        "ServiceName": "com.amazonaws.us-east-1.kms",
        "RouteTableIds": [],
        "SubnetIds": [ids["subnet"]],
        "Groups": [{"GroupId": ids["doors"], "GroupName": "doors"}],
        "DnsOptions": {"DnsRecordIpType": "ipv4"},
        "DnsEntries": [{"DnsName": ANY, "HostedZoneId": ANY}] * 3,
        "PrivateDnsEnabled": True,
        "NetworkInterfaceIds": [interface],
    }
    policy = json.loads(kms["PolicyDocument"])
    assert policy == {**everybody, "Version": "2008-10-17"}
    s3 = only(ec2.describe_vpc_endpoints(VpcEndpointIds=[ids["s3"]]), "VpcEndpoints")
    assert s3 == common | {
        "VpcEndpointId": ids["s3"],
        "VpcEndpointType": "Gateway",
        "ServiceName": "com.amazonaws.us-east-1.s3",
        "RouteTableIds": [ids["private"]],
        "SubnetIds": [],
        "Groups": [],
        "DnsOptions": {"DnsRecordIpType": "service-defined"},
        "DnsEntries": [],
        "PrivateDnsEnabled": False,
        "NetworkInterfaceIds": [],
    }
    card = only(ec2.describe_network_interfaces(NetworkInterfaceIds=[interface]), "NetworkInterfaces")
    assert (card["SubnetId"], card["PrivateIpAddress"].startswith("10.21.0.")) == (ids["subnet"], True)


def test_rules_of_prefix_lists_and_ipv6(world: World) -> None:
    """A rule that lets machines out to S3 or by IPv6 would be changed by every update."""
    told = world.client("ec2").describe_security_group_rules(
        SecurityGroupRuleIds=[world.ids["to-s3"], world.ids["to-six"]]
    )["SecurityGroupRules"]
    found = {rule["SecurityGroupRuleId"]: rule for rule in told}
    for name, source in (("to-s3", {"PrefixListId": world.ids["prefixes"]}), ("to-six", {"CidrIpv6": "2000::/3"})):
        rule_id = world.ids[name]
        assert found[rule_id] == {
            "SecurityGroupRuleId": rule_id,
            "SecurityGroupRuleArn": f"arn:aws:ec2:us-east-1:{ACCOUNT}:security-group-rule/{rule_id}",
            "GroupId": world.ids["doors"],
            "GroupOwnerId": ACCOUNT,
            "IsEgress": True,
            "IpProtocol": "tcp",
            "FromPort": 443,
            "ToPort": 443,
            "Tags": TAGS,
            **source,
        }


def test_the_network(world: World) -> None:
    """A property of VPC, gateway, route table or subnets would be lost, and each preview would want it again."""
    ec2, ids = world.client("ec2"), world.ids
    vpc = only(ec2.describe_vpcs(VpcIds=[ids["vpc"]]), "Vpcs")
    assert (vpc["CidrBlock"], vpc["State"], by_key(vpc["Tags"])) == ("10.20.0.0/16", "available", TAGS)
    for attribute, value in (("DnsHostnames", True), ("DnsSupport", True), ("NetworkAddressUsageMetrics", False)):
        told = ec2.describe_vpc_attribute(VpcId=ids["vpc"], Attribute=f"enable{attribute}")
        assert told[f"Enable{attribute}"] == {"Value": value}
    gateway = only(ec2.describe_internet_gateways(InternetGatewayIds=[ids["gateway"]]), "InternetGateways")
    assert gateway == {
        "InternetGatewayId": ids["gateway"],
        "Attachments": [{"State": "available", "VpcId": ids["vpc"]}],
        "OwnerId": ACCOUNT,
        "Tags": TAGS,
    }
    table = only(ec2.describe_route_tables(RouteTableIds=[ids["table"]]), "RouteTables")
    assert [item["SubnetId"] for item in table["Associations"]] == world.subnets
    assert table["Routes"] == [
        {
            "DestinationCidrBlock": "10.20.0.0/16",
            "GatewayId": "local",
            "Origin": "CreateRouteTable",
            "State": "active",
        },
        {
            "DestinationCidrBlock": "0.0.0.0/0",
            "GatewayId": ids["gateway"],
            "Origin": "CreateRoute",
            "State": "active",
        },
    ]
    for subnet, zone in zip(ec2.describe_subnets(SubnetIds=world.subnets)["Subnets"], "ab", strict=True):
        assert subnet["AvailabilityZone"] == f"us-east-1{zone}"
        assert (subnet["MapPublicIpOnLaunch"], subnet["AvailableIpAddressCount"]) == (False, 32_763)
        assert subnet["SubnetArn"] == f"arn:aws:ec2:us-east-1:{ACCOUNT}:subnet/{subnet['SubnetId']}"
        assert by_key(subnet["Tags"]) == TAGS


def test_the_security_groups(world: World) -> None:
    """A refresh would take a rule's group for another account's, or its own change for somebody else's."""
    ec2, ids = world.client("ec2"), world.ids
    group = only(ec2.describe_security_groups(GroupIds=[ids["front"]]), "SecurityGroups")
    assert group["IpPermissions"][0]["IpRanges"] == [{"CidrIp": "0.0.0.0/0"}]
    assert group["IpPermissionsEgress"][0]["UserIdGroupPairs"] == [{"GroupId": ids["machines"], "UserId": ACCOUNT}]
    assert {key: group[key] for key in ("GroupName", "Description", "OwnerId", "SecurityGroupArn", "VpcId")} == {
        "GroupName": "web-front",
        "Description": "web: front",
        "OwnerId": ACCOUNT,
        "SecurityGroupArn": f"arn:aws:ec2:us-east-1:{ACCOUNT}:security-group/{ids['front']}",
        "VpcId": ids["vpc"],
    }
    for name, owner, port, egress, source in (
        ("open", "front", 80, False, {"CidrIpv4": "0.0.0.0/0"}),
        ("out", "front", 8080, True, {"ReferencedGroupInfo": {"GroupId": ids["machines"], "UserId": ACCOUNT}}),
        ("in", "machines", 8080, False, {"ReferencedGroupInfo": {"GroupId": ids["front"], "UserId": ACCOUNT}}),
    ):
        rule = only(ec2.describe_security_group_rules(SecurityGroupRuleIds=[ids[name]]), "SecurityGroupRules")
        assert rule == {
            "SecurityGroupRuleId": ids[name],
            "SecurityGroupRuleArn": f"arn:aws:ec2:us-east-1:{ACCOUNT}:security-group-rule/{ids[name]}",
            "GroupId": ids[owner],
            "GroupOwnerId": ACCOUNT,
            "IsEgress": egress,
            "IpProtocol": "tcp",
            "FromPort": port,
            "ToPort": port,
            "Tags": TAGS,
            **source,
        }


def test_the_image(world: World) -> None:
    """An attribute of the AMI would be lost: a replacement in every preview, or a machine that does not boot."""
    ec2, ids = world.client("ec2"), world.ids
    assert only(ec2.describe_images(ImageIds=[ids["image"]]), "Images") == {
        "ImageId": ids["image"],
        "Name": "web-1",
        "Description": "sha256:0",
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "BootMode": "uefi",
        "EnaSupport": True,
        "ImdsSupport": "v2.0",
        "SriovNetSupport": "simple",
        "RootDeviceName": ROOT,
        "RootDeviceType": "ebs",
        "BlockDeviceMappings": [
            {
                "DeviceName": ROOT,
                "Ebs": {
                    "SnapshotId": ids["snapshot"],
                    "VolumeType": "gp3",
                    "DeleteOnTermination": True,
                    "VolumeSize": 1,
                    "Encrypted": False,
                },
            }
        ],
        "Tags": TAGS,
        "State": "available",
        "OwnerId": ACCOUNT,
        "ImageLocation": f"{ACCOUNT}/web-1",
        "ImageType": "machine",
        "Hypervisor": "xen",
        "Public": False,
        "ProductCodes": [],
        "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances",
        "DeregistrationProtection": "disabled",
        "CreationDate": ANY,
    }
    snapshot = only(ec2.describe_snapshots(SnapshotIds=[ids["snapshot"]]), "Snapshots")
    assert (snapshot["Description"], snapshot["State"], by_key(snapshot["Tags"])) == ("web 1", "completed", TAGS)


def test_the_load_balancer(world: World) -> None:
    """An attribute that AWS has and the local cloud lacks would look like one that was taken back."""
    elb, ids = world.client("elbv2"), world.ids
    balancer = only(elb.describe_load_balancers(LoadBalancerArns=[ids["balancer"]]), "LoadBalancers")
    assert {key: value for key, value in balancer.items() if key not in {"DNSName", "CanonicalHostedZoneId"}} == {
        "LoadBalancerArn": ids["balancer"],
        "LoadBalancerName": "web",
        "Scheme": "internet-facing",
        "Type": "application",
        "IpAddressType": "ipv4",
        "VpcId": ids["vpc"],
        "State": {"Code": "active"},
        "SecurityGroups": [ids["front"]],
        "AvailabilityZones": [
            {"ZoneName": f"us-east-1{zone}", "SubnetId": subnet}
            for zone, subnet in zip("ab", world.subnets, strict=True)
        ],
        "CreatedTime": ANY,
    }
    told = elb.describe_load_balancer_attributes(LoadBalancerArn=ids["balancer"])["Attributes"]
    attributes = {item["Key"]: item["Value"] for item in told}
    assert {key: attributes[key] for key in BALANCER} == BALANCER
    untouched = {key: value for key, value in attributes.items() if key not in BALANCER}
    assert untouched == {
        "access_logs.s3.enabled": "false",
        "access_logs.s3.bucket": "",
        "access_logs.s3.prefix": "",
        "client_keep_alive.seconds": "3600",
        "connection_logs.s3.enabled": "false",
        "connection_logs.s3.bucket": "",
        "connection_logs.s3.prefix": "",
        "deletion_protection.enabled": "false",
        "health_check_logs.s3.enabled": "false",
        "health_check_logs.s3.bucket": "",
        "health_check_logs.s3.prefix": "",
        "load_balancing.cross_zone.enabled": "true",
        "routing.http.desync_mitigation_mode": "defensive",
        "routing.http.preserve_host_header.enabled": "false",
        "routing.http.x_amzn_tls_version_and_cipher_suite.enabled": "false",
        "routing.http.xff_client_port.enabled": "false",
        "routing.http.xff_header_processing.mode": "append",
        "routing.http2.enabled": "true",
        "waf.fail_open.enabled": "false",
        "zonal_shift.config.enabled": "false",
    }


def test_the_target_group(world: World) -> None:
    """As `test_the_load_balancer`: stickiness that lasts 0 s, and thresholds that nobody knows."""
    elb, ids = world.client("elbv2"), world.ids
    assert only(elb.describe_target_groups(TargetGroupArns=[ids["targets"]]), "TargetGroups") == {
        "TargetGroupArn": ids["targets"],
        "TargetGroupName": "web-1",
        "Port": 8080,
        "Protocol": "HTTP",
        "ProtocolVersion": "HTTP1",
        "VpcId": ids["vpc"],
        "TargetType": "instance",
        "IpAddressType": "ipv4",
        "HealthCheckEnabled": True,
        "HealthCheckProtocol": "HTTP",
        "HealthCheckPort": "traffic-port",
        "HealthCheckPath": "/health",
        "HealthCheckIntervalSeconds": 5,
        "HealthCheckTimeoutSeconds": 2,
        "HealthyThresholdCount": 2,
        "UnhealthyThresholdCount": 3,
        "Matcher": {"HttpCode": "200-299"},
        "LoadBalancerArns": [ids["balancer"]],
    }
    told = elb.describe_target_group_attributes(TargetGroupArn=ids["targets"])["Attributes"]
    assert {item["Key"]: item["Value"] for item in told} == TARGETS | {
        "load_balancing.algorithm.anomaly_mitigation": "off",
        "load_balancing.algorithm.type": "round_robin",
        "load_balancing.cross_zone.enabled": "use_load_balancer_configuration",
        "slow_start.duration_seconds": "0",
        "stickiness.app_cookie.cookie_name": "",
        "stickiness.app_cookie.duration_seconds": "86400",
        "stickiness.enabled": "false",
        "stickiness.lb_cookie.duration_seconds": "86400",
        "stickiness.type": "lb_cookie",
        "target_group_health.dns_failover.minimum_healthy_targets.count": "1",
        "target_group_health.dns_failover.minimum_healthy_targets.percentage": "off",
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count": "1",
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": "off",
    }


def test_the_listener_and_its_rules(world: World) -> None:
    """A rollout that writes back what it has read would write something else; a listener would have another's TLS."""
    elb, ids = world.client("elbv2"), world.ids
    assert only(elb.describe_listeners(ListenerArns=[ids["listener"]]), "Listeners") == {
        "ListenerArn": ids["listener"],
        "LoadBalancerArn": ids["balancer"],
        "Port": 18_080,
        "Protocol": "HTTP",
        "DefaultActions": [NO_RELEASE],
    }
    told = elb.describe_listener_attributes(ListenerArn=ids["listener"])["Attributes"]
    set_to = {item["Key"]: item["Value"] for item in told if item["Value"]}
    assert set_to == {"routing.http.response.server.enabled": "true"}
    preview, traffic, default = elb.describe_rules(ListenerArn=ids["listener"])["Rules"]
    no_stickiness = {"TargetGroupStickinessConfig": {"Enabled": False}}
    assert preview == {
        "RuleArn": ids["rule"],
        "Priority": "7",
        "IsDefault": False,
        "Conditions": [CONDITION],
        "Actions": [
            {
                "Type": "forward",
                "Order": 1,
                "TargetGroupArn": ids["targets"],
                "ForwardConfig": {"TargetGroups": [_share(ids["targets"], 1)], **no_stickiness},
            }
        ],
    }
    assert traffic == {
        "RuleArn": ids["traffic"],
        "Priority": "50000",
        "IsDefault": False,
        "Conditions": [{"Field": "path-pattern", "Values": ["/*"], "PathPatternConfig": {"Values": ["/*"]}}],
        "Actions": [
            {
                "Type": "forward",
                "TargetGroupArn": ids["targets"],
                "ForwardConfig": {"TargetGroups": [_share(ids["targets"], 100)], **no_stickiness},
            }
        ],
    }
    assert (default["Priority"], default["IsDefault"], default["Actions"]) == ("default", True, [NO_RELEASE])
    arns = [ids[name] for name in ("balancer", "targets", "listener", "rule", "traffic")]
    tags = elb.describe_tags(ResourceArns=arns)["TagDescriptions"]
    assert tags == [{"ResourceArn": arn, "Tags": TAGS} for arn in arns]


def test_a_secure_front_door(world: World) -> None:
    """Each preview would want a listener with TLS, its certificates or a gRPC target group changed again."""
    elb, acm, ids = world.client("elbv2"), world.client("acm"), world.ids
    first, second = issued(acm, "one.test"), issued(acm, "two.test")
    moved = {
        "Type": "redirect",
        "Order": 1,
        "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"},
    }
    whole = {**moved["RedirectConfig"], "Host": "#{host}", "Path": "/#{path}", "Query": "#{query}"}  # type: ignore[dict-item] # a dictionary
    plain = only(
        elb.create_listener(LoadBalancerArn=ids["balancer"], Port=18_081, Protocol="HTTP", DefaultActions=[moved]),
        "Listeners",
    )
    assert plain["DefaultActions"] == [{**moved, "RedirectConfig": whole}]
    policy = "ELBSecurityPolicy-TLS13-1-2-2021-06"
    secure = only(
        elb.create_listener(
            LoadBalancerArn=ids["balancer"],
            Port=18_443,
            Protocol="HTTPS",
            SslPolicy=policy,
            Certificates=[{"CertificateArn": first}],
            DefaultActions=[NO_RELEASE],
            Tags=TAGS,
        ),
        "Listeners",
    )
    elb.add_listener_certificates(ListenerArn=secure["ListenerArn"], Certificates=[{"CertificateArn": second}])
    assert only(elb.describe_listeners(ListenerArns=[secure["ListenerArn"]]), "Listeners") == {
        "ListenerArn": secure["ListenerArn"],
        "LoadBalancerArn": ids["balancer"],
        "Port": 18_443,
        "Protocol": "HTTPS",
        "Certificates": [{"CertificateArn": first}],
        "SslPolicy": policy,
        "DefaultActions": [NO_RELEASE],
        "MutualAuthentication": {"Mode": "off"},
    }
    assert elb.describe_listener_certificates(ListenerArn=secure["ListenerArn"])["Certificates"] == [
        {"CertificateArn": first, "IsDefault": True},
        {"CertificateArn": second, "IsDefault": False},
    ]
    grpc = only(
        elb.create_target_group(
            Name="grpc", Port=8080, Protocol="HTTP", ProtocolVersion="GRPC", VpcId=ids["vpc"], Matcher={"GrpcCode": "0"}
        ),
        "TargetGroups",
    )
    assert (grpc["ProtocolVersion"], grpc["HealthCheckPath"], grpc["Matcher"]) == (
        "GRPC",
        "/AWS.ALB/healthcheck",
        {"GrpcCode": "0"},
    )


def test_the_role(world: World) -> None:
    """A machine would have other rights than the program gave it."""
    iam, ids = world.client("iam"), world.ids
    role = iam.get_role(RoleName="web-1")["Role"]
    assert role["AssumeRolePolicyDocument"] == TRUST
    assert (role["Path"], role["MaxSessionDuration"], by_key(role["Tags"])) == ("/", 3600, TAGS)
    assert iam.get_role_policy(RoleName="web-1", PolicyName="switch")["PolicyDocument"] == MAY
    assert iam.list_role_policies(RoleName="web-1")["PolicyNames"] == ["switch"]
    attached = iam.list_attached_role_policies(RoleName="web-1")["AttachedPolicies"]
    assert [policy["PolicyArn"] for policy in attached] == [MANAGED]
    profile = only(iam.list_instance_profiles_for_role(RoleName="web-1"), "InstanceProfiles")
    assert (profile["Arn"], [role["RoleName"] for role in profile["Roles"]]) == (ids["profile"], ["web-1"])
    assert by_key(iam.get_instance_profile(InstanceProfileName="web-1")["InstanceProfile"]["Tags"]) == TAGS


def test_the_launch_template(world: World) -> None:
    """Deploying the same again would make a new version of the launch template, and change the group with it."""
    ec2, ids = world.client("ec2"), world.ids
    version = only(ec2.describe_launch_template_versions(LaunchTemplateId=ids["template"]), "LaunchTemplateVersions")
    assert version == {
        "LaunchTemplateId": ids["template"],
        "LaunchTemplateName": "web-1",
        "VersionNumber": 1,
        "DefaultVersion": True,
        "LaunchTemplateData": _data(world),
        "CreateTime": ANY,
        "CreatedBy": ANY,
    }
    template = only(ec2.describe_launch_templates(LaunchTemplateIds=[ids["template"]]), "LaunchTemplates")
    assert template == {
        "LaunchTemplateId": ids["template"],
        "LaunchTemplateName": "web-1",
        "DefaultVersionNumber": 1,
        "LatestVersionNumber": 1,
        "Tags": TAGS,
        "CreateTime": ANY,
        "CreatedBy": ANY,
    }
    ec2.create_tags(Resources=[ids["template"]], Tags=[MORE])
    template = only(ec2.describe_launch_templates(LaunchTemplateIds=[ids["template"]]), "LaunchTemplates")
    assert by_key(template["Tags"]) == by_key([*TAGS, MORE])


def test_the_group(world: World) -> None:
    """A member of the mixed instances policy would be lost, or one that AWS fills in would be missing."""
    scaling, ids = world.client("autoscaling"), world.ids
    assert only(scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["web-1"]), "AutoScalingGroups") == {
        "AutoScalingGroupName": "web-1",
        "AutoScalingGroupARN": ANY,
        "MinSize": 0,
        "MaxSize": 4,
        "DesiredCapacity": 0,
        "DefaultCooldown": 300,
        "DefaultInstanceWarmup": 60,
        "CapacityRebalance": True,
        "HealthCheckType": "ELB",
        "HealthCheckGracePeriod": 300,
        "VPCZoneIdentifier": ",".join(world.subnets),
        "AvailabilityZones": ["us-east-1a", "us-east-1b"],
        "TargetGroupARNs": [ids["targets"]],
        "TrafficSources": [{"Identifier": ids["targets"], "Type": "elbv2"}],
        "AvailabilityZoneDistribution": {"CapacityDistributionStrategy": "balanced-best-effort"},
        "AvailabilityZoneImpairmentPolicy": {
            "ZonalShiftEnabled": False,
            "ImpairedZoneHealthCheckBehavior": "IgnoreUnhealthy",
        },
        "CapacityReservationSpecification": {"CapacityReservationPreference": "default"},
        "MixedInstancesPolicy": {
            "InstancesDistribution": {
                "OnDemandAllocationStrategy": "prioritized",
                "OnDemandBaseCapacity": 2,
                "OnDemandPercentageAboveBaseCapacity": 0,
                "SpotAllocationStrategy": "price-capacity-optimized",
            },
            "LaunchTemplate": {
                "LaunchTemplateSpecification": {
                    "LaunchTemplateId": ids["template"],
                    "LaunchTemplateName": "web-1",
                    "Version": "1",
                },
                "Overrides": [{"InstanceType": "c7a.large"}, {"InstanceType": "m7a.large"}],
            },
        },
        "Tags": _group_tags(),
        "TerminationPolicies": ["Default"],
        "NewInstancesProtectedFromScaleIn": False,
        "ServiceLinkedRoleARN": ANY,
        "CreatedTime": ANY,
        "Instances": [],
        "SuspendedProcesses": [],
        "EnabledMetrics": [],
        "LoadBalancerNames": [],
    }
    told = scaling.describe_tags(Filters=[{"Name": "auto-scaling-group", "Values": ["web-1"]}])["Tags"]
    assert by_key(told) == _group_tags()
    action = only(scaling.describe_scheduled_actions(AutoScalingGroupName="web-1"), "ScheduledUpdateGroupActions")
    assert (action["ScheduledActionName"], action["MinSize"], action["DesiredCapacity"]) == ("standby", 0, 0)


def test_the_policy(world: World) -> None:
    """Every update and every preview would change the scaling policy."""
    told = world.client("autoscaling").describe_policies(AutoScalingGroupName="web-1", PolicyNames=["cpu"])
    arn = f"arn:aws:autoscaling:us-east-1:{ACCOUNT}:scalingPolicy:"
    policy = only(told, "ScalingPolicies")
    assert policy["PolicyARN"].startswith(arn)
    assert policy == {
        "AutoScalingGroupName": "web-1",
        "PolicyName": "cpu",
        "PolicyARN": ANY,
        "PolicyType": "TargetTrackingScaling",
        "Enabled": True,
        "TargetTrackingConfiguration": {**TRACKING, "DisableScaleIn": False},
        "StepAdjustments": [],
        "Alarms": [{"AlarmName": ANY, "AlarmARN": ANY}] * 2,
    }


def test_topic_alarm_and_schedule(world: World) -> None:
    """What watches and what puts weights back would be something else than was asked for."""
    sns, cloudwatch = world.client("sns"), world.client("cloudwatch")
    assert by_key(sns.list_tags_for_resource(ResourceArn=world.ids["topic"])["Tags"]) == TAGS
    alarm = only(cloudwatch.describe_alarms(AlarmNames=["errors"]), "MetricAlarms")
    assert {key: alarm[key] for key in ALARM} == ALARM
    assert by_key(cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"]) == TAGS
    schedule = world.client("scheduler").get_schedule(Name="switch")
    assert {key: schedule[key] for key in SCHEDULE} == SCHEDULE
    assert schedule["Target"] == _target(world)


def test_whose_account_it_is(world: World) -> None:
    """The official provider would not learn its account, and take every group that a rule names for another's."""
    assert world.client("sts").get_caller_identity()["Account"] == ACCOUNT
    assert world.client("iam").get_user()["User"]["Arn"].split(":")[4] == ACCOUNT


def test_every_answer_is_what_the_models_say(world: World) -> None:
    """A client that is stricter than boto3 could not read an answer."""
    assert sorted(set(world.wire.problems)) == []
    assert len(world.wire.checked) >= 50
