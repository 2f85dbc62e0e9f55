"""A boot test in a deploy, with the real engine."""

from __future__ import annotations

import struct
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.stack import LocalStack

pytestmark = [pytest.mark.e2e]

SECONDS = 240


def resets_for_ever() -> bytes:
    """A disk for a BIOS: its boot sector jumps to where a processor begins."""
    disk = bytearray(2 << 20)
    disk[:5] = bytes.fromhex("ea0000ffff")
    disk[446:462] = struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x83, b"\0\0\0", 2048, 2048)
    disk[510:512] = b"\x55\xaa"
    return bytes(disk)


def machines(folder: Path) -> list[int]:
    """The machines that run in a folder. What prepares their disks there is none, and may end at any time."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):  # it has ended
            there = entry.name.isdigit() and (entry / "cwd").readlink().is_relative_to(folder)
            if there and b"qemu-system" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def test_ctrl_c_ends_the_machine_of_a_boot_test(
    fresh: LocalStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU would run on after a deploy that was given up, with a copy of the disk, and perhaps upload."""
    image, temporary = tmp_path / "image.raw", tmp_path / "machines"
    image.write_bytes(resets_for_ever())
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    fresh.set(image={"file": str(image), "boot_test": {"timeout": 600}, "ami": {"boot_mode": "legacy-bios"}})
    started = fresh.start("up")
    assert started.stdout is not None
    watch = threading.Timer(SECONDS, started.kill)
    watch.start()
    try:
        for line in started.stdout:
            print(line, end="")
            if "until it is healthy" in line:
                break
        deadline = time.monotonic() + 60
        while not (begun := machines(temporary)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert begun, "it has not started"
        fresh.interrupt(started)
        rest, _ = started.communicate(timeout=SECONDS)
    finally:
        watch.cancel()
        if started.poll() is None:  # or it would hold its lock, and all later stacks would find its ports taken
            fresh.kill_deployers(started)
    print(rest)
    assert started.returncode != 0
    assert "Traceback" not in rest
    assert not list(temporary.glob("fleetswap-boot-*"))
    assert machines(temporary) == []
    assert not fresh.client("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]
