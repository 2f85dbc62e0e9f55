"""Finds what a boot test needs on this computer: QEMU's programs, UEFI firmware, an accelerator that works.

It starts no machine but the one by which it finds out whether an accelerator works.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetswap.domain.boot import firmware as decisions
from fleetswap.domain.boot.machine import LEGACY, PROGRAMS, Firmware, Hardware, probe_command, probe_disk
from fleetswap.domain.errors import InputError
from fleetswap.domain.text import one_line

AUTO, TCG = "auto", "tcg"
ACCELERATORS = (AUTO, "kvm", "hvf", TCG)
"""`auto` is the first of kvm (Linux) and hvf (macOS) that works, else tcg, which emulates."""

PROBE_SECONDS = 3.0
"""In which a machine must run a few instructions for its accelerator to count as one: 0.3 s is usual. Where a computer
is itself a virtual machine, there may be a KVM under which guests hang, or which is slower than emulation."""

ASK_SECONDS = 30.0
"""For QEMU to say its version."""

QEMU_IMG = "qemu-img"

SHARED = Path("/usr/share/qemu/firmware")
"""Where distributions put descriptors, also for a QEMU that is not theirs."""

HOW_TO_GET = (
    "install QEMU and UEFI firmware (Debian: qemu-system-x86 or qemu-system-arm, qemu-utils, ovmf or"
    " qemu-efi-aarch64; Homebrew and nixpkgs: qemu), or do without the boot test"
)


@dataclass(frozen=True)
class Found:
    """What a machine is made with on this computer."""

    program: Path
    version: str
    firmware: Firmware | None
    accelerator: str

    @property
    def line(self) -> str:
        """All of it, for people."""
        code = f", {self.firmware.code}" if self.firmware is not None else ""
        return f"{self.version} ({self.accelerator}{code})"


def find(hardware: Hardware, accelerator: str) -> Found:
    """What there is for a machine. `InputError` if something is missing, or if an accelerator that is named fails."""
    name = PROGRAMS[hardware.architecture]
    program, image_tool = shutil.which(name), shutil.which(QEMU_IMG)
    missing = [each for each, path in ((name, program), (QEMU_IMG, image_tool)) if path is None]
    if program is None or missing:
        raise InputError(f"a boot test needs {' and '.join(missing)}, not found on PATH: {HOW_TO_GET}")
    if hardware.boot_mode == LEGACY and hardware.architecture == "arm64":
        raise InputError("an arm64 machine does not boot with a BIOS: set the image's boot mode to uefi")
    version = _version(program)
    chosen = None if hardware.boot_mode == LEGACY else _firmware(program, hardware.architecture)
    return Found(Path(program), version, chosen, _accelerator(program, hardware.architecture, accelerator))


def _version(program: str) -> str:
    line = _said(program, "--version").partition("\n")[0]
    if not line:
        raise InputError(f"{program} does not say its version: reinstall QEMU")
    return line


def _firmware(program: str, architecture: str) -> Firmware:
    folders = [str(Path(line)) for line in _said(program, "-L", "help").splitlines() if line.startswith("/")]
    places = [
        Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "qemu", "firmware"),
        Path("/etc/qemu/firmware"),
        *(Path(folder, "firmware") for folder in folders),
        SHARED,
    ]
    candidates = [
        *decisions.described(_descriptors(places), architecture),
        *decisions.usual(architecture, folders),
    ]
    found = decisions.first(candidates, lambda path: Path(path).is_file())
    if found is None:
        raise InputError(f"a boot test needs UEFI firmware for {architecture}, and QEMU has none: {HOW_TO_GET}")
    return found


def _descriptors(places: list[Path]) -> Iterator[dict[str, Any]]:
    """By name; of one name, the first place counts (QEMU's docs/interop/firmware.json)."""
    files: dict[str, Path] = {}
    for place in places:
        try:
            for each in place.glob("*.json"):
                files.setdefault(each.name, each)
        except OSError:
            continue
    for name in sorted(files):
        try:
            read = json.loads(files[name].read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # an empty one hides those of its name
        if isinstance(read, dict):
            yield read


def _accelerator(program: str, architecture: str, wanted: str) -> str:
    if wanted == TCG:
        return TCG
    known = _said(program, "-accel", "help").split()
    for each in ("kvm", "hvf") if wanted == AUTO else (wanted,):
        if each in known and _is_native(architecture) and _works(architecture, each):
            return each
    if wanted != AUTO:
        raise InputError(
            f"a machine does not run with the accelerator {wanted} on this computer: use auto, or tcg, which emulates"
        )
    return TCG


def _is_native(architecture: str) -> bool:
    return {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}.get(os.uname().machine) == architecture


def _works(architecture: str, accelerator: str) -> bool:
    """Whether a machine runs to its end with it, now."""
    if accelerator == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    with tempfile.TemporaryDirectory(prefix="fleetswap-probe-") as folder:
        Path(folder, "disk").write_bytes(probe_disk(architecture))
        command, status = probe_command(architecture, accelerator, "disk")
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, stdin=subprocess.DEVNULL, timeout=PROBE_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == status


def _said(program: str, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [program, *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=ASK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"{program} does not run ({one_line(error)}): reinstall QEMU") from error
    return done.stdout
