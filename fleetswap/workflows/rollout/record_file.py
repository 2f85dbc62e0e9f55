"""Writes the record of a rollout into a file of JSON lines, each at once, so that a killed process leaves what it had.

It never delays a rollout: its own thread writes, and a disk that does not respond is left alone. Only its owner can
read the file. This module does not decide what is worth a line.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import threading
from collections.abc import Mapping
from pathlib import Path

from fleetswap.domain.rollout.origin import Origin
from fleetswap.domain.rollout.readings import Answered, AnswersCut
from fleetswap.domain.rollout.record import Cut, Ended, Failed, Header, Kind, Line, Step, plain
from fleetswap.workflows.rollout.recorder import Recorder

GREATEST = 4 * 1024 * 1024
"""Bytes of a record. One of an hour with a reading every 2 s, each of which says something new, has about 3 MiB."""

ANSWERS = 0.75
"""The part of that behind which no answers are kept, so that the rest has room for what people read. An hour with a
reading every 2 s, each of which changes both of the last periods, has less than 1 MiB of answers."""

KEPT = 200
"""Records of one stack that are kept; older ones are deleted when a new one begins."""

CLOSE_SECONDS = 2.0
"""How long the end of a rollout may wait for the disk."""

LINES = 10_000
"""Lines that may wait for the disk."""

RUN_CHARS = 12
"""Characters of the run's ID in the name of its file: enough that no two of one stack are alike."""


class RecordFile:
    """The record of one rollout, in a file of `folder` that is named after its time, release and run.

    A file of the same run is continued: the guardian's, after the process that began it was killed.
    """

    def __init__(self, folder: Path, *, greatest: int = GREATEST) -> None:
        """Nothing is made before the first line, which must be the header."""
        self._folder = folder
        self._greatest = greatest
        self._lines: queue.Queue[Line | None] = queue.Queue(LINES)
        self._path: Path | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="record", daemon=True)

    def write(self, line: Line) -> None:
        """Keep a line. Raises what an earlier one met, `queue.Full` if the disk does not keep up."""
        if self._error is not None:
            raise self._error
        if not self._thread.is_alive():
            self._thread.start()
        self._lines.put_nowait(line)

    def close(self) -> str | None:
        """Where the record is. Raises what a line met, `TimeoutError` if the disk does not respond."""
        if self._thread.is_alive():
            self._lines.put_nowait(None)
            self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            raise TimeoutError(f"{self._folder} does not respond")
        if self._error is not None:  # also of the last line, behind which no other one was tried
            raise self._error
        return str(self._path) if self._path is not None else None

    def _work(self) -> None:
        file = -1
        size = 0
        cut = short = False
        try:
            while (line := self._lines.get()) is not None:
                if isinstance(line, Header):
                    file, size = self._open(line)
                    if size:
                        continue
                elif isinstance(line, Answered) and size > self._greatest * ANSWERS:
                    if short or cut:
                        continue
                    line, short = AnswersCut(at=line.at), True
                elif size > self._greatest and not isinstance(line, Step | Failed | Ended):
                    if cut:
                        continue
                    line, cut = Cut(at=line.at), True
                size += _write(file, line)
        except Exception as error:  # noqa: BLE001 - whoever writes next, or closes, is told
            self._error = error
        finally:
            if file >= 0:
                with contextlib.suppress(OSError):
                    os.close(file)

    def _open(self, header: Header) -> tuple[int, int]:
        """The file and its size, 0 if it is new."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        run = header.run[:RUN_CHARS]
        there = sorted(self._folder.glob(f"*-{run}.jsonl"))
        if not there:
            self._prune()
        time = re.sub(r"[-:]|\.\d+|\+00:00$", "", header.started)
        self._path = there[0] if there else self._folder / f"{time}Z-{name_of(header.candidate)}-{run}.jsonl"
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = 0
        if there:
            # What was killed in the middle of a line leaves the line; nothing may be written behind half of one.
            size = self._path.read_bytes().rfind(b"\n") + 1
            os.ftruncate(file, size)
        return file, size

    def _prune(self) -> None:
        """Names begin with the time, so that they sort by age."""
        for old in sorted(self._folder.glob("*.jsonl"))[: -(KEPT - 1)]:
            with contextlib.suppress(OSError):
                old.unlink()


def _write(file: int, line: Line) -> int:
    data = json.dumps(plain(line), ensure_ascii=False, allow_nan=False).encode(errors="replace") + b"\n"
    left = memoryview(data)
    while left:  # a disk that is nearly full takes a part
        left = left[os.write(file, left) :]
    return len(data)


def recorder_of(stack: str, kind: Kind, origin: Origin | None = None) -> Recorder:
    """What keeps the record of a rollout of a stack (PROJECT/STACK); nothing where there is no home for it."""
    folder = folder_of(stack)
    return Recorder(RecordFile(folder) if folder is not None else None, kind=kind, stack=stack, origin=origin)


def folder_of(stack: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The folder for the records of a stack (PROJECT/STACK); None where there is no home for it.

    `$XDG_STATE_HOME/fleetswap/rollouts/PROJECT/STACK`, by default in `~/.local/state` (XDG Base Directory
    Specification: state "that should persist between (application) restarts", such as logs and history; a path that is
    not absolute is ignored).
    """
    records = records_of(environment)
    return None if records is None else records.joinpath(*map(name_of, stack.split("/")))


def records_of(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The folder for the records of all stacks; None where there is no home for it."""
    told = Path(environment.get("XDG_STATE_HOME", ""))
    try:
        state = told if told.is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError:  # no home can be found
        return None
    return state / "fleetswap" / "rollouts"


def name_of(part: str) -> str:
    """A text as the name of a file: never a path, never hidden, never empty."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", part).lstrip(".") or "_"
