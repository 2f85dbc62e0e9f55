"""Which UEFI firmware a boot test uses, out of the descriptors that QEMU and distributions install.

The descriptors' format is QEMU's docs/interop/firmware.json. EC2 boots without Secure Boot unless the AMI has keys, so
firmware with enrolled keys, or that needs SMM, is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from fleetswap.domain.boot.machine import Firmware

_QEMU = {"x86_64": ("x86_64", "pc-q35-"), "arm64": ("aarch64", "virt-")}
"""For each architecture QEMU's name of it, and how the names of its machine types begin."""

_UNWANTED = {"enrolled-keys", "requires-smm"}

_PLACES = {
    "x86_64": (
        ("edk2-x86_64-code.fd", "edk2-i386-vars.fd"),
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
        ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ),
    "arm64": (
        ("edk2-aarch64-code.fd", "edk2-arm-vars.fd"),
        ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
        ("/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"),
        ("/usr/share/edk2/aarch64/QEMU_CODE.fd", "/usr/share/edk2/aarch64/QEMU_VARS.fd"),
    ),
}
"""Where firmware lies when no descriptor says it: in QEMU's own data folders (as Homebrew and nixpkgs install it), and
of Debian, Fedora and Arch Linux."""


def described(descriptors: Iterable[Mapping[str, Any]], architecture: str) -> list[Firmware]:
    """Firmware that fits, in the order of its descriptors. One that is not understood is passed over."""
    found = []
    for each in descriptors:
        try:
            if _fits(each, architecture):
                found.append(_flash(each["mapping"]))
        except (KeyError, TypeError, AttributeError):
            continue
    return found


def usual(architecture: str, folders: Iterable[str]) -> list[Firmware]:
    """Where it usually lies. `folders` are QEMU's data folders."""
    found = []
    for code, nvram in _PLACES[architecture]:
        roots = [""] if code.startswith("/") else [f"{folder}/" for folder in folders]
        found += [Firmware(root + code, root + nvram) for root in roots]
    return found


def first(candidates: Iterable[Firmware], exists: Callable[[str], bool]) -> Firmware | None:
    """The first of which both files exist, or None."""
    return next((each for each in candidates if exists(each.code) and exists(each.nvram)), None)


def _fits(descriptor: Mapping[str, Any], architecture: str) -> bool:
    name, machine = _QEMU[architecture]
    mapping = descriptor["mapping"]
    return (
        "uefi" in descriptor["interface-types"]
        and mapping["device"] == "flash"
        and mapping.get("mode", "split") == "split"
        and not _UNWANTED & set(descriptor["features"])
        and any(
            target["architecture"] == name and any(_is_of(pattern, machine) for pattern in target["machines"])
            for target in descriptor["targets"]
        )
    )


def _is_of(pattern: str, machine: str) -> bool:
    """Whether a descriptor's pattern, such as `pc-q35-*` or `virt-*`, has any version of a machine type."""
    return fnmatchcase(f"{machine}0", pattern) or pattern.startswith(machine)


def _flash(mapping: Mapping[str, Any]) -> Firmware:
    code, nvram = mapping["executable"], mapping["nvram-template"]
    return Firmware(
        str(code["filename"]),
        str(nvram["filename"]),
        str(code.get("format", "raw")),
        str(nvram.get("format", "raw")),
    )
