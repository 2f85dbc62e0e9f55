"""The demo image as a derivation and as a disk, without booting it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.domain.image.evaluation import Evaluation
from tests.nix.conftest import DEMO, OPTIONS, name

Demo = Callable[[str], Path]
MIB = 1024 * 1024


def named(parts: Path, version: str) -> Evaluation:
    return name(DEMO, version=version, parts=str(parts))


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_built_twice_it_has_the_same_bytes(parts: Path, demo: Demo) -> None:
    """Two machines that build the same commit would ship two images under one store path."""
    demo("1")
    drv = named(parts, "1").derivation
    options = [part for name, value in OPTIONS.items() for part in ("--option", name, value)]
    done = subprocess.run(
        ["nix-store", *options, "--realise", "--check", drv], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_its_files_carry_no_time_of_the_build(demo: Demo) -> None:
    """Built at another time, the disk would have other bytes; a check within the same two seconds would not see it."""
    listing = output("mdir", "-i", f"{demo('1') / 'disk.raw'}@@1M", "-/", "::")
    times = [line for line in listing.splitlines() if "<DIR>" in line or "BOOTX64" in line]
    assert len(times) == 7  # EFI, BOOT, the executable, and two dots in each folder
    assert all("2025-01-01" in line for line in times)


def test_it_is_a_gpt_disk_that_firmware_boots(demo: Demo) -> None:
    """UEFI firmware, EC2's or QEMU's, would find nothing to start."""
    disk = demo("1") / "disk.raw"
    assert "No problems found" in output("sgdisk", "--verify", disk)
    assert "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" in output("sgdisk", "--info=1", disk)  # the EFI system partition
    executable = subprocess.run(
        ["mcopy", "-n", "-i", f"{disk}@@1M", "::/EFI/BOOT/BOOTX64.EFI", "-"], check=True, capture_output=True
    ).stdout
    assert executable.startswith(b"MZ")
    assert b"console=ttyS0" in executable
    assert disk.stat().st_size % MIB == 0
    assert disk.stat().st_size <= 24 * MIB


def test_versions_are_different_images_that_differ_little(parts: Path, demo: Demo) -> None:
    """A new version would not be deployed, or an incremental upload would send nearly all of it."""
    assert named(parts, "1") == named(parts, "1")
    assert named(parts, "1") != named(parts, "2")
    one, two = ((demo(version) / "disk.raw").read_bytes() for version in ("1", "2"))
    block = 512 * 1024
    differing = [at for at in range(0, len(one), block) if one[at : at + block] != two[at : at + block]]
    assert 1 <= len(differing) <= 3


def test_another_kernel_is_another_image(parts: Path, tmp_path: Path) -> None:
    """A kernel with a security fix would not be deployed, since the store path stayed."""
    copy = tmp_path / "parts"
    subprocess.run(["cp", "-r", parts, copy], check=True)
    assert named(copy, "1") == named(parts, "1")
    with (copy / "vmlinuz").open("ab") as kernel:
        kernel.write(b"x")
    assert named(copy, "1") != named(parts, "1")


@pytest.mark.parametrize("version", ["", "a b", "x" * 33, "1/2", 'a"b', "1\n"])
def test_a_bad_version_is_refused(parts: Path, version: str) -> None:
    """A version could break out of the scripts or names that it is put into."""
    with pytest.raises(InputError, match=r"must be 1 to 32 of the characters A-Z a-z 0-9 \. _ -"):
        named(parts, version)


def test_without_the_kernel_the_remedy_is_to_fetch_it(tmp_path: Path) -> None:
    """A fresh checkout would show nix's error about a path that does not exist."""
    with pytest.raises(InputError, match=f"no kernel in {tmp_path}: run nix/demo/fetch-kernel {tmp_path}"):
        named(tmp_path, "1")


def test_the_manifest_in_a_preview_is_the_one_that_is_built(parts: Path, demo: Demo) -> None:
    """The package changes that a reviewer reads would not be those of the image."""
    evaluated = named(parts, "7").packages
    assert evaluated["fleetswap-demo"] == "7"
    assert {"linux-image-cloud-amd64", "busybox-static", "systemd-boot-efi"} < evaluated.keys()
    built = dict(line.split(" ", 1) for line in (demo("1") / "packages").read_text().splitlines())
    assert built == {**evaluated, "fleetswap-demo": "1"}


def test_fetching_leaves_a_complete_folder_alone(parts: Path) -> None:
    """Every `make up` would ask the network, and change each version's image when Debian has a newer kernel."""
    before = {path: path.stat().st_mtime_ns for path in parts.rglob("*")}
    done = subprocess.run([DEMO / "fetch-kernel", parts], env={"PATH": "/nowhere"}, check=False)
    assert done.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in parts.rglob("*")} == before


def test_fetching_removes_nothing_that_it_did_not_make(tmp_path: Path) -> None:
    """A wrong folder in the command would cost the user what lies in it."""
    (tmp_path / "mine").write_text("keep")
    done = subprocess.run([DEMO / "fetch-kernel", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is in the way" in done.stderr
    assert (tmp_path / "mine").read_text() == "keep"
