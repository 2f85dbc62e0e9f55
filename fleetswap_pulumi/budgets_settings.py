"""The settings of what the parts of a deploy may take."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from fleetswap_pulumi.checks import Strict

LONGEST = 30 * 86_400
"""Seconds. A budget that nothing can exceed is none."""


class BudgetsSettings(Strict):
    """How many seconds the parts of a deploy may take. What takes longer is reported as a warning when the release is
    live, and undoes nothing; `fleetswap show RELEASE --strict` makes it an error for a CI system.
    """

    evaluation: float | None = Field(default=None, gt=0, le=LONGEST)
    """Nix evaluates the image."""
    build: float | None = Field(default=None, gt=0, le=LONGEST)
    """Nix builds the image."""
    boot_test: float | None = Field(default=None, gt=0, le=LONGEST)
    """The boot test of the image (`image.boot_test`)."""
    upload: float | None = Field(default=None, gt=0, le=LONGEST)
    """The image becomes a snapshot."""
    registration: float | None = Field(default=None, gt=0, le=LONGEST)
    """The snapshot becomes an AMI with a launch template, a target group and an auto scaling group."""
    launch: float | None = Field(default=None, gt=0, le=LONGEST)
    """From the launch of machines until the first is healthy."""
    gate: float | None = Field(default=None, gt=0, le=LONGEST)
    """From the first healthy machine until enough are."""
    step: float | None = Field(default=None, gt=0, le=LONGEST)
    """Each canary step, its hold included."""
    bake: float | None = Field(default=None, gt=0, le=LONGEST)
    """The bake."""
    start_to_live: float | None = Field(default=None, gt=0, le=LONGEST)
    """From the start of `pulumi up` until the release has all the traffic."""
    commit_to_live: float | None = Field(default=None, gt=0, le=LONGEST)
    """From the commit of the work tree until the release has all the traffic."""

    @property
    def seconds(self) -> Mapping[str, float]:
        """Those that are set, by the names of spans."""
        return {name.replace("_", " "): seconds for name, seconds in self.model_dump(exclude_none=True).items()}
