"""The provider of the disk image, against the strict local cloud: found again, shared, refused, and gone."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fleetswap.aws.image.block_writer import BlockPuts
from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.aws.session import Cloud
from fleetswap.domain.boot.health import Check
from fleetswap.domain.boot.machine import Hardware
from fleetswap.domain.boot.measured import measurements
from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.image.blocks import digest, linear_checksum
from fleetswap.domain.image.evaluation import Evaluation
from fleetswap.domain.image.snapshots import Start
from fleetswap.domain.rollout.health import Answer
from fleetswap.nix import build
from fleetswap.nix import source as nix_source
from fleetswap.workflows.boot_test import Unhealthy
from fleetswap.workflows.image import acquire, upload
from fleetswap.workflows.image.image_file import ImageFile, identify
from fleetswap_pulumi import boot_test, disk_image, project
from fleetswap_pulumi.disk_image import DiskImageProvider
from localcloud.server import LocalCloud
from tests.boot.executables import uki
from tests.boot.world import World
from tests.fakes.ebs import BLOCK, disk_file, nothing
from tests.fakes.reads import mapped
from tests.image.test_boot import disk_with
from tests.localcloud.clients import Clients

provider = DiskImageProvider()


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return disk_file(tmp_path / "disk.raw")


def inputs(cloud: LocalCloud, disk: Path, **changes: Any) -> dict[str, Any]:
    """As they arrive in the provider: what is None is left out."""
    return {
        "schema_version": 1,
        "stack": "fleetswap/test",
        "release": "web-00000001",
        "region": "us-east-1",
        "endpoint": cloud.endpoint,
        "identity": identify(disk),
        "file": str(disk),
        "changes": [],
        "tags": {"Name": "web-00000001", "fleetswap:stack": "fleetswap/test", "fleetswap:service": "web"},
    } | changes


def test_a_repeat_finds_the_snapshot_that_is_there(cloud: LocalCloud, disk: Path) -> None:
    """A deploy that died after the upload would upload again, and leave a snapshot that nobody owns."""
    first = provider.create(inputs(cloud, disk))
    again = provider.create(inputs(cloud, disk))
    assert again.id == first.id
    assert (first.outs or {})["adopted"] is False
    assert (again.outs or {})["adopted"] is True


def test_ctrl_c_ends_an_upload_and_leaves_nothing(
    cloud: LocalCloud, clients: Clients, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deploy that was cancelled would upload for minutes more, or leave an unfinished snapshot that is paid for."""

    @contextmanager
    def cancelled(told: Callable[[], None]) -> Iterator[bool]:
        told()
        yield True

    monkeypatch.setattr(disk_image, "hear", cancelled)
    with pytest.raises(FleetswapError, match=r"^cancelled before the image was uploaded"):
        provider.create(inputs(cloud, disk))
    assert clients.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []


def test_other_places_get_the_image_with_the_first(
    cloud: LocalCloud, disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each region would read, hash and send the image by itself, or one that is down would fail the first one's."""
    monkeypatch.setattr(upload, "FIRST_PATIENCE_SECONDS", 0.5)
    asked = inputs(cloud, disk)
    there = asked | {"stack": "fleetswap/there", "tags": {**asked["tags"], "fleetswap:stack": "fleetswap/there"}}
    place = {key: there[key] for key in ("region", "endpoint", "stack", "tags")}
    down = place | {"region": "eu-central-1", "endpoint": "http://127.0.0.1:1"}
    unusable = place | {"region": "eu-west-1", "access": {"profile": "nobody"}}
    made = provider.create(asked | {"also": [down, unusable, place]})
    assert ((made.outs or {})["adopted"], (made.outs or {})["region"]) == (False, "us-east-1")
    told = capsys.readouterr().err
    first, second = (next(line for line in told.splitlines() if line.startswith(name)) for name in ("eu-c", "eu-w"))
    assert first.startswith("eu-central-1: the image is not there yet: ")
    assert second.startswith("eu-west-1: the image is not there yet: ")
    assert "nobody" in second
    assert all(line.endswith(": the next pulumi up resumes it") for line in (first, second))
    own = provider.create(there)
    assert (own.id != made.id, (own.outs or {})["adopted"]) == (True, True)


def test_a_snapshot_that_an_ami_uses_stays(cloud: LocalCloud, clients: Clients, disk: Path) -> None:
    """Forgetting one of two releases of an image would fail for ever, or take the other's disk away."""
    made = provider.create(inputs(cloud, disk))
    ami = clients.ec2.register_image(
        Name="web",
        RootDeviceName="/dev/xvda",
        Architecture="x86_64",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": made.id}}],
    )["ImageId"]
    provider.delete(made.id, made.outs or {})
    assert provider.read(made.id, made.outs or {}).id == made.id
    clients.ec2.deregister_image(ImageId=ami)
    provider.delete(made.id, made.outs or {})
    assert provider.read(made.id, made.outs or {}).id == ""
    provider.delete(made.id, made.outs or {})


def test_tags_change_in_place(cloud: LocalCloud, clients: Clients, disk: Path) -> None:
    """A new cost tag would upload every image anew, or an old one would stay for ever."""
    old = inputs(cloud, disk)
    made = provider.create(old)
    new = old | {"tags": {**old["tags"], "team": "web"}}
    del new["tags"]["Name"]
    assert provider.diff(made.id, made.outs or {}, new).replaces == []
    updated = provider.update(made.id, made.outs or {}, new)
    (snapshot,) = clients.ec2.describe_snapshots(SnapshotIds=[made.id])["Snapshots"]
    tags = {tag["Key"]: tag["Value"] for tag in snapshot["Tags"]}
    assert tags["team"] == "web"
    assert "Name" not in tags
    assert (updated.outs or {})["snapshot_id"] == made.id


def tags_of(clients: Clients, snapshot_id: str) -> dict[str, str]:
    (snapshot,) = clients.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    return {tag["Key"]: tag["Value"] for tag in snapshot["Tags"]}


def backup(cloud: LocalCloud, disk: Path, tags: dict[str, str], *, complete: bool = True) -> str:
    """What a backup tool makes of a machine's volume: other bytes, the image's map, and the volume's tags."""
    aws = Cloud("us-east-1", cloud.endpoint)
    ebs, ec2 = aws.ebs_and_ec2(1)
    port, line = DirectSnapshots(ebs, ec2), BlockPuts.of(aws, ebs).connect()
    snapshot_id = port.start(Start(disk.stem, 1, tags, "a backup", encrypted=False, kms_key=None)).snapshot_id
    held = mapped(disk.read_bytes(), snapshot_id="snap-0ld", identity=identify(disk)).held | {1: b"s" * BLOCK}
    for index, block in held.items():
        line.put(snapshot_id, index, block, digest(block), nothing)
    line.close()
    if complete:
        port.complete(snapshot_id, len(held), linear_checksum(digest(held[index]) for index in sorted(held)))
        while not port.describe(snapshot_id).completed:
            pass
    return snapshot_id


def test_a_backup_of_a_machine_is_neither_deployed_nor_deleted(
    cloud: LocalCloud, clients: Clients, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that comes back would run a backup of some machine, and take the backup away when it goes."""
    monkeypatch.setattr(acquire, "GONE_SECONDS", 1.0)  # the second upload finds the token of what was deleted
    asked = inputs(cloud, disk)
    asked["tags"]["fleetswap:image"] = asked["identity"]
    first = provider.create(asked)
    made = time.monotonic()
    copied = {key: value for key, value in asked["tags"].items() if key != "Name"}
    kept = backup(cloud, disk, copied)
    pending = backup(cloud, disk.rename(disk.with_name("other.raw")), copied | {"Name": "web"}, complete=False)
    disk.with_name("other.raw").rename(disk)
    assert provider.create(asked).id == first.id
    provider.delete(first.id, first.outs or {})
    # A younger one would be waited for like a new one, for two minutes.
    time.sleep(max(0.0, acquire.SHARED_SECONDS + 1 - (time.monotonic() - made)))
    second = provider.create(asked)
    outs = second.outs or {}
    assert second.id not in (kept, pending)
    assert (outs["adopted"], outs["blocks_sent"]) == (False, outs["blocks"] + 1)
    provider.delete(kept, asked | {"snapshot_id": kept})  # as the state of an older version has it
    shown = clients.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    found = {each["SnapshotId"]: each["State"] for each in shown}
    assert found == {kept: "completed", pending: "pending", second.id: "completed"}


def test_a_renamed_stack_keeps_its_snapshots(cloud: LocalCloud, clients: Clients, disk: Path) -> None:
    """After `pulumi stack rename` every kept release would have to be built and sent again, and some cannot be."""
    old = inputs(cloud, disk)
    made = provider.create(old)
    tags = {**old["tags"], "fleetswap:stack": "fleetswap/renamed", "fleetswap:image": old["identity"]}
    new = old | {"stack": "fleetswap/renamed", "tags": tags}
    diff = provider.diff(made.id, made.outs or {}, new)
    assert (diff.changes, diff.replaces) == (True, [])
    provider.update(made.id, made.outs or {}, new)
    assert tags_of(clients, made.id)["fleetswap:stack"] == "fleetswap/renamed"
    again = provider.create(new)
    assert (again.id, (again.outs or {})["adopted"]) == (made.id, True)


@pytest.mark.parametrize(
    ("changes", "changed", "replaces"),
    [
        ({}, False, []),
        ({"identity": "sha256:other"}, True, ["identity"]),
        ({"region": "eu-central-1"}, True, ["region"]),
        ({"endpoint": "http://127.0.0.1:1"}, True, []),
        ({"file": "moved.raw"}, True, []),
        ({"lineage": "web", "shipping": {"sparse": "holes"}, "root_gib": 9}, False, []),
        ({"also": [{"region": "eu-central-1", "stack": "fleetswap/test", "tags": {}}]}, False, []),
    ],
)
def test_what_changes_a_snapshot(
    cloud: LocalCloud,
    disk: Path,
    changes: dict[str, Any],
    changed: object,
    replaces: list[str],
) -> None:
    """An image would be shipped again for nothing, or not at all."""
    old = inputs(cloud, disk)
    diff = provider.diff("snap-1", {**old, "snapshot_id": "snap-1"}, old | changes)
    assert (diff.changes, diff.replaces) == (changed, replaces)


@pytest.mark.disks
def test_an_attested_image_says_what_is_measured_of_it(cloud: LocalCloud, tmp_path: Path) -> None:
    """The key policy would not have the release, whether it was just sent, adopted, or declared before it was asked."""
    disk = disk_with(tmp_path / "disk.raw", {"EFI/BOOT/BOOTX64.EFI": uki()}, esp_mib=4)
    values = dict(measurements(uki(), name="x", alone=True))
    plain = inputs(cloud, disk)
    before = provider.create(plain).outs or {}
    assert "measured" not in before
    asked = plain | {"attested": True}
    adopted = provider.create(asked)
    assert ((adopted.outs or {})["adopted"], (adopted.outs or {})["measured"]) == (True, values)
    assert provider.diff(adopted.id, before, asked).changes
    assert (provider.update(adopted.id, before, asked).outs or {})["measured"] == values
    diff = provider.diff(adopted.id, adopted.outs or {}, asked)
    assert (diff.changes, diff.replaces) == (False, [])
    lost = {key: value for key, value in (adopted.outs or {}).items() if key != "measured"}
    assert provider.diff(adopted.id, lost, asked).changes


BOOT_TEST = {
    "timeout": 60,
    "memory": 256,
    "accelerator": "tcg",
    "architecture": "x86_64",
    "boot_mode": "uefi",
    "instance_type": "c7i.large",
    "port": 8080,
    "path": "/healthz",
    "codes": "200",
    "protocol": "http",
    "protocol_version": "http1",
    "healthy": 2,
    "health_timeout": 3,
}


def test_a_boot_test_of_what_is_there_is_no_change(cloud: LocalCloud, disk: Path) -> None:
    """To set `boot_test` would replace the snapshots of what runs, or show a change that is none."""
    old = inputs(cloud, disk)
    for new in (inputs(cloud, disk, boot_test=BOOT_TEST), inputs(cloud, disk, boot_test=BOOT_TEST | {"timeout": 9})):
        assert not provider.diff("snap-1", old, new).changes
        assert not provider.check(old, new).failures
        old = new


def test_an_image_is_uploaded_only_if_its_machine_becomes_healthy(
    cloud: LocalCloud, clients: Clients, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a stack asks for would not be what is booted, or a broken image be uploaded all the same."""
    world = World([Answer(None, "refused")], dies="the machine shut down")
    asked: list[tuple[Hardware, Check]] = []

    class Watched(World):
        def start(self, image: ImageFile, hardware: Hardware, check: Check, status: Callable[[str], None]) -> Any:
            asked.append((hardware, check))
            return world.start(image, hardware, check, status)

    monkeypatch.setattr(boot_test, "QemuMachines", lambda *_: Watched([]))
    monkeypatch.setattr(project, "root", lambda: tmp_path)
    wanted = inputs(cloud, disk, boot_test=BOOT_TEST | {"codes": "204", "instance_type": "m7i.large"})
    with pytest.raises(Unhealthy, match="the machine shut down after"):
        provider.create(wanted)
    assert clients.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []
    assert list((tmp_path / ".work" / "boot-tests").glob("*.console"))
    world.answers, world.dies = [Answer(204)], None
    assert provider.create(wanted).id.startswith("snap-")
    hardware = Hardware("x86_64", "uefi", 256, "m7i.large", "us-east-1")
    assert asked == [(hardware, Check(8080, "/healthz", "204", healthy=2, timeout=3))] * 2


def test_a_boot_test_without_qemu_makes_nothing(
    cloud: LocalCloud, clients: Clients, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image would be uploaded without having been booted. One that has a snapshot needs no QEMU."""
    monkeypatch.setenv("PATH", "/nowhere")
    asked = inputs(cloud, disk, boot_test=BOOT_TEST)
    with pytest.raises(InputError, match="a boot test needs qemu-system-x86_64 and qemu-img, not found on PATH"):
        provider.create(asked)
    assert clients.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []
    first = provider.create(inputs(cloud, disk))
    assert provider.create(asked).id == first.id


def test_an_image_that_is_not_the_previewed_one_is_refused(cloud: LocalCloud, clients: Clients, disk: Path) -> None:
    """Another disk than the one in the preview would be deployed under its name."""
    asked = inputs(cloud, disk)
    disk_file(disk, seed=1)
    with pytest.raises(FleetswapError, match="its source now has identity"):
        provider.create(asked)
    assert clients.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []


def test_a_file_that_is_no_disk_makes_nothing(cloud: LocalCloud, clients: Clients, disk: Path) -> None:
    """A snapshot of a file's bytes would be registered, and fail only when a machine does not boot."""
    asked = inputs(cloud, disk)
    disk.write_bytes(bytes(4 << 20))
    with pytest.raises(InputError, match="not a disk"):
        provider.create(asked)
    assert clients.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []


def test_a_disk_that_no_machine_boots_from_makes_nothing(cloud: LocalCloud, clients: Clients, disk: Path) -> None:
    """An image made for BIOS would be sent, and its machines waited for until the gate gives up."""
    content = bytearray(disk.read_bytes())
    content[450] = 0x83
    disk.write_bytes(content)
    with pytest.raises(InputError, match="has no EFI system partition: machines boot with UEFI"):
        provider.create(inputs(cloud, disk))
    assert clients.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []


def test_an_image_that_says_something_else_than_its_ami_makes_nothing(
    cloud: LocalCloud, clients: Clients, disk: Path
) -> None:
    """A review would have seen one AMI, and its machines would be of another kind, or never boot."""
    (disk.parent / "nix-support").mkdir()
    info = disk.parent / "nix-support/image-info.json"
    info.write_text(json.dumps({"system": "aarch64-linux", "boot_mode": "uefi"}))
    told = r"image-info\.json says Architecture arm64 and not x86_64.* set fleetswap:image\.ami\.architecture: arm64"
    with pytest.raises(InputError, match=told):
        provider.create(inputs(cloud, disk))
    assert clients.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []
    assert provider.create(inputs(cloud, disk, info={"architecture": "arm64"})).id


def test_settings_may_say_something_else_than_the_image(cloud: LocalCloud, disk: Path) -> None:
    """An image could not be deployed that says something wrong of itself."""
    (disk.parent / "nix-support").mkdir()
    info = {"registerImage": {"BootMode": "legacy-bios", "EnaSupport": False}}
    (disk.parent / "nix-support/image-info.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match="EnaSupport false and not true"):
        provider.create(inputs(cloud, disk, asserted=["boot_mode"]))
    assert provider.create(inputs(cloud, disk, asserted=["boot_mode", "ena"])).id


def test_a_disk_is_judged_by_the_boot_mode_of_its_ami(cloud: LocalCloud, disk: Path) -> None:
    """An image for a BIOS could not be deployed; or one without a boot record be sent for a BIOS."""
    content = bytearray(disk.read_bytes())
    content[450] = 0x83
    content[:440] = bytes(440)
    disk.write_bytes(content)
    with pytest.raises(InputError, match="no boot code in its master boot record"):
        provider.create(inputs(cloud, disk, info={"boot_mode": "legacy-bios"}))
    content[0] = 0xEB
    disk.write_bytes(content)
    assert provider.create(inputs(cloud, disk, info={"boot_mode": "legacy-bios"})).id


def test_inputs_of_another_shape_are_told(cloud: LocalCloud, disk: Path) -> None:
    """A state of a newer program would be misread, and its snapshot deleted for it."""
    failures = provider.check({}, inputs(cloud, disk, info={"boot_mode": "bios"})).failures
    assert {failure.property for failure in failures} == {"info"}
    failures = provider.check({}, inputs(cloud, disk, changes="one", nix={"expression": 1})).failures
    assert {failure.property for failure in failures} == {"changes", "nix.expression", "nix.args", "nix.options"}


def test_the_next_image_is_sent_as_a_difference(cloud: LocalCloud, clients: Clients, disk: Path) -> None:
    """Each deploy would send the whole image again, or another service's snapshot would be the parent."""
    first = provider.create(inputs(cloud, disk, lineage="web"))
    other = disk_file(disk.with_name("other.raw"), seed=5)
    provider.create(inputs(cloud, other, lineage="other"))
    content = bytearray(disk.read_bytes())
    content[-1] ^= 1
    disk.write_bytes(content)
    second = provider.create(inputs(cloud, disk, lineage="web"))
    outs = second.outs or {}
    assert outs["parent"] == first.id
    assert outs["blocks_sent"] == 2  # the last block, and the map
    (snapshot,) = clients.ec2.describe_snapshots(SnapshotIds=[second.id])["Snapshots"]
    assert {tag["Key"]: tag["Value"] for tag in snapshot["Tags"]}["fleetswap:lineage"] == "web"


def test_a_root_volume_that_is_too_small_is_refused_in_time(cloud: LocalCloud, clients: Clients, disk: Path) -> None:
    """EC2 would refuse every launch, minutes after the upload."""
    with disk.open("r+b") as file:
        file.truncate(1 << 30)
    with pytest.raises(InputError, match="root_gib is 1, but the volume of the image has 2 GiB"):
        provider.create(inputs(cloud, disk, root_gib=1))
    assert clients.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []


def test_no_link_keeps_a_sent_image_from_the_garbage_collector(
    cloud: LocalCloud, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runner that deploys six times a day would keep six images a day, until its disk is full."""
    roots = tmp_path / "nix"
    monkeypatch.setattr(project, "work", lambda: tmp_path)
    roots.mkdir()
    for release, age in (("web-gone", 3), ("web-failed", 1)):
        (roots / release).symlink_to(disk)
        then = time.time() - age * 86_400
        os.utime(roots / release, (then, then), follow_symlinks=False)
    kept: list[Path] = []
    asked = inputs(cloud, disk, nix={"expression": "x.nix", "args": {}, "options": {}})
    del asked["file"]
    monkeypatch.setattr(nix_source, "evaluate", lambda *_, **__: Evaluation(asked["identity"], str(disk)))

    def realise(_: object, *, root: Path, **__: object) -> Path:
        root.symlink_to(disk)
        kept.append(root)
        return disk

    monkeypatch.setattr(build, "realise", realise)
    provider.create(asked)
    assert {link.name for link in roots.iterdir()} == {"web-failed"}
    assert kept[0].parent == roots, "while it was sent, its link was there"
