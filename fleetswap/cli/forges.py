"""What `fleetswap comment` and `fleetswap drift` share: the files that they read, and where the job's API is."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from fleetswap.domain.errors import InputError
from fleetswap.domain.review.drill import Proof
from fleetswap.domain.review.drill import read as read_drill
from fleetswap.domain.review.preview import Preview, read

STDIN = Path("-")


class Forge(str, Enum):
    """Where a comment or an issue goes."""

    GITHUB = "github"
    GITLAB = "gitlab"


@dataclass(frozen=True)
class Place:
    """A repository, or the ID of a project on GitLab, and how its API is reached."""

    url: str
    repository: str
    token: str = field(repr=False)


def place(forge: Forge, option: str, environment: Mapping[str, str]) -> Place:
    """The repository of this job, as its variables say. `InputError` names those that are missing."""
    if forge is Forge.GITHUB:
        needed = ("GITHUB_REPOSITORY", "GITHUB_TOKEN")
        url = environment.get("GITHUB_API_URL") or "https://api.github.com"
    else:
        needed = ("CI_PROJECT_ID", "GITLAB_TOKEN")
        url = environment.get("CI_API_V4_URL") or "https://gitlab.com/api/v4"
    missing = [name for name in needed if not environment.get(name)]
    if missing:
        raise InputError(f"{option} {forge.value}: {' and '.join(missing)} must be set in the environment")
    repository, token = (environment[name] for name in needed)
    return Place(url, repository, token)


def previews(files: Sequence[Path] | None) -> list[Preview]:
    """What `pulumi preview --json` has printed into these files, or to standard input if there is none.

    `InputError` names the file that cannot be read or is something else.
    """
    return [read(_text(each), "standard input" if each == STDIN else str(each)) for each in files or [STDIN]]


def drills(files: Sequence[Path] | None) -> list[Proof]:
    """What `fleetswap drill --json` has printed into these files. `InputError` as of `previews`."""
    return [read_drill(_text(each), "standard input" if each == STDIN else str(each)) for each in files or ()]


def _text(file: Path) -> str:
    try:
        return sys.stdin.read() if file == STDIN else file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise InputError(f"{file}: cannot be read: {error}") from error
