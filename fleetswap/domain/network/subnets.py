"""How a VPC of the stack's own is divided into subnets: pure arithmetic on addresses.

Layout 1 is what the first versions made: two halves of the CIDR block, which hold the machines and the load balancer
alike. A fleet that stands there stays there, because AWS can move neither. Layout 2 gives each zone a subnet for
machines and a smaller one for the load balancer, and leaves the rest of the block free.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from fleetswap.domain.errors import InputError

HALVES = 1
SEPARATE = 2
"""The layouts, as a ledger has them."""

RESERVED = 5
"""Addresses that AWS keeps of every subnet (VPC user guide, "Subnet CIDR blocks")."""

BALANCER_PREFIX = 27
"""The smallest subnet that a load balancer takes (ELBv2, "Subnets for your load balancer")."""

BALANCER_FREE = 8
"""Addresses that a load balancer needs free in each of its subnets to grow (the same page)."""

BALANCER_LARGEST = 24
"""A load balancer has at most 100 addresses (the same page): 251 in one subnet are enough, also for NAT gateways."""

MACHINES_PREFIX = 28
"""The smallest subnet that there is."""

IPV6_SUBNET = 64
"""Of every subnet's IPv6 CIDR block (VPC user guide)."""


@dataclass(frozen=True)
class Subnet:
    """One subnet. `number` is that of its /64 in the VPC's IPv6 CIDR block."""

    zone: str
    cidr: str
    number: int

    @property
    def room(self) -> int:
        """Addresses that can be used."""
        return int(ipaddress.IPv4Network(self.cidr).num_addresses) - RESERVED


@dataclass(frozen=True)
class Division:
    """The subnets of a VPC, one of each kind in each zone, in the order of the zones.

    In layout 1 both kinds are the same subnets.
    """

    balancer: tuple[Subnet, ...]
    machines: tuple[Subnet, ...]

    @property
    def room(self) -> int:
        """Machines that fit, if nothing else is in their subnets."""
        return sum(subnet.room for subnet in self.machines)


def divide(cidr: str, zones: Sequence[str], layout: int) -> Division:
    """The subnets of `cidr`. The same zones in the same order always get the same ones.

    Raises `InputError` if the block is too small for so many zones, or for a layout that this version does not know.
    """
    whole = ipaddress.IPv4Network(cidr)
    if layout == HALVES:
        if len(zones) != 2:
            raise InputError(f"the network of this fleet has two zones, not {len(zones)}: restore the setting")
        halves = whole.subnets(prefixlen_diff=1)
        both = tuple(Subnet(zone, str(half), n) for n, (zone, half) in enumerate(zip(zones, halves, strict=True)))
        return Division(both, both)
    if layout != SEPARATE:
        raise InputError(f"the network has layout {layout}, which is of a newer version of Fleetswap: use that")
    # A block of a power of two for each zone: its first half is for the machines, the rest begins with the balancer.
    share = whole.prefixlen + (len(zones) - 1).bit_length()
    machines = share + 1
    balancer = max(machines, min(BALANCER_PREFIX, max(machines + 1, BALANCER_LARGEST)))
    if balancer > BALANCER_PREFIX or machines > MACHINES_PREFIX:
        raise InputError(
            f"{cidr} is too small for {len(zones)} zones: a load balancer needs a /{BALANCER_PREFIX} in each zone,"
            f" which takes a /{whole.prefixlen - (machines - BALANCER_PREFIX)} or larger"
        )
    found: list[tuple[Subnet, Subnet]] = []
    for n, (zone, block) in enumerate(zip(zones, whole.subnets(new_prefix=share), strict=False)):
        low, high = block.subnets(new_prefix=machines)
        front = next(high.subnets(new_prefix=balancer))
        found.append((Subnet(zone, str(front), 2 * n), Subnet(zone, str(low), 2 * n + 1)))
    return Division(tuple(front for front, _ in found), tuple(own for _, own in found))


def ipv6_block(vpc_block: str, subnet: Subnet) -> str:
    """The /64 of a subnet in the IPv6 CIDR block that AWS gave the VPC (a /56: 256 of them)."""
    whole = ipaddress.IPv6Network(vpc_block)
    first = int(whole.network_address) + (subnet.number << (128 - IPV6_SUBNET))
    return f"{ipaddress.IPv6Address(first)}/{IPV6_SUBNET}"
