"""Closures out of the store of this machine, and what is known of an image by them."""

from __future__ import annotations

from pathlib import Path

from fleetswap.domain.closure.exact import exact, registered
from fleetswap.domain.closure.known import Known
from fleetswap.domain.closure.model import Closure
from fleetswap.domain.closure.runtime import derive
from fleetswap.domain.image.evaluation import Evaluation
from fleetswap.nix.process import run
from fleetswap.nix.stated import closure_of


def derived(derivation: str) -> Closure:
    """What the image of a derivation will need at run time; see `fleetswap.domain.closure.runtime`.

    The files are read where Nix has written them, so no version of Nix matters, and nothing is built.
    `UnknownDerivation` if one cannot be read: it was garbage-collected, or the store is not on this machine.
    """
    return derive(derivation, lambda path: Path(path).read_bytes())


def in_store(root: str) -> Closure | None:
    """The exact closure of a store path, or None if it is not in the store. Nix is asked twice, and builds nothing."""
    found = run(["nix-store", "--query", "--requisites", root])
    if found.returncode != 0:
        return None
    dump = run(["nix-store", "--dump-db", *found.stdout.split()])
    return exact(root, registered(dump.stdout), {}) if dump.returncode == 0 else None


def of_evaluation(made: Evaluation) -> Known:
    """What is known of an image that may not be built. `UnknownDerivation` if its derivations cannot be read."""
    return Known(derived=derived(made.derivation), packages=made.packages)


def of_disk(disk: Path) -> Known:
    """What `nix-support` beside a disk in a file says of it, if that is there. `InputError` if it is damaged."""
    return Known(exact=closure_of(disk))
