"""Reads the record of a rollout back into data, for a report or a replay. It shows nothing and decides nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field, TypeAdapter, ValidationError

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout.record import VERSION, Ended, Entry, Header

_HEADER: TypeAdapter[Header] = TypeAdapter(Header)
_ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="line")])
_KNOWN = frozenset(kind.line for kind in get_args(Entry))


@dataclass(frozen=True)
class Record:
    """What a rollout has left. Without an `end` it was killed, or still runs."""

    header: Header
    entries: tuple[Entry, ...]

    @property
    def end(self) -> Ended | None:
        """How it ended."""
        return next((entry for entry in reversed(self.entries) if isinstance(entry, Ended)), None)


def load(path: Path) -> Record:
    """Read a record. A last line that was cut off is left out, and so are lines and fields that came later.

    `InputError` if it is none, is damaged before its last line, or is of another version.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    lines = text.split(b"\n")
    lines = lines[:-1]  # what follows the last line's end is empty, or a line that was cut off
    if not lines:
        raise InputError(f"{path} is not the record of a rollout: it has no whole line")
    header = _header(path, lines[0])
    found = [_entry(path, number, line) for number, line in enumerate(lines[1:], 2)]
    return Record(header, tuple(entry for entry in found if entry is not None))


def _header(path: Path, line: bytes) -> Header:
    plain = _object(path, 1, line)
    version = plain.get("version")
    if plain.get("line") != "header" or not isinstance(version, int):
        raise InputError(f"{path} is not the record of a rollout: its first line is not a header")
    if version != VERSION:
        raise InputError(
            f"{path} is a record of version {version}, and this Fleetswap reads version {VERSION}: read it with the"
            " Fleetswap that wrote it, or a newer one"
        )
    try:
        return _HEADER.validate_python(plain)
    except ValidationError as error:
        raise _damaged(path, 1, error) from error


def _entry(path: Path, number: int, line: bytes) -> Entry | None:
    plain = _object(path, number, line)
    if plain.get("line") not in _KNOWN:
        return None
    try:
        return _ENTRY.validate_python(plain)
    except ValidationError as error:
        raise _damaged(path, number, error) from error


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        plain = json.loads(line)
    except ValueError as error:
        raise InputError(f"{path} is damaged: line {number} is not JSON ({error})") from error
    if not isinstance(plain, dict):
        raise InputError(f"{path} is damaged: line {number} is not a JSON object")
    return plain


def _damaged(path: Path, number: int, error: ValidationError) -> InputError:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return InputError(f"{path} is damaged: line {number}, {where}: {first['msg']}")
