"""Attributes of subnets, VPC endpoints and NAT gateways, as AWS tells and changes them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.localcloud.clients import refusal

if TYPE_CHECKING:
    from tests.localcloud.clients import Clients


def subnet(clients: Clients, subnet_id: str) -> Any:
    return clients.ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"][0]


@pytest.fixture
def dual(clients: Clients) -> str:
    """A subnet with an IPv6 block."""
    ec2: Any = clients.ec2
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]
    block = vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"].replace("/56", "/64")
    made = ec2.create_subnet(VpcId=vpc["VpcId"], CidrBlock="10.1.0.0/24", Ipv6CidrBlock=block)
    return str(made["Subnet"]["SubnetId"])


def test_the_ipv6_block_of_a_subnet_has_a_state(clients: Clients, dual: str) -> None:
    """A client that waits until the block is associated would wait for ever."""
    (block,) = subnet(clients, dual)["Ipv6CidrBlockAssociationSet"]
    assert block["Ipv6CidrBlockState"] == {"State": "associated"}
    clients.ec2.disassociate_subnet_cidr_block(AssociationId=block["AssociationId"])
    assert subnet(clients, dual)["Ipv6CidrBlockAssociationSet"] == []


@pytest.mark.parametrize(
    ("asked", "where", "told"),
    [
        ("AssignIpv6AddressOnCreation", (), "AssignIpv6AddressOnCreation"),
        ("EnableDns64", (), "EnableDns64"),
        ("MapPublicIpOnLaunch", (), "MapPublicIpOnLaunch"),
        (
            "EnableResourceNameDnsAAAARecordOnLaunch",
            ("PrivateDnsNameOptionsOnLaunch",),
            "EnableResourceNameDnsAAAARecord",
        ),
        ("EnableResourceNameDnsARecordOnLaunch", ("PrivateDnsNameOptionsOnLaunch",), "EnableResourceNameDnsARecord"),
    ],
)
def test_each_attribute_of_a_subnet_is_kept(
    clients: Clients, dual: str, asked: str, where: tuple[str, ...], told: str
) -> None:
    """An attribute that a program sets would be dropped in silence, and be set again by every update."""
    ec2: Any = clients.ec2
    for value in (True, False):
        ec2.modify_subnet_attribute(SubnetId=dual, **{asked: {"Value": value}})
        found = subnet(clients, dual)
        for key in where:
            found = found[key]
        assert found[told] is value


def test_what_a_subnet_does_not_take(clients: Clients, dual: str) -> None:
    """A call that AWS refuses would pass here: two attributes at once, a wrong word, addresses of no block."""
    ec2: Any = clients.ec2
    set_one = ec2.modify_subnet_attribute
    set_one(SubnetId=dual, PrivateDnsHostnameTypeOnLaunch="resource-name")
    assert subnet(clients, dual)["PrivateDnsNameOptionsOnLaunch"]["HostnameType"] == "resource-name"
    on = {"Value": True}
    both = {"MapPublicIpOnLaunch": on, "EnableDns64": on}
    assert refusal(lambda: set_one(SubnetId=dual, **both)) == "InvalidParameterCombination"
    plain = clients.network().subnets[0]
    addresses = {"AssignIpv6AddressOnCreation": on}
    assert refusal(lambda: set_one(SubnetId=plain, **addresses)) == "InvalidParameterValue"
    assert refusal(lambda: set_one(SubnetId="subnet-0", EnableDns64=on)) == "InvalidSubnetID.NotFound"


def test_an_endpoint_goes_once_and_changes_its_routes(clients: Clients) -> None:
    """A repeated delete would fail the destroy, and a table that an endpoint left would still lead to it."""
    ec2: Any = clients.ec2
    network = clients.network()
    tables = [ec2.create_route_table(VpcId=network.vpc)["RouteTable"]["RouteTableId"] for _ in "ab"]
    endpoint = ec2.create_vpc_endpoint(
        VpcId=network.vpc, ServiceName="com.amazonaws.us-east-1.s3", RouteTableIds=tables[:1]
    )["VpcEndpoint"]["VpcEndpointId"]

    def leading() -> list[bool]:
        found = ec2.describe_route_tables(RouteTableIds=tables)["RouteTables"]
        routes = {table["RouteTableId"]: {route.get("GatewayId") for route in table["Routes"]} for table in found}
        return [endpoint in routes[table] for table in tables]

    assert leading() == [True, False]
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint, AddRouteTableIds=tables[1:], RemoveRouteTableIds=tables[:1])
    assert leading() == [False, True]
    assert ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint])["Unsuccessful"] == []
    assert leading() == [False, False]
    (missing,) = ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint])["Unsuccessful"]
    assert missing["Error"]["Code"] == "InvalidVpcEndpointId.NotFound"


def test_a_change_of_an_endpoint_is_kept(clients: Clients) -> None:
    """Private DNS that was turned off would still be told as on, and a policy that was reset as it was."""
    ec2: Any = clients.ec2
    network = clients.network()
    ec2.modify_vpc_attribute(VpcId=network.vpc, EnableDnsHostnames={"Value": True})
    endpoint = ec2.create_vpc_endpoint(
        VpcId=network.vpc,
        ServiceName="com.amazonaws.us-east-1.kms",
        VpcEndpointType="Interface",
        SubnetIds=network.subnets[:1],
        PolicyDocument='{"Version": "2012-10-17", "Statement": []}',
    )["VpcEndpoint"]["VpcEndpointId"]
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint, PrivateDnsEnabled=False, ResetPolicy=True)
    (found,) = ec2.describe_vpc_endpoints(VpcEndpointIds=[endpoint])["VpcEndpoints"]
    assert found["PrivateDnsEnabled"] is False
    assert '"Principal": "*"' in found["PolicyDocument"]


def test_a_nat_gateway_holds_its_address_and_its_subnet_until_it_is_deleted(clients: Clients) -> None:
    """A destroy in the wrong order would look right, or one in the right order never end."""
    ec2: Any = clients.ec2
    network = clients.network()
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    made = ec2.create_nat_gateway(SubnetId=network.subnets[0], AllocationId=address)
    gateway = made["NatGateway"]["NatGatewayId"]
    assert refusal(lambda: ec2.release_address(AllocationId=address)) == "InvalidIPAddress.InUse"
    assert refusal(lambda: ec2.delete_subnet(SubnetId=network.subnets[0])) == "DependencyViolation"
    ec2.delete_nat_gateway(NatGatewayId=gateway)
    (seen,) = ec2.describe_nat_gateways(NatGatewayIds=[gateway])["NatGateways"]
    assert seen["State"] == "deleted"
    ec2.delete_subnet(SubnetId=network.subnets[0])
    assert "AssociationId" not in ec2.describe_addresses(AllocationIds=[address])["Addresses"][0]
    ec2.release_address(AllocationId=address)


def test_a_nat_gateway_that_is_not_there_is_an_error(clients: Clients) -> None:
    """A client would take a gateway that somebody deleted for one that has no data yet."""
    ec2: Any = clients.ec2
    missing = "nat-0123456789abcdef0"
    assert refusal(lambda: ec2.describe_nat_gateways(NatGatewayIds=[missing])) == "NatGatewayNotFound"
    assert refusal(lambda: ec2.delete_nat_gateway(NatGatewayId=missing)) == "NatGatewayNotFound"


def test_an_ipv6_block_is_the_vpcs_and_nobody_elses(clients: Clients, dual: str) -> None:
    """Two subnets would have the same addresses, or addresses that no route of the VPC leads to."""
    ec2: Any = clients.ec2
    found = subnet(clients, dual)
    block = found["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]
    for n, (asked, told) in enumerate(
        {
            block: "InvalidSubnet.Conflict",
            "2001:db8::/64": "InvalidSubnet.Range",
            block.replace("/64", "/62"): "InvalidSubnet.Range",
        }.items(),
        start=1,
    ):
        wanted = {"VpcId": found["VpcId"], "CidrBlock": f"10.1.{n}.0/24", "Ipv6CidrBlock": asked}
        assert refusal(partial(ec2.create_subnet, **wanted)) == told


def test_a_rule_names_a_prefix_list_that_there_is(clients: Clients) -> None:
    """A rule that lets nobody out would look right."""
    ec2: Any = clients.ec2
    rule = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
    group = clients.network().group
    there = ec2.describe_managed_prefix_lists()["PrefixLists"][0]["PrefixListId"]
    for name, told in (("pl-0a1b2c3d", "InvalidPrefixListID.NotFound"), (there, "")):
        asked = [{**rule, "PrefixListIds": [{"PrefixListId": name}]}]
        add = partial(ec2.authorize_security_group_egress, GroupId=group, IpPermissions=asked)
        if told:
            assert refusal(add) == told
        else:
            assert add()["SecurityGroupRules"][0]["PrefixListId"] == there
