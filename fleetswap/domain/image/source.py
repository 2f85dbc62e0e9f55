"""Where an image comes from: Nix (a flake or an expression) or a file, never two of them.

The plain form is part of the ledger and of the disk image's inputs, so its keys and their meaning stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class NixImage:
    """An image that Nix can name before anything is built. `expression` is a path relative to the project's root."""

    expression: str
    args: Mapping[str, str]
    options: Mapping[str, str]
    attr: str | None = None


@dataclass(frozen=True)
class FlakeImage:
    """The same, out of a flake: `flake` is a reference such as `.#web`, relative to the project's root."""

    flake: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FileImage:
    """A disk in a file. `file` is a path relative to the project's root."""

    file: str


ImageSource = NixImage | FlakeImage | FileImage


def to_plain(source: ImageSource) -> dict[str, Any]:
    """The source as JSON-like values: `nix` or `file`."""
    return asdict(source) if isinstance(source, FileImage) else {"nix": asdict(source)}


def from_plain(value: Mapping[str, Any]) -> ImageSource:
    """Read `nix` or `file` of a plain form back. `ValueError` unless it has exactly one; None is as good as absent.

    Of `nix`, the same holds for `flake` and `expression`; `attr` and `args` are of an expression.
    """
    nix, file = value.get("nix"), value.get("file")
    if (nix is None) == (file is None):
        raise ValueError("give exactly one of `nix` and `file`")
    if nix is None:
        return FileImage(str(file))
    flake, expression = nix.get("flake"), nix.get("expression")
    if (flake is None) == (expression is None):
        raise ValueError("give exactly one of `nix.flake` and `nix.expression`")
    if flake is None:
        return NixImage(str(expression), dict(nix["args"]), dict(nix["options"]), nix.get("attr"))
    for name in ("attr", "args"):
        if nix.get(name):
            raise ValueError(f"`nix.{name}` is for `nix.expression` only: `nix.flake` names its attribute, as in .#web")
    return FlakeImage(str(flake), dict(nix["options"]))
