"""Reads a closure, as Nix or an earlier run of the builder wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from programs import Refused

STORE = "/nix/store/"


def read(path: Path, root: str | None, licences: dict[str, str] | None) -> dict[str, Any]:
    """The closure as `closure.json` has it, sorted.

    The file is such a `closure.json`, or the list of paths that Nix writes for `exportReferencesGraph` with structured
    attributes; then `root` must be given. Raises `Refused` if it is not a whole closure.
    """
    given = read_json(path)
    whole = given if isinstance(given, dict) else {"paths": given}
    root = root or whole.get("root")
    try:
        paths = [
            {
                "path": str(info["path"]),
                "narHash": info["narHash"],
                "narSize": info["narSize"],
                "references": sorted(info["references"]),
            }
            for info in whole["paths"]
        ]
    except (KeyError, TypeError):
        raise Refused(f"{path} is not a closure: each path must have path, narHash, narSize, references") from None
    names = {info["path"] for info in paths}
    if root not in names:
        raise Refused(f"{path} has no path {root or 'named as its root'}: give --toplevel")
    outside = sorted(name for name in names if not name.startswith(STORE) or "/" in name[len(STORE) :])
    if outside:
        raise Refused(f"{path}: {outside[0]} is not a path of {STORE}")
    absent = sorted({each for info in paths for each in info["references"]} - names)
    if absent:
        raise Refused(f"{path} is not whole: {absent[0]} is referred to but is not one of its paths")
    return {
        "version": 1,
        "root": root,
        "paths": sorted(paths, key=lambda info: info["path"]),
        "licences": whole.get("licences", {}) if licences is None else licences,
    }


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `Refused` for anything else."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise Refused(f"{path} must be a JSON object")
    return found


def read_json(path: Path) -> object:
    """Any JSON. Raises `Refused` for what is not."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise Refused(f"{path} is not JSON: {error}") from None
