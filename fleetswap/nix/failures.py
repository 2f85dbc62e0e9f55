"""A failed evaluation as the error that a user reads: what and where on the first line, then nix's message as it is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from fleetswap.nix.errors import Complaint, Place
from fleetswap.nix.process import version
from fleetswap.nix.remedies import remedy

LINES = 40
"""So many lines of a message are shown. NixOS's longest are lists of failed assertions."""

CHARS = 1_000
"""Of one line: a throw may print a whole attribute set."""

SHOWN = 20
"""So many names of what there is are shown."""

HERE = Path(__file__).parent

IN_STORE = re.compile(r"/nix/store/[0-9a-z]{32}-[^/]+/([^' ]+)")
"""A file of a flake, as nix names it: it evaluates a copy in its store."""

MISSING = re.compile(r"No such file|does not exist|is not tracked|is not under version control")

NO_ATTRIBUTE = re.compile(r"does not provide attribute .*?'packages\.(?P<system>[^.']+)")


def failure(
    name: str,
    why: Complaint,
    folders: Iterable[Path],
    by_hand: list[str],
    names: Callable[[str], list[str]] = lambda _system: [],
) -> str:
    """The error. `folders` are those of the user's files, `by_hand` is the command that shows the whole trace, and
    `names` asks which packages the flake has for a system.
    """
    folders = list(folders)
    at = _place(why, folders)
    first, *others = why.lines
    head = f"{name} does not evaluate{f' ({at})' if at else ''}: {_short(first)}"
    more = [f"  {_short(line)}".rstrip() for line in others[: LINES - 1]]
    left = len(others) - len(more)
    mends = _untracked(why, folders) or _attribute(why, names) or remedy(why.text, version(by_hand[0]))
    last = mends or f"`{shlex.join(by_hand)}` shows {f'the other {left} lines and ' if left else ''}the trace"
    if not more:
        return f"{head.rstrip(':;.')}: {last}"
    return "\n".join([head, *more, *([f"  … and {left} more lines"] if left else []), f"{last[0].upper()}{last[1:]}."])


def listed(names: list[str]) -> str:
    """The first of some names."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(names[:SHOWN]) or "none") + more


def _short(line: str) -> str:
    return line if len(line) <= CHARS else f"{line[:CHARS]}…"


def _place(why: Complaint, folders: list[Path]) -> str | None:
    """Where to look: the innermost place in the user's files; else where nix says, unless that is in this package."""
    places = [*([why.at] if why.at else []), *why.trace]
    for place in places:
        for file in _own(place.file, folders):
            return _words(place, file)
    return None if why.at is None or Path(why.at.file).parent == HERE else _words(why.at, why.at.file)


def _own(file: str, folders: list[Path]) -> Iterator[str]:
    """The file as the user knows it, if it is one of theirs."""
    copied = IN_STORE.fullmatch(file)
    for folder in folders if Path(file).parent != HERE else ():
        if copied is not None and (folder / copied[1]).is_file():
            yield copied[1]
        with suppress(ValueError):
            yield str(Path(file).relative_to(folder))


def _words(place: Place, file: str) -> str:
    return f"{file}:{place.line}:{place.column}"


def _untracked(why: Complaint, folders: list[Path]) -> str | None:
    """Of a flake in a Git repository nix copies what Git knows: that a file is missing there surprises everybody.

    It is missing if that is said behind its name. Of an option that does not exist, the file that sets it comes last.
    """
    missing = IN_STORE.search(why.text)
    if missing is None or not MISSING.search(why.text, missing.end()):
        return None
    folder = next((each for each in folders if (each / missing[1]).exists()), None)
    if folder is None:
        return None
    file = folder / missing[1]
    if any((each / ".git").exists() for each in (file, *file.parents) if folder in each.parents):
        return "the file is in a Git submodule, which nix leaves out: add `?submodules=1` to the reference of the flake"
    return f"the file is there, but nix sees only what Git knows of a flake: `git add {missing[1]}`"


def _attribute(why: Complaint, names: Callable[[str], list[str]]) -> str | None:
    missing = NO_ATTRIBUTE.search(why.text)
    there = names(missing["system"]) if missing is not None else []
    return f"the packages of the flake for {missing['system']} are {listed(there)}" if missing and there else None
