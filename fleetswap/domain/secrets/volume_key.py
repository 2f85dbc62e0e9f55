"""The stack's own key for EBS volumes and snapshots: its alias and its policy.

It is another key than that of the secrets, and its policy is AWS's default one for keys of EBS: IAM policies of the
account say who may use it. An attached volume was decrypted long ago, so nothing is gained by a stricter one, and
backups, migrations and forensics take the same rights as with any other key. Pure.
"""

from __future__ import annotations

from typing import Any

from fleetswap.domain.partition import Partition
from fleetswap.domain.secrets import sealing
from fleetswap.domain.share import Share, key_statements

USE = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey")
"""What Auto Scaling's role needs for launches, besides grants (Auto Scaling user guide, "Required AWS KMS key policy
for use with encrypted volumes")."""


def alias(stack: str) -> str:
    """The alias of the key, for people, below that of the key of the secrets."""
    return f"{sealing.alias(stack)}/volumes"


def policy(partition: Partition, account: str, share: Share) -> list[dict[str, Any]]:
    """The statements of the key policy, with those for whom the stack's images are shared with.

    Auto Scaling's service-linked role is named in a condition and not as the principal: KMS refuses a policy with a
    principal that does not exist (CreateKey, MalformedPolicyDocumentException), and in a new account AWS makes that
    role only with the first auto scaling group.
    """
    iam = f"arn:{partition.name}:iam::{account}"
    role = f"{iam}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    launches = {"StringEquals": {"aws:PrincipalArn": role, "kms:CallerAccount": account}}
    return [
        {
            "Sid": "IamPoliciesOfTheAccountDecide",
            "Effect": "Allow",
            "Principal": {"AWS": f"{iam}:root"},
            "Action": "kms:*",
            "Resource": "*",
        },
        {
            "Sid": "AutoScalingUsesTheKey",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": list(USE),
            "Resource": "*",
            "Condition": launches,
        },
        {
            "Sid": "AutoScalingLetsEc2AttachVolumes",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": "kms:CreateGrant",
            "Resource": "*",
            "Condition": {**launches, "Bool": {"kms:GrantIsForAWSResource": "true"}},
        },
        *key_statements(partition, share),
    ]
