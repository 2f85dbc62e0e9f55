"""The `Condition` of a policy's statement, with every operator that IAM has.

Decides whether a condition holds for a request's condition keys. Pure. An operator that IAM does not have raises
`UnknownOperator`: who asks must then refuse. Source: IAM user guide, "IAM JSON policy elements: Condition operators"
and "Conditions with multiple context keys or values".
"""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from localcloud.authorization.patterns import Unresolved, filled, matches, matches_arn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localcloud.authorization.patterns import Context

    Test = Callable[[str, str, Context | None], bool]

_OPERATOR: Final = re.compile(r"(?:(ForAllValues|ForAnyValue):)?([A-Za-z]+?)(IfExists)?")


class UnknownOperator(Exception):
    """An operator that IAM does not have."""


def holds(condition: Mapping[str, Mapping[str, Any]], context: Context, *, variables: bool = True) -> bool:
    """Whether every operator of a condition holds for every key that it names.

    `variables`: whether `${…}` is replaced in its values, as in policies of version 2012-10-17.
    """
    return all(
        _holds(operator, context.get(key.lower()), strings(wanted), context if variables else None)
        for operator, keys in condition.items()
        for key, wanted in keys.items()
    )


def strings(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - JSON
    """One value or a list of them, as IAM reads them: a boolean or a number stands for its text."""
    values = value if isinstance(value, list) else [value]
    return tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in values)


def _holds(operator: str, found: tuple[str, ...] | None, wanted: tuple[str, ...], context: Context | None) -> bool:
    parsed = _OPERATOR.fullmatch(operator)
    if parsed is None:
        raise UnknownOperator(operator)
    quantifier, name, if_exists = parsed.groups()
    if name == "Null" and not if_exists:
        return any((found is None) == (value.lower() == "true") for value in wanted)
    test, negated = _test(name)
    if not found:
        return bool(if_exists) or (negated if quantifier is None else quantifier == "ForAllValues")
    each = (any(_passes(test, value, one, context) for value in wanted) != negated for one in found)
    if quantifier == "ForAllValues":
        return all(each)
    if quantifier == "ForAnyValue" or not negated:
        return any(each)
    return all(each)


def _passes(test: Test, wanted: str, found: str, context: Context | None) -> bool:
    try:
        return test(wanted, found, context)
    except (Unresolved, ValueError, OverflowError):  # what is no number, no date, no address equals none
        return False


def _test(name: str) -> tuple[Test, bool]:
    """The test of an operator, and whether the operator is its negation."""
    if name in _TESTS:
        return _TESTS[name], False
    positive = name.replace("Not", "", 1)
    if positive != name and positive in _NEGATED:
        return _TESTS[positive], True
    raise UnknownOperator(name)


def _compare(read: Callable[[str], float], test: Callable[[float, float], bool]) -> Test:
    return lambda wanted, found, context: test(read(found), read(filled(wanted, context)))


def _date(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 date, or of such seconds."""
    if re.fullmatch(r"\d+(\.\d+)?", text) and len(text) != len("2026"):
        return float(text)
    moment = datetime.fromisoformat(text if len(text) != len("2026") else f"{text}-01-01")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _within(wanted: str, found: str, context: Context | None) -> bool:
    address, network = ipaddress.ip_address(found), ipaddress.ip_network(filled(wanted, context), strict=False)
    return address.version == network.version and address in network


def _ordered(prefix: str, read: Callable[[str], float]) -> dict[str, Test]:
    return {
        f"{prefix}Equals": _compare(read, lambda found, wanted: found == wanted),
        f"{prefix}LessThan": _compare(read, lambda found, wanted: found < wanted),
        f"{prefix}LessThanEquals": _compare(read, lambda found, wanted: found <= wanted),
        f"{prefix}GreaterThan": _compare(read, lambda found, wanted: found > wanted),
        f"{prefix}GreaterThanEquals": _compare(read, lambda found, wanted: found >= wanted),
    }


_TESTS: Final[dict[str, Test]] = {
    "StringEquals": lambda wanted, found, context: filled(wanted, context) == found,
    "StringEqualsIgnoreCase": lambda wanted, found, context: filled(wanted, context).lower() == found.lower(),
    "StringLike": matches,
    "Bool": lambda wanted, found, context: filled(wanted, context).lower() == found.lower(),
    "BinaryEquals": lambda wanted, found, _: wanted == found,
    "IpAddress": _within,
    "ArnEquals": lambda wanted, found, context: matches_arn(wanted, found, context),
    "ArnLike": lambda wanted, found, context: matches_arn(wanted, found, context),
    **_ordered("Numeric", float),
    **_ordered("Date", _date),
}
_NEGATED: Final = frozenset(
    {
        "StringEquals",
        "StringEqualsIgnoreCase",
        "StringLike",
        "IpAddress",
        "ArnEquals",
        "ArnLike",
        "NumericEquals",
        "DateEquals",
    }
)
"""What has a negation. Its name has a `Not` somewhere: StringNotLike, NotIpAddress."""
