"""The directory of the Pulumi project on this computer.

Paths in settings, ledger and state are relative to it, so that a state does not depend on one computer.

The engine starts the program, and every provider, in the directory that `main` of Pulumi.yaml names (pulumi/pulumi,
engine/project.go `GetPwdMain`, and plugin/provider_plugin.go). That is the project's directory or one inside it.
"""

from __future__ import annotations

from pathlib import Path

from fleetswap.nix import cache

FILES = ("Pulumi.yaml", "Pulumi.yml", "Pulumi.json")
"""A project's file, by the names that Pulumi looks for (docs, "Pulumi project file reference")."""


def root() -> Path:
    """The directory of the project around the working directory; without a project, the working directory."""
    here = Path.cwd()
    return next((each for each in (here, *here.parents) if any((each / name).is_file() for name in FILES)), here)


def work() -> Path:
    """Where this computer keeps what makes the next deployment faster. Losing it only costs time."""
    return root() / ".work"


def evaluations() -> Path:
    """Where evaluations of images are kept."""
    return work() / cache.NAME
