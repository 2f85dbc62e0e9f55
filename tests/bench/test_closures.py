"""The made-up closures have what makes a real one move, and changed blocks are counted as an upload counts them."""

from __future__ import annotations

import json
from pathlib import Path

from bench import closures
from bench.closures import Package
from bench.image_layout import BLOCK, block_map, moved

PACKAGES = {
    "lib": Package("lib", "1", {"lib.so": 9000}),
    "app": Package("app", "2", {"bin/app": 5000}, ("lib",)),
    "other": Package("other", "3", {"x": 100}),
    "nixos-system-web": Package("nixos-system-web", "25.11", {"init": 100}, ("app", "other"), links=3),
}


def paths(folder: Path, packages: dict[str, Package]) -> dict[str, Path]:
    """The store paths of a closure that was written, by name."""
    closures.write(packages, folder, folder / "closure.json")
    found = [Path(info["path"]).name for info in json.loads((folder / "closure.json").read_text())["paths"]]
    return {name[33:]: folder / "nix/store" / name for name in found}


def test_a_change_renames_and_changes_what_uses_it(tmp_path: Path) -> None:
    """Without this, every layout would be as good as any other, and the benchmark flatter ours."""
    before = paths(tmp_path, PACKAGES)
    after = paths(tmp_path, PACKAGES | {"lib": Package("lib", "1", {"lib.so": 9001})})
    assert before["other-3"] == after["other-3"]
    for name in ("lib-1", "app-2", "nixos-system-web-25.11"):
        assert before[name] != after[name]
    one, other = ((each["app-2"] / "bin/app").read_bytes() for each in (before, after))
    assert one != other
    assert before["lib-1"].name[:32].encode() in one


def test_every_change_of_a_server_leaves_most_of_it(tmp_path: Path) -> None:
    """A change would be another closure altogether, or none."""
    packages = closures.server(24)
    before = set(paths(tmp_path, packages).values())
    renamed = {
        name: len(set(paths(tmp_path, after).values()) - before)
        for name, after in closures.changes(packages).items()
        if name != "lib"
    }
    assert renamed == {"app": 5, "leaf": 10, "kernel": 2, "added": 6, "removed": 3}


def test_blocks_are_counted_as_an_upload_counts_them(tmp_path: Path) -> None:
    """A block of zeros that becomes data, and one that is new, are sent; a hole is none."""
    for name, content in (("before", b"a" * BLOCK + bytes(BLOCK)), ("after", b"a" * BLOCK + b"b" * BLOCK + b"c")):
        (tmp_path / name).write_bytes(content)
    before, after = block_map(tmp_path / "before"), block_map(tmp_path / "after")
    assert [bool(each) for each in before] == [True, False]
    assert moved(before, after) == moved(after, before) == 2
