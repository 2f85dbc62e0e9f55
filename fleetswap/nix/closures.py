"""Closures out of the store of this machine."""

from __future__ import annotations

from pathlib import Path

from fleetswap.domain.closure.model import Closure
from fleetswap.domain.closure.runtime import derive


def derived(derivation: str) -> Closure:
    """What the image of a derivation will need at run time; see `fleetswap.domain.closure.runtime`.

    The files are read where Nix has written them, so no version of Nix matters, and nothing is built. `InputError` if
    one cannot be read: it was garbage-collected, or the store is not on this machine.
    """
    return derive(derivation, lambda path: Path(path).read_bytes())
