"""Reads the deploys of a stack out of the records that this computer has of its rollouts. It changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from fleetswap.domain.errors import InputError
from fleetswap.domain.timeline.deploys import of_record
from fleetswap.domain.timeline.model import Deploy, of_plain, to_plain
from fleetswap.workflows.rollout.read_record import read

_UNNEEDED = re.compile(rb'\{"line": "(?:answer|evidence|no-response|weights-seen|weights-written)"')
"""Lines that say nothing about times. They are nearly all of a record."""


def past(folder: Path | None, limit: int) -> tuple[tuple[Deploy, ...], tuple[str, ...]]:
    """The newest deploys of a folder of records, and what could not be read."""
    if folder is None:
        return (), ("this user has no home directory, so there are no records of rollouts",)
    deploys, problems = list[Deploy](), list[str]()
    try:
        # Names begin with the time.
        files = sorted(folder.glob("*.jsonl"), reverse=True)[:limit] if folder.is_dir() else []
    except OSError as error:
        return (), (f"the records in {folder} cannot be read: {error.strerror or error}",)
    for path in files:
        try:
            found = read(b"\n".join(_needed(path.read_bytes())), str(path))
            # To and from JSON, which refuses what no deploy takes, and leaves no text that a terminal would obey.
            deploys.append(of_plain(to_plain(of_record(found.header, found.entries, found.readings))))
        except OSError as error:
            problems.append(f"{path} cannot be read: {error.strerror or error}")
        except InputError as error:
            problems.append(str(error))
        except (ArithmeticError, ValueError) as error:
            problems.append(f"{path} is damaged: {error}")
    return tuple(deploys), tuple(problems)


def _needed(text: bytes) -> Iterator[bytes]:
    return (line for line in text.split(b"\n") if not _UNNEEDED.match(line))
