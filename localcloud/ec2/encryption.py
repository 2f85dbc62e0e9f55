"""How an account encrypts EBS volumes and snapshots by default: what moto lacks of it.

Sources: EC2 API reference (GetEbsDefaultKmsKeyId, ResetEbsDefaultKmsKeyId), EBS user guide ("Amazon EBS encryption").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moto.core.responses import ActionResult
from moto.ec2.responses import EC2Response

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

AWS_MANAGED = "alias/aws/ebs"
"""What EC2 says of the key that AWS manages; of any other, its ARN (the examples of both calls)."""


def patch(patches: Patches) -> None:
    """Add the calls."""
    patches.set(EC2Response, "get_ebs_default_kms_key_id", _get)
    patches.set(EC2Response, "reset_ebs_default_kms_key_id", _reset)


def _get(self: Moto) -> Moto:
    self.error_on_dryrun()
    return ActionResult({"KmsKeyId": _key(self.ec2_backend)})


def _reset(self: Moto) -> Moto:
    self.error_on_dryrun()
    self.ec2_backend.default_kms_key_id = ""
    return ActionResult({"KmsKeyId": AWS_MANAGED})


def _key(ec2: Moto) -> str:
    """Moto also keeps the ARN of AWS's own key, once it was needed."""
    arn: str = ec2.default_kms_key_id
    own = ec2._create_default_encryption_key()
    ec2.default_kms_key_id = arn
    return AWS_MANAGED if arn in {"", own} else arn
