"""Real HAProxies route to real HTTP servers as an Application Load Balancer would."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localcloud import view
from localcloud.balancer import front
from localcloud.balancer.config import BACKENDS
from localcloud.balancer.fronts import Balancer
from localcloud.balancer.traffic import Tally
from localcloud.faults.lateness import Lateness
from localcloud.processes.children import Children
from localcloud.view import Rule, SecurityGroup
from tests.localcloud.balancer.world import (
    CHECK,
    PATIENCE,
    SECONDS,
    Load,
    World,
    answer_to,
    fixed,
    forward,
    header,
    until,
)

if TYPE_CHECKING:
    from localcloud.balancer.traffic import Slot

pytestmark = pytest.mark.haproxy

SILENCE = 0.3  # seconds without an answer, where none is to come

_SUBNETS = itertools.count(240)  # the worlds that tests make themselves


def test_the_first_rule_that_matches_wins(world: World) -> None:
    """A preview header would not reach its release, or anybody's request would."""
    query = {"Field": "query-string", "QueryStringConfig": {"Values": [{"Key": "release", "Value": "v?"}]}}
    plain = {"Field": "query-string", "QueryStringConfig": {"Values": [{"Value": "just*"}]}}
    host = {"Field": "host-header", "HostHeaderConfig": {"Values": ["*.Example.com"]}}
    method = {"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["DELETE"]}}
    world.rules(
        Rule((header("X-Release", "web-7f3a*", "exactly.this"),), (fixed("header"),)),
        Rule(({"Field": "path-pattern", "Values": ["/a?c/*"]}, header("X-Also", "yes")), (fixed("both"),)),
        Rule(({"Field": "path-pattern", "PathPatternConfig": {"Values": ["/img/*.png"]}},), (fixed("path"),)),
        Rule((host,), (fixed("host"),)),
        Rule((query,), (fixed("query"),)),
        Rule(({"Field": "query-string", "QueryStringConfig": {"Values": [{"Value": r"a\*b"}]}},), (fixed("star"),)),
        Rule((plain,), (fixed("value"),)),
        Rule((method,), (fixed("method"),)),
        Rule((), (fixed("default"),)),
    )
    world.serving()
    expected: list[tuple[str, str, dict[str, str]]] = [
        ("header", "/", {"x-RELEASE": "WEB-7f3a91bc"}),
        ("header", "/img/x.png", {"X-Release": "exactly.this"}),
        ("default", "/", {"X-Release": "exactly-this"}),
        ("default", "/", {"X-Release": "not web-7f3a"}),
        ("default", "/", {"X-Releases": "web-7f3a"}),
        ("both", "/abc/d", {"X-Also": "yes"}),
        ("default", "/abc/d", {"X-Also": "no"}),
        ("default", "/abbc/d", {"X-Also": "yes"}),
        ("path", "/img/a/b.png?x=1", {}),
        ("default", "/IMG/a.png", {}),
        ("default", "/img/a.jpg", {}),
        ("host", "/", {"Host": "www.EXAMPLE.com:80"}),
        ("default", "/", {"Host": "example.com"}),
        ("query", "/?a=b&Release=V1", {}),
        ("default", "/?release=v12", {}),
        ("value", "/?anything=Just%20so", {}),
        ("star", "/?any=a*b", {}),
        ("default", "/?any=acb", {}),
    ]
    for body, path, headers in expected:
        assert (body, path, headers) == (world.ask(path, headers)[1], path, headers)
    assert world.ask(method="DELETE") == (200, "method")


def test_a_fixed_response_is_given_byte_for_byte(world: World) -> None:
    """A text could end the routing table's literal, and rewrite the routes."""
    text = 'no "release"\\\n]] is } live — yet\t\x01'
    world.rules(Rule((), (fixed(text, "418"),)))
    world.serving()
    connection = world.connect()
    assert world.ask(over=connection) == (418, text)
    assert world.ask(over=connection) == (418, text)


def test_requests_are_split_by_weight(world: World) -> None:
    """A canary would get more, or less, of the traffic than the rollout gave it."""
    world.group("blue", "b1")
    world.group("green", "g1")
    world.split(blue=90, green=10)
    world.healthy("blue", "green")
    seen = world.answers(600)
    assert 20 <= seen["g1"] <= 120  # 60 expected; outside with a probability of 1e-7
    assert sum(seen.values()) == seen["b1"] + seen["g1"]
    world.split(blue=0, green=5)
    world.follow()
    assert world.answers(50) == {"g1": 50}
    world.split(blue=0, green=0)
    world.follow()
    assert world.ask()[0] == 503


def test_a_kept_connection_follows_at_its_next_request(world: World) -> None:
    """Clients that keep a connection would stay on the old release after a rollback."""
    world.group("blue", "b1")
    world.group("green", "g1")
    world.split(blue=1, green=0)
    world.rules(Rule((header("X-Release", "green"),), (forward({"green": 1}),)), Rule((), (forward({"blue": 1}),)))
    world.healthy("blue", "green")
    connection = world.connect()
    assert world.ask(over=connection)[1] == "b1"
    assert world.ask(headers={"X-Release": "green"}, over=connection)[1] == "g1"
    world.split(green=1)
    world.follow()
    assert world.ask(over=connection)[1] == "g1"


def test_a_target_sees_who_asked(world: World) -> None:
    """The application would log the load balancer as its only client."""
    world.group("blue", "b1")
    world.split(blue=1)
    world.healthy("blue")
    seen = world.ask("/headers", {"X-Forwarded-For": "192.0.2.7"})[1].lower()
    assert "x-forwarded-for: 192.0.2.7, 127." in seen
    assert "x-forwarded-proto: http\n" in seen
    assert f"x-forwarded-port: {world.listener.port}\n" in seen
    assert "x-forwarded-for: 127." in world.ask("/headers")[1].lower()


def test_only_healthy_targets_get_requests_unless_there_are_none(world: World) -> None:
    """A sick machine would get traffic; or, if all are called sick, nobody would."""
    world.group("blue", "b1", "b2")
    world.servers["b2"].health = 0  # never healthy: it is new
    world.split(blue=1)
    healthy_names = {"b1"}
    world.serving()
    world.settle(lambda: not world.balancer.quiet("b1"), "health of b1")
    assert set(world.answers(20)) == healthy_names
    world.servers["b2"].health = 200
    world.settle(lambda: set(world.answers(10)) == {"b1", "b2"}, "b2 is healthy")
    world.servers["b1"].health = 500
    world.settle(lambda: set(world.answers(10)) == {"b2"}, "b1 is unhealthy")
    world.servers["b2"].health = 500
    world.settle(lambda: set(world.answers(10)) == {"b1", "b2"}, "the group fails open")


def test_a_group_whose_targets_are_all_new_answers_503(world: World) -> None:
    """Machines that still boot would get traffic."""
    world.group("blue", "b1", check=replace(world_check(), interval=60.0))
    world.servers["b1"].health = 500
    world.split(blue=1)
    world.serving()
    world.settle(lambda: world.servers["b1"].seen["GET /healthz"], "a check")
    world.follow()
    status, page = world.ask()
    assert (status, "503 Service Temporarily Unavailable" in page) == (503, True)


def world_check() -> view.HealthCheck:
    return view.HealthCheck("/healthz", interval=0.1, timeout=1.0)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_target_that_breaks_off_is_a_502_and_is_asked_once(world: World, method: str) -> None:
    """A payment could be made twice, because the load balancer sent it again."""
    world.group("blue", "b1", "b2")
    world.split(blue=1)
    world.healthy("blue")
    assert world.ask("/cut", method=method, body="pay" if method == "POST" else None)[0] == 502
    assert sum(server.seen[f"{method} /cut"] for server in world.servers.values()) == 1


@pytest.mark.parametrize("path", ["/cut", "/reset", "/half", "/bad", "/noise"])
def test_a_target_that_breaks_off_is_a_502_for_a_kept_connection_too(world: World, path: str) -> None:
    """A candidate that crashes would be invisible to the metrics, if its clients keep their connections."""
    world.group("blue", "b1")
    world.split(blue=1)
    world.healthy("blue")
    kept = world.connect()
    assert [world.ask(asked, over=kept)[0] for asked in ("/", path, "/")] == [200, 502, 200]
    counted = Tally()

    def all_counted() -> bool:
        for tally in world.balancer.traffic.take(float("inf")).values():
            counted.chosen += tally.chosen
            counted.answers += tally.answers
            counted.own += tally.own
        return counted.chosen == 3

    until(all_counted, "three requests")
    assert (counted.answers, counted.own) == ({2: 2}, {5: 1})


@pytest.mark.parametrize("path", ["/cut", "/reset", "/half", "/bad", "/noise", "/slow", "/refused"])
def test_what_is_no_answer_of_a_target_is_in_none_of_its_metrics(world: World, path: str) -> None:
    """A release that drops its users' requests would look as good as one that was asked nothing."""
    if path == "/slow":  # no other path: a target that is only kept from the processors would be given up, too
        world.listener = replace(world.listener, idle_timeout=3)
    world.group("blue", "b1")
    world.split(blue=1)
    world.healthy("blue")
    if path == "/refused":  # and nobody has noticed yet
        world.servers["b1"].close()
    assert world.ask("/fine" if path == "/refused" else path)[0] == (504 if path == "/slow" else 502)
    found: dict[Slot, Tally] = {}
    until(lambda: found.update(world.balancer.traffic.take(time.time() + 60)) or found, "what was counted")
    ((_, _, group), tally), *rest = found.items()
    assert (rest, group) == ([], "blue")
    assert (tally.chosen, tally.answers, tally.times, tally.own) == (1, {}, {}, {5: 1})


def test_a_request_that_its_client_gives_up_is_counted_then(world: World) -> None:
    """A release that hangs would be caught only when the load balancer gives up as well, a minute later."""
    world.group("blue", "b1")
    world.split(blue=1)
    world.healthy("blue")
    connection = world.connect()
    connection.request("GET", "/slow")
    until(lambda: world.servers["b1"].seen["GET /slow"], "the request")
    connection.close()
    found: dict[Slot, Tally] = {}
    until(lambda: found.update(world.balancer.traffic.take(time.time() + 60)) or found, "what was counted")
    (tally,) = found.values()
    assert (tally.chosen, tally.answers, tally.times, tally.own) == (1, {}, {}, {4: 1})


def test_requests_follow_the_rules_late(tmp_path: Path) -> None:
    """A rollout that ends the old release's machines at once would lose no request here, and some in AWS."""
    lateness = Lateness(weights=(SECONDS, SECONDS))
    world = World(Balancer(tmp_path, Children(tmp_path / "children"), lateness=lateness), next(_SUBNETS))
    try:
        world.group("blue", "b1")
        world.group("green", "g1")
        world.split(blue=1, green=0)  # the first rules of a listener are followed at once
        world.healthy("blue", "green")
        world.split(blue=0, green=1)
        world.follow()
        assert world.answers(5) == {"b1": 5}
        # The old release's target group goes; requests still find it, and nothing behind it.
        world.split(green=1)
        world.deregister("blue", "b1")
        world.settle(lambda: world.balancer.drained("blue", "b1"), "the end of draining")
        assert world.ask()[0] == 503
        del world.groups["blue"], world.instances["b1"]
        world.group("other", "o1")
        world.follow()
        assert {world.ask()[0] for _ in range(5)} == {503}
        lateness.change({"weights": [0, 0]})
        world.rules(Rule((), (forward({"green": 3}),)))
        world.settle(lambda: world.ask() == (200, "g1"), "the new weights")
        assert world.answers(5) == {"g1": 5}
    finally:
        world.close()


class OneIsLater(Lateness):
    """The first node is never late."""

    def of(self, member: str, *thing: object) -> float:
        return 0.0 if thing[1] == 0 else super().of(member, *thing)


def test_the_nodes_follow_new_rules_one_after_the_other(tmp_path: Path) -> None:
    """A rollout that takes one answer by the new weights for all of them would look right."""
    lateness = OneIsLater(weights=(SECONDS, SECONDS))
    world = World(Balancer(tmp_path, Children(tmp_path / "children"), lateness=lateness), next(_SUBNETS))
    try:
        world.group("blue", "b1")
        world.group("green", "g1")
        world.split(blue=1, green=0)
        world.healthy("blue", "green")
        world.split(blue=0, green=1)
        world.follow()
        assert set(world.answers(20)) == {"b1", "g1"}
        lateness.change({"weights": [0, 0]})
        world.split(blue=0, green=2)
        world.follow()
        assert world.answers(10) == {"g1": 10}
    finally:
        world.close()


def test_the_weights_of_one_service_leave_those_of_another_alone(tmp_path: Path) -> None:
    """A service that deploys would hold up, or undo, the weights of one that shares its listener."""
    lateness = Lateness(weights=(SECONDS, SECONDS))
    world = World(Balancer(tmp_path, Children(tmp_path / "children"), lateness=lateness), next(_SUBNETS))

    def weights(shop: dict[str, int], api: dict[str, int]) -> None:
        world.rules(Rule((header("X-Service", "api"),), (forward(api),)), Rule((), (forward(shop),)))
        world.follow()

    def seen() -> tuple[str, str]:
        return world.ask()[1], world.ask(headers={"X-Service": "api"})[1]

    try:
        for arn in ("shop1", "shop2", "api1", "api2"):
            world.group(arn, f"machine-of-{arn}")
        weights({"shop1": 1, "shop2": 0}, {"api1": 1, "api2": 0})
        world.healthy("shop1", "shop2", "api1", "api2")
        weights({"shop1": 0, "shop2": 1}, {"api1": 1, "api2": 0})
        lateness.change({"weights": [0, 0]})
        weights({"shop1": 0, "shop2": 1}, {"api1": 0, "api2": 1})
        assert seen() == ("machine-of-shop2", "machine-of-api2")
        lateness.change({"weights": [SECONDS, SECONDS]})
        weights({"shop1": 1, "shop2": 0}, {"api1": 0, "api2": 1})
        assert seen() == ("machine-of-shop2", "machine-of-api2")
    finally:
        world.close()


def test_a_draining_target_ends_what_it_has_and_gets_no_more(world: World) -> None:
    """A scale-in would cut requests off, or send new ones to a machine that is about to end."""
    world.group("blue", "b1")
    world.split(blue=1)
    world.healthy("blue")
    idle = world.connect()
    assert world.ask(over=idle) == (200, "b1")
    answered: list[tuple[int, str]] = []
    asking = threading.Thread(target=lambda: answered.append(world.ask("/slow")))
    asking.start()
    world.settle(lambda: world.servers["b1"].seen["GET /slow"], "the slow request")
    world.add("blue", "b2")
    world.settle(lambda: "b2" in world.answers(4), "health of b2")
    world.deregister("blue", "b1")
    world.follow()
    assert world.answers(20) == {"b2": 20}
    world.follow()
    assert not world.balancer.drained("blue", "b1")
    assert not world.balancer.quiet("b1")
    world.servers["b1"].slow.set()
    asking.join()
    assert answered == [(200, "b1")]
    world.settle(lambda: world.balancer.drained("blue", "b1"), "the end of draining")
    assert world.balancer.quiet("b1")
    assert not world.balancer.drained("blue", "b2")
    assert world.ask(over=idle) == (200, "b2")


def test_a_target_that_goes_without_draining_still_ends_its_requests(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forced deletion of the old release would cut the last requests off."""
    monkeypatch.setattr(front, "CUT_SECONDS", PATIENCE)
    world.group("blue", "b1")
    world.group("green", "g1")
    world.split(blue=1)
    world.rules(Rule((header("X-Release", "green"),), (forward({"green": 1}),)), *world.listener.rules)
    world.healthy("blue", "green")
    answered: list[tuple[int, str]] = []
    asking = threading.Thread(target=lambda: answered.append(world.ask("/slow")))
    asking.start()
    world.settle(lambda: world.servers["b1"].seen["GET /slow"], "the slow request")
    world.split(green=1)
    del world.groups["blue"], world.instances["b1"]
    world.follow()
    world.follow()
    assert not world.balancer.quiet("b1")
    world.servers["b1"].slow.set()
    asking.join()
    assert answered == [(200, "b1")]
    world.settle(lambda: world.balancer.quiet("b1"), "the end")


def test_a_target_whose_delay_is_over_is_cut(world: World) -> None:
    """One request that never ends would keep a machine for ever."""
    world.group("blue", "b1")
    world.split(blue=1)
    world.healthy("blue")
    answered: list[int] = []
    asking = threading.Thread(target=lambda: answered.append(world.ask("/slow")[0]))
    asking.start()
    world.settle(lambda: world.servers["b1"].seen["GET /slow"], "the slow request")
    world.deregister("blue", "b1", delay=0.0)
    world.follow()
    world.forget("blue", "b1")
    world.settle(lambda: not asking.is_alive(), "the cut")
    assert answered == [502]
    world.settle(lambda: world.balancer.quiet("b1"), "the end")


def test_no_request_fails_while_everything_changes(world: World) -> None:
    """A deploy would lose requests: shifting weights, adding and deleting rules, scaling out and in."""
    world.group("blue", "b1", "b2")
    world.split(blue=1)
    world.healthy("blue")
    with Load(world) as load:
        for round_ in range(3):
            green, machine = f"green{round_}", f"g{round_}"
            world.group(green, machine)
            preview = Rule((header("X-Release", green),), (forward({green: 1}),))
            live = next(rule for rule in world.listener.rules if not rule.conditions)
            world.rules(preview, live)
            world.settle(lambda name=machine: not world.balancer.quiet(name), "health of the candidate")  # type: ignore[misc] # bound now
            old = next(arn for arn in live.target_groups)
            for weights in ({old: 90, green: 10}, {old: 50, green: 50}, {old: 0, green: 100}, {green: 1}):
                world.rules(preview, Rule((), (forward(weights),)))
                world.settle(load.more(), "traffic")
            for name in list(world.groups[old].targets):
                world.deregister(old, name)
                world.settle(lambda arn=old, name=name: world.balancer.drained(arn, name), "draining")  # type: ignore[misc] # bound now
                world.forget(old, name)
                world.servers[name].close()
                del world.servers[name]
            del world.groups[old]
            extra = f"x{round_}"
            world.add(green, extra)
            world.settle(lambda name=extra: not world.balancer.quiet(name), "scaling out")  # type: ignore[misc] # bound now
            world.settle(load.more(), "traffic")
    assert set(load.answers) == {"b1", "b2", "g0", "x0", "g1", "x1", "g2", "x2"}
    assert world.balancer.problems() == []


def test_a_listener_has_room_for_as_many_target_groups_as_in_aws(world: World) -> None:
    """Several services on one listener would be one too many here, while AWS takes them."""
    for n in range(BACKENDS):
        world.group(f"g{n}")
    rules = [
        Rule((header("X-Service", f"s{n}"),), (forward({f"g{n + each}": 1 for each in range(5)}),))
        for n in range(0, BACKENDS, 5)
    ]
    world.rules(*rules, Rule((), (forward({"g0": 1}),)))
    world.add("g99", "last")
    world.rules(Rule((header("X-Service", "last"),), (forward({"g99": 1}),)), *world.listener.rules)
    world.healthy("g99")
    assert world.ask(headers={"X-Service": "last"}) == (200, "last")
    assert world.balancer.problems() == []
    world.group("one more")
    world.rules(Rule((header("X-Service", "more"),), (forward({"one more": 1}),)), *world.listener.rules)
    world.follow()
    assert f"{BACKENDS} target groups" in world.balancer.problems()[0]
    assert world.ask(headers={"X-Service": "last"}) == (200, "last")


def test_backends_are_used_again(world: World) -> None:
    """After some deploys the balancer would run out of room, and the next release get no traffic."""
    world.group("g", "m0")
    world.split(g=1)
    world.healthy("g")
    for n in range(1, BACKENDS + 5):
        world.groups = {f"g{n}": replace(world.groups.popitem()[1], arn=f"g{n}")}
        world.rules(Rule((), (forward({f"g{n}": 1}),)))
        world.follow()
    world.settle(lambda: world.ask() == (200, "m0"), "traffic for the last group")
    assert world.balancer.problems() == []


def test_what_is_not_supported_changes_nothing_and_is_told(world: World) -> None:
    """A rule that this balancer cannot follow would take the live release off the air, or be dropped in silence."""
    world.group("blue", "b1")
    world.split(blue=1)
    world.healthy("blue")
    for rule in (
        Rule(({"Field": "host-header", "HostHeaderConfig": {"RegexValues": ["a+"]}},), (fixed("x"),)),
        Rule((header("A", "b"),), ({"Type": "authenticate-oidc"}, forward({"blue": 1}))),
        Rule((header("A", "b"),), (forward({"blue": 1}, TargetGroupStickinessConfig={"Enabled": True}),)),
    ):
        live = world.listener.rules[-1]
        world.rules(rule, live)
        world.follow()
        assert "supported" in world.balancer.problems()[0]
        assert world.ask() == (200, "b1")
        world.rules(live)
        world.follow()
        assert world.balancer.problems() == []
    world.group("blue", "b2", attributes={"stickiness.enabled": "true"})
    world.follow()
    assert "stickiness" in world.balancer.problems()[0]


def test_a_taken_port_is_told_and_used_once_it_is_free(world: World) -> None:
    """A user would see nothing but timeouts, or another program's answers."""
    with socket.socket() as taken:
        taken.bind((world.listener.address, world.listener.port))
        taken.listen()
        world.settle(world.balancer.problems, "the problem")
        problem = world.balancer.problems()[0]
        assert f"{world.listener.address}:{world.listener.port}" in problem
        assert "the port cannot be used" in problem
    world.settle(lambda: not world.balancer.problems() and not world.refused(), "the port")


def test_a_listener_that_no_security_group_opens_is_closed(world: World) -> None:
    """A deploy would work here and be unreachable in AWS."""
    world.serving()
    world.security_groups["sg-lb"] = SecurityGroup("sg-lb")
    world.settle(world.refused, "the closed port")
    assert "no security group" in world.balancer.problems()[0]


def test_only_the_clients_that_a_security_group_lets_in_get_an_answer(world: World) -> None:
    """A load balancer for one office would be open to the world here, or an internal one to the internet."""
    private = f"10.{world.listener.address.split('.', 1)[1].rpartition('.')[0]}.0/24"

    def let_in(*blocks: str) -> None:
        port = world.listener.port
        ingress = tuple(view.Permission(port, port, cidr=block) for block in blocks)
        world.security_groups["sg-lb"] = SecurityGroup("sg-lb", ingress)
        world.follow()

    def answers(source: str, seconds: float = PATIENCE) -> bool:
        with world.open(source=source) as connection:
            connection.settimeout(seconds)
            try:
                return answer_to(connection, "GET / HTTP/1.1")[0] == 503
            except (TimeoutError, ConnectionError):  # loopback cannot always drop a packet in silence
                return False

    world.serving()
    inside = world.listener.address.rpartition(".")[0] + ".77"
    let_in("203.0.113.0/24", private)
    assert (answers(inside), answers("127.0.0.1", SILENCE)) == (True, False)
    let_in("0.0.0.0/0")
    assert (answers(inside), answers("127.0.0.1")) == (True, True)
    let_in("127.0.0.1/32", "::/0")
    assert (answers(inside, SILENCE), answers("127.0.0.1")) == (False, True)


def test_a_rule_may_ask_where_its_client_is(world: World) -> None:
    """A preview route for one office would be open to everybody, or to nobody."""
    source = {"Field": "source-ip", "SourceIpConfig": {"Values": ["203.0.113.0/24", "10.66.0.0/16", "2001:db8::/32"]}}
    other = {"Field": "source-ip", "SourceIpConfig": {"Values": ["127.0.0.0/30"]}}
    world.rules(Rule((source,), (fixed("office"),)), Rule((other,), (fixed("here"),)), Rule((), (fixed("all"),)))
    world.serving()
    for address, answer in (("127.66.3.4", "office"), ("127.0.0.1", "here"), ("127.67.0.1", "all")):
        with world.open(source=address) as connection:
            assert answer_to(connection, "GET / HTTP/1.1") == (200, answer)


def test_an_haproxy_that_dies_comes_back_with_its_routes(world: World) -> None:
    """One crash would take the service off the air until the next restart."""
    world.group("blue", "b1")
    world.split(blue=1)
    world.healthy("blue")
    record = (next(Path(world.balancer._directory).parent.glob("children"))).read_text()
    os.kill(int(record.split()[0]), signal.SIGKILL)
    world.settle(world.balancer.problems, "the loss")
    world.healthy("blue")
    assert world.ask() == (200, "b1")


def test_every_request_is_told_to_the_metrics(world: World) -> None:
    """CloudWatch would know nothing of a canary's errors and times, or count what never reached a target."""
    world.group("arn:blue", "b1", check=replace(CHECK, path="/other"))
    world.group("arn:empty")
    world.rules(
        Rule(({"Field": "path-pattern", "Values": ["/fixed"]},), (fixed("no", "404"),)),
        Rule(({"Field": "path-pattern", "Values": ["/empty"]},), (forward({"arn:empty": 1}),)),
        Rule((), (forward({"arn:blue": 1}),)),
    )
    world.healthy("arn:blue")
    world.servers["b1"].health = 500
    statuses = [world.ask(path)[0] for path in ("/", "/", "/healthz", "/cut", "/fixed", "/empty")]
    assert statuses == [200, 200, 500, 502, 404, 503]
    told: dict[str, Counter[str]] = {"arn:blue": Counter(), "arn:empty": Counter(), "": Counter()}

    def all_told() -> bool:
        for (_, listener, arn), tally in world.balancer.traffic.take(float("inf")).items():
            assert listener == world.listener.arn
            told[arn].update({f"target {number}xx": seen for number, seen in tally.answers.items()})
            told[arn].update({f"own {number}xx": seen for number, seen in tally.own.items()})
            told[arn].update(chosen=tally.chosen, fixed=tally.fixed, times=sum(tally.times.values()))
        return told[""]["own 4xx"] == told["arn:empty"]["own 5xx"] == 1 and told["arn:blue"]["chosen"] == 4

    until(all_told, "six requests")
    assert +told["arn:blue"] == Counter({"chosen": 4, "times": 3, "target 2xx": 2, "target 5xx": 1, "own 5xx": 1})
    assert +told["arn:empty"] == Counter({"own 5xx": 1})
    assert +told[""] == Counter({"own 4xx": 1, "fixed": 1})
