"""Hooks that succeed, fail and hang, and pauses that are continued, aborted and forgotten, whatever else goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fleetswap.domain.rollout import hook, interim, rollout_tags
from fleetswap.domain.rollout.messages import Change
from fleetswap.domain.rollout.moments import HookResult
from fleetswap.domain.rollout.state import State
from fleetswap.domain.rollout.transition import Next
from tests.rollout.scenarios import INTERIM, Scenario
from tests.rollout.simulator import Explorer, Violation

pytestmark = pytest.mark.slow

SEED = 20261128
NAMED = {scenario.name: scenario for scenario in INTERIM}


@pytest.mark.parametrize("scenario", INTERIM, ids=lambda scenario: scenario.name)
def test_many_things_that_go_wrong_at_random(scenario: Scenario) -> None:
    """A weight would be written in a pause, the switch fire in a hook, or a hook that fails leave the traffic."""
    explorer = Explorer(scenario)
    explorer.wander(SEED, runs=12)
    assert explorer.outcomes["success"] or not scenario.good


def _a_failed_hook_is_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = hook._ended

    def forgiving(state: State, result: HookResult | None, now: float) -> Next:
        return ended(state, result and HookResult(ok=True), now)

    monkeypatch.setattr(hook, "_ended", forgiving)


def _nothing_is_pushed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_state: State, _seconds: float) -> Sequence[Change]:
        return []

    monkeypatch.setattr(interim, "push_out", nothing)


def _anything_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    def always(_value: str | None, _pause: str) -> bool:
        return True

    monkeypatch.setattr(rollout_tags, "continues", always)


BUGS: list[tuple[Callable[[pytest.MonkeyPatch], Any], str, str]] = [
    (_a_failed_hook_is_forgiven, "a hook fails after-step", "has failed, and|a bad candidate got all the traffic"),
    (_nothing_is_pushed_out, "a pause until its deadline", "a good candidate was not deployed|the switch fires in"),
    (_anything_continues, "nobody ever says yes", "a bad candidate got all the traffic"),
]


@pytest.mark.parametrize(("plant", "name", "words"), BUGS, ids=[plant.__name__.strip("_") for plant, _, _ in BUGS])
def test_a_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], Any], name: str, words: str
) -> None:
    """The simulator would find nothing because it looks at nothing."""
    plant(monkeypatch)
    with pytest.raises(Violation, match=words):
        Explorer(NAMED[name]).wander(SEED, runs=12, chance=0.0)
