"""The rules of a service on a listener: which priorities they have, and which requests they take.

On a listener of the stack's own, the rule with the weights has the last priority that ELBv2 allows (CreateRule), and
the preview rules are far before it. On an existing listener the stack has a range: its last priority is that of the
rule with the weights, so that a preview rule always wins over it there, too. `fleetswap.aws.rollout` writes them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass

PRIORITY = 50_000
"""Of the rule with the weights on an own listener."""

OWN_PREVIEWS = (1, 40_000)
"""First and last priority of preview rules on an own listener."""


PREVIEW_HEADER = "X-Fleetswap-Release"
"""Request header that a release's preview rule matches; its value is secret, see `preview_value`."""


@dataclass(frozen=True)
class Rules:
    """`priorities` is the range on an existing listener; None: the listener is the stack's own.

    `hosts` and `paths` are the conditions of every rule; empty: any. `preview_sources` are the CIDR blocks that preview
    rules take requests from.
    """

    priorities: tuple[int, int] | None = None
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    preview_sources: tuple[str, ...] = ()

    @property
    def priority(self) -> int:
        """Of the rule with the weights."""
        return PRIORITY if self.priorities is None else self.priorities[1]

    @property
    def previews(self) -> tuple[int, int]:
        """First and last priority of preview rules."""
        return OWN_PREVIEWS if self.priorities is None else (self.priorities[0], self.priorities[1] - 1)


OWN = Rules()
"""All requests of an own listener."""


def preview_value(release: str, token: str) -> str:
    """The value of `PREVIEW_HEADER` that reaches a release, of the 128 characters that ELBv2 allows.

    The token is random, and the rule is where it is kept: whoever may read the listener's rules knows it, and nobody
    can work it out. ELBv2 compares without case, and takes `*` and `?` for wildcards, so a token has neither.
    """
    return f"{release}.{token}"


def is_current(value: str, release: str) -> bool:
    """Whether the value is one that `preview_value` has made for the release."""
    return value.startswith(f"{release}.")


def is_former(value: str, release: str, listener: str) -> bool:
    """Whether the value is one of older versions: a digest of the listener's ARN and the release's id."""
    return value == hashlib.sha256(f"{listener} {release}".encode()).hexdigest()[:32]


def preview_priority(release: str, taken: Collection[str], previews: tuple[int, int]) -> int | None:
    """A priority for a release's preview rule that no other rule of the listener has; None if all are taken.

    `taken` is as ELBv2 tells them, `previews` is the range. The search begins at a number that follows from the
    release, so that a lost answer is met again, and two releases that are made at once seldom want the same one.
    """
    first, last = previews
    count = last - first + 1
    start = int.from_bytes(hashlib.sha256(release.encode()).digest()[:4], "big")
    numbers = (first + (start + step) % count for step in range(count))
    return next((number for number in numbers if str(number) not in taken), None)


def matches_path(pattern: str, path: str) -> bool:
    """Whether a value of a path-pattern condition matches a path: with case, and wildcards as for hosts."""
    return _matches(pattern, path)


def covers(patterns: Collection[str], other: str, *, fold: bool = False) -> bool:
    """Whether one of the patterns surely matches all that `other`, a name or pattern, matches. `fold`: in any case."""
    wanted = other.lower() if fold else other
    return any(_matches(pattern.lower() if fold else pattern, wanted) or pattern in {"*", "/*"} for pattern in patterns)


def matches_host(pattern: str, name: str) -> bool:
    """Whether a value of a host-header condition matches a name: without case, `*` is any characters and `?` is one."""
    return _matches(pattern.lower(), name.lower())


def _matches(pattern: str, text: str) -> bool:
    translated = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(translated, text, re.DOTALL) is not None
