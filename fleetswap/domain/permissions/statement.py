"""A statement of an IAM policy with its reason, and how statements become managed policies.

Decides how they are written and how they are divided; what is in them is decided elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LONGEST = 6144
"""Characters of a managed policy, without white space (IAM user guide, "IAM and AWS STS quotas")."""

Conditions = Mapping[str, Mapping[str, str | tuple[str, ...]]]
"""Values by condition key, by operator: `{"StringEquals": {"aws:RequestTag/team": "web"}}`."""


@dataclass(frozen=True)
class Statement:
    """What is allowed. `reason` says what it is for and, if it is not always needed, when."""

    sid: str
    reason: str
    actions: tuple[str, ...]
    resources: tuple[str, ...] = ("*",)
    conditions: Conditions = field(default_factory=dict)
    principal: str | Sequence[str] | None = None
    """Of a key policy: the ARN of whom it allows it, or several."""

    def plain(self) -> dict[str, Any]:
        """The statement as IAM takes it."""
        plain: dict[str, Any] = {"Sid": self.sid, "Effect": "Allow"}
        if self.principal is not None:
            plain["Principal"] = {"AWS": self.principal}
        plain |= {"Action": list(self.actions), "Resource": _one_or_all(self.resources)}
        if self.conditions:
            plain["Condition"] = {
                operator: {key: _one_or_all(values) for key, values in keys.items()}
                for operator, keys in self.conditions.items()
            }
        return plain


@dataclass(frozen=True)
class Policy:
    """A managed policy."""

    name: str
    statements: tuple[Statement, ...]

    def document(self) -> dict[str, Any]:
        """The policy document."""
        return {"Version": "2012-10-17", "Statement": [one.plain() for one in self.statements]}


def divide(name: str, statements: Iterable[Statement]) -> tuple[Policy, ...]:
    """The managed policies that hold the statements, each in the first one with room for it; several are numbered."""
    parts: list[list[Statement]] = []
    for one in statements:
        part = next((part for part in parts if length([*part, one]) <= LONGEST), None)
        if part is None:
            parts.append([one])
        else:
            part.append(one)
    if len(parts) == 1:
        return (Policy(name, tuple(parts[0])),)
    return tuple(Policy(f"{name}-{number}", tuple(part)) for number, part in enumerate(parts, start=1))


def length(statements: Iterable[Statement]) -> int:
    """Characters of a policy with these statements as IAM counts them: without white space."""
    return len("".join(json.dumps(Policy("", tuple(statements)).document(), separators=(",", ":")).split()))


def _one_or_all(values: str | tuple[str, ...]) -> str | list[str]:
    if isinstance(values, str):
        return values
    return values[0] if len(values) == 1 else list(values)
