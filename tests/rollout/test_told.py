"""What people are told of a rollout: lines in the log, the row of a terminal, the last message; and how it stops."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fleetswap.domain.errors import Aborted, InputError
from fleetswap.domain.rollout.model import Order
from fleetswap.domain.rollout.notices import Ending
from fleetswap.domain.rollout.policy import Shortage
from fleetswap.domain.rollout.progress import ROW_CHARS
from fleetswap.domain.rollout.state import Phase, State
from fleetswap.domain.secrets.key_state import KeyState
from fleetswap.workflows.rollout.ports import Keys
from fleetswap.workflows.rollout.run import Keep, Say, roll_out
from fleetswap.workflows.stop import Stop
from tests.fakes.world import World
from tests.rollout.test_canary import STEPS, deploy


def run(
    world: World,
    wanted: Order,
    *,
    show: Say = print,
    stop: Stop | None = None,
    keep: Keep = lambda _: None,
    keys: Keys | None = None,
) -> None:
    roll_out(
        wanted,
        balancer=world,
        fleet=world,
        prober=world,
        clock=world,
        metrics=world,
        switch=world,
        keys=keys,
        notifier=world,
        say=world.say,
        show=show,
        stop=stop,
        keep=keep,
    )


def told(world: World) -> list[str]:
    """The lines in the log that the message has, too."""
    (notice,) = world.notices
    assert set(notice.lines) <= set(world.log)
    assert set(notice.lines) <= set(notice.text.split("\n"))
    assert len(set(world.log)) == len(world.log), "a line is told twice"
    return list(notice.lines)


def test_a_success_ends_with_what_is_live_and_how_to_go_back() -> None:
    """Whoever has deployed would have to look up what serves, and in an incident how to go back."""
    world, wanted = deploy()
    run(world, wanted)
    live, took, back = told(world)
    passed = [line.split(": ")[1] for line in world.log if "passed with" in line]
    assert passed == [
        "passed with 5 % of the traffic",
        "passed with 25 % of the traffic",
        "passed with all the traffic",
    ]
    assert live == "web: new is live at http://127.0.0.1:80; standby is live, warm for 10:00"
    assert re.fullmatch(r"the rollout took [\d.]+ s: .*\bgate [\d.]+ s.*\bhold [\d.]+ s.*", took)
    assert re.fullmatch(
        r"to roll back: `fleetswap rollback`, which takes about \d+ s while live is warm, after that .+", back
    )


def test_on_demand_machines_in_the_place_of_spot_ones_are_told() -> None:
    """A deploy would be dearer than anyone knows, or be taken to stay so."""
    policy = replace(STEPS, shortage=Shortage.ON_DEMAND, shortage_patience=20)
    world, wanted = deploy(policy, cannot_launch="no spot capacity")
    run(world, wanted)
    _, _, told_of, _ = told(world)
    assert told_of == (
        "EC2 had no Spot capacity: 3 On-Demand Instances in place of Spot; the group's own mix applies again"
    )
    assert "new: EC2 has no Spot capacity: launching 3 On-Demand Instances in place of Spot" in world.log


def test_a_failure_ends_with_what_serves_what_was_put_back_and_what_to_do() -> None:
    """The message that wakes someone would not say whether users are served, and what is to be done."""
    world, wanted = deploy(error_rate=0.5)
    with pytest.raises(Aborted, match="5xx"):
        run(world, wanted)
    what, serving, put_back, remedy = told(world)
    assert re.fullmatch(r"web: the rollout of new was rolled back, after .+", what)
    assert serving == "serving now: live"
    parts = "all the traffic is on live again; AWS ends the machines of new in 1:00; the dead man's switch is deleted"
    assert put_back == f"restored: {parts}"
    assert remedy == "what to do: fix new and run `pulumi up`, which also deletes what is left of it"
    (notice,) = world.notices
    assert notice.subject == "web: rollout of new rolled back"
    assert "why: with " in notice.text
    assert "evidence: 5xx: candidate" in notice.text


@pytest.mark.parametrize("phase", [Phase.GATE, Phase.HOLD, Phase.BAKE, Phase.PUT_BACK])
def test_a_rollout_that_is_told_to_stop_puts_everything_back_and_says_so(phase: Phase) -> None:
    """Ctrl-C would be obeyed when the new version has all the traffic; or not at all; or it would end the put-back."""
    world, wanted = deploy(error_rate=0.5 if phase is Phase.PUT_BACK else 0.0)
    stop = Stop()

    def keep(state: State) -> None:
        if state.phase is phase:
            stop.ask("cancelled")

    with pytest.raises(Aborted, match="5xx" if phase is Phase.PUT_BACK else r"^cancelled; live (has|keeps) all"):
        run(world, wanted, stop=stop, keep=keep)
    assert world.serving() == {"tg-live"}
    assert world.size("new") == (0, 0)
    ending = Ending.ABORTED if phase is Phase.GATE else Ending.ROLLED_BACK
    assert [notice.ending for notice in world.notices] == [ending]


def test_the_row_says_in_a_few_words_what_is_waited_for() -> None:
    """The terminal would cut off the one thing that someone who waits wants to know."""
    world, wanted = deploy()
    shown = list[str]()
    run(world, wanted, show=shown.append)
    assert "gate: 3/3 launched, 0/3 healthy (initial health checks)" in shown
    assert any(re.match(r"5 %, .*; no whole period of this step is counted yet", row) for row in shown), (
        "what is missing"
    )
    assert any(re.match(r"25 %, .*; slow: candidate 0 of", row) for row in shown), "else what users got"
    assert max(map(len, shown)) <= ROW_CHARS


class Kms:
    """Keys in a state each."""

    def __init__(self, **states: str) -> None:
        self._states = {f"arn:aws:kms:us-east-1:111122223333:key/{name}": state for name, state in states.items()}

    def state(self, arn: str) -> KeyState:
        """The state of one."""
        return KeyState(arn, self._states[arn])


def test_a_key_that_was_disabled_since_the_preview_is_told_before_a_machine_starts() -> None:
    """People would learn of it from machines that fail at the gate, minutes later, and look for the reason there."""
    world, wanted = deploy()
    arns = tuple(f"arn:aws:kms:us-east-1:111122223333:key/{name}" for name in ("volumes", "secrets"))
    wanted = replace(wanted, candidate=replace(wanted.candidate, keys=arns))
    with pytest.raises(InputError, match="secrets is Disabled, and new machines of new need it: enable it with"):
        run(world, wanted, keys=Kms(volumes="Enabled", secrets="Disabled"))
    what, serving, remedy = told(world)
    assert re.fullmatch(r"web: the rollout of new failed, after .+", what)
    assert serving == "serving now: live"
    assert remedy == "what to do: nothing was changed: correct what the error names, and run `pulumi up` again"
    assert "why: KMS key arn:aws:kms:us-east-1:111122223333:key/secrets is Disabled" in world.notices[0].text
    assert world.size("new") == (0, 0)
