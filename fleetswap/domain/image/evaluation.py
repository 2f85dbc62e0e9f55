"""What Nix says of an image before it is built. It is plain data; `fleetswap.nix` asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Evaluation:
    """One image by one evaluation. The same source gives the same."""

    identity: str
    """Store path of the output: what names the image everywhere."""

    derivation: str
    """Store path of the derivation, which is written: it can be built, and read."""

    system: str = ""
    """What it is built on, in Nix's words: `x86_64-linux`."""

    packages: Mapping[str, str] = field(default_factory=dict)
    """Name and version of what the image says is in it. Empty: it does not say."""

    register: Mapping[str, Any] = field(default_factory=dict)
    """The attribute `registerImage`: what the image says an AMI of it must be, in EC2's names."""

    licences: Mapping[str, str] = field(default_factory=dict)
    """Name of a package and its SPDX license expression."""

    warnings: tuple[str, ...] = ()
    """What its configuration warns of, and that its Git tree has changes that are not committed; a line each."""
