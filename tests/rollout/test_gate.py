"""The gate as a table from evidence to verdict."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.rollout import health, wording
from fleetswap.domain.rollout.health import Answer, Failure, Machine, Reading, Streak, Target, Verdict

HEALTHY = Target("i-1", "healthy")
SICK = Target("i-2", "unhealthy", "Target.ResponseCodeMismatch", "Health checks failed with these codes: [503]")
YOUNG = Target("i-3", "initial", "Elb.InitialHealthChecking", "Initial health checks in progress")
LEAVING = Target("i-4", "draining", "Target.DeregistrationInProgress", "Target deregistration is in progress")
BAD_AMI = tuple(Failure(str(n), "The image id '[ami-1]' does not exist") for n in range(3))
NO_SPOT = tuple(Failure(str(n), "InsufficientInstanceCapacity: not enough capacity") for n in range(3))


@pytest.mark.parametrize(
    ("reading", "streak", "left", "verdict", "after"),
    [
        (Reading((HEALTHY, HEALTHY)), Streak(), 9.0, Verdict.WAIT, 1),
        (Reading((HEALTHY, HEALTHY)), Streak(2), 9.0, Verdict.PROMOTE, 3),
        (Reading((HEALTHY, HEALTHY)), Streak(2), -1.0, Verdict.PROMOTE, 3),
        (Reading((HEALTHY, HEALTHY)), Streak(1), -1.0, Verdict.WAIT, 2),
        (Reading((HEALTHY, SICK)), Streak(2), 9.0, Verdict.WAIT, 0),
        (Reading((HEALTHY, SICK)), Streak(2), 0.0, Verdict.ABORT, 0),
        (Reading((HEALTHY, LEAVING)), Streak(2), 9.0, Verdict.WAIT, 0),
        (Reading((HEALTHY, YOUNG)), Streak(2), 9.0, Verdict.WAIT, 0),
        (Reading(()), Streak(2), 9.0, Verdict.WAIT, 0),
        (Reading(None), Streak(2), 9.0, Verdict.WAIT, 2),
        (Reading(None), Streak(2), 0.0, Verdict.ABORT, 2),
        (Reading(None), Streak(3), 0.0, Verdict.ABORT, 3),
        (Reading((), (), BAD_AMI), Streak(), 9.0, Verdict.ABORT, 0),
        (Reading((), (), BAD_AMI[:2]), Streak(), 9.0, Verdict.WAIT, 0),
        (Reading((), (), NO_SPOT), Streak(), 9.0, Verdict.WAIT, 0),
        (Reading((), (Machine("i-1", "Pending"),), BAD_AMI), Streak(), 9.0, Verdict.WAIT, 0),
        (Reading((), (Machine("i-1", "Terminating"),), BAD_AMI), Streak(), 9.0, Verdict.ABORT, 0),
        (Reading((), None, BAD_AMI), Streak(), 9.0, Verdict.WAIT, 0),
        (Reading((HEALTHY, HEALTHY), (), BAD_AMI), Streak(2), 9.0, Verdict.PROMOTE, 3),
    ],
)
def test_verdicts(reading: Reading, streak: Streak, left: float, verdict: Verdict, after: int) -> None:
    """Evidence would lead to the wrong verdict: a sick release promoted, a good one aborted, unknown taken for good."""
    decision = health.judge(reading, streak, wanted=2, readings=3, failed_before=frozenset(), seconds_left=left)
    assert (decision.verdict, decision.streak.good) == (verdict, after)


def test_old_failures_are_no_evidence() -> None:
    """A group that failed to launch last week would never be deployed to again."""
    old = frozenset(failure.id for failure in BAD_AMI)
    decision = health.judge(Reading((), (), BAD_AMI), Streak(), wanted=2, readings=3, failed_before=old, seconds_left=9)
    assert decision.verdict is Verdict.WAIT
    assert "launch failed" not in wording.decision(decision)


@given(
    st.lists(
        st.one_of(st.none(), st.integers(0, 4)),
        max_size=12,
    ),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_promotes_only_on_enough_good_readings_in_a_row(healths: list[int | None], wanted: int, readings: int) -> None:
    """The gate would promote a flapping fleet, or count what it could not read."""
    streak = Streak()
    for index, count in enumerate(healths):
        targets = None if count is None else (HEALTHY,) * count
        decision = health.judge(
            Reading(targets), streak, wanted=wanted, readings=readings, failed_before=frozenset(), seconds_left=1
        )
        known = [value for value in healths[: index + 1] if value is not None]
        proven = len(known) >= readings and all(value >= wanted for value in known[-readings:])
        assert (decision.verdict is Verdict.PROMOTE) == (proven and count is not None)
        streak = decision.streak


def test_reason_names_the_machines() -> None:
    """An operator could not tell from the message which machine is sick and why."""
    reading = Reading(
        (HEALTHY, SICK), (Machine("i-1", "InService"), Machine("i-2", "InService"), Machine("i-9", "Terminated"))
    )
    assert wording.machines(health.summary(reading, wanted=2)) == (
        "2 of 2 machines launched, 1 healthy; "
        "i-2: Target.ResponseCodeMismatch Health checks failed with these codes: [503]"
    )


def test_reason_of_a_large_fleet_stays_short() -> None:
    """A fleet of hundreds would bury the reason in one line of kilobytes."""
    fleet = tuple(replace(SICK, machine=f"i-{number}") for number in range(200))
    text = wording.machines(health.summary(Reading(fleet), wanted=200))
    assert "; i-0, i-1, i-2: Target.ResponseCodeMismatch" in text, "what they have in common is told once"
    assert text.count("ResponseCodeMismatch") == 1
    assert text.endswith("and 197 more")
    mixed = wording.machines(health.summary(Reading((fleet[0], YOUNG)), wanted=2))
    assert "i-0: Target.ResponseCodeMismatch" in mixed
    assert "i-3: Elb.InitialHealthChecking" in mixed


def test_suspects_come_sickest_first() -> None:
    """The console shown would be that of a machine that is fine, or that has not booted yet."""
    reading = Reading((HEALTHY, YOUNG, SICK), (Machine("i-1", "InService"), Machine("i-5", "Pending")))
    assert health.suspects(reading) == ("i-2", "i-3", "i-5")


def test_console_tail_is_one_clean_line() -> None:
    """Escapes of a console would reach the terminal, or the panic would be cut off."""
    firmware = "\x1b[2J\x1b[01;01HBdsDxe: loading\r\n\r\n\x1b]0;title\x07"
    text = f"{firmware}one\ttab\r\ntwo\nthree\n\x1b[31mfour\x1b[0m\nKernel panic\r\n"
    assert health.console_tail(text) == "one tab | two | three | four | Kernel panic"


@given(st.text(max_size=3000))
def test_console_tail_is_bounded_and_printable(text: str) -> None:
    """Hostile console output would break the one-line error."""
    tail = health.console_tail(text)
    assert len(tail) <= health.CONSOLE_CHARS
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in tail)


def test_the_firmware_is_told_only_if_nothing_else_was_said() -> None:
    """Its long paths would bury what the machine said; or a disk that firmware does not boot would not be seen."""
    firmware = 'BdsDxe: loading Boot0001 "UEFI QEMU NVMe Ctrl" from PciRoot(0x0)/Pci(0x1,0x0)'
    assert health.console_tail(f"{firmware}\nserving on :8080") == "serving on :8080"
    nothing = "BdsDxe: No bootable option or device was found."
    assert health.console_tail(f"{firmware}\n{nothing}") == f"{firmware} | {nothing}"


def test_console_tail_keeps_the_end() -> None:
    """The bound would cut off the panic and keep the firmware's banner."""
    assert health.console_tail("x" * 2000 + " the end").endswith(" the end")


def test_no_answer_is_told_in_words() -> None:
    """A probe without an answer would be reported as `status None`."""
    assert wording.answer(Answer(None, "Connection\nrefused")) == "no response (Connection refused)"


def test_a_panic_says_its_reason_however_long_its_dump_is() -> None:
    """The error of a release that never boots would show registers, and not why."""
    reason = "[ 5.3] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100"
    dump = "\n".join(f"[ 5.{number}] RAX: {'0' * 90}" for number in range(20))
    told = health.console_tail(f"fine so far\n{reason}\n{dump}")
    assert told.startswith(reason)
    assert "fine so far" not in told
    assert len(told) <= health.CONSOLE_CHARS
    assert health.console_tail(f"{reason}\nend").count("Kernel panic") == 1


QUOTA_TEXTS = [
    "You have requested more vCPU capacity than your current vCPU limit of 32 allows for the instance bucket that the"
    " specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an"
    " adjustment to this limit. Launching EC2 instance failed.",
    "Max spot instance count exceeded. Launching EC2 instance failed.",
    "Could not launch Spot Instances. MaxSpotInstanceCountExceeded - Max spot instance count exceeded.",
    "You have requested more instances (7) than your current instance limit of 6 allows for the specified type.",
    "Instance became unhealthy. Termination Reason: Client.VolumeLimitExceeded: Volume limit exceeded",
    "You have exceeded your maximum gp3 storage limit of 20 TiB in this region. Please contact AWS Support.",
]


@pytest.mark.parametrize("text", QUOTA_TEXTS)
def test_a_quota_is_no_shortage(text: str) -> None:
    """A quota that no waiting ends would be waited for, and called a lack of capacity of EC2's."""
    failure = Failure("1", text, "first")
    assert not failure.is_shortage
    there = (Machine("i-1", "InService"),)
    reading = Reading((Target("i-1", "healthy"),), there, (failure,))
    decision = health.judge(reading, Streak(), wanted=2, readings=2, failed_before=frozenset(), seconds_left=100)
    assert decision.verdict is Verdict.ABORT, "also if some machines could be launched: the others never can"
    assert re.search(
        r'the quota ".*" of this account and region is used up.*raise it in Service Quotas', wording.decision(decision)
    )


def test_attempts_count_not_activities() -> None:
    """A large group would be given up after its first try, of which each machine has an activity."""
    once = tuple(Failure(str(n), "bad AMI", "at 9:00") for n in range(5))
    again = tuple(Failure(f"2{n}", "bad AMI", f"at 9:0{n}") for n in range(1, 3))
    verdicts = [
        health.judge(
            Reading((), (), failures), Streak(), wanted=5, readings=2, failed_before=frozenset(), seconds_left=9
        ).verdict
        for failures in (once, once + again)
    ]
    assert verdicts == [Verdict.WAIT, Verdict.ABORT]


def test_a_key_that_may_not_be_used_is_named_with_its_remedy() -> None:
    """Every launch would be cancelled, and the engineer be told `Client error on launch`."""
    texts = [
        "Client.InternalError: Client error on launch",
        "Client.InvalidKMSKey.InvalidState: the KMS key is disabled",
    ]
    for text in texts:
        failures = tuple(Failure(str(n), text, str(n)) for n in range(3))
        decision = health.judge(
            Reading((), (), failures), Streak(), wanted=2, readings=2, failed_before=frozenset(), seconds_left=9
        )
        assert decision.verdict is Verdict.ABORT
        assert "its policy must allow the role AWSServiceRoleForAutoScaling" in wording.decision(decision)
