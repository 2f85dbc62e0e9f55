"""Which of what is known of two images is compared: only like with like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetswap.domain.closure.changes import Changes, annotated, compare, of_packages
from fleetswap.domain.closure.model import Closure
from fleetswap.domain.closure.runtime import is_system


@dataclass(frozen=True)
class Known:
    """What is known of one image."""

    exact: Closure | None = None
    """What is in it, as Nix states it."""
    derived: Closure | None = None
    """What its derivations lead to."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """What its author says is in it, by name and version."""

    @property
    def is_machine(self) -> bool:
        """Whether its closure is that of a NixOS machine. Of any other image, its author may know more."""
        closure = self.exact or self.derived
        return closure is not None and is_system(closure)


def between(before: Known, after: Known) -> Changes | None:
    """What changes from one image to the other; None if nothing that is known of both can be compared."""
    machines = before.is_machine and after.is_machine
    if before.packages and after.packages and not machines:
        return compare(of_packages(before.packages), of_packages(after.packages))
    if before.exact is not None and after.exact is not None:
        return compare(_exact(before.exact, before.derived), _exact(after.exact, after.derived))
    if before.derived is not None and after.derived is not None:
        return compare(before.derived, after.derived)
    return None


def _exact(exact: Closure, derived: Closure | None) -> Closure:
    return exact if derived is None else annotated(exact, derived)
