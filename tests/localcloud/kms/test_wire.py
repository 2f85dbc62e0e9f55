"""What no client of AWS's sends is refused as by KMS: a server that fails is asked again and again."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

if TYPE_CHECKING:
    from localcloud.server import LocalCloud

POLICY = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}]}


@pytest.mark.parametrize(
    ("operation", "sent", "code"),
    [
        ("DescribeKey", {"KeyId": "arn:"}, "InvalidArnException"),
        ("DescribeKey", {"KeyId": {"a": "b"}}, "SerializationException"),
        ("DescribeKey", [], "SerializationException"),
        ("Decrypt", {}, "ValidationException"),
        ("Decrypt", {"CiphertextBlob": "eA==", "EncryptionContext": {"a": 1}}, "SerializationException"),
        ("Decrypt", {"CiphertextBlob": "eA==", "Recipient": []}, "SerializationException"),
        ("CreateKey", {"KeySpec": ["RSA_2048"]}, "SerializationException"),
        ("CreateKey", {"Tags": [None]}, "SerializationException"),
        (
            "CreateKey",
            {"Policy": json.dumps({"Version": ["2012-10-17"], **POLICY})},
            "MalformedPolicyDocumentException",
        ),
        ("ListKeys", {"Limit": True}, "SerializationException"),
    ],
)
def test_nonsense_is_refused_and_never_an_internal_error(
    cloud: LocalCloud, operation: str, sent: Any, code: str
) -> None:
    """The local cloud would fail, and a client with a mistake in it would wait for the end of its retries."""
    headers = {"X-Amz-Target": f"TrentService.{operation}", "Content-Type": "application/x-amz-json-1.1"}
    request = AWSRequest("POST", f"{cloud.endpoint}/", data=json.dumps(sent), headers=headers)
    SigV4Auth(Credentials("local", "local"), "kms", "us-east-1").add_auth(request)
    connection = HTTPConnection(urlsplit(cloud.endpoint).netloc, timeout=30)
    connection.request("POST", "/", json.dumps(sent), dict(request.headers))
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    assert (answer.status, told["__type"]) == (400, code)
