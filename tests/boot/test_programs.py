"""What is found on a computer: with programs that say what a real QEMU would say, on a PATH of their own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fleetswap.domain.boot import firmware
from fleetswap.domain.boot.machine import Firmware, Hardware
from fleetswap.domain.errors import InputError
from fleetswap.qemu import programs

QEMU = """#!/bin/sh
case "$*" in
--version) echo "QEMU emulator version 9.1.0"; echo "Copyright" ;;
"-L help") echo "{data}" ;;
"-accel help") printf 'Accelerators supported in QEMU binary:\\ntcg\\nkvm\\n' ;;
*kvm*) {kvm} ;;
*) exit 97 ;;
esac
"""


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with QEMU for x86-64, without firmware."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "data" / "firmware").mkdir(parents=True)
    install(tmp_path)
    (tmp_path / "bin" / "qemu-img").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "x", "6", "1", "x86_64")))
    monkeypatch.setattr(os, "access", lambda *_: True)
    monkeypatch.setattr(firmware, "usual", lambda *_: [])
    monkeypatch.setattr(programs, "SHARED", tmp_path / "shared")
    return tmp_path


def install(computer: Path, name: str = "qemu-system-x86_64", kvm: str = "exit 33") -> None:
    program = computer / "bin" / name
    program.write_text(QEMU.format(data=computer / "data", kvm=kvm))
    program.chmod(0o755)


def describe(computer: Path, name: str, code: str, where: str = "data/firmware") -> Firmware:
    """Firmware with a descriptor of this name."""
    found = Firmware(str(computer / f"{code}.code"), str(computer / f"{code}.vars"))
    for path in (found.code, found.nvram):
        Path(path).touch()
    descriptor = {
        "interface-types": ["uefi"],
        "mapping": {
            "device": "flash",
            "executable": {"filename": found.code, "format": "raw"},
            "nvram-template": {"filename": found.nvram, "format": "raw"},
        },
        "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
        "features": [],
    }
    (computer / where).mkdir(parents=True, exist_ok=True)
    (computer / where / name).write_text(json.dumps(descriptor))
    return found


def test_what_a_machine_is_made_with_is_told(computer: Path) -> None:
    """Nobody could tell why an image passes on one computer and fails on another."""
    made = describe(computer, "60-x.json", "one")
    found = programs.find(Hardware(), "auto")
    assert found.firmware == made
    assert found.line == f"QEMU emulator version 9.1.0 (kvm, {made.code})"


def test_the_users_descriptors_go_before_qemus_and_names_decide_the_order(computer: Path) -> None:
    """Whoever puts another firmware in front, as QEMU's documentation says, would get the old one."""
    describe(computer, "50-b.json", "qemus")
    first = describe(computer, "40-a.json", "first")
    (computer / "data" / "firmware" / "30-broken.json").write_text("{")
    (computer / "data" / "firmware" / "31-list.json").write_text("[]")
    assert programs.find(Hardware(), "tcg").firmware == first
    own = describe(computer, "40-a.json", "own", where="config/qemu/firmware")
    assert programs.find(Hardware(), "tcg").firmware == own


def test_a_bios_needs_no_firmware(computer: Path) -> None:
    """An image for a BIOS would need OVMF to be tested."""
    assert computer.is_dir()
    assert programs.find(Hardware(boot_mode="legacy-bios"), "tcg").firmware is None


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("qemu-system-x86_64", "needs qemu-system-x86_64, not found on PATH: install QEMU"),
        ("qemu-img", "needs qemu-img, not found on PATH: install QEMU"),
        ("", "needs UEFI firmware for x86_64, and QEMU has none: install QEMU and UEFI firmware"),
    ],
)
def test_what_is_missing_is_told_with_what_to_install(computer: Path, missing: str, words: str) -> None:
    """A traceback would say it, after the build."""
    if missing:
        (computer / "bin" / missing).unlink()
    with pytest.raises(InputError, match=words):
        programs.find(Hardware(), "tcg")


@pytest.mark.parametrize("kvm", ["exit 1", "exec /bin/sleep 60", "exit 134"])
def test_an_accelerator_that_does_not_run_a_machine_is_not_used(
    computer: Path, monkeypatch: pytest.MonkeyPatch, kvm: str
) -> None:
    """Where guests hang under KVM, every image would be refused."""
    monkeypatch.setattr(programs, "PROBE_SECONDS", 0.2)
    describe(computer, "60-x.json", "one")
    install(computer, kvm=kvm)
    assert programs.find(Hardware(), "auto").accelerator == "tcg"
    with pytest.raises(InputError, match="does not run with the accelerator kvm on this computer: use auto, or tcg"):
        programs.find(Hardware(), "kvm")


def test_another_architecture_is_emulated(computer: Path) -> None:
    """QEMU would refuse to start."""
    install(computer, "qemu-system-aarch64")
    with pytest.raises(InputError, match="UEFI firmware for arm64"):
        programs.find(Hardware("arm64"), "auto")
    with pytest.raises(InputError, match="does not boot with a BIOS"):
        programs.find(Hardware("arm64", "legacy-bios"), "auto")
    describe(computer, "60-x.json", "one")
    path = computer / "data" / "firmware" / "60-x.json"
    path.write_text(path.read_text().replace("x86_64", "aarch64").replace("pc-q35", "virt"))
    assert programs.find(Hardware("arm64"), "auto").accelerator == "tcg"


def test_a_program_that_does_not_run_is_told(computer: Path) -> None:
    """A QEMU for another processor would be a traceback."""
    describe(computer, "60-x.json", "one")
    (computer / "bin" / "qemu-system-x86_64").write_text("no program")
    with pytest.raises(InputError, match=r"does not run .*: reinstall QEMU"):
        programs.find(Hardware(), "tcg")
    (computer / "bin" / "qemu-system-x86_64").write_text("#!/bin/sh\n")
    with pytest.raises(InputError, match="does not say its version: reinstall QEMU"):
        programs.find(Hardware(), "tcg")
