"""The demo image for arm64: what it says of itself, and that it boots, on an emulated machine for arm64."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetswap.aws.rollout.probe import health_checker
from fleetswap.domain.boot.health import Check
from fleetswap.domain.boot.machine import INSTANCE, Hardware
from fleetswap.domain.errors import FleetswapError
from fleetswap.domain.image import info
from fleetswap.domain.image.evaluation import Evaluation
from fleetswap.domain.image.source import NixImage
from fleetswap.nix import build
from fleetswap.nix.evaluate import evaluate
from fleetswap.qemu.machine import QemuMachines
from fleetswap.workflows.image.bootable import refuse_unbootable
from fleetswap.workflows.image.image_file import ImageFile
from tests.fakes.ebs import nothing
from tests.nix.conftest import DEMO, OPTIONS, PROJECT

DEADLINE = 240
"""Seconds. A boot takes 20 on a computer that is busy with eight other things."""

CHECK = Check(8080, "/healthz")


@pytest.fixture(scope="module")
def arm_parts() -> Path:
    """What the image is made of; fetched if `make` has not."""
    folder = PROJECT / ".work" / "kernel-arm64"
    subprocess.run([DEMO / "fetch-kernel", folder, "arm64"], check=True)
    return folder


def evaluated(parts: Path, **more: str) -> Evaluation:
    arguments = {"version": "1", "architecture": "arm64", "parts": str(parts), **more}
    return evaluate(NixImage("nix/demo", arguments, OPTIONS), PROJECT, preview=True)


@pytest.fixture
def image(arm_parts: Path) -> Iterator[tuple[info.ImageInfo, ImageFile]]:
    """What the image says of itself, and its disk."""
    evaluation = evaluated(arm_parts)
    output = build.realise(evaluation, root=None, say=lambda _: None, options=OPTIONS)
    said = {**info.of_builder(evaluation.system), **info.of_register(evaluation.register, "the image")}
    with ImageFile(output / "disk.raw") as disk:
        yield info.resolve(said, {}), disk


@pytest.mark.machines
def test_it_says_what_it_is_for_and_boots_there(image: tuple[info.ImageInfo, ImageFile]) -> None:
    """A release for Graviton would boot in AWS for the first time, or be registered as what Nix builds it on."""
    said, disk = image
    assert (said.architecture, said.boot_mode) == ("arm64", "uefi")
    refuse_unbootable(disk, said)
    hardware = Hardware(architecture=said.architecture, boot_mode=said.boot_mode, memory=256)
    end = time.monotonic() + DEADLINE
    with QemuMachines(health_checker, "tcg").start(disk, hardware, CHECK, nothing) as machine:
        while machine.ask(CHECK).status != 200:
            assert machine.ended() is None, machine.console()
            assert time.monotonic() < end, machine.console()
            time.sleep(0.2)
        while f"serving on :8080 as {INSTANCE}" not in machine.console():  # a serial port is slower than the network
            assert time.monotonic() < end, machine.console()
            time.sleep(0.2)


def test_parts_for_another_architecture_are_refused(parts: Path, arm_parts: Path) -> None:
    """The image would fail while it is built, or never boot, and not say why."""
    with pytest.raises(FleetswapError, match=r"kernel in \S+ is not for arm64: run nix/demo/fetch-kernel ANOTHER-FOLD"):
        evaluated(parts)
    with pytest.raises(FleetswapError, match="is not for x86_64"):
        evaluated(arm_parts, architecture="x86_64")
    with pytest.raises(FleetswapError, match="must be x86_64 or arm64"):
        evaluated(arm_parts, architecture="sparc")


def test_it_opens_no_secrets(arm_parts: Path, tmp_path: Path) -> None:
    """It would be built with a program for x86-64, and fail at boot."""
    sealed = tmp_path / "sealed.yaml"
    sealed.write_text("demo: ENC[AES256_GCM,data:x]\n")
    with pytest.raises(FleetswapError, match="for arm64 there is no sops here: do without secrets"):
        evaluated(arm_parts, secrets=str(sealed))
