"""How fast the package changes of a preview are: what is read out of the derivations of an image, and compared.

It writes the derivations of two NixOS machines, of which one library has another version, as Nix writes them, and runs
what a preview runs on them. It decides nothing else.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.sections import Goal, Section, say
from bench.upload import Refused

COUNT = 10_000
"""Derivations of each machine, all of which are needed at run time: more than any machine has."""

GOAL = 3.0
"""CPU-seconds to derive one machine and compare it."""

BASE32 = "0123456789abcdfghijklmnpqrsvwxyz"
NEEDS = (1, 2, 3, 5, 8, 13, 21, 34)
"""How far before a package those are that it is built with."""

PHASE = "\n".join(f'echo "(phase {number})" && make -C dir{number} install' for number in range(40))
"""Of a package's own text, so that a derivation has some 4 kB, as in nixpkgs (3.2 MB of 1,021)."""

MEASURED = """
import json, sys, time
from fleetswap.domain.closure.changes import compare
from fleetswap.nix.closures import derived
before = derived(sys.argv[1])
began = time.process_time()
after = derived(sys.argv[2])
ended = time.process_time()
found = compare(before, after)
json.dump({"derive": ended - began, "compare": time.process_time() - ended, "components": len(after.components),
           "moved": len(found.moved)}, sys.stdout)
"""
"""What a preview does. Other work on the computer makes it wait, so its CPU time is measured."""


@dataclass(frozen=True)
class Made:
    """A derivation that was written."""

    path: str
    out: str


def _path(folder: Path, name: str, seed: str) -> str:
    digest = hashlib.sha256(f"{name} {seed}".encode()).digest()
    return f"{folder}/{''.join(BASE32[byte % 32] for byte in digest)}-{name}"


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _write(folder: Path, name: str, environment: dict[str, str], inputs: Sequence[Made]) -> Made:
    seed = "".join(each.path for each in inputs)
    out = _path(folder, name, seed)
    outputs = f'("out",{_text(out)},"","")'
    needed = ",".join(f'({_text(each.path)},["out"])' for each in inputs)
    variables = ",".join(f"({_text(key)},{_text(value)})" for key, value in sorted({**environment, "out": out}.items()))
    made = Made(_path(folder, f"{name}.drv", seed), out)
    Path(made.path).write_text(f'Derive([{outputs}],[{needed}],[],"x86_64-linux","/bin/sh",[],[{variables}])')
    return made


def machine(folder: Path, count: int, version: str) -> str:
    """Write a machine of so many derivations; the path of its own. The fourth package has this version."""
    stdenv = _write(folder, "stdenv-linux", {}, [])
    made: list[Made] = []
    for number in range(count - 2):
        its_version = version if number == 3 else f"1.{number}"
        needs = [made[number - far] for far in NEEDS if far <= number]
        environment = {
            "pname": f"package{number}",
            "version": its_version,
            "stdenv": stdenv.out,
            "installPhase": PHASE,
            "buildInputs": " ".join(each.out for each in needs),
        }
        made.append(_write(folder, f"package{number}-{its_version}", environment, [stdenv, *needs]))
    everything = {"stdenv": stdenv.out, "buildCommand": " ".join(each.out for each in made)}
    return _write(folder, "nixos-system-web-25.11", everything, [stdenv, *made]).path


def derivations(folder: Path, quick: bool) -> list[Section]:  # noqa: FBT001 (one of the sections' signature)
    """Derive a machine and compare it with another. A preview derives only one: the other's is in its manifest."""
    count = COUNT // 10 if quick else COUNT
    say(f"writing {2 * count:,} derivations …")
    paths = [machine(folder, count, version) for version in ("3.6.0", "3.6.1")]
    done = subprocess.run([sys.executable, "-c", MEASURED, *paths], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    if (found["moved"], found["components"]) != (1, count - 1):
        raise Refused(f"the changes are not those that were made: {done.stdout}")
    seconds = found["derive"] + found["compare"]
    rows = [
        ["", "CPU-s"],
        [f"closure of {count:,} derivations", f"{found['derive']:.2f}"],
        ["comparing it with another", f"{found['compare']:.2f}"],
    ]
    goal = Goal(f"both, of {COUNT:,}: at most {GOAL:.0f} s", f"{seconds:.1f} s", seconds <= GOAL)
    return [Section("Package changes of a preview", rows, [] if quick else [goal])]
