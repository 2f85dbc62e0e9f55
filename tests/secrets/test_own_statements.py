"""Statements of a key policy are added and removed, and all others stay as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleetswap.domain.secrets.own_statements import of, principals, same, sids, written


def statement(sid: str, **more: Any) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Principal": {"AWS": "arn:1"}, "Action": ["b", "a"], **more}


def policy(*statements: dict[str, Any], **more: Any) -> str:
    return json.dumps({"Version": "2012-10-17", **more, "Statement": list(statements)})


def test_a_statement_is_added_changed_and_removed() -> None:
    """A release would take the permissions of others along, or its own would stay when it is gone."""
    base = policy(statement("Account"), statement("Other"), Id="x")
    added = written(base, ["Mine"], [statement("Mine")])
    assert added is not None
    assert json.loads(added) == json.loads(policy(*map(statement, ("Account", "Other", "Mine")), Id="x"))
    changed = written(added, ["Mine"], [statement("New", Action="c")])
    assert changed is not None
    assert [each["Sid"] for each in json.loads(changed)["Statement"]] == ["Account", "Other", "New"]
    assert of(changed, ["New", "Mine"]) == [statement("New", Action="c")]
    assert json.loads(written(changed, ["New"], []) or "") == json.loads(base)


def test_what_is_there_is_not_written_again() -> None:
    """Each update would write the key's policy, also where KMS has only put it in other words."""
    shown = statement("Mine", Principal={"AWS": ["arn:1"]}, Action=["a", "b"])
    assert written(policy(shown), ["Mine"], [statement("Mine")]) is None
    assert written(policy(statement("Other")), ["Mine"], []) is None
    assert written(json.dumps({"Statement": statement("Mine")}), [], [statement("Mine")]) is None
    assert same([statement("A"), statement("B")], [statement("B"), statement("A")])
    assert not same([statement("A")], [statement("A", Condition={"StringEquals": {"x": "y"}})])
    assert not same([statement("A")], [statement("A"), statement("A")])


def test_who_was_deleted_is_left_out() -> None:
    """KMS would refuse each later change of the policy, and no stack with the key could be destroyed."""
    user, role, lives = "AIDACKCEVSQ6C2EXAMPLE", "AROACKCEVSQ6C2EXAMPLE", "arn:aws:iam::111122223333:role/ops"
    base = policy(
        statement("Editors", Principal={"AWS": [user, lives]}),
        statement("Left", Principal={"AWS": role}),
        statement("Service", Principal={"AWS": role, "Service": "x"}),
        statement("Everybody", Principal="*"),
    )
    changed = json.loads(written(base, [], [statement("Mine")]) or "")["Statement"]
    assert {each["Sid"]: each["Principal"] for each in changed} == {
        "Editors": {"AWS": [lives]},
        "Service": {"Service": "x"},
        "Everybody": "*",
        "Mine": {"AWS": "arn:1"},
    }
    root = "arn:aws:iam::111122223333:root"
    assert principals([statement("A", Principal={"AWS": [root, lives]}), statement("B")]) == [lives, "arn:1"]


@pytest.mark.parametrize("wrong", [[{"Effect": "Allow"}], [statement("A"), statement("A")]])
def test_a_statement_without_a_name_of_its_own_is_refused(wrong: list[dict[str, Any]]) -> None:
    """It could never be removed again."""
    with pytest.raises(ValueError, match="needs a Sid of its own"):
        sids(wrong)
