"""Which permissions a rollback needs, on which resources, for IAM to simulate. Asks IAM nothing.

They are those that `fleetswap permissions --for rollback` prints, so there is one list. What a launch takes is not
among them: EC2 itself checks that in a dry run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fleetswap.domain import tags
from fleetswap.domain.permissions.purposes import Purpose, statements
from fleetswap.domain.permissions.scope import Scope


@dataclass(frozen=True)
class Question:
    """Whether actions are allowed on one resource. `context` are the condition keys of the requests."""

    actions: tuple[str, ...]
    resource: str
    context: Mapping[str, str]


@dataclass(frozen=True)
class Denied:
    """An action that IAM's simulation does not allow on a resource. Not `sure`: a policy asks for a key of the request
    that nobody has given, such as the address of the caller.
    """

    action: str
    resource: str
    sure: bool = True

    def __str__(self) -> str:
        """For a person."""
        return self.action if self.resource == "*" else f"{self.action} on {self.resource}"


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
