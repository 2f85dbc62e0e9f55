"""Evaluates configurations with our modules against the small option system in stub/, by the real nix."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.needs import ROOT

STUB = Path(__file__).parent / "stub"
RELEASES = ("25.05", "25.11", "26.05", "26.11")
"""Of NixOS, as far as options.json tells them apart."""

OLD: tuple[str, ...] = ()
NEW = (str(ROOT / "tools/debian13-run"),)
"""How a command runs with nix 2.8 (Debian 12's), and with nix 2.26 (Debian 13's)."""

BUILD = {"sandbox": "false", "substitute": "false", "build-users-group": ""}


def system(modules: str = "", *, release: str = "25.11", imported: Sequence[str] = (), arch: str = "x86_64") -> str:
    """Nix: the evaluated system of all our modules with `modules`, which is text of list elements."""
    names = " ".join(f'"{name}"' for name in imported)
    return f"""
      (let ours = import {ROOT}/nix/modules; in
       import {STUB}/nixos/lib/eval-config.nix {{
         system = "{arch}-linux"; release = "{release}"; imported = [ {names} ];
         modules = [ ours.default ours.web {{ system.stateVersion = "25.11"; }} {modules} ];
       }})"""


def value(expression: str, nix: Sequence[str] = OLD) -> Any:
    """The value of an expression. A failed evaluation is a `subprocess.CalledProcessError` with nix's words."""
    command = [*nix, "nix-instantiate", "--eval", "--strict", "--json", "--expr", expression]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def values(expressions: Mapping[str, str], nix: Sequence[str] = OLD) -> dict[str, Any]:
    """Several at once, which takes one start of nix."""
    found = value("{ " + " ".join(f'"{name}" = {text};' for name, text in expressions.items()) + " }", nix)
    assert isinstance(found, dict)
    return found


def refusal(expression: str, nix: Sequence[str] = OLD) -> str:
    """What nix says of an expression that must not evaluate."""
    command = [*nix, "nix-instantiate", "--eval", "--strict", "--json", "--expr", expression]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode != 0, done.stdout
    return done.stderr
