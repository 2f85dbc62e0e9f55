"""The settings of boot tests."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fleetswap.workflows.image.ports import TRIAL_SECONDS
from fleetswap_pulumi.checks import Strict


class BootTestSettings(Strict):
    """How an image is booted in QEMU before it is uploaded. Changes do not create a new release."""

    timeout: int = Field(default=TRIAL_SECONDS, ge=1, le=3600)
    """Seconds from the start of the machine within which it must pass `health.healthy` consecutive health checks.
    Without KVM, emulation makes a boot several times slower."""
    memory: int = Field(default=1024, ge=64, le=1_048_576)
    """Memory of the machine in MiB."""
    accelerator: Literal["auto", "kvm", "hvf", "tcg"] = "auto"
    """`tcg` emulates, which works anywhere. `auto` uses KVM (Linux) or HVF (macOS) if a machine proves to run with it,
    else `tcg`."""
