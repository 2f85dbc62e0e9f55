"""Patterns of IAM policies: `*`, `?` and policy variables.

Decides what a pattern matches. Pure. Source: IAM user guide, "IAM JSON policy elements: Resource", "… Variables and
tags". A `*` matches colons, too: of an ARN's last part it may, and nobody writes another.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    Context = Mapping[str, tuple[str, ...]]
    """The condition keys of a request, in lower case, as keys are compared without case."""

VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_LITERALS: Final = frozenset({"*", "?", "$"})
_DEFAULT: Final = re.compile(r"\s*([^,\s]+)\s*,\s*'([^']*)'\s*")
_ARN_PARTS: Final = 6


class Unresolved(Exception):
    """A variable that the request has no value for, and no default: what holds it matches nothing."""


def matches(pattern: str, value: str, context: Context | None = None, *, case: bool = True) -> bool:
    """Whether a pattern matches the whole of a value. Without `context`, variables are text. Raises `Unresolved`."""
    return _compiled(_expression(pattern, context), case=case).fullmatch(value) is not None


def matches_arn(pattern: str, value: str, context: Context | None = None) -> bool:
    """As `ArnLike` compares: each of the six parts by itself."""
    wanted, found = _parts(pattern), value.split(":", _ARN_PARTS - 1)
    return len(wanted) == len(found) and all(
        matches(one, other, context) for one, other in zip(wanted, found, strict=True)
    )


def filled(text: str, context: Context | None) -> str:
    """A text with its variables replaced, without `context` as it is; a `*` is no pattern. Raises `Unresolved`."""
    if context is None:
        return text
    return VARIABLE.sub(lambda found: _value(found[1], context), text)


def _parts(pattern: str) -> list[str]:
    """Split at colons, but not at those of a variable."""
    hidden = VARIABLE.sub(lambda found: found[0].replace(":", "\0"), pattern)
    return [part.replace("\0", ":") for part in hidden.split(":", _ARN_PARTS - 1)]


def _value(name: str, context: Context) -> str:
    if name in _LITERALS:
        return name
    default = _DEFAULT.fullmatch(name)
    values = context.get((default[1] if default else name).strip().lower(), ())
    if len(values) == 1:  # a key with several values cannot be a variable
        return values[0]
    if default is None:
        raise Unresolved(name)
    return default[2]


def _expression(pattern: str, context: Context | None) -> str:
    if context is None or "${" not in pattern:
        return _glob(pattern)
    pieces, end = [], 0
    for found in VARIABLE.finditer(pattern):
        pieces += [_glob(pattern[end : found.start()]), re.escape(_value(found[1], context))]
        end = found.end()
    return "".join([*pieces, _glob(pattern[end:])])


def _glob(pattern: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(character) or re.escape(character) for character in pattern)


@functools.lru_cache(maxsize=4096)
def _compiled(expression: str, *, case: bool) -> re.Pattern[str]:
    return re.compile(expression, re.DOTALL if case else re.DOTALL | re.IGNORECASE)
