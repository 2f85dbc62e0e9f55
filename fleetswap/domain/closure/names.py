"""The package, version and output that the name of a store path says.

A store path says no more than `HASH-NAME`. What is taken for a version is Nix's own rule (`builtins.parseDrvName`, and
`nix store diff-closures` for outputs), so that the same path has the same version in every tool.
"""

from __future__ import annotations

import re
from typing import NamedTuple

STORE_PATH = re.compile(r"/[!-.0-~/]*?/([0-9a-df-np-sv-z]{32})-([0-9a-zA-Z+\-._?=]+)")
"""A path of a store, wherever that is: the characters of a hash (Nix's base 32) and of a name are Nix's."""

_HASHED = re.compile(r"[0-9a-df-np-sv-z]{32}-")

_VERSION = re.compile(r"-(?=[0-9])")

_OUTPUTS = re.compile(r"((?:-(?!(?:alpha|beta|pre|rc)\b)(?:[a-z]+|lib32|lib64))+)$")
"""`-dev`, `-lib`, `-modules`: outputs are letters, as in Nix's diff-closures; but not the end of a version."""

UNIT = re.compile(r"unit-(?!script-)(.+\.(?:service|socket|timer|mount|automount|swap|target|path|slice|scope|device))")
"""The derivation of a systemd unit in NixOS (nixos/lib/systemd-lib.nix, makeUnit); a version is no part of it."""


class Named(NamedTuple):
    """What a name says. `version` may be empty; `output` is `out` if the name has none."""

    name: str
    version: str
    output: str


def name_of(path: str) -> str:
    """The name of a store path, without store and hash. Of anything else, what stands behind the last slash."""
    base = path.rpartition("/")[2]
    return base[33:] if _HASHED.match(base) else base


def split(name: str) -> Named:
    """The parts of a name: `openssl-3.6.1-bin` is `openssl`, `3.6.1`, `bin`.

    A name without a version has no output either: in `bash-interactive-man` nothing says where the package ends.
    """
    found = _VERSION.search(name)
    if found is None or UNIT.fullmatch(name):
        return Named(name, "", "out")
    version = name[found.end() :]
    outputs = _OUTPUTS.search(version)
    if outputs is None:
        return Named(name[: found.start()], version, "out")
    return Named(name[: found.start()], version[: outputs.start()], outputs[1][1:])
