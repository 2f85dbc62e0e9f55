"""The rollouts of the other regions of a stack, as the error of one that fails names them; and how Pulumi leaves the
resources of one alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


def resources(region: str) -> str:
    """What `pulumi --exclude` takes for all resources of a further region: their types begin with its component's."""
    return f"**regions/{region}:Region**"


@dataclass(frozen=True)
class Waves:
    """What goes before, beside and after the rollout of one region. `earlier` is the live release by region."""

    earlier: Mapping[str, str] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    later: tuple[str, ...] = ()

    def report(self, region: str, why: str) -> str:
        """One line: what failed in `region`, and which of the others have changed.

        Those of earlier waves had ended when this rollout began, and those of later waves wait for it.
        """
        parts = [f"{region}: {why}", *(f"{name} serves {live}" for name, live in self.earlier.items())]
        if self.beside:
            parts.append(f"{', '.join(self.beside)} went on beside it")
        if self.later:
            parts.append(f"{', '.join(self.later)} {'is' if len(self.later) == 1 else 'are'} not begun")
        return "; ".join(parts)
