"""VPC endpoints and NAT gateways as strict and as late as AWS's, and what they keep from being deleted."""

from __future__ import annotations

from functools import partial
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import pytest

from tests.localcloud.balancer.world import until
from tests.localcloud.clients import Network, refusal

if TYPE_CHECKING:
    from localcloud.server import LocalCloud
    from tests.localcloud.clients import Clients
    from tests.localcloud.conftest import Clock

KMS = "com.amazonaws.us-east-1.kms"
S3 = "com.amazonaws.us-east-1.s3"
INVALID = "InvalidParameter"
IN_USE = "DependencyViolation"
LATE = 10.0  # seconds, of a clock that stands still until the test sets it


@pytest.fixture
def network(clients: Clients) -> Network:
    """A VPC in which endpoints can have private names."""
    made = clients.network()
    clients.ec2.modify_vpc_attribute(VpcId=made.vpc, EnableDnsHostnames={"Value": True})
    return made


def interface(clients: Clients, network: Network, **changes: Any) -> dict[str, Any]:
    asked = {
        "VpcId": network.vpc,
        "ServiceName": KMS,
        "VpcEndpointType": "Interface",
        "SubnetIds": network.subnets,
        "SecurityGroupIds": [network.group],
        "PrivateDnsEnabled": True,
    }
    ec2: Any = clients.ec2
    made: dict[str, Any] = ec2.create_vpc_endpoint(**{**asked, **changes})["VpcEndpoint"]
    return made


def endpoint(clients: Clients, endpoint_id: str) -> Any:
    return clients.ec2.describe_vpc_endpoints(VpcEndpointIds=[endpoint_id])["VpcEndpoints"][0]


def test_an_interface_endpoint_is_in_its_subnets(clients: Clients, network: Network) -> None:
    """Machines would be told an address at which nothing is, or its group not be what lets them in."""
    ec2 = clients.ec2
    free = [each["AvailableIpAddressCount"] for each in ec2.describe_subnets(SubnetIds=network.subnets)["Subnets"]]
    found = endpoint(clients, interface(clients, network)["VpcEndpointId"])
    assert (found["State"], found["VpcEndpointType"], found["PrivateDnsEnabled"]) == ("available", "Interface", True)
    assert (found["IpAddressType"], found["DnsOptions"]) == ("ipv4", {"DnsRecordIpType": "ipv4"})
    assert (found["RequesterManaged"], found["ServiceRegion"]) == (False, "us-east-1")
    assert [group["GroupId"] for group in found["Groups"]] == [network.group]
    names = [entry["DnsName"] for entry in found["DnsEntries"]]
    assert names[-1] == "kms.us-east-1.amazonaws.com"
    assert all(name.startswith(found["VpcEndpointId"]) for name in names[:-1])
    assert len(names) == 4, "one for the region, one for each zone"
    cards = ec2.describe_network_interfaces(NetworkInterfaceIds=found["NetworkInterfaceIds"])["NetworkInterfaces"]
    assert {card["SubnetId"] for card in cards} == set(network.subnets)
    blocks = {each["SubnetId"]: each["CidrBlock"] for each in ec2.describe_subnets()["Subnets"]}
    for card in cards:
        assert ip_address(card["PrivateIpAddress"]) in ip_network(blocks[card["SubnetId"]])
        assert [group["GroupId"] for group in card["Groups"]] == [network.group]
        assert (card["InterfaceType"], card["RequesterManaged"], card["Status"]) == ("vpc_endpoint", True, "in-use")
        assert card["Description"] == f"VPC Endpoint Interface {found['VpcEndpointId']}"
    now = [each["AvailableIpAddressCount"] for each in ec2.describe_subnets(SubnetIds=network.subnets)["Subnets"]]
    assert now == [count - 1 for count in free]


def test_what_aws_refuses_of_an_endpoint(clients: Clients, network: Network) -> None:
    """A program that AWS refuses half-way through a deploy would work here."""
    ec2, elsewhere = clients.ec2, clients.network()
    third = ec2.create_subnet(VpcId=network.vpc, CidrBlock="10.9.9.0/24", AvailabilityZone="us-east-1a")["Subnet"]
    refused: dict[str, dict[str, Any]] = {
        "InvalidServiceName": {"ServiceName": "com.amazonaws.us-east-1.kmss"},
        "DuplicateSubnetsInSameZone": {"SubnetIds": [*network.subnets, third["SubnetId"]]},
        "InvalidGroup.NotFound": {"SecurityGroupIds": ["sg-0a1b2c3d4e5f60718"]},
        "InvalidVpcID.NotFound": {"VpcId": "vpc-0a1b2c3d4e5f60718"},
    }
    for told, changes in refused.items():
        assert refusal(partial(interface, clients, network, **changes)).lower() == told.lower()
    others: list[dict[str, Any]] = [
        {"SubnetIds": elsewhere.subnets},
        {"SecurityGroupIds": [elsewhere.group]},
        {"ServiceName": KMS, "VpcEndpointType": "Gateway"},
    ]
    for changes in others:
        assert refusal(partial(interface, clients, network, **changes)) == INVALID
    assert refusal(lambda: interface(clients, elsewhere)) == INVALID, "its VPC gives machines no names"
    made = interface(clients, network)
    assert refusal(lambda: interface(clients, network)) == INVALID, "both would have one private name"
    plain = interface(clients, network, PrivateDnsEnabled=False)
    change: Any = {"VpcEndpointId": plain["VpcEndpointId"], "PrivateDnsEnabled": True}
    assert refusal(lambda: ec2.modify_vpc_endpoint(**change)) == INVALID
    ec2.delete_vpc_endpoints(VpcEndpointIds=[made["VpcEndpointId"]])
    ec2.modify_vpc_endpoint(**change)


def test_a_zone_that_lacks_a_service_is_refused(cloud: LocalCloud, clients: Clients) -> None:
    """A deploy into a zone without the service would work here, and fail half-way on AWS."""
    del cloud
    network = clients.network()
    from localcloud.ec2 import zones  # noqa: PLC0415 - needs the patches of a running cloud

    zones.offer("a")
    try:
        services = clients.ec2.describe_vpc_endpoint_services(ServiceNames=[KMS])["ServiceDetails"]
        assert [service["AvailabilityZones"] for service in services] == [["us-east-1a"]]
        assert refusal(lambda: interface(clients, network, PrivateDnsEnabled=False)) == INVALID
    finally:
        zones.offer("abcdef")


def test_subnets_and_groups_of_an_endpoint_can_change(clients: Clients, network: Network) -> None:
    """A network that grows by a zone would have no endpoint there, though the update said so."""
    ec2 = clients.ec2
    one, two = network.subnets
    made = interface(clients, network, SubnetIds=[one])["VpcEndpointId"]
    other = ec2.create_security_group(GroupName="other", Description="other", VpcId=network.vpc)["GroupId"]
    ec2.modify_vpc_endpoint(
        VpcEndpointId=made,
        AddSubnetIds=[two],
        RemoveSubnetIds=[one],
        AddSecurityGroupIds=[other],
        RemoveSecurityGroupIds=[network.group],
    )
    found = endpoint(clients, made)
    assert found["SubnetIds"] == [two]
    (card,) = ec2.describe_network_interfaces(NetworkInterfaceIds=found["NetworkInterfaceIds"])["NetworkInterfaces"]
    assert (card["SubnetId"], [group["GroupId"] for group in card["Groups"]]) == (two, [other])
    ec2.delete_subnet(SubnetId=one)
    ec2.delete_security_group(GroupId=network.group)


def test_an_endpoint_is_late_and_keeps_its_network_until_it_is_gone(
    cloud: LocalCloud, clients: Clients, network: Network, clock: Clock
) -> None:
    """A program that does not wait would work here; a destroy in the wrong order would, too."""
    cloud.lateness.change({"endpoints": [LATE, LATE]})
    clock.now = clock()
    ec2 = clients.ec2
    made = interface(clients, network)
    assert made["State"] == "pending"
    made_id = made["VpcEndpointId"]
    assert endpoint(clients, made_id)["State"] == "pending"
    clock.now += LATE
    until(lambda: endpoint(clients, made_id)["State"] == "available", "the endpoint is available")
    deletions: list[Any] = [
        lambda: ec2.delete_subnet(SubnetId=network.subnets[0]),
        lambda: ec2.delete_security_group(GroupId=network.group),
        lambda: ec2.delete_vpc(VpcId=network.vpc),
    ]
    assert [refusal(each) for each in deletions] == [IN_USE] * 3
    ec2.delete_vpc_endpoints(VpcEndpointIds=[made_id])
    assert endpoint(clients, made_id)["State"] == "deleting"
    assert [refusal(each) for each in deletions[:2]] == [IN_USE] * 2
    clock.now += LATE
    until(lambda: endpoint(clients, made_id)["State"] == "deleted", "the endpoint is deleted")
    for each in deletions[:2]:
        each()


def test_a_gateway_endpoint_is_a_route(clients: Clients, network: Network) -> None:
    """S3 could be reached by machines without a route there; or a second endpoint take the first one's route."""
    ec2 = clients.ec2
    table = ec2.create_route_table(VpcId=network.vpc)["RouteTable"]["RouteTableId"]
    asked: Any = {"VpcId": network.vpc, "ServiceName": S3, "VpcEndpointType": "Gateway", "RouteTableIds": [table]}
    made = ec2.create_vpc_endpoint(**asked)["VpcEndpoint"]
    assert (made["State"], made["PrivateDnsEnabled"], made["SubnetIds"], made["Groups"]) == ("available", False, [], [])
    (prefixes,) = ec2.describe_prefix_lists(Filters=[{"Name": "prefix-list-name", "Values": [S3]}])["PrefixLists"]
    assert prefixes["Cidrs"]
    assert ec2.describe_prefix_lists(Filters=[{"Name": "prefix-list-name", "Values": [KMS]}])["PrefixLists"] == []
    (found,) = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
    assert found["Routes"][-1] == {
        "DestinationPrefixListId": prefixes["PrefixListId"],
        "GatewayId": made["VpcEndpointId"],
        "Origin": "CreateRoute",
        "State": "active",
    }
    assert refusal(lambda: ec2.create_vpc_endpoint(**asked)) == "RouteAlreadyExists"
    assert refusal(lambda: ec2.create_vpc_endpoint(**{**asked, "SubnetIds": network.subnets})) == INVALID
    other = ec2.create_route_table(VpcId=clients.network().vpc)["RouteTable"]["RouteTableId"]
    assert refusal(lambda: ec2.create_vpc_endpoint(**{**asked, "RouteTableIds": [other]})) == INVALID
    assert refusal(lambda: ec2.delete_vpc(VpcId=network.vpc)) == IN_USE


def test_the_same_token_is_the_same_endpoint(clients: Clients, network: Network) -> None:
    """A create that is tried again after a lost answer would make a second endpoint."""
    one, two = (interface(clients, network, ClientToken="again")["VpcEndpointId"] for _ in "ab")
    assert one == two


def test_services_are_found_by_filters(clients: Clients) -> None:
    """A misspelt service would be taken for one that the region has, or all services be the answer."""
    ec2 = clients.ec2
    filters: Any = [{"Name": "service-name", "Values": [KMS, S3, "com.amazonaws.us-east-1.kmss"]}]
    details = ec2.describe_vpc_endpoint_services(Filters=filters)["ServiceDetails"]
    assert [(each["ServiceName"], each["ServiceType"]) for each in details] == [
        (KMS, [{"ServiceType": "Interface"}]),
        (S3, [{"ServiceType": "Gateway"}]),
        (S3, [{"ServiceType": "Interface"}]),
    ]
    assert [each.get("PrivateDnsName") for each in details] == [
        "kms.us-east-1.amazonaws.com",
        None,
        "s3.us-east-1.amazonaws.com",
    ]
    gateways = ec2.describe_vpc_endpoint_services(Filters=[{"Name": "service-type", "Values": ["Gateway"]}])
    assert gateways["ServiceNames"] == ["com.amazonaws.us-east-1.dynamodb", S3]
    unknown: Any = {"ServiceNames": ["com.amazonaws.us-east-1.kmss"]}
    assert refusal(lambda: ec2.describe_vpc_endpoint_services(**unknown)) == "InvalidServiceName"
    wrong: Any = [{"Name": "name", "Values": ["kms"]}]
    assert refusal(lambda: ec2.describe_vpc_endpoint_services(Filters=wrong)) == "InvalidFilter"
    pages = ec2.get_paginator("describe_vpc_endpoint_services").paginate(PaginationConfig={"PageSize": 100})
    assert len([each for page in pages for each in page["ServiceDetails"]]) > 200


def nat(clients: Clients, network: Network, allocation: str) -> Any:
    return clients.ec2.create_nat_gateway(SubnetId=network.subnets[0], AllocationId=allocation)["NatGateway"]


def gateway(clients: Clients, gateway_id: str) -> Any:
    return clients.ec2.describe_nat_gateways(NatGatewayIds=[gateway_id])["NatGateways"][0]


def test_a_nat_gateway_is_late_and_has_its_address(
    cloud: LocalCloud, clients: Clients, network: Network, clock: Clock
) -> None:
    """A program that does not wait would work here; each preview would want another address."""
    cloud.lateness.change({"nat_gateways": [LATE, LATE]})
    clock.now = clock()
    ec2 = clients.ec2
    allocated = ec2.allocate_address(Domain="vpc")
    made = nat(clients, network, allocated["AllocationId"])
    assert made["State"] == "pending"
    assert gateway(clients, made["NatGatewayId"])["State"] == "pending"
    clock.now += LATE
    until(lambda: gateway(clients, made["NatGatewayId"])["State"] == "available", "the gateway is available")
    found = gateway(clients, made["NatGatewayId"])
    assert (found["AvailabilityMode"], found["ConnectivityType"], found["VpcId"]) == ("zonal", "public", network.vpc)
    (address,) = found["NatGatewayAddresses"]
    assert (address["IsPrimary"], address["Status"]) == (True, "succeeded")
    assert (address["AllocationId"], address["PublicIp"]) == (allocated["AllocationId"], allocated["PublicIp"])
    assert ip_address(address["PrivateIp"]) in ip_network("10.9.0.0/24")
    (card,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[address["NetworkInterfaceId"]])["NetworkInterfaces"]
    assert (card["InterfaceType"], card["Groups"], card["RequesterManaged"]) == ("nat_gateway", [], True)
    (internet,) = ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [network.vpc]}])[
        "InternetGateways"
    ]
    table = ec2.create_route_table(VpcId=network.vpc)["RouteTable"]["RouteTableId"]
    route: Any = {"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0"}
    ec2.create_route(**route, NatGatewayId=made["NatGatewayId"])
    held: list[Any] = [
        lambda: ec2.delete_subnet(SubnetId=network.subnets[0]),
        lambda: ec2.detach_internet_gateway(InternetGatewayId=internet["InternetGatewayId"], VpcId=network.vpc),
    ]

    def release() -> Any:
        return ec2.release_address(AllocationId=allocated["AllocationId"])

    def state_of_route() -> str:
        return ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"][-1]["State"]

    assert [refusal(each) for each in held] == [IN_USE] * 2
    assert state_of_route() == "active"
    ec2.delete_nat_gateway(NatGatewayId=made["NatGatewayId"])
    assert gateway(clients, made["NatGatewayId"])["State"] == "deleting"
    assert [refusal(each) for each in held] == [IN_USE] * 2
    assert refusal(release) == "InvalidIPAddress.InUse"
    clock.now += LATE
    until(lambda: gateway(clients, made["NatGatewayId"])["State"] == "deleted", "the gateway is deleted")
    assert state_of_route() == "blackhole"
    again: Any = {**route, "DestinationCidrBlock": "10.0.0.0/8", "NatGatewayId": made["NatGatewayId"]}
    assert refusal(lambda: ec2.create_route(**again)) == "InvalidNatGatewayID.NotFound"
    release()
    for each in held:
        each()


def test_a_nat_gateway_that_cannot_be_says_why(clients: Clients, network: Network) -> None:
    """A gateway without a way out, or with the address of another one, would be available."""
    ec2 = clients.ec2
    first, second = (ec2.allocate_address(Domain="vpc")["AllocationId"] for _ in "ab")
    assert gateway(clients, nat(clients, network, first)["NatGatewayId"])["State"] == "available"
    taken = gateway(clients, nat(clients, network, first)["NatGatewayId"])
    assert (taken["State"], taken["FailureCode"]) == ("failed", "Resource.AlreadyAssociated")
    ec2.create_vpc(CidrBlock="10.1.0.0/16")
    closed = ec2.create_vpc(CidrBlock="10.2.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=closed, CidrBlock="10.2.0.0/24")["Subnet"]["SubnetId"]
    lost = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=second)["NatGateway"]["NatGatewayId"]
    assert gateway(clients, lost)["FailureCode"] == "Gateway.NotAttached"
    ec2.delete_subnet(SubnetId=subnet)
    missing = nat(clients, network, "eipalloc-0a1b2c3d4e5f60718")["NatGatewayId"]
    assert gateway(clients, missing)["FailureCode"] == "InvalidAllocationID.NotFound"
    assert refusal(lambda: ec2.create_nat_gateway(SubnetId=network.subnets[0])) == "MissingParameter"


def test_a_vpc_goes_last(clients: Clients) -> None:
    """A destroy would delete the VPC first, and AWS refuse it."""
    ec2 = clients.ec2
    vpc = ec2.create_vpc(CidrBlock="10.3.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]["VpcId"]
    made = ec2.create_egress_only_internet_gateway(VpcId=vpc)["EgressOnlyInternetGateway"]
    assert refusal(lambda: ec2.delete_vpc(VpcId=vpc)) == IN_USE
    ec2.delete_egress_only_internet_gateway(EgressOnlyInternetGatewayId=made["EgressOnlyInternetGatewayId"])
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    assert refusal(lambda: ec2.delete_vpc(VpcId=vpc)) == IN_USE
    ec2.delete_route_table(RouteTableId=table)
    ec2.delete_vpc(VpcId=vpc)
