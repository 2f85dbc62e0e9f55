"""The machines: a QEMU for each running instance, started from its AMI's snapshot.

Decides how a machine looks (firmware, disk, network, memory) and follows its instance: started when it runs, stopped
when it is stopped or terminated. Never changes an instance; that a machine went off by itself is reported by `follow`.

A machine has 256 MiB and one processor, whatever its instance type says. Its disk is an NVMe device, as on Nitro. Its
console is the file `console.log`. Each of its packets goes to the router of `localcloud.network` and nowhere else;
while that does not run, none passes. With the boot mode `uefi` or `uefi-preferred` it has UEFI firmware, else a BIOS,
as in EC2; a disk for the other firmware never boots, there as here. A machine of an AMI for arm64 is emulated, by UEFI
and without a TPM. If its AMI has TPM support, it has a TPM
(`compute.tpm`). In its firmware configuration is the certificate of the local cloud's authority (`CA`): EC2 has no such
thing, and an image that does not look there trusts what it would on EC2.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from localcloud.compute import tpm
from localcloud.compute.metadata import MetadataServer
from localcloud.network.router import HOST, NIC
from localcloud.network.topology import Machine as Plugged
from localcloud.processes.children import Child, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from localcloud.attestation.documents import Attestor
    from localcloud.processes.children import Children
    from localcloud.view import Cloud, Instance, Root

MEMORY_MIB = 256
CONSOLE_BYTES = 65_536  # what GetConsoleOutput answers (API reference)
CONSOLES_KEPT = 50  # of terminated instances; EC2 keeps a console for about an hour

FIRMWARE = Path("/usr/share/OVMF")  # Debian package ovmf
CODE, VARS = FIRMWARE / "OVMF_CODE_4M.fd", FIRMWARE / "OVMF_VARS_4M.fd"
ARM_FIRMWARE = Path("/usr/share/AAVMF")  # Debian package qemu-efi-aarch64
ARM_CODE, ARM_VARS = ARM_FIRMWARE / "AAVMF_CODE.fd", ARM_FIRMWARE / "AAVMF_VARS.fd"

CA_FILE = "ca.pem"
CA = "opt/io.systemd.credentials/fleetswap.ca"
"""The item of QEMU's fw_cfg with the authority's certificate, PEM. systemd imports it as the system credential
`fleetswap.ca` (systemd.system-credentials(7)); others read it below `/sys/firmware/qemu_fw_cfg/by_name/`."""

QMP_SECONDS = 2.0

log = logging.getLogger(__name__)


class Volumes(Protocol):
    """What makes a disk of a snapshot: see `snapshots.SnapshotStore`."""

    def materialize(self, snapshot_id: str, dest: Path, *, size_gib: int, encrypted: bool) -> None:
        """Write the raw disk of a volume to `dest`."""


@dataclass
class _Machine:
    folder: Path
    root: Root
    disk: Future[None] | None = None
    qemu: Child | None = None
    tpm: tpm.Tpm | None = None
    metadata: MetadataServer | None = None
    ready: bool = False  # the router may plug it in, and ports may be opened: see `_prepare`
    ports: frozenset[int] = frozenset()
    unsure: frozenset[int] = frozenset()  # asked for, without an answer yet: open or not
    off: bool = False  # it ended by itself, or could not start: only a stop and a start bring it back
    refused: set[int] = field(default_factory=set)


class Hypervisor:
    """All machines. `follow` and `stop` belong to one thread, which the machines do not outlive."""

    def __init__(
        self,
        directory: Path,
        volumes: Volumes,
        children: Children,
        ca: Callable[[], str],
        attestor: Attestor,
        *,
        accelerator: str = "tcg",
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`ca` gives the certificate of the local cloud's authority, PEM; `attestor` signs what TPMs attest."""
        self._instances, self._bases = directory / "instances", directory / "volumes"
        for folder in (self._instances, self._bases):
            shutil.rmtree(folder, ignore_errors=True)  # of an earlier run; the instances went with it
            folder.mkdir(parents=True)
        self._volumes = volumes
        self._children = children
        self._ca = ca
        self._attestor = attestor
        self._accelerator = accelerator
        self._changed = changed
        self._machines: dict[str, _Machine] = {}
        self._builder = ThreadPoolExecutor(1, thread_name_prefix="volumes")
        self._consoles: list[str] = []

    def follow(
        self, cloud: Cloud, doors: Mapping[str, Collection[int]], *, may_stop: Callable[[str], bool]
    ) -> list[str]:
        """Start and stop machines as their instances say; those that went off by themselves since the last time.

        `doors` are the ports of each instance that are opened at its address on this machine. A terminated
        instance's machine is stopped only when `may_stop` says so: its last requests end first.
        """
        gone_off = []
        for instance in cloud.instances.values():
            machine = self._machines.get(instance.id)
            try:
                if instance.state == "running":
                    if machine is None and instance.root is not None:
                        machine = self._machines[instance.id] = _Machine(self._instances / instance.id, instance.root)
                    if machine is not None and self._run(machine, instance, doors.get(instance.id, ())):
                        gone_off.append(instance.id)
                elif machine is not None and (instance.state != "terminated" or may_stop(instance.id)):
                    self._halt(machine, instance.id, destroy=instance.state == "terminated")
            except Exception:  # one machine's trouble must not stop the others
                log.exception("machine of %s", instance.id)
                if machine is not None and machine.qemu is None:
                    machine.off = True
                    gone_off.append(instance.id)
        self._prune(cloud)
        return gone_off

    def console_output(self, instance_id: str) -> str:
        """The end of what an instance's console said, at most 64 KiB; empty if it said nothing."""
        path = self._instances / instance_id / "console.log"
        try:
            with path.open("rb") as console:
                console.seek(max(0, path.stat().st_size - CONSOLE_BYTES))
                return console.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def running(self) -> dict[str, int]:
        """Process ids of the machines that run, by instance."""
        return {
            instance_id: machine.qemu.pid
            for instance_id, machine in list(self._machines.items())
            if machine.qemu is not None and machine.qemu.running
        }

    def attached(self) -> list[Plugged]:
        """The machines that the router may plug in."""
        return [
            Plugged(instance_id, str(machine.folder), machine.metadata.port)
            for instance_id, machine in self._machines.items()
            if machine.qemu is not None and machine.metadata is not None and machine.ready
        ]

    def kill(self, instance_id: str) -> None:
        """End one machine, as a power cut would; from any thread. The next `follow` finds it off."""
        machine = self._machines.get(instance_id)
        if machine is not None and machine.qemu is not None:
            machine.qemu.kill()

    def forwards(self, instance_id: str, port: int) -> bool:
        """Whether a port at the instance's address leads into its machine."""
        machine = self._machines.get(instance_id)
        return machine is not None and port in machine.ports

    def problems(self) -> list[str]:
        """Ports that could not be opened on this machine."""
        return [
            f"instance {instance_id}: port {port} could not be opened at its address on this machine"
            for instance_id, machine in sorted(self._machines.items())
            for port in sorted(machine.refused)
        ]

    def stop(self) -> None:
        """End every machine, as a power cut would, and stop making volumes."""
        self._builder.shutdown(wait=True, cancel_futures=True)
        for machine in self._machines.values():
            if machine.metadata is not None:
                machine.metadata.close()
        machines = [machine.qemu for machine in self._machines.values() if machine.qemu is not None]
        for qemu in machines:
            qemu.kill()
        for machine in self._machines.values():
            if machine.tpm is not None:
                machine.tpm.kill()
        self._machines.clear()

    def _run(self, machine: _Machine, instance: Instance, doors: Collection[int]) -> bool:
        """Bring a machine one step nearer to running; whether it just went off."""
        if machine.off or self._ends(machine):
            return False
        if machine.qemu is not None:
            if not machine.qemu.running:
                status = machine.qemu.returncode  # 0 if its own system has switched it off
                log.log(logging.WARNING if status else logging.INFO, "machine of %s went off: %s", instance.id, status)
                machine.off = True
                return True
            machine.ready = machine.ready or self._prepare(machine)
            if machine.ready:
                self._open(machine, instance, frozenset(doors))
            return False
        if machine.disk is None:
            machine.disk = self._builder.submit(self._build, machine)
            machine.disk.add_done_callback(lambda _: self._changed())
        if machine.disk.done():
            machine.disk.result()
            self._power_on(machine, instance)
        return False

    def _base(self, root: Root) -> Path:
        kind = "encrypted" if root.encrypted else "plain"
        return self._bases / f"{root.snapshot_id}-{root.size_gib}g-{kind}.raw"

    def _build(self, machine: _Machine) -> None:
        """Make the disk: a base that all machines of a snapshot share, and what this one writes on top of it."""
        machine.folder.mkdir(parents=True, exist_ok=True)
        base, overlay = self._base(machine.root), machine.folder / "root.qcow2"
        if not base.exists():
            self._volumes.materialize(
                machine.root.snapshot_id, base, size_gib=machine.root.size_gib, encrypted=machine.root.encrypted
            )
        if not overlay.exists():
            _tool("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(base.absolute()), str(overlay))
        if not (machine.folder / "vars.fd").exists():
            shutil.copyfile(ARM_VARS if machine.root.arm else VARS, machine.folder / "vars.fd")
        (machine.folder / CA_FILE).write_text(self._ca())

    def _power_on(self, machine: _Machine, instance: Instance) -> None:
        if machine.metadata is None:
            machine.metadata = MetadataServer(instance.id)
        command, inherited = qemu_command(self._accelerator, machine.root, instance.mac), []
        if machine.root.tpm:
            machine.tpm = tpm.Tpm(machine.folder, self._children, self._attestor, instance.id)
            command += tpm.devices(machine.tpm.qemu)
            inherited = [machine.tpm.qemu]
        machine.ready, machine.ports, machine.unsure = False, frozenset(), frozenset()
        machine.qemu = self._children.start(
            command, cwd=machine.folder, log=machine.folder / "qemu.log", inherited=inherited
        )
        if machine.tpm is not None:
            machine.tpm.handed_over()
        log.info("machine of %s started: pid %s, address %s", instance.id, machine.qemu.pid, instance.address)

    def _prepare(self, machine: _Machine) -> bool:
        """Pull the plug of the cable `host`; whether the monitor has answered. Harmless until the router is told of it.

        Until it listens there, which it begins in a thread, QEMU takes the cable for plugged in, and is killed by
        SIGSEGV when a packet comes: the first connection to a port (net/stream.c of 7.2). The router plugs it in.
        """
        return _monitor(machine.folder, "set_link host off") is not None

    def _open(self, machine: _Machine, instance: Instance, wanted: frozenset[int]) -> None:
        """Forward these ports and no others; the router judges who gets through."""
        for port in (machine.ports | machine.unsure) - wanted:
            self._close(machine, instance, port)
        machine.refused &= wanted
        for port in wanted - machine.ports:
            if port in machine.unsure and not self._close(machine, instance, port):
                return
            machine.unsure |= {port}
            answer = _monitor(machine.folder, f"hostfwd_add net0 tcp:{instance.address}:{port}-:{port}")
            if answer is None:
                return  # its monitor does not answer yet, or answered too late
            machine.unsure -= {port}
            if not answer:
                machine.ports |= {port}
                machine.refused.discard(port)
            elif port not in machine.refused:  # tried again until whatever has the port, has gone
                log.warning("instance %s: port %s: %s", instance.id, port, answer)
                machine.refused.add(port)

    def _close(self, machine: _Machine, instance: Instance, port: int) -> bool:
        """Forward this port no longer; whether the monitor has answered. That it was not forwarded is an answer too."""
        if _monitor(machine.folder, f"hostfwd_remove net0 tcp:{instance.address}:{port}") is None:
            return False
        machine.ports -= {port}
        machine.unsure -= {port}
        return True

    def _ends(self, machine: _Machine) -> bool:
        """Whether a machine that should run still ends, because it was to stop before."""
        return machine.qemu is not None and machine.qemu.ending and not self._end(machine)

    def _end(self, machine: _Machine) -> bool:
        """Ask its processes to end; whether they have."""
        if machine.qemu is not None and not machine.qemu.end():
            return False
        if machine.tpm is not None and not machine.tpm.end():
            return False
        machine.qemu, machine.tpm, machine.off = None, None, False
        return True

    def _halt(self, machine: _Machine, instance_id: str, *, destroy: bool) -> None:
        if not self._end(machine):
            return
        if not destroy or (machine.disk is not None and not machine.disk.done()):
            return
        if machine.metadata is not None:
            machine.metadata.close()
        for name in ("root.qcow2", "vars.fd"):
            (machine.folder / name).unlink(missing_ok=True)
        shutil.rmtree(machine.folder / tpm.FOLDER, ignore_errors=True)
        del self._machines[instance_id]
        self._consoles.append(instance_id)
        for old in self._consoles[:-CONSOLES_KEPT]:
            shutil.rmtree(self._instances / old, ignore_errors=True)
        del self._consoles[:-CONSOLES_KEPT]

    def _prune(self, cloud: Cloud) -> None:
        """Delete base volumes that no machine uses and no AMI is made of."""
        used = {self._base(machine.root) for machine in self._machines.values()}
        for base in self._bases.glob("*.raw"):
            snapshot = "-".join(base.name.split("-")[:2])  # snap-…
            if base not in used and snapshot not in cloud.image_snapshots:
                base.unlink()


def qemu_command(accelerator: str, root: Root, mac: str) -> list[str]:
    """QEMU's command line, for the folder of a machine as its working directory."""
    firmware = [
        *("-drive", f"if=pflash,format=raw,readonly=on,file={ARM_CODE if root.arm else CODE}"),
        *("-drive", "if=pflash,format=raw,file=vars.fd"),
    ]
    # Two cables to the router: the guest's network device, and a user network that ends TCP connections at this
    # computer's loopback, at the address `guests.HOST`. They meet in the router only: a guest at the user network
    # itself would reach all of this computer, and its network (qemu(1), "-netdev user").
    network = [
        *("-netdev", f"stream,id=nic,server=on,addr.type=unix,addr.path={NIC}"),
        *("-device", f"virtio-net-pci,netdev=nic,mac={mac},romfile="),
        *("-netdev", "user,id=net0,ipv6=off,net=198.18.0.0/15,host=198.18.0.1,dns=198.18.0.2,dhcpstart=198.18.0.15"),
        *("-netdev", "hubport,id=hub0,hubid=0,netdev=net0"),
        *("-netdev", f"stream,id=host,server=on,addr.type=unix,addr.path={HOST}"),
        *("-netdev", "hubport,id=hub1,hubid=0,netdev=host"),
    ]
    # pauth-impdef: the architecture's own pointer authentication takes an emulator half of its time.
    board = (
        ("qemu-system-aarch64", "-machine", "virt", "-accel", "tcg", "-cpu", "max,pauth-impdef=on")
        if root.arm
        else (
            "qemu-system-x86_64",
            *(
                "-machine",
                "q35" if root.uefi else "q35,graphics=off",
            ),  # graphics=off: SeaBIOS speaks at the serial port
            *("-accel", accelerator, "-cpu", "host" if accelerator == "kvm" else "max"),
        )
    )
    return [
        *board,
        *("-smp", "1"),
        *("-m", str(MEMORY_MIB), "-nodefaults", "-display", "none", "-no-reboot"),
        *(firmware if root.uefi else ()),
        *("-drive", "if=none,id=root,format=qcow2,file=root.qcow2,cache=unsafe"),  # the disk goes with the machine
        *("-device", "nvme,drive=root,serial=vol0,bootindex=0"),
        *network,
        *("-fw_cfg", f"name={CA},file={CA_FILE}"),
        *("-device", "pvpanic-pci", "-action", "panic=pause"),  # a kernel that panicked must not spin on our processor
        *("-chardev", "file,id=console,path=console.log,append=on", "-serial", "chardev:console"),
        *("-qmp", "unix:qmp.sock,server=on,wait=off"),
    ]


def _monitor(folder: Path, command: str) -> str | None:
    """The answer of a machine's monitor to a command, usually empty; None if it does not answer."""
    try:
        with connect(folder / "qmp.sock", QMP_SECONDS) as connection, connection.makefile("rw") as qmp:
            qmp.readline()  # the greeting
            for execute, arguments in (
                ("qmp_capabilities", {}),
                ("human-monitor-command", {"command-line": command}),
            ):
                call = uuid.uuid4().hex
                qmp.write(json.dumps({"execute": execute, "arguments": arguments, "id": call}) + "\n")
                qmp.flush()
                answer = _answer(qmp, call)
            return str(answer.get("return", answer)).strip()
    except (OSError, ValueError):
        return None


def _answer(lines: Iterable[str], call: str) -> dict[str, object]:
    """The answer to a call. Raises ValueError if the connection ends before.

    The monitor also tells events, and gives late answers to whoever is connected then.
    """
    for line in lines:
        message: dict[str, object] = json.loads(line)
        if message.get("id") == call:
            return message
    raise ValueError("the monitor closed the connection")


def _tool(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()}")
