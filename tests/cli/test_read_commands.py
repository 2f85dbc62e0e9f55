"""`fleetswap download` and `fleetswap verify`: what they find, print and leave behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.cli.conftest import CONTENT, Local, Ran
from tests.fakes.ebs import BLOCK, disk_bytes
from tests.fakes.reads import mapped

pytestmark = pytest.mark.usefixtures("endpoint")

Cli = Callable[..., Ran]


def damaged(snapshot_id: str) -> Mapping[int, bytes]:
    held = mapped(CONTENT, snapshot_id=snapshot_id).held
    held[3] = b"\xff" + held[3][1:]
    return held


def lacking(snapshot_id: str) -> Mapping[int, bytes]:
    held = mapped(CONTENT, snapshot_id=snapshot_id).held
    del held[3]
    return held


def bare(_: str) -> Mapping[int, bytes]:
    held = mapped(CONTENT).held
    del held[2047]
    return held


def test_a_download_is_the_image_and_its_name_is_the_result(cli: Cli, whole: str, tmp_path: Path) -> None:
    """A script could not take the file's name from standard output, or the file would not be the image."""
    file = tmp_path / "back.raw"
    ran = cli("download", whole, file)
    assert (ran.status, ran.out) == (0, f"{file}\n")
    assert f"downloaded snapshot {whole} to {file} (4.7 MB), every block matches its block map: 4.7 MB in " in ran.err
    assert file.read_bytes() == CONTENT


def test_the_json_of_a_download(cli: Cli, whole: str, tmp_path: Path) -> None:
    """A tool could not read the figures."""
    file = tmp_path / "back.raw"
    ran = cli("download", whole, file, "--json", "--quiet")
    assert (ran.status, ran.err) == (0, "")
    seconds = ran.result.pop("seconds")
    assert isinstance(seconds, float)
    assert {key: value for key, value in ran.result.items() if key != "seconds"} == {
        "snapshot_id": whole,
        "file": str(file),
        "size": len(CONTENT),
        "volume_gib": 1,
        "map_problem": None,
        "blocks_read": 9,
        "bytes_read": 9 * BLOCK,
        "throttled": 0,
        "retried": 0,
    }


def test_a_file_is_replaced_only_by_force(cli: Cli, whole: str, tmp_path: Path) -> None:
    """A disk would be lost by a mistyped name."""
    file = tmp_path / "back.raw"
    file.write_text("mine")
    ran = cli("download", whole, file)
    assert (ran.status, ran.out, file.read_text()) == (2, "", "mine")
    assert "--force" in ran.error
    assert cli("download", whole, file, "--force").status == 0
    assert file.read_bytes() == CONTENT


def test_the_whole_volume(cli: Cli, whole: str, local: Local, tmp_path: Path) -> None:
    """What lies past the image could not be had, or a snapshot without a map not be read."""
    assert cli("download", whole, tmp_path / "volume.raw", "--whole-volume").status == 0
    without = local.hold(bare)
    ran = cli("download", without, tmp_path / "bare.raw")
    assert ran.status == 0
    assert "block map" in ran.err
    assert "the whole volume is downloaded" in ran.err
    for name in ("volume.raw", "bare.raw"):
        assert (tmp_path / name).stat().st_size == 1 << 30
        with (tmp_path / name).open("rb") as file:
            assert file.read(len(CONTENT)) == CONTENT


@pytest.mark.parametrize("make", [damaged, lacking])
def test_a_damaged_snapshot_gives_no_file(
    cli: Cli, local: Local, tmp_path: Path, make: Callable[[str], Mapping[int, bytes]]
) -> None:
    """A damaged disk would be booted from."""
    ran = cli("download", local.hold(make), tmp_path / "back.raw")
    assert (ran.status, ran.out) == (4, "")
    assert "block 3 (byte 1572864)" in ran.error
    assert not [path for path in tmp_path.iterdir() if path.name != "home"]


def test_a_refused_download_leaves_no_file(cli: Cli, local: Local, whole: str, tmp_path: Path) -> None:
    """Half a file would be left, or a user not know what to allow."""
    local.fault(fault="access-denied", service="ebs", operation="GetSnapshotBlock", after=4)
    ran = cli("download", whole, tmp_path / "back.raw")
    assert ran.status == 1
    assert "ebs:GetSnapshotBlock" in ran.error
    assert not [path for path in tmp_path.iterdir() if path.name != "home"]


def test_a_good_snapshot(cli: Cli, whole: str, image: Path) -> None:
    """A good snapshot would be called bad."""
    ran = cli("verify", whole)
    assert (ran.status, ran.out) == (0, f"{whole} is intact: 9 blocks, all match its block map\n")
    ran = cli("verify", whole, image)
    assert ran.status == 0
    assert ran.out == f"{whole} is intact: 9 blocks, all match its block map and web-1.0.raw\n"
    ran = cli("verify", whole, image, "-q", "--json")
    assert (ran.status, ran.err) == (0, "")
    expected = {"matches": True, "map_problem": None, "size": len(CONTENT), "blocks_read": 9, "blocks_lacking": 0}
    assert ran.result.items() >= expected.items()
    assert ran.result["differences"] == []


def test_a_flipped_byte_has_a_status_of_its_own_and_is_named(cli: Cli, local: Local, image: Path) -> None:
    """A damaged snapshot would pass, or look like an outage."""
    snapshot_id = local.hold(damaged)
    ran = cli("verify", snapshot_id)
    assert ran.status == 4
    assert ran.out == "block 3 (byte 1572864) differs from the block map\n"
    assert ran.error == (f"snapshot {snapshot_id} does not match: 1 differing block, the first at byte 1572864")
    ran = cli("verify", snapshot_id, image, "--json")
    assert ran.status == 4
    assert ran.error
    assert (ran.result["matches"], ran.result["differing"]) == (False, 1)
    (difference,) = ran.result["differences"]
    assert (difference["index"], difference["offset"]) == (3, 1572864)


def test_a_lacking_block(cli: Cli, local: Local) -> None:
    """A block that would be garbage on an encrypted volume would not be missed."""
    ran = cli("verify", local.hold(lacking))
    assert ran.status == 4
    assert "block 3 (byte 1572864) is missing from the snapshot, but the block map has it" in ran.out


def test_a_wrong_file(cli: Cli, whole: str, tmp_path: Path) -> None:
    """A snapshot of another image would pass; or hundreds of lines hide what matters."""
    other = tmp_path / "other.raw"
    other.write_bytes(disk_bytes(["data"], 30 * BLOCK, seed=8))
    ran = cli("verify", whole, other)
    assert ran.status == 4
    assert f"the image has {len(CONTENT)} bytes, but the disk in other.raw has {30 * BLOCK}" in ran.error
    assert ran.out.count("differs from other.raw") == 9
    assert "9 differing blocks, the first at byte " in ran.error


def test_without_a_map_it_is_said_what_was_not_compared(cli: Cli, local: Local, image: Path) -> None:
    """A user would take readable blocks for right ones."""
    snapshot_id = local.hold(bare)
    ran = cli("verify", snapshot_id)
    assert ran.status == 0
    assert ran.out.splitlines() == [
        f"{snapshot_id} was not compared with its block map: the map is missing",
        f"{snapshot_id} is intact: 9 blocks, all readable, with nothing to compare them with",
    ]
    ran = cli("verify", snapshot_id, image)
    assert ran.status == 0
    assert "9 blocks, all match web-1.0.raw" in ran.out


def test_skipped_holes_are_told(cli: Cli, local: Local, image: Path) -> None:
    """A user would not learn that the snapshot is not for encrypted volumes."""
    snapshot_id = local.hold(lambda name: mapped(CONTENT, holes=(1, 4), snapshot_id=name).held)
    ran = cli("verify", snapshot_id, image)
    assert ran.status == 0
    assert "2 blocks of the image are not in the snapshot (skipped holes)" in ran.out


def test_throttles_and_failures_are_gone_through(cli: Cli, local: Local, whole: str) -> None:
    """A snapshot could not be read back on a bad day."""
    local.fault(fault="throttle", service="ebs", operation="GetSnapshotBlock", count=3, after=2)
    local.fault(fault="cut-in-body", service="ebs", operation="GetSnapshotBlock", count=2, after=2)
    local.fault(fault="error-503", service="ebs", operation="ListSnapshotBlocks", count=1)
    local.fault(fault="empty-page", service="ebs", operation="ListSnapshotBlocks", count=2)
    ran = cli("verify", whole, "--json")
    assert (ran.status, ran.result["matches"]) == (0, True)
    assert ran.result["throttled"] <= 3
    assert ran.result["retried"] >= 3


def test_block_tokens_that_have_grown_old_are_asked_for_anew(cli: Cli, local: Local, whole: str) -> None:
    """A read would fail after a week, or as soon as somebody else lists the snapshot."""
    local.fault(fault="token-seconds", service="ebs", operation="ListSnapshotBlocks", seconds=0.0, count=1, after=3)
    ran = cli("verify", whole, "--json")
    assert (ran.status, ran.result["matches"]) == (0, True)
    assert ran.result["retried"] == 9


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["verify", "ami-1"], 2, "'ami-1' is not a snapshot ID (snap-…)"),
        (["verify", "snap-1", "absent.raw"], 2, "absent.raw"),
        (["verify", "snap-00000000000000000"], 1, "snap-00000000000000000"),
        (["verify", "snap-1", "a", "b"], 2, "see `fleetswap verify --help`"),
        (["download", "snap-1"], 2, "see `fleetswap download --help`"),
        (["download", "ami-1", "x.raw"], 2, "'ami-1' is not a snapshot ID (snap-…)"),
        (["download", "snap-00000000000000000", "x.raw"], 1, "snap-00000000000000000"),
        (["download", "snap-1", "absent/x.raw"], 2, "there is no folder"),
        (["download", "snap-1", "."], 2, "not a regular file"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int, told: str
) -> None:
    """A mistake would end in a traceback or another exit status, or leave a file."""
    monkeypatch.chdir(tmp_path)
    ran = cli(*arguments)
    assert (ran.status, ran.out) == (status, "")
    assert told in ran.error
    assert len(ran.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize("name", ["-", "two\nlines.raw"])
def test_a_file_that_is_none_for_the_result_is_refused(cli: Cli, whole: str, tmp_path: Path, name: str) -> None:
    """A file called `-` would be made where a pipe was meant, or the result be two lines."""
    ran = cli("download", whole, name if name == "-" else tmp_path / name)
    assert (ran.status, ran.out) == (2, "")
    assert "name" in ran.error
    assert list(tmp_path.glob("*lines*")) == []
    assert not Path("-").exists()
