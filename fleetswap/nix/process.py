"""Runs nix's commands, and ends them. Nix's settings are the caller's; it never asks anything."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from fleetswap.domain.errors import InputError

TERM_TRIES = 20
"""How often nix is asked to stop, a second apart, before it is killed."""


VERSION_SECONDS = 30
"""Longer than it takes from a cold disk; who only asks for the version does not wait for ever."""


def run(
    command: list[str], *, folder: Path | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """A command to its end, in `folder`. `InputError` if there is no such program, it cannot be run, or it has not
    ended after `timeout` seconds.
    """
    with start(command, stdout=subprocess.PIPE, folder=folder) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            end(process)
            raise InputError(f"`{' '.join(command)}` has not ended after {timeout:.0f} s: reinstall Nix") from error
        except BaseException:
            end(process)
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def version(program: str) -> str:
    """What there is, as in `nix 2.8.0`; just `nix` if it does not say."""
    said = run([program, "--version"], timeout=VERSION_SECONDS).stdout.split()  # nix (Nix) 2.8.0
    return f"nix {said[-1]}" if said else "nix"


def start(command: list[str], *, stdout: int, folder: Path | None = None) -> subprocess.Popen[str]:
    """A command that goes on. `InputError` if there is no such program, or it cannot be run."""
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            encoding="utf-8",  # whatever the locale: the same image must have the same packages on each machine
            errors="replace",  # a build log may hold anything
        )
    except FileNotFoundError as error:
        raise InputError(
            f"{command[0]} is not on PATH: install Nix (Debian: nix-bin; elsewhere: see nixos.org)"
        ) from error
    except OSError as error:
        raise InputError(f"{command[0]} cannot be run ({error.strerror}): reinstall Nix") from error


def end(process: subprocess.Popen[str]) -> None:
    """Stop nix, which stops its builders before it ends. Killed, it would leave them running: that comes last.

    It can miss a signal that arrives just as it goes to sleep (Nix 2.8, seen with a builder that prints nothing), so it
    is asked again each second.
    """
    for _ in range(TERM_TRIES):
        process.terminate()
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            continue
        return
    process.kill()
    process.wait()


def pairs(flag: str, values: Mapping[str, str] | None) -> list[str]:
    """`--option name value` for each, by name, so that the same settings make the same command."""
    return [part for name, value in sorted((values or {}).items()) for part in (flag, name, value)]
