"""How the VPC is divided."""

from __future__ import annotations

import ipaddress
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.errors import InputError
from fleetswap.domain.network.subnets import BALANCER_FREE, HALVES, SEPARATE, divide, ipv6_block

LETTERS = "abcdef"


def test_the_default_network_is_divided_like_this() -> None:
    """A new version would divide the network of a running fleet otherwise, and AWS would have to replace it."""
    division = divide("10.66.0.0/16", "ab", SEPARATE)
    assert [(each.zone, each.cidr, each.number) for each in division.machines] == [
        ("a", "10.66.0.0/18", 1),
        ("b", "10.66.128.0/18", 3),
    ]
    assert [(each.zone, each.cidr, each.number) for each in division.balancer] == [
        ("a", "10.66.64.0/24", 0),
        ("b", "10.66.192.0/24", 2),
    ]
    three = divide("10.66.0.0/24", "abc", SEPARATE)
    assert [each.cidr for each in three.machines] == ["10.66.0.0/27", "10.66.0.64/27", "10.66.0.128/27"]
    assert [each.cidr for each in three.balancer] == ["10.66.0.32/27", "10.66.0.96/27", "10.66.0.160/27"]


def test_a_network_of_the_first_versions_stays() -> None:
    """An upgrade of the program would replace the subnets that the live fleet stands in."""
    division = divide("10.66.0.0/16", "ac", HALVES)
    assert division.machines == division.balancer
    assert [(each.zone, each.cidr) for each in division.machines] == [("a", "10.66.0.0/17"), ("c", "10.66.128.0/17")]


def test_two_halves_are_not_for_three_zones() -> None:
    """A traceback would be the answer to a third zone."""
    with pytest.raises(InputError, match="two zones, not 3"):
        divide("10.66.0.0/16", "abc", HALVES)


@given(prefix=st.integers(16, 24), zones=st.integers(2, 6))
def test_subnets_are_inside_apart_and_large_enough(prefix: int, zones: int) -> None:
    """AWS would refuse a subnet half-way through the first deploy, or the load balancer could not grow."""
    whole = ipaddress.IPv4Network(f"10.32.0.0/{prefix}")
    try:
        division = divide(str(whole), LETTERS[:zones], SEPARATE)
    except InputError:
        # Each zone takes a /26 at least: a /27 for the load balancer, and as much for machines.
        assert 2 ** (32 - prefix) < zones * 64
        return
    every = [ipaddress.IPv4Network(each.cidr) for each in (*division.machines, *division.balancer)]
    assert all(each.subnet_of(whole) for each in every)
    assert not any(one.overlaps(other) for one, other in combinations(every, 2))
    for kind in (division.machines, division.balancer):
        assert [each.zone for each in kind] == list(LETTERS[:zones])
    assert all(ipaddress.IPv4Network(each.cidr).prefixlen <= 27 for each in division.balancer)
    assert all(each.room >= BALANCER_FREE for each in division.balancer)
    assert all(ipaddress.IPv4Network(each.cidr).prefixlen <= 28 for each in division.machines)
    assert division.room >= 2 ** (32 - prefix) // 4 - 5 * zones, "a quarter at least is the machines'"
    assert len({each.number for each in (*division.machines, *division.balancer)}) == 2 * zones


def test_too_small_a_network_is_told_with_the_size_that_it_takes() -> None:
    """The user would have to find it by trying."""
    with pytest.raises(InputError, match=r"10\.0\.0\.0/24 is too small for 5 zones.*a /23 or larger"):
        divide("10.0.0.0/24", "abcde", SEPARATE)
    assert len(divide("10.0.0.0/23", "abcde", SEPARATE).balancer) == 5


def test_a_layout_of_a_newer_version_is_refused() -> None:
    """An older program would take a network for another, and replace it."""
    with pytest.raises(InputError, match="layout 3"):
        divide("10.0.0.0/16", "ab", 3)


@given(number=st.integers(0, 11))
def test_every_subnet_has_a_block_of_its_own(number: int) -> None:
    """Two subnets would want the same IPv6 addresses."""
    subnet = (*divide("10.0.0.0/16", LETTERS, SEPARATE).balancer, *divide("10.0.0.0/16", LETTERS, SEPARATE).machines)[
        number
    ]
    block = ipaddress.IPv6Network(ipv6_block("2600:1f18:abcd:ef00::/56", subnet))
    assert block.prefixlen == 64
    assert block.subnet_of(ipaddress.IPv6Network("2600:1f18:abcd:ef00::/56"))
    assert int(block.network_address) >> 64 & 0xFF == subnet.number
