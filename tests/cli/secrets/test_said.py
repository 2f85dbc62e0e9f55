"""What is said of what sops and KMS refuse, and whose credentials sops has."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from fleetswap.cli.sops_access import environment
from fleetswap.cli.way import Way
from fleetswap.domain.access import Access
from fleetswap.sops.change import memory
from tests.cli.conftest import NOBODY
from tests.cli.secrets.conftest import SECRET, SETTINGS, Cli, Shop, client, editor


def test_no_word_of_sops_gets_out(cli: Cli, aws: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can change a sealed file could read its secrets in the log of the next command: sops prints them."""
    text = aws.seal().decode()
    aws.file.write_text(text.replace("type:str]\nport", "type:int]\nport"))
    bare = aws.sops("decrypt", str(aws.file))
    assert SECRET in bare.stderr, "the real sops does it, else this test shows nothing"
    editor(aws, "true", monkeypatch)
    for command in ("edit", "rotate"):
        ran = cli("secrets", command, "secrets/prod.yaml")
        assert ran.status == 1
        assert ran.error == (
            "secrets/prod.yaml: a value in it was changed by something other than sops, or moved: restore it from"
            " version control"
        )
        assert SECRET not in ran.out + ran.err


def test_a_plaintext_that_sops_cannot_read_is_not_repeated(cli: Cli, aws: Shop) -> None:
    """The error of a parser quotes the line."""
    aws.with_rule()
    aws.file.parent.mkdir()
    aws.file.write_text(f"{{{SECRET}: [{SECRET}, {{}}], 1: 2}}\n")
    ran = cli("secrets", "encrypt", "secrets/prod.yaml")
    assert ran.status != 0
    assert SECRET not in ran.out + ran.err


def test_another_environment_cannot_open_it(cli: Cli, aws: Shop) -> None:
    """The reason would be sops' page of text, or nothing."""
    text = aws.seal().decode()
    aws.file.write_text(text.replace("Environment: shop/prod", "Environment: shop/dev"))
    ran = cli("secrets", "rotate", "secrets/prod.yaml")
    assert ran.status == 1
    assert ran.error.startswith(
        "opening secrets/prod.yaml: KMS cannot open its data key: it was sealed in another environment, or its metadata"
        " was changed: restore it from version control (InvalidCiphertextException"
    )


@pytest.mark.parametrize("command", ["encrypt", "rotate"])
def test_a_disabled_key_is_named(cli: Cli, aws: Shop, command: str) -> None:
    """Someone would look for a permission that is not missing. Encrypting, sops' status is 1 and not 128."""
    aws.seal()
    if command == "encrypt":
        aws.file.write_text(f"password: {SECRET}\n")
    aws.kms.disable_key(KeyId=aws.key)
    ran = cli("secrets", command, "secrets/prod.yaml")
    assert ran.status == 1
    doing = "sealing" if command == "encrypt" else "opening"
    assert ran.error.startswith(
        f"{doing} secrets/prod.yaml: the KMS key is disabled: enable it with `aws kms enable-key` (DisabledException"
    )


def test_kms_that_does_not_answer(cli: Cli, aws: Shop) -> None:
    """Three attempts later there would be an error of Go."""
    aws.seal()
    ran = cli("secrets", "rotate", "secrets/prod.yaml", "--endpoint-url", NOBODY)
    assert (ran.status, ran.error) == (
        1,
        "opening secrets/prod.yaml: no answer from KMS: check the network and the endpoint, then try again",
    )


POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:Encrypt", "Resource": "*"}]}


def test_a_denial_names_who_must_do_what(cli: Cli, aws: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may only seal would not know whom to ask to edit."""
    aws.seal()
    iam = client("iam")
    name = f"sealer-{aws.key[-12:]}"
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    ran = cli("secrets", "rotate", "secrets/prod.yaml")
    assert ran.status == 1
    assert ran.error.startswith(
        "opening secrets/prod.yaml: KMS denies access: add your role to `editors` of fleetswap:secrets and run"
        " `pulumi up` (AccessDeniedException: "
    )
    aws.file.write_text("a: 1\n")
    ran = cli("secrets", "encrypt", "secrets/prod.yaml")
    assert ran.error.startswith(
        "sealing secrets/prod.yaml: KMS denies access: allow kms:Encrypt on the key in your IAM policy (`fleetswap"
        " permissions` prints it) (AccessDeniedException: "
    )
    iam.put_user_policy(UserName=name, PolicyName="seal", PolicyDocument=json.dumps(POLICY))
    assert cli("secrets", "encrypt", "secrets/prod.yaml").status == 0


def test_sops_has_the_credentials_of_the_settings(cli: Cli, aws: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """KMS would be asked as somebody else than `pulumi up` of the same stack, perhaps in another account."""
    aws.with_rule()
    iam = client("iam")
    name = f"sealers-{aws.key[-12:]}"
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
    }
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    may = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role}]}
    iam.put_user_policy(UserName=name, PolicyName="assume", PolicyDocument=json.dumps(may))
    iam.put_role_policy(RoleName=name, PolicyName="seal", PolicyDocument=json.dumps(POLICY))
    config = {**SETTINGS, "aws:assumeRoles": [{"roleArn": role}], "fleetswap:endpoint": os.environ["AWS_ENDPOINT_URL"]}
    (aws.folder / "Pulumi.prod.yaml").write_text(yaml.safe_dump({"config": config}))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    aws.file.parent.mkdir()
    aws.file.write_text("a: 1\n")
    ran = cli("secrets", "encrypt", "secrets/prod.yaml")
    assert (ran.status, ran.err) == (0, "")


def test_the_environment_of_sops() -> None:
    """It would take another's credentials, recipients, endpoint or certificates than the settings name."""
    given = {
        "PATH": "/bin",
        "SOPS_PGP_FP": "x",
        "AWS_SESSION_TOKEN": "old",
        "AWS_PROFILE": "mine",
        "AWS_ROLE_ARN": "r",
        "AWS_ENDPOINT_URL": "http://all",
    }
    new = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": None}
    kept = {"PATH": "/bin", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": "http://all"}
    assert environment(given, Way(), new) == {**kept, "AWS_PROFILE": "mine"}
    access = Access(
        profile="ops",
        endpoints={"kms": "https://kms.example"},
        use_fips_endpoint=True,
        use_dualstack_endpoint=True,
        custom_ca_bundle="/ca.pem",
        shared_config_files=("/config",),
        shared_credentials_files=("/credentials",),
    )
    assert environment(given, Way(None, "http://local", access), new) == {
        **kept,
        "AWS_PROFILE": "ops",
        "AWS_ENDPOINT_URL_KMS": "https://kms.example",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_CA_BUNDLE": "/ca.pem",
        "AWS_CONFIG_FILE": "/config",
        "AWS_SHARED_CREDENTIALS_FILE": "/credentials",
    }
    assert environment(given, Way(None, "http://local"), new)["AWS_ENDPOINT_URL_KMS"] == "http://local"


def test_a_folder_in_memory_is_one(tmp_path: Path) -> None:
    """The plaintext would be on a disk, or in a folder of memory that nobody can write to."""
    mounts = tmp_path / "mounts"
    folder = tmp_path / "run"
    folder.mkdir()
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\ntmpfs {folder} tmpfs rw 0 0\n")
    assert memory(mounts, {"XDG_RUNTIME_DIR": str(folder)}) == folder
    assert memory(mounts, {}) is None
    mounts.write_text("/dev/vda / ext4 rw 0 0\n")
    assert memory(mounts, {"XDG_RUNTIME_DIR": str(folder)}) is None
    assert memory(tmp_path / "none", {}) is None
