"""How many blocks a change moves, in images that mkfs.erofs really made of a closure like a server's."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from bench import closures
from bench.image_layout import BLOCK, block_map, moved
from tests.needs import ROOT

MIB = 1 << 20
MAKE = """
import json, pathlib, sys, lay_out, store
closure = json.loads(pathlib.Path(sys.argv[2]).read_text())
store.make(store.scanned(closure, sys.argv[1], []), pathlib.Path(sys.argv[3]), name="x", size=128 << 20, compress=None)
"""


def test_a_change_of_the_application_moves_the_application(tmp_path: Path, debian13: Path) -> None:
    """Every deploy would send the whole machine, as it does with a store in the order of its paths."""
    packages = closures.server(24)
    after = closures.changes(packages)["app"]
    maps: dict[str, list[list[bytes]]] = {"ours": [], "by path": []}
    for name, closure in (("before", packages), ("after", after)):
        root = tmp_path / name
        root.mkdir()
        closures.write(closure, root, root / "closure.json")
        made = [root / "ours", root / "path"]
        ours: list[str | Path] = [debian13, "python3", "-c", MAKE, root, root / "closure.json", made[0]]
        subprocess.run(ours, check=True, env=os.environ | {"PYTHONPATH": str(ROOT / "nix/image")})
        uuid = "-Uc0ffee00-0000-4000-8000-000000000001"
        by_path: list[str | Path] = [debian13, "mkfs.erofs", "--quiet", "-T1", uuid, made[1], root / "nix"]
        subprocess.run(by_path, check=True, capture_output=True)
        for each, file in zip(maps.values(), made, strict=True):
            each.append(block_map(file))
    before = maps["ours"][0]
    changed = {name: moved(*each) for name, each in maps.items()}
    application = -(-closures.size(packages["app"]) // BLOCK)
    assert changed["ours"] <= application + 10, f"of {sum(map(bool, before))} blocks"
    assert changed["by path"] > 2 * changed["ours"]


def test_a_compressed_store_is_as_small_as_it_can_be(tmp_path: Path, debian13: Path) -> None:
    """The volume of each machine would have room for what was compressed away."""
    name = "0123456789abcdfghijklmnpqrsvwxyz-nixos-system-x"
    (tmp_path / "nix/store").mkdir(parents=True)
    (tmp_path / "nix/store" / name).write_bytes(b"compresses well " * (MIB * 250 // 16))
    (tmp_path / "closure.json").write_text(json.dumps({"paths": [{"path": f"/nix/store/{name}"}]}))
    sizes = []
    for option in ("None", "'lz4'"):
        script = MAKE.replace("compress=None", f"compress={option}").replace("128 << 20", "None")
        command: list[str | Path] = [debian13, "python3", "-c", script, tmp_path, tmp_path / "closure.json"]
        image = tmp_path / "image"
        subprocess.run([*command, image], check=True, env=os.environ | {"PYTHONPATH": str(ROOT / "nix/image")})
        sizes.append(image.stat().st_size // MIB)
        image.unlink()
    assert sizes == [512, 256]
