"""How two closures differ, in what a reviewer asks: which packages, which kernel, which units, and what was rebuilt.

Another path of a package is not a change: each package that refers to a changed one has another path. What is worth a
line has another version, or was itself changed; the rest is counted, with its causes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from fleetswap.domain.closure.kinds import SCRIPT, Group, Held, Kind, size_of, sort
from fleetswap.domain.closure.model import Closure, Component

BUILD_TOOLS = "what they are built with"
"""A cause: of what was rebuilt, but was not changed itself, and refers to nothing that was."""


class Source(Enum):
    """What the changes were read from."""

    STORE = "store"
    """What is really in both images."""
    DERIVATIONS = "derivations"
    """What the images are built from: what is needed only to build may be among the changes."""
    PACKAGES = "packages"
    """What the images' authors say is in them."""


class Package(NamedTuple):
    """A package; its versions in each image are in order, and none means that it is not there."""

    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    size: tuple[int, int] | None = None
    """Bytes before and after, of all its outputs, if they are known."""


class Names(NamedTuple):
    """What came, what went, and what is another, each by name."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


NONE = Names()


@dataclass(frozen=True)
class Changes:
    """The differences. Each list is sorted by name."""

    source: Source
    kernel: tuple[Package, ...] = ()
    """The kernel and its modules, if they have other versions, came or went."""
    units: Names = NONE
    moved: tuple[Package, ...] = ()
    """Packages with other versions."""
    changed: tuple[Package, ...] = ()
    """Packages of the same version that were themselves changed: other sources, patches, options or outputs."""
    added: tuple[Package, ...] = ()
    removed: tuple[Package, ...] = ()
    files: Names = NONE
    """Store paths without a version: configuration, scripts."""
    rebuilt: tuple[str, ...] = ()
    """Packages that are as they were, but for what they refer to."""
    because: tuple[str, ...] = ()
    """The names of what changed and is referred to, at any distance, by what was rebuilt."""
    size: tuple[int, int] | None = None
    """Bytes of all store paths before and after, if they are known."""

    @property
    def is_empty(self) -> bool:
        """Whether the images are made of the same."""
        return self == Changes(self.source, size=self.size)


def annotated(exact: Closure, derived: Closure) -> Closure:
    """An exact closure that says of each path what it is made from, if the derived one of the same image does."""
    own = {path: each.own for path, each in derived.components.items()}
    components = {path: replace(each, own=own.get(path, "")) for path, each in exact.components.items()}
    return replace(exact, components=components)


def of_packages(packages: Mapping[str, str]) -> Closure:
    """What an image's author says is in it, by name and version. Nothing is known of what is rebuilt."""
    made = (Component(f"{name} {version}", name, version) for name, version in sorted(packages.items()))
    return Closure("", exact=False, components={each.path: each for each in made})


def compare(before: Closure, after: Closure) -> Changes:
    """What changes from one closure to the other. Both are exact or both derived: one with the other has no meaning."""
    found = _Comparison(before, after)
    packages = found.packages(Group.PACKAGE)
    return Changes(
        source=Source.STORE if after.exact else Source.DERIVATIONS if after.root else Source.PACKAGES,
        kernel=found.packages(Group.KERNEL),
        units=found.named(Group.UNIT),
        moved=tuple(each for each in packages if each.before and each.after),
        changed=tuple(found.package(kind) for kind in found.changed if kind.group in _VERSIONED),
        added=tuple(each for each in packages if not each.before),
        removed=tuple(each for each in packages if not each.after),
        files=found.named(Group.FILE),
        rebuilt=tuple(kind.name for kind in found.rebuilt),
        because=tuple(found.causes()),
        size=_both(size_of(before.components.values()), size_of(after.components.values())),
    )


_VERSIONED = (Group.KERNEL, Group.PACKAGE)

_NOTHING = Held()


class _Comparison:
    """Two closures, and what of them has other versions, was changed, or was only rebuilt."""

    def __init__(self, before: Closure, after: Closure) -> None:
        self._closures = before, after
        self._before, self._after = sort(before), sort(after)
        self.moved: list[Kind] = []
        self.changed: list[Kind] = []
        same: list[Kind] = []
        for kind in sorted(self._before.keys() | self._after.keys(), key=lambda kind: (kind.name, kind.group.value)):
            had, has = self._held(kind)
            if had.versions != has.versions:
                self.moved.append(kind)
            elif had.paths != has.paths:
                (self.changed if self._is_changed(had, has) else same).append(kind)
        scripts = {kind for kind in (*self.moved, *self.changed) if kind.name.startswith(SCRIPT)}
        self.changed += [kind for kind in same if kind.group is Group.UNIT and self._refers(kind, scripts)]
        self.changed.sort(key=lambda kind: kind.name)
        self.rebuilt = [kind for kind in same if kind.group in _VERSIONED and not kind.is_silent]

    def _held(self, kind: Kind) -> tuple[Held, Held]:
        return self._before.get(kind, _NOTHING), self._after.get(kind, _NOTHING)

    def _is_changed(self, had: Held, has: Held) -> bool:
        """Whether what has another path was itself changed. If nobody knows: unless something it refers to was."""
        if {each.version for each in had.components} != {each.version for each in has.components}:
            return False  # a module of the kernel, that was built for another one
        if had.paths <= has.paths or has.paths <= had.paths:
            return True  # one image has an output of it that the other does not have
        if had.own is not None and has.own is not None:
            return had.own != has.own
        before, after = self._closures
        return had.references <= after.components.keys() and has.references <= before.components.keys()

    def _refers(self, kind: Kind, to: Iterable[Kind]) -> bool:
        paths = {path for each in to if each in self._after for path in self._after[each].paths}
        return not paths.isdisjoint(self._after[kind].references)

    def package(self, kind: Kind) -> Package:
        """A kind with its versions and sizes."""
        had, has = self._held(kind)
        return Package(kind.name, had.versions, has.versions, _both(had.size, has.size))

    def packages(self, group: Group) -> tuple[Package, ...]:
        """What has other versions, of one group."""
        return tuple(self.package(kind) for kind in self.moved if kind.group is group)

    def named(self, group: Group) -> Names:
        """What of one group came, went, or is another."""
        moved = [kind for kind in self.moved if kind.group is group and not kind.is_silent]
        changed = [kind for kind in self.changed if kind.group is group and not kind.is_silent]
        both = [kind for kind in moved if kind in self._before and kind in self._after]
        return Names(
            added=tuple(kind.name for kind in moved if kind not in self._before),
            removed=tuple(kind.name for kind in moved if kind not in self._after),
            changed=tuple(sorted(kind.name for kind in (*both, *changed))),
        )

    def causes(self) -> list[str]:
        """What changed, as far as what was rebuilt refers to it; at the end what they are built with, if no other."""
        components = self._closures[1].components
        referrers: dict[str, list[str]] = {}
        for each in components.values():
            for one in each.references:
                referrers.setdefault(one, []).append(each.path)
        causes = [kind for kind in (*self.moved, *self.changed) if kind in self._after]
        below = _reach(
            self._paths(self.rebuilt), lambda path: components[path].references if path in components else ()
        )
        above = _reach(self._paths(causes), lambda path: referrers.get(path, ()))
        names = [kind.name for kind in causes if not kind.is_silent and not below.isdisjoint(self._after[kind].paths)]
        explained = all(not above.isdisjoint(self._after[kind].paths) for kind in self.rebuilt)
        return names if explained else [*names, BUILD_TOOLS]

    def _paths(self, kinds: Iterable[Kind]) -> set[str]:
        return {path for kind in kinds for path in self._after[kind].paths}


def _reach(start: Iterable[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    """What `start` is and leads to, at any distance."""
    found = set(start)
    waiting = list(found)
    while waiting:
        for each in following(waiting.pop()):
            if each not in found:
                found.add(each)
                waiting.append(each)
    return found


def _both(before: int | None, after: int | None) -> tuple[int, int] | None:
    return None if before is None or after is None else (before, after)
