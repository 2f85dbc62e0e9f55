"""An account that encrypts its volumes with a key of its own: the printed policy is enough, and no more than enough."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.aws.session import Cloud
from fleetswap.domain.errors import CloudError
from fleetswap.domain.image.snapshots import Start
from fleetswap.domain.permissions.images import ENCRYPT_ANEW, KEY, key_policy
from fleetswap.domain.permissions.purposes import Purpose, policies
from localcloud.server import LocalCloud
from tests.localcloud.authorization.conftest import People, people
from tests.localcloud.clients import Clients
from tests.localcloud.conftest import clients, cloud
from tests.permissions.scopes import PLAIN

__all__ = ["clients", "cloud", "people"]

TAGS = {"fleetswap:stack": PLAIN.stack}


class Uploader:
    """A user with the printed policies for a stack whose account has such a key."""

    def __init__(self, cloud: LocalCloud, clients: Clients, people: People, patch: pytest.MonkeyPatch) -> None:
        kms = clients.client("kms")
        arn = kms.create_key()["KeyMetadata"]["Arn"]
        self._scope = replace(PLAIN, account="123456789012", region="us-east-1", keys=(arn,))
        clients.ec2.modify_ebs_default_kms_key_id(KmsKeyId=arn)
        clients.ec2.enable_ebs_encryption_by_default()
        self._people = people
        key = people.user()
        patch.setenv("AWS_ACCESS_KEY_ID", key.id)
        patch.setenv("AWS_SECRET_ACCESS_KEY", key.secret)
        self._port = DirectSnapshots(*Cloud("us-east-1", cloud.endpoint).ebs_and_ec2(1))

    def start(self, *, without: str | None = None) -> str:
        """Start an encrypted snapshot, which one action less may prevent."""
        printed = [one for policy in policies(self._scope, Purpose.DEPLOY) for one in policy.document()["Statement"]]
        for one in printed:
            one["Action"] = [action for action in one["Action"] if action != without]
        self._people.may(*[one for one in printed if one["Action"]])
        return self._port.start(Start(str(without), 1, TAGS, "", encrypted=False, kms_key=None)).snapshot_id


@pytest.fixture
def uploader(cloud: LocalCloud, clients: Clients, people: People, monkeypatch: pytest.MonkeyPatch) -> Uploader:
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return Uploader(cloud, clients, people, monkeypatch)


def test_an_upload_needs_each_action_on_the_key(uploader: Uploader) -> None:
    """An account with a key of its own could upload nothing; or the policy would allow more than that takes."""
    assert uploader.start().startswith("snap-")
    for action in (*KEY, *ENCRYPT_ANEW):
        with pytest.raises(CloudError, match="KMS denies access: allow kms:CreateGrant, kms:Decrypt") as raised:
            uploader.start(without=action)
        assert f"not authorized to perform: {action}" in str(raised.value)


def test_the_key_policy_is_one() -> None:
    """KMS would refuse it."""
    document: dict[str, Any] = {"Statement": [one.plain() for one in key_policy(replace(PLAIN, keys=("arn",)))]}
    assert {one["Resource"] for one in document["Statement"]} == {"*"}
    assert json.dumps(document)
