"""Every condition operator of IAM, against the tables of the user guide."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.authorization.conditions import UnknownOperator, holds
from localcloud.authorization.patterns import Unresolved, filled, matches, matches_arn

KEY = "aws:x"
OPERATORS = [
    ("StringEquals", "a", "a", True),
    ("StringEquals", "a", "A", False),
    ("StringEquals", ["b", "a"], "a", True),
    ("StringEquals", "a*", "ab", False),
    ("StringNotEquals", "a", "b", True),
    ("StringNotEquals", ["a", "b"], "b", False),
    ("StringEqualsIgnoreCase", "a", "A", True),
    ("StringNotEqualsIgnoreCase", "a", "A", False),
    ("StringLike", "a*c?", "abbcd", True),
    ("StringLike", "a*", "ba", False),
    ("StringNotLike", "a*", "ba", True),
    ("NumericEquals", "3", "3.0", True),
    ("NumericNotEquals", 3, "4", True),
    ("NumericLessThan", "3", "2", True),
    ("NumericLessThan", "3", "3", False),
    ("NumericLessThanEquals", "3", "3", True),
    ("NumericGreaterThan", "3", "4", True),
    ("NumericGreaterThanEquals", "3", "2", False),
    ("NumericEquals", "3", "three", False),
    ("DateLessThan", "2026-06-01T00:00:00Z", "2026-05-31T23:59:59Z", True),
    ("DateGreaterThan", "2026-06-01T00:00:00Z", "1780271999", False),
    ("DateEquals", "1780272000", "2026-06-01T00:00:00Z", True),
    ("DateNotEquals", "1780272000", "2026-06-01T00:00:00Z", False),
    ("DateGreaterThanEquals", "2026-06-01", "2026-06-01T00:00:00+00:00", True),
    ("DateLessThanEquals", "2026", "2025-12-31", True),
    ("Bool", "true", "true", True),
    ("Bool", True, "true", True),
    ("Bool", "false", "true", False),
    ("BinaryEquals", "QmluYXJ5", "QmluYXJ5", True),
    ("IpAddress", "203.0.113.0/24", "203.0.113.9", True),
    ("IpAddress", "203.0.113.9", "203.0.113.9", True),
    ("IpAddress", "2001:db8::/32", "203.0.113.9", False),
    ("NotIpAddress", ["203.0.113.0/24", "2001:db8::/32"], "2001:db8::1", False),
    ("ArnLike", "arn:aws:ec2:*:*:vpc/*", "arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1", True),
    ("ArnEquals", "arn:aws:ec2:*:*:vpc/*", "arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1", True),
    ("ArnLike", "arn:aws:*:vpc/*", "arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1", False),
    ("ArnNotLike", "arn:aws:iam::*:role/*", "arn:aws:iam::123456789012:user/x", True),
    ("ArnNotEquals", "arn:aws:iam::*:role/*", "arn:aws:iam::123456789012:role/x", False),
    ("Null", "true", "a", False),
    ("Null", "false", "a", True),
]
POSITIVE = ["StringEquals", "StringLike", "NumericLessThan", "DateEquals", "Bool", "IpAddress", "ArnLike"]
NEGATIVE = ["StringNotEquals", "StringNotLike", "NumericNotEquals", "NotIpAddress", "ArnNotLike", "DateNotEquals"]


@pytest.mark.parametrize(("operator", "wanted", "found", "expected"), OPERATORS)
def test_an_operator(operator: str, wanted: object, found: str, *, expected: bool) -> None:
    """A policy would allow here what AWS denies, or the reverse."""
    assert holds({operator: {"aws:X": wanted}}, {KEY: (found,)}) is expected


@pytest.mark.parametrize("operator", POSITIVE)
def test_a_key_that_is_not_in_the_request_fits_no_positive_operator(operator: str) -> None:
    """A condition on a tag would hold for what has no tag."""
    assert not holds({operator: {KEY: "1"}}, {})
    assert holds({f"{operator}IfExists": {KEY: "1"}}, {})
    assert holds({f"ForAllValues:{operator}": {KEY: "1"}}, {})
    assert not holds({f"ForAnyValue:{operator}": {KEY: "1"}}, {})


@pytest.mark.parametrize("operator", NEGATIVE)
def test_a_key_that_is_not_in_the_request_fits_every_negative_operator(operator: str) -> None:
    """A Deny with StringNotEquals would not deny what lacks the key, and it does (user guide, "Negated matching")."""
    assert holds({operator: {KEY: "1"}}, {})


@pytest.mark.parametrize(
    ("operator", "found", "expected"),
    [
        ("ForAllValues:StringEquals", ("a", "b"), True),
        ("ForAllValues:StringEquals", ("a", "c"), False),
        ("ForAnyValue:StringEquals", ("a", "c"), True),
        ("ForAnyValue:StringEquals", ("c", "d"), False),
        ("ForAllValues:StringNotEquals", ("c", "d"), True),
        ("ForAllValues:StringNotEquals", ("a", "d"), False),
        ("ForAnyValue:StringNotEquals", ("a", "d"), True),
        ("ForAnyValue:StringNotEquals", ("a", "b"), False),
        ("ForAllValues:StringLikeIfExists", (), True),
    ],
)
def test_operators_on_keys_with_several_values(operator: str, found: tuple[str, ...], *, expected: bool) -> None:
    """`aws:TagKeys` would be judged by one of the tags."""
    assert holds({operator: {KEY: ["a", "b"]}}, {KEY: found} if found else {}) is expected


def test_all_keys_and_all_operators_must_hold() -> None:
    """One of several conditions would be enough."""
    context = {"aws:x": ("1",), "aws:y": ("2",)}
    assert holds({"StringEquals": {"aws:x": "1", "aws:y": "2"}, "StringLike": {"aws:x": "*"}}, context)
    assert not holds({"StringEquals": {"aws:x": "1", "aws:y": "1"}}, context)
    assert not holds({"StringEquals": {"aws:x": "1"}, "StringLike": {"aws:y": "1*"}}, context)


def test_null_asks_whether_the_key_is_there() -> None:
    """A rule that a tag must be given would hold without it."""
    assert holds({"Null": {KEY: "true"}}, {})
    assert not holds({"Null": {KEY: "false"}}, {})


@pytest.mark.parametrize(
    "operator", ["StringAlmost", "", "Some:StringEquals", "StringNotNotEquals", "NumericNotLessThan"]
)
def test_an_operator_that_iam_does_not_have(operator: str) -> None:
    """A condition that is mistyped would hold, or be skipped."""
    with pytest.raises(UnknownOperator):
        holds({operator: {KEY: "1"}}, {KEY: ("1",)})


def test_variables() -> None:
    """`${aws:username}` would be text, or a name with a star in it would open everything."""
    context = {"aws:username": ("Jane",), "aws:principaltag/team": ("*",), "aws:tagkeys": ("a", "b")}
    assert filled("home/${aws:UserName}/${$}", context) == "home/Jane/$"
    assert matches("home/${aws:username}/*", "home/Jane/x", context)
    assert not matches("home/${aws:PrincipalTag/team}", "home/other", context)
    assert matches("home/${*}", "home/*", context)
    assert not matches("home/${*}", "home/x", context)
    assert filled("${aws:PrincipalTag/none, 'shared'}", context) == "shared"
    assert matches_arn("arn:aws:s3:::${aws:username}/*", "arn:aws:s3:::Jane/x", context)
    for unresolved in ("${aws:none}", "${aws:TagKeys}"):
        with pytest.raises(Unresolved):
            filled(unresolved, context)
    assert holds({"StringEquals": {"aws:username": "${aws:username}"}}, context)
    assert not holds({"StringEquals": {"aws:username": "${aws:username}"}}, context, variables=False)


@given(st.text(), st.text())
def test_a_pattern_without_wildcards_matches_itself_alone(one: str, other: str) -> None:
    """Some character of a name would be taken for a regular expression."""
    if "*" not in one and "?" not in one:
        assert matches(one, other) == (one == other)


@given(st.lists(st.text(alphabet="ab:/", max_size=4), min_size=1, max_size=5), st.text(alphabet="ab:/*?"))
def test_a_star_stands_for_any_text(pieces: list[str], between: str) -> None:
    """A policy on `web-*` would not cover the names that it is about."""
    assert matches("*".join(pieces), between.join(pieces))


@given(st.sampled_from(POSITIVE), st.lists(st.text(min_size=1), min_size=1, max_size=3), st.text())
def test_a_negation_is_the_opposite(operator: str, wanted: list[str], found: str) -> None:
    """StringNotEquals would hold together with StringEquals."""
    negation = {"IpAddress": "NotIpAddress", "Bool": "", "NumericLessThan": ""}.get(
        operator, operator.replace("String", "StringNot").replace("Arn", "ArnNot").replace("Date", "DateNot")
    )
    if negation:
        context = {KEY: (found,)}
        assert holds({operator: {KEY: wanted}}, context) != holds({negation: {KEY: wanted}}, context)
