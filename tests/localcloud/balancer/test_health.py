"""Target health goes through the states, and gives the reasons, that an Application Load Balancer would."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.balancer.health import Checker, Target, matches
from localcloud.balancer.probes import Answered, Broken, Outcome, Probe, TimedOut
from localcloud.view import HealthCheck
from tests.localcloud.balancer.world import PATIENCE, Server, until

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECK = HealthCheck("/healthz", interval=10.0, timeout=5.0, healthy=3, unhealthy=2)
OK, BAD = Answered(200), Answered(503)
OUTCOMES = st.sampled_from([OK, BAD, TimedOut(), Broken()])


def after(*outcomes: Outcome, target: Target | None = None, pause: float = CHECK.interval) -> Target:
    """A target after checks that ended one pause apart."""
    target = target or Target()
    for number, outcome in enumerate(outcomes):
        target = target.observe(outcome, CHECK, number * pause)
    return target


def test_one_success_makes_a_new_target_healthy() -> None:
    """Each new machine would wait for several checks before it gets traffic."""
    assert after(OK).state == ("healthy", "", "")
    assert after(BAD, OK).state[0] == "healthy"


def test_a_new_target_is_unhealthy_when_the_threshold_is_over_however_often_it_is_checked() -> None:
    """A machine would be condemned while it boots, sooner than AWS would; or a broken one stay `initial` for ever."""
    assert after(BAD).state == ("initial", "Elb.InitialHealthChecking", "Initial health checks in progress")
    assert after(*[BAD] * 20, pause=1.0).state[0] == "initial"
    assert after(*[BAD] * 21, pause=1.0).state[0] == "unhealthy"
    assert Target().pause(CHECK) == 1.0
    assert after(OK).pause(CHECK) == 10.0


@pytest.mark.parametrize(
    ("outcome", "reason", "description"),
    [
        (BAD, "Target.ResponseCodeMismatch", "Health checks failed with these codes: [503]"),
        (TimedOut(), "Target.Timeout", "Request timed out"),
        (Broken(), "Target.FailedHealthChecks", "Health checks failed"),
    ],
)
def test_the_reason_is_that_of_the_last_check(outcome: Outcome, reason: str, description: str) -> None:
    """A user would be told another reason for a deploy that failed than AWS tells."""
    assert after(OK, Broken(), outcome).state == ("unhealthy", reason, description)


def test_thresholds_count_in_a_row() -> None:
    """One bad check in three would take a machine out, or one good check bring a broken one back."""
    assert after(OK, BAD, OK, BAD, OK).state[0] == "healthy"
    sick = after(OK, BAD, BAD)
    assert sick.state[0] == "unhealthy"
    assert after(OK, OK, BAD, OK, OK, target=sick).state[0] == "unhealthy"
    assert after(OK, OK, OK, target=sick).state[0] == "healthy"


@given(st.lists(OUTCOMES, max_size=40))
def test_no_run_of_checks_breaks_the_thresholds(outcomes: list[Outcome]) -> None:
    """Some order of outcomes would leave a target in a state that its last checks do not justify."""
    state = after(*outcomes).state[0]
    if state == "healthy":
        assert OK in outcomes[-2:]
    if len(outcomes) >= 4 and OK not in outcomes[-3:]:
        assert state == "unhealthy"
    if OK not in outcomes:
        assert state != "healthy"


@given(st.integers(100, 599), st.integers(100, 599), st.integers(100, 599))
def test_matcher_codes(code: int, first: int, last: int) -> None:
    """A health check would pass, or fail, for a status that its matcher does not say."""
    assert matches(code, f"{first}-{last}") == (first <= code <= last)
    assert matches(code, f"{first},{last}") == (code in {first, last})
    assert matches(code, str(first)) == (code == first)


@pytest.fixture
def checker() -> Iterator[Checker]:
    """A checker that is closed again."""
    checker = Checker()
    try:
        yield checker
    finally:
        checker.close()


@pytest.fixture
def server() -> Iterator[Server]:
    """A machine's HTTP server."""
    server = Server("b1", "127.0.0.1")
    try:
        yield server
    finally:
        server.close()


FAST = HealthCheck("/healthz", interval=0.05, timeout=0.2, healthy=1, unhealthy=1)
KEY = ("arn", "i-1", 80)


def probe(port: int, check: HealthCheck = FAST) -> Probe:
    return Probe("127.0.0.1", port, f"10.0.0.4:{port}", check)


def test_real_checks_find_what_is_wrong(checker: Checker, server: Server) -> None:
    """The reasons would be right in theory, and never what a broken machine causes."""
    here = probe(int(server.server_address[1]))

    def becomes(state: str, reason: str, what: Probe) -> None:
        checker.follow({KEY: what})
        until(lambda: (checker.state(KEY) or ())[:2] == (state, reason), f"{state} {reason}")

    assert checker.state(KEY) is None
    becomes("healthy", "", here)
    server.health = 503
    becomes("unhealthy", "Target.ResponseCodeMismatch", here)
    becomes("healthy", "", replace(here, check=replace(FAST, codes="200,503")))
    server.health = 0
    becomes("unhealthy", "Target.FailedHealthChecks", here)
    server.health = 200
    becomes("healthy", "", here)
    server.slow.clear()
    becomes("unhealthy", "Target.Timeout", replace(here, check=replace(FAST, path="/slow")))
    becomes("healthy", "", here)
    becomes("unhealthy", "Target.Timeout", replace(here, reachable=False))
    becomes("healthy", "", here)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        becomes("unhealthy", "Target.FailedHealthChecks", probe(closed.getsockname()[1]))
    checker.follow({})
    assert checker.state(KEY) is None


def test_a_target_that_is_no_longer_followed_is_left_alone(checker: Checker, server: Server) -> None:
    """Target groups that nobody uses would be checked, and machines log checks from nowhere."""
    checker.follow({KEY: probe(int(server.server_address[1]))})
    until(lambda: server.seen["GET /healthz"] > 2, "checks")
    checker.follow({})
    checker.follow({("other", "i-1", 80): probe(int(server.server_address[1]), replace(FAST, path="/other"))})
    until(lambda: server.seen["GET /other"] > 2, "the other target's checks")
    seen = server.seen["GET /healthz"]
    until(lambda: server.seen["GET /other"] > 8, "more of them")
    assert server.seen["GET /healthz"] == seen


def test_the_end_leaves_no_check_behind(checker: Checker) -> None:
    """Machines would keep connections of checks that nobody waits for, and another test be told of them."""
    with socket.create_server(("127.0.0.1", 0)) as machine:
        machine.settimeout(PATIENCE)
        checker.follow({KEY: probe(machine.getsockname()[1], replace(FAST, timeout=PATIENCE))})
        check, _ = machine.accept()
    with check:
        check.settimeout(PATIENCE)
        while b"\r\n\r\n" not in check.recv(4096):
            pass
        checker.follow({})
        checker.close()
        assert check.recv(4096) == b""


def test_a_check_that_breaks_is_told_and_done_again(
    checker: Checker, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A target's health would stand still for ever, and nobody be told why."""
    monkeypatch.setattr("localcloud.balancer.health.FIRST_SECONDS", 0.05)
    here = probe(int(server.server_address[1]))
    checker.follow({KEY: replace(here, check=replace(FAST, codes="200-299-300"))})
    until(lambda: any("checking" in record.message and record.exc_info for record in caplog.records), "a log line")
    checker.follow({KEY: here})
    until(lambda: (checker.state(KEY) or ("",))[0] == "healthy", "the checks that follow")
