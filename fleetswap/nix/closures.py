"""Closures out of the store of this machine."""

from __future__ import annotations

from pathlib import Path

from fleetswap.domain.closure.exact import from_file
from fleetswap.domain.closure.model import Closure
from fleetswap.domain.closure.runtime import derive
from fleetswap.domain.image.manifest import Manifest
from fleetswap.nix.output import read


def derived(derivation: str) -> Closure:
    """What the image of a derivation will need at run time; see `fleetswap.domain.closure.runtime`.

    The files are read where Nix has written them, so no version of Nix matters, and nothing is built. `InputError` if
    one cannot be read: it was garbage-collected, or the store is not on this machine.
    """
    return derive(derivation, lambda path: Path(path).read_bytes())


def beside(disk: Path, identity: str) -> Manifest | None:
    """The manifest of a disk in a file, if `nix-support` beside it has its closure. `InputError` if that is damaged."""
    stated = read(disk).closure
    return None if stated is None else Manifest(identity, from_file(stated))
