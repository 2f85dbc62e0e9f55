"""The rollouts of a stack's other regions, as inputs of a rollout whose error names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from fleetswap.domain.errors import FleetswapError
from fleetswap.domain.rollout.waves import Waves
from fleetswap_pulumi.checks import Strict


class WavesInputs(Strict):
    """See `fleetswap.domain.rollout.waves.Waves`."""

    earlier: dict[str, str]
    beside: list[str]
    later: list[str]


@dataclass(frozen=True)
class WavesArgs:
    """The rollouts of a stack's other regions: what those of earlier waves serve, and the names of the others."""

    earlier: Mapping[str, pulumi.Output[str]]
    beside: Sequence[str]
    later: Sequence[str]

    @property
    def inputs(self) -> dict[str, Any]:
        """As `WavesInputs`."""
        return {"earlier": dict(self.earlier), "beside": list(self.beside), "later": list(self.later)}


def told(error: Exception, region: str, inputs: WavesInputs | None) -> FleetswapError:
    """The error as Pulumi shows it: without notes, and in a row that has the same name in each region."""
    if isinstance(error, FleetswapError):
        why, kind = str(error), type(error)
    else:  # its notes say what could not be put back
        why, kind = "; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])]), FleetswapError
    if inputs is None:
        return kind(why)
    return kind(Waves(inputs.earlier, tuple(inputs.beside), tuple(inputs.later)).report(region, why))
