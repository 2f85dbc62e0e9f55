"""The settings of what is kept besides the live release."""

from __future__ import annotations

from pydantic import Field

from fleetswap_pulumi.checks import Strict


class RetentionSettings(Strict):
    """What is kept besides the live release and its standby."""

    images: int = Field(default=3, ge=0, le=50)
    """Number of older releases whose AMI is kept without machines."""
