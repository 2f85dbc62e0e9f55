"""Whose connection it is: what the address of a client on this machine stands for. Pure: no I/O.

Decides which networks a client belongs to, for security groups and for the condition `source-ip`. All of it happens on
loopback, and as an instance with the private address 10.a.b.c listens at 127.a.b.c here, a client that connects from
127.a.b.c counts as the instance with that private address. 127.0.0.1, from which anyone connects who does not choose
another address, counts as itself: it is in 0.0.0.0/0, as whoever comes from the internet, and in no private network.
An IPv6 network has no client here.
"""

from __future__ import annotations

from ipaddress import IPv4Network, ip_network

_PRIVATE = IPv4Network("10.0.0.0/8")
_HERE = IPv4Network("127.0.0.0/8")
_ANYONE = IPv4Network("127.0.0.1/32")


def networks(block: str) -> tuple[str, ...]:
    """The networks of this machine from which a client of a CIDR block connects."""
    asked = ip_network(block, strict=False)
    if not isinstance(asked, IPv4Network):
        return ()
    found = [asked]
    if asked.subnet_of(_PRIVATE):
        there = int(asked.network_address) - int(_PRIVATE.network_address) + int(_HERE.network_address)
        mirrored = IPv4Network((there, asked.prefixlen))
        found += mirrored.address_exclude(_ANYONE) if _ANYONE.subnet_of(mirrored) else [mirrored]
    return tuple(str(network) for network in found)


def span(network: str) -> tuple[int, int]:
    """The first and the last address of an IPv4 network, as numbers."""
    of = IPv4Network(network)
    return int(of.network_address), int(of.broadcast_address)
