"""A KMS of a local cloud where nothing is late, and its words of refusal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.localcloud.authorization.conftest import ACCOUNT, people

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.localcloud.clients import Clients

__all__ = ["ACCOUNT", "people"]

ROOT = f"arn:aws:iam::{ACCOUNT}:root"
CONTEXT = {"Environment": "shop/prod"}


def refused(call: Callable[[], object]) -> tuple[int, str, str]:
    """(status, code, message) of the error that a call is refused with."""
    with pytest.raises(ClientError) as error:
        call()
    answer: Any = error.value.response
    status: int = answer["ResponseMetadata"]["HTTPStatusCode"]
    return status, answer["Error"]["Code"], answer["Error"]["Message"]


def code(call: Callable[[], object]) -> str:
    """The code alone."""
    return refused(call)[1]


def attempt(call: Callable[[], Any]) -> tuple[Any, str]:
    """The answer of a call, and the code of its error, if it is refused."""
    try:
        return call(), ""
    except ClientError as error:
        return None, error.response["Error"]["Code"]


def statement(principal: Any, *actions: str, **more: Any) -> dict[str, Any]:
    """A statement of a key policy."""
    who = {"Effect": "Allow", "Principal": principal}
    return {**who, "Action": list(actions) or ["kms:*"], "Resource": "*", **more}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def put(kms: Any, key: str, *statements: dict[str, Any], **asked: Any) -> None:
    """Give a key this policy."""
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=document(*statements), **asked)


@pytest.fixture
def kms(clients: Clients) -> Any:
    """A client of the account's root."""
    return clients.client("kms")


@pytest.fixture
def key(kms: Any) -> str:
    """The ARN of a symmetric key."""
    return str(kms.create_key()["KeyMetadata"]["Arn"])
