"""The network that the program declares, of each kind, read off the inputs that it registers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.domain.network.endpoints import GATEWAY, INTERFACE, Service
from fleetswap.domain.network.existing import Present, Route, Subnet, Vpc
from tests.program.declared import Around, Credentials, Program, declare
from tests.program.test_stack import local

pytestmark = pytest.mark.nix

ZONES = frozenset({"us-east-1a", "us-east-1b"})
SERVICES = (
    Service("com.amazonaws.us-east-1.kms", INTERFACE, ZONES | {"us-east-1c"}, private_dns=True),
    Service("com.amazonaws.us-east-1.ecr.api", INTERFACE, frozenset({"us-east-1b"}), private_dns=True),
    Service("com.amazonaws.us-east-1.s3", INTERFACE, ZONES, private_dns=True),
    Service("com.amazonaws.us-east-1.s3", GATEWAY, ZONES),
)
VPC = "vpc-0a1b2c3d4e5f60718"
GROUP = "sg-0a1b2c3d4e5f60718"
PRIVATE = (Route("10.0.0.0/16", "local"), Route("0.0.0.0/0", "nat-1"))
PUBLIC = (Route("10.0.0.0/16", "local"), Route("0.0.0.0/0", "igw-1"))


def subnet(n: int, zone: str, routes: tuple[Route, ...], tier: str) -> Subnet:
    return Subnet(f"subnet-{n:08x}", f"us-east-1{zone}", 200, f"rtb-{tier}-{zone}", routes, {"tier": tier})


EXISTING = Vpc(
    VPC,
    "us-east-1",
    subnets=(
        subnet(1, "a", PRIVATE, "private"),
        subnet(2, "b", PRIVATE, "private"),
        subnet(3, "a", PUBLIC, "public"),
        subnet(4, "b", PUBLIC, "public"),
    ),
    groups={GROUP: VPC},
)
INTO = {
    "id": VPC,
    "machine_subnets": ["subnet-00000001", "subnet-00000002"],
    "balancer_subnets": ["subnet-00000003", "subnet-00000004"],
}


def deployed(network: dict[str, Any] | None = None, **changes: Any) -> Program:
    around = replace(
        changes.pop("around", Around(known={GROUP: VPC})), services=SERVICES, existing=changes.pop("existing", None)
    )
    ledger = changes.pop("ledger", None)
    return declare(local("1", network=network or {}, **changes), around=around, ledger=ledger)


def names(program: Program, kind: str) -> list[str]:
    return sorted(resource.name for resource in program.of(kind))


def inputs(program: Program, kind: str, *keys: str) -> dict[str, tuple[Any, ...]]:
    return {each.name: tuple(each.inputs.get(key) for key in keys) for each in program.of(kind)}


def test_machines_have_no_route_to_the_internet() -> None:
    """A machine would be one security group rule away from the internet; or the load balancer be unreachable."""
    program = deployed()
    assert inputs(program, "Subnet", "cidrBlock", "availabilityZone") == {
        "web-public-a": ("10.66.64.0/24", "us-east-1a"),
        "web-public-b": ("10.66.192.0/24", "us-east-1b"),
        "web-machines-a": ("10.66.0.0/18", "us-east-1a"),
        "web-machines-b": ("10.66.128.0/18", "us-east-1b"),
    }
    assert inputs(program, "RouteTableAssociation", "subnetId", "routeTableId") == {
        "web-public-a": ("web-public-a-id", "web-id"),
        "web-public-b": ("web-public-b-id", "web-id"),
        "web-machines-a": ("web-machines-a-id", "web-machines-a-id"),
        "web-machines-b": ("web-machines-b-id", "web-machines-b-id"),
    }
    assert inputs(program, "Route", "routeTableId", "gatewayId") == {"web": ("web-id", "web-id")}
    assert program.one("LoadBalancer").inputs["subnets"] == ["web-public-a-id", "web-public-b-id"]
    assert program.one("LoadBalancer").inputs.get("ipAddressType") is None
    assert program.one("Group").inputs["vpcZoneIdentifiers"] == ["web-machines-a-id", "web-machines-b-id"]
    for kind in ("NatGateway", "Eip", "VpcEndpoint", "EgressOnlyInternetGateway"):
        assert names(program, kind) == []
    assert names(program, "SecurityGroupEgressRule") == ["web-front-to-machines-8080"], "and none of the machines"
    ledger = program.outputs["ledger"]
    assert (ledger["version"], ledger["network"]["layout"]) == (4, 2)


def test_a_fleet_of_the_first_versions_keeps_its_network() -> None:
    """An upgrade would replace the subnets under the live fleet."""
    new = deployed()
    network = {"cidr": "10.66.0.0/16", "zones": ["a", "b"]}
    old = declare(local("2", network={}), ledger={**new.outputs["ledger"], "version": 1, "network": network})
    assert inputs(old, "Subnet", "cidrBlock") == {"web-a": ("10.66.0.0/17",), "web-b": ("10.66.128.0/17",)}
    assert names(old, "RouteTable") == ["web"]
    assert old.one("LoadBalancer").inputs["subnets"] == ["web-a-id", "web-b-id"]
    assert old.one("Group", old.outputs["live"]).inputs["vpcZoneIdentifiers"] == ["web-a-id", "web-b-id"]
    assert old.outputs["ledger"]["network"] == network


@pytest.mark.parametrize(("key", "value"), [("nat", "single"), ("ipv6", True)])
def test_what_a_network_of_the_first_versions_cannot_have_is_refused(key: str, value: object) -> None:
    """Routes of the machines would be those of the load balancer, and take it off the internet."""
    ledger = {**deployed().outputs["ledger"], "version": 1, "network": {"cidr": "10.66.0.0/16", "zones": ["a", "b"]}}
    with pytest.raises(InputError, match=f"{key} cannot be turned on.*deploy a new stack"):
        deployed({key: value}, ledger=ledger)


def test_endpoints_and_egress_can_be_added_to_a_network_of_the_first_versions() -> None:
    """The fleets that run already could never reach KMS."""
    ledger = {**deployed().outputs["ledger"], "version": 1, "network": {"cidr": "10.66.0.0/16", "zones": ["a", "b"]}}
    program = deployed(
        {"endpoints": ["kms", "s3"], "egress": [{"security_group": GROUP, "ports": [5432]}]}, ledger=ledger
    )
    assert program.one("VpcEndpoint", "web-endpoint-kms").inputs["subnetIds"] == ["web-a-id", "web-b-id"]
    assert program.one("VpcEndpoint", "web-endpoint-s3").inputs["routeTableIds"] == ["web-id"]


def test_zones_are_as_many_as_are_named_and_stay() -> None:
    """A fleet could not survive the loss of two zones; or would move when the account gets another zone."""
    three = deployed({"zones": ["a", "b", "c"]})
    assert len(names(three, "Subnet")) == 6
    again = declare(
        local("2", network={}), ledger=three.outputs["ledger"], credentials=Credentials(there=("a", "b", "c", "d"))
    )
    assert names(again, "Subnet") == names(three, "Subnet")
    with pytest.raises(InputError, match=r"network cannot change while the fleet runs in .* zones a, b, c"):
        deployed({"zones": ["a", "b"]}, ledger=three.outputs["ledger"])


@pytest.mark.parametrize(
    ("nat", "gateways", "routes"),
    [
        ("single", ["a"], {"web-machines-a": "web-nat-a-id", "web-machines-b": "web-nat-a-id"}),
        ("per-zone", ["a", "b"], {"web-machines-a": "web-nat-a-id", "web-machines-b": "web-nat-b-id"}),
    ],
)
def test_nat_gateways_are_behind_routes_of_the_machines(nat: str, gateways: list[str], routes: dict[str, str]) -> None:
    """Machines could not reach the internet that was paid for, or traffic would cross zones for each request."""
    program = deployed({"nat": nat})
    found = {name: gateway for name, (gateway,) in inputs(program, "Route", "natGatewayId").items() if gateway}
    assert found == routes
    assert inputs(program, "NatGateway", "subnetId", "allocationId") == {
        f"web-nat-{zone}": (f"web-public-{zone}-id", f"web-nat-{zone}-id") for zone in gateways
    }
    assert inputs(program, "Eip", "domain") == {f"web-nat-{zone}": ("vpc",) for zone in gateways}
    assert all(tags["fleetswap:stack"] for (tags,) in inputs(program, "NatGateway", "tags").values())
    before = deployed()
    assert inputs(program, "RouteTableAssociation", "subnetId", "routeTableId") == inputs(
        before, "RouteTableAssociation", "subnetId", "routeTableId"
    ), "so that it can be turned on and off under a fleet"


def test_endpoints_have_groups_of_their_own() -> None:
    """Machines could not reach KMS, or something else in the VPC could use the endpoint."""
    program = deployed({"endpoints": ["kms", "ecr.api", "s3"]})
    kms = program.one("VpcEndpoint", "web-endpoint-kms").inputs
    assert (kms["serviceName"], kms["vpcEndpointType"]) == ("com.amazonaws.us-east-1.kms", "Interface")
    assert (kms["privateDnsEnabled"], kms["securityGroupIds"]) == (True, ["web-endpoint-kms-id"])
    assert kms["subnetIds"] == ["web-machines-a-id", "web-machines-b-id"]
    ecr = program.one("VpcEndpoint", "web-endpoint-ecr-api").inputs
    assert ecr["subnetIds"] == ["web-machines-b-id"], "the only zone that has the service"
    s3 = program.one("VpcEndpoint", "web-endpoint-s3").inputs
    assert (s3["vpcEndpointType"], s3["routeTableIds"]) == ("Gateway", ["web-machines-a-id", "web-machines-b-id"])
    assert "subnetIds" not in s3
    door = program.one("SecurityGroupIngressRule", "web-endpoint-kms").inputs
    assert (door["securityGroupId"], door["referencedSecurityGroupId"], door["fromPort"], door["toPort"]) == (
        "web-endpoint-kms-id",
        "web-machines-id",
        443,
        443,
    )
    out = program.one("SecurityGroupEgressRule", "web-machines-to-endpoint-kms").inputs
    assert (out["securityGroupId"], out["referencedSecurityGroupId"], out["toPort"]) == (
        "web-machines-id",
        "web-endpoint-kms-id",
        443,
    )
    assert "web-machines-to-endpoint-s3" in names(program, "SecurityGroupEgressRule")


def test_an_unknown_endpoint_is_told_before_the_first_resource() -> None:
    """The deploy would fail half-way, with a network that costs money."""
    with pytest.raises(InputError, match=r"us-east-1 has no endpoint service kmss.*no endpoint service sqs"):
        deployed({"endpoints": ["kmss", "sqs", "kms"]})


@pytest.mark.parametrize("named", [{"egress": [{"security_group": GROUP, "ports": [5432]}]}, {}])
def test_a_new_vpc_has_no_group_of_somebody_else(named: dict[str, Any]) -> None:
    """The deploy would fail half-way: no security group can be in a VPC that the same deploy creates."""
    machine = {} if named else {"security_groups": [GROUP]}
    with pytest.raises(InputError, match=f"security groups {GROUP} cannot be in the stack's own VPC.*network.vpc"):
        deployed(named, machine=machine)


def test_egress_is_what_the_settings_name() -> None:
    """Machines could not reach their database, or anything else as well."""
    program = deployed(
        {
            "nat": "single",
            "ipv6": True,
            "egress": [
                {"cidr": "10.0.0.0/8", "ports": [5432, "8000-8010"]},
                {"cidr": "192.168.0.0/16", "protocol": "all"},
                {"prefix_list": "pl-0a1b2c3d", "protocol": "udp", "ports": [53]},
                {"cidr": "2001:db8::/32", "ports": [443]},
            ],
        }
    )
    keys = ("securityGroupId", "ipProtocol", "fromPort", "toPort")
    sources = ("cidrIpv4", "cidrIpv6", "referencedSecurityGroupId", "prefixListId")
    rules = inputs(program, "SecurityGroupEgressRule", *keys, *sources)
    del rules["web-front-to-machines-8080"]
    group = "web-machines-id"
    assert rules == {
        "web-machines-to-10.0.0.0_8-tcp-5432": (group, "tcp", 5432, 5432, "10.0.0.0/8", None, None, None),
        "web-machines-to-10.0.0.0_8-tcp-8000-8010": (group, "tcp", 8000, 8010, "10.0.0.0/8", None, None, None),
        "web-machines-to-192.168.0.0_16-all": (group, "-1", None, None, "192.168.0.0/16", None, None, None),
        "web-machines-to-pl-0a1b2c3d-udp-53": (group, "udp", 53, 53, None, None, None, "pl-0a1b2c3d"),
        "web-machines-to-2001-db8--_32-tcp-443": (group, "tcp", 443, 443, None, "2001:db8::/32", None, None),
    }


def test_dual_stack_has_ipv6_everywhere() -> None:
    """Clients would resolve an IPv6 address that nothing answers at; or machines be open to the internet by IPv6."""
    program = deployed({"ipv6": True, "nat": "single"})
    assert program.one("Vpc").inputs["assignGeneratedIpv6CidrBlock"] is True
    assert program.one("LoadBalancer").inputs["ipAddressType"] == "dualstack"
    routes = inputs(program, "Route", "destinationIpv6CidrBlock", "gatewayId", "egressOnlyGatewayId")
    assert {name: way for name, way in routes.items() if way[0]} == {
        "web-ipv6": ("::/0", "web-id", None),
        "web-machines-a-ipv6": ("::/0", None, "web-id"),
        "web-machines-b-ipv6": ("::/0", None, "web-id"),
    }
    assert inputs(program, "Subnet", "assignIpv6AddressOnCreation")["web-machines-a"] == (True,)
    world = inputs(program, "SecurityGroupIngressRule", "cidrIpv4", "cidrIpv6", "securityGroupId")
    assert world["web-world-to-front"] == ("0.0.0.0/0", None, "web-front-id")
    assert world["web---_0-to-front"] == (None, "::/0", "web-front-id")
    closed = deployed({"ipv6": True})
    assert names(closed, "EgressOnlyInternetGateway") == []
    with pytest.raises(InputError, match=r"network cannot change while the fleet runs in .* with IPv6"):
        deployed(ledger=program.outputs["ledger"])


def test_a_network_too_small_for_the_fleet_is_told() -> None:
    """A deploy would find no address for its machines, when the fleet is largest."""
    small = {"cidr": "10.0.0.0/24", "endpoints": ["kms"]}
    with pytest.raises(InputError, match=r"room for 116 machines, and two releases of capacity\.max machines need 120"):
        deployed(small, capacity={"min": 2, "max": 60})
    assert deployed(small, capacity={"min": 2, "max": 58})


def test_in_an_existing_vpc_only_groups_and_endpoints_are_added() -> None:
    """Somebody's network would be changed, or a second one be made beside it."""
    program = deployed({"vpc": INTO, "endpoints": ["kms", "s3"]}, existing=EXISTING)
    for kind in ("Vpc", "Subnet", "RouteTable", "Route", "RouteTableAssociation", "InternetGateway", "NatGateway"):
        assert names(program, kind) == []
    assert program.one("LoadBalancer").inputs["subnets"] == INTO["balancer_subnets"]
    assert program.one("Group").inputs["vpcZoneIdentifiers"] == INTO["machine_subnets"]
    assert program.one("TargetGroup").inputs["vpcId"] == VPC
    assert {vpc for (vpc,) in inputs(program, "SecurityGroup", "vpcId").values()} == {VPC}
    assert program.one("VpcEndpoint", "web-endpoint-kms").inputs["subnetIds"] == INTO["machine_subnets"]
    s3 = program.one("VpcEndpoint", "web-endpoint-s3").inputs
    assert s3["routeTableIds"] == ["rtb-private-a", "rtb-private-b"]
    ledger = program.outputs["ledger"]
    assert (ledger["version"], ledger["network"]["vpc"]) == (4, VPC)
    again = deployed({"vpc": INTO}, existing=EXISTING, ledger=ledger)
    assert again.outputs["ledger"]["network"] == ledger["network"]
    with pytest.raises(InputError, match=f"network cannot change while the fleet runs in {VPC}"):
        deployed(ledger=ledger)


def test_subnets_are_found_by_their_tags() -> None:
    """Each account of a company would need other settings."""
    tags = {"id": VPC, "machine_subnet_tags": {"tier": "private"}, "balancer_subnet_tags": {"tier": "public"}}
    program = deployed({"vpc": tags}, existing=EXISTING)
    assert program.one("LoadBalancer").inputs["subnets"] == INTO["balancer_subnets"]
    assert program.one("Group").inputs["vpcZoneIdentifiers"] == INTO["machine_subnets"]


def test_instance_types_are_looked_for_in_the_zones_of_an_existing_vpc() -> None:
    """The group of the first release could not be made, half-way through the deploy."""
    with pytest.raises(InputError, match=r"us-east-1 has no c7a\.large in its zones a and b"):
        declare(
            local("1", network={"vpc": INTO}),
            around=Around(existing=EXISTING),
            credentials=Credentials(lacks=("c7a.large",)),
        )


def test_a_vpc_that_does_not_suit_is_told_whole() -> None:
    """The user would correct one mistake, deploy, and meet the next."""
    with pytest.raises(InputError, match="has no vpc-0a1b2c3d4e5f60718 in us-east-1"):
        deployed({"vpc": INTO})
    bad = {**INTO, "balancer_subnets": ["subnet-00000001", "subnet-00000009"]}
    other = "sg-1a1b2c3d4e5f60718"
    with pytest.raises(InputError) as caught:
        deployed(
            {"vpc": bad, "endpoints": ["kmss"], "egress": [{"cidr": "2000::/3", "ports": [443]}]},
            existing=EXISTING,
            machine={"security_groups": [other]},
            capacity={"min": 2, "max": 300},
        )
    for told in (
        "no endpoint service kmss",
        "400 free addresses, and 600 more machines must fit",
        "subnet-00000009 is not one of its subnets",
        "balancer subnets are in us-east-1a, and a load balancer needs two zones",
        "subnet-00000001 has no route to an internet gateway",
        f"security group {other} does not exist",
        "subnet-00000001 has no route to 2000::/3",
    ):
        assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("known", "own", "told"),
    [
        ({}, set(), f"the security group {GROUP} does not exist in this account and region"),
        (
            {GROUP: VPC},
            set(),
            f"{GROUP} belongs to {VPC}, and machines can only be in groups of the stack's own",
        ),
        ({GROUP: VPC}, {"vpc-1"}, f"{GROUP} belongs to {VPC}, and machines can only be in groups of vpc-1"),
        ({GROUP: VPC}, {VPC}, ""),
    ],
)
def test_groups_of_machines_must_be_in_a_vpc_of_the_stack_s_own(
    known: dict[str, str], own: set[str], told: str
) -> None:
    """The release's machines could not be launched, long after the deploy has begun."""
    around, ledger = Around(known=known, own=frozenset(own)), deployed().outputs["ledger"]
    if not told:
        assert deployed(around=around, ledger=ledger, machine={"security_groups": [GROUP]})
        return
    with pytest.raises(InputError, match="fleetswap:network: nothing was changed: the security group") as caught:
        deployed(around=around, ledger=ledger, machine={"security_groups": [GROUP]})
    assert told in str(caught.value)


def test_a_destination_must_exist_and_may_be_elsewhere() -> None:
    """AWS would refuse the rule half-way through the deploy; or a database in a peered VPC be refused here."""
    to = {"egress": [{"security_group": GROUP, "ports": [5432]}]}
    ledger = deployed().outputs["ledger"]
    with pytest.raises(InputError, match=f"{GROUP} does not exist"):
        deployed(to, around=Around(), ledger=ledger)
    assert deployed(to, ledger=ledger)


@pytest.mark.parametrize("vpc", [{}, {"vpc": INTO}])
def test_what_a_gateway_endpoint_brings_is_not_named_again(vpc: dict[str, Any]) -> None:
    """AWS would refuse the second rule (InvalidPermission.Duplicate), half-way through the deploy."""
    around = Around(lists={"pl-0a1b2c3d": "com.amazonaws.us-east-1.s3"})
    given: dict[str, Any] = {**vpc, "endpoints": ["s3", "kms"]}
    rule = {"prefix_list": "pl-0a1b2c3d", "ports": [443]}
    with pytest.raises(InputError, match="pl-0a1b2c3d is the prefix list of the endpoint s3, which brings its rule"):
        deployed({**given, "egress": [rule]}, around=around, existing=EXISTING)
    for other in ({**rule, "ports": [80]}, {**rule, "protocol": "udp"}, {**rule, "prefix_list": "pl-1a1b2c3d"}):
        assert deployed({**given, "egress": [other]}, around=around, existing=EXISTING)


def test_an_endpoint_that_is_there_is_not_made_again() -> None:
    """AWS would refuse a second endpoint with the same private DNS name, half-way through the deploy."""
    there = Present("vpce-1", "com.amazonaws.us-east-1.kms", INTERFACE, private_dns=True)
    has = Vpc(VPC, "us-east-1", subnets=EXISTING.subnets, endpoints=(there,))
    with pytest.raises(InputError, match="already has the endpoint vpce-1 for kms: remove kms"):
        deployed({"vpc": INTO, "endpoints": ["kms"]}, existing=has)
    ours = Vpc(
        VPC,
        "us-east-1",
        subnets=EXISTING.subnets,
        endpoints=(Present(*("vpce-1", there.service, INTERFACE), ours=True),),
    )
    assert deployed({"vpc": INTO, "endpoints": ["kms"]}, existing=ours)


def test_a_rollback_needs_no_addresses() -> None:
    """In a full VPC, a rollback to the standby would be refused, which has its machines already."""
    first = deployed({"vpc": INTO}, existing=EXISTING)
    full = replace(EXISTING, subnets=tuple(replace(each, free=1) for each in EXISTING.subnets))
    around = Around(SERVICES, full)
    with pytest.raises(InputError, match="2 free addresses, and 4 more machines"):
        declare(local("2", network={"vpc": INTO}), around=around, ledger=first.outputs["ledger"])
    second = declare(
        local("2", network={"vpc": INTO}), around=Around(SERVICES, EXISTING), ledger=first.outputs["ledger"]
    )
    back = local("2", network={"vpc": INTO}, release=first.outputs["live"])
    assert declare(back, around=around, ledger=second.outputs["ledger"]).outputs["live"] == first.outputs["live"]
