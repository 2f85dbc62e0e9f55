"""How the account encrypts by default, as EC2 says it."""

from __future__ import annotations

import pytest

from fleetswap.aws.keys import Keys
from fleetswap.aws.session import Cloud
from fleetswap.domain.release.default_key import EbsDefault, KeyAccess, launch_role, may_launch
from localcloud.authorization.services import auto_scaling_may_launch_with
from localcloud.moto_state import backend
from localcloud.server import LocalCloud
from tests.localcloud.clients import Clients
from tests.localcloud.conftest import clients, cloud

__all__ = ["clients", "cloud"]


def test_the_default_key_is_aws_s_own_until_it_is_another(
    cloud: LocalCloud, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preview would see a customer managed key where there is none, or the other way round."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    keys = Keys(Cloud("us-east-1", cloud.endpoint))
    assert keys.ebs_default() == EbsDefault()
    clients.ebs.start_snapshot(VolumeSize=1, Encrypted=True)  # for which the key is made
    assert keys.ebs_default() == EbsDefault()
    mine = clients.client("kms").create_key()["KeyMetadata"]["Arn"]
    assert clients.ec2.modify_ebs_default_kms_key_id(KmsKeyId=mine)["KmsKeyId"] == mine
    clients.ec2.enable_ebs_encryption_by_default()
    assert keys.ebs_default() == EbsDefault(by_default=True, key=mine)
    assert clients.ec2.reset_ebs_default_kms_key_id()["KmsKeyId"] == "alias/aws/ebs"
    assert keys.ebs_default() == EbsDefault(by_default=True)


def test_what_is_seen_of_a_key_is_what_a_launch_meets(
    cloud: LocalCloud, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preview would refuse what launches, or pass what does not; and a grant would count for the one alone."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    keys, kms = Keys(Cloud("us-east-1", cloud.endpoint)), clients.client("kms")
    mine = kms.create_key()["KeyMetadata"]
    role = launch_role(mine["Arn"], "123456789012")
    held = backend("kms").keys[mine["KeyId"]]
    seen: KeyAccess = keys.access(mine["Arn"], role)
    assert (may_launch(seen, role), auto_scaling_may_launch_with(held)) == (False, False)
    operations = ["CreateGrant", "Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey"]
    operations += ["GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo"]
    clients.client("iam").create_service_linked_role(AWSServiceName="autoscaling.amazonaws.com")
    kms.create_grant(KeyId=mine["KeyId"], GranteePrincipal=role, Operations=operations)
    seen = keys.access(mine["Arn"], role)
    assert (may_launch(seen, role), auto_scaling_may_launch_with(held)) == (True, True)
