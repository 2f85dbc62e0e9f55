"""Which files of a project are sealed, for whom, and what is wrong with them. It needs neither sops nor AWS."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetswap.cli.project import Project, StackFile, here
from fleetswap.domain.errors import InputError
from fleetswap.domain.secrets.sealing import encryption_context
from fleetswap.domain.text import visible
from fleetswap.sops import rules as sops_rules
from fleetswap.sops.rules import NAME, Rule, Rules
from fleetswap.sops.sealed import Unreadable, inspect, read

SETTING = "fleetswap:secrets"

SKIPPED = {"node_modules", "__pycache__"}
"""Folders that are not looked into where git does not list files, besides those whose names begin with a dot."""


@dataclass(frozen=True)
class Declared:
    """What the settings of a stack say of its sealed file."""

    stack: StackFile
    file: Path | None
    key: str | None
    """The ARN of an existing key. Without it, the stack's own is known to its state, and to the rules, alone."""

    @property
    def context(self) -> Mapping[str, str]:
        """The encryption context of the stack."""
        return encryption_context(self.stack.tag)


@dataclass(frozen=True)
class Found:
    """A file, and what is wrong with it."""

    name: str
    problems: tuple[str, ...]
    is_read: bool = True
    """Whether the problems are of its content, and not that it cannot be read."""


class Index:
    """What git is about to commit, in place of what is on disk."""

    remedy = "stage it with `git add`, or correct `file` of fleetswap:secrets"
    """For the file of a stack that cannot be read here."""

    def __init__(self, folder: Path) -> None:
        top = _git(folder, "rev-parse", "--show-toplevel")
        if not top:
            raise InputError("--staged: this is not a git repository, or there is no git")
        self._top = Path(os.fsdecode(top.removesuffix(b"\n")))

    def read(self, path: Path) -> bytes:
        """The staged content of a file. Raises `Unreadable`."""
        is_inside = path.is_relative_to(self._top)
        name = path.relative_to(self._top).as_posix() if is_inside else ""
        content = _git(self._top, "cat-file", "blob", f":{name}") if is_inside else None
        if content is None:
            raise Unreadable("is not staged or committed")
        return content

    def files(self, folder: Path) -> list[Path]:
        """All files below a folder that will be in the commit."""
        return [folder / name for name in _names(_git(folder, "ls-files", "-z", "--cached"))]


class Tree:
    """What is on disk."""

    remedy = "make it with `fleetswap secrets init`, or correct `file` of fleetswap:secrets"
    """As above."""

    def read(self, path: Path) -> bytes:
        """The content of a file. Raises `Unreadable`."""
        return read(path)

    def files(self, folder: Path) -> list[Path]:
        """All files below a folder that git does not ignore; without git, all."""
        listed = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        if listed is None:
            return list(_walk(folder))
        return [path for name in _names(listed) if (path := folder / name).is_file()]


def declared(here: Project | None) -> list[Declared]:
    """The stacks of a project that have secrets."""
    return [] if here is None else [found for stack in here.stacks() if (found := _declared(here, stack)) is not None]


def _declared(here: Project, stack: StackFile) -> Declared | None:
    # Not with the library's models: they take a second to load, and this runs at every commit.
    text = stack.config().get(SETTING)
    try:
        given: Any = json.loads(text) if text else None
    except ValueError:
        given = None
    if given is None or given is False:
        return None
    given = given if isinstance(given, dict) else {}
    file, key = given.get("file"), given.get("kms_key")
    return Declared(
        stack,
        absolute(here.folder / file) if isinstance(file, str) else None,
        key if isinstance(key, str) else None,
    )


def rules_of(folder: Path, source: Index | Tree) -> Rules | None:
    """The rules of sops for a folder, from where the files are read; None if there are none."""
    path = sops_rules.find(folder)
    if path is None:
        return None
    try:
        return sops_rules.parse(source.read(path).decode(), path)
    except Unreadable:
        return None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} cannot be read: it is not text in UTF-8") from error


def covered(folder: Path, rules: Rules | None, stacks: list[Declared], source: Index | Tree) -> list[Path]:
    """The files that must be sealed: those of the stacks, and those below the folder that a rule names."""
    listed = [] if rules is None else source.files(folder)
    of_rules = [path for path in listed if rules is not None and (rule := rules.of(path)) and rule.path_regex]
    return sorted({*(each.file for each in stacks if each.file is not None), *of_rules})


def check(path: Path, rules: Rules | None, stacks: list[Declared], source: Index | Tree) -> Found | None:
    """What is wrong with a file; None if it is sealed for others, of whom nothing is known here."""
    rule = None if rules is None else rules.of(path)
    stack = next((each for each in stacks if each.file == path), None)
    if stack is None and rule is not None and not (rule.is_simple and rule.keys):
        return None
    try:
        content = source.read(path)
    except Unreadable as error:
        remedy = "" if stack is None else f": {source.remedy}"
        return Found(shown(path), (f"{error}{remedy}",), is_read=False)
    context = stack.context if stack is not None else rule.context if rule is not None else None
    return Found(shown(path), (*_of_rule(stack, rule), *inspect(content, path.name, _keys(stack, rule), context)))


def _keys(stack: Declared | None, rule: Rule | None) -> tuple[str, ...] | None:
    """Who must be able to open it. A replica counts once the rule names it: before that it may not be there."""
    if stack is not None and stack.key is not None:
        return (stack.key,)
    return rule.arns if rule is not None and rule.arns else None


def _of_rule(stack: Declared | None, rule: Rule | None) -> Iterator[str]:
    """What is wrong with the rule of a stack's file: the next edit would be sealed by it."""
    if stack is None or rule is None:
        return
    if not rule.is_simple:
        yield f"its rule in {NAME} is not for KMS keys alone"
    if rule.context != dict(stack.context):
        yield f"its rule in {NAME} does not have the encryption context of {stack.stack.tag}"
    if len({arn.rpartition("/")[2] for arn in rule.arns}) > 1:
        yield f"its rule in {NAME} is for several keys, which are not replicas of one another"


def absolute(path: Path) -> Path:
    """A path from the root, with no `..` in it. Links stay: they are what the rules and git see."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would follow them


def shown(path: Path) -> str:
    """A path for people: from here, if it is below."""
    folder = here()
    return visible(str(path.relative_to(folder) if path.is_relative_to(folder) else path))


def in_history(path: Path) -> bool:
    """Whether git has this file, staged or in the last commit, in another form than sealed."""
    for revision in (":", "HEAD:"):
        content = _git(path.parent, "cat-file", "blob", f"{revision}./{path.name}")
        if content is not None and inspect(content, path.name, None, None):
            return True
    return False


def copies(path: Path) -> list[Path]:
    """What editors and people leave beside a file: it may be the same in plaintext."""
    names = [f"{path.name}~", f".{path.name}.swp", f"#{path.name}#", *(f"{path.name}.{end}" for end in ("bak", "orig"))]
    return [copy for name in names if (copy := path.with_name(name)).exists()]


def _walk(folder: Path) -> Iterator[Path]:
    for top, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in SKIPPED]
        yield from (Path(top, name) for name in names)


def _names(listed: bytes | None) -> list[str]:
    return [os.fsdecode(name) for name in (listed or b"").split(b"\0") if name]


def _git(folder: Path, *words: str) -> bytes | None:
    """What git prints; None if it fails, or there is none. In a hook, git's variables say which index is meant."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
