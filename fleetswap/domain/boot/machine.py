"""The machine of a boot test: what it is made of, and QEMU's command line for it.

It is as similar to an EC2 instance as QEMU can make it: firmware as the AMI's boot mode asks for it, the root volume as
an NVMe device, the SMBIOS data by which systemd and cloud-init recognize EC2, a console at the first serial port. QEMU
has no ENA, so the network interface is virtio-net.

All paths of the command line are relative to the folder of the machine, except those of firmware.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fleetswap.domain.partition import Partition

LEGACY = "legacy-bios"
"""The boot mode of an AMI that needs a BIOS (EC2 API reference, RegisterImage). With all others, a Nitro instance boots
with UEFI."""

INSTANCE = "i-0b007e57b007e57b0"
MAC = "02:00:00:b0:07:7e"
NETWORK, GATEWAY, DNS, ADDRESS = "169.0.0.0/8", "169.0.0.1", "169.0.0.2", "169.0.0.15"
"""The network of the machine. It contains 169.254.169.254, because QEMU forwards no other address to a program
(qemu(1), `guestfwd`); its addresses are not link-local, as no address of an instance is."""

METADATA = "169.254.169.254"

CONSOLE, BEFORE, PACKETS, OVERLAY, NVRAM = "console.log", "console.before", "packets.pcap", "root.qcow2", "nvram.fd"
"""Files in the folder of the machine. `BEFORE` has what the console said before, once that is too much for one file."""

PACKET_BYTES = 64
"""How much of each packet is kept: its headers."""


@dataclass(frozen=True)
class Hardware:
    """What the machine of a boot test has. `architecture` and `boot_mode` are those of the AMI."""

    architecture: str = "x86_64"
    boot_mode: str = "uefi"
    memory: int = 1024
    """MiB."""
    instance_type: str = "c7i.large"
    region: str = "us-east-1"
    partition: Partition = field(default_factory=Partition)


@dataclass(frozen=True)
class Firmware:
    """UEFI firmware: the file with its code and the template of its variables, each with its format for QEMU."""

    code: str
    nvram: str
    code_format: str = "raw"
    nvram_format: str = "raw"


PROGRAMS = {"x86_64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}
"""QEMU's programs, by architecture as EC2 names it."""


def command(
    hardware: Hardware, firmware: Firmware | None, accelerator: str, *, host_port: int, port: int, metadata: str
) -> list[str]:
    """QEMU's command line. `host_port` on loopback leads to `port` of the machine; `firmware` is None for a BIOS.

    `metadata` is the command line (for a shell's rules of quoting) of what answers one connection to the metadata
    service. Nothing else is reachable from the machine: `restrict=on`.
    """
    return [
        PROGRAMS[hardware.architecture],
        *_board(hardware, accelerator),
        *("-m", str(hardware.memory), "-smp", "2", "-nodefaults", "-display", "none"),
        *_firmware(firmware),
        *_smbios(hardware),
        *("-drive", f"if=none,id=root,format=qcow2,file={OVERLAY},cache=unsafe,discard=unmap"),
        *("-device", "nvme,drive=root,serial=vol0b007e57b007e57b0,bootindex=0"),
        *("-netdev", _network(host_port, port, metadata)),
        *("-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile="),
        *("-object", f"filter-dump,id=packets,netdev=net,file={PACKETS},maxlen={PACKET_BYTES}"),
        *("-device", "pvpanic-pci"),  # a kernel that panics and has its driver ends QEMU at once
        *("-chardev", f"file,id=console,path={CONSOLE},append=on", "-serial", "chardev:console"),
    ]


def probe_command(architecture: str, accelerator: str, disk: str) -> tuple[list[str], int]:
    """A command line for a machine that does nothing but end QEMU, and the exit status by which it says that it ran.

    `disk` is the name of the file with `probe_disk`.
    """
    start = [PROGRAMS[architecture], "-accel", accelerator, "-cpu", "host", "-smp", "2", "-m", "64"]
    start += ["-nodefaults", "-display", "none", "-no-reboot"]
    if architecture == "arm64":
        return [*start, "-machine", "virt", "-kernel", disk], 0
    end = ("-device", "isa-debug-exit,iobase=0xf4,iosize=4")
    return [*start, "-machine", "pc", *end, "-drive", f"format=raw,file={disk}"], 33


def probe_disk(architecture: str) -> bytes:
    """What that machine runs.

    x86: a boot sector that writes 16 to port 0xf4, which isa-debug-exit turns into exit status 2 × 16 + 1; with the
    BIOS before it, that is some million instructions. arm64: a hypervisor call of PSCI's SYSTEM_OFF (Arm DEN 0022).
    """
    if architecture == "arm64":
        #         movz w0, #8         movk w0, #0x8400, lsl #16  hvc #0          b .
        return bytes.fromhex("00018052" + "0080b072" + "020000d4" + "00000014")
    code = bytes.fromhex("baf400" + "b010" + "ee" + "f4" + "ebfd")  # mov dx, 0xf4; mov al, 16; out dx, al; hlt; jmp
    return code.ljust(510, b"\0") + b"\x55\xaa"


def identity(hardware: Hardware) -> dict[str, Any]:
    """What the metadata service of a boot test says of its instance: paths below `meta-data/`, and the document.

    There are no user data, no credentials and no tags: an image that needs one of them at boot fails its boot test.
    """
    zone = f"{hardware.region}a"
    name = f"ip-{ADDRESS.replace('.', '-')}.{hardware.region}.compute.internal"
    interface = f"network/interfaces/macs/{MAC}"
    plain = {
        "ami-id": "ami-0b007e57b007e57b0",
        "ami-launch-index": "0",
        "hostname": name,
        "instance-action": "none",
        "instance-id": INSTANCE,
        "instance-life-cycle": "on-demand",
        "instance-type": hardware.instance_type,
        "local-hostname": name,
        "local-ipv4": ADDRESS,
        "mac": MAC,
        f"{interface}/device-number": "0",
        f"{interface}/interface-id": "eni-0b007e57b007e57b0",
        f"{interface}/local-hostname": name,
        f"{interface}/local-ipv4s": ADDRESS,
        f"{interface}/mac": MAC,
        f"{interface}/subnet-ipv4-cidr-block": NETWORK,
        f"{interface}/vpc-ipv4-cidr-block": NETWORK,
        "placement/availability-zone": zone,
        "placement/region": hardware.region,
        "services/domain": hardware.partition.suffix,
        "services/partition": hardware.partition.name,
    }
    document = {
        "accountId": "000000000000",
        "architecture": hardware.architecture,
        "availabilityZone": zone,
        "imageId": plain["ami-id"],
        "instanceId": INSTANCE,
        "instanceType": hardware.instance_type,
        "privateIp": ADDRESS,
        "region": hardware.region,
        "version": "2017-09-30",
    }
    return {"meta-data": plain, "document": document}


def _board(hardware: Hardware, accelerator: str) -> list[str]:
    arm = hardware.architecture == "arm64"
    processor = "host" if accelerator != "tcg" else "max,pauth-impdef=on" if arm else "max"
    # graphics=off: SeaBIOS then speaks at the serial port.
    machine = "virt" if arm else "q35,graphics=off" if hardware.boot_mode == LEGACY else "q35"
    return ["-machine", machine, "-accel", accelerator, "-cpu", processor]


def _firmware(firmware: Firmware | None) -> list[str]:
    if firmware is None:
        return []
    code = f"if=pflash,format={firmware.code_format},readonly=on,file={_value(firmware.code)}"
    return ["-drive", code, "-drive", f"if=pflash,format={firmware.nvram_format},file={NVRAM}"]


def _smbios(hardware: Hardware) -> list[str]:
    """As EC2's (EC2 user guide, "Identify EC2 instances"): the UUID begins with ec2."""
    kind = _value(hardware.instance_type)
    tables = (
        "type=0,vendor=Amazon EC2,version=1.0",
        f"type=1,manufacturer=Amazon EC2,product={kind},uuid=ec2b007e-57b0-07e5-7b00-7e57b007e57b",
        f"type=2,manufacturer=Amazon EC2,asset={INSTANCE}",
        "type=3,manufacturer=Amazon EC2,asset=Amazon EC2",
    )
    return [word for table in tables for word in ("-smbios", table)]


def _network(host_port: int, port: int, metadata: str) -> str:
    return ",".join(
        (
            f"user,id=net,ipv6=off,restrict=on,net={NETWORK},host={GATEWAY},dns={DNS},dhcpstart={ADDRESS}",
            f"hostfwd=tcp:127.0.0.1:{host_port}-{ADDRESS}:{port}",
            f"guestfwd=tcp:{METADATA}:80-cmd:{_value(metadata)}",
        )
    )


def _value(text: str) -> str:
    """As a value of an option: there, a comma is doubled (qemu(1), "-drive file")."""
    return text.replace(",", ",,")
