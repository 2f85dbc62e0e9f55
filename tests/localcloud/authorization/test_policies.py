"""The evaluation: which policies must allow, which deny, and with what words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.authorization.policies import Named, Policies, Policy, Question, decide

USER = Named(("arn:aws:iam::123456789012:user/jane",), "123456789012")
SESSION = Named(
    ("arn:aws:sts::123456789012:assumed-role/web/i-1", "arn:aws:iam::123456789012:role/web"), "123456789012"
)
STRANGER = Named(("arn:aws:iam::999999999999:user/eve",), "999999999999")
SERVICE = Named(service="ec2.amazonaws.com")
KEY = "arn:aws:kms:us-east-1:123456789012:key/k"
ROOT = {"AWS": "arn:aws:iam::123456789012:root"}
DECRYPT = Question("kms:Decrypt", KEY)


def of(*statements: dict[str, Any], version: str = "2012-10-17") -> Policy:
    return Policy.parse({"Version": version, "Statement": list(statements)})


def allow(action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {**allow(action, resource), "Effect": "Deny", **more}


def why(question: Question, policies: Policies, named: Named = USER) -> str:
    """Empty if it is allowed."""
    verdict = decide(question, question.context, policies, named)
    assert verdict.allowed == (not verdict.why)
    return verdict.why


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        (allow("kms:Decrypt", KEY), True),
        (allow("KMS:decrypt", KEY), True),
        (allow(["ec2:*", "kms:De*"], ["arn:aws:s3:::x", "arn:aws:kms:*:*:key/*"]), True),
        (allow("kms:Decrypt", KEY.upper()), False),
        (allow("kms:Decryp", KEY), False),
        (allow("kms:Encrypt", KEY), False),
        ({"Effect": "Allow", "NotAction": "ec2:*", "Resource": "*"}, True),
        ({"Effect": "Allow", "NotAction": "kms:*", "Resource": "*"}, False),
        ({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::*"}, True),
        ({"Effect": "Allow", "Action": "*", "NotResource": KEY}, False),
        ({"Effect": "Allow", "Action": "*"}, False),
        (allow(Condition={"StringEquals": {"aws:none": "1"}}), False),
        (allow(Condition={"StringAlmost": {"aws:none": "1"}}), False),
        (deny("kms:*", KEY), False),
    ],
)
def test_a_statement(statement: dict[str, Any], *, allowed: bool) -> None:
    """A printed policy would be proved that AWS does not take for the same."""
    assert (why(DECRYPT, Policies((of(statement),))) == "") is allowed


def test_a_policy_that_cannot_be_read_allows_nothing() -> None:
    """A broken document would open everything, or be an error of the local cloud."""
    for document in ("", "{", "[]", '{"Version": "2012-10-17"}'):
        assert why(DECRYPT, Policies((Policy.parse(document),)))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("identity", "with an explicit deny in an identity-based policy"),
        ("boundary", "with an explicit deny in a permissions boundary"),
        ("session", "with an explicit deny in a session policy"),
        ("resource", "with an explicit deny in a resource-based policy"),
    ],
)
def test_a_deny_wins_wherever_it_stands(kind: str, words: str) -> None:
    """A guard rail would be no guard, or fleetswap would be shown the wrong policy to change."""
    both = {"identity": of(allow(), deny()), "boundary": of(allow(), deny()), "session": of(allow(), deny())}
    policies = Policies(
        (both["identity"] if kind == "identity" else of(allow()),),
        both["boundary"] if kind == "boundary" else None,
        (both["session"],) if kind == "session" else None,
        of(deny(Principal="*")) if kind == "resource" else None,
    )
    assert why(DECRYPT, policies, SESSION) == words


def test_a_condition_that_nobody_knows_denies() -> None:
    """A Deny with a mistyped operator would be no Deny."""
    assert why(DECRYPT, Policies((of(allow(), deny(Condition={"StringAlmost": {"x": "1"}})),)))


@pytest.mark.parametrize("kind", ["permissions boundary", "session policy"])
def test_boundary_and_session_limit_and_give_nothing(kind: str) -> None:
    """`permissions_boundary` would be without effect here, and break the machines on AWS."""

    def policies(identity: Policy, limit: Policy) -> Policies:
        return Policies((identity,), limit) if kind == "permissions boundary" else Policies((identity,), None, (limit,))

    both = of(allow("kms:Decrypt"))
    assert why(DECRYPT, policies(both, both), SESSION) == ""
    assert why(DECRYPT, policies(both, of(allow("ec2:*"))), SESSION) == (
        f"because no {kind} allows the kms:Decrypt action"
    )
    assert why(DECRYPT, policies(of(allow("ec2:*")), both), SESSION) == (
        "because no identity-based policy allows the kms:Decrypt action"
    )


def test_a_key_s_policy_decides_alone_unless_it_trusts_the_account() -> None:
    """kms:Decrypt in the machine's role would be enough with any key, and on AWS every secret is out of reach."""
    may = (of(allow("kms:Decrypt")),)
    for document, with_identity, without in [
        (of(allow("kms:*", Principal=ROOT)), True, False),
        (of(allow("kms:*", Principal={"AWS": "123456789012"})), True, False),
        (of(allow("kms:*", Principal={"AWS": SESSION.arns[1]})), True, True),
        (of(allow("kms:*", Principal={"AWS": SESSION.arns[0]})), True, True),
        (of(allow("kms:*", Principal={"AWS": "arn:aws:iam::123456789012:role/other"})), False, False),
        (of(allow("kms:*", Principal={"Service": "ec2.amazonaws.com"})), False, False),
        (of(allow("kms:Encrypt", Principal=ROOT)), False, False),
        (of(), False, False),
    ]:
        for identity, expected in ((may, with_identity), ((), without)):
            policies = Policies(identity, resource=document, only_resource=True)
            assert (why(DECRYPT, policies, SESSION) == "") is expected, (document, identity)


def test_a_session_named_by_a_resource_escapes_its_limits_and_its_role_does_not() -> None:
    """User guide, "Policy evaluation logic": the one has no implicit denials, of the other the boundary counts."""
    limited = Policies((), of(allow("ec2:*")), resource=of(allow(Principal={"AWS": SESSION.arns[0]})))
    assert why(DECRYPT, limited, SESSION) == ""
    limited = Policies((), of(allow("ec2:*")), resource=of(allow(Principal={"AWS": SESSION.arns[1]})))
    assert why(DECRYPT, limited, SESSION) == "because no permissions boundary allows the kms:Decrypt action"


def test_across_accounts_both_sides_must_allow() -> None:
    """A role of another account could be assumed by whoever its own account allows."""
    trusting = of(allow(Principal={"AWS": STRANGER.arns[0]}))
    for identity, resource, expected in [
        ((of(allow()),), trusting, True),
        ((), trusting, False),
        ((of(allow()),), of(allow(Principal=ROOT)), False),
        ((of(allow()),), None, False),
    ]:
        policies = Policies(identity, resource=resource, resource_account="123456789012")
        assert (why(DECRYPT, policies, STRANGER) == "") is expected


def test_a_service_is_named_or_may_not() -> None:
    """EventBridge Scheduler could assume the role of a machine."""
    trust = of({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": ["ec2.amazonaws.com"]}})
    question = Question("sts:AssumeRole", "arn:aws:iam::123456789012:role/web")
    assert why(question, Policies(resource=trust, only_resource=True), SERVICE) == ""
    other = Named(service="scheduler.amazonaws.com")
    assert why(question, Policies(resource=trust, only_resource=True), other)
    assert why(question, Policies((of(allow()),), resource=trust, only_resource=True), USER)


def test_not_principal_is_everyone_else() -> None:
    """A Deny for all but one would be a Deny for that one."""
    document = of(allow(Principal="*"), deny(NotPrincipal={"AWS": USER.arns[0]}))
    assert why(DECRYPT, Policies((of(allow()),), resource=document)) == ""
    assert why(DECRYPT, Policies((of(allow()),), resource=document), SESSION)


def test_variables_are_those_of_version_2012() -> None:
    """A policy of 2008 would be read as its author did not mean it."""
    own = allow("kms:Decrypt", "arn:aws:kms:us-east-1:123456789012:key/${aws:username}")
    question = Question("kms:Decrypt", KEY, {"aws:username": ("k",)})
    assert why(question, Policies((of(own),))) == ""
    assert why(question, Policies((of(own, version="2008-10-17"),)))


ACTIONS = st.sampled_from(["ec2:A", "ec2:B", "kms:A", "*", "ec2:*", "kms:?"])
STATEMENTS = st.builds(
    lambda effect, action, resource: {"Effect": effect, "Action": action, "Resource": resource},
    st.sampled_from(["Allow", "Deny"]),
    ACTIONS,
    st.sampled_from(["arn:a", "arn:b", "*"]),
)
POLICIES = st.lists(STATEMENTS, max_size=4).map(lambda statements: of(*statements))
QUESTIONS = st.builds(Question, st.sampled_from(["ec2:A", "ec2:B", "kms:A"]), st.sampled_from(["arn:a", "arn:b"]))


@given(QUESTIONS, POLICIES, POLICIES, POLICIES)
def test_more_limits_never_allow_more(question: Question, identity: Policy, boundary: Policy, session: Policy) -> None:
    """Some mixture of policies would give what none of them gives."""
    alone = why(question, Policies((identity,)))
    bounded = why(question, Policies((identity,), boundary))
    both = why(question, Policies((identity,), boundary, (session,)))
    assert not (alone and not bounded)
    assert not (bounded and not both)
    assert (both == "") == all(
        policy.allows(question, {}) and not policy.denies(question, {}) for policy in (identity, boundary, session)
    )


@given(QUESTIONS, POLICIES, STATEMENTS)
def test_a_statement_more(question: Question, policy: Policy, statement: dict[str, Any]) -> None:
    """A Deny that is added would allow something, or an Allow deny something."""
    before = why(question, Policies((policy,))) == ""
    after = why(question, Policies((Policy((*policy.statements, statement)),))) == ""
    assert after <= before if statement["Effect"] == "Deny" else after >= before
