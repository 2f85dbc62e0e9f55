"""QEMU's command line, the firmware that is chosen, and what the metadata service says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fleetswap.domain.boot import firmware
from fleetswap.domain.boot.machine import Firmware, Hardware, command, identity, probe_command, probe_disk

OVMF = Firmware("/f/code,1.fd", "/f/vars.fd")


def made(hardware: Hardware, accelerator: str = "tcg", chosen: Firmware | None = OVMF) -> str:
    return " ".join(command(hardware, chosen, accelerator, host_port=4000, port=8080, metadata="py 'a,b' x"))


def test_nothing_but_the_metadata_service_and_the_health_check_is_reachable() -> None:
    """An image that downloads something at boot would pass here, and fail in a VPC without a way out."""
    line = made(Hardware())
    assert line.count("-netdev") == 1
    assert "restrict=on" in line
    assert "ipv6=off" in line
    assert "hostfwd=tcp:127.0.0.1:4000-169.0.0.15:8080," in line
    assert "guestfwd=tcp:169.254.169.254:80-cmd:py 'a,,b' x" in line


def test_the_firmware_is_read_only_and_its_variables_are_the_machines_own() -> None:
    """QEMU would write the variables of this computer's other machines, or take a comma for the end of a name."""
    line = made(Hardware())
    assert "if=pflash,format=raw,readonly=on,file=/f/code,,1.fd" in line
    assert "if=pflash,format=raw,file=nvram.fd" in line


@pytest.mark.parametrize(
    ("hardware", "accelerator", "words"),
    [
        (Hardware(), "tcg", "qemu-system-x86_64 -machine q35 -accel tcg -cpu max "),
        (Hardware(), "kvm", "qemu-system-x86_64 -machine q35 -accel kvm -cpu host "),
        (Hardware("arm64"), "tcg", "qemu-system-aarch64 -machine virt -accel tcg -cpu max,pauth-impdef=on "),
        (Hardware("arm64"), "hvf", "qemu-system-aarch64 -machine virt -accel hvf -cpu host "),
        (Hardware(memory=512), "tcg", " -m 512 "),
        (Hardware(instance_type="m7g.large"), "tcg", "type=1,manufacturer=Amazon EC2,product=m7g.large,"),
    ],
)
def test_the_machine_is_what_was_asked_for(hardware: Hardware, accelerator: str, words: str) -> None:
    """An image would be tested on another processor than it is for."""
    assert words in made(hardware, accelerator)


def test_a_bios_has_no_uefi_firmware_and_speaks_at_the_console() -> None:
    """An image for a BIOS would be refused, without a word at the console."""
    line = made(Hardware(boot_mode="legacy-bios"), chosen=None)
    assert "pflash" not in line
    assert "-machine q35,graphics=off" in line


def test_the_probe_is_a_machine_that_ends_by_itself() -> None:
    """An accelerator under which guests hang would be taken for one that works."""
    line, status = probe_command("x86_64", "kvm", "disk")
    assert (status, len(probe_disk("x86_64"))) == (33, 512)
    assert "isa-debug-exit,iobase=0xf4,iosize=4" in line
    line, status = probe_command("arm64", "hvf", "disk")
    assert (status, len(probe_disk("arm64"))) == (0, 16)
    assert line[-2:] == ["-kernel", "disk"]


def test_the_instance_has_no_user_data_and_no_credentials() -> None:
    """An image that needs them to boot would pass."""
    said = identity(Hardware(instance_type="m7i.large", region="eu-central-1"))
    plain = said["meta-data"]
    assert plain["instance-type"] == said["document"]["instanceType"] == "m7i.large"
    assert plain["placement/availability-zone"] == "eu-central-1a"
    assert plain["mac"] in made(Hardware())
    assert not [name for name in plain if name.startswith(("iam", "tags"))]


def described(**changes: Any) -> dict[str, Any]:
    """Debian's descriptor of OVMF, changed."""
    return {
        "interface-types": ["uefi"],
        "mapping": {
            "device": "flash",
            "executable": {"filename": "/c.fd", "format": "raw"},
            "nvram-template": {"filename": "/v.fd", "format": "raw"},
        },
        "targets": [{"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]}],
        "features": ["acpi-s3", "verbose-dynamic"],
    } | changes


@pytest.mark.parametrize(
    "descriptor",
    [
        described(features=["requires-smm", "secure-boot"]),
        described(features=["enrolled-keys"]),
        described(**{"interface-types": ["bios"]}),
        described(mapping={"device": "memory", "filename": "/c.fd"}),
        described(mapping={**described()["mapping"], "mode": "stateless"}),
        described(targets=[{"architecture": "x86_64", "machines": ["microvm"]}]),
        described(targets=[{"architecture": "aarch64", "machines": ["virt-*"]}]),
        {"description": "of another time"},
        described(targets=None),
    ],
)
def test_firmware_that_does_not_fit_is_passed_over(descriptor: dict[str, Any]) -> None:
    """A machine would not start, or refuse every image that is not signed."""
    assert firmware.described([descriptor], "x86_64") == []


def test_firmware_that_fits_is_taken_in_its_order_with_its_formats() -> None:
    """Fedora's is qcow2: read as raw, it is nothing."""
    fedora = {
        "device": "flash",
        "mode": "split",
        "executable": {"filename": "/c.qcow2", "format": "qcow2"},
        "nvram-template": {"filename": "/v.qcow2", "format": "qcow2"},
    }
    found = firmware.described([described(mapping=fedora), described()], "x86_64")
    assert found == [Firmware("/c.qcow2", "/v.qcow2", "qcow2", "qcow2"), Firmware("/c.fd", "/v.fd")]
    arm = described(targets=[{"architecture": "aarch64", "machines": ["virt-*"]}])
    assert firmware.described([arm], "arm64") == [Firmware("/c.fd", "/v.fd")]


def test_without_descriptors_firmware_is_looked_for_where_it_usually_is() -> None:
    """Homebrew's and nixpkgs' QEMU would be said to have none. Both files must be there."""
    usual = firmware.usual("arm64", ["/opt/share/qemu"])
    there = {"/opt/share/qemu/edk2-aarch64-code.fd", "/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"}
    assert firmware.first(usual, there.__contains__) == Firmware(
        "/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"
    )
    there.add("/opt/share/qemu/edk2-arm-vars.fd")
    found = firmware.first(usual, there.__contains__)
    assert found is not None
    assert found.code == "/opt/share/qemu/edk2-aarch64-code.fd"
    assert firmware.first(firmware.usual("x86_64", []), lambda _: False) is None


def test_the_descriptors_of_this_computer_are_understood() -> None:
    """The format of the descriptors would be one that only these tests have."""
    folder = Path("/usr/share/qemu/firmware")
    read = [json.loads(each.read_text()) for each in sorted(folder.glob("*.json"))]
    if not any("x86_64" in each.name for each in folder.glob("*.json")):
        pytest.skip("this computer has no UEFI firmware for x86_64")
    assert firmware.described(read, "x86_64")
