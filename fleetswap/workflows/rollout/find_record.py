"""Finds the record of a release's last rollout among those on this computer. It reads headers, and shows nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fleetswap.domain.errors import InputError
from fleetswap.domain.text import one_line
from fleetswap.workflows.rollout.record_file import records_of

HEADER_BYTES = 256 * 1024
"""A header is shorter; a longer first line is not one of ours."""

NAMED = 5
"""Releases or stacks that an error names."""


@dataclass(frozen=True)
class Kept:
    """A record on this computer, by its header."""

    path: Path
    stack: str
    candidate: str
    started: str


def newest(release: str | None, stack: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The newest record of a release (or a unique prefix), of any if none is given; `stack` is STACK or PROJECT/STACK.

    Raises `InputError` if there is none, or several releases or stacks may be meant.
    """
    folder = records_of(environment)
    if folder is None:
        raise InputError("there is no home folder for records: name the file of a record, or set XDG_STATE_HOME")
    where = f"{folder}{f' of stack {stack}' if stack else ''}"
    found = sorted(
        (each for each in _kept(folder) if stack is None or f"/{each.stack}".endswith(f"/{stack}")),
        key=lambda each: (each.started, each.path.name),
    )
    if not found:
        raise InputError(f"there is no record of a rollout in {where}: name the file of a record")
    if release is None:
        return found[-1].path
    meant = [each for each in found if each.candidate == release] or [
        each for each in found if each.candidate.startswith(release)
    ]
    if not meant:
        raise InputError(
            f"no record in {where} is of {one_line(release)}; the newest are of {_names(found, 'candidate')}"
        )
    for what in ("candidate", "stack"):
        if len({getattr(each, what) for each in meant}) > 1:
            how = "give more of its name" if what == "candidate" else "choose one with --stack"
            raise InputError(f"{one_line(release)} may be {_names(meant, what)}: {how}")
    return meant[-1].path


def _names(several: list[Kept], what: str) -> str:
    names = [*dict.fromkeys(one_line(getattr(each, what)) for each in reversed(several))]
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _kept(folder: Path) -> Iterator[Kept]:
    """The records below a folder. What has no header, or cannot be read, is not one."""
    for path in folder.rglob("*.jsonl"):
        try:
            with path.open("rb") as file:
                header = json.loads(file.readline(HEADER_BYTES))
            texts = [header[key] for key in ("stack", "candidate", "started")]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue
        if header.get("line") == "header" and all(isinstance(each, str) for each in texts):
            yield Kept(path, *texts)
