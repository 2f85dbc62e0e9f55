"""What counts as healthy, when a machine cannot become so, and how it is told."""

from __future__ import annotations

import pytest

from fleetswap.domain.boot.health import TAIL_CHARS, TAIL_LINES, Check, Watch, dead_end, refusal, tail
from fleetswap.domain.boot.traffic import Traffic
from fleetswap.domain.rollout.health import Answer

SPOKE = Traffic(spoke=True, has_address=True)


@pytest.mark.parametrize(
    ("codes", "status", "good"),
    [
        ("200", 200, True),
        ("200", 204, False),
        ("200,204", 204, True),
        ("200-299", 250, True),
        ("200-299", 302, False),
        ("200", None, False),
    ],
)
def test_the_codes_of_the_health_check_decide(codes: str, status: int | None, good: bool) -> None:  # noqa: FBT001
    """An image that its load balancer takes for unhealthy would pass, or a healthy one be refused."""
    assert Check(8080, "/healthz", codes).is_good(Answer(status)) is good


def test_a_grpc_status_is_judged_by_the_prober() -> None:
    """`codes` of a gRPC health check are gRPC statuses: HTTP status 200 would be looked for among them."""
    check = Check(8080, "/x.Y/z", "12", protocol_version="grpc")
    assert check.is_good(Answer(200))
    assert not check.is_good(Answer(404))
    assert (check.spoken.version, check.spoken.codes) == ("grpc", "12")


def test_good_answers_count_only_in_a_row() -> None:
    """A service that fails every second request would pass."""
    check, watch = Check(8080, "/healthz"), Watch()
    for status, good in ((200, 1), (503, 0), (200, 1), (None, 0), (200, 1), (200, 2)):
        watch = watch.after(Answer(status), check)
        assert watch.good == good


@pytest.mark.parametrize(
    ("answers", "traffic", "told"),
    [
        ((), Traffic(), "its network interface sent nothing"),
        ((Answer(None, "timed out"),), Traffic(spoke=True), "it did not use the address that DHCP offers"),
        ((Answer(None, "timed out"),), SPOKE, "its health check got no response (timed out)"),
        ((), SPOKE, "nothing was asked"),
        ((Answer(503), Answer(None, "timed out")), SPOKE, "its health check got status 503"),
    ],
)
def test_how_far_it_got_is_told(answers: tuple[Answer, ...], traffic: Traffic, told: str) -> None:
    """`timed out` would be all that is said of an image without a driver, without DHCP, or with a 503."""
    watch = Watch()
    for each in answers:
        watch = watch.after(each, Check(8080, "/healthz"))
    assert watch.told(traffic) == told


@pytest.mark.parametrize(
    ("console", "why"),
    [
        ("[    3.2] Kernel panic - not syncing: VFS: Unable to mount root fs", "the kernel panicked"),
        ("BdsDxe: No bootable option or device was found.", "the firmware found nothing to boot"),
        ("UEFI Interactive Shell v2.2", "the firmware found nothing to boot"),
        ("No bootable device.", "the BIOS found nothing to boot"),
        ("You are in emergency mode. After logging in", "the system went into emergency mode"),
        ("Reached target multi-user.target", ""),
    ],
)
def test_a_machine_that_needs_a_person_is_not_waited_for(console: str, why: str) -> None:
    """A panic would take as long as the whole test, and be told as a timeout."""
    assert dead_end(console) == why


def test_the_end_of_the_console_is_bounded_and_harmless() -> None:
    """A terminal would take what a machine prints for commands, or the error be pushed off the screen."""
    lines = [f"line {number}" for number in range(100)]
    told = tail("\r\n".join([*lines, "\x1b[31mred\x1b[0m\x07", "", "x" * 1000]))
    assert len(told) == TAIL_LINES
    assert told[-2:] == ["red", "x" * (TAIL_CHARS - 1) + "…"]
    assert told[-3] == "line 99"


def test_the_error_is_one_line_with_the_image_the_time_the_reason_and_the_remedy() -> None:
    """Whoever reads only the error would not know what to do."""
    line = refusal("/x/web.raw", 180.2, "", "its health check got status 503", ".work/web.console", "--timeout")
    assert line == (
        "the boot test refused image /x/web.raw, and nothing was uploaded: not healthy after 3:00: its health check got"
        " status 503. Its console is in .work/web.console: correct the image or its health check, or give it more time"
        " (--timeout)"
    )
    assert "the kernel panicked after 7 s. Its" in refusal("x", 7, "the kernel panicked", "x", "y", "z")
