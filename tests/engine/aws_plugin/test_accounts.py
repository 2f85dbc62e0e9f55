"""Whose credentials the stand-in uses, and in which account it refuses to work: as the official plugin does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.aws_plugin import config, credentials, operations
from tests.engine.aws_plugin.conftest import NoClients, provider_config

ACCOUNT = "123456789012"


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, False),
        ({"allowedAccountIds": f'["{ACCOUNT}"]'}, False),
        ({"allowedAccountIds": '["999900001111"]'}, True),
        ({"forbiddenAccountIds": f'["{ACCOUNT}"]'}, True),
        ({"forbiddenAccountIds": f'["{ACCOUNT}"]', "skipRequestingAccountId": "true"}, False),
    ],
)
def test_another_account_is_refused(endpoint: str, changes: dict[str, Any], refused: bool) -> None:  # noqa: FBT001 - a table
    """Broken: a test of the program would pass although a real deploy goes to another account."""
    clients = config.configure(provider_config(endpoint) | changes)
    if not refused:
        clients.check_account()
        return
    with pytest.raises(ValueError, match=f"AWS account ID not allowed: {ACCOUNT}"):
        clients.check_account()


def test_roles_are_assumed_one_after_the_other(endpoint: str, aws: Any) -> None:
    """Broken: the stand-in works as whoever's keys are given, and not as the roles of the settings."""
    iam = aws("iam")
    roles = []
    for name, by in (("outer", f"arn:aws:iam::{ACCOUNT}:root"), ("inner", f"arn:aws:iam::{ACCOUNT}:role/outer")):
        statement: dict[str, Any] = {"Effect": "Allow", "Principal": {"AWS": by}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]
        roles.append({"roleArn": made["Arn"], "sessionName": "ci", "duration": "30m"})
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    iam.put_role_policy(RoleName="outer", PolicyName="all", PolicyDocument=document)
    try:
        clients = config.configure(provider_config(endpoint) | {"assumeRoles": json.dumps(roles)})
        assert clients.client("sts").get_caller_identity()["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/inner/ci"
    finally:
        iam.delete_role_policy(RoleName="outer", PolicyName="all")
        for name in ("outer", "inner"):
            iam.delete_role(RoleName=name)


def test_a_profile_goes_before_keys_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Broken: the stand-in uses other credentials than the official plugin would."""
    shared = tmp_path / "credentials"
    shared.write_text("[company]\naws_access_key_id = profile\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    given = {"profile": "company", "sharedCredentialsFiles": [str(shared)], "skipMetadataApiCheck": True}
    found = credentials.session(given, lambda _: {}).get_credentials()
    assert found is not None
    assert found.access_key == "profile"


def test_ignored_prefixes_are_not_seen() -> None:
    """Broken: tags that others write show as drift, and an update takes them away."""
    clients = NoClients(ignored_tags=frozenset({"k"}), ignored_prefixes=("p:",))
    tags = {"k": "1", "p:x": "2", "kept": "3"}
    assert operations._seen({"tags": tags}, clients)["tags"] == {"kept": "3"}
    listed = [{"key": key, "value": value} for key, value in tags.items()]
    assert operations._seen({"tags": listed}, clients)["tags"] == [{"key": "kept", "value": "3"}]


@pytest.mark.parametrize(("text", "seconds"), [("1h", 3600), ("1h30m", 5400), ("900s", 900)])
def test_durations(text: str, seconds: int) -> None:
    """Broken: a session ends sooner or later than the official plugin's."""
    assert credentials.seconds(text) == seconds
