"""Whom AMIs and snapshots are shared with, as the program declares it, and what it refuses before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest

from fleetswap.domain.errors import InputError
from tests.fakes.ebs import disk_file
from tests.program.declared import Credentials, Program, declare

OTHER, THIRD = "111122223333", "444455556666"
ORGANIZATION = f"arn:aws:organizations::{OTHER}:organization/o-a1b2c3d4e5"
UNIT = f"arn:aws:organizations::{OTHER}:ou/o-a1b2c3d4e5/ou-a1b2-c3d4e5f6"
SHARE = {"accounts": [OTHER, THIRD], "organizations": [ORGANIZATION], "organizational_units": [UNIT]}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image."""
    return disk_file(tmp_path_factory.mktemp("disks") / "web.raw")


def program(
    disk: Path, upload: dict[str, Any], *, encrypts: bool | None = False, before: Program | None = None
) -> Program:
    """The program with these settings of uploads, in an account that encrypts with its AWS managed key or does not."""
    raw = {"service": "web", "image": json.dumps({"file": str(disk)}), "upload": json.dumps(upload)}
    outputs = None if before is None else before.outputs
    return declare(raw, credentials=Credentials(encrypts=encrypts), outputs=outputs)


def permissions(found: Program, kind: str) -> list[dict[str, Any]]:
    """The inputs of all of a kind, without what is shared."""
    return [
        {key: value for key, value in each.inputs.items() if key not in {"imageId", "snapshotId"}}
        for each in found.of(kind)
    ]


def test_an_ami_is_shared_with_all_and_its_snapshot_with_accounts(disk: Path) -> None:
    """Others could not launch, or not promote; or the program would ask of a snapshot what AWS does not have."""
    found = program(disk, {"share": SHARE})
    assert permissions(found, "AmiLaunchPermission") == [
        {"accountId": OTHER},
        {"accountId": THIRD},
        {"organizationArn": ORGANIZATION},
        {"organizationalUnitArn": UNIT},
    ]
    assert permissions(found, "SnapshotCreateVolumePermission") == [{"accountId": OTHER}, {"accountId": THIRD}]
    release = found.one("Rollout").inputs["live"]
    assert {each.inputs["imageId"] for each in found.of("AmiLaunchPermission")} == {f"{release}-id"}
    assert all(each.options.ignore_changes == ["snapshotId"] for each in found.of("SnapshotCreateVolumePermission"))


def test_sharing_is_no_part_of_a_release(disk: Path) -> None:
    """Whoever shares, or stops, would deploy a new fleet; and a stack that shares nothing would ask AWS more."""
    plain = program(disk, {}, encrypts=None)
    assert not plain.of("AmiLaunchPermission")
    shared = program(disk, {"share": SHARE}, before=plain)
    assert shared.one("Rollout").inputs["live"] == plain.one("Rollout").inputs["live"]
    assert shared.one("DiskImage").inputs == plain.one("DiskImage").inputs


def test_what_the_managed_key_encrypts_is_refused_before_the_first_resource(disk: Path) -> None:
    """The update would fail half-way, after the image was sent."""
    with pytest.raises(InputError, match=r"aws/ebs, and AWS does not share those: set fleetswap:upload\.kms_key to"):
        program(disk, {"share": SHARE}, encrypts=True)
    found = program(disk, {"share": SHARE, "kms_key": "stack"}, encrypts=True)
    assert len(found.of("AmiLaunchPermission")) == 4


def test_a_release_that_cannot_be_shared_any_more_is_left_out(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sharing what is there already, encrypted with the wrong key, would fail each update of the running fleet."""
    lines: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lines.append)
    before = program(disk, {}, encrypts=None)
    found = program(disk, {"share": SHARE}, encrypts=True, before=before)
    assert not found.of("AmiLaunchPermission")
    assert not found.of("SnapshotCreateVolumePermission")
    assert any("is not shared" in line and "for the next image" in line for line in lines)


def test_the_stacks_own_key_lets_them_use_it(disk: Path) -> None:
    """They could not decrypt what is shared with them; or an account that nobody named could."""
    plain = json.loads(program(disk, {"kms_key": "stack"}, encrypts=None).one("Key").inputs["policy"])["Statement"]
    shared = json.loads(program(disk, {"kms_key": "stack", "share": SHARE}).one("Key").inputs["policy"])["Statement"]
    assert shared[: len(plain)] == plain
    more = {each["Sid"]: each for each in shared[len(plain) :]}
    assert list(more) == [
        f"{who}{what}"
        for who in ("SharedAccounts", "SharedOrganizations", "SharedUnits")
        for what in ("UseTheKey", "LetEbsUseTheKey")
    ]
    assert more["SharedAccountsUseTheKey"]["Principal"] == {
        "AWS": [f"arn:aws:iam::{OTHER}:root", f"arn:aws:iam::{THIRD}:root"]
    }
    assert "Condition" not in more["SharedAccountsUseTheKey"]
    assert more["SharedAccountsLetEbsUseTheKey"]["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    assert more["SharedOrganizationsUseTheKey"]["Condition"] == {
        "StringEquals": {"aws:PrincipalOrgID": ["o-a1b2c3d4e5"]}
    }
    assert more["SharedUnitsLetEbsUseTheKey"]["Condition"] == {
        "StringEquals": {"aws:PrincipalOrgID": ["o-a1b2c3d4e5"]},
        "ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": ["o-a1b2c3d4e5/*/ou-a1b2-c3d4e5f6/*"]},
        "Bool": {"kms:GrantIsForAWSResource": "true"},
    }


def test_the_stacks_own_account_is_refused_in_both_settings(disk: Path) -> None:
    """AWS refuses to share with the owner, and a copy within an account would only cost time."""
    own = Credentials().account
    upload = {"share": {"accounts": [own]}, "trusted_stacks": [{"stack": "fleetswap/staging", "account": own}]}
    with pytest.raises(InputError, match=r"share\.accounts: 123456789012 is .*; fleetswap:upload\.trusted_stacks: 1"):
        program(disk, upload)


@pytest.mark.parametrize(
    ("upload", "reason"),
    [
        ({"share": {}}, r"upload\.share: names nobody"),
        ({"share": {"accounts": [OTHER, OTHER]}}, r"upload\.share\.accounts: names 111122223333 twice"),
        ({"share": {"organizations": ["o-a1b2c3d4e5"]}}, r"organizations\[0\]: must be the ARN of an organization"),
        ({"trusted_stacks": [{"stack": "a/b"}]}, r"upload\.trusted_stacks\[0\]\.account is missing"),
        ({"trusted_stacks": [7]}, r"upload\.trusted_stacks\[0\]: must be text"),
        ({"share": {"organizations": [ORGANIZATION.replace("aws", "aws-cn")]}}, r"is an ARN of partition aws-cn"),
    ],
)
def test_wrong_settings_are_told_by_their_keys(disk: Path, upload: dict[str, Any], reason: str) -> None:
    """Nobody could tell which of the two forms was meant, or AWS would refuse it half-way through a deploy."""
    with pytest.raises(InputError, match=reason):
        program(disk, upload)


def test_other_accounts_reach_the_upload(disk: Path) -> None:
    """The setting would be accepted and do nothing."""
    trusted = ["fleetswap/test", {"stack": "fleetswap/staging", "account": OTHER}]
    found = program(disk, {"trusted_stacks": trusted}, encrypts=None).one("DiskImage").inputs
    assert found["shipping"]["trusted_stacks"] == trusted
