"""What the program makes of a freeze: a preview warns, and an update is refused before anything is built."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pulumi
import pytest

from fleetswap.domain.errors import CloudError, InputError
from fleetswap.domain.rollout.freeze import Exemption, Freeze, allowed, frozen
from fleetswap.domain.rollout.rollout_tags import ROLLED_BACK
from fleetswap_pulumi import freezes
from fleetswap_pulumi.stack_state import StackState

NOW = float(int(time.time()))
TAGS = frozen(Freeze(NOW + 3600, NOW, "alice", "a sale"))
FIX = allowed(Exemption("web-2", NOW, "bob", "a fix"))
THERE = {"listener": "arn:listener"}


class Told:
    """What was logged, and what the rule's tags are by region; an error is raised."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: list[str] = []
        self.tags: dict[str, Mapping[str, str] | Exception] = {}
        self.asked = 0
        for level in ("info", "warn"):
            monkeypatch.setattr(pulumi.log, level, partial(self._say, level))
        monkeypatch.setattr(freezes, "tags_of_rule", self._tags)

    def _say(self, level: str, text: str) -> None:
        self.lines.append(f"{level} {text}")

    def _tags(self, outputs: Mapping[str, Any]) -> Mapping[str, str]:
        self.asked += 1
        found = self.tags[outputs.get("region", "")]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(monkeypatch)


def check(*, live: str = "web-1", trusted: tuple[str, ...] = (), rollouts: Mapping[str, Any] | None = None) -> None:
    """An update to web-2 in every region of `rollouts`."""
    rollouts = {"": THERE} if rollouts is None else rollouts
    one = SimpleNamespace(
        settings=SimpleNamespace(service="web", region="us-east-1", rollout=SimpleNamespace(trusted=3)),
        ledger=SimpleNamespace(live=live, trusts=lambda release, _: release in trusted),
        plan=SimpleNamespace(wanted=SimpleNamespace(release="web-2")),
    )
    decided = dict.fromkeys(rollouts, cast("Any", one))
    freezes.check_freezes(decided, StackState({}, rollouts, frozenset()))


def dry(monkeypatch: pytest.MonkeyPatch, *, run: bool) -> None:
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: run)


def test_an_update_is_refused_and_a_preview_warns(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen service would have an image built and uploaded for it, or a pull request could show no preview."""
    told.tags[""] = TAGS
    dry(monkeypatch, run=True)
    check()
    (line,) = told.lines
    assert line.startswith("warn this update would be refused: web is frozen until ")
    dry(monkeypatch, run=False)
    with pytest.raises(InputError, match=r"^web is frozen until .* by alice: a sale: wait, .* --only web-2"):
        check()


def test_a_freeze_of_one_region_refuses_the_whole_update(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """One region would be deployed to before the next one, which is frozen, refuses."""
    dry(monkeypatch, run=False)
    told.tags = {"": {}, "eu-west-1": TAGS}
    with pytest.raises(InputError, match=r"^eu-west-1: web is frozen until"):
        check(rollouts={"": THERE, "eu-west-1": {**THERE, "region": "eu-west-1"}})


@pytest.mark.parametrize(
    ("tags", "trusted", "refused"),
    [({**TAGS, **FIX}, (), False), (TAGS, ("web-2",), False), ({**TAGS, ROLLED_BACK: "web-2 9:00"}, ("web-2",), True)],
)
def test_what_may_pass_passes(
    told: Told, monkeypatch: pytest.MonkeyPatch, tags: dict[str, str], trusted: tuple[str, ...], *, refused: bool
) -> None:
    """A rollback by `git revert`, or a fix that someone has allowed, would be refused; or nobody be told."""
    dry(monkeypatch, run=False)
    told.tags[""] = tags
    if refused:
        with pytest.raises(InputError, match="web is frozen"):
            check(trusted=trusted)
        return
    check(trusted=trusted)
    (line,) = told.lines
    assert line.startswith("info web is frozen until ")


def test_nothing_is_read_without_need_and_what_cannot_be_read_is_left_to_the_rollout(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every preview would take longer; or a missing permission keep a repair from being deployed."""
    dry(monkeypatch, run=False)
    check(live="web-2")
    check(rollouts={"": {}})
    assert (told.asked, told.lines) == (0, [])
    told.tags[""] = CloudError("access denied")
    check()
    assert told.lines == [
        "warn whether the service is frozen could not be read, and is read again before traffic moves: access denied"
    ]
