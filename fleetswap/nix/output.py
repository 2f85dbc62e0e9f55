"""What an image's output consists of: the disk, and what the folder `nix-support` beside it says of it.

`image-info.json` is what nixpkgs' newest Amazon image writes, `closure.json` what the images of nix/ write; both are
optional. This module finds and reads them, and never judges what they say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetswap.domain.errors import InputError

DISK_SUFFIXES = (".raw", ".img", ".vhd", ".qcow2")
"""What an image is called, by its makers in nixpkgs. Whether it can be read is the uploader's to say."""

INFO = "image-info.json"
CLOSURE = "closure.json"


@dataclass(frozen=True)
class Output:
    """A disk with what is known about it; None is what nobody wrote."""

    disk: Path
    info: Mapping[str, Any] | None = None
    closure: Mapping[str, Any] | None = None


def read(out: Path) -> Output:
    """The output of a build, or a disk with a `nix-support` folder beside it. `InputError` unless it has one disk.

    The disk is the one that image-info.json names, or the only file in the folder that is named like one.
    """
    if out.is_file():
        return _beside(out)
    if not out.is_dir():
        raise InputError(f"{out} is neither a file nor a folder: build the image first")
    info = _json(out / "nix-support" / INFO)
    return Output(_named(out, info) or _only(out), info, _json(out / "nix-support" / CLOSURE))


def _beside(disk: Path) -> Output:
    """A folder may have several disks: what is said there of another one is nothing about this one."""
    folder = disk.parent / "nix-support"
    info = _json(folder / INFO)
    if info is not None and Path(str(info.get("file", disk.name))).name != disk.name:
        return Output(disk)
    return Output(disk, info, _json(folder / CLOSURE))


def _named(out: Path, info: Mapping[str, Any] | None) -> Path | None:
    """The disk that image-info.json names, absolute or relative to the output."""
    file = None if info is None else info.get("file")
    if file is None:
        return None
    disk = out / str(file)
    if not disk.is_file():
        raise InputError(f"{out}/nix-support/{INFO} names the disk {file}, which is not there: build the image again")
    return disk


def _only(out: Path) -> Path:
    kinds = ", ".join(f"*{suffix}" for suffix in DISK_SUFFIXES)
    disks = sorted(path for path in out.iterdir() if path.suffix in DISK_SUFFIXES and path.is_file())
    if not disks:
        there = ", ".join(sorted(path.name for path in out.iterdir())) or "nothing"
        raise InputError(
            f"{out} does not contain a disk ({kinds}) but {there}: use a derivation whose output is a disk"
        )
    if len(disks) > 1:
        names = ", ".join(disk.name for disk in disks)
        raise InputError(f"{out} holds {len(disks)} disks ({names}): use a derivation whose output has only one")
    return disks[0]


def _json(path: Path) -> Mapping[str, Any] | None:
    """A file of JSON, which must hold an object; None if it is not there."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, RecursionError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): build the image again") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} must hold a JSON object: build the image again")
    return value
