"""The roles of a stack: their path, their permissions boundary, whom they trust, and names that fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fleetswap.domain.errors import InputError
from tests.fakes.ebs import disk_file
from tests.program.declared import Program, declare

BOUNDARY = "arn:aws:iam::123456789012:policy/boundary"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disk_file(tmp_path_factory.mktemp("disk") / "disk.raw")


def program(disk: Path, region: str = "us-east-1", ledger: dict[str, Any] | None = None, **values: Any) -> Program:
    given = {"service": "web", "image": {"file": str(disk)}, **values}
    raw = {key: json.dumps(value) if isinstance(value, (dict, list)) else value for key, value in given.items()}
    return declare(raw, region=region, ledger=ledger)


def roles(found: Program) -> list[dict[str, Any]]:
    return [each.inputs for each in found.of("Role")]


def test_every_role_has_the_boundary_and_the_path(disk: Path) -> None:
    """A company that allows roles only with its boundary, or below a path, could not deploy at all."""
    found = program(disk, iam={"permissions_boundary": BOUNDARY, "path": "/fleetswap/"})
    assert len(roles(found)) == 2, "of the machines, and of the switch"
    assert {(each["permissionsBoundary"], each["path"]) for each in roles(found)} == {(BOUNDARY, "/fleetswap/")}
    assert found.one("InstanceProfile").inputs["path"] == "/fleetswap/"


def test_a_boundary_applies_in_place_and_a_path_to_new_releases(disk: Path) -> None:
    """The role of a running release would be replaced under its machines; or a boundary come only with a new image."""
    before = program(disk)
    ledger = before.outputs["ledger"]
    assert "path" not in ledger["entries"][0]["machine"]
    bound = program(disk, ledger=ledger, iam={"permissions_boundary": BOUNDARY})
    assert [each.name for each in bound.of("Release")] == [each.name for each in before.of("Release")]
    moved = program(disk, ledger=ledger, iam={"path": "/web/"})
    assert len(moved.of("Release")) == 2
    (old,) = (each.name for each in before.of("Release"))
    paths = {each.name: each.inputs["path"] for each in moved.of("Role")}
    assert paths.pop(old) == "/"
    assert set(paths.values()) == {"/web/"}


@pytest.mark.parametrize("path", ["fleetswap", "/fleetswap", "//", "/a b/", f"/{'x' * 511}/"])
def test_a_path_that_iam_does_not_take_is_refused(disk: Path, path: str) -> None:
    """CreateRole would fail when the network and the load balancer are there already."""
    with pytest.raises(InputError, match=r"fleetswap:iam\.path"):
        program(disk, iam={"path": path})


def test_names_of_roles_fit(disk: Path) -> None:
    """IAM takes 64 characters (CreateRole, RoleName), and Pulumi puts a hyphen and 7 digits behind a name."""
    longest = program(disk, service="w" * 15)
    for each in longest.of("Role"):
        assert len(each.name) + 8 <= 64


@pytest.mark.parametrize(
    ("region", "principal"),
    [
        ("eu-central-1", "ec2.amazonaws.com"),
        ("cn-north-1", "ec2.amazonaws.com.cn"),
        ("us-gov-west-1", "ec2.amazonaws.com"),
    ],
)
def test_the_roles_trust_the_services_of_their_partition(disk: Path, region: str, principal: str) -> None:
    """No machine could take its role, or the dead man's switch would not fire."""
    trusted = {
        json.loads(each["assumeRolePolicy"])["Statement"][0]["Principal"]["Service"]
        for each in roles(program(disk, region))
    }
    assert trusted == {principal, "scheduler.amazonaws.com"}


def test_an_arn_of_another_partition_is_refused(disk: Path) -> None:
    """AWS would refuse it half-way through the first deploy; all of them are to be told together."""
    with pytest.raises(InputError) as caught:
        program(
            disk,
            "cn-north-1",
            iam={"permissions_boundary": BOUNDARY},
            machine={"policies": ["arn:aws-cn:iam::aws:policy/A", "arn:aws:iam::aws:policy/B"]},
            rollout={"alerts": "arn:aws:sns:cn-north-1:123456789012:deploys"},
            tags={"role": "arn:aws:iam::aws:policy/a-tag-may-be-anything"},
        )
    told = str(caught.value)
    assert "fleetswap:iam.permissions_boundary: is an ARN of partition aws, and cn-north-1 is in aws-cn" in told
    assert "fleetswap:machine.policies[1]: is" in told
    assert "fleetswap:rollout.alerts: is" in told
    assert told.count("is an ARN of") == 3


KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def test_a_key_encrypts_the_volumes_of_new_releases(disk: Path) -> None:
    """A company whose volumes need its own key could not deploy; or a running release would change its template."""
    before = program(disk)
    moved = program(disk, ledger=before.outputs["ledger"], machine={"kms_key": KEY})
    keys = {}
    for each in moved.of("LaunchTemplate"):
        (device,) = each.inputs["blockDeviceMappings"]
        assert device["ebs"]["encrypted"] == "true"
        keys[each.name] = device["ebs"].get("kmsKeyId")
    (old,) = (each.name for each in before.of("Release"))
    assert keys.pop(old) is None
    assert set(keys.values()) == {KEY}


@pytest.mark.parametrize("key", [KEY.replace("us-east-1", "eu-west-1"), KEY.replace("key/", "alias/"), "alias/aws/ebs"])
def test_a_key_that_cannot_be_used_is_refused(disk: Path, key: str) -> None:
    """Every launch would be cancelled, ten minutes into a deploy."""
    with pytest.raises(InputError, match=r"fleetswap:machine\.kms_key"):
        program(disk, machine={"kms_key": key})
