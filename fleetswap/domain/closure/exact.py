"""Reads a closure as Nix itself states it: every store path with its size and references.

Two forms, both stable: what `exportReferencesGraph` gives to a builder with `__structuredAttrs` (a list of objects,
Nix manual, "Advanced attributes"), and the registration that `nix-store --dump-db` prints and `--load-db` reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fleetswap.domain.closure.model import Closure, Component
from fleetswap.domain.closure.names import STORE_PATH, name_of, split
from fleetswap.domain.errors import InputError

VERSION = 1
"""Of `nix-support/closure.json`."""


def from_file(value: object) -> Closure:
    """The closure in a `closure.json`, parsed: `version`, `root`, `paths`, and perhaps `licences` by package.

    `InputError` if it has another form, or a newer version. A path that refers to one that is not in the list is
    refused too: what is left out would look as if it had been removed.
    """
    try:
        return _from_file(value)
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"closure.json cannot be read ({error!r}): build the image again") from error


def _from_file(value: Any) -> Closure:  # noqa: ANN401 (JSON)
    version = value["version"]
    if version != VERSION:
        raise InputError(
            f"closure.json has version {version}, this program reads {VERSION}: use the release of Fleetswap that the"
            " image was built with"
        )
    licences = value.get("licences") or {}
    if not all(isinstance(each, str) for each in licences.values()):
        raise TypeError("a license is not a text")
    return exact(value["root"], value["paths"], licences)


def exact(root: str, paths: Iterable[Mapping[str, Any]], licences: Mapping[str, str]) -> Closure:
    """The closure of `root` out of `exportReferencesGraph`'s objects (`path`, `narSize`, `references`).

    `licences` has SPDX expressions by package name. `ValueError` if the list is not a closure of `root`.
    """
    components = {}
    for each in paths:
        path = _store_path(each["path"])
        name, its_version, output = split(name_of(path))
        components[path] = Component(
            path,
            name,
            its_version,
            output,
            size=None if each.get("narSize") is None else int(each["narSize"]),
            references=tuple(sorted({_store_path(one) for one in each["references"]} - {path})),
            licence=licences.get(name),
        )
    missing = {one for each in components.values() for one in each.references} | {_store_path(root)}
    missing -= components.keys()
    if missing:
        raise ValueError(f"{min(missing)} is not in the list")
    return Closure(root, exact=True, components=dict(sorted(components.items())))


def registered(text: str) -> list[dict[str, Any]]:
    """The objects that `exact` takes out of `nix-store --dump-db PATH…`: a path, its hash, size, deriver, references.

    `ValueError` if the text ends in the middle of one.
    """
    lines = iter(text.splitlines())
    found = []
    for path in lines:
        try:
            nar_hash, size, _deriver, count = (next(lines) for _ in range(4))
            references = [next(lines) for _ in range(int(count))]
        except (StopIteration, RuntimeError) as error:
            raise ValueError(f"the registration of {path} is cut short") from error
        found.append({"path": path, "narHash": nar_hash, "narSize": int(size), "references": references})
    return found


def _store_path(path: object) -> str:
    if not isinstance(path, str) or not STORE_PATH.fullmatch(path):
        raise ValueError(f"{path!r} is not a store path")
    return path
