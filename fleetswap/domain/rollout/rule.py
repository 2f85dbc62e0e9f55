"""The rules of a service on a listener: which priorities they have, and which requests they take.

On a listener of the stack's own, the rule with the weights has the last priority that ELBv2 allows (CreateRule), and
the preview rules are far before it. On an existing listener the stack has a range: its last priority is that of the
rule with the weights, so that a preview rule always wins over it there, too. `fleetswap.aws.rollout` writes them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PRIORITY = 50_000
"""Of the rule with the weights on an own listener."""

OWN_PREVIEWS = (1, 40_000)
"""First and last priority of preview rules on an own listener."""


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


def matches_host(pattern: str, name: str) -> bool:
    """Whether a value of a host-header condition matches a name: without case, `*` is any characters and `?` is one."""
    return _matches(pattern.lower(), name.lower())


def _matches(pattern: str, text: str) -> bool:
    translated = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(translated, text, re.DOTALL) is not None
