"""The gate at its edges: the last second, the last machine, what a message names and what it leaves out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.domain.rollout import health, wording
from fleetswap.domain.rollout.health import Decision, Failure, Machine, Reading, Streak, Target, Verdict

HEALTHY = Target("i-1", "healthy")
REFUSED = tuple(Failure(str(n), f"The image id does not exist, try {n}") for n in range(3))


def judge(reading: Reading, *, wanted: int = 1, good: int = 2, left: float = 9.0) -> Decision:
    return health.judge(reading, Streak(good), wanted=wanted, readings=3, failed_before=frozenset(), seconds_left=left)


def say(reading: Reading, *, wanted: int) -> str:
    return wording.machines(health.summary(reading, wanted=wanted))


@pytest.mark.parametrize(("wanted", "healthy", "verdict"), [(1, 1, "promote"), (0, 0, "wait"), (0, 1, "promote")])
def test_one_machine_is_enough_if_one_is_wanted_and_none_never_is(wanted: int, healthy: int, verdict: str) -> None:
    """A service of one machine could not be deployed, or all the traffic would move to no machine at all."""
    assert judge(Reading((HEALTHY,) * healthy), wanted=wanted).verdict == verdict


def test_a_healthy_release_is_not_given_up_for_old_trouble_with_launches() -> None:
    """A candidate that serves would be given up because three launches before its machines had failed."""
    assert judge(Reading((HEALTHY,), (), REFUSED), good=0).verdict is Verdict.WAIT


def test_the_last_fraction_of_a_second_counts() -> None:
    """A deadline would end a rollout a second before the time that the settings name."""
    assert judge(Reading(()), left=0.5).verdict is Verdict.WAIT


def test_the_first_reason_of_a_failed_launch_is_the_one_told() -> None:
    """The error that a person sees would not be the first one."""
    assert (
        wording.decision(judge(Reading((), (), REFUSED)))
        == "no machine can be launched: The image id does not exist, try 0"
    )
    words = say(Reading((), (), REFUSED), wanted=2)
    assert words == "0 of 2 machines launched, 0 healthy; launch failed: The image id does not exist, try 0"


def test_machines_are_suspected_without_their_target_group() -> None:
    """When AWS does not tell the health of machines that never boot, no console would be fetched."""
    reading = Reading(None, (Machine("i-1", "InService"), Machine("i-2", "Terminated")))
    assert health.suspects(reading) == ("i-1",), "a machine that is gone has no console any more"


def test_what_leaves_is_not_told_and_what_gives_no_reason_is_told_by_its_state() -> None:
    """The message would name machines that are as they should be, or one without saying what is wrong with it."""
    reading = Reading((Target("i-1", "draining", "Target.DeregistrationInProgress"), Target("i-2", "unavailable")))
    assert say(reading, wanted=1) == "0 of 1 machine healthy; i-2: unavailable"


def test_as_many_machines_as_are_named_leave_no_rest() -> None:
    """A message would end with `and 0 more`."""
    assert "more" not in say(Reading((Target("i-2", "initial"),) * health.NAMED), wanted=3)


def test_a_console_is_cut_at_exactly_its_bound() -> None:
    """The end of a console, where the panic is, would be cut off, or a text that fits be shortened."""
    fits = "x" * health.CONSOLE_CHARS
    assert health.console_tail(fits) == fits
    cut = health.console_tail(fits + "y")
    assert cut == "…" + "x" * (health.CONSOLE_CHARS - 2) + "y"


def test_a_panic_is_found_wherever_it_stands_and_told_once() -> None:
    """The reason why a machine never boots would be lost between its first lines and its dump, or told twice."""
    panic = f"[ 5.3] Kernel panic - not syncing: {'why ' * 100}"
    dump = [f"[ 5.{number}] RAX: 0" for number in range(9)]
    told = health.console_tail("\n".join([*["booting"] * 9, panic, *dump]))
    assert told.startswith(f"{panic[: health.CONSOLE_CHARS // 2]} | ")
    twice = health.console_tail("\n".join(["first Kernel panic", *dump, "second Kernel panic"]))
    assert "first" not in twice
    assert twice.endswith("second Kernel panic")


OVER = Failure(
    "7", "You have requested more vCPU capacity than your current vCPU limit of 8 allows (VcpuLimitExceeded)"
)
OF_A_KEY = Failure("8", "Client.InternalError: Client error on launch: the KMS key is disabled")


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        (REFUSED, REFUSED[0]),
        ((*REFUSED, OF_A_KEY), OF_A_KEY),
        ((*REFUSED, OF_A_KEY, OVER), OVER),
        ((REFUSED[0], OVER), OVER),
    ],
)
def test_the_failure_with_a_remedy_is_the_one_told(failures: tuple[Failure, ...], told: Failure) -> None:
    """A person would read of a failed launch, and not that a quota or a key is what is to be mended."""
    decision = judge(Reading((), (), failures))
    assert decision.hopeless == told
    words = wording.decision(decision)
    assert words.startswith(f"no machine can be launched: {told.message}")
    assert (words == f"no machine can be launched: {told.message}") is (told in REFUSED)


def test_each_reason_of_a_failed_launch_is_kept_once() -> None:
    """The record of a large fleet would hold the same message a hundred times, and not the other one."""
    failures = (*(replace(OVER, id=str(n)) for n in range(9)), *REFUSED)
    made = health.summary(Reading((), (), failures), wanted=2)
    assert made.failures == (replace(OVER, id="0"), *REFUSED[:2])
