"""Machines follow their instances: real QEMUs, with empty disks, whose firmware says what it finds."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from localcloud.attestation.documents import Attestor
from localcloud.compute import hypervisor
from localcloud.compute.hypervisor import Hypervisor, _monitor
from localcloud.processes.children import Children
from localcloud.processes.process import Process
from localcloud.view import Cloud, Instance, Root
from tests.localcloud.balancer.world import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.machines, pytest.mark.disks]

ROOT = Root("snap-0a", 1, encrypted=True, uefi=False)
CERTIFICATE = "-----BEGIN CERTIFICATE-----\n"
INSTANCE = Instance("i-0a", "running", "10.211.1.4", ("sg-1",), root=ROOT)


class EmptyVolumes:
    """Volumes of zeros; remembers what was asked of it."""

    def __init__(self) -> None:
        self.made: list[tuple[str, int, bool]] = []
        self.broken = False

    def materialize(self, snapshot_id: str, dest: Path, *, size_gib: int, encrypted: bool) -> None:
        if self.broken:
            raise ValueError(f"{snapshot_id} is not completed")
        self.made.append((snapshot_id, size_gib, encrypted))
        with dest.open("wb") as disk:
            disk.truncate(size_gib * 2**30)


class Host:
    """A hypervisor and what it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.volumes = EmptyVolumes()
        self.children = Children(folder / "children")
        self.hypervisor = Hypervisor(folder, self.volumes, self.children, lambda: CERTIFICATE, Attestor(folder))
        self.instances = {INSTANCE.id: INSTANCE}
        self.doors: dict[str, set[int]] = {INSTANCE.id: {8080}}
        self.snapshots = frozenset({"snap-0a"})
        self.may_stop = True
        self.went_off: list[str] = []

    def follow(self) -> None:
        cloud = Cloud(dict(self.instances), image_snapshots=self.snapshots)
        self.went_off += self.hypervisor.follow(cloud, self.doors, may_stop=lambda _: self.may_stop)

    def settle(self, true: Callable[[], object], what: str) -> None:
        def followed() -> object:
            self.follow()
            return true()

        until(followed, what)

    def running(self, instance_id: str = INSTANCE.id) -> int:
        """Its process id, once it runs."""
        self.settle(lambda: instance_id in self.hypervisor.running(), "the machine")
        return self.hypervisor.running()[instance_id]

    def becomes(self, state: str, instance_id: str = INSTANCE.id) -> None:
        self.instances[instance_id] = replace(self.instances[instance_id], state=state)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A hypervisor with one instance that should run."""
    # Longer than a Unix socket's address may be: the folder of a project may be anywhere.
    folder = tmp_path / ("deep-" * 20)
    folder.mkdir()
    host = Host(folder)
    try:
        yield host
    finally:
        host.hypervisor.stop()
        host.children.end_all()


def opened(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def test_a_machine_starts_and_its_console_is_read(host: Host) -> None:
    """A deploy of an image that cannot boot would fail without a word of why."""
    host.running()
    host.settle(lambda: "No bootable device" in host.hypervisor.console_output(INSTANCE.id), "the BIOS's complaint")
    assert host.volumes.made == [("snap-0a", 1, True)]
    assert host.hypervisor.console_output("i-unknown") == ""


def test_a_machine_is_told_whom_the_local_cloud_trusts_where_ec2_has_nothing(host: Host) -> None:
    """A machine could not call AWS's services, whose certificates here no image knows."""
    process = Path(f"/proc/{host.running()}")
    arguments = (process / "cmdline").read_text().split("\0")
    item = arguments[arguments.index("-fw_cfg") + 1]
    name, file = (part.partition("=")[2] for part in item.split(","))
    assert name == "opt/io.systemd.credentials/fleetswap.ca"
    assert (process / "cwd" / file).read_text() == CERTIFICATE


def test_a_uefi_image_gets_uefi_firmware(host: Host) -> None:
    """An AMI with the wrong boot mode would boot here and never in AWS."""
    host.instances[INSTANCE.id] = replace(INSTANCE, root=replace(ROOT, uefi=True))
    host.running()
    host.settle(lambda: "BdsDxe" in host.hypervisor.console_output(INSTANCE.id), "the firmware's name")


def test_an_image_for_arm_gets_a_machine_for_arm(host: Host) -> None:
    """An AMI for Graviton would be registered here and never seen to run."""
    host.instances[INSTANCE.id] = replace(INSTANCE, root=replace(ROOT, uefi=True, arm=True))
    program = Path(f"/proc/{host.running()}/exe").resolve().name
    assert program == "qemu-system-aarch64"
    host.settle(lambda: "BdsDxe" in host.hypervisor.console_output(INSTANCE.id), "the firmware's name")


def tpms(host: Host) -> list[Process]:
    """The TPMs that run."""
    children = [Process.parse(line) for line in (host.folder / "children").read_text().splitlines()]
    alive = [child for child in children if child and child.alive]
    return [child for child in alive if Path(f"/proc/{child.pid}/comm").read_text() == "swtpm\n"]


def test_a_machine_has_a_tpm_if_its_image_asks_for_one(host: Host) -> None:
    """A machine could attest nothing, or every machine would have a TPM, which EC2's have not; or a TPM would stay."""
    host.running()
    assert tpms(host) == []
    host.instances["i-0b"] = replace(
        INSTANCE, id="i-0b", private_ip="10.211.1.5", root=replace(ROOT, uefi=True, tpm=True)
    )
    host.running("i-0b")
    (tpm,) = tpms(host)
    state = host.folder / "instances" / "i-0b" / "tpm"
    host.settle((state / "tpm2-00.permall").exists, "QEMU's first word to its TPM")
    host.becomes("stopped", "i-0b")
    host.settle(lambda: not host.hypervisor.running().get("i-0b") and not tpm.alive, "the end of both")
    assert state.exists()
    host.becomes("running", "i-0b")
    host.running("i-0b")
    (tpm,) = tpms(host)
    host.becomes("terminated", "i-0b")
    host.settle(lambda: not tpm.alive and not state.exists(), "the end")


def test_ports_follow_what_load_balancers_call(host: Host) -> None:
    """A port that no load balancer calls would be open on this machine, or one that a new target has stay closed."""
    host.running()
    host.settle(lambda: opened("127.211.1.4", 8080), "the open port")
    host.doors[INSTANCE.id] = {9090, 9091}
    host.settle(lambda: opened("127.211.1.4", 9091) and not opened("127.211.1.4", 8080), "the other ports")


def test_ports_follow_although_answers_of_the_monitor_get_lost(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy computer a port would stay open for ever, or be called one that something else has."""
    asked: set[str] = set()

    def deaf(folder: Path, command: str) -> str | None:
        answer = _monitor(folder, command)
        if answer is None or command in asked:
            return answer
        asked.add(command)
        return None  # done, and its answer came too late

    monkeypatch.setattr(hypervisor, "_monitor", deaf)
    host.running()
    host.settle(lambda: opened("127.211.1.4", 8080), "the open port")
    host.doors[INSTANCE.id] = {9090}
    host.settle(lambda: opened("127.211.1.4", 9090) and not opened("127.211.1.4", 8080), "the other port")
    host.settle(lambda: host.hypervisor.forwards(INSTANCE.id, 9090), "the answer of its monitor")
    assert not host.hypervisor.problems()


def test_a_machine_is_connected_to_only_once_it_survives_that(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy computer, the first request to a machine that starts would end its QEMU: an instance would go off."""
    heard: list[str] = []

    def busy(folder: Path, command: str) -> str | None:
        heard.append(command)
        return _monitor(folder, command) if heard.count(command) > 1 else None

    monkeypatch.setattr(hypervisor, "_monitor", busy)
    host.running()
    assert not host.hypervisor.attached()
    host.settle(lambda: opened("127.211.1.4", 8080), "the open port")
    assert host.hypervisor.attached()
    opening = next(index for index, command in enumerate(heard) if command.startswith("hostfwd_add"))
    assert set(heard[:opening]) == {"set_link host off"}


def test_a_late_answer_of_the_monitor_is_not_taken_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port would be told as one that something else has, or forgotten while it is open."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hypervisor, "QMP_SECONDS", 60.0)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("qmp.sock")
        listener.listen()

        def monitor() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rw") as qmp:
                print('{"QMP": {}}', file=qmp, flush=True)
                print('{"return": "late", "id": "of another"}', file=qmp)
                for answer in ("able", "in time"):
                    print(json.dumps({"return": answer, "id": json.loads(qmp.readline())["id"]}), file=qmp, flush=True)

        thread = threading.Thread(target=monitor)
        thread.start()
        assert _monitor(tmp_path, "info network") == "in time"
        thread.join()


def test_a_port_that_something_else_has_is_told_and_taken_when_it_is_free(host: Host) -> None:
    """A machine would boot and never be reached, without a reason."""
    with socket.socket() as taken:
        taken.bind(("127.211.1.4", 8080))
        host.running()
        host.settle(host.hypervisor.problems, "the problem")
        assert "i-0a: port 8080" in host.hypervisor.problems()[0]
    host.settle(lambda: opened("127.211.1.4", 8080) and not host.hypervisor.problems(), "the port")


def test_a_terminated_machine_ends_when_its_requests_have(host: Host) -> None:
    """A scale-in would cut requests off; or leave machines, and their disks, behind."""
    machine = Process.of(host.running())
    assert machine is not None
    host.becomes("terminated")
    host.may_stop = False
    for _ in range(20):
        host.follow()
        assert machine.alive
        time.sleep(0.02)  # a QEMU that was asked to end does so within this
    host.may_stop = True
    host.settle(lambda: not machine.alive and not list(host.folder.rglob("root.qcow2")), "its end")
    assert host.went_off == []
    assert list(host.folder.glob("volumes/*"))
    host.snapshots = frozenset()  # the AMI is deregistered
    host.follow()
    assert list(host.folder.glob("volumes/*")) == []


def test_a_stopped_machine_starts_again_with_its_disk(host: Host) -> None:
    """Stopping an instance would wipe it."""
    first = host.running()
    overlay = next(host.folder.rglob("root.qcow2"))
    inode = overlay.stat().st_ino
    host.becomes("stopped")
    host.settle(lambda: not host.hypervisor.running(), "its end")
    host.becomes("running")
    assert host.running() != first
    assert overlay.stat().st_ino == inode
    assert host.went_off == []


def test_a_machine_that_is_started_while_it_ends_starts_again(host: Host) -> None:
    """An instance that was stopped and started would stay off, as if it had gone off by itself."""
    first = host.running()
    host.becomes("stopped")
    host.follow()
    until(lambda: not host.hypervisor.running(), "its end, which nobody follows")
    host.becomes("running")
    assert host.running() != first
    assert host.went_off == []


def test_a_machine_that_goes_off_by_itself_is_reported_once(host: Host) -> None:
    """A machine that panicked would count as running for ever."""
    os.kill(host.running(), signal.SIGKILL)
    host.settle(lambda: host.went_off, "the report")
    host.follow()
    assert host.went_off == [INSTANCE.id]
    assert host.hypervisor.running() == {}


def test_machines_of_one_image_share_its_volume(host: Host) -> None:
    """Every machine of a fleet would take the image's time and disk space again."""
    host.instances["i-0b"] = replace(INSTANCE, id="i-0b", private_ip="10.211.1.5")
    host.running()
    host.running("i-0b")
    assert host.volumes.made == [("snap-0a", 1, True)]
    host.instances["i-0c"] = replace(INSTANCE, id="i-0c", root=replace(ROOT, size_gib=2), private_ip="10.211.1.6")
    host.running("i-0c")
    assert host.volumes.made[1:] == [("snap-0a", 2, True)]


def test_a_volume_that_cannot_be_made_stops_its_own_machine_only(host: Host) -> None:
    """One bad snapshot would keep every other machine from starting."""
    host.volumes.broken = True
    host.settle(lambda: host.went_off == [INSTANCE.id], "the report")
    host.volumes.broken = False
    host.instances["i-0b"] = replace(INSTANCE, id="i-0b", private_ip="10.211.1.5")
    host.running("i-0b")


def test_a_child_like_its_parent_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The router, a Python started by Python, would hold up all machines, which then boot without a network."""
    left = iter(range(20_000))

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        assert next(left, None) is not None, "it runs, and nobody sees it"

    monkeypatch.setattr("localcloud.processes.children.time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
    children = Children(tmp_path / "children")
    try:
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        assert children.start(command, cwd=tmp_path, log=tmp_path / "log").running
    finally:
        monkeypatch.undo()
        children.end_all()


def test_children_die_with_the_process_that_started_them(tmp_path: Path) -> None:
    """A local cloud that was killed would leave its machines running, and their ports taken."""
    program = (
        "import os, signal, sys; from pathlib import Path; from localcloud.processes.children import Children;"
        "folder = Path(sys.argv[1]); children = Children(folder / 'children');"
        "child = children.start(['sleep', '600'], cwd=folder, log=folder / 'log');"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run(["python", "-c", program, str(tmp_path)], check=False)
    child = Process.parse((tmp_path / "children").read_text())
    assert child is not None
    until(lambda: not child.alive, "the child's death")
