"""The policies of what is asked for: a key's, with its grants; a role's trust; a topic's and a bucket's.

Decides which resources have one, and where it alone decides. Sources: KMS developer guide ("Key policies in AWS KMS",
"Grants in AWS KMS"), IAM user guide ("Cross account resource access in IAM"). With `LOCK` held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from moto.backends import get_backend
from moto.utilities.utils import get_partition

from localcloud.authorization import resources
from localcloud.authorization.callers import parsed
from localcloud.authorization.policies import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from localcloud.authorization.asked import Asked
    from localcloud.moto_state import Moto


GRANT: Final = "localcloud:grantid"
"""A condition key of our own, of RetireGrant: which grant. AWS lets a grant say who may retire it."""
_WITHOUT_CONTEXT: Final = frozenset({"kms:CreateGrant", "kms:DescribeKey"})


def policy(asked: Asked, action: str, resource: str) -> tuple[Policy | None, bool]:
    """The policy of a resource, and whether nothing is allowed that it does not allow or leave to the account."""
    if not resource.startswith("arn:"):
        return None, False
    match action.partition(":")[0]:
        case "sts":
            role = _role(resource, asked)
            return parsed(role.assume_role_policy_document) if role is not None else Policy(()), True
        case "kms" if ":key/" in resource:
            key = resources.moto(asked, "kms").keys.get(resource.rpartition("/")[2])
            return (key_policy(key, asked.values("GrantTokens")), True) if key is not None else (None, False)
        case "sns":
            topic = resources.moto(asked, "sns").topics.get(resource)
            return (parsed(topic.policy) if topic is not None and topic.policy else None), False
        case "s3":
            bucket = resources.moto(asked, "s3").buckets.get(resource.split(":")[5].partition("/")[0])
            document = bucket.policy if bucket is not None else None
            return (parsed(document.decode() if isinstance(document, bytes) else document) if document else None), False
    return None, False


def key_policy(key: Moto, tokens: Sequence[str] = ()) -> Policy:
    """A key's policy that is in force, with statements more for each grant; a new grant's with its token already."""
    own = parsed(key.policy_in_force())
    grants = tuple(one for grant in key.grants_in_force(tokens) for one in _statements(grant))
    return Policy((*own.statements, *grants), variables=own.variables) if grants else own


def _statements(grant: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What a grant allows, in a policy's words (API reference: CreateGrant, GrantConstraints, RetireGrant)."""
    constraints = grant["constraints"]
    exact = constraints.get("EncryptionContextEquals")
    wanted = exact or constraints.get("EncryptionContextSubset") or {}
    condition: dict[str, dict[str, Any]] = {}
    if wanted:
        condition["StringEquals"] = {f"kms:EncryptionContext:{key}": value for key, value in wanted.items()}
    if exact:
        condition["ForAllValues:StringEquals"] = {"kms:EncryptionContextKeys": list(exact)}
    grantee = {"Service" if grant["service"] else "AWS": grant["grantee"]}
    actions = [f"kms:{operation}" for operation in grant["operations"] if operation != "RetireGrant"]
    statement: dict[str, Any] = {"Effect": "Allow", "Resource": "*"}
    plain = [action for action in actions if action in _WITHOUT_CONTEXT]
    yield {**statement, "Principal": grantee, "Action": actions, "Condition": condition}
    if condition and plain:  # what takes no encryption context is not constrained by it
        yield {**statement, "Principal": grantee, "Action": plain}
    retiring = [
        one for one in (grant["retiring"], grant["grantee"] if "RetireGrant" in grant["operations"] else "") if one
    ]
    if retiring:
        this = {"StringEquals": {GRANT: grant["id"]}}
        yield {**statement, "Principal": {"AWS": retiring}, "Action": "kms:RetireGrant", "Condition": this}


def _role(arn: str, asked: Asked) -> Moto | None:
    account = arn.split(":")[4]
    iam = get_backend("iam")[account][get_partition(asked.region)] if account.isdecimal() else None
    return next((one for one in iam.roles.values() if one.arn == arn), None) if iam is not None else None
