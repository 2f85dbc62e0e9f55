"""Reads a store derivation: the `.drv` file itself, the one form of it that every version of Nix writes alike.

The file is an ATerm (Nix manual, "Derivation ATerm file format"): JSON but for its parentheses, and its strings escape
only `"`, `\\`, newline, carriage return and tab (libstore's printString). Commands that print JSON have changed their
names and their output from Nix 2.8 to 2.26.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from fleetswap.domain.closure.names import name_of
from fleetswap.domain.errors import InputError

_STRING = re.compile(r'("[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z))', re.DOTALL)
"""Or the rest of a file that was cut short: else each quote in it would be tried as the beginning of a string."""

_BRACKETS = str.maketrans("()", "[]")

_PLAIN, _VERSIONED = "Derive(", "DrvWithVersion("

_DYNAMIC = "xp-dyn-drv"
"""The only version there is: an input that another derivation makes (experimental feature dynamic-derivations)."""

_STRUCTURED = "__json"
"""The variable with all attributes of a derivation that has `__structuredAttrs`."""


class UnknownDerivation(InputError):
    """A derivation that cannot be read, so that nothing can be said about what depends on it."""


@dataclass(frozen=True)
class Derivation:
    """What a `.drv` file says. Store paths are texts as the file has them."""

    path: str
    """Its own path in the store."""

    outputs: Mapping[str, str]
    """Store path by name. It is empty if only the build will say it (a content-addressed derivation)."""

    is_fixed: bool
    """Its output's hash is given: a source that is fetched."""

    inputs: tuple[str, ...]
    """Paths of the derivations that are built before it."""

    sources: tuple[str, ...]
    """Store paths that are there without a build."""

    builder: str
    args: tuple[str, ...]
    environment: Mapping[str, str]

    @property
    def name(self) -> str:
        """The name that its store paths have."""
        return name_of(self.path).removesuffix(".drv")

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes that its author gave, as texts, or as JSON values if it has `__structuredAttrs`.

        `UnknownDerivation` if the JSON is damaged.
        """
        structured = self.environment.get(_STRUCTURED)
        if structured is None:
            return self.environment
        try:
            found = json.loads(structured, strict=False)
        except (RecursionError, ValueError) as error:
            raise UnknownDerivation(f"{self.path}: its {_STRUCTURED} is not JSON ({error})") from error
        return found if isinstance(found, dict) else {}


def parse(path: str, data: bytes) -> Derivation:
    """The derivation in the file `path`. `UnknownDerivation` if it is damaged, or of a kind that is not known here."""
    # A builder's text may be in any encoding; what is not UTF-8 comes through unchanged.
    text = data.decode("utf-8", "surrogateescape")
    head, values = _values(path, text)
    if head == _VERSIONED:
        version = values.pop(0) if values else None
        if version != _DYNAMIC:
            raise UnknownDerivation(f"{path} has version {version!r}, which this program does not know")
    try:
        outputs, inputs, sources, _system, builder, args, environment = values
        found = Derivation(
            path=path,
            outputs={name: its_path for name, its_path, _method, _hash in outputs},
            is_fixed=any(its_hash for _name, _path, _method, its_hash in outputs),
            inputs=tuple(_input(path, each) for each in inputs),
            sources=tuple(sources),
            builder=builder,
            args=tuple(args),
            environment=dict(environment),
        )
        texts = (found.builder, *found.args, *found.sources, *chain(*found.outputs.items(), *found.environment.items()))
        if any(type(each) is not str for each in texts):
            raise ValueError("what must be a text is none")
        return found
    except (TypeError, ValueError) as error:
        raise UnknownDerivation(f"{path} is not a derivation ({error})") from error


def _values(path: str, text: str) -> tuple[str, list[Any]]:
    head = next((each for each in (_PLAIN, _VERSIONED) if text.startswith(each)), None)
    if head is None:
        raise UnknownDerivation(f"{path} is not a derivation: it begins with {text[:16]!r}")
    try:
        # Every other part is a string. JSON has the same escapes for all that is escaped in one; other control
        # characters are as they are.
        parts = _STRING.split(text[len(head) - 1 :])
        parts[::2] = [between.translate(_BRACKETS) for between in parts[::2]]
        values = json.loads("".join(parts), strict=False)
    except (RecursionError, ValueError) as error:
        raise UnknownDerivation(f"{path} is not a derivation ({error})") from error
    return head, values


def _input(path: str, given: Any) -> str:  # noqa: ANN401 (JSON)
    """The path of an input: it has the names of its outputs, or those and what these, as derivations, make."""
    its_path, outputs = given
    if len(outputs) == 2 and isinstance(outputs[1], list):
        if outputs[1]:
            raise UnknownDerivation(f"{path} depends on derivations that only {its_path} will make: build it first")
        outputs = outputs[0]
    if not isinstance(its_path, str) or not all(isinstance(each, str) for each in outputs):
        raise ValueError("an input is not a path with outputs")
    return its_path
