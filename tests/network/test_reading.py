"""What is read of a VPC, from the local cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fleetswap.aws.network import Networks, _routes
from fleetswap.aws.session import Cloud
from fleetswap.domain.network.endpoints import GATEWAY, INTERFACE
from fleetswap.domain.network.existing import Present, Route

if TYPE_CHECKING:
    from localcloud.server import LocalCloud
    from tests.localcloud.clients import Clients

ZONES = frozenset(f"us-east-1{letter}" for letter in "abcdef")


def networks(cloud: LocalCloud) -> Networks:
    return Networks(Cloud("us-east-1", cloud.endpoint), "shop/prod")


def test_a_vpc_is_read_with_all_that_is_in_it(cloud: LocalCloud, clients: Clients) -> None:
    """A check would judge another VPC than the one that is there."""
    ec2, network = clients.ec2, clients.network()
    one, two = network.subnets
    ec2.modify_vpc_attribute(VpcId=network.vpc, EnableDnsHostnames={"Value": True})
    ec2.create_tags(Resources=[one], Tags=[{"Key": "tier", "Value": "private"}])
    gateway = ec2.describe_internet_gateways()["InternetGateways"][0]["InternetGatewayId"]
    table = ec2.create_route_table(VpcId=network.vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    ec2.associate_route_table(SubnetId=one, RouteTableId=table)
    elsewhere = clients.network()
    tags: Any = [{"ResourceType": "vpc-endpoint", "Tags": [{"Key": "fleetswap:stack", "Value": "shop/prod"}]}]
    s3 = ec2.create_vpc_endpoint(
        VpcId=network.vpc,
        ServiceName="com.amazonaws.us-east-1.s3",
        VpcEndpointType="Gateway",
        RouteTableIds=[table],
        TagSpecifications=tags,
    )["VpcEndpoint"]["VpcEndpointId"]
    (prefixes,) = {
        str(each["PrefixListId"])
        for each in ec2.describe_managed_prefix_lists()["PrefixLists"]
        if each["PrefixListName"] == "com.amazonaws.us-east-1.s3"
    }

    vpc = networks(cloud).vpc(network.vpc, [network.group, elsewhere.group, "sg-0a1b2c3d4e5f60718"])
    assert vpc is not None
    assert (vpc.id, vpc.region, vpc.dns_support, vpc.dns_hostnames) == (network.vpc, "us-east-1", True, True)
    assert vpc.groups == {network.group: network.vpc, elsewhere.group: elsewhere.vpc}
    assert vpc.endpoints == (Present(s3, "com.amazonaws.us-east-1.s3", GATEWAY, ours=True),)
    found = {subnet.id: subnet for subnet in vpc.subnets}
    assert set(found) == {one, two}
    local = Route("10.9.0.0/16", "local")
    assert found[one].table == table
    assert set(found[one].routes) == {local, Route("0.0.0.0/0", gateway), Route(prefixes, s3)}
    assert found[two].routes == (local,), "those of the main route table"
    assert (found[one].zone, found[two].zone) == ("us-east-1a", "us-east-1b")
    assert (found[one].tags, found[one].free) == ({"tier": "private"}, 251)
    assert (found[one].public, found[one].ipv6, found[one].ipv6_blocks) == (False, False, ())


def test_groups_vpcs_and_prefix_lists_are_found(cloud: LocalCloud, clients: Clients) -> None:
    """A group that exists would be refused, or one of another VPC be taken for the stack's own."""
    network, reader = clients.network(), networks(cloud)
    assert reader.groups([]) == {}
    assert reader.groups([network.group, "sg-0a1b2c3d4e5f60718"]) == {network.group: network.vpc}
    assert reader.own_vpcs() == frozenset()
    clients.ec2.create_tags(Resources=[network.vpc], Tags=[{"Key": "fleetswap:stack", "Value": "shop/prod"}])
    assert reader.own_vpcs() == {network.vpc}
    lists = clients.ec2.describe_prefix_lists()["PrefixLists"]
    s3 = {each["PrefixListName"]: each["PrefixListId"] for each in lists}["com.amazonaws.us-east-1.s3"]
    own: Any = {"PrefixListName": "own", "MaxEntries": 1, "AddressFamily": "IPv4"}
    ours = clients.ec2.create_managed_prefix_list(**own)["PrefixList"]["PrefixListId"]
    assert reader.prefix_lists([s3, ours]) == {s3: "com.amazonaws.us-east-1.s3"}


def test_a_vpc_that_is_not_there_is_none(cloud: LocalCloud) -> None:
    """A traceback would be the answer to a misspelt ID."""
    assert networks(cloud).vpc("vpc-0a1b2c3d4e5f60718", []) is None


def test_the_regions_endpoint_services_are_found_by_name(cloud: LocalCloud) -> None:
    """An endpoint would be refused although the region has the service, or made in a zone that lacks it."""
    asked = [f"com.amazonaws.us-east-1.{name}" for name in ("kms", "s3", "no-such-thing")]
    found = {(each.name.rpartition(".")[2], each.kind): each for each in networks(cloud).endpoint_services(asked)}
    assert set(found) == {("kms", INTERFACE), ("s3", GATEWAY), ("s3", INTERFACE)}
    assert found["kms", INTERFACE].zones == ZONES
    assert found["kms", INTERFACE].private_dns


def test_every_way_out_of_a_table_is_seen() -> None:
    """A VPC with a transit gateway would be refused for want of a route; or a route that leads nowhere be believed."""
    table = {
        "Routes": [
            {"DestinationCidrBlock": "10.0.0.0/8", "TransitGatewayId": "tgw-1", "State": "active"},
            {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1", "State": "blackhole"},
            {"DestinationIpv6CidrBlock": "::/0", "EgressOnlyInternetGatewayId": "eigw-1", "State": "active"},
            {"DestinationPrefixListId": "pl-1", "GatewayId": "vpce-1", "State": "active"},
            {"DestinationCidrBlock": "10.9.0.0/16", "State": "active"},
        ]
    }
    assert list(_routes(table)) == [
        Route("10.0.0.0/8", "tgw-1"),
        Route("0.0.0.0/0", "nat-1", active=False),
        Route("::/0", "eigw-1"),
        Route("pl-1", "vpce-1"),
    ]
