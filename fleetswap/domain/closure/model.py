"""A closure: the store paths that a machine is made of. It says what they are, and never how they were found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Component:
    """One store path. `name` and `version` are of the package (`openssl`, `3.6.1`; a version may be empty)."""

    path: str
    """`/nix/store/HASH-NAME`."""

    name: str
    version: str = ""
    output: str = "out"
    size: int | None = None
    """Bytes of its NAR, if it is known."""

    references: tuple[str, ...] = ()
    """The store paths that it refers to, without itself."""

    licence: str | None = None
    """An SPDX license expression, if it is known."""

    own: str = ""
    """Digest of what it is made from, without the hashes of what it refers to: the same for a component that was only
    rebuilt. Empty if it is unknown, as in a closure that was read from the store."""


@dataclass(frozen=True)
class Closure:
    """All store paths that `root` needs at run time, by path.

    `exact`: it was read from the store. Otherwise it was derived from the derivations, and may have too much (headers,
    development outputs), never too little of what is named in them.
    """

    root: str
    exact: bool
    components: Mapping[str, Component] = field(default_factory=dict)
