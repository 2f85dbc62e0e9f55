"""Closures as Nix states them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from fleetswap.domain.closure.exact import exact, from_file, registered
from fleetswap.domain.errors import InputError

LIBC = "/nix/store/0c1a2b3d4f5g6h7i8j9k0l1m2n3p4q5r-glibc-2.40-66"
HELLO = "/nix/store/1c1a2b3d4f5g6h7i8j9k0l1m2n3p4q5r-hello-2.12"
NAR_HASH = "sha256:0sv7wzlhg9gv8zl3kxkvvjkhz9zpkx0p2iylhvvvz9y2gmv6h8mf"


def _file(**over: Any) -> dict[str, Any]:
    paths = [
        {"path": HELLO, "narHash": NAR_HASH, "narSize": 226_560, "references": [LIBC, HELLO], "closureSize": 1},
        {"path": LIBC, "narHash": NAR_HASH, "narSize": 30_000_000, "references": []},
    ]
    return {"version": 1, "root": HELLO, "paths": paths, "licences": {"hello": "GPL-3.0-or-later"}} | over


def test_a_closure_is_what_the_build_wrote() -> None:
    """Sizes, references or licences of an image would be missing, or a path would refer to itself."""
    closure = from_file(_file())
    assert (closure.root, closure.exact, list(closure.components)) == (HELLO, True, [LIBC, HELLO])
    hello = closure.components[HELLO]
    assert (hello.name, hello.version, hello.size, hello.references) == ("hello", "2.12", 226_560, (LIBC,))
    assert hello.licence == "GPL-3.0-or-later"
    assert closure.components[LIBC].licence is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "cannot be read"),
        ([], "cannot be read"),
        (_file(version=2), "has version 2, this program reads 1"),
        (_file(root="/etc/passwd"), "is not a store path"),
        (_file(root=HELLO.replace("hello", "hullo")), "is not in the list"),
        (_file(paths=_file()["paths"][:1]), f"{LIBC} is not in the list"),
        (_file(paths=[{"path": 3, "narSize": 1, "references": []}]), "is not a store path"),
        (_file(paths=[{"path": HELLO}]), "cannot be read"),
        (_file(paths=[{"path": HELLO, "narSize": float("inf"), "references": []}]), "cannot be read"),
        (_file(licences={"hello": 3}), "cannot be read"),
    ],
)
def test_what_is_no_closure_is_refused(value: Any, said: str) -> None:
    """A damaged file would be shown as packages that were removed, or as a traceback."""
    with pytest.raises(InputError, match=said):
        from_file(value)


@pytest.mark.nix
def test_nix_prints_what_is_read(tmp_path: Path) -> None:
    """Of a real store, sizes and references would be missing."""
    expression = tmp_path / "default.nix"
    expression.write_text('builtins.toFile "app-1.0" "uses ${builtins.toFile "lib-2.0" "text"}"')
    shown = subprocess.run(
        ["nix-instantiate", "--eval", "--read-write-mode", str(expression)], capture_output=True, text=True, check=True
    )
    app = shown.stdout.strip().strip('"')
    paths = subprocess.run(["nix-store", "-qR", app], capture_output=True, text=True, check=True).stdout.split()
    dump = subprocess.run(["nix-store", "--dump-db", *paths], capture_output=True, text=True, check=True).stdout
    closure = exact(app, registered(dump), {})
    assert sorted((one.name, one.version) for one in closure.components.values()) == [("app", "1.0"), ("lib", "2.0")]
    (lib,) = closure.components[app].references
    assert all((one.size or 0) > 0 for one in closure.components.values())
    assert closure.components[lib].references == ()
    with pytest.raises(ValueError, match="cut short"):
        registered(dump.rpartition("\n")[0].rpartition("\n")[0])
