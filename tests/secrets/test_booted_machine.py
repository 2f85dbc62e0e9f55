"""The Debian machine with secrets, booted by QEMU in a network with a metadata service and a KMS.

systemd runs the unit of NixOS's module, and the machine itself looks for what it must not have kept.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetswap.domain.image.source import NixImage
from fleetswap.nix import build
from fleetswap.nix.evaluate import evaluate
from localcloud.compute.hypervisor import CA
from tests.nix.conftest import OPTIONS, PROJECT
from tests.secrets.aws_of_a_machine import INSTANCE
from tests.secrets.machine import SOPS, Machine, started

pytestmark = [pytest.mark.nix, pytest.mark.disks, pytest.mark.debian13, pytest.mark.machines]

MARKER = "hunter2-very-secret"
FIRMWARE = Path("/usr/share/OVMF")
SECONDS = 500
"""A machine takes half a minute, as a rule."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The network of the machines, with a sealed file."""
    subprocess.run([PROJECT / "nix/debian/fetch-parts", PROJECT / ".work/debian"], check=True)
    with started(tmp_path_factory.mktemp("booted")) as machine:
        machine.seal("sealed.yaml", {"demo": MARKER})
        yield machine


def built(sealed: Path) -> Path:
    """The disk of a machine that opens this file."""
    image = NixImage("nix/debian", {"version": "1", "secrets": str(sealed), "sops": str(SOPS.parent)}, OPTIONS)
    found = build.realise(evaluate(image, PROJECT, preview=True), root=None, say=lambda _: None, options=OPTIONS)
    return found / "debian.raw"


def boot(machine: Machine, disk: Path, until: str, *, answers: str = "") -> tuple[str, str]:
    """What the machine says up to a line, and what it answers then on a path."""
    (machine.folder / "console").unlink(missing_ok=True)
    overlay = machine.folder / "root.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "raw", overlay], check=True)
    command = f"""qemu-system-x86_64 -machine q35 -accel tcg -cpu max -m 512 -nodefaults -display none -no-reboot
        -drive if=pflash,format=raw,readonly=on,file={FIRMWARE}/OVMF_CODE_4M.fd
        -drive if=pflash,format=raw,snapshot=on,file={FIRMWARE}/OVMF_VARS_4M.fd
        -drive if=none,id=root,format=qcow2,cache=unsafe,file={overlay} -device nvme,drive=root,serial=vol0,bootindex=0
        -netdev user,id=net,hostfwd=tcp:127.0.0.1:8080-:8080 -device virtio-net-pci,netdev=net
        -fw_cfg name={CA},file={machine.folder}/ca.pem -serial file:{machine.folder}/console"""
    enter = ["nsenter", f"--target={machine.pid}", "--net", "--mount"]
    qemu = subprocess.Popen([*enter, *command.split()])
    try:
        end = time.monotonic() + SECONDS
        said = ""
        while until not in said:
            assert qemu.poll() is None
            assert time.monotonic() < end, said
            time.sleep(0.2)
            path = machine.folder / "console"
            said = path.read_text(errors="replace") if path.exists() else ""
        answered = machine.inside("curl", "--silent", "--max-time", "60", f"http://127.0.0.1:8080{answers}").stdout
        return said, answered
    finally:
        qemu.kill()
        qemu.wait()


def test_systemd_opens_the_secret_before_the_application_and_keeps_it_nowhere_else(machine: Machine) -> None:
    """The application would start without its secret, or the secret would be in the journal, a process or the image."""
    disk = built(machine.folder / "sealed.yaml")
    said, answered = boot(machine, disk, "the search for the secret has ended", answers="/secret")
    keyed = hmac.new(MARKER.encode(), INSTANCE.encode(), hashlib.sha256).hexdigest()
    assert answered == f"{INSTANCE} {keyed}\n"
    opened = re.search(r"fleetswap-secrets: opened \(secrets: 1, tries: \d+,", said)  # a busy computer may need two
    assert opened is not None, said
    assert opened.start() < said.index("fleetswap-debian version 1: started after")
    # The unit and the application have it, which shows that the search finds.
    assert re.findall(r"the secret is in (\S+)", said) == [
        "/run/credentials/web.service/demo",
        "/run/fleetswap-secrets/demo",
    ]
    assert MARKER not in said
    # On the disk, and so in the store, in the snapshot and in what is uploaded.
    found = subprocess.run(["grep", "-c", "-F", "-a", "-e", MARKER, disk], check=False, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (1, "0\n")
    assert subprocess.run(["grep", "-q", "-F", "-a", "open-secrets", disk], check=False).returncode == 0


def test_a_machine_that_cannot_open_its_secret_never_becomes_healthy_and_says_why(machine: Machine) -> None:
    """A release would serve without its secrets, or nobody could tell why, or sops would print the secret for all."""
    sealed = machine.changed("changed.yaml", r"(?<=,type:)str", "int")
    said, answered = boot(machine, built(machine.folder / sealed), "Dependency failed for", answers="/healthz")
    assert "fleetswap-secrets: the sealed file is damaged, or was changed after it was sealed (sops ends with" in said
    assert re.search(r"Dependency failed for .*web.service", said)
    assert answered == ""
    assert "fleetswap-debian version 1" not in said
    assert MARKER not in said
