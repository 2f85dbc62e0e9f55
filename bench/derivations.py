"""How fast the package changes of a preview are: what is read out of the derivations of an image, and compared.

It writes the derivations of two NixOS machines, of which one library has another version, as Nix writes them, and runs
what a preview runs on them. It decides nothing else.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COUNT = 10_000
"""Derivations of each machine, all of which are needed at run time: more than any machine has."""

GOAL_SECONDS = 3.0

BASE32 = "0123456789abcdfghijklmnpqrsvwxyz"
NEEDS = (1, 2, 3, 5, 8, 13, 21, 34)
"""How far before a package those are that it is built with."""

PHASE = "\n".join(f'echo "(phase {number})" && make -C dir{number} install' for number in range(40))
"""Of a package's own text, so that a derivation has some 4 kB, as in nixpkgs (3.2 MB of 1,021)."""

MEASURED = """
import json, sys, time
from pathlib import Path
from fleetswap.domain.closure.changes import compare
from fleetswap.nix.closures import derived
before = derived(sys.argv[1])
wall, cpu = time.monotonic(), time.process_time()
after = derived(sys.argv[2])
derive = time.process_time() - cpu
found = compare(before, after)
json.dump({"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu, "derive": derive,
           "components": len(after.components), "moved": len(found.moved), "rebuilt": len(found.rebuilt)}, sys.stdout)
"""


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


def derivations(count: int = COUNT) -> dict[str, float]:
    """Seconds to derive a machine and compare it with another (`wall`, `cpu`; `derive`, of `cpu`), and what was found.

    A preview derives only the wanted machine: the live one's closure is in its manifest.
    """
    with tempfile.TemporaryDirectory(prefix="fleetswap-bench-") as folder:
        paths = [machine(Path(folder), count, version) for version in ("3.6.0", "3.6.1")]
        done = subprocess.run([sys.executable, "-c", MEASURED, *paths], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def report(found: dict[str, float], count: int = COUNT) -> str:
    """The figures as a line, with the verdict."""
    verdict = "ok" if found["cpu"] <= GOAL_SECONDS else "short"
    return (
        f"{count:,} derivations: derived and compared in {found['cpu']:.1f} CPU-s ({found['derive']:.1f} of them to"
        f" derive; {found['wall']:.1f} s), goal {GOAL_SECONDS:.0f} CPU-s: {verdict}"
    )
