"""How figures are worded, where there is no terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.cli.display import Display, cost
from fleetswap.domain.image.meter import Meter, Progress
from fleetswap.domain.text import amount, duration, paragraph


def at(seconds: float, done: int, *, total: int = 1_000, throttled: int = 0) -> Progress:
    return Progress(done, total, done, done * 524_288, throttled, seconds=seconds)


def test_the_rate_is_that_of_the_last_seconds() -> None:
    """After a slow beginning the rate and the time left would be wrong until the end."""
    meter = Meter("puts")
    assert meter.text(at(0.0, 0)) == "0 of 1,000 blocks, 0 MB/s, 0 puts/s, 0 throttled"
    for second in range(1, 31):
        text = meter.text(at(second, second, throttled=7))
    assert text == "30 of 1,000 blocks, 1 MB/s, 1 puts/s, 7 throttled, 16:10 left"
    for second in range(31, 50):
        text = meter.text(at(second, 30 + 50 * (second - 30), total=2_000))
    assert text == "980 of 2,000 blocks, 26 MB/s, 50 puts/s, 0 throttled, 20 s left"
    assert "left" not in meter.text(at(60, 2_000, total=2_000))


def test_where_there_is_little_room_the_rest_is_left_out() -> None:
    """In the column of Pulumi's progress the line would be cut off before the time left, or why nothing moves."""
    meter = Meter("puts")
    assert meter.short(Progress()) == "0 %, 0 MB/s"
    assert meter.short(at(10, 250)) == "25 %, 13 MB/s, 30 s left"
    stuck = replace(at(20, 250), trouble="AWS does not respond, tried again in 8 s")
    assert meter.short(stuck) == "25 %, 0 MB/s, AWS does not respond"


def test_without_a_terminal_there_is_a_line_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """A log would have a line for every block, or none for an hour."""
    with Display("uploading", "puts", quiet=False) as display:
        display.say("begins")
        for tenth in range(100):
            display.tell(at(tenth / 10, tenth))
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0] == "begins"
    assert len(lines) == 4
    assert lines[1].startswith("uploading 3 %: 30 of 1,000 blocks, 5 MB/s, 10 puts/s, ")


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """A cron job would send a mail for each success."""
    with Display("uploading", "puts", quiet=True) as display:
        display.say("begins")
        display.tell(at(9.0, 9))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (185, "3:05"), (3_723, "1:02:03")]
)
def test_times(seconds: float, text: str) -> None:
    """A time could not be read."""
    assert duration(seconds) == text


def test_a_text_from_outside_keeps_its_lines_and_nothing_else() -> None:
    """A message could draw on the user's terminal, or a list of failed assertions be one long line."""
    assert paragraph("\n \n\x1b[31mFailed:\x1b[0m  \n\t- a\x07b\n\n  c\n\n") == ["Failed:", "        - a b", "", "  c"]
    assert paragraph(" \n") == []


def test_amounts_and_costs() -> None:
    """A figure could not be read, or nothing sent be a division by zero."""
    assert [amount(size) for size in (999, 524_288, 4_718_592, 1 << 30)] == [
        "999 bytes",
        "524.3 kB",
        "4.7 MB",
        "1.1 GB",
    ]
    assert cost(0, 0, 0.0, 0, 0, unit="puts") == "0 bytes in 0.0 s"
    assert cost(100, 52_428_800, 2.0, 3, 5, unit="puts") == (
        "52.4 MB in 2.0 s: 26 MB/s, 50 puts/s; 3 throttled, 2 failed and retried"
    )
