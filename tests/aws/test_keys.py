"""What KMS says of a key, with botocore's own answers and errors."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.stub import Stubber

from fleetswap.aws.keys import Keys
from fleetswap.aws.session import Cloud
from fleetswap.domain.errors import CloudError
from fleetswap.domain.release.default_key import EbsDefault, KeyAccess
from fleetswap.domain.secrets.key_state import DENIED, MISSING, UNANSWERED, KeyState

KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


class Asked(Cloud):
    """A region whose KMS client is stubbed, and which says where the client was made."""

    def __init__(self) -> None:
        super().__init__("us-east-1")
        self.client = super().kms("eu-west-1")
        self.regions: list[str] = []

    def kms(self, region: str) -> Any:
        """The stubbed client."""
        self.regions.append(region)
        return self.client


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Credentials of nobody."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    return Asked()


def test_a_key_is_asked_about_in_its_own_region(cloud: Asked) -> None:
    """A replica's key, or one whose region is not the stack's, would be reported as one that does not exist."""
    gone = datetime(2026, 12, 26, 23, 30, tzinfo=UTC)
    answer = {"KeyId": "1", "KeyState": "PendingDeletion", "DeletionDate": gone, "KeySpec": "SYMMETRIC_DEFAULT"}
    with Stubber(cloud.client) as stub:
        stub.add_response("describe_key", {"KeyMetadata": answer}, {"KeyId": KEY})
        assert Keys(cloud).state(KEY) == KeyState(KEY, "PendingDeletion", deletion="2026-12-26")
    assert cloud.regions == ["eu-west-1"]
    assert "kms.eu-west-1." in cloud.client.meta.endpoint_url


@pytest.mark.parametrize(
    ("code", "status", "state"),
    [
        ("NotFoundException", 400, KeyState(KEY, MISSING)),
        ("AccessDeniedException", 400, KeyState(KEY, DENIED, told="AccessDeniedException: User: x is not")),
        ("ThrottlingException", 400, KeyState(KEY, UNANSWERED)),
        ("KMSInternalException", 500, KeyState(KEY, UNANSWERED)),
        ("DependencyTimeoutException", 503, KeyState(KEY, UNANSWERED)),
    ],
)
def test_what_is_no_state_is_one_too(cloud: Asked, code: str, status: int, state: KeyState) -> None:
    """A deploy that needs no new machine would end in an error about a question that it need not have asked."""
    with Stubber(cloud.client) as stub:
        stub.add_client_error("describe_key", code, "User: x is not\n", status)
        found = Keys(cloud).state(KEY)
    assert found.state == state.state
    assert state.told in found.told


def test_a_connection_that_fails_is_an_unanswered_question(cloud: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a KMS that cannot be reached, no deploy knows more than of one that throttles."""

    def fail(**_: object) -> None:
        raise ReadTimeoutError(endpoint_url="https://kms")

    monkeypatch.setattr(cloud.client, "describe_key", fail)
    assert Keys(cloud).state(KEY).state == UNANSWERED


def test_credentials_that_have_expired_are_an_error(cloud: Asked) -> None:
    """The one thing to do is to log in again, and a warning about a key would not say it."""
    with Stubber(cloud.client) as stub:
        stub.add_client_error("describe_key", "ExpiredTokenException", "expired", 400)
        with pytest.raises(CloudError, match="log in again"):
            Keys(cloud).state(KEY)


ROLE = "arn:aws:iam::123456789012:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
EVERYBODY = '{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}}'
NOBODY = '{"Statement": []}'
POLICY = {"KeyId": KEY, "PolicyName": "default"}
GRANTS = {"KeyId": KEY, "GranteePrincipal": ROLE}


def test_grants_are_read_only_if_the_policy_is_not_enough(cloud: Asked) -> None:
    """A role that may read the policy alone would be warned; or a key with a grant would be refused."""
    with Stubber(cloud.client) as stub:
        stub.add_response("get_key_policy", {"Policy": EVERYBODY}, POLICY)
        assert Keys(cloud).access(KEY, ROLE) == KeyAccess(EVERYBODY)
        stub.add_response("get_key_policy", {"Policy": NOBODY}, POLICY)
        first = {"Grants": [{"Operations": ["Decrypt"]}], "Truncated": True, "NextMarker": "2"}
        stub.add_response("list_grants", first, GRANTS)
        stub.add_response("list_grants", {"Grants": [{"Operations": ["CreateGrant"]}]}, {**GRANTS, "Marker": "2"})
        assert Keys(cloud).access(KEY, ROLE) == KeyAccess(NOBODY, frozenset({"Decrypt", "CreateGrant"}))


@pytest.mark.parametrize("code", ["AccessDeniedException", "NotFoundException", "ThrottlingException"])
def test_what_a_key_does_not_say_is_unknown(cloud: Asked, code: str) -> None:
    """A preview would end in an error, because it may not read the policy of a key that the settings do not name."""
    with Stubber(cloud.client) as stub:
        stub.add_client_error("get_key_policy", code, "denied", 400)
        stub.add_client_error("list_grants", code, "denied", 400)
        found = Keys(cloud).access(KEY, ROLE)
    assert (found.policy, found.granted) == (None, None)
    assert found.told


@pytest.mark.parametrize(
    ("code", "told"),
    [("UnauthorizedOperation", "UnauthorizedOperation"), ("RequestLimitExceeded", "Throttl|Limit|slow")],
)
def test_a_default_that_may_not_be_asked_about_is_unknown(
    cloud: Asked, monkeypatch: pytest.MonkeyPatch, code: str, told: str
) -> None:
    """Roles of before, which may not ask, could deploy no more."""
    ec2 = cloud.small_ec2()
    monkeypatch.setattr(cloud, "small_ec2", lambda: ec2)
    with Stubber(ec2) as stub:
        stub.add_client_error("get_ebs_encryption_by_default", code, "no", 403)
        found = Keys(cloud).ebs_default()
        assert not found.by_default
        assert re.search(told, found.told)
        stub.add_response("get_ebs_encryption_by_default", {"EbsEncryptionByDefault": True})
        stub.add_response("get_ebs_default_kms_key_id", {"KmsKeyId": KEY})
        assert Keys(cloud).ebs_default() == EbsDefault(by_default=True, key=KEY)
