"""What AWS's own services may do with what belongs to the account: assume its roles, launch with its keys.

Decides with the same evaluator as for everyone else; a service has no identity-based policy, so only the role's or the
key's policy has a say. With `LOCK` held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from moto.utilities.utils import get_partition

from localcloud.authorization.callers import parsed
from localcloud.authorization.owners import key_policy
from localcloud.authorization.policies import Named, Policies, Question, decide

if TYPE_CHECKING:
    from localcloud.authorization.patterns import Context
    from localcloud.moto_state import Moto

_GRANTED: Final = (
    "CreateGrant",
    "Decrypt",
    "DescribeKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
)
"""Auto Scaling user guide, "Required AWS KMS key policy for use with encrypted volumes"."""

_AUTO_SCALING: Final = "aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"


def may_assume(service: str, role: Moto, context: Context | None = None) -> bool:
    """Whether a service, such as `ec2.amazonaws.com`, may assume a role: what the role's trust policy says."""
    policies = Policies(resource=parsed(role.assume_role_policy_document), only_resource=True)
    return decide(Question("sts:AssumeRole", role.arn), context or {}, policies, Named(service=service)).allowed


def auto_scaling_may_launch_with(key: Moto) -> bool:
    """Whether Auto Scaling's service-linked role may use a KMS key for the volumes of the machines that it launches.

    Its policy may allow it, or a grant.
    With a key that AWS manages for EBS it always may.
    """
    if any(alias.startswith("alias/aws/") for alias in key.aliases):
        return True
    role = f"arn:{key.arn.split(':')[1]}:iam::{key.account_id}:role/{_AUTO_SCALING}"
    policies = Policies(resource=key_policy(key), only_resource=True)
    context = {
        "kms:grantisforawsresource": ("true",),
        "kms:viaservice": (f"ec2.{key.region}.amazonaws.com{'.cn' if get_partition(key.region) == 'aws-cn' else ''}",),
        "kms:calleraccount": (key.account_id,),
        "aws:principalarn": (role,),
        "aws:principalaccount": (key.account_id,),
    }
    granted = {name for one in key.grants.values() if one.grantee_principal == role for name in one.operations}
    return all(
        name in granted
        or decide(Question(f"kms:{name}", key.arn), context, policies, Named((role,), key.account_id)).allowed
        for name in _GRANTED
    )
