"""Which rules of a listener are the stack's, as an input of the resources that write them.

Without it (an older state, or an own listener without conditions) they are those of an own listener.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fleetswap.domain.rollout.rule import OWN, Rules
from fleetswap_pulumi.checks import Strict


class RuleInputs(Strict):
    """See `fleetswap.domain.rollout.rule.Rules`."""

    priorities: tuple[int, int] | None = None
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    preview_sources: tuple[str, ...] = ()

    def to_rules(self) -> Rules:
        """The same for the workflow."""
        return Rules(**self.model_dump())


def rules_of(inputs: RuleInputs | None) -> Rules:
    """What the input says; None is an own listener."""
    return OWN if inputs is None else inputs.to_rules()


def rule_inputs(rules: Rules) -> dict[str, Any] | None:
    """The input: only what is not as on an own listener; None if nothing is."""
    plain = {
        key: list(value) for key, value in asdict(rules).items() if value is not None and value != getattr(OWN, key)
    }
    return plain or None
