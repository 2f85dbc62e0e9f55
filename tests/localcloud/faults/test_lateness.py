"""How late things are: what may be asked for, and what follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.faults.lateness import BadLateness, Late, Lateness
from tests.localcloud.faults.test_rules import ask

if TYPE_CHECKING:
    from localcloud.server import LocalCloud

CHANGES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5), st.integers(0, 3)), max_size=12)


def test_things_are_late_unless_a_test_says_otherwise(cloud: LocalCloud) -> None:
    """The rollouts of everyone who tries the local cloud would be easier than those on AWS."""
    shown = Lateness().shown()
    assert all(most > 0 for _, most in shown.values())
    assert ask(cloud, "GET", "lateness") == (200, Lateness.none().shown())
    assert ask(cloud, "POST", "lateness", {"metrics": [30, 40.5]}) == (
        200,
        Lateness.none().shown() | {"metrics": [30, 40.5]},
    )
    assert cloud.lateness.metrics == (30, 40.5)


@pytest.mark.parametrize(
    "asked", [{"metric": [1, 2]}, {"weights": 3}, {"weights": [3, 1]}, {"weights": [-1, 1]}, {"weights": ["1", 2]}, []]
)
def test_a_wrong_lateness_is_refused_and_changes_nothing(asked: object) -> None:
    """A misspelt request would leave a test with another lateness than it is about."""
    lateness = Lateness()
    with pytest.raises(BadLateness):
        lateness.change({"metrics": [1, 1], **asked} if isinstance(asked, dict) else asked)
    assert lateness == Lateness()


def test_each_thing_has_a_lateness_of_its_own_within_the_bounds() -> None:
    """All metrics would come at once, or one would come never."""
    lateness = Lateness(metrics=(10, 20))
    drawn = [lateness.of("metrics", name, at) for name in "abc" for at in range(100)]
    assert all(10 <= one <= 20 for one in drawn)
    assert len(set(drawn)) == len(drawn)
    assert drawn == [lateness.of("metrics", name, at) for name in "abc" for at in range(100)]


@given(CHANGES)
def test_what_is_late_comes_in_time_and_in_order(changes: list[tuple[int, int, int]]) -> None:
    """Requests would follow old weights for longer than the rollout waits, or go back to them."""
    late, now, wanted, due = Late(0), 0, [0], 0
    for pause, lateness, value in changes:
        now += pause
        if value != wanted[-1]:
            wanted.append(value)
            due = now + lateness
        found = late.follow(value, lateness, now)
        assert found in wanted
        if now >= due:
            assert found == wanted[-1]
