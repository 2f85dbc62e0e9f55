"""`fleetswap boot-test`: boots a disk image in QEMU until its service is healthy. It needs no AWS."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fleetswap.aws.rollout.probe import health_checker
from fleetswap.cli import options, results
from fleetswap.cli.display import Display, print_json, print_result, slowly
from fleetswap.domain.boot.health import Check
from fleetswap.domain.boot.machine import Hardware
from fleetswap.domain.errors import InputError
from fleetswap.domain.image.info import ImageInfo
from fleetswap.qemu.machine import QemuMachines
from fleetswap.workflows.boot_test import BootTest
from fleetswap.workflows.image.bootable import refuse_unbootable
from fleetswap.workflows.image.image_file import ImageFile
from fleetswap.workflows.image.ports import TRIAL_SECONDS


class Accelerator(StrEnum):
    """Values of `--accelerator`."""

    AUTO = "auto"
    KVM = "kvm"
    HVF = "hvf"
    TCG = "tcg"


class Architecture(StrEnum):
    """Values of `--architecture`, as EC2 names them."""

    X86_64 = "x86_64"
    ARM64 = "arm64"


class BootMode(StrEnum):
    """Values of `--boot-mode`."""

    UEFI = "uefi"
    BIOS = "legacy-bios"


class Protocol(StrEnum):
    """Values of `--protocol`."""

    HTTP = "http"
    HTTPS = "https"


class Version(StrEnum):
    """Values of `--protocol-version`."""

    HTTP1 = "http1"
    HTTP2 = "http2"
    GRPC = "grpc"


def boot_test(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    *,
    port: options.BootPort = 8080,
    path: options.BootPath = "/healthz",
    codes: Annotated[
        str, typer.Option(metavar="CODES", help="Status codes that count as healthy, such as 200,204 or 200-299.")
    ] = "200",
    protocol: Annotated[Protocol, typer.Option(help="Protocol of the health check.")] = Protocol.HTTP,
    protocol_version: Annotated[Version, typer.Option(help="Version of the protocol.")] = Version.HTTP1,
    healthy: Annotated[int, typer.Option(min=1, max=10, metavar="N", help="Consecutive successful checks.")] = 2,
    timeout: options.BootTimeout = TRIAL_SECONDS,
    memory: Annotated[int, typer.Option(min=64, metavar="MIB", help="Memory of the machine.")] = 1024,
    accelerator: Annotated[
        Accelerator, typer.Option(help="auto: kvm or hvf if a machine proves to run with it, else tcg, which emulates.")
    ] = Accelerator.AUTO,
    architecture: Annotated[Architecture, typer.Option(help="Of the image.")] = Architecture.X86_64,
    boot_mode: Annotated[BootMode, typer.Option(help="Firmware of the machine.")] = BootMode.UEFI,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Boot the disk image FILE in QEMU, and wait until its service is healthy.

    FILE is a raw disk, a VHD or a qcow2 image, and is not changed. The machine has its disk, a metadata service without
    user data and credentials, and no network besides. Exits with status 3 if it does not become healthy, after the end
    of its console.
    """
    hardware = Hardware(architecture.value, boot_mode.value, memory)
    check = Check(port, path, codes, protocol.value, protocol_version.value, healthy=healthy)
    test = made(hardware, check, accelerator.value, timeout, "--timeout", always=True)
    with Display("booting", "", quiet=quiet) as display, ImageFile(file) as image:
        refuse_unbootable(image, ImageInfo(architecture.value, boot_mode.value))
        test.ready()
        passed = test.run(image, str(file.resolve()), display.say, slowly(display.say))
    if as_json:
        print_json(results.of_boot_test(file, image.format, image.size, hardware, check, passed))
    else:
        print_result("healthy")


def made(
    hardware: Hardware, check: Check, accelerator: str, timeout: float, option: str, *, always: bool = False
) -> BootTest:
    """The boot test of a command; with `always`, also of an image that has passed. `InputError` for a wrong check.

    `option` is what the command calls `timeout`.
    """
    if not check.path.startswith("/"):
        raise InputError(f"the path {check.path!r} of the health check does not start with /")
    if not re.fullmatch(r"\d{1,3}(-\d{1,3})?(,\d{1,3}(-\d{1,3})?)*", check.codes):
        raise InputError(f"--codes {check.codes!r} is not a list of status codes such as 200, 200,204 or 200-299")
    machines = QemuMachines(health_checker, accelerator)
    return BootTest(machines, hardware, check, folder=_folder(), seconds=timeout, always=always, option=option)


def _folder() -> Path:
    """Where consoles are kept; without a home directory, in the working directory."""
    cache = options.cache()
    return (cache if cache is not None else Path(".fleetswap")) / "boot-tests"
