"""Where an image comes from: either a Nix expression or a file, never both.

The plain form is part of the ledger and of the disk image's inputs, so its keys and their meaning stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class NixImage:
    """An image that Nix can name before anything is built. `expression` is a path relative to the project's root."""

    expression: str
    args: Mapping[str, str]
    options: Mapping[str, str]
    attr: str | None = None


@dataclass(frozen=True)
class FileImage:
    """A disk in a file. `file` is a path relative to the project's root."""

    file: str


ImageSource = NixImage | FileImage


def to_plain(source: ImageSource) -> dict[str, Any]:
    """The source as JSON-like values: `nix` or `file`."""
    return asdict(source) if isinstance(source, FileImage) else {"nix": asdict(source)}


def from_plain(value: Mapping[str, Any]) -> ImageSource:
    """Read `nix` or `file` of a plain form back. `ValueError` unless it has exactly one; None is as good as absent."""
    nix, file = value.get("nix"), value.get("file")
    if (nix is None) == (file is None):
        raise ValueError("give exactly one of `nix` and `file`")
    if nix is None:
        return FileImage(str(file))
    return NixImage(str(nix["expression"]), dict(nix["args"]), dict(nix["options"]), nix.get("attr"))
