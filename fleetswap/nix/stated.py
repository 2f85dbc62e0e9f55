"""What `nix-support` beside a disk says that is in it. It is there if an image of nix/ made the disk."""

from __future__ import annotations

from pathlib import Path

from fleetswap.domain.closure.exact import from_file
from fleetswap.domain.closure.model import Closure
from fleetswap.domain.image.manifest import Manifest
from fleetswap.nix.output import read


def closure_of(disk: Path) -> Closure | None:
    """The exact closure of a disk in a file, or None if nothing is said of it. `InputError` if that is damaged."""
    stated = read(disk).closure
    return None if stated is None else from_file(stated)


def beside(disk: Path, identity: str) -> Manifest | None:
    """The same as a manifest."""
    stated = closure_of(disk)
    return None if stated is None else Manifest(identity, stated)
