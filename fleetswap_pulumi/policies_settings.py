"""The settings of what no resource of a stack may be."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fleetswap_pulumi.checks import Strict


class PoliciesSettings(Strict):
    """What happens to a resource that violates a policy (docs/how-to/policy.md), also to one of your own program."""

    enforcement: Literal["mandatory", "advisory", "disabled"] = "mandatory"
    """`mandatory`: the deploy is refused. `advisory`: a warning. `disabled`: nothing."""
    exempt: tuple[Annotated[str, Field(min_length=1)], ...] = Field(default=(), examples=[["bastion"]])
    """Names of resources that may violate policies."""
