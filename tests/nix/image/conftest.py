"""What the tests of the builder share: a folder with a small closure, and the builder run with Debian 13's programs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.needs import ROOT

HASH = "0123456789abcdfghijklmnpqrsvwxyz"
Build = Callable[..., "subprocess.CompletedProcess[str]"]


def store_path(name: str, nth: int = 0) -> str:
    """The name of a store path; `nth` makes another hash."""
    return f"{HASH[nth:]}{HASH[:nth]}-{name}"


def write_closure(root: Path, names: list[str]) -> Path:
    """The closure.json of store paths under `root`, all of the first one."""
    paths = [
        {"path": f"/nix/store/{name}", "narHash": f"sha256:{name}", "narSize": 1, "references": []} for name in names
    ]
    file = root / "closure.json"
    file.write_text(json.dumps({"version": 1, "root": f"/nix/store/{names[0]}", "paths": paths, "licences": {}}))
    return file


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root folder with a small closure, its closure.json and a UKI of random bytes."""
    root = tmp_path_factory.mktemp("closure")
    store = root / "nix/store"
    system, app, tool = (store / store_path(name) for name in ("nixos-system-web-25.11", "app-1", "tool-2.0"))
    for folder in (system, app / "bin", app / "share" / "odd name \N{SNOWMAN}", tool):
        folder.mkdir(parents=True)
    (system / "init").write_text("#!/bin/sh\n")
    (app / "bin/app").write_bytes(b"app" * 700_000)
    (app / "bin/app").chmod(0o700)
    (app / "share" / "odd name \N{SNOWMAN}" / ("long" * 60)).write_text("the name is too long for a tar of 1988\n")
    (app / "empty").touch()
    (app / "link").symlink_to(f"/nix/store/{tool.name}/one")
    (tool / "one").write_text("one\n")
    (tool / "two").hardlink_to(tool / "one")
    write_closure(root, [system.name, app.name, tool.name])
    (root / "web.efi").write_bytes(bytes(range(256)) * 8192)
    return root


@pytest.fixture(scope="module")
def build(debian13: Path, small: Path) -> Build:
    """Run the builder on the small closure, with more arguments."""

    def run(out: Path, *arguments: str, uki: bool = True, path: str = "") -> subprocess.CompletedProcess[str]:
        given = ["--closure", str(small / "closure.json"), "--root", str(small)]
        given += ["--uki", str(small / "web.efi")] if uki else []
        given += ["--esp-size", "36M", "--store-size", "64M", *arguments, str(out)]
        before = ["env", f"PATH={path}", "/usr/bin/python3"] if path else []
        command = [str(debian13), *before, str(ROOT / "nix/image/build-disk"), *given]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    return run
