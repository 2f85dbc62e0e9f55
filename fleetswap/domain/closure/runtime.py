"""Derives what an image will contain from its derivations, before anything is built.

Only a build shows what an output refers to. Until then, what a derivation names in its attributes is taken for what it
will refer to, without what is there for the build alone. The result has too much rather than too little: the text of a
build script names tools as well.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fleetswap.domain.closure import build_only
from fleetswap.domain.closure.build_only import SOURCES, SYSTEM, unversioned
from fleetswap.domain.closure.derivation import Derivation, UnknownDerivation, parse
from fleetswap.domain.closure.model import Closure, Component
from fleetswap.domain.closure.names import name_of, split

Reader = Callable[[str], bytes]
"""The bytes of a store path that is a file. An `OSError` if it is not there, or cannot be read."""

_Made = tuple[str, str]
"""A derivation, and one of its outputs."""

_NEVER: _Made = ("", "")
"""What makes something that no output refers to."""

_Named = tuple[str, str]
"""The hash and the name of a store path in a text."""


@dataclass(frozen=True)
class _Node:
    """What is kept of a derivation. Its attributes can have megabytes, and a machine has thousands of derivations."""

    path: str
    name: str
    version: object
    """The attribute `version`, whatever its type."""
    outputs: Mapping[str, str]
    is_fixed: bool
    inputs: tuple[str, ...]
    sources: tuple[str, ...]
    named: tuple[_Named, ...]
    """The store paths in the attributes that an output can refer to, in the order of the text and as often."""
    patched: tuple[_Named, ...]
    """Those in `patches`."""
    rest: str
    """Digest of the attributes without all of them."""
    is_hook: bool
    is_kernel: bool


@dataclass(frozen=True)
class _Read:
    """A derivation with what its attributes lead to."""

    node: _Node
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
    its_name, given = found.node.name, found.node.version
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
        self._nodes: dict[str, _Node] = {}
        self._reads: dict[str, _Read] = {}
        self._makers: dict[str, _Made | None] = {}
        """By the hash of an output; None of what is fetched: what is at run time is not known of such a one."""
        self.made_by: dict[str, _Made] = {}

    def node(self, path: str) -> _Node:
        if path not in self._nodes:
            try:
                data = self._read(path)
            except OSError as error:
                raise UnknownDerivation(
                    f"{path} cannot be read ({error.strerror or error}): if it was garbage-collected, evaluate again"
                ) from error
            found = self._nodes[path] = _node(parse(path, data))
            for output, made in found.outputs.items():
                maker = _NEVER if found.is_hook else (path, _at_run_time(output, found.outputs))
                self._makers[_hash_of(made)] = None if found.is_fixed else maker
        return self._nodes[path]

    def output(self, path: str) -> _Made:
        """The output of a derivation that is meant if none is named."""
        outputs = self.node(path).outputs
        return path, "out" if "out" in outputs else min(outputs, default="out")

    def path_of(self, path: str, output: str) -> str:
        made = self.node(path).outputs.get(output, "")
        if not made:
            raise UnknownDerivation(
                f"{path} has no store path before it is built (a content-addressed derivation): build it first"
            )
        return made

    def reads(self, path: str) -> _Read:
        if path not in self._reads:
            self._reads[path] = self._look(self.node(path))
        return self._reads[path]

    def _look(self, at: _Node) -> _Read:
        ours = {_hash_of(each) for each in at.outputs.values()}
        plain = {_hash_of(each): each for each in at.sources if not each.endswith(".drv")}
        named = dict.fromkeys(at.named)
        wanted = [*named, *at.patched]
        self._find([each for each in wanted if each[0] not in ours and each[0] not in plain], at.inputs)
        made = {found for its_hash, _ in named if (found := self._makers.get(its_hash)) and its_hash not in ours}
        made.discard(_NEVER)
        used = {plain[its_hash] for its_hash, _ in named if its_hash in plain and its_hash not in ours}
        # What another hash of it does not make another content is written without hash and version.
        written = {
            each: unversioned(each[1])
            if each[0] in ours or (each[0] not in plain and self._makers.get(each[0]))
            else "-".join(each)
            for each in named
        }
        parts = [at.rest, *(written[each] for each in at.named), *map(self._content, at.patched)]
        if at.is_kernel and (configured := [path for path, _ in sorted(made) if build_only.is_configuration(path)]):
            parts += [self.reads(path).own for path in configured]
            made, used = set(), set()
        own = _digest(parts)
        return _Read(at, tuple(sorted(made)), tuple(sorted(used)), own)

    def _content(self, patch: _Named) -> str:
        """What a patch is: its hash says so, unless it is made of other paths (replaceVars) and changes with theirs."""
        maker = self._makers.get(patch[0])
        return self.reads(maker[0]).own if maker and maker != _NEVER else "-".join(patch)

    def _find(self, named: Iterable[_Named], inputs: Iterable[str]) -> None:
        """Read the inputs that make these store paths.

        The name of an output begins with that of its derivation, so no other input is read.
        """
        missing = [each for each in named if each[0] not in self._makers]
        if not missing:
            return
        by_name: dict[str, list[str]] = {}
        for each in inputs:
            by_name.setdefault(name_of(each).removesuffix(".drv"), []).append(each)
        for its_hash, its_name in missing:
            for name in _beginnings(its_name):
                for path in by_name.get(name, ()) if its_hash not in self._makers else ():
                    self.node(path)


def _node(at: Derivation) -> _Node:
    """A derivation without the text of its attributes."""
    store = at.path.rpartition("/")[0] + "/"
    references = build_only.references(store)
    texts = [*build_only.attributes(at)]
    forbidden = build_only.forbidden(at, texts)
    rest: list[object] = []
    named: list[_Named] = []
    patched: list[_Named] = []
    for name, value in texts:
        if (name in SOURCES and name != "patches") or store not in value:
            rest += (name, value)
            continue
        pieces = references.split(
            build_only.without_compilers(name, value, references)
        )  # a text, a hash, a name, a text, …
        rest += (name, pieces[::3])
        if name == "patches":
            patched += zip(pieces[1::3], pieces[2::3], strict=True)
            continue
        is_run = build_only.is_run_by(at, name)
        for its_hash, its_name in zip(map(sys.intern, pieces[1::3]), map(sys.intern, pieces[2::3]), strict=True):
            if its_hash in forbidden or build_only.is_tool(its_name) or is_run(its_name):
                rest.append(unversioned(its_name))
            else:
                named.append((its_hash, its_name))
    return _Node(
        path=at.path,
        name=at.name,
        version=at.attributes.get("version"),
        outputs=at.outputs,
        is_fixed=at.is_fixed,
        inputs=at.inputs,
        sources=at.sources,
        named=tuple(named),
        patched=tuple(patched),
        rest=_digest(rest),
        is_hook=build_only.is_hook(at),
        is_kernel=build_only.is_kernel(at),
    )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


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


def _hash_of(path: str) -> str:
    return path.rpartition("/")[2][:32]
