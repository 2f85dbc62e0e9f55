"""Key policies: which KMS takes, and whom their principals mean.

Decides whether a policy is well-formed, whether the principals that it names exist, and whether who puts it could put
another one. KMS keeps a principal's unique id and shows its ARN: of one that was deleted it shows the id, and another
of the same name is somebody else. Not as in AWS: principals of other accounts are not looked up. With `LOCK` held.
Sources: KMS developer guide, "Key policies in AWS KMS", "Resource quotas" (32 KB); IAM user guide, "AWS JSON policy
elements: Principal"; CreateKey (BypassPolicyLockoutSafetyCheck; words of the errors as users met them).
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from moto.backends import get_backend
from moto.utilities.utils import get_partition

from localcloud.authorization.conditions import UnknownOperator, holds, strings
from localcloud.authorization.policies import Policy, Question, decide
from localcloud.kms.refusals import Refused
from localcloud.moto_state import ACCOUNT_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from localcloud.authorization.callers import Caller
    from localcloud.kms.late import Late
    from localcloud.moto_state import Moto

MOST_BYTES: Final = 32_768
_VERSIONS: Final = ("2008-10-17", "2012-10-17")
_TOP: Final = {"Version", "Id", "Statement"}
_STATEMENT: Final = {
    *("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"),
}
_ARN: Final = re.compile(r"arn:aws[a-z-]*:(iam|sts)::(\d{12}):(root|role/\S+|user/\S+|assumed-role/[^/\s]+/\S+)")
_SERVICE: Final = re.compile(r"[a-z0-9.-]+\.(amazonaws\.com(\.cn)?|aws\.internal)")
_NOBODY: Final = "Policy contains a statement with one or more invalid principals."
_LOCKED_OUT: Final = "The new key policy will not allow you to update the key policy in the future."


def malformed(message: str) -> Refused:
    """A policy that KMS does not take."""
    return Refused("MalformedPolicyDocumentException", message)


def default(partition: str, account: str) -> str:
    """The policy of a key that is made without one (developer guide, "Default key policy")."""
    root = {"AWS": f"arn:{partition}:iam::{account}:root"}
    statement = {"Sid": "Enable IAM User Permissions", "Effect": "Allow", "Principal": root}
    statements = [{**statement, "Action": "kms:*", "Resource": "*"}]
    return _written({"Version": "2012-10-17", "Id": "key-default-1", "Statement": statements})


def of_aws(account: str, service: str) -> str:
    """The policy of a key that AWS manages for one of its services: whoever uses the service, and only through it."""
    via = {"StringEquals": {"kms:CallerAccount": account, "kms:ViaService": service}}
    use = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey"]
    root = {"AWS": f"arn:{get_partition(service.split('.')[1])}:iam::{account}:root"}
    look = ["kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant"]
    return _written(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": use, "Resource": "*", "Condition": via},
                {"Effect": "Allow", "Principal": root, "Action": look, "Resource": "*"},
            ],
        }
    )


def accepted(text: str, late: Late) -> dict[str, str]:
    """Check a policy; the unique ids of the principals that it names, by ARN. Raises `Refused`."""
    if len(text.encode()) > MOST_BYTES:
        raise Refused("LimitExceededException", f"The key policy exceeds the quota of {MOST_BYTES} bytes.")
    try:
        document = json.loads(text)
    except ValueError:
        raise malformed("Policy is not valid JSON.") from None
    if not isinstance(document, dict) or not set(document) <= _TOP:
        raise malformed("Policy contains an unknown element.")
    if document.get("Version", "2008-10-17") not in _VERSIONS:
        raise malformed("Policy has an invalid version.")
    listed = document.get("Statement")
    statements = listed if isinstance(listed, list) else [listed]
    if not statements or not all(isinstance(one, dict) for one in statements):
        raise malformed("Policy contains no statement.")
    ids: dict[str, str] = {}
    for statement in statements:
        _check(statement)
        for arn in _principals(statement):
            ids |= _known(arn, late)
    return ids


def _check(statement: Mapping[str, Any]) -> None:
    if not set(statement) <= _STATEMENT:
        raise malformed(f"Policy contains an unknown element: {sorted(set(statement) - _STATEMENT)[0]}.")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise malformed("Policy contains a statement with an invalid effect.")
    for name, word in (("Principal", "principal"), ("Action", "action"), ("Resource", "resource")):
        if (name in statement) == (f"Not{name}" in statement):
            raise malformed(f"Policy contains a statement with no {word}.")
    for name in ("Action", "NotAction"):
        for action in strings(statement.get(name, [])):
            if action != "*" and not re.fullmatch(r"[a-zA-Z0-9-]+:[a-zA-Z0-9*?]+", action):
                raise malformed(f"Policy contains an invalid action: {action}.")
    try:
        holds(statement.get("Condition", {}), {})
    except (UnknownOperator, AttributeError, TypeError):
        raise malformed("Policy contains an invalid condition.") from None


def _principals(statement: Mapping[str, Any]) -> Iterator[str]:
    """The ARNs of a statement's principals in IAM. Raises `Refused` for what is no principal."""
    principal = statement.get("Principal", statement.get("NotPrincipal"))
    if principal == "*":
        return
    if not isinstance(principal, dict) or not principal:
        raise malformed(_NOBODY)
    for kind, names in principal.items():
        if not names:
            raise malformed(_NOBODY)
        for name in strings(names):
            good = (
                (name == "*" or re.fullmatch(r"\d{12}", name) or _ARN.fullmatch(name))
                if kind == "AWS"
                else _SERVICE.fullmatch(name)
                if kind == "Service"
                else kind in {"Federated", "CanonicalUser"}
            )
            if not good or (name != "*" and ("*" in name or "?" in name)):
                raise malformed(_NOBODY)
            if kind == "AWS" and name.startswith("arn:"):
                yield name


def _known(arn: str, late: Late) -> dict[str, str]:
    """The unique id of a role or a user. Raises `Refused` if there is none, or it was made a moment ago."""
    ids = accepted_principal(arn)
    if ids and (found := principal(arn)) is not None:
        age = late.clock() - found.create_date.replace(tzinfo=UTC).timestamp()
        if 0 <= age < late.lateness.of("principals", found.id):
            raise malformed(_NOBODY)
    return ids


def accepted_principal(arn: str) -> dict[str, str]:
    """The unique id of a principal by its ARN; none of an account, or of another account's. Raises `Refused`."""
    if not _ARN.fullmatch(arn):
        raise malformed(_NOBODY)
    account, resource = arn.split(":", 5)[4:]
    if resource == "root" or account != ACCOUNT_ID:
        return {}
    found = principal(arn)
    if found is None:
        raise malformed(_NOBODY)
    return {arn: str(found.id)}


def principal(arn: str) -> Moto | None:
    """The role or the user of an ARN of IAM's, or the role of a session's."""
    _, partition, service, _, account, resource = arn.split(":", 5)
    iam = get_backend("iam")[account][partition]
    if service == "sts":
        return next((role for role in iam.roles.values() if role.name == resource.split("/")[1]), None)
    held = iam.roles if resource.startswith("role/") else iam.users
    return next((one for one in held.values() if one.arn == arn), None)


def shown(text: str, ids: Mapping[str, str]) -> str:
    """A policy as it is now: who was deleted, and whoever has their name since, is shown as the id that was meant."""
    gone = {arn: unique for arn, unique in ids.items() if (now := principal(arn)) is None or now.id != unique}
    if not gone:
        return text
    document = json.loads(text)
    statements = document["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        for element in ("Principal", "NotPrincipal"):
            if isinstance(statement.get(element), dict) and "AWS" in statement[element]:
                statement[element]["AWS"] = _each(statement[element]["AWS"], lambda name: gone.get(name, name))
    return _written(document)


def _each(names: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401 - JSON
    return [change(name) for name in names] if isinstance(names, list) else change(names)


def _written(document: Mapping[str, Any]) -> str:
    """As KMS writes JSON."""
    return json.dumps(document, indent=2, separators=(",", " : "))


def check_lockout(text: str, key_arn: str, caller: Caller) -> None:
    """Refuse a policy under which whoever puts it could not put another one. Raises `Refused`."""
    policies = replace(caller.policies, resource=Policy.parse(text), resource_account="", only_resource=True)
    question = Question("kms:PutKeyPolicy", key_arn, {"kms:calleraccount": (caller.account,)})
    if not decide(question, {**caller.keys, **question.context}, policies, caller.named).allowed:
        raise malformed(_LOCKED_OUT)
