"""Derives what an image will contain from its derivations, before anything is built.

Only a build shows what an output refers to. Until then, what a derivation names in its attributes is taken for what it
will refer to, without what is there for the build alone. The result has too much rather than too little: the text of a
build script names tools as well.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fleetswap.domain.closure.derivation import Derivation, UnknownDerivation, parse
from fleetswap.domain.closure.model import Closure, Component
from fleetswap.domain.closure.names import name_of, split

Reader = Callable[[str], bytes]
"""The bytes of a store path that is a file. An `OSError` if it is not there, or cannot be read."""

SOURCES = frozenset(
    {"src", "srcs", "patches", "cargoDeps", "goModules", "npmDeps", "pnpmDeps", "yarnOfflineCache"},
)
"""What is unpacked and compiled. Of these, another hash is another content."""

BUILD_ONLY = SOURCES | {
    # What runs while something is built: nixpkgs manual, "Specifying dependencies".
    *("stdenv", "builder", "nativeBuildInputs", "propagatedNativeBuildInputs"),
    *("depsBuildBuild", "depsBuildBuildPropagated", "depsBuildTarget", "depsBuildTargetPropagated"),
    *("nativeCheckInputs", "checkInputs", "nativeInstallCheckInputs", "installCheckInputs"),
    *("unpackPhase", "checkPhase", "preCheck", "postCheck"),
    *("installCheckPhase", "preInstallCheck", "postInstallCheck"),
    *("setupHook", "setupHooks", "envHooks", "phases"),
    # What an output may refer to, or must not: Nix manual, "Advanced attributes".
    *("allowedReferences", "allowedRequisites", "disallowedReferences", "disallowedRequisites", "outputChecks"),
}
"""Attributes that name what an output does not refer to."""

SYSTEM = re.compile(r"nixos-system-.+")
"""The name of a NixOS machine (nixos/modules/system/activation/top-level.nix)."""

SYSTEM_ONLY = frozenset({"passedChecks", "closureInfo", "perl", "localeArchive"})
"""Attributes of a NixOS machine that its output does not refer to; the same file says so."""


@lru_cache
def _references(store: str) -> re.Pattern[str]:
    """Finds the paths of a store, wherever they stand in a text: the hash and the name of each."""
    return re.compile(re.escape(store) + r"/([0-9a-df-np-sv-z]{32})-([0-9a-zA-Z+\-._?=]+)")


_Made = tuple[str, str]
"""A derivation, and one of its outputs."""


@dataclass(frozen=True)
class _Read:
    """A derivation with what its attributes lead to."""

    derivation: Derivation
    made: tuple[_Made, ...]
    """What it refers to and another derivation makes."""
    sources: tuple[str, ...]
    """What it refers to and no derivation makes."""
    own: str
    """As in `Component`."""


def derive(root: str, read: Reader) -> Closure:
    """What the derivation at `root` will need at run time; of an image of NixOS, what its machine will.

    `read` reads each file once. `UnknownDerivation` if one is missing, as after a garbage collection, or is not known.
    """
    graph = _Graph(read)
    start = graph.output(root)
    closure = _closure(graph, start)
    # An image is made of tools as well; what runs is the machine in it. The first is its own, others may be in that.
    machines = (path for path in closure.components if SYSTEM.fullmatch(name_of(path)) and path in graph.made_by)
    machine = next(machines, closure.root)
    return _sorted(closure if machine == closure.root else _closure(graph, graph.made_by[machine]))


def is_system(closure: Closure) -> bool:
    """Whether it is that of a NixOS machine, and not of a disk or anything else."""
    return SYSTEM.fullmatch(name_of(closure.root)) is not None


def _sorted(closure: Closure) -> Closure:
    return Closure(closure.root, closure.exact, dict(sorted(closure.components.items())))


def _closure(graph: _Graph, start: _Made) -> Closure:
    """Nearest first."""
    components: dict[str, Component] = {}
    waiting = [start]
    for each in waiting:  # it grows meanwhile
        path = graph.path_of(*each)
        if path in components:
            continue
        graph.made_by[path] = each
        found = graph.reads(each[0])
        references = {*found.sources, *(graph.path_of(*one) for one in found.made)} - {path}
        components[path] = _component(path, found, sorted(references))
        waiting += found.made
        for source in found.sources:
            components.setdefault(source, _leaf(source))
    return Closure(graph.path_of(*start), exact=False, components=components)


def _component(path: str, found: _Read, references: list[str]) -> Component:
    its_name, given = found.derivation.name, found.derivation.attributes.get("version")
    if isinstance(given, str) and given and its_name.endswith(f"-{given}"):
        name, version = its_name.removesuffix(f"-{given}"), given
        output = name_of(path).removeprefix(its_name).removeprefix("-") or "out"
    else:
        name, version, output = split(name_of(path))
    return Component(path, name, version, output, references=tuple(references), own=found.own)


def _leaf(path: str) -> Component:
    # Its hash is that of its content.
    name, version, _ = split(name_of(path))
    return Component(path, name, version, own=_hash_of(path)[:16])


class _Graph:
    """The derivations that were read so far, each once, and only those that something leads to."""

    def __init__(self, read: Reader) -> None:
        self._read = read
        self._derivations: dict[str, Derivation] = {}
        self._reads: dict[str, _Read] = {}
        self._makers: dict[str, _Made] = {}
        self.made_by: dict[str, _Made] = {}

    def derivation(self, path: str) -> Derivation:
        if path not in self._derivations:
            try:
                data = self._read(path)
            except OSError as error:
                raise UnknownDerivation(
                    f"{path} cannot be read ({error.strerror or error}): if it was garbage-collected, evaluate again"
                ) from error
            found = self._derivations[path] = parse(path, data)
            for output, made in found.outputs.items():
                self._makers[_hash_of(made)] = path, output
        return self._derivations[path]

    def output(self, path: str) -> _Made:
        """The output of a derivation that is meant if none is named."""
        outputs = self.derivation(path).outputs
        return path, "out" if "out" in outputs else min(outputs, default="out")

    def path_of(self, path: str, output: str) -> str:
        made = self.derivation(path).outputs.get(output, "")
        if not made:
            raise UnknownDerivation(
                f"{path} has no store path before it is built (a content-addressed derivation): build it first"
            )
        return made

    def reads(self, path: str) -> _Read:
        if path not in self._reads:
            self._reads[path] = self._look(self.derivation(path))
        return self._reads[path]

    def _look(self, at: Derivation) -> _Read:
        by_name: dict[str, list[str]] = {}
        for each in at.inputs:
            by_name.setdefault(name_of(each).removesuffix(".drv"), []).append(each)
        ours = {_hash_of(each) for each in at.outputs.values()}
        plain = {_hash_of(each): each for each in at.sources if not each.endswith(".drv")}
        known: dict[str, _Made | None] = {}
        used: set[str] = set()

        def followed(found: re.Match[str]) -> str:
            """What another hash of it does not make another content is written without hash and version."""
            its_hash, its_name = found.groups()
            if its_hash in ours:
                return _unversioned(its_name)
            if its_hash in plain:
                used.add(plain[its_hash])
                return found[0]
            if its_hash not in known:
                known[its_hash] = self._maker(its_hash, its_name, by_name)
            return found[0] if known[its_hash] is None else _unversioned(its_name)

        references = _references(at.path.rpartition("/")[0])
        parts = []
        for name, value in _attributes(at):
            if name in SOURCES:
                parts.append((name, value))
            elif _is_for_build(at, name):
                parts.append((name, references.sub(lambda found: _unversioned(found[2]), value)))
            else:
                parts.append((name, references.sub(followed, value)))
        own = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
        made = {each for each in known.values() if each is not None}
        return _Read(at, tuple(sorted(made)), tuple(sorted(used)), own)

    def _maker(self, its_hash: str, its_name: str, by_name: Mapping[str, list[str]]) -> _Made | None:
        """What makes the store path of a hash, unless it is fetched: what is at run time is not known of such a one.

        The name of an output begins with that of its derivation, so no other input is read.
        """
        if its_hash not in self._makers:
            for name in _beginnings(its_name):
                for path in by_name.get(name, ()):
                    self.derivation(path)
        if its_hash not in self._makers:
            return None
        path, output = self._makers[its_hash]
        made = self.derivation(path)
        return None if made.is_fixed else (path, _at_run_time(output, made.outputs))


def _attributes(at: Derivation) -> Iterator[tuple[str, str]]:
    """What a derivation is made of, as texts. Without stdenv nothing says what is there for the build alone."""
    for name, value in sorted(at.attributes.items()):
        yield name, value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    if "stdenv" not in at.attributes:
        yield "args", "\n".join(at.args)


def _is_for_build(at: Derivation, name: str) -> bool:
    if name == "builder" and "stdenv" not in at.attributes:
        return False
    return name in BUILD_ONLY or (name in SYSTEM_ONLY and SYSTEM.fullmatch(at.name) is not None)


def _at_run_time(output: str, outputs: Mapping[str, Any]) -> str:
    """Who builds against a package names its `dev` output, and links to what lies in another."""
    if output != "dev":
        return output
    return next((each for each in ("lib", "out") if each in outputs), output)


def _beginnings(name: str) -> Iterator[str]:
    """A name, and what it begins with: in a text more may follow it that could belong to a name."""
    yield name
    for at in range(len(name) - 1, 0, -1):
        if name[at] in "-.?=_+":
            yield name[:at]


@lru_cache(maxsize=65536)
def _unversioned(name: str) -> str:
    return f"<{split(name).name}>"


def _hash_of(path: str) -> str:
    return path.rpartition("/")[2][:32]
