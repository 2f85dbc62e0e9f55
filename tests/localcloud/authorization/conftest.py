"""Callers other than the local cloud's root: users and role sessions, with policies of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from localcloud.moto_state import LOCK, backend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localcloud.server import LocalCloud
    from tests.localcloud.clients import Clients

ACCOUNT = "123456789012"


def allow(*actions: str, resource: Any = "*", condition: Any = None, effect: str = "Allow") -> dict[str, Any]:
    """One statement."""
    statement = {"Effect": effect, "Action": list(actions), "Resource": resource}
    return {**statement, "Condition": condition} if condition else statement


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trust(**principal: Any) -> str:
    """A role's trust policy."""
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@dataclass(frozen=True)
class Key:
    id: str
    secret: str
    token: str | None = None


class People:
    """Makes users and sessions, and clients that call as them."""

    def __init__(self, endpoint: str, clients: Clients) -> None:
        self._endpoint = endpoint
        self._clients = clients
        self._made: list[Any] = []

    def user(self, *statements: dict[str, Any], name: str = "deployer") -> Key:
        """A user with one inline policy."""
        iam = self._clients.iam
        iam.create_user(UserName=name)
        self.may(*statements, name=name)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return Key(made["AccessKeyId"], made["SecretAccessKey"])

    def may(self, *statements: dict[str, Any], name: str = "deployer") -> None:
        """From now on, this is what a user may do."""
        document = policy(*(statements or (allow("none:Nothing"),)))
        self._clients.iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document)

    def session(self, role: str = "operator", **asked: Any) -> Key:
        """A session of a role, assumed by the local cloud's root."""
        sts = self.client("sts", None)
        arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
        made = sts.assume_role(RoleArn=arn, RoleSessionName="tests", **asked)["Credentials"]
        return Key(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])

    def expire(self) -> None:
        """The time of the last session is over."""
        with LOCK:
            over = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=1)
            backend("sts").assumed_roles[-1].expiration = over

    def client(self, service: str, key: Key | None, **asked: Any) -> Any:
        """A client that calls once, as the owner of a key; without one, as the root."""
        key = key or Key("local", "local")
        client = boto3.client(
            service,  # type: ignore[call-overload] # any service's name
            endpoint_url=self._endpoint,
            region_name="us-east-1",
            aws_access_key_id=key.id,
            aws_secret_access_key=key.secret,
            aws_session_token=key.token,
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False, **asked),
        )
        self._made.append(client)
        return client

    def close(self) -> None:
        for client in self._made:
            client.close()


@pytest.fixture
def people(cloud: LocalCloud, clients: Clients) -> Iterator[People]:
    """Callers of `cloud`."""
    people = People(cloud.endpoint, clients)
    yield people
    people.close()
