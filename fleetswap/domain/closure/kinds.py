"""Sorts the components of a closure into what a reviewer asks about: the kernel, units, packages, and the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from fleetswap.domain.closure.model import Closure, Component
from fleetswap.domain.closure.names import UNIT, name_of

KERNEL = re.compile(r"linux(?:-(?!pam|firmware|headers|config|tools|quota|api|doc|image)[a-z_]+)?")
"""The kernels of nixpkgs: `linux`, `linux-hardened`; and not what is only named after it."""

SYSTEM = "NixOS"
"""What the machine itself is called, whose version is that of its NixOS."""

STAGE = re.compile(r"stage-[12]-init(?:\.sh)?")
"""The scripts of NixOS's boot. The number is no version."""

AGGREGATES = re.compile(
    r"etc|etc-(?:dump|json|lowerdir|metadata\.erofs)|firmware|kernel-modules|system-path"
    r"|system-(?:units|generators|shutdown)|user-(?:units|environment)|initrd-(?:units|bin-env)|closure-info"
    r"|X-(?:Restart|Reload)-Triggers-.+"
)
"""They list all others, so they change with any: nothing to say of them."""

SCRIPT = "unit-script-"
"""What begins the name of a unit's script; it is a part of the unit."""


class Group(Enum):
    """What a component is to a reviewer."""

    KERNEL = "kernel"
    """The kernel, and modules outside its own sources."""
    UNIT = "unit"
    PACKAGE = "package"
    FILE = "file"
    """A store path without a version: configuration, a script, sources of one's own."""


class Kind(NamedTuple):
    """What is compared: all components of one name."""

    group: Group
    name: str

    @property
    def is_silent(self) -> bool:
        """Whether it has no line of its own."""
        if self.group is Group.FILE:
            return AGGREGATES.fullmatch(self.name) is not None or self.name.startswith(SCRIPT)
        return self.name == SYSTEM


@dataclass
class Held:
    """The components of one kind in one closure, with their versions in order."""

    components: list[Component] = field(default_factory=list)
    versions: tuple[str, ...] = ()

    @property
    def paths(self) -> set[str]:
        """Their store paths."""
        return {each.path for each in self.components}

    @property
    def references(self) -> set[str]:
        """What they refer to, except each other."""
        return {one for each in self.components for one in each.references} - self.paths

    @property
    def own(self) -> set[str] | None:
        """What they are made from, or None if it is not known."""
        found = {each.own for each in self.components}
        return None if "" in found else found

    @property
    def size(self) -> int | None:
        """Bytes of all of them, if they are known."""
        return size_of(self.components)


def size_of(components: Iterable[Component]) -> int | None:
    """Bytes of all of them, or None if one is not known."""
    sizes = [each.size for each in components]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def sort(closure: Closure) -> Mapping[Kind, Held]:
    """The components by kind."""
    kernels = {each.version for each in closure.components.values() if KERNEL.fullmatch(each.name) and each.version}
    found: dict[Kind, Held] = {}
    versions: dict[Kind, set[str]] = {}
    for each in closure.components.values():
        kind, version = _kind(each, closure.root, kernels)
        found.setdefault(kind, Held()).components.append(each)
        versions.setdefault(kind, set()).add(version)
    for kind, held in found.items():
        held.versions = tuple(sorted(versions[kind], key=lambda version: (_parts(version), version)))
    return found


def _kind(each: Component, root: str, kernels: set[str]) -> tuple[Kind, str]:
    name = name_of(each.path)
    unit = UNIT.fullmatch(name.removesuffix("-disabled"))
    if unit is not None:
        return Kind(Group.UNIT, unit[1]), "disabled" if name.endswith("-disabled") else ""
    if each.path == root and each.name.startswith("nixos-system-"):
        return Kind(Group.PACKAGE, SYSTEM), each.version
    # An initial RAM disk is named after its kernel, and has no version of its own.
    if not each.version or (each.version in kernels and each.name.startswith("initrd-")) or STAGE.fullmatch(name):
        return Kind(Group.FILE, name if STAGE.fullmatch(name) else each.name), ""
    if KERNEL.fullmatch(each.name):
        return Kind(Group.KERNEL, each.name), each.version
    # A module outside the kernel's own sources is built for one kernel, which ends its version: ena-2.15.0-6.12.58.
    built_for = next((kernel for kernel in kernels if each.version.endswith(f"-{kernel}")), None)
    if built_for is not None:
        return Kind(Group.KERNEL, each.name), each.version.removesuffix(f"-{built_for}")
    return Kind(Group.PACKAGE, each.name), each.version


def _parts(version: str) -> list[tuple[int, str]]:
    """By numbers where there are numbers: 3.9 comes before 3.10."""
    # Numbers of any length: as a text, the longer one is the greater, and Python converts no more than 4,300 digits.
    parts = re.findall(r"0*([0-9]+)|([^0-9]+)", version)
    return [(len(number), number or text) for number, text in parts]
