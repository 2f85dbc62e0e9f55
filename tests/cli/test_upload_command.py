"""`fleetswap upload`: what it makes, what it prints, and how it refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetswap.cli.options import lineage
from fleetswap.domain.errors import CloudError
from fleetswap.workflows.image import ship
from fleetswap.workflows.image import upload as workflow
from tests.cli.conftest import CONTENT, NOBODY, Local, Ran
from tests.fakes.ebs import BLOCK

pytestmark = pytest.mark.usefixtures("endpoint")

Cli = Callable[..., Ran]

FIGURES = {
    "file": str,
    "format": str,
    "size": int,
    "identity": str,
    "stack": str,
    "lineage": str,
    "region": str,
    "snapshot_id": str,
    "volume_gib": int,
    "blocks": int,
    "bytes_sent": int,
    "seconds": float,
    "adopted": bool,
    "blocks_sent": int,
    "parent": str | None,
    "throttled": int,
    "retried": int,
    "resumed": bool,
}


def test_the_id_alone_is_the_result_and_the_summary_goes_beside(cli: Cli, local: Local, image: Path) -> None:
    """A script could not take the snapshot's id from standard output, or a person would not see what was done."""
    ran = cli(
        "upload",
        image,
        "--stack",
        "plain",
        "--no-parent",
        "--tag",
        "Name=web",
        "--tag",
        "Owner=me=you",
        "--description",
        "a web",
    )
    assert ran.status == 0
    (about,) = local.snapshots(stack="plain")
    assert ran.out == f"{about['SnapshotId']}\n"
    tags = {tag["Key"]: tag["Value"] for tag in about["Tags"]}
    assert tags.items() >= {"Name": "web", "Owner": "me=you", "fleetswap:lineage": "web"}.items()
    assert (about["State"], about["Description"], about["Encrypted"]) == ("completed", "a web", False)
    assert (
        f"uploaded web-1.0.raw to snapshot {about['SnapshotId']} (1 GiB): 9 blocks, 10 sent including the block map"
        in ran.err
    )


def test_json_has_every_figure_and_the_next_image_sends_only_what_changed(cli: Cli, local: Local, image: Path) -> None:
    """A tool could not read the figures; or each upload would send everything, or the same image twice."""
    first = cli("upload", image, "--stack", "json", "--lineage", "one", "--json", "--quiet")
    assert (first.status, first.err) == (0, "")
    result = first.result
    assert {name: isinstance(result[name], kind) for name, kind in FIGURES.items()} == dict.fromkeys(FIGURES, True)
    assert set(result) == set(FIGURES)
    assert (result["size"], result["format"], result["blocks"], result["blocks_sent"]) == (len(CONTENT), "raw", 9, 10)
    again = cli("upload", image, "--stack", "json", "--lineage", "one", "--json").result
    assert (again["snapshot_id"], again["adopted"], again["blocks_sent"]) == (result["snapshot_id"], True, 0)
    changed = image.with_name("web-1.1.raw")
    changed.write_bytes(CONTENT[: 4 * BLOCK] + b"new" + CONTENT[4 * BLOCK + 3 :])
    child = cli("upload", changed, "--stack", "other", "--trust-stack", "json", "--lineage", "one", "--json").result
    assert (child["parent"], child["blocks_sent"], child["adopted"]) == (result["snapshot_id"], 2, False)
    whole = cli("upload", changed, "--stack", "third", "--lineage", "one", "--no-parent", "--json").result
    assert (whole["parent"], whole["blocks_sent"]) == (None, 10)
    named = cli("upload", image, "--stack", "fourth", "--parent", child["snapshot_id"], "--json").result
    assert (named["parent"], named["blocks_sent"]) == (child["snapshot_id"], 2)
    assert [each["State"] for each in local.snapshots(lineage="one")] == ["completed"] * 3


def test_several_regions_have_a_line_each_and_one_that_is_down_is_resumed(
    cli: Cli, local: Local, image: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script would not know what is where, or a region that is down would keep the image from the others."""
    monkeypatch.setattr(workflow, "FIRST_PATIENCE_SECONDS", 0.5)
    regions = ("--region", "us-east-1", "--region", "eu-west-1", "--endpoint-url", endpoint, "--endpoint-url", NOBODY)
    told = cli("upload", image, *regions)
    before = local.snapshots()
    (name, snapshot_id) = told.out.split()
    assert (told.status, name) == (1, "us-east-1")
    assert snapshot_id in [each["SnapshotId"] for each in before]
    assert "1 of 2 regions without a snapshot of the image: eu-west-1: " in told.error
    assert told.error.endswith(": run the command again to resume")
    again = cli("upload", image, *regions, "--json")
    assert [json.loads(line)["adopted"] for line in again.out.splitlines()] == [True]
    assert (len(local.snapshots()), again.status) == (len(before), 1)


def test_which_endpoint_is_whose_must_be_clear(cli: Cli, image: Path) -> None:
    """A region's image would go to another region's endpoint."""
    twice = ("--endpoint-url", NOBODY, "--endpoint-url", NOBODY)
    told = cli("upload", image, "--region", "us-east-1", *twice)
    assert (told.status, "given 2 times, and --region 1 times" in told.error) == (2, True)
    told = cli("upload", image, "--region", "us-east-1", "--region", "us-east-1")
    assert (told.status, "given twice" in told.error) == (2, True)


def test_a_parent_that_cannot_be_trusted_is_an_error_if_it_was_named(cli: Cli, local: Local, image: Path) -> None:
    """--parent would be ignored silently."""
    bare = local.hold(lambda _: {0: CONTENT[:BLOCK]})
    ran = cli("upload", image, "--stack", "distrust", "--parent", bare)
    assert ran.status == 2
    assert f"snapshot {bare} cannot be the parent: its block map is missing" in ran.error
    assert local.snapshots(stack="distrust") == []


def test_encryption_identity_holes_and_another_folder(cli: Cli, local: Local, image: Path, tmp_path: Path) -> None:
    """An option would be forgotten on the way."""
    os.truncate(image, 0)
    with image.open("r+b") as file:
        file.write(CONTENT[:BLOCK])
        file.truncate(len(CONTENT))
    options = ["--encrypted", "--identity", "what it is", "--sparse", "holes", "--journal", tmp_path / "journal"]
    ran = cli("upload", image, "--stack", "options", *options, "--json", "--connections", 2, "--samples", 0)
    assert (ran.result["identity"], ran.result["blocks_sent"]) == ("what it is", 2)
    assert "to name it by its content" not in ran.err
    (about,) = local.snapshots(stack="options")
    assert about["Encrypted"]
    assert (tmp_path / "journal").is_dir()


def test_a_key_implies_encryption(cli: Cli, local: Local, image: Path) -> None:
    """--kms-key alone would be refused, or leave a plain snapshot."""
    key = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    ran = cli("upload", image, "--stack", "key", "--kms-key", key)
    assert ran.status == 1
    assert key in ran.error
    assert local.snapshots(stack="key") == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["upload", "absent.raw"], "absent.raw"),
        (["upload", "IMAGE", "--tag", "novalue"], "KEY=VALUE"),
        (["upload", "IMAGE", "--tag", "=novalue"], "KEY=VALUE"),
        (["upload", "IMAGE", "--tag", "a=1", "--tag", "a=2"], "given twice"),
        (["upload", "IMAGE", "--tag", "fleetswap:stack=x"], "is reserved"),
        (["upload", "IMAGE", "--tag", "aws:x=x"], "is reserved"),
        (["upload", "IMAGE", "--parent", "snap-1", "--no-parent"], "does not take --parent"),
        (["upload", "IMAGE", "--parent", "vol-1"], "'vol-1' is not a snapshot ID"),
        (["upload", "IMAGE", "--kms-key", "alias/mine"], "not the ARN of a key"),
        (["upload", "IMAGE", "--stack", ""], "name of its stack"),
        (["upload", "IMAGE", "--stack", " "], "name of its stack"),
        (["upload", "IMAGE", "--identity", ""], "identity of its image"),
        (["upload", "IMAGE", "--identity", " "], "identity of its image"),
        (
            ["upload", "IMAGE", "--description", "x" * 256],
            "the description has 256 characters, but at most 255 are allowed",
        ),
        (["upload", "IMAGE", *(f"--tag=k{number}=v" for number in range(46))], "50 tags at most, 5 of them ours"),
        (["upload", "IMAGE", "--tag", "k" * 128 + "=v"], "is too long: a key may have 127 characters"),
        (["upload", "IMAGE", "--tag", "k=" + "v" * 256], "tag k is too long"),
        (["upload", "IMAGE", "--identity", "x" * 256], "tag fleetswap:image is too long"),
        (["upload", "IMAGE", "--tag", "k=\udcff"], "is not UTF-8 text"),
        (["upload", "IMAGE", "--sparse", "some"], "Invalid value for '--sparse': 'some' is not one of"),
        (["upload", "IMAGE", "--samples", "-1"], "see `fleetswap upload --help`"),
        (["upload", "IMAGE", "--connections", "0"], "see `fleetswap upload --help`"),
        (["upload", "IMAGE", "--colour"], "--colour"),
        (["upload", "IMAGE", "more"], "see `fleetswap upload --help`"),
        (["upload", "IMAGE", "--region", "mars"], "'mars' is not the name of an AWS region, such as us-east-1"),
        (["upload", "IMAGE", "--endpoint-url", "localhost"], "--endpoint-url localhost is not a URL"),
        (["uplaod", "IMAGE"], "uplaod"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_with_status_2(
    cli: Cli, local: Local, image: Path, arguments: list[str], told: str
) -> None:
    """A mistake would end in a traceback, in another exit status, or after something was made."""
    before = len(local.snapshots())
    ran = cli(*(image if each == "IMAGE" else each for each in arguments))
    assert (ran.status, ran.out) == (2, "")
    assert told in ran.error
    assert len(ran.err.splitlines()) == 1
    assert len(local.snapshots()) == before


def test_what_is_no_disk_is_refused(cli: Cli, tmp_path: Path) -> None:
    """Something that no machine boots from would be uploaded."""
    path = tmp_path / "notes.raw"
    path.write_text("hello")
    ran = cli("upload", path)
    assert ran.status == 2
    assert "notes.raw" in ran.error


def test_a_data_volume_is_sent_if_it_is_called_one(cli: Cli, local: Local, tmp_path: Path) -> None:
    """A file system on a bare disk, which coldsnap takes, could not be sent, or would go as if it were a system."""
    path = tmp_path / "data.img"
    path.write_bytes(bytes(1080) + b"\x53\xef" + b"d" * (2 * BLOCK - 1082))
    ran = cli("upload", path, "--stack", "data")
    assert (ran.status, local.snapshots(stack="data")) == (2, [])
    assert "--data" in ran.error
    ran = cli("upload", path, "--stack", "data", "--data", "--json")
    assert (ran.status, ran.result["blocks"]) == (0, 2)
    assert cli("verify", ran.result["snapshot_id"], path).status == 0


def test_a_disk_that_boots_nowhere_is_warned_of(cli: Cli, image: Path) -> None:
    """Who uploads for BIOS machines may; who did not mean to would learn it from machines that never answer."""
    content = bytearray(image.read_bytes())
    content[450] = 0x83
    image.write_bytes(content)
    ran = cli("upload", image, "--stack", "bios")
    assert ran.status == 0
    assert ran.err.splitlines()[0] == (
        "warning: web-1.0.raw has no EFI system partition, so it does not boot with UEFI"
    )


def test_a_name_that_is_no_text_is_no_obstacle(cli: Cli, local: Local, image: Path) -> None:
    """A file whose name is not UTF-8 would end in a traceback after all of it was read; a newline break the lines."""
    path = image.rename(image.with_name(os.fsdecode(b"caf\xe9\n-1.0.raw")))
    ran = cli("upload", path, "--stack", "bytes")
    assert ran.status == 0
    (about,) = local.snapshots(stack="bytes")
    assert ran.out == f"{about['SnapshotId']}\n"
    assert {tag["Key"]: tag["Value"] for tag in about["Tags"]}["fleetswap:lineage"] == "caf"
    assert "uploaded caf\\udce9\\n-1.0.raw to snapshot" in ran.err


def test_no_region_no_credentials_and_no_profile(cli: Cli, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A beginner would not know what to set, or only after a large file was read."""
    monkeypatch.delenv("AWS_REGION")
    ran = cli("upload", image)
    assert (ran.status, ran.error) == (2, "no AWS region: use --region, or set AWS_REGION")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    ran = cli("upload", image)
    assert ran.status == 2
    assert "AWS_SECRET_ACCESS_KEY" in ran.error
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    ran = cli("upload", image)
    assert (ran.status, ran.error) == (
        2,
        "no AWS credentials: set AWS_PROFILE, or log in with `aws sso login`",
    )
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    ran = cli("upload", image)
    assert ran.status == 2
    assert "nobody" in ran.error


def test_a_refusal_names_the_permission_and_leaves_nothing(cli: Cli, local: Local, image: Path) -> None:
    """A user would not know what to allow, or would pay for an unfinished snapshot."""
    local.fault(fault="access-denied", service="ebs", operation="PutSnapshotBlock")
    ran = cli("upload", image, "--stack", "denied")
    assert ran.status == 1
    assert "ebs:PutSnapshotBlock" in ran.error
    assert local.snapshots(stack="denied") == []


def test_throttles_and_failures_are_counted(cli: Cli, local: Local, image: Path) -> None:
    """An upload would fail on a bad day, or not tell why it was slow."""
    local.fault(fault="throttle", service="ebs", operation="PutSnapshotBlock", count=3)
    local.fault(fault="error-500", service="ebs", operation="PutSnapshotBlock", count=2, after=3)
    ran = cli("upload", image, "--stack", "faults", "--no-parent", "--json")
    assert ran.status == 0
    assert ran.result["throttled"] == 3
    assert ran.result["retried"] == 5
    assert "3 throttled, 2 failed and retried" in ran.err


def test_an_unknown_region_is_named_when_it_does_not_answer(
    cli: Cli, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistyped region would look like an outage."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")

    def silent(*_: object, **__: object) -> None:
        raise CloudError("looking for snapshots: could not connect")

    monkeypatch.setattr(ship, "upload", silent)
    ran = cli("upload", image, "--region", "us-east-9")
    assert ran.status == 1
    assert "check the region's name" in ran.error
    assert "a region?" not in cli("upload", image, "--region", "eu-north-1").error


def test_what_could_not_be_cleaned_up_is_named_after_an_interrupt(
    cli: Cli, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C would hide that an unfinished snapshot is left."""

    def interrupted(*_: object, **__: object) -> None:
        error = KeyboardInterrupt()
        error.add_note("snapshot snap-1 could not be deleted")
        raise error

    monkeypatch.setattr(ship, "upload", interrupted)
    ran = cli("upload", image)
    assert (ran.status, ran.error) == (130, "interrupted; snapshot snap-1 could not be deleted")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("web.raw", "web"),
        ("web-1.4.2.raw", "web"),
        ("web-v2.qcow2", "web"),
        ("web_2026-11-24.vhd", "web"),
        ("web-1.4.2", "web"),
        ("web", "web"),
        ("nixos-25.05.20261101.3f2a9c1-x86_64-linux.raw", "nixos-x86_64-linux"),
        ("web-3f2a9c1e.raw", "web"),
        ("web-facade.raw", "web-facade"),
        ("web-1.raw", "web"),
        ("1.2.3.raw", "1.2.3"),
        ("debian-12-generic-amd64.qcow2", "debian-generic-amd64"),
        (".raw", "raw"),
    ],
)
def test_versions_of_an_image_are_of_one_lineage(name: str, wanted: str) -> None:
    """Each version would be sent whole, or images that have nothing in common be each other's parents."""
    assert lineage(Path("folder-1.0") / name) == wanted


def test_a_dry_run_says_what_the_upload_then_sends_and_creates_nothing(cli: Cli, local: Local, image: Path) -> None:
    """Nobody could see what an image would move before it is moved; or asking would start a snapshot."""
    options = ("--stack", "dry", "--lineage", "dry")
    planned = cli("upload", image, *options, "--dry-run", "--json", "--quiet").result
    assert local.snapshots(stack="dry") == []
    assert (planned["blocks"], planned["blocks_sent"], planned["parent"], planned["adopted"]) == (9, 10, None, None)
    assert (planned["seconds"], planned["bytes_sent"]) == (0.01, 10 * BLOCK)
    assert planned["request_dollars"] == pytest.approx(10 * 0.006 / 1000)
    first = cli("upload", image, *options, "--json").result
    changed = image.with_name("web-1.1.raw")
    changed.write_bytes(CONTENT[: 4 * BLOCK] + b"new" + CONTENT[4 * BLOCK + 3 :])
    ran = cli("upload", changed, *options, "--dry-run")
    assert (ran.status, ran.out) == (0, "2\n")
    assert (
        f"web-1.1.raw: 2 blocks to send (the image has 9; the others are in {first['snapshot_id']}): 1 MiB" in ran.err
    )
    assert cli("upload", changed, *options, "--json").result["blocks_sent"] == 2
    refused = cli("upload", changed, "--dry-run", "--tag", "a=b")
    assert refused.error == "`fleetswap upload --dry-run` does not take --tag (see `fleetswap upload --help`)"


def test_a_file_with_its_closure_beside_it_has_a_manifest(cli: Cli, local: Local, image: Path) -> None:
    """What CI builds and uploads would have no manifest, and a damaged closure be shipped as none."""
    support = image.parent / "nix-support"
    support.mkdir()
    root = "/nix/store/0c1a2b3d4f5g6h7i8j9k0l1m2n3p4q5r-nixos-system-web-25.11"
    paths = [{"path": root, "narHash": "sha256:x", "narSize": 1, "references": []}]
    (support / "closure.json").write_text(json.dumps({"version": 1, "root": root, "paths": paths}))
    made = cli("upload", image, "--stack", "beside", "--json").result
    assert (made["blocks"], made["blocks_sent"]) == (9, 11)
    checked = cli("verify", made["snapshot_id"], image, "--json").result
    assert (checked["matches"], checked["manifest"]) == (True, True)
    (support / "closure.json").write_text("{}")
    damaged = cli("upload", image, "--stack", "damaged")
    assert damaged.status == 2
    assert "closure.json cannot be read" in damaged.error
    assert local.snapshots(stack="damaged") == []
