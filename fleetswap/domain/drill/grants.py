"""Which permissions a rollback needs, on which resources, for IAM to simulate. Asks IAM nothing.

They are those that `fleetswap permissions --for rollback` prints, so there is one list. What a launch takes is not
among them: EC2 itself checks that in a dry run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from fleetswap.domain import tags
from fleetswap.domain.permissions.purposes import Purpose, statements
from fleetswap.domain.permissions.scope import Scope
from fleetswap.domain.permissions.simulate import Question


def questions(scope: Scope, resources: Iterable[str]) -> Iterator[Question]:
    """What to ask about a rollback of the stack in `scope`, whose rule, listener, groups and schedule these are."""
    known = tuple(resources)
    always = {"aws:RequestedRegion": scope.region}
    own = {tags.STACK: scope.stack, tags.SERVICE: scope.service}
    context = {f"aws:{kind}/{key}": value for kind in ("RequestTag", "ResourceTag") for key, value in own.items()}
    asked: dict[str, dict[str, None]] = {}
    for statement in statements(scope, Purpose.ROLLBACK):
        every = statement.resources == ("*",)
        found = ["*"] if every else [arn for arn in known if _is_one(arn, statement.resources)]
        for arn in found:
            asked.setdefault(arn, {}).update(dict.fromkeys(statement.actions))
    for arn, actions in asked.items():
        yield Question(tuple(actions), arn, always if arn == "*" else always | context)


def _is_one(arn: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(arn, pattern) for pattern in patterns)
