"""How numbers and texts are worded wherever people read them."""

from __future__ import annotations

import re

_ESCAPES = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]")
"""ECMA-48 control sequences: OSC strings, CSI sequences, and the short ones. Firmware draws its screens with them."""

_STORE_HASH = re.compile(r"/nix/store/[0-9a-z]{32}-")

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffd]+")
"""Control characters, what turns the direction of text around, and bytes that were no UTF-8, which no message to the
engine can have.
"""


def duration(seconds: float) -> str:
    """A time as people write it: 8 s, 3:05, 1:02:03."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def one_line(text: object) -> str:
    """Text from outside as one line: no escapes, no control characters, no runs of blanks."""
    return " ".join(_UNPRINTABLE.sub(" ", without_escapes(str(text))).split())


def paragraph(text: object) -> list[str]:
    """Text from outside as its lines, indented as they were: no escapes, no control characters, no blanks around it."""
    lines = [_UNPRINTABLE.sub(" ", line.expandtabs()).rstrip() for line in without_escapes(str(text)).splitlines()]
    full = [number for number, line in enumerate(lines) if line]
    return lines[full[0] : full[-1] + 1] if full else []


def visible(text: str) -> str:
    """Text from outside as it is, but what a terminal would not show, or obey, as its escape in Python."""
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def without_escapes(text: str) -> str:
    """Text without what a terminal would take for a command."""
    return _ESCAPES.sub("", text)


def without_store_hash(text: str) -> str:
    """Text without what stands before a name in Nix's store: a status has no room for it."""
    return _STORE_HASH.sub("", text)


def amount(size: int) -> str:
    """Bytes as people write them."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size} bytes"


def capacity(size: int, *, weighted: bool | None) -> str:
    """The size of a group: so many machines, or with weights of instance types so many units of capacity."""
    return f"{size:,} {units(weighted=weighted, one=size == 1)}"


def units(*, weighted: bool | None, one: bool = False) -> str:
    """What the sizes of a group count."""
    if weighted:
        return "unit of capacity" if one else "units of capacity"
    return "machine" if one else "machines"


def counted(count: int, what: str) -> str:
    """So many of something."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
