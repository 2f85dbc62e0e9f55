"""How the builder runs other programs: with nothing of the machine in the result, and their own words in an error."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid

EPOCH = "315532800"
"""1980-01-01, the first day of FAT's calendar: mtools and ukify take it for the time of everything."""

SEED = uuid.UUID("6f1d3a52-8a0e-5c1b-9d0c-0e5c5b0f7a11")


class Refused(Exception):
    """What the user can repair, in one line."""


def fixed_uuid(name: str, what: str) -> str:
    """One for each thing in the image of that name; random ones would make two images of one."""
    return str(uuid.uuid5(SEED, f"{name}/{what}"))


def need(programs: list[str]) -> None:
    """Raise `Refused` with all that are not on PATH."""
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        raise Refused(f"not on PATH: {', '.join(missing)}")


def environment() -> dict[str, str]:
    """The caller's, without what would show in the result."""
    fixed = {"LC_ALL": "C", "TZ": "UTC", "SOURCE_DATE_EPOCH": EPOCH, "MTOOLSRC": "/dev/null", "MTOOLS_SKIP_CHECK": "1"}
    return {**os.environ, **fixed}


def run(command: list[str]) -> str:
    """Run a program to its end; what it said. Raises `Refused` with its error."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        env=environment(),
    )
    if done.returncode:
        raise Refused(f"{command[0]} failed with status {done.returncode}: {error_of(done.stdout)}")
    return done.stdout


def error_of(said: str) -> str:
    """The line of what a program said that says what went wrong."""
    lines = [line.strip() for line in said.replace("\r", "\n").splitlines() if line.strip()]
    return next((line for line in lines if "rror" in line or "ailed" in line), lines[-1] if lines else "no message")
