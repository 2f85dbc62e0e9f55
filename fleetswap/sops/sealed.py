"""Reads a sealed file, stricter than a parser of YAML: whatever could hide a value from a check is a problem.

Errors never contain a part of the file, because it may be a secret.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from fleetswap.domain.secrets.sealed_file import is_sealed, problems

FORMATS = (".yaml", ".yml", ".json")
"""The ends of names by which sops itself takes a file for YAML or JSON."""


class Unreadable(ValueError):
    """A file is not what its name says. The message is about the file, and has nothing of what is in it."""


def inspect(
    content: bytes, name: str, keys: Collection[str] | None, context: Mapping[str, str] | None
) -> tuple[str, ...]:
    """What is wrong with a sealed file of this name and content, one line each; empty if nothing is.

    `keys` and `context` as for `fleetswap.domain.secrets.sealed_file.problems`. It decrypts nothing.
    """
    try:
        document = parse(content, name)
    except Unreadable as error:
        return (str(error),)
    found = problems(document, keys, context)
    if not name.endswith(".json"):
        found += [f"the comment in line {line} is in plaintext" for line in plain_comments(content.decode("utf-8-sig"))]
    return tuple(found)


def parse(content: bytes, name: str) -> Any:  # noqa: ANN401 - whatever YAML or JSON can hold
    """The document in a file of this name. Raises `Unreadable`: also for what only sops could read otherwise, such as
    a key that is there twice, an alias, or a second document.
    """
    if not name.endswith(FORMATS):
        raise Unreadable(f"is not a file that can be checked: its name must end in {', '.join(FORMATS)}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("is not text in UTF-8") from None
    try:
        if name.endswith(".json"):
            return json.loads(text, object_pairs_hook=_once)
        return yaml.load(text, Loader=_Strict)  # noqa: S506 - it is a safe one
    except json.JSONDecodeError as error:
        raise Unreadable(f"is not JSON (line {error.lineno}, column {error.colno})") from None
    except _Problem as error:
        raise Unreadable(str(error)) from None
    except yaml.YAMLError as error:
        raise Unreadable(f"is not YAML{_place(getattr(error, 'problem_mark', None))}") from None
    except (RecursionError, ValueError):  # PyYAML lets ValueErrors of dates and numbers through
        raise Unreadable(f"is not {'JSON' if name.endswith('.json') else 'YAML'} that can be read") from None


def read(path: Path) -> bytes:
    """The content of a file. Raises `Unreadable`."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise Unreadable("does not exist") from None
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror or error})") from None


def plain_comments(text: str) -> Iterator[int]:
    """The lines of a valid YAML text with a comment that is not sealed. sops seals comments too."""
    at = 0
    for token in [*yaml.scan(text, Loader=yaml.SafeLoader)]:
        if isinstance(token, (yaml.StreamStartToken, yaml.StreamEndToken)):
            continue
        yield from _comments(text, at, token.start_mark.index)
        at = max(at, token.end_mark.index)
        if isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):  # its first line may have one as well
            yield from _comments(text, token.start_mark.index, text.index("\n", token.start_mark.index))
    yield from _comments(text, at, len(text))


def _comments(text: str, start: int, end: int) -> Iterator[int]:
    """The lines of comments between two tokens, where there is nothing but comments and blanks."""
    first = text.count("\n", 0, start) + 1
    for number, line in enumerate(text[start:end].split("\n")):
        _, sign, comment = line.partition("#")
        if sign and comment.strip() and not is_sealed(comment.strip()):
            yield first + number


class _Problem(ValueError):
    """A part of a valid document that is refused."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Problem("has a name twice, of which only the last would be checked")
    return found


def _place(mark: yaml.Mark | None) -> str:
    return "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"


class _Strict(yaml.SafeLoader):
    """YAML as sops writes it."""

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401 - PyYAML's own signature
        if self.check_event(yaml.AliasEvent):  # type: ignore[no-untyped-call]
            at = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _Problem(f"has an alias{_place(at)}, which sops does not write")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - PyYAML's
        seen: set[Hashable] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)  # type: ignore[no-untyped-call]
            if not isinstance(name, Hashable):
                raise _Problem(f"has a name that is not text{_place(key.start_mark)}")
            if name in seen:
                raise _Problem(f"has a name twice{_place(key.start_mark)}, of which only the last would be checked")
            seen.add(name)
        return super().construct_mapping(node, deep=deep)
