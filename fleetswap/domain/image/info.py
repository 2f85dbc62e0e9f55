"""What the AMI of an image says: architecture, boot mode, ENA, IMDS, NitroTPM, root device.

It reads what an image says of itself: `registerImage`, which has the names and values of EC2's RegisterImage, of a
derivation or of `nix-support/image-info.json`, as nixpkgs' Amazon image writes it (nixos/maintainers/scripts/ec2/
amazon-image.nix; before `registerImage` it had `system`, and before that no `boot_mode`). It decides what settings may
override, and which combinations EC2 cannot launch. It reads no file and never looks at a disk.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from fleetswap.domain.errors import InputError

Said = Mapping[str, Any]
"""What an image says of itself, by the names of the fields of `ImageInfo`. What it does not say is not there."""

SYSTEMS = {"x86_64-linux": "x86_64", "aarch64-linux": "arm64"}
"""Nix's name of a system, and EC2's of its architecture."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "Architecture": ("x86_64", "arm64"),
    "BootMode": ("uefi", "uefi-preferred", "legacy-bios"),
    "ImdsSupport": ("v2.0",),
    "TpmSupport": ("v2.0",),
    "SriovNetSupport": ("simple",),
    "VirtualizationType": ("hvm",),
}
"""Values that an AMI of a Linux machine may have (API reference, RegisterImage). The first one is the default."""

NAMES = {
    "Architecture": "architecture",
    "BootMode": "boot_mode",
    "EnaSupport": "ena",
    "ImdsSupport": "imds",
    "TpmSupport": "tpm",
    "RootDeviceName": "root_device",
}
"""EC2's name of each field of `ImageInfo`."""

SETTINGS = {
    "architecture": "architecture",
    "boot_mode": "boot_mode",
    "ena": "ena_support",
    "imds": "imds_support",
    "tpm": "tpm_support",
}
"""The setting under `fleetswap:image.ami` that says the same as a field of `ImageInfo`."""


@dataclass(frozen=True)
class ImageInfo:
    """With what an AMI is registered, in EC2's own values. The defaults are what all AMIs had before there was this.

    `tpm` is None for an AMI without NitroTPM. `root_device` is the name that EC2 knows the disk by.
    """

    architecture: str = "x86_64"
    boot_mode: str = "uefi"
    ena: bool = True
    imds: str = "v2.0"
    tpm: str | None = None
    root_device: str = "/dev/xvda"


DEFAULT = ImageInfo()

_DEVICE = re.compile(r"/dev/[a-z0-9]+")
"""EC2 user guide, "Device names for volumes on Amazon EC2 instances": sd and xvd with letters and digits, hd, nvme."""


def of_register(value: object, where: str) -> Said:
    """What `registerImage` says; null is as good as absent, and what is not known here is not looked at.

    `where` is what it was read from. `InputError` names everything that has a wrong value.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: registerImage must be an attribute set, as RegisterImage takes it")
    given = {name: each for name, each in value.items() if each is not None}
    if isinstance(given.get("EnaSupport"), str):  # a shell or `lib.boolToString` may have written it
        given["EnaSupport"] = {"true": True, "false": False}.get(given["EnaSupport"], given["EnaSupport"])
    _refuse([*_wrong_values(given), *_wrong_devices(given)], where)
    return {field: given[name] for name, field in NAMES.items() if name in given}


def of_info(value: object, where: str) -> Said:
    """What an `image-info.json` of any age says. Raises as `of_register` does, and if it contradicts itself."""
    if not isinstance(value, Mapping):
        raise InputError(f"{where} must be a JSON object, as nixpkgs' Amazon image writes it")
    register = value.get("registerImage")
    said = dict(of_register(register, where)) if register is not None else {}
    plain: dict[str, Any] = {}
    if value.get("system") is not None:
        plain["architecture"] = SYSTEMS.get(str(value["system"]))
        if plain["architecture"] is None:
            raise InputError(
                f"{where}: EC2 has no instances for system {value['system']}: build for {' or '.join(SYSTEMS)}"
            )
    if value.get("boot_mode") is not None:
        plain["boot_mode"] = value["boot_mode"]
        _refuse(_wrong_values({"BootMode": value["boot_mode"]}), where)
    problems = [
        f"registerImage has {_name(field)} {said[field]}, but the file also says {plain[field]}"
        for field in plain
        if field in said and said[field] != plain[field]
    ]
    disks = value.get("disks")
    if isinstance(disks, Mapping) and len(disks) > 1:
        problems.append(f"the image has {len(disks)} disks ({', '.join(sorted(disks))}), and a release has one")
    _refuse(problems, where)
    return {**plain, **said}


def of_builder(system: str) -> Said:
    """A guess, from the `system` of a derivation: that is where it is built, and most images are built where they run.

    A system that EC2 has no instances of says nothing.
    """
    return {"architecture": SYSTEMS[system]} if system in SYSTEMS else {}


def resolve(said: Said, asserted: Said, guess: Said | None = None) -> ImageInfo:
    """What an image says, with what the settings under `image.ami` say in its place; else a guess, else the default.

    An architecture cannot be overridden: the setting and the image must agree. `InputError` for that, and for what EC2
    cannot launch, all told together.
    """
    values = {**asdict(DEFAULT), **(guess or {}), **said, **asserted}
    info = ImageInfo(**values)
    problems = []
    if said.get("architecture", info.architecture) != info.architecture:
        problems.append(
            f"fleetswap:image.ami.architecture is {info.architecture}, but the image is for {said['architecture']}:"
            " change the setting, or build the other image"
        )
    if info.architecture == "arm64" and info.boot_mode == "legacy-bios":
        problems.append(
            "the image is for arm64 with boot mode legacy-bios, but Arm instances boot with UEFI only"
            " (fleetswap:image.ami.boot_mode)"
        )
    if info.tpm is not None and info.boot_mode != "uefi":
        problems.append(
            f"the AMI would have NitroTPM {info.tpm} and boot mode {info.boot_mode}, but NitroTPM requires boot mode"
            " uefi (fleetswap:image.ami.tpm_support, fleetswap:image.ami.boot_mode)"
        )
    if problems:
        raise InputError("; ".join(problems))
    return info


def known(info: ImageInfo, asserted: Collection[str]) -> Said:
    """What the image of a release said of itself: what is neither a default, nor what the settings said."""
    return {field: value for field, value in to_plain(info).items() if field not in asserted}


def refuse_other(info: ImageInfo, asserted: Collection[str], built: Said, where: str) -> None:
    """Refuse an image that was built and says something else than its AMI would: `info` was all that a review saw.

    What the settings asserted is theirs, except for the architecture. `InputError` names both, and the setting.
    """
    has = asdict(info)
    others = [
        field
        for field in SETTINGS
        if field in built and built[field] != has[field] and (field not in asserted or field == "architecture")
    ]
    if others:
        told = ", ".join(f"{_name(field)} {_text(built[field])} and not {_text(has[field])}" for field in others)
        settings = ", ".join(f"fleetswap:image.ami.{SETTINGS[field]}: {_text(built[field])}" for field in others)
        raise InputError(f"{where} says {told}, as the AMI would have: set {settings}")


def to_plain(info: ImageInfo) -> dict[str, Any]:
    """As JSON-like values, without what is as it is by default."""
    default = asdict(DEFAULT)
    return {field: value for field, value in asdict(info).items() if value != default[field]}


def from_plain(value: Mapping[str, Any]) -> ImageInfo:
    """Read a plain form back. `ValueError` for a field that there is not, or a value that no AMI has."""
    found = ImageInfo(**{**asdict(DEFAULT), **value}) if set(value) <= _FIELDS else None
    if found is None or any(_wrong_values({_name(field): each for field, each in value.items()})):
        raise ValueError(f"{dict(value)} does not describe an AMI")
    return found


_FIELDS = {each.name for each in fields(ImageInfo)}


def _name(field: str) -> str:
    """EC2's name of a field."""
    return next(name for name, each in NAMES.items() if each == field)


def _text(value: object) -> str:
    """A value as YAML has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _wrong_values(given: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with values by EC2's names."""
    for name, value in given.items():
        if name in CHOICES and value not in CHOICES[name]:
            yield f"{name} is {value!r}, and must be {' or '.join(CHOICES[name])}"
        elif name == "EnaSupport" and not isinstance(value, bool):
            yield f"{name} is {value!r}, and must be true or false"
        elif name == "RootDeviceName" and not (isinstance(value, str) and _DEVICE.fullmatch(value)):
            yield f"{name} is {value!r}, and must be a device such as /dev/xvda"


def _wrong_devices(given: Mapping[str, Any]) -> Iterator[str]:
    """A release has one disk, which is the root device."""
    mappings = given.get("BlockDeviceMappings")
    if mappings is None:
        return
    if not isinstance(mappings, list) or len(mappings) != 1 or not isinstance(mappings[0], Mapping):
        yield "BlockDeviceMappings must have exactly one device, the root device"
        return
    device, root = mappings[0].get("DeviceName"), given.get("RootDeviceName")
    if None not in (device, root) and device != root:
        yield f"BlockDeviceMappings has {device}, and RootDeviceName is {root}"


def _refuse(problems: Collection[str] | Iterator[str], where: str) -> None:
    told = list(problems)
    if told:
        raise InputError(f"{where}: {'; '.join(told)}")
