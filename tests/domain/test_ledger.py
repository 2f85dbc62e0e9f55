"""The ledger survives the way through Pulumi's state."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.errors import InputError
from fleetswap.domain.ledger import (
    Entry,
    HealthCheck,
    Image,
    Ledger,
    Machine,
    Network,
    Nix,
    from_plain,
    release_id,
    to_plain,
)

texts = st.text(max_size=8)
maps = st.dictionaries(texts, texts, max_size=3)
machines = st.builds(
    Machine,
    instance_types=st.lists(texts, max_size=3).map(tuple),
    on_demand_base=st.integers(0, 9),
    on_demand_percent=st.integers(0, 100),
    root_gib=st.none() | st.integers(1, 99),
    policies=st.lists(texts, max_size=2).map(tuple),
)
checks = st.builds(
    HealthCheck,
    port=st.integers(1, 9),
    path=texts,
    codes=texts,
    interval=st.integers(5, 9),
    timeout=st.integers(2, 4),
    healthy=st.integers(2, 9),
    unhealthy=st.integers(2, 9),
)
images = st.builds(
    Image,
    identity=texts,
    nix=st.none() | st.builds(Nix, expression=texts, attr=st.none() | texts, args=maps, options=maps),
    file=st.none() | texts,
    packages=maps,
    changes=st.lists(texts, max_size=3).map(tuple),
)


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    names = draw(st.lists(texts, unique=True, max_size=4))
    entries = tuple(Entry(name, draw(images), draw(machines), draw(checks), draw(st.integers(1, 9))) for name in names)
    chosen = st.none() | st.sampled_from(names) if names else st.none()
    networks = st.none() | st.builds(Network, cidr=texts, zones=st.lists(texts, max_size=2).map(tuple))
    return Ledger(live=draw(chosen), standby=draw(chosen), entries=entries, network=draw(networks))


@given(ledgers())
def test_a_ledger_comes_back_as_it_went(ledger: Ledger) -> None:
    """A release could not be declared again just as it was, so an unrelated update would replace machines."""
    # Pulumi hands numbers back as floats, and leaves out what is null.
    through_state = json.loads(json.dumps(to_plain(ledger)), parse_int=float)
    assert "null" not in json.dumps(to_plain(Ledger()))
    assert from_plain(through_state) == ledger


def test_a_new_stack_has_an_empty_ledger() -> None:
    """The first deploy of a stack would fail."""
    assert from_plain(None) == Ledger()


@pytest.mark.parametrize(
    "damaged",
    [
        {"version": 2, "live": None, "standby": None, "entries": []},
        {"version": 1, "live": "web-gone", "standby": None, "entries": []},
        {"version": 1, "live": None},
        {"version": 1, "entries": [{"release": "x", "image": {}, "machine": {}}]},
        {"version": 1, "live": None, "standby": None, "entries": [{"release": "x"}]},
        {},
    ],
)
def test_a_damaged_ledger_is_refused(damaged: dict[str, object]) -> None:
    """A ledger that is half read would plan the deletion of a release that is live."""
    with pytest.raises(InputError):
        from_plain(damaged)


@given(texts, st.tuples(machines, checks), st.tuples(machines, checks))
def test_a_release_is_what_its_machines_are_made_of(
    identity: str, one: tuple[Machine, HealthCheck], other: tuple[Machine, HealthCheck]
) -> None:
    """Two different machines would share a release, and one of them would never be deployed."""
    assert (release_id("web", identity, *one) == release_id("web", identity, *other)) == (one == other)


def test_a_network_is_kept_once_a_fleet_stands_on_it() -> None:
    """A changed CIDR would replace the VPC under the live fleet, or a new stack and an old ledger be refused."""
    here, elsewhere = Network("10.0.0.0/16", ("a", "b")), Network("10.1.0.0/16", ("a", "b"))
    ledger = Ledger().on(here)
    assert ledger.network == here
    assert ledger.on(here) == ledger
    with pytest.raises(InputError, match=r"stands on 10\.0\.0\.0/16 in zones a, b"):
        ledger.on(elsewhere)
