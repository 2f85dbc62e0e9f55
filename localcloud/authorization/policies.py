"""The evaluation itself: what the policies of a caller, and of what it asks for, say to one question.

Decides allow or deny as IAM does within one account and across two. Pure: policies and questions in, a verdict out.
Source: IAM user guide, "Policy evaluation logic", "How AWS enforcement code logic evaluates requests to allow or deny
access", "Troubleshoot access denied error messages" (the words).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from localcloud.authorization.conditions import UnknownOperator, holds, strings
from localcloud.authorization.patterns import Unresolved, matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from localcloud.authorization.patterns import Context

IDENTITY, BOUNDARY, SESSION, RESOURCE = (
    "identity-based policy",
    "permissions boundary",
    "session policy",
    "resource-based policy",
)
_WITH_VARIABLES: Final = "2012-10-17"


@dataclass(frozen=True)
class Question:
    """May `action` be done to `resource` (an ARN, or `*` for an action that knows no resource)?

    `context` has the condition keys that this question adds to those of every request; keys in lower case.
    """

    action: str
    resource: str = "*"
    context: Context = field(default_factory=dict)


@dataclass(frozen=True)
class Named:
    """What a policy's `Principal` may name of a caller: its ARNs, the most exact first, its account, its service."""

    arns: tuple[str, ...] = ()
    account: str = ""
    service: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether it is allowed; `why` goes on where AWS's sentence of a denial stops."""

    allowed: bool
    why: str = ""


@dataclass(frozen=True)
class Policy:
    """A policy's statements."""

    statements: tuple[Mapping[str, Any], ...]
    variables: bool = True

    @classmethod
    def parse(cls, document: str | Mapping[str, Any]) -> Policy:
        """Read a policy. What cannot be read says nothing, so it allows nothing."""
        try:
            read = json.loads(document) if isinstance(document, str) else document
            statements = read["Statement"]
        except (ValueError, KeyError, TypeError):
            return cls(())
        listed = statements if isinstance(statements, list) else [statements]
        return cls(tuple(listed), variables=read.get("Version") == _WITH_VARIABLES)

    def denies(self, question: Question, context: Context, named: Named | None = None) -> bool:
        """Whether a statement denies it explicitly. `named`: of a resource-based policy, who asks."""
        return any(
            statement.get("Effect") != "Allow" and self._applies(statement, question, context, named, unclear=True)
            for statement in self.statements
        )

    def allows(self, question: Question, context: Context, named: Named | None = None) -> bool:
        """Whether a statement allows it."""
        return any(
            statement.get("Effect") == "Allow" and self._applies(statement, question, context, named, unclear=False)
            for statement in self.statements
        )

    def _applies(
        self, statement: Mapping[str, Any], question: Question, context: Context, named: Named | None, *, unclear: bool
    ) -> bool:
        if named is not None and not _names(statement, named):
            return False
        variables = context if self.variables else None
        try:
            return (
                _element(statement, "Action", question.action, None, case=False)
                # A role's trust policy names no resource: it is the role's.
                and (named is not None or "Resource" in statement or "NotResource" in statement)
                and _element(statement, "Resource", question.resource, variables)
                and holds(statement.get("Condition", {}), context, variables=self.variables)
            )
        except UnknownOperator:
            return unclear


@dataclass(frozen=True)
class Policies:
    """Every policy that has a say on a question.

    `boundary` and `session` are None where there are none; all of `boundary`, and one of `session`, must allow.
    `resource` is that of what is asked for. `only_resource`: it alone decides, unless it trusts the account
    (a KMS key's policy, a role's trust policy).
    """

    identity: tuple[Policy, ...] = ()
    boundary: Policy | None = None
    session: tuple[Policy, ...] | None = None
    resource: Policy | None = None
    resource_account: str = ""
    only_resource: bool = False


def decide(question: Question, context: Context, policies: Policies, named: Named) -> Verdict:
    """The verdict on one question; `context` are all condition keys of it."""
    if (kind := _denied(question, context, policies, named)) is not None:
        return Verdict(allowed=False, why=f"with an explicit deny in {_article(kind)} {kind}")
    exact, delegated = _of_resource(question, context, policies.resource, named)
    if named.service:
        return Verdict(allowed=True) if exact else _none(RESOURCE, question)
    across = bool(policies.resource_account) and policies.resource_account != named.account
    if (policies.only_resource or across) and not exact and not delegated:
        return _none(RESOURCE, question)
    limits = [(IDENTITY, policies.identity), (SESSION, policies.session)]
    if policies.boundary is not None:
        limits.insert(1, (BOUNDARY, (policies.boundary,)))
    if exact and not across:  # what names this very caller needs no other
        limits = [] if exact == _VERY else limits[1:]
    for kind, documents in limits:
        if documents is not None and not any(policy.allows(question, context) for policy in documents):
            return _none(kind, question)
    return Verdict(allowed=True)


_VERY, _ROLE = 2, 1  # a user or a session itself is named; a role, whose sessions have limits of their own


def _denied(question: Question, context: Context, policies: Policies, named: Named) -> str | None:
    groups: Iterable[tuple[str, Iterable[Policy]]] = (
        (IDENTITY, policies.identity),
        (BOUNDARY, () if policies.boundary is None else (policies.boundary,)),
        (SESSION, policies.session or ()),
    )
    for kind, documents in groups:
        if any(policy.denies(question, context) for policy in documents):
            return kind
    if policies.resource is not None and policies.resource.denies(question, context, named):
        return RESOURCE
    return None


def _of_resource(question: Question, context: Context, policy: Policy | None, named: Named) -> tuple[int, bool]:
    """How exactly a resource's policy allows a caller (0: not), and whether it leaves that to the account."""
    if policy is None:
        return 0, False
    if named.service:
        return (_VERY if policy.allows(question, context, named) else 0), False
    for level, arn in zip((_VERY, _ROLE), named.arns, strict=False):
        if policy.allows(question, context, Named((arn,))):
            return level, True
    return 0, policy.allows(question, context, Named((), named.account))


def _names(statement: Mapping[str, Any], named: Named) -> bool:
    if "NotPrincipal" in statement:
        return not _principal(statement["NotPrincipal"], named)
    return _principal(statement.get("Principal", {}), named)


def _principal(principal: Any, named: Named) -> bool:  # noqa: ANN401 - JSON
    if principal == "*":
        return True
    if not isinstance(principal, dict):
        return False
    of_aws = strings(principal.get("AWS", []))
    account = {named.account, *(f"arn:{partition}:iam::{named.account}:root" for partition in _PARTITIONS)}
    return (
        ("*" in of_aws and not named.service)
        or (bool(named.account) and any(one in account for one in of_aws))
        or any(one in named.arns for one in of_aws)
        or (bool(named.service) and named.service in strings(principal.get("Service", [])))
    )


_PARTITIONS: Final = ("aws", "aws-cn", "aws-us-gov")


def _element(
    statement: Mapping[str, Any], name: str, value: str, variables: Context | None, *, case: bool = True
) -> bool:
    """Whether `Action` or `Resource`, or its `Not…`, fits. A statement without either fits (a trust policy's)."""
    for key, wanted in ((name, True), (f"Not{name}", False)):
        if key in statement:
            return any(_fits(pattern, value, variables, case=case) for pattern in strings(statement[key])) == wanted
    return name == "Resource"


def _fits(pattern: str, value: str, variables: Context | None, *, case: bool) -> bool:
    try:
        return matches(pattern, value, variables, case=case)
    except Unresolved:
        return False


def _none(kind: str, question: Question) -> Verdict:
    return Verdict(allowed=False, why=f"because no {kind} allows the {question.action} action")


def _article(kind: str) -> str:
    return "an" if kind[0] in "aeiou" else "a"
