"""Metric math in the local cloud: the values of expressions, and what is refused."""

from __future__ import annotations

import pytest

from localcloud.cloudwatch.expressions import DEEPEST, Evaluation

SERIES = {
    "a": {0: 1.0, 60: 2.0, 120: 3.0},
    "b": {60: 4.0, 120: 0.0},
    "none": dict[int, float](),
}


def evaluated(text: str) -> Evaluation:
    return Evaluation(text, SERIES.__getitem__, range(0, 240, 60))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a", {0: 1, 60: 2, 120: 3}),
        ("a + b", {60: 6, 120: 3}),
        ("100 * a / 2", {0: 50, 60: 100, 120: 150}),
        ("-a - -1", {0: 0, 60: -1, 120: -2}),
        ("2 + a * 3 ^ 2 - (1 + 1)", {0: 9, 60: 18, 120: 27}),
        ("a / b", {60: 0.5}),
        ("none * 2", {}),
        ("a >= 2", {0: 0, 60: 1, 120: 1}),
        ("IF(a > 1, a, 10)", {0: 10, 60: 2, 120: 3}),
        ("IF(a > 1, b, 0)", {0: 0, 60: 4, 120: 0}),
        ("IF(0, a, b)", {60: 4, 120: 0}),
        ("FILL(b, 7)", {0: 7, 60: 4, 120: 0, 180: 7}),
        ("FILL(b, REPEAT)", {60: 4, 120: 0, 180: 0}),
        ("FILL(none, 0)", {}),
        ("SUM([a, b, FILL(none, 0)])", {0: 1, 60: 6, 120: 3}),
        ("100 * SUM([a * 0, none])", {0: 0, 60: 0, 120: 0}),
        ("a * .5", {0: 0.5, 60: 1, 120: 1.5}),
    ],
)
def test_an_expression_is_what_aws_would_make_of_it(text: str, values: dict[int, float]) -> None:
    """A rollout would be tried out against other values than it is judged by on AWS."""
    assert evaluated(text).result() == values


def test_what_is_not_a_number_is_dropped_and_told() -> None:
    """A division by 0 would be a value, or pass unnoticed."""
    divided, whole = evaluated("a / b"), evaluated("a * 2")
    assert divided.result()
    assert whole.result()
    assert (divided.dropped, whole.dropped) == (True, False)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it ends too early"),
        ("1 + 1", "the result must be a time series"),
        ("1 / 0", "a number is divided by 0"),
        ("a b", "unexpected b"),
        ("a + )", r"does not know \)"),
        ("(a", r"\) is missing"),
        ("c", "there is no c"),
        ("SUM(a)", r"\[ is missing"),
        ("SUM([a, 1])", "SUM takes time series"),
        ("SUM([a)", r"\] is missing"),
        ("AVG([a, b])", "the local cloud does not know AVG"),
        ("SEARCH('x', 'Sum', 60)", "the local cloud does not know SEARCH"),
        ("[a, b]", r"the local cloud does not know \["),
        ("FILL(1, 0)", "FILL takes a time series"),
        ("FILL(a, b)", "FILL takes a time series"),
        ("FILL(a)", ", is missing"),
        ("IF(a, 1)", "IF takes a condition and two values"),
        ("(" * (DEEPEST + 1) + "a" + ")" * (DEEPEST + 1), "nested too deeply"),
    ],
)
def test_what_is_not_known_is_refused(text: str, problem: str) -> None:
    """An expression would silently mean something else than on AWS."""
    with pytest.raises(ValueError, match=problem):
        evaluated(text).result()
