"""Counts the imports that lead from one room of the project to another: `python -m tools.imports`.

A room is a package of ours; `fleetswap` is one room for each of its packages. The wings of those are counted apart.
tests/test_layers.py holds ARCHITECTURE.md against this. It judges nothing: import-linter does (`make lint`).
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent

WINGS = ("image", "release", "rollout")


def packages() -> tuple[str, ...]:
    """The top-level packages that import-linter watches."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return tuple(settings["tool"]["importlinter"]["root_packages"])


def room_of(module: str) -> str:
    """The room that a module is in: `fleetswap.domain`, `localcloud`."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "fleetswap" else parts[0]


def wing_of(module: str) -> str:
    """The wing that a module of `fleetswap` is in; what several wings share is in none, and is named by its package."""
    parts = module.split(".")
    return ".".join(parts[:3]) if parts[2:3] and parts[2] in WINGS else ".".join(parts[:2])


def read(*, external: bool = False) -> grimp.ImportGraph:
    """Who imports whom; with `external` what is not ours as well.

    Without grimp's cache: it keeps the times of files for all graphs, and the imports for each, so after a change one
    graph is read and the next one is as it was.
    """
    return grimp.build_graph(*packages(), include_external_packages=external, cache_dir=None)


def between(graph: grimp.ImportGraph) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """How many modules of the one import one of the other: for rooms, and for the wings of the same room."""
    rooms, wings = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            pair = room_of(importer), room_of(imported)
            if pair[0] != pair[1]:
                rooms[pair] += 1
            elif importer.startswith("fleetswap."):
                wings[wing_of(importer), wing_of(imported)] += 1
    return rooms, wings


def main() -> None:
    """Print both counts."""
    rooms, wings = between(read())
    lines = ["between rooms:", *(f"{count:6} {a} → {b}" for (a, b), count in sorted(rooms.items()))]
    lines += ["in and between wings:", *(f"{count:6} {a} → {b}" for (a, b), count in sorted(wings.items()))]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
