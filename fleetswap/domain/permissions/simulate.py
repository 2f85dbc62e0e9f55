"""What IAM is asked to simulate, and what its results for a set of policies come to. Asks IAM nothing.

The simulation knows the policies of a user or role, its permissions boundary and the organization's service control
policies; it knows no session policy and no policy of a resource (IAM user guide, "IAM policy testing with the IAM
policy simulator").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fleetswap.domain.permissions.statement import Statement

SHOWN = 4
"""Actions that a line names."""

ANY = "x"
"""What stands for a wildcard: the simulation takes whole ARNs."""

Value = str | bool | tuple[str, ...]
"""Of a condition key."""


@dataclass(frozen=True)
class Question:
    """Whether actions are allowed on one resource. `context` are the condition keys of the requests."""

    actions: tuple[str, ...]
    resource: str
    context: Mapping[str, Value]


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


def kind(value: Value) -> str:
    """The type of a condition key's value (IAM API reference, ContextEntry)."""
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "stringList"


def texts(value: Value) -> list[str]:
    """A value as IAM takes it."""
    if isinstance(value, bool):
        return [str(value).lower()]
    return [value] if isinstance(value, str) else list(value)


def questions(statements: Iterable[Statement], region: str) -> Iterator[tuple[Question, ...]]:
    """What to ask about each statement: its actions on each of its resources, in requests that meet its conditions."""
    always: dict[str, Value] = {"aws:RequestedRegion": region, "aws:SecureTransport": True}
    for one in statements:
        context = always | dict(_context(one))
        yield tuple(Question(one.actions, each if each == "*" else _whole(each), context) for each in one.resources)


def _context(statement: Statement) -> Iterator[tuple[str, Value]]:
    for operator, keys in statement.conditions.items():
        for key, values in keys.items():
            if operator == "Null" and values == "true":
                continue  # that it is not there is what is asked for
            several = (values,) if isinstance(values, str) else values
            whole = tuple(map(_whole, several))
            if operator == "Bool":
                yield key, whole[0] == "true"
            else:
                yield key, whole if operator.startswith("ForAllValues:") else whole[0]


def _whole(text: str) -> str:
    return re.sub(r"[*?]", ANY, text)


@dataclass(frozen=True)
class Sum:
    """The actions of a set of policies that are missing, that are allowed on some of a statement's resources only, and
    that conditions decide on. None is in two of them.
    """

    asked: int
    missing: tuple[str, ...]
    partly: tuple[str, ...]
    unsure: tuple[str, ...]


def summed(answers: Iterable[tuple[Sequence[Question], Sequence[Denied]]]) -> Sum:
    """What the answers about each statement come to.

    A statement may name resources that not every one of its actions knows, so one that is allowed on others is not
    called missing; nor is it well.
    """
    actions: set[str] = set()
    missing: set[str] = set()
    partly: set[str] = set()
    unsure: set[str] = set()
    for asked, denied in answers:
        for action in asked[0].actions:
            actions.add(action)
            its = [each for each in denied if each.action == action]
            sure = sum(each.sure for each in its)
            if sure == len(asked):
                missing.add(action)
            elif sure:
                partly.add(action)
            elif its:
                unsure.add(action)
    partly -= missing
    unsure -= missing | partly
    return Sum(len(actions), *(tuple(sorted(each)) for each in (missing, partly, unsure)))


def some(actions: Sequence[str]) -> str:
    """The first few of the actions, and how many more there are."""
    more = len(actions) - SHOWN
    return f"{', '.join(actions[:SHOWN])}{f' and {more:,} more' if more > 0 else ''}"
