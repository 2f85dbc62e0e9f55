"""The settings of the network: every mistake is told by its key, all of them together."""

from __future__ import annotations

from typing import Any

import pytest

from fleetswap.domain.errors import InputError
from fleetswap_pulumi.network_settings import NetworkSettings
from tests.program.test_settings import read

VPC = "vpc-0a1b2c3d4e5f60718"
ONE, TWO, THREE, FOUR = (f"subnet-{n}a1b2c3d4e5f60718" for n in range(4))
GROUP = "sg-0a1b2c3d4e5f60718"
EXISTING = {"id": VPC, "machine_subnets": [ONE, TWO], "balancer_subnets": [THREE, FOUR]}


def network(**values: Any) -> NetworkSettings:
    return read(network=values).network


def test_by_default_machines_reach_nothing() -> None:
    """A new stack would pay for a NAT gateway, or its machines be able to send data anywhere."""
    default = network()
    assert (default.nat, default.endpoints, default.egress, default.ipv6, default.vpc) == ("none", (), (), False, None)
    assert read().machine.security_groups == ()


def test_rules_are_read_as_they_are_meant() -> None:
    """Machines could connect elsewhere, or the ports of a range be one port."""
    tcp, udp, everything = network(
        egress=[
            {"cidr": "10.0.0.0/8", "ports": [5432, "8000-8010"]},
            {"prefix_list": "pl-0a1b2c3d", "protocol": "udp", "ports": ["53"]},
            {"security_group": GROUP, "protocol": "all"},
        ]
    ).egress
    assert (tcp.destination, tcp.protocol, tcp.ranges) == ("10.0.0.0/8", "tcp", ((5432, 5432), (8000, 8010)))
    assert (udp.destination, udp.ranges) == ("pl-0a1b2c3d", ((53, 53),))
    assert (everything.destination, everything.protocol, everything.ranges) == (GROUP, "all", ())


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "8.8.8.0/24", "::/0", "2000::/3"])
def test_the_internet_needs_a_way_there(cidr: str) -> None:
    """The machines would hang in connect(), and nobody would know why."""
    with pytest.raises(InputError, match=r"fleetswap:network\.egress: .* is in the internet.*set `nat`"):
        network(egress=[{"cidr": cidr, "ports": [443]}])
    assert network(egress=[{"cidr": cidr, "ports": [443]}], nat="single", ipv6=":" in cidr).egress
    assert network(egress=[{"cidr": cidr, "ports": [443]}], vpc=EXISTING).egress, "its routes are looked at later"


@pytest.mark.parametrize("cidr", ["10.0.0.0/8", "192.168.1.0/24", "100.64.0.0/16", "fd00::/8"])
def test_a_private_destination_needs_none(cidr: str) -> None:
    """A program that adds a peering to the VPC could not let the machines use it."""
    assert network(egress=[{"cidr": cidr, "ports": [5432]}], ipv6=":" in cidr).egress[0].destination == cidr
    assert network(cidr="11.0.0.0/16", egress=[{"cidr": "11.0.0.0/16", "ports": [5432]}]).egress


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"egress": [{"ports": [1]}]}, "egress[0]: give exactly one of `cidr`"),
        ({"egress": [{"cidr": "10.0.0.0/8", "security_group": GROUP, "ports": [1]}]}, "egress[0]: give exactly one"),
        (
            {"egress": [{"cidr": "10.0.0.1/8", "ports": [1]}]},
            "egress[0].cidr: 10.0.0.1/8 is not the first address of its CIDR block: write 10.0.0.0/8",
        ),
        ({"egress": [{"cidr": "10.0.0.0/8"}]}, "egress[0].ports: is empty"),
        ({"egress": [{"cidr": "10.0.0.0/8", "ports": []}]}, "egress[0].ports: is empty"),
        ({"egress": [{"cidr": "10.0.0.0/8", "ports": [1], "protocol": "all"}]}, "egress[0].ports: protocol `all`"),
        ({"egress": [{"cidr": "10.0.0.0/8", "ports": [70000]}]}, "egress[0].ports[0]: 70000 is not a port"),
        ({"egress": [{"cidr": "10.0.0.0/8", "ports": ["9-8"]}]}, "egress[0].ports[0]: 9-8 is not a port"),
        ({"egress": [{"cidr": "10.0.0.0/8", "ports": ["http"]}]}, "egress[0].ports[0]: must be a port or a range"),
        ({"egress": [{"cidr": "10.0.0.0/8", "ports": [True]}]}, "egress[0].ports[0]: must be text"),
        ({"egress": [{"cidr": "10.0.0.0/8", "ports": [1, 1]}]}, "egress[0].ports: names 1 twice"),
        ({"egress": [{"cidr": "10.0.0.0/8", "ports": ["8000-8000", 8000]}]}, "egress[0].ports: names 8000 twice"),
        (
            {"egress": [{"cidr": "10.0.0.0/8", "ports": [each]} for each in ("0443", 443)]},
            "egress: names 10.0.0.0/8 tcp 443 twice",
        ),
        ({"cidr": "0.0.0.0/16"}, "cidr: 0.0.0.0/16 is not a network for hosts"),
        ({"egress": [{"cidr": "10.0.0.0/8", "ports": [1]}] * 2}, "egress: names 10.0.0.0/8 tcp 1 twice"),
        (
            {"egress": [{"security_group": "web", "ports": [1]}]},
            "egress[0].security_group: must be the ID of a security group",
        ),
        ({"egress": [{"prefix_list": "s3", "ports": [1]}]}, "egress[0].prefix_list: must be the ID of a prefix list"),
        ({"egress": [{"cidr": "10.0.0.0/8", "ports": [1], "protocol": "icmp"}]}, "egress[0].protocol"),
        ({"endpoints": ["kms", "kms"]}, "endpoints: names kms twice"),
        ({"endpoints": ["KMS"]}, "endpoints[0]: must be the name of an AWS service"),
        (
            {"egress": [{"cidr": "fd00::/8", "ports": [443]}]},
            "ipv6: is false, and egress names fd00::/8: the machines have IPv4 addresses only",
        ),
        ({"nat": True}, "nat: must be 'none', 'single' or 'per-zone', not true"),
        ({"cidr": "fd00::/16"}, "cidr: fd00::/16 is an IPv6 CIDR block"),
        ({"nat": "one"}, "nat: must be 'none', 'single' or 'per-zone'"),
        ({"cidr": "10.0.0.0/24", "zones": list("abcde")}, "zones: 10.0.0.0/24 is too small for 5 zones"),
        ({"vpc": {"id": "web"}}, "vpc.id: must be the ID of a VPC, such as vpc-0a1b2c3d4e5f60718, not 'web'"),
        ({"vpc": {"id": VPC}}, "vpc.machine_subnet_tags: give `machine_subnets` or `machine_subnet_tags`"),
        ({"vpc": {**EXISTING, "machine_subnets": [ONE]}}, "vpc.machine_subnets: names one subnet"),
        ({"vpc": {**EXISTING, "machine_subnets": [ONE, ONE]}}, "vpc.machine_subnets: names subnet-0a1b2c3d4e5f60718 t"),
        (
            {"vpc": {**EXISTING, "machine_subnet_tags": {"a": "b"}}},
            "vpc.machine_subnet_tags: `machine_subnets` names them already",
        ),
        (
            {"vpc": {**EXISTING, "balancer_subnet_tags": {"a": "b"}}},
            "vpc.balancer_subnet_tags: `balancer_subnets` names them already",
        ),
        ({"vpc": {**EXISTING, "balancer_subnets": []}}, "vpc.balancer_subnets: is missing"),
        ({"vpc": EXISTING, "cidr": "10.0.0.0/16"}, "cidr: does not apply to an existing VPC"),
        ({"vpc": EXISTING, "zones": ["a", "b"]}, "zones: does not apply to an existing VPC"),
        ({"vpc": EXISTING, "nat": "none"}, "nat: does not apply to an existing VPC"),
    ],
)
def test_what_is_wrong_is_told(values: dict[str, Any], told: str) -> None:
    """AWS would refuse it half-way through the deploy, or machines connect to what nobody meant."""
    with pytest.raises(InputError) as caught:
        network(**values)
    assert f"fleetswap:network.{told}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    """The user would correct one mistake, deploy, and meet the next."""
    with pytest.raises(InputError) as caught:
        read(
            network={
                "vpc": {"id": VPC, "machine_subnets": [ONE]},
                "cidr": "10.0.0.0/16",
                "nat": "both",
                "endpoints": ["KMS"],
                "egress": [{"cidr": "10.0.0.0/8"}, {"ports": [1]}],
            },
            machine={"security_groups": ["web"]},
        )
    for key in ("vpc.machine_subnets", "nat", "endpoints[0]", "egress[0].ports", "egress[1]"):
        assert f"fleetswap:network.{key}: " in str(caught.value)
    assert "fleetswap:machine.security_groups[0]: must be the ID of a security group" in str(caught.value)


def test_subnets_can_be_named_by_tags() -> None:
    """A company with other subnets in each account would need other settings in each."""
    vpc = network(
        vpc={"id": VPC, "machine_subnet_tags": {"tier": "private"}, "balancer_subnet_tags": {"tier": "public"}}
    ).vpc
    assert vpc is not None
    assert (vpc.machine_subnets, vpc.machine_subnet_tags) == ((), {"tier": "private"})
    assert vpc.names_balancer_subnets
