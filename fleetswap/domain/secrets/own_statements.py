"""Some statements of a key policy, which others have statements in as well: what is ours by its `Sid`, and the rest.

KMS has one policy for a key and replaces it whole, so to add or remove a statement is to read it, and write it back
with everything else as it is. Pure: it compares documents as KMS does, not letter by letter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

Statement = Mapping[str, Any]

_DELETED = re.compile(r"A(ID|RO)A[A-Z0-9]{12,}")
"""The unique ID of a user or a role, which a policy shows in place of its ARN once it was deleted (IAM user guide, "IAM
identifiers" and "AWS JSON policy elements: Principal")."""


def sids(statements: Sequence[Statement]) -> list[str]:
    """The names by which statements are found again. `ValueError` for one without, or one that comes twice."""
    found = [str(each.get("Sid", "")) for each in statements]
    if not all(found) or len(set(found)) < len(found):
        raise ValueError(f"each statement needs a Sid of its own: {', '.join(found)}")
    return found


def of(policy: str, ours: Collection[str]) -> list[Statement]:
    """The statements of a policy that have one of these `Sid`s, in their order."""
    return [each for each in statements_of(policy) if each.get("Sid") in ours]


def written(policy: str, ours: Collection[str], wanted: Sequence[Statement]) -> str | None:
    """The policy with `wanted` in place of what has one of these `Sid`s; None if it says just that already.

    KMS takes no policy that names a deleted principal, not even the one that it has just shown (PutKeyPolicy,
    MalformedPolicyDocumentException). Such a name allows and denies nobody anything, so it is left out.
    """
    ours = {*ours, *sids(wanted)}
    found = statements_of(policy)
    mine = [each for each in found if each.get("Sid") in ours]
    if same(mine, wanted):
        return None
    others = [kept for each in found if each.get("Sid") not in ours for kept in _without_deleted(each)]
    return json.dumps({**json.loads(policy), "Statement": [*others, *wanted]})


def principals(statements: Sequence[Statement]) -> list[str]:
    """The roles and users that statements name, each once; not the accounts."""
    named = [name for each in statements for name in _named(each)]
    return list(dict.fromkeys(name for name in named if not name.endswith(":root")))


def same(some: Sequence[Statement], others: Sequence[Statement]) -> bool:
    """Whether statements allow the same: neither their order counts, nor that of a list, nor a list of one element."""

    def plain(value: Any) -> Any:  # noqa: ANN401 (JSON)
        if isinstance(value, Mapping):
            return {key: plain(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            listed = sorted(map(str, value))
            return listed[0] if len(listed) == 1 else listed
        return str(value)

    def ordered(statements: Sequence[Statement]) -> list[str]:
        return sorted(json.dumps(plain(each), sort_keys=True) for each in statements)

    return ordered(some) == ordered(others)


def statements_of(policy: str) -> list[Statement]:
    """All of a policy. A single one needs no list (IAM user guide, "Grammar of the IAM JSON policy language")."""
    found = json.loads(policy)["Statement"]
    return [found] if isinstance(found, Mapping) else list(found)


def _named(statement: Statement) -> list[str]:
    principal = statement.get("Principal")
    names = principal.get("AWS", []) if isinstance(principal, Mapping) else []
    return [names] if isinstance(names, str) else list(names)


def _without_deleted(statement: Statement) -> Iterator[Statement]:
    """The statement without principals that were deleted; nothing if it names no other."""
    named = _named(statement)
    living = [name for name in named if not _DELETED.fullmatch(name)]
    if len(living) == len(named):
        yield statement
        return
    principal = {kind: names for kind, names in statement["Principal"].items() if kind != "AWS"}
    if living:
        principal["AWS"] = living
    if principal:
        yield {**statement, "Principal": principal}
