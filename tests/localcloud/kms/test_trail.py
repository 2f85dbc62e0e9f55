"""What was asked of KMS can be read afterwards, as in CloudTrail, and throttling and failures are in KMS's words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest

from tests.localcloud.authorization.conftest import allow
from tests.localcloud.kms.conftest import ACCOUNT, CONTEXT, attempt, code, refused

if TYPE_CHECKING:
    from localcloud.server import LocalCloud
    from tests.localcloud.authorization.conftest import People


def events(cloud: LocalCloud, method: str = "GET") -> Any:
    with urlopen(Request(f"{cloud.endpoint}/_localcloud/kms/events", method=method)) as answer:
        return json.load(answer)


def test_every_call_is_recorded_with_who_asked_and_whether_they_may(
    cloud: LocalCloud, kms: Any, key: str, people: People
) -> None:
    """A test could not say what a machine asked for, or a secret would be in the record."""
    user = people.client("kms", people.user(allow("kms:Encrypt")))
    events(cloud, "DELETE")
    blob = user.encrypt(KeyId=key, Plaintext=b"hunter2", EncryptionContext=CONTEXT)["CiphertextBlob"]
    code(lambda: user.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT))
    code(lambda: kms.decrypt(CiphertextBlob=blob))
    sealed, denied, wrong = events(cloud)["events"]
    arn = f"arn:aws:iam::{ACCOUNT}:user/deployer"
    assert (sealed["eventName"], sealed["userIdentity"]["arn"], sealed["resources"]) == ("Encrypt", arn, [{"ARN": key}])
    assert sealed["requestParameters"] == {"keyId": key, "encryptionContext": CONTEXT}
    assert "errorCode" not in sealed
    assert (denied["errorCode"], denied["resources"]) == ("AccessDeniedException", [{"ARN": key}])
    assert "is not authorized to perform: kms:Decrypt" in denied["errorMessage"]
    assert (wrong["errorCode"], wrong["userIdentity"]["arn"]) == (
        "InvalidCiphertextException",
        f"arn:aws:iam::{ACCOUNT}:root",
    )
    assert "hunter2" not in json.dumps(events(cloud))
    assert events(cloud, "DELETE")["forgotten"] == 3


def test_cryptographic_operations_share_a_quota(cloud: LocalCloud, kms: Any, key: str) -> None:
    """KMS that is throttled while a fleet boots could not be tried."""
    operations = "Encrypt Decrypt GenerateDataKey*"
    cloud.faults.add({"fault": "limit", "service": "kms", "operation": operations, "rate": 0.001, "burst": 2})
    kms.encrypt(KeyId=key, Plaintext=b"x")
    kms.generate_data_key(KeyId=key, KeySpec="AES_256")
    wanted = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
    assert refused(lambda: kms.encrypt(KeyId=key, Plaintext=b"x")) == (400, "ThrottlingException", wanted)
    kms.describe_key(KeyId=key)


@pytest.mark.parametrize(
    ("fault", "status", "wanted"),
    [
        ("error-500", 500, "KMSInternalException"),
        ("error-503", 503, "DependencyTimeoutException"),
        ("not-found", 400, "NotFoundException"),
        ("expired-token", 400, "ExpiredTokenException"),
    ],
)
def test_failures_have_kms_s_words(cloud: LocalCloud, kms: Any, key: str, fault: str, status: int, wanted: str) -> None:
    """A client that tries again by the code would see another one than on AWS."""
    cloud.faults.add({"fault": fault, "service": "kms"})
    assert refused(lambda: kms.describe_key(KeyId=key))[:2] == (status, wanted)


def test_a_kms_that_is_down_answers_nothing(cloud: LocalCloud, kms: Any, key: str) -> None:
    """What a machine does without KMS could not be tried."""
    cloud.faults.add({"fault": "cut-before", "service": "kms", "count": 1})
    with pytest.raises(Exception, match="Connection was closed"):
        kms.describe_key(KeyId=key)
    assert attempt(lambda: kms.describe_key(KeyId=key))[1] == ""
