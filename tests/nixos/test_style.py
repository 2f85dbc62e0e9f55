"""Nix files of the project: each parses, is formatted, and has nothing in it that a linter would find."""

from __future__ import annotations

import subprocess

import pytest

from tests.needs import ROOT
from tests.nixos.style import findings

FILES = sorted(
    path.relative_to(ROOT)
    for path in ROOT.rglob("*.nix")
    if not {".work", ".venv"} & {*path.relative_to(ROOT).parts} and "mutants" not in path.parts
)


def test_nix_parses_every_file(nix: tuple[str, ...]) -> None:
    """A file that only a newer nix understands, or none, would be found by a user."""
    assert len(FILES) > 10
    command = [*nix, "nix-instantiate", "--parse", *map(str, FILES)]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_is_formatted_and_clean(path: str) -> None:
    """Names that nothing uses and five ways to indent would make the modules hard to review."""
    assert findings((ROOT / path).read_bytes()) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{ a = 1 }\n", "is no Nix"),
        ("{ a = 1; }", "ends with one line end"),
        ("{ a = 1; } \n", "space at the end"),
        ("{\n   a = 1;\n}\n", "indented by 3"),
        ("{\n    a = 1;\n}\n", "indented by 4 after 0"),
        ("[ 1" + " 1" * 70 + " ]\n", "more than 120"),
        ("let a = 1; in 2\n", "`a` is not used"),
        ("let inherit (x) a b; in a\n", "`b` is not used"),
        ("{ lib, pkgs, ... }: lib\n", "`pkgs` is not used"),
        ("x: 1\n", "`x` is not used"),
        ("x: { x = x; }\n", "`inherit x;`"),
        ("y: { x = y.x; }\n", "`inherit (…) x;`"),
        ("x: with x; y\n", "`with` hides"),
        ("x: [ (x) ]\n", "needless parentheses"),
        ("let in 1\n", "`let` without names"),
        ("let a = 1; in let b = a; in b\n", "`let` in `let`"),
        ("[ https://example.com ]\n", "gives up"),
    ],
)
def test_each_rule_finds_what_it_is_for(text: str, found: str) -> None:
    """The lint would pass everything."""
    assert any(found in finding for finding in findings(text.encode())), findings(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "{ lib, ... }@args: lib.f args\n",
        "{\n  a,\n  b ? a,\n}:\na + b\n",
        "let a = 1; in { inherit a; }\n",
        "_: ''\n     any\n  text\n''\n",
        "y: { x = y.x or 1; a.b = y.b; }\n",
    ],
)
def test_what_is_well_written_passes(text: str) -> None:
    """The rules would be switched off, one file at a time."""
    assert findings(text.encode()) == []
