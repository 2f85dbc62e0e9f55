"""The examples, deployed with the real engine into an account where other teams work, too.

The local cloud has no machines here: every target counts as healthy, and what stands at the addresses of the load
balancers responds to probes. The tests are in order, in one account.
"""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine.company import Cloud, Company, Deployment, added, check_added, deployments, priorities, together
from tests.fakes.localcloud import serve

pytestmark = [pytest.mark.nix, pytest.mark.usefixtures("engine_bin")]

PORT = 8484
BALANCERS = 2  # the company's, and that of `orders`


class Responder(http.server.BaseHTTPRequestHandler):
    """Responds to every request."""

    def do_GET(self) -> None:
        """Send 200."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:  # what was asked is of no interest
        """Say nothing."""


def respond(company: Company, done: threading.Event) -> None:
    """Listen at the address of each load balancer as soon as it has its listener, until `done`."""
    servers: dict[str, http.server.ThreadingHTTPServer] = {}
    while len(servers) < BALANCERS and not done.wait(0.2):
        for balancer in company.elbv2.describe_load_balancers()["LoadBalancers"]:
            address = balancer["DNSName"]
            listeners = company.elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
            if listeners and address not in servers:
                servers[address] = http.server.ThreadingHTTPServer((address, PORT), Responder)
                threading.Thread(target=servers[address].serve_forever, daemon=True).start()
    done.wait()
    for server in servers.values():
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def company(_local_cloud: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    """An account with what the company has."""
    folder, done = tmp_path_factory.mktemp("company"), threading.Event()
    with serve(folder / "cloud", healthy=True) as served:
        company = Company(Cloud(folder, served.endpoint), PORT)
        company.build()
        responding = threading.Thread(target=respond, args=(company, done))
        responding.start()
        yield company
        done.set()
        responding.join()


@pytest.fixture(scope="module")
def before(company: Company) -> dict[str, Any]:
    """All of it, before the first stack."""
    return company.all()


@pytest.fixture(scope="module")
def stacks(company: Company) -> dict[str, Deployment]:
    """One for each example, not deployed yet."""
    return deployments(company)


def test_a_service_in_an_existing_vpc_and_one_on_an_existing_listener(
    company: Company, before: dict[str, Any], stacks: dict[str, Deployment]
) -> None:
    """A company could not put a service into what it has, or would find it changed."""
    assert [ran.status for ran in together(stacks["web"], stacks["orders"], verb="up")] == [0, 0]
    check_added(company, before)
    assert stacks["web"].run("preview").said.count("unchanged") == 1


def test_two_services_on_one_listener_are_deployed_at_once(
    company: Company, before: dict[str, Any], stacks: dict[str, Deployment]
) -> None:
    """One team's deploy would fail, or take another's priorities, because both are at work on one listener."""
    assert [ran.status for ran in together(stacks["shop"], stacks["admin"], verb="up")] == [0, 0]
    for first in (1000, 1100, 1120):
        # The rule with the weights, and the preview rule of the one release.
        assert len(priorities(company, first)) == 2
        assert first + 19 in priorities(company, first)
    assert added(before, company.all())


def test_after_the_last_destroy_nothing_of_ours_is_left(
    company: Company, before: dict[str, Any], stacks: dict[str, Deployment]
) -> None:
    """Someone else's account would keep groups, rules or images of stacks that no longer exist."""
    assert [ran.status for ran in together(*stacks.values(), verb="destroy")] == [0] * len(stacks)
    assert added(before, company.all()) == {}
