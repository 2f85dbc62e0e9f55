"""Whatever is wrong before a deploy is told in one line, and nothing is made."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path

import pytest

from tests.e2e.stack import LISTENER_PORT, PORT, LocalStack, Ran

pytestmark = [pytest.mark.e2e]


def assert_refused(ran: Ran, said: str) -> None:
    assert ran.status != 0
    errors = {line.strip() for line in ran.said.splitlines() if said in line}
    assert errors, ran.said
    assert "Traceback" not in ran.said
    assert not re.search(r"^ \+  (?!pulumi:pulumi:Stack)", ran.said, flags=re.MULTILINE)


def test_wrong_settings_are_told_by_their_keys(fresh: LocalStack) -> None:
    """A misspelt setting would be ignored, or half of a stack made before it is found."""
    fresh.set(capcity={"min": 2}, health={"interval": 1})
    ran = fresh.run("up")
    assert_refused(ran, "fleetswap:capcity is not a setting")
    assert_refused(ran, "fleetswap:health.interval")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\0" * 4096, "too small"),
        (b"QFI\xfb" + bytes(4 << 20), "qcow2"),
        (b"conectix" + bytes(4 << 20), "VHD"),
        (bytes(4 << 20), "not a disk"),
    ],
    ids=["small", "qcow2", "vhd", "zeros"],
)
def test_what_is_no_disk_is_refused(fresh: LocalStack, content: bytes, said: str) -> None:
    """A container's bytes, or nothing, would be shipped as a disk, and fail only when a machine does not boot."""
    image = fresh.folder / "image.raw"
    image.write_bytes(content)
    fresh.set(image={"file": str(image)})
    assert_refused(fresh.run("up"), said)


def test_an_image_that_does_not_evaluate_is_refused_in_nixs_words(fresh: LocalStack) -> None:
    """Of the failed assertions of a NixOS configuration the engine would show one, or a single long line."""
    flake = fresh.folder / "flake"
    flake.mkdir()
    (flake / "flake.nix").write_text(
        '{ outputs = { self }: { web = throw "Failed assertions:\\n- one is not set\\n- two is not set"; }; }'
    )
    fresh.set(image=f"path:{flake}#web")
    ran = fresh.run("up")
    assert_refused(ran, "#web does not evaluate")
    told = [line.strip() for line in ran.said.splitlines()]
    at = told.index("- one is not set")
    assert told[at + 1] == "- two is not set"


def test_a_taken_port_is_told(fresh: LocalStack) -> None:
    """The first try of a new user would end in a traceback."""
    with socket.create_server(("127.0.0.1", PORT)):
        ran = fresh.run("up")
    assert_refused(ran, f"Port {PORT}")


def test_a_taken_listener_port_is_told(fresh: LocalStack) -> None:
    """Whatever listens there would answer in the fleet's place, and the deploy would look as if it had worked."""
    with socket.create_server(("0.0.0.0", LISTENER_PORT)):  # noqa: S104 - as a careless server does
        ran = fresh.run("up")
    assert_refused(ran, f"port {LISTENER_PORT}")
    assert "The local cloud is running" not in ran.said


def test_a_second_up_is_told_that_the_stack_is_locked(fresh: LocalStack, tmp_path: Path) -> None:
    """Two deployers at once would tear at one fleet."""
    fresh.set(image={"file": str(tmp_path / "missing.raw")})
    first = fresh.start("up")
    deadline = time.monotonic() + 60
    while not (fresh.folder / "local.lock").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    second = fresh.run("up")
    said, _ = first.communicate(timeout=120)
    assert second.status != 0
    assert "locked" in second.said
    assert "missing.raw" in said
