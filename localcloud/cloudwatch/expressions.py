"""Metric math: what an expression makes of time series. Pure: no I/O, no clock.

It knows numbers, IDs, `+ - * / ^`, comparisons, parentheses, `FILL(m, number)`, `FILL(m, REPEAT)`,
`IF(condition, a, b)` and `SUM([m, n])`. Any other function is refused by name as one that the local cloud does not
know: half of an expression would be worse than none. As in AWS:

- Of two time series there is a value only where both have one.
- A result that is not a number, as of a division by 0, is dropped, and the result says so (`ArithmeticError`).
- A comparison is 1 or 0.
- An expression without a time series is refused.
- SUM of several time series has a value where any of them has one: what is missing adds nothing.

A time series without any value stays empty, whatever FILL says: AWS's guide does not say, and this is the reading with
which more goes wrong.

Source: CloudWatch user guide, "Using metric math".
"""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Series = dict[int, float]
"""Values by the start of their period."""

Value = float | Series

DEEPEST = 50
"""Parentheses and functions inside each other."""

_TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d*)?|\.\d+)|([A-Za-z][A-Za-z0-9_]*)|(>=|<=|==|!=|[-+*/^()<>,[\]]))")

_COMPARISONS: Mapping[str, Callable[[float, float], float]] = {
    "<": lambda one, two: float(one < two),
    ">": lambda one, two: float(one > two),
    "<=": lambda one, two: float(one <= two),
    ">=": lambda one, two: float(one >= two),
    "==": lambda one, two: float(one == two),
    "!=": lambda one, two: float(one != two),
}
_SUMS: Mapping[str, Callable[[float, float], float]] = {"+": operator.add, "-": operator.sub}
_PRODUCTS: Mapping[str, Callable[[float, float], float]] = {"*": operator.mul, "/": operator.truediv}


@dataclass
class Evaluation:
    """One expression, being read from left to right. `ValueError` with what is wrong with it."""

    text: str
    series: Callable[[str], Series]
    """The time series of an ID; `KeyError` if there is none."""
    periods: range
    """The starts of the periods that were asked for."""
    dropped: bool = False
    """Whether a value was none."""
    _tokens: list[str] = field(default_factory=list)
    _at: int = 0
    _depth: int = 0

    def result(self) -> Series:
        """Its time series."""
        self._tokens = _tokens(self.text)
        found = self._comparison()
        if self._at < len(self._tokens):
            raise ValueError(f"unexpected {self._tokens[self._at]}")
        if not isinstance(found, dict):
            raise ValueError("the result must be a time series")
        return found

    def _next(self, *expected: str) -> str | None:
        if self._at < len(self._tokens) and self._tokens[self._at] in expected:
            self._at += 1
            return self._tokens[self._at - 1]
        return None

    def _need(self, expected: str) -> None:
        if self._next(expected) is None:
            raise ValueError(f"{expected} is missing")

    def _comparison(self) -> Value:
        return self._chain(_COMPARISONS, lambda: self._chain(_SUMS, lambda: self._chain(_PRODUCTS, self._signed)))

    def _chain(self, operators: Mapping[str, Callable[[float, float], float]], part: Callable[[], Value]) -> Value:
        found = part()
        while sign := self._next(*operators):
            found = self._both(operators[sign], found, part())
        return found

    def _signed(self) -> Value:
        if self._next("-"):
            return self._both(operator.mul, -1.0, self._signed())
        found = self._part()
        return self._both(math.pow, found, self._signed()) if self._next("^") else found

    def _part(self) -> Value:
        if self._at >= len(self._tokens):
            raise ValueError("it ends too early")
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        token = self._tokens[self._at]
        self._at += 1
        try:
            if token == "(":  # noqa: S105 - of an expression
                found = self._comparison()
                self._need(")")
                return found
            if token[0].isdigit() or token[0] == ".":
                return float(token)
            if not token[0].isalpha():
                raise ValueError(f"the local cloud does not know {token}")
            if self._next("("):
                return self._function(token)
            return self._named(token)
        finally:
            self._depth -= 1

    def _named(self, name: str) -> Series:
        try:
            return self.series(name)
        except KeyError:
            raise ValueError(f"there is no {name}") from None

    def _function(self, name: str) -> Value:
        if name == "FILL":
            series = self._comparison()
            self._need(",")
            fill = None if self._next("REPEAT") else self._comparison()
            self._need(")")
            if not isinstance(series, dict) or isinstance(fill, dict):
                raise ValueError("FILL takes a time series, and a number or REPEAT")
            return self._filled(series, fill)
        if name == "IF":
            parts = [self._comparison()]
            while self._next(","):
                parts.append(self._comparison())
            self._need(")")
            if len(parts) != 3:
                raise ValueError("IF takes a condition and two values")
            return self._chosen(*parts)
        if name == "SUM":
            self._need("[")
            terms = [self._comparison()]
            while self._next(","):
                terms.append(self._comparison())
            self._need("]")
            self._need(")")
            return _sum(terms)
        raise ValueError(f"the local cloud does not know {name}")

    def _filled(self, series: Series, fill: float | None) -> Series:
        found, last = dict[int, float](), fill
        for at in self.periods if series else ():
            last = series.get(at, last if fill is None else fill)
            if last is not None:
                found[at] = last
        return found

    def _chosen(self, condition: Value, one: Value, two: Value) -> Value:
        if not isinstance(condition, dict):
            return one if condition else two
        found = {at: (one if is_so else two) for at, is_so in condition.items()}
        values = {at: value.get(at) if isinstance(value, dict) else value for at, value in found.items()}
        return {at: value for at, value in values.items() if value is not None}

    def _both(self, calculate: Callable[[float, float], float], one: Value, two: Value) -> Value:
        if not isinstance(one, dict) and not isinstance(two, dict):
            found = self._number(calculate, one, two)
            if found is None:
                raise ValueError("a number is divided by 0")
            return found
        starts = [set(each) for each in (one, two) if isinstance(each, dict)]
        points = {at: self._number(calculate, _at(one, at), _at(two, at)) for at in sorted(set.intersection(*starts))}
        self.dropped = self.dropped or None in points.values()
        return {at: value for at, value in points.items() if value is not None}

    @staticmethod
    def _number(calculate: Callable[[float, float], float], one: float, two: float) -> float | None:
        try:
            found = calculate(one, two)
        except (ArithmeticError, ValueError):
            return None
        return found if math.isfinite(found) else None


def _sum(terms: list[Value]) -> Series:
    found: Series = {}
    for term in terms:
        if not isinstance(term, dict):
            raise ValueError("SUM takes time series")
        for at, value in term.items():
            found[at] = found.get(at, 0.0) + value
    return dict(sorted(found.items()))


def _at(value: Value, at: int) -> float:
    return value[at] if isinstance(value, dict) else value


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        token = _TOKEN.match(text, at)
        # What is none is refused where it is met: after the name of a function, that is what is not known.
        found.append(token[0].strip() if token else text[at:].lstrip()[0])
        at = token.end() if token else len(text)
    return found
