"""When a machine is asked, and when that ends: against a machine in memory, with a clock of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fleetswap.domain.boot.health import Check
from fleetswap.domain.boot.machine import Hardware
from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.rollout.health import Answer
from fleetswap.workflows.boot_test import KEPT, BootTest, Passed, Unhealthy
from fleetswap.workflows.image.image_file import ImageFile
from tests.boot.world import World
from tests.fakes.ebs import disk_file, nothing

CHECK = Check(8080, "/healthz")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return disk_file(tmp_path / "web.raw")


def tried(
    world: World,
    disk: Path,
    *,
    check: Check = CHECK,
    hardware: Hardware | None = None,
    name: str = "sha256:1",
    say: Callable[[str], None] = nothing,
    status: Callable[[str], None] = nothing,
) -> Passed:
    test = BootTest(world, hardware or Hardware(), check, folder=disk.parent / "kept", seconds=60, clock=world.clock)
    with ImageFile(disk) as image:
        return test.run(image, name, say, status)


def test_an_image_passes_when_it_is_healthy_as_often_as_its_load_balancer_wants(disk: Path) -> None:
    """One good answer of a service that is about to fail would be enough."""
    world = World([Answer(None, "refused"), Answer(200), Answer(503), Answer(200)])
    passed = tried(world, disk, check=replace(CHECK, healthy=3))
    assert world.asked == 6
    assert passed.seconds >= 6
    assert (world.started, world.running) == (1, 0)


def test_an_image_that_is_not_healthy_in_time_is_refused_with_its_console(disk: Path) -> None:
    """A broken image would be uploaded, or nobody see why it was not."""
    lines: list[str] = []
    world = World([Answer(503)], said="booted\r\n\x1b[31mweb: no database\x1b[0m\r\n")
    with pytest.raises(
        Unhealthy, match=r"not healthy after 1:0\d: its health check got status 503\. Its console"
    ) as refused:
        tried(world, disk, say=lines.append)
    assert refused.value.exit_status == 3
    assert lines[-2:] == ["console | booted", "console | web: no database"]
    (kept,) = (disk.parent / "kept").glob("*.console")
    assert str(kept) in str(refused.value)
    assert "web: no database" in kept.read_text()
    assert world.running == 0


def test_an_image_of_nix_is_called_by_its_name(disk: Path) -> None:
    """Each image of Nix would be `disk.raw`, and its console be found by nobody."""
    lines: list[str] = []
    name = f"/nix/store/{'0' * 32}-web-1.4"
    with pytest.raises(Unhealthy, match=r"kept/web-1\.4-\d+T\d+\.console"):
        tried(World([Answer(503)]), disk, name=name, say=lines.append)
    assert lines == [
        "booting web-1.4 until it is healthy (http port 8080, /healthz), in QEMU 1",
        "console | (nothing)",
    ]


@pytest.mark.parametrize(
    ("said", "dies", "why"),
    [
        ("Kernel panic - not syncing: x", None, "the kernel panicked after"),
        ("Kernel panic - not syncing: x", "the machine shut down", "the kernel panicked after"),
        ("", "the machine shut down", "the machine shut down after"),
    ],
)
def test_a_machine_that_cannot_become_healthy_is_not_waited_for(
    disk: Path, said: str, dies: str | None, why: str
) -> None:
    """A deploy would wait for minutes for a machine that is off; and a panic be told as a machine that is off."""
    world = World([Answer(None, "refused")], said=said, dies=dies)
    with pytest.raises(Unhealthy, match=why):
        tried(world, disk)
    assert world.clock.now() < 10


def test_what_status_raises_ends_the_test_at_once(disk: Path) -> None:
    """After Ctrl-C the machine would go on until its time is over."""

    def cancelled(text: str) -> None:
        if text.startswith("booting"):
            raise FleetswapError("cancelled")

    world = World([Answer(503)])
    with pytest.raises(FleetswapError, match="cancelled"):
        tried(world, disk, status=cancelled)
    assert world.running == 0
    assert not list((disk.parent / "kept").glob("*/*"))


def test_an_image_that_has_passed_is_not_booted_again(disk: Path) -> None:
    """Each retry of an upload that failed would boot the image first."""
    world = World([Answer(200)])
    tried(world, disk)
    assert tried(world, disk) == Passed(0.0, again=True)
    assert world.started == 1


def test_whatever_may_change_the_result_is_tested_again(disk: Path) -> None:
    """An image would pass because another one did, or this one by another check, machine or QEMU."""
    world = World([Answer(200)])
    tried(world, disk)
    tried(world, disk, check=replace(CHECK, path="/other"))
    tried(world, disk, hardware=Hardware(memory=64))
    tried(world, disk, name="sha256:2")
    world.made_with = "QEMU 2"
    tried(world, disk)
    os.utime(disk, ns=(disk.stat().st_atime_ns, disk.stat().st_mtime_ns))  # a new ctime, all else as it was
    tried(world, disk)
    assert world.started == 6


def test_an_image_that_is_refused_is_booted_again(disk: Path) -> None:
    """A machine that was slow once would be refused for ever."""
    world = World([Answer(503)])
    with pytest.raises(Unhealthy):
        tried(world, disk)
    world.answers = [Answer(200)]
    assert not tried(world, disk).again


def test_an_image_that_changes_while_it_boots_has_not_passed(disk: Path) -> None:
    """What is uploaded would not be what was booted."""
    with pytest.raises(FleetswapError, match="changed while it was read"):
        tried(World([Answer(200)]), disk, status=lambda _: os.utime(disk, (1, 1)))
    assert not list((disk.parent / "kept").glob("*/*"))


def test_what_is_kept_does_not_grow_for_ever(disk: Path) -> None:
    """Each image would leave a file for good."""
    world = World([Answer(200)])
    for number in range(KEPT + 3):
        tried(world, disk, name=f"sha256:{number}")
    assert len(list((disk.parent / "kept" / "passed").iterdir())) == KEPT


def test_what_is_missing_is_told_before_anything_is_made(disk: Path) -> None:
    """An hour of building would end with the news that there is no QEMU."""

    class Missing(World):
        def ready(self, hardware: Hardware) -> str:  # noqa: ARG002
            raise InputError("no QEMU")

    with pytest.raises(InputError, match="no QEMU"):
        BootTest(Missing([]), Hardware(), CHECK, folder=disk.parent).ready()
