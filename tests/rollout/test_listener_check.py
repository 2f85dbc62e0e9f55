"""Whether a service can have its rules on a listener that exists, and which hosted zone its domain is in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout import zone
from fleetswap.domain.rollout.listener import Seen, SeenRule, check
from fleetswap.domain.rollout.rule import Rules
from fleetswap.domain.rollout.zone import HostedZone

SEEN = Seen(
    arn="arn:listener",
    protocol="HTTPS",
    port=443,
    kind="application",
    vpc="vpc-1",
    dns_name="shared.example",
    zone_id="ZELB",
    internal=False,
    security_groups=("sg-1",),
    idle_timeout=60,
)
RULES = Rules(priorities=(100, 105), hosts=("shop.example.com",))


def rule(priority: int, **changes: Any) -> SeenRule:
    return replace(SeenRule(f"arn:rule-{priority}", priority, ours=False), **changes)


def judged(seen: Seen = SEEN, rules: Rules = RULES, **changes: Any) -> tuple[str, ...]:
    given: dict[str, Any] = {"vpc": "vpc-1", "version": "http1", "drain": None}
    return check(seen, rules, **(given | changes))


@pytest.mark.parametrize(
    ("seen", "asked", "told"),
    [
        (
            replace(SEEN, kind="network"),
            {},
            "belongs to a network load balancer: name a listener of an Application Load Balancer",
        ),
        (SEEN, {"vpc": "vpc-2"}, "its load balancer is in vpc-1, and the machines are in vpc-2"),
        (replace(SEEN, protocol="HTTP"), {"version": "grpc"}, "it speaks HTTP, and health.protocol_version grpc"),
        (replace(SEEN, http2=False), {"version": "http2"}, "has routing.http2.enabled=false"),
        (SEEN, {"drain": 59}, "health.drain (59) is less than the load balancer's idle timeout (60)"),
        (replace(SEEN, security_groups=()), {}, "has no security group"),
        (replace(SEEN, others=97), {}, "has 97 rules of others, of 100"),
        (replace(SEEN, target_groups=98), {}, "has 98 target groups of others, of 100"),
        (replace(SEEN, rules=(rule(100, hosts=("a.b",)),)), {}, "rule arn:rule-100 of someone else has priority 100"),
        (replace(SEEN, rules=(rule(105, hosts=("a.b",)),)), {}, "rule arn:rule-105 of someone else has priority 105"),
        (replace(SEEN, rules=(rule(9, hosts=("*.example.com",)),)), {}, "arn:rule-9, with priority 9, takes all"),
        (replace(SEEN, rules=(rule(9, paths=("/*",)),)), {}, "arn:rule-9, with priority 9, takes all"),
    ],
)
def test_what_does_not_fit_is_told(seen: Seen, asked: dict[str, Any], told: str) -> None:
    """The deploy would stop half-way, or finish with a service that no request reaches."""
    with pytest.raises(InputError) as caught:
        judged(seen, **asked)
    assert told in str(caught.value)


def test_all_of_it_is_told_at_once() -> None:
    """Each try would tell one thing, of a listener that somebody else has to change."""
    seen = replace(SEEN, rules=(rule(9, paths=("/*",)), rule(105, hosts=("a.b",))), others=97)
    with pytest.raises(InputError) as caught:
        judged(seen, vpc="vpc-2", drain=1)
    assert str(caught.value).count("; ") == 4


@pytest.mark.parametrize(
    "fine",
    [
        rule(100, ours=True, hosts=("shop.example.com",)),
        rule(105, ours=True),
        rule(9, hosts=("blog.example.com",)),
        rule(9, hosts=("shop.example.com",), paths=("/admin/*",)),
        rule(9, plain=False),
        rule(99, hosts=("x.example.com",)),
        rule(106, hosts=("blog.example.com",)),
        rule(200, paths=("/*",)),
    ],
)
def test_what_is_beside_it_is_no_problem(fine: SeenRule) -> None:
    """Services that share a listener could not be deployed beside each other."""
    assert judged(replace(SEEN, rules=(fine,))) == ()


def test_refusing_others_takes_rules_as_well() -> None:
    """The quota would be full when the last candidate of the day needs its two rules."""
    with_sources = replace(RULES, preview_sources=("203.0.113.0/24",))
    assert judged(replace(SEEN, others=93), with_sources) == ()
    with pytest.raises(InputError, match=r"has 94 rules of others, of 100 .* needs 7"):
        judged(replace(SEEN, others=94), with_sources)


def test_a_quota_that_was_raised_counts() -> None:
    """A company with a higher quota would be refused what AWS allows it."""
    assert judged(replace(SEEN, others=150, most_rules=200, target_groups=150, most_target_groups=200)) == ()


def test_a_rule_that_gets_no_request_any_more_is_warned_of() -> None:
    """A service of someone else would go silent, and nobody know since when."""
    (warning,) = judged(replace(SEEN, rules=(rule(300, hosts=("shop.example.com",), paths=("/old/*",)),)))
    assert warning.startswith("the service takes all requests of rule arn:rule-300")
    with_paths = replace(RULES, paths=("/api/*",))
    assert judged(replace(SEEN, rules=(rule(300, hosts=("shop.example.com",)),)), with_paths) == ()
    assert judged(replace(SEEN, rules=(rule(300, hosts=("shop.example.com",), paths=("/api/v1",)),)), with_paths)


def test_an_url_names_a_port_that_is_not_usual() -> None:
    """A probe would ask another listener."""
    assert SEEN.url == "https://shared.example"
    assert replace(SEEN, protocol="HTTP", port=8080).url == "http://shared.example:8080"
    assert replace(SEEN, idle_timeout=4000).drain == 3600, "the longest that ELBv2 allows"


PUBLIC, PRIVATE = HostedZone("Z1", "example.com", private=False), HostedZone("Z2", "example.com", private=True)


def test_the_zone_is_the_one_that_can_hold_the_record() -> None:
    """A public load balancer would be known only inside a VPC, or a private one to the world."""
    assert zone.choose("example.com", [PRIVATE, PUBLIC], internal=False) == PUBLIC
    assert zone.choose("example.com", [PRIVATE, PUBLIC], internal=True) == PRIVATE
    assert zone.choose("example.com", [PUBLIC], internal=True) == PUBLIC
    assert zone.check("shop.example.com", "Z1", PUBLIC, internal=False) == PUBLIC
    assert zone.check("example.com", "Z2", PRIVATE, internal=True) == PRIVATE


@pytest.mark.parametrize(
    ("zones", "told"),
    [
        ([], "there is no public hosted zone example.com: create it first"),
        ([PRIVATE], "(only the private Z2, and the load balancer is not internal)"),
        ([PUBLIC, replace(PUBLIC, id="Z9")], "example.com is the name of Z1, Z9: set front.domain.zone_id"),
    ],
)
def test_without_one_zone_there_is_no_record(zones: list[HostedZone], told: str) -> None:
    """The record would be made in a zone that nobody asks, after all else was made."""
    with pytest.raises(InputError) as caught:
        zone.choose("example.com", zones, internal=False)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("name", "found", "told"),
    [
        ("shop.example.com", None, "this account has no hosted zone Z1"),
        ("shop.example.org", PUBLIC, "shop.example.org is not in zone Z1, which is example.com"),
        ("shop.example.com", PRIVATE, "Z1 is a private zone, and the load balancer is not internal"),
    ],
)
def test_a_zone_that_is_named_must_fit(name: str, found: HostedZone | None, told: str) -> None:
    """Route 53 would refuse the record after all else was made."""
    with pytest.raises(InputError) as caught:
        zone.check(name, "Z1", found, internal=False)
    assert told in str(caught.value)


def test_a_private_zone_that_the_vpc_does_not_know_is_warned_of() -> None:
    """The name would resolve nowhere that anybody looks, and the deploy be a success."""
    known = replace(PRIVATE, vpcs=("vpc-7", "vpc-1"))
    (warning,) = zone.unknown_in(known, "vpc-2", "shop.example.com")
    assert "private zone Z2, which is not associated with vpc-2 (only with vpc-1, vpc-7)" in warning
    assert zone.unknown_in(known, "vpc-7", "shop.example.com") == ()
    assert zone.unknown_in(known, None, "shop.example.com") == (), "the stack is about to make the VPC"
    assert zone.unknown_in(PUBLIC, "vpc-2", "shop.example.com") == ()


def test_a_listener_names_its_load_balancer() -> None:
    """CloudWatch would be asked for the requests of a load balancer that does not exist."""
    arn = "arn:aws:elasticloadbalancing:us-east-1:111122223333:listener/app/shared/50dc6c495c0c9188/f2f7dc8efc522ab2"
    assert replace(SEEN, arn=arn).balancer == "app/shared/50dc6c495c0c9188"
