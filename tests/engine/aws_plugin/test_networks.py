"""Networks of every kind, deployed with the real engine from their settings: each change is made in place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine.aws_plugin.test_real_engine import Stack

PROGRAM = """
import pulumi
from pulumi_aws import lb
from fleetswap.aws.account import Account
from fleetswap.aws.network import Networks
from fleetswap.aws.session import Cloud
from fleetswap.domain.release.ledger import Ledger
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.ground import survey
from fleetswap_pulumi.network import Network, NetworkArgs
from fleetswap_pulumi.parse import parse
from fleetswap_pulumi.place import place

config = pulumi.Config()
endpoint = config.require("endpoint")
image = '{"file": "disk.raw"}'
given = {"service": "web", "image": image, "endpoint": endpoint, "network": config.require("network")}
settings = parse(given, region="us-east-1")
cloud = Cloud("us-east-1", endpoint)
here = place(Ledger(), settings, Account(cloud))
ground = survey(settings, here, Networks(cloud, settings.stack))
context = Context(settings.stack, "web", "us-east-1", endpoint, here.identity.account)
opts = pulumi.ResourceOptions(providers=[context.provider()])
network = Network("web", NetworkArgs(context, ground, 8183, [8080]), opts)
lb.LoadBalancer(
    "web",
    subnets=network.balancer_subnet_ids,
    security_groups=[network.front_group_id],
    ip_address_type="dualstack" if ground.ipv6 else None,
    opts=pulumi.ResourceOptions(provider=opts.providers[0], depends_on=network.way_out),
)
pulumi.export("vpc", network.vpc_id)
pulumi.export("machines", network.subnet_ids)
"""


@pytest.fixture
def stack(tmp_path: Path, endpoint: str, engine_bin: Path) -> Stack:
    stack = Stack(tmp_path, endpoint, engine_bin, program=PROGRAM)
    stack.env |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    return stack


def deploy(stack: Stack, network: dict[str, Any]) -> str:
    """Deploy these settings; what Pulumi says."""
    stack.config["network"] = json.dumps(network)
    return stack.run("up", "--yes", "--skip-preview")


def settled(stack: Stack) -> None:
    """See that AWS has what was declared, and that nothing is left to do."""
    stack.run("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    assert stack.steps() == {}


EVERYTHING = {
    "nat": "single",
    "endpoints": ["kms", "s3"],
    "egress": [{"cidr": "10.0.0.0/8", "ports": [5432]}, {"cidr": "2000::/3", "ports": [443]}],
    "ipv6": True,
}


def test_a_network_changes_in_place(stack: Stack, aws: Callable[[str], Any]) -> None:
    """NAT, endpoints or IPv6 could not be turned on under a fleet, or each preview would want them again."""
    ec2 = aws("ec2")
    deploy(stack, {})
    machines, vpc = stack.outputs()["machines"], stack.outputs()["vpc"]
    assert "replaced" not in deploy(stack, EVERYTHING)
    settled(stack)
    assert stack.outputs()["machines"] == machines
    (found,) = ec2.describe_subnets(SubnetIds=machines[:1])["Subnets"]
    assert found["AssignIpv6AddressOnCreation"]
    assert found["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"].endswith("/64")
    table = ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": machines[:1]}])[
        "RouteTables"
    ]
    targets = [route.get("NatGatewayId") or route.get("EgressOnlyInternetGatewayId") for route in table[0]["Routes"]]
    assert sorted(str(target).partition("-")[0] for target in targets if target) == ["eigw", "nat"]
    here = [{"Name": "vpc-id", "Values": [vpc]}]
    states = {each["ServiceName"]: each["State"] for each in ec2.describe_vpc_endpoints(Filters=here)["VpcEndpoints"]}
    assert states == dict.fromkeys(("com.amazonaws.us-east-1.kms", "com.amazonaws.us-east-1.s3"), "available")
    assert "replaced" not in deploy(stack, {"ipv6": True, "nat": "per-zone"})
    assert stack.outputs()["machines"] == machines
    stack.run("destroy", "--yes", "--skip-preview")
    assert vpc not in {each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"]}
    assert ec2.describe_addresses(Filters=[{"Name": "tag:fleetswap:service", "Values": ["web"]}])["Addresses"] == []


def company(ec2: Any) -> dict[str, Any]:
    """A company's network with public and private subnets; the settings that name them."""
    vpc = ec2.create_vpc(CidrBlock="10.50.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    public = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=public, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    subnets: dict[str, list[str]] = {"private": [], "public": []}
    for n, (tier, zone) in enumerate((tier, zone) for tier in subnets for zone in "ab"):
        made = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.50.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")
        subnets[tier].append(made["Subnet"]["SubnetId"])
        ec2.create_tags(Resources=subnets[tier][-1:], Tags=[{"Key": "tier", "Value": tier}])
    for subnet in subnets["public"]:
        ec2.associate_route_table(SubnetId=subnet, RouteTableId=public)
    return {"id": vpc, "machine_subnet_tags": {"tier": "private"}, "balancer_subnets": subnets["public"]}


def seen(ec2: Any, vpc: str) -> dict[str, Any]:
    """All that is in a VPC and not the stack's."""
    here = [{"Name": "vpc-id", "Values": [vpc]}]
    subnets = ec2.describe_subnets(Filters=here)["Subnets"]
    return {
        "vpc": ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"],
        "subnets": [{**each, "AvailableIpAddressCount": 0} for each in subnets],
        "tables": [
            {**table, "Routes": [route for route in table["Routes"] if "DestinationPrefixListId" not in route]}
            for table in ec2.describe_route_tables(Filters=here)["RouteTables"]
        ],
    }


def test_nothing_in_an_existing_vpc_is_changed(stack: Stack, aws: Callable[[str], Any]) -> None:
    """A company's network would have other routes or attributes after a deploy, or something left after a destroy."""
    ec2 = aws("ec2")
    named = company(ec2)
    before = seen(ec2, named["id"])
    deploy(stack, {"vpc": named, "endpoints": ["kms", "s3"], "egress": [{"cidr": "10.50.0.0/16", "ports": [5432]}]})
    settled(stack)
    assert seen(ec2, named["id"]) == before
    here = [{"Name": "vpc-id", "Values": [named["id"]]}]
    assert len(ec2.describe_vpc_endpoints(Filters=here)["VpcEndpoints"]) == 2
    stack.run("destroy", "--yes", "--skip-preview")
    assert seen(ec2, named["id"]) == before
    left = [group["GroupName"] for group in ec2.describe_security_groups(Filters=here)["SecurityGroups"]]
    assert left == ["default"]
    stack.config["network"] = json.dumps(
        {"vpc": {**named, "machine_subnet_tags": {"tier": "db"}}, "endpoints": ["kmss"]}
    )
    refused = stack.run("preview", expected=1)
    assert "none of its subnets has the tags tier=db: correct vpc.machine_subnet_tags" in refused
