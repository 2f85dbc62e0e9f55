"""What nix's error output says: the message without the traces around it.

An evaluation is run with `--log-format internal-json`, which nix 2.4 and later write alike: the message as it was
thrown, and each position of the trace. What a build prints is read as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fleetswap.domain.text import one_line, paragraph

JSON = ["--log-format", "internal-json", "--show-trace"]
"""Of an evaluation: with the trace, since where the user's files come in is only there."""

OWN_ERRORS = ("error: builder for '", "error: Cannot build '", "error: hash mismatch in fixed-output derivation '")
"""How nix begins to say that a build failed, and nothing else says."""

AFTER_MESSAGE = ("at ", "… ", "... ", "> ", "last ", "Last ", "Output paths", "For full logs", "note: ")
"""How lines begin that stand below an error's message and are none of it."""

MESSAGE_CHARS = 1_000
"""A throw may print a whole attribute set; the end of it would push the remedy off the screen."""

LAST_LINES = 3
"""How much of a failed build's log goes into the one line of the error."""

POSITION = re.compile(r":\d+:\d+$")
"""What nix 2.26 writes behind a file's name, besides the keys `line` and `column`."""

SUGGESTION = re.compile(r"Did you mean [^\n]*\?\s*$")
"""How nix ends a message about a name that is not there; it is not part of the message as it was thrown."""


WARNING = re.compile(r"(?:trace: )?evaluation warning: (.+)|trace: warning: (.+)|warning: (Git tree .+ is dirty)")
"""What nixpkgs' `lib.warn` and NixOS's `warnings` write, in older and newer forms; and of nix's own warnings the one
that is about the image. The others are about this computer."""


@dataclass(frozen=True)
class Place:
    """A position in a file, counted from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True)
class Complaint:
    """Why an evaluation failed: the lines of the message, and where, from the inside out."""

    lines: tuple[str, ...]
    at: Place | None = None
    """Where nix says that the error is."""
    trace: tuple[Place, ...] = ()

    @property
    def text(self) -> str:
        """The message on one line, whole: for comparing, not for people."""
        return one_line(" ".join(self.lines))


def complaint(stderr: str, status: int = 1) -> Complaint:
    """Read what a failed evaluation wrote. Of several errors the last one is what ended it.

    A negative `status` is that of a signal, which leaves no time for words.
    """
    if status < 0:
        return Complaint((f"nix was killed by signal {-status}",))
    told, text = [], []
    for event in _events(stderr):
        if isinstance(event, str):
            text.append(event)
        elif "raw_msg" in event:
            told.append(event)
        elif event.get("action") == "msg":
            text += str(event.get("msg", "")).splitlines()
    if not told:  # a stack overflow ends nix 2.8 with a text; nix 2.3 writes no JSON of it
        return Complaint((reason("\n".join(paragraph("\n".join(text)))),))
    last = told[-1]
    lines = paragraph(last["raw_msg"])
    suggestion = SUGGESTION.search("\n".join(paragraph(last.get("msg", ""))))
    if suggestion is not None and lines[-1:] != [suggestion[0].strip()]:
        lines.append(suggestion[0].strip())
    trace = tuple(place for place in (_place(each) for each in last.get("trace") or ()) if place is not None)
    return Complaint(tuple(lines) or ("no reason given",), _place(last), trace)


def warnings(stderr: str) -> tuple[str, ...]:
    """What an evaluation that was run with `JSON` warned of, each once."""
    said = (one_line(each.get("msg", "")) for each in _events(stderr) if isinstance(each, Mapping))
    found = (WARNING.fullmatch(each) for each in said)
    texts = (next(group for group in each.groups() if group) for each in found if each is not None)
    return tuple(dict.fromkeys(text if len(text) <= MESSAGE_CHARS else f"{text[:MESSAGE_CHARS]}…" for text in texts))


def _events(stderr: str) -> Iterator[Mapping[str, Any] | str]:
    """Nix's messages; what is none of them, such as the last words of a crash, as text."""
    for line in stderr.splitlines():
        if line.startswith("@nix "):
            with suppress(ValueError):
                event = json.loads(line.removeprefix("@nix "))
                if isinstance(event, dict):
                    yield event
                    continue
        yield line


def _place(event: Mapping[str, Any]) -> Place | None:
    file, line = event.get("file"), event.get("line")
    if not isinstance(file, str) or not isinstance(line, int):
        return None
    return Place(POSITION.sub("", file), line, int(event.get("column") or 1))


def reason(stderr: str) -> str:
    """The message of nix's error, all of it on one line.

    Nix prints it last, at the beginning of a line, whatever traces said before. A newer nix heads it with a bare
    `error:`, and the message is then the last that stands indented below (Nix 2.8 to 2.26).
    """
    lines = stderr.splitlines()
    heads = [number for number, line in enumerate(lines) if line.startswith("error:")]
    if not heads:
        return next((line.strip() for line in reversed(lines) if line.strip()), "no reason given")
    start = heads[-1]
    if lines[start].strip() == "error:":
        inner = [number for number in range(start, len(lines)) if lines[number].strip().startswith("error: ")]
        start = inner[-1] if inner else start
    return _message(lines, start)


def _message(lines: list[str], start: int) -> str:
    """The error that begins at `start`, with the lines that go on with it; where it happened comes after those."""
    parts = [lines[start].strip().removeprefix("error:")]
    for line in lines[start + 1 :]:
        if not line.startswith(" ") or not line.strip() or line.strip().startswith(AFTER_MESSAGE):
            break
        parts.append(line)
    message = one_line(" ".join(parts)).rstrip(":;")
    return message if len(message) <= MESSAGE_CHARS else message[:MESSAGE_CHARS] + "…"


def build_failure(log: list[str]) -> str:
    """Nix's reason and the end of the builder's own words, on one line."""
    heads = [number for number, line in enumerate(log) if line.startswith("error:")]
    # What a builder prints may look like an error too; and what fails for another's failure is told after that.
    own = [number for number in heads if log[number].startswith(OWN_ERRORS)]
    at = own[0] if own else heads[-1] if heads else len(log)
    why = _message(log, at) if at < len(log) else reason("\n".join(log))
    # After its error, nix quotes the end of the builder's log behind `>`, unless it has shown that log already.
    words = [line.strip().removeprefix("> ") for line in log[at:] if line.strip().startswith("> ")]
    if not words:
        starts = [number for number, line in enumerate(log[:at]) if line.startswith("building '")]
        # Of a long log the beginning, and with it that line, is not kept.
        words = [line.strip() for line in log[starts[-1] + 1 if starts else 0 : at]]
    return " | ".join([why, *words[-LAST_LINES:]])
