"""The demo image on a machine with a TPM: it has measured what was predicted of the image, and nothing else."""

from __future__ import annotations

import hashlib
import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetswap.domain.boot.measured import ZERO
from fleetswap.domain.image.info import DEFAULT
from fleetswap.workflows.image.image_file import ImageFile
from fleetswap.workflows.image.measure import of_image

pytestmark = pytest.mark.machines

DEADLINE = 180
"""Seconds. It takes 10 on an idle computer."""

FIRMWARE = "/usr/share/ovmf/OVMF.fd"

PCR_EXTEND, SHA384 = 0x182, 0xC
"""TPM 2.0 Library, part 2: TPM_CC_PCR_Extend, TPM_ALG_SHA384."""

SIZES = {0x4: 20, 0xB: 32, SHA384: 48, 0xD: 64}


def extended(log: str) -> dict[int, str]:
    """The PCRs of the SHA-384 bank, from the commands that swtpm says it got (part 3, TPM2_PCR_Extend)."""
    pcrs: dict[int, bytes] = defaultdict(lambda: bytes.fromhex(ZERO))
    for length, lines in re.findall(r"SWTPM_IO_Read: length (\d+)\n((?: [ 0-9A-F]+\n)+)", log):
        command = bytes.fromhex("".join(lines.split()))[: int(length)]
        if int.from_bytes(command[6:10]) != PCR_EXTEND:
            continue
        pcr, at = int.from_bytes(command[10:14]), 22 + int.from_bytes(command[14:18])
        while at < len(command):
            bank = int.from_bytes(command[at : at + 2])
            if bank == SHA384:
                pcrs[pcr] = hashlib.sha384(pcrs[pcr] + command[at + 2 : at + 50]).digest()
            at += 2 + SIZES[bank]
    return {pcr: value.hex() for pcr, value in pcrs.items()}


def test_a_machine_measures_what_was_predicted(demo: Callable[[str], Path], tmp_path: Path) -> None:
    """KMS would refuse every machine of an attested release."""
    disk, console, log = demo("1") / "disk.raw", tmp_path / "console", tmp_path / "log"
    with ImageFile(disk) as image:
        predicted = of_image(image, DEFAULT)
    tpm = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={tmp_path}", "--flags", "startup-clear", "--terminate"]
    tpm += ["--ctrl", f"type=unixio,path={tmp_path / 'ctrl'}", "--log", f"level=20,file={log}"]
    machine = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-machine", "q35,smm=off"]
    machine += ["-accel", "tcg", "-cpu", "max", "-m", "256", "-bios", FIRMWARE]
    machine += ["-drive", f"if=none,id=root,format=raw,readonly=on,file={disk}"]
    machine += ["-device", "nvme,drive=root,serial=vol1,bootindex=0", "-serial", f"file:{console}"]
    machine += ["-chardev", f"socket,id=tpm,path={tmp_path / 'ctrl'}", "-tpmdev", "emulator,id=tpm0,chardev=tpm"]
    machine += ["-device", "tpm-crb,tpmdev=tpm0"]
    end = time.monotonic() + DEADLINE
    with subprocess.Popen(tpm, stdin=subprocess.DEVNULL) as swtpm:
        while not (tmp_path / "ctrl").exists():
            assert swtpm.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        with subprocess.Popen(machine, stdin=subprocess.DEVNULL) as process:
            try:
                while "userland after" not in (console.read_text(errors="replace") if console.exists() else ""):
                    assert process.poll() is None
                    assert time.monotonic() < end
                    time.sleep(0.1)
            finally:
                process.kill()
                process.wait()
                swtpm.kill()
    measured = extended(log.read_text(errors="replace"))
    assert measured[0] != ZERO, "the firmware measures nothing"
    assert dict(predicted) == {pcr: measured.get(int(pcr), ZERO) for pcr, _ in predicted}
