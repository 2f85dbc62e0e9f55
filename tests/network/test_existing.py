"""Whether a fleet can stand in an existing VPC: a table from facts to what is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.domain.network.endpoints import GATEWAY, INTERFACE, Endpoint
from fleetswap.domain.network.existing import (
    Chosen,
    Named,
    Present,
    Route,
    Subnet,
    Vpc,
    Wanted,
    check,
    choose,
    is_inside,
)

LOCAL = Route("10.0.0.0/16", "local")
NAT = (LOCAL, Route("0.0.0.0/0", "nat-1"))
IGW = (LOCAL, Route("0.0.0.0/0", "igw-1"))


def subnet(name: str, zone: str, routes: tuple[Route, ...] = (LOCAL,), **changes: Any) -> Subnet:
    return Subnet(f"subnet-{name}", zone, changes.pop("free", 100), f"rtb-{zone}", routes, **changes)


MACHINES = (subnet("m1", "a"), subnet("m2", "b"))
BALANCER = (subnet("p1", "a", IGW), subnet("p2", "b", IGW))
VPC = Vpc("vpc-1", "eu-central-1", subnets=(*MACHINES, *BALANCER), groups={"sg-1": "vpc-1", "sg-2": "vpc-2"})
WANTED = Wanted(Named(("subnet-m1", "subnet-m2")), Named(("subnet-p1", "subnet-p2")), machines=16)
KMS = Endpoint("kms", "com.amazonaws.eu-central-1.kms", INTERFACE, ("a", "b"), private_dns=True)
S3 = Endpoint("s3", "com.amazonaws.eu-central-1.s3", GATEWAY)


def with_machines(routes: tuple[Route, ...], **changes: Any) -> Vpc:
    machines = [subnet("m1", "a", routes, **changes), subnet("m2", "b", routes, **changes)]
    return replace(VPC, subnets=(*machines, *BALANCER))


def problems(wanted: Wanted = WANTED, vpc: Vpc = VPC, endpoints: tuple[Endpoint, ...] = ()) -> str:
    """What is told; nothing if the VPC suits."""
    try:
        check(wanted, vpc, choose(wanted, vpc), endpoints)
    except InputError as error:
        return str(error)
    return ""


def test_a_vpc_that_suits_is_taken_as_it_is() -> None:
    """A company could not deploy into its own network."""
    assert problems() == ""
    assert choose(WANTED, VPC) == Chosen(MACHINES, BALANCER)
    assert choose(WANTED, VPC).zones == ("a", "b")
    assert choose(WANTED, VPC).tables == ("rtb-a", "rtb-b")


def test_subnets_are_those_with_all_the_tags() -> None:
    """Machines would stand in a subnet that somebody tagged for something else."""
    tagged = [replace(each, tags={"tier": "private", "env": "prod"}) for each in reversed(MACHINES)]
    vpc = replace(VPC, subnets=(*tagged, replace(subnet("x", "a"), tags={"tier": "private"}), *BALANCER))
    wanted = replace(WANTED, machine=Named(tags={"tier": "private", "env": "prod"}))
    assert [each.id for each in choose(wanted, vpc).machine] == ["subnet-m1", "subnet-m2"]
    assert problems(wanted, vpc) == ""
    told = problems(replace(WANTED, machine=Named(tags={"tier": "db", "env": "prod"})), vpc)
    assert "none of its subnets has the tags env=prod, tier=db: correct vpc.machine_subnet_tags" in told


@pytest.mark.parametrize(
    ("wanted", "vpc", "told"),
    [
        (
            replace(WANTED, machine=Named(("subnet-m1", "subnet-x"))),
            VPC,
            "subnet-x is not one of its subnets: correct vpc.machine_subnets",
        ),
        (
            replace(WANTED, machine=Named(("subnet-m1", "subnet-p1"))),
            VPC,
            "the machine subnets are in a, and a load balancer needs two zones",
        ),
        (
            replace(WANTED, balancer=Named(("subnet-p1", "subnet-m1"))),
            VPC,
            "the load balancer has several subnets in a",
        ),
        (
            replace(WANTED, balancer=Named(("subnet-p1", "subnet-m1"))),
            VPC,
            "the load balancer has no subnet in b, so machines there get no",
        ),
        (
            replace(WANTED, balancer=Named(("subnet-p1", "subnet-m2"))),
            VPC,
            "subnet-m2 has no route to an internet gateway",
        ),
        (
            replace(WANTED, machines=201),
            VPC,
            "the machine subnets have 200 free addresses, and 201 more machines must fit",
        ),
        (
            WANTED,
            replace(VPC, subnets=(*MACHINES, BALANCER[0], subnet("p2", "b", IGW, free=7))),
            "subnet-p2 has 7 free addresses, and a load balancer needs 8: name a larger subnet",
        ),
        (replace(WANTED, ipv6=True), VPC, "subnet-p1 has no IPv6 CIDR block"),
        (
            WANTED,
            replace(VPC, subnets=(MACHINES[0], replace(MACHINES[1], ipv6_only=True), *BALANCER)),
            "subnet-m2 is for IPv6 only, and machines and load balancer need IPv4",
        ),
        (
            WANTED,
            replace(VPC, subnets=(*MACHINES, BALANCER[0], replace(BALANCER[1], ipv6_only=True))),
            "subnet-p2 is for IPv6 only",
        ),
        (replace(WANTED, groups=("sg-3",)), VPC, "the security group sg-3 does not exist"),
        (replace(WANTED, destinations=("sg-3",)), VPC, "the security group sg-3 does not exist"),
        (
            replace(WANTED, groups=("sg-2",)),
            VPC,
            "the security group sg-2 belongs to vpc-2, and machines can only be in groups of vpc-1",
        ),
        (
            replace(WANTED, needs_kms=True),
            VPC,
            "machines in subnet-m1 cannot reach KMS to decrypt their secrets: add kms to `endpoints`",
        ),
    ],
)
def test_what_is_wrong_is_told(wanted: Wanted, vpc: Vpc, told: str) -> None:
    """The deploy would fail half-way, or a fleet run that serves nobody."""
    assert told in problems(wanted, vpc)


def test_all_that_is_wrong_is_told_at_once() -> None:
    """The user would correct one mistake, deploy, and meet the next."""
    wanted = replace(WANTED, machines=999, groups=("sg-3",), cidrs=("8.8.8.0/24",), needs_kms=True)
    with pytest.raises(InputError, match="nothing was changed") as caught:
        check(wanted, VPC, choose(wanted, VPC), (), ("no service kmss",))
    for told in ("no service kmss", "999", "sg-3", "no route to 8.8.8.0/24", "KMS"):
        assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_an_existing_balancer_has_is_not_asked_for() -> None:
    """Behind an existing listener, subnets would be demanded that nothing uses."""
    assert problems(replace(WANTED, balancer=None), replace(VPC, subnets=MACHINES)) == ""
    internal = replace(WANTED, balancer=Named(("subnet-m1", "subnet-m2")), internal=True)
    assert problems(internal) == ""
    running = replace(WANTED, balancer_free=0)
    crowded = tuple(replace(each, free=0) for each in BALANCER)
    assert problems(running, replace(VPC, subnets=(*MACHINES, *crowded))) == "", "its load balancer has its addresses"


@pytest.mark.parametrize(
    ("cidr", "routes", "reached"),
    [
        ("10.0.3.0/24", (LOCAL,), True),
        ("10.0.0.0/8", (LOCAL,), True),  # the part of it that is there
        ("10.1.0.0/16", (LOCAL,), False),
        ("10.1.0.0/16", (LOCAL, Route("10.1.0.0/16", "pcx-1")), True),
        ("10.1.0.0/16", (LOCAL, Route("10.1.0.0/16", "pcx-1", active=False)), False),
        ("10.1.0.0/16", (LOCAL, Route("10.0.0.0/8", "tgw-1")), True),
        ("8.8.8.0/24", NAT, True),
        ("8.8.8.0/24", IGW, False),  # without a public address nothing comes back
        ("10.1.2.0/24", (*NAT, Route("10.1.0.0/16", "pcx-1", active=False)), False),  # the most specific one counts
        ("10.1.2.0/24", (*NAT, Route("10.1.2.0/28", "pcx-1", active=False)), True),
        ("8.8.8.0/24", (*NAT, Route("8.0.0.0/8", "igw-1")), False),
        ("0.0.0.0/0", (LOCAL,), False),
        ("0.0.0.0/0", (LOCAL, Route("pl-1", "vpce-1")), False),
        ("2000::/3", NAT, False),
        ("2000::/3", (*NAT, Route("::/0", "eigw-1")), False),  # without an IPv6 address
        ("fd00:1::/32", (Route("fd00:1::/48", "pcx-1"),), True),
    ],
)
def test_egress_needs_a_route(cidr: str, routes: tuple[Route, ...], reached: bool) -> None:  # noqa: FBT001
    """The machines would hang in connect(), and nobody would know why."""
    told = problems(replace(WANTED, cidrs=(cidr,)), with_machines(routes))
    assert (f"subnet-m1 has no route to {cidr}" not in told) == reached
    assert bool(told) != reached


def test_machines_with_addresses_of_their_own_leave_by_gateways() -> None:
    """A VPC whose subnets give public or IPv6 addresses would be refused."""
    assert problems(replace(WANTED, cidrs=("8.8.8.0/24",)), with_machines(IGW, public=True)) == ""
    six = (LOCAL, Route("::/0", "eigw-1"))
    assert problems(replace(WANTED, cidrs=("2000::/3",)), with_machines(six, ipv6=True)) == ""


def test_a_prefix_list_needs_a_route_or_an_endpoint() -> None:
    """S3 could not be reached by a rule that names its prefix list."""
    wanted = replace(WANTED, prefix_lists=("pl-1",))
    assert "subnet-m1 has no route to pl-1" in problems(wanted)
    assert problems(wanted, with_machines((LOCAL, Route("pl-1", "vpce-1")))) == ""
    assert problems(wanted, with_machines(NAT)) == ""
    assert problems(wanted, VPC, (S3,)) == "", "which brings the route"


def test_an_endpoint_that_somebody_else_made_is_not_made_again() -> None:
    """AWS would refuse a second one with the same private DNS name, half-way through the deploy."""
    there = Present("vpce-1", KMS.service, INTERFACE, private_dns=True)
    assert "already has the endpoint vpce-1 for kms: remove kms from `endpoints`" in problems(
        vpc=replace(VPC, endpoints=(there,)), endpoints=(KMS,)
    )
    assert problems(vpc=replace(VPC, endpoints=(replace(there, ours=True),)), endpoints=(KMS,)) == ""
    other = replace(there, service="com.amazonaws.eu-central-1.logs")
    assert problems(vpc=replace(VPC, endpoints=(other,)), endpoints=(KMS,)) == ""


@pytest.mark.parametrize("attribute", ["dns_support", "dns_hostnames"])
def test_private_names_need_dns(attribute: str) -> None:
    """AWS would refuse the endpoint (InvalidParameter), half-way through the deploy."""
    without: dict[str, Any] = {attribute: False}
    vpc = replace(VPC, **without)
    assert "enableDnsSupport and enableDnsHostnames" in problems(vpc=vpc, endpoints=(KMS,))
    assert problems(vpc=vpc, endpoints=(S3,)) == ""


def test_kms_is_reached_by_an_endpoint_or_a_gateway() -> None:
    """Machines could not decrypt their secrets, or a VPC that has a way already be refused."""
    wanted = replace(WANTED, needs_kms=True)
    assert problems(wanted, VPC, (KMS,)) == ""
    assert problems(wanted, with_machines(NAT)) == ""
    there = Present("vpce-1", KMS.service, INTERFACE, private_dns=True)
    assert problems(wanted, replace(VPC, endpoints=(there,))) == ""
    assert "cannot reach KMS" in problems(wanted, replace(VPC, endpoints=(replace(there, private_dns=False),)))


def test_a_way_to_kms_is_one_that_the_machines_may_take() -> None:
    """The security group of the machines would stop what the VPC has a way for, and each machine fail at boot."""
    wanted = replace(WANTED, needs_kms=True, https=False)
    assert problems(wanted, VPC, (KMS,)) == "", "which brings its rule"
    there = Present("vpce-1", KMS.service, INTERFACE, private_dns=True)
    told = problems(wanted, replace(VPC, endpoints=(there,)))
    assert "add the security group of its endpoint vpce-1 to `egress`, with port 443" in told
    assert "may not connect to KMS to decrypt their secrets: add kms" in problems(wanted, with_machines(NAT))
    assert problems(replace(wanted, needs_kms=False), with_machines(NAT)) == ""


def test_a_block_lies_in_another_of_its_kind() -> None:
    """A destination in the internet would be taken for a private one."""
    assert is_inside("10.1.0.0/16", "10.0.0.0/8")
    assert not is_inside("10.0.0.0/8", "10.1.0.0/16")
    assert is_inside("fd00::/16", "fc00::/7")
    assert not is_inside("fd00::/16", "10.0.0.0/8")
    assert not is_inside("10.0.0.0/8", "fc00::/7")
