"""Findings in words: whoever is woken up reads the numbers that a decision was made from, in plain English."""

from __future__ import annotations

import pytest

from fleetswap.domain.rollout import wording
from fleetswap.domain.rollout.canary import Judgement
from fleetswap.domain.rollout.evidence import AlarmState
from fleetswap.domain.rollout.findings import Code, Finding, Unit
from fleetswap.domain.rollout.health import Streak, Verdict
from fleetswap.domain.rollout.policy import OPTIONAL, Check
from fleetswap.domain.rollout.rates import Counts

WORSE = Finding(
    Check.ERRORS,
    Verdict.ABORT,
    Code.ABOVE_LIVE,
    value=7 / 120,
    limit=0.001,
    unit=Unit.RATE,
    candidate=Counts(120, 7),
    live=Counts(2400, 1),
    ratio=1.5,
    chance=0.00025,
)


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (
            WORSE,
            "5xx: candidate 7 of 120 (5.8 %), live 1 of 2,400 (0.04 %); more than 1.5 times the rate of live"
            " (by chance at most once in 4,000)",
        ),
        (
            Finding(Check.SLOWNESS, Verdict.ABORT, Code.ABOVE_FORMER, candidate=Counts(9, 9), ratio=2.0, chance=0.001),
            "slow: candidate 9 of 9 (100 %); more than 2 times the rate that live had before"
            " (by chance at most once in 1,000)",
        ),
        (
            Finding(
                Check.ERRORS, Verdict.ABORT, Code.ABOVE_CEILING, candidate=Counts(400, 400), limit=0.05, chance=1e-12
            ),
            "5xx: candidate 400 of 400 (100 %); more than the ceiling of 5.0 %"
            " (by chance less than once in 1,000,000,000)",
        ),
        (Finding(Check.SLOWNESS, Verdict.PROMOTE, candidate=Counts(0, 0), ratio=1.5), "slow: candidate no requests"),
        (
            Finding(Check.ERRORS, Verdict.ABORT, Code.ABOVE_CEILING, candidate=Counts(2, 2), limit=0.5, chance=0.0),
            "5xx: candidate 2 of 2 (100 %); more than the ceiling of 50 % (by chance less than once in 1,000,000,000)",
        ),
    ],
)
def test_rates_are_told_with_their_numbers(finding: Finding, words: str) -> None:
    """The engineer who is woken up would not see the numbers that the decision was made from."""
    assert wording.reasons([finding]) == words


@pytest.mark.parametrize(
    ("bad", "words"), [(0, "0 %"), (4, "0.4 %"), (10, "1.0 %"), (99, "9.9 %"), (100, "10 %"), (1000, "100 %")]
)
def test_rates_are_told_with_the_digits_that_matter(bad: int, words: str) -> None:
    """A message would say `10.0 %` of one release and `10 %` of the other."""
    told = wording.reasons([Finding(Check.ERRORS, Verdict.PROMOTE, candidate=Counts(1000, bad), ratio=1.5)])
    assert told == f"5xx: candidate {bad:,} of 1,000 ({words})"


def test_alarms_of_which_there_is_the_same_to_say_share_a_line() -> None:
    """A message about a service with twenty alarms would bury what is wrong in nineteen lines."""

    def alarm(name: str, state: str, *, report_only: bool = False) -> Finding:
        code = Code.OK if state == AlarmState.OK else Code.WRONG
        return Finding(Check.ALARMS, Verdict.PROMOTE, code, subject=name, value=state, report_only=report_only)

    found = (alarm("a", "ALARM"), alarm("b", "OK"), WORSE, alarm("c", "OK"), alarm("d", "ALARM", report_only=True))
    lines = wording.lines(found)
    assert [line for line in lines if "alarm" in line] == [
        "alarm a is in ALARM",
        "alarms b and c are OK",
        "(report only) alarm d is in ALARM",
    ]
    assert len(lines) == 4
    gone = [Finding(Check.ALARMS, Verdict.WAIT, Code.NONE, subject=name) for name in ("x", "y")]
    assert wording.reasons(gone) == "alarms x and y do not exist"
    before = [Finding(Check.ALARMS, Verdict.PROMOTE, Code.NOT_COUNTED, subject=name, value="ALARM") for name in "xy"]
    assert wording.reasons(before) == "alarms x and y do not count, being in ALARM before this rollout"


def test_what_is_late_says_so() -> None:
    """An abort because nothing was known would read as if the candidate had been bad."""
    judged = Judgement(Verdict.ABORT, (WORSE,), Streak(), late=True)
    assert wording.judgement(judged) == f"not enough evidence in time: {wording.reasons([WORSE])}"


def test_a_probe_without_a_response_says_why() -> None:
    """A probe that was refused would be told as `status None`."""
    finding = Finding(Check.PROBE, Verdict.ABORT, Code.NO_RESPONSE, subject="/up", detail="Connection refused")
    assert wording.reasons([finding]) == "/up does not respond (Connection refused)"


def test_every_check_has_words() -> None:
    """A kind of finding would end a rollout with a traceback when it is to be told."""
    for check in Check:
        if check is not Check.HEALTH:
            finding = Finding(check, Verdict.PROMOTE, subject="x", value=1, limit=1, ratio=1.0)
            assert wording.reasons([finding]), check
            assert (check in OPTIONAL) or check not in {"image", "probe", "alarms", "errors", "slowness"}
    with pytest.raises(TypeError, match="of which machines"):
        wording.reasons([Finding(Check.HEALTH, Verdict.PROMOTE)])
