"""Freezes that are written, and end, at every moment of a rollout, beside whatever else goes wrong."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from fleetswap.domain.rollout import look
from fleetswap.domain.rollout.freeze import Judged
from tests.rollout.scenarios import BY_NAME, CRASHES, FREEZES
from tests.rollout.simulator import Explorer, Violation

pytestmark = pytest.mark.slow

SEED = 20261127
FAULTS = (*FREEZES, CRASHES[0])


@pytest.mark.parametrize("name", ["all at once", "rollback"])
def test_a_freeze_stops_new_releases_and_nothing_else(name: str) -> None:
    """A rollout that began after the freeze would move traffic; or a frozen service be left with two live releases."""
    explorer = Explorer(BY_NAME[name], faults=FAULTS)
    explorer.explore(1)
    explorer.wander(SEED, runs=20, chance=0.1)
    assert explorer.outcomes["success"]
    if name != "rollback":
        assert explorer.outcomes["input"], "a rollout that is refused"


def test_a_state_machine_that_overlooks_a_freeze_is_found() -> None:
    """The invariant would hold whatever the state machine does."""
    with patch.object(look, "_freeze", return_value=Judged()), pytest.raises(Violation, match="the service is frozen"):
        Explorer(BY_NAME["all at once"], faults=FAULTS).explore(1)
