"""Which packages of a closure match a name, and what brings each in. It never reads a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fleetswap.domain.closure.model import Closure, Component


@dataclass(frozen=True)
class Match:
    """A package that matches."""

    name: str
    version: str
    via: tuple[Component, ...] = ()
    """A shortest way to it, from the top of the closure and with itself; empty if nobody knows the closure."""


def in_closure(closure: Closure, package: str, version: str) -> tuple[Match, ...]:
    """The store paths of the package, those of each output: by name, version and path.

    `package` and `version` may have the wildcards `*`, `?` and `[…]`; without one, they are exact.
    """
    above = _above(closure)
    found = [
        Match(each.name, each.version, _via(closure, above, each.path))
        for each in closure.components.values()
        if each.path in above and _matches(each.name, each.version, package, version)
    ]
    return tuple(sorted(found, key=lambda each: (each.name, each.version, each.via[-1].path)))


def in_packages(packages: Mapping[str, str], package: str, version: str) -> tuple[Match, ...]:
    """The same in a list of packages, which does not say what brings them in."""
    found = [Match(name, its) for name, its in packages.items() if _matches(name, its, package, version)]
    return tuple(sorted(found, key=lambda each: each.name))


def _matches(name: str, its_version: str, package: str, version: str) -> bool:
    return fnmatchcase(name, package) and fnmatchcase(its_version, version)


def _above(closure: Closure) -> dict[str, str | None]:
    """For each store path the one that it is reached from, nearest to the top first; of equals, the first by name."""
    above: dict[str, str | None] = {closure.root: None}
    row = [closure.root]
    while row:
        following = []
        for path in row:
            for each in sorted(closure.components[path].references, key=lambda one: one.partition("-")[2]):
                if each not in above and each in closure.components:
                    above[each] = path
                    following.append(each)
        row = following
    return above


def _via(closure: Closure, above: Mapping[str, str | None], path: str) -> tuple[Component, ...]:
    way: list[Component] = []
    at: str | None = path
    while at is not None:
        way.append(closure.components[at])
        at = above[at]
    return tuple(reversed(way))
