"""The commit that is deployed, as git says of the project's work tree or, without git, the environment of a CI system.

Not knowing it stops nothing: it is only shown, in the timeline of a deploy.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleetswap.domain.text import one_line
from fleetswap.domain.timeline.model import DIRTY, LONGEST, text_of, time_of

SECONDS = 5.0
"""How long git may take. In a work tree with a million files its status takes about two."""

HASHES = ("GITHUB_SHA", "CI_COMMIT_SHA")
"""Of the commit that a job runs for (GitHub Actions, "Default environment variables"; GitLab CI/CD, "Predefined
variables")."""

TIME, SUBJECT = "CI_COMMIT_TIMESTAMP", "CI_COMMIT_TITLE"
"""The same of its time and of the first line of its message, on GitLab; GitHub has no such variables."""


@dataclass(frozen=True)
class Commit:
    """A commit. `hash` ends with `-dirty` if the work tree has changes of tracked files."""

    hash: str
    time: str | None = None
    """Of the committer, who is whoever merged it. UTC, ISO 8601."""
    subject: str | None = None


def commit_of(folder: Path, environment: Mapping[str, str] = os.environ) -> Commit | None:
    """The commit of the work tree around a folder; None if there is none, or nobody says so."""
    told = _git(folder, "log", "-1", "--no-show-signature", "--format=%H%x00%cI%x00%s")
    parts = (told or "").rstrip("\n").split("\0")
    if len(parts) == 3 and re.fullmatch(r"[0-9a-f]{40,64}", parts[0]):
        changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
        # If git does not say in time whether there are changes, nothing says that this commit is what is deployed.
        return Commit(parts[0] + (DIRTY if changes is None or changes else ""), _time(parts[1]), _subject(parts[2]))
    hashes = (environment.get(name, "") for name in HASHES)
    found = next((each for each in hashes if re.fullmatch(r"[0-9a-f]{40,64}", each)), None)
    if found is None:
        return None
    return Commit(found, _time(environment.get(TIME, "")), _subject(environment.get(SUBJECT, "")))


def _git(folder: Path, *words: str) -> str | None:
    """What git prints; None if it fails, is missing, or takes too long. It locks nothing, and asks nobody."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *words],
            cwd=folder,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def _time(text: str) -> str | None:
    try:
        return text_of(time_of(text))
    except ValueError:
        return None


def _subject(text: str) -> str | None:
    return one_line(text)[:LONGEST] or None
