"""Reads the record of a rollout back into data, for a report or a replay. It shows nothing and decides nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field, TypeAdapter, ValidationError

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout.messages import Event
from fleetswap.domain.rollout.model import Order
from fleetswap.domain.rollout.policy import Policy
from fleetswap.domain.rollout.readings import EVENTS, Answered, AnswersCut, Ordered, Reading, answers
from fleetswap.domain.rollout.record import VERSION, Cut, Ended, Entered, Entry, Header, TakenUp
from fleetswap.domain.rollout.replay import Answer, Recorded
from fleetswap.domain.text import one_line

_HEADER: TypeAdapter[Header] = TypeAdapter(Header)
_ENTRY: TypeAdapter[Entry | Reading] = TypeAdapter(Annotated[Entry | Reading, Field(discriminator="line")])
_ORDER: TypeAdapter[Order] = TypeAdapter(Order)
_POLICY: TypeAdapter[Policy] = TypeAdapter(Policy)
_EVENTS: dict[str, TypeAdapter[Event]] = {name: TypeAdapter(kind) for name, kind in EVENTS.items()}
_KNOWN = frozenset(kind.line for kind in get_args(Entry | Reading))


@dataclass(frozen=True)
class Record:
    """What a rollout has left. Without an `end` it was killed, or still runs."""

    header: Header
    entries: tuple[Entry, ...]
    readings: tuple[Reading, ...] = ()
    """What only a replay needs. None in a record from before there were replays."""

    @property
    def end(self) -> Ended | None:
        """How it ended."""
        return next((entry for entry in reversed(self.entries) if isinstance(entry, Ended)), None)


def load(path: Path) -> Record:
    """Read a record. A last line that was cut off is left out, and so are lines and fields that came later.

    `InputError` if it is none, is damaged before its last line, or is of another version.
    """
    try:
        return read(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def read(text: bytes, path: str) -> Record:
    """The same of what was read already, from `path`."""
    lines = text.split(b"\n")
    lines = lines[:-1]  # what follows the last line's end is empty, or a line that was cut off
    if not lines:
        raise InputError(f"{path} is not the record of a rollout: it has no whole line")
    header = _header(path, lines[0])
    found = [_entry(path, number, line) for number, line in enumerate(lines[1:], 2)]
    return Record(
        header,
        tuple(entry for entry in found if entry is not None and not isinstance(entry, Reading)),
        tuple(entry for entry in found if isinstance(entry, Reading)),
    )


def _header(path: str, line: bytes) -> Header:
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


def _entry(path: str, number: int, line: bytes) -> Entry | Reading | None:
    plain = _object(path, number, line)
    kind = plain.get("line")
    if not isinstance(kind, str) or kind not in _KNOWN:
        return None
    try:
        return _ENTRY.validate_python(plain)
    except ValidationError as error:
        raise _damaged(path, number, error) from error


def _object(path: str, number: int, line: bytes) -> dict[str, Any]:
    try:
        plain = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: line {number} is not JSON ({error})") from error
    if not isinstance(plain, dict):
        raise InputError(f"{path} is damaged: line {number} is not a JSON object")
    return plain


def _damaged(path: str, number: int, error: ValidationError) -> InputError:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return InputError(f"{path} is damaged: line {number}, {where}: {first['msg']}")


def policy_of(record: Record) -> Policy | None:
    """The settings that a rollout was judged by; None if they are not in the header as this version knows them."""
    try:
        return _POLICY.validate_python(dict(record.header.policy))
    except (ValueError, InputError):  # pydantic's is a ValueError
        return None


def recorded(record: Record, name: str) -> Recorded:
    """What a replay needs of a record. `InputError` if the record does not have it, or not as it was written."""
    order = next((line for line in record.readings if isinstance(line, Ordered)), None)
    if order is None:
        raise InputError(f"{name} cannot be replayed: the Fleetswap that wrote it did not keep what the rollout read")
    lines = (*record.entries, *record.readings)
    cut = next((line for line in lines if isinstance(line, Cut | AnswersCut)), None)
    taken = next((entry for entry in record.entries if isinstance(entry, TakenUp)), None)
    short = ""
    if taken is not None:
        short = "the process that ran the rollout was killed"
    elif cut is not None:
        short = "the record has no more readings, because it has reached its size for them"
    elif record.end is None:
        short = "the record ends here, because the rollout still runs, or was killed"
    try:
        return Recorded(
            order=_ORDER.validate_python({**order.order, "policy": record.header.policy}),
            run=record.header.run,
            clock=order.clock,
            answers=tuple(
                Answer(line.clock, line.to, _EVENTS[line.event].validate_python(told))
                for line, told in answers(line for line in record.readings if isinstance(line, Answered))
            ),
            phases=tuple((entry.at, entry.phase) for entry in record.entries if isinstance(entry, Entered)),
            short=short,
        )
    except (LookupError, TypeError, ValueError) as error:  # pydantic's is a ValueError
        raise InputError(f"{name} is damaged: its readings do not fit together ({one_line(error)})") from error
