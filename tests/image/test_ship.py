"""Shipping, against the strict fake: adopted before anything is made, refused in time, and what is kept until sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fleetswap.domain.boot.measured import measurements
from fleetswap.domain.errors import CloudError, FleetswapError, InputError
from fleetswap.domain.image.manifest import Manifest
from fleetswap.workflows.image.image_file import ImageFile, identify
from fleetswap.workflows.image.ports import Source
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.image.ship import FileSource, Shipped, ship
from tests.boot.executables import uki
from tests.fakes.ebs import BLOCK, FakeClock, FakeSnapshots, disk_file, nothing, read_back
from tests.image.test_boot import disk_with

STORE_PATH = "/nix/store/abc-image"
KEY = "arn:aws:kms:us-east-1:123456789012:key/1"


@dataclass
class Maker:
    """A source that makes the file `path`, which takes it a minute, and remembers what it was asked."""

    path: Path
    clock: FakeClock = field(default_factory=FakeClock)
    makes: str = STORE_PATH
    contains: Manifest | None = None
    asked: list[str] = field(default_factory=list)

    def identity(self) -> str:
        self.asked.append("identity")
        return self.makes

    def bring(self, say: Callable[[str], None]) -> Path:
        self.asked.append("bring")
        self.clock.advance(60)
        say("building")
        return self.path

    def manifest(self) -> Manifest | None:
        return self.contains

    def sent(self) -> None:
        self.asked.append("sent")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return disk_file(tmp_path / "disk.raw")


def shipped(
    port: FakeSnapshots,
    source: Source | Path,
    *,
    clock: FakeClock | None = None,
    request: dict[str, Any] | None = None,
    **options: Any,
) -> Shipped:
    asked = UploadRequest(**({"identity": STORE_PATH, "stack": "demo/local"} | (request or {})))
    said = options.pop("say", nothing)
    return ship(asked, source, port, port, said, clock=clock or FakeClock(), connections=2, **options)


def test_what_was_made_is_in_the_snapshot_and_the_times_are_of_the_clock(disk: Path) -> None:
    """CI would have to build and upload with code of its own, or the two times would be of something else."""
    port, building, clock = FakeSnapshots(), list[str](), FakeClock()
    source = Maker(disk, clock)
    ended = shipped(port, source, clock=clock, building=building.append)
    content = disk.read_bytes()
    assert read_back(port.held[ended.uploaded.snapshot_id], len(content))[: len(content)] == content
    assert ended.build_seconds == 60
    assert ended.upload_seconds == clock.now() - 60 > 0
    assert building == ["building"]
    assert source.asked == ["identity", "bring", "sent"]


def test_a_snapshot_that_is_there_is_adopted_without_its_source(disk: Path) -> None:
    """An older release, whose source is not in the checkout any more, could not be deployed again."""
    port, lines = FakeSnapshots(), list[str]()
    first = shipped(port, Maker(disk)).uploaded
    source = Maker(Path("/gone"), makes="/nix/store/other")
    again = shipped(port, source, say=lines.append)
    assert (again.uploaded.snapshot_id, again.uploaded.adopted) == (first.snapshot_id, True)
    assert (again.build_seconds, again.upload_seconds) == (0, 0)
    assert source.asked == []
    assert lines == [f"snapshot {first.snapshot_id} already has this image: nothing to build or send"]


def test_what_is_adopted_before_the_build_is_what_an_upload_would_adopt(disk: Path) -> None:
    """Who asks for encryption with a key would get the plain snapshot, only because it is found before the build."""
    port = FakeSnapshots()
    plain = shipped(port, Maker(disk)).uploaded
    source = Maker(disk)
    secret = shipped(port, source, request={"encrypted": True, "kms_key": KEY}).uploaded
    assert secret.snapshot_id != plain.snapshot_id
    assert port.held[secret.snapshot_id].about.kms_key == KEY
    assert source.asked == ["identity", "bring", "sent"]


@pytest.mark.disks
def test_what_is_measured_is_the_same_before_and_after_the_upload(tmp_path: Path) -> None:
    """A release that is deployed again from its snapshot would be in the key policy with other values, or with none."""
    image = uki(command_line=f"quiet roothash={'ab' * 32}", initrd=bytes(range(256)) * 9000)
    files = {"before.bin": bytes(BLOCK), "EFI/BOOT/BOOTX64.EFI": image}
    port = FakeSnapshots()
    sent = shipped(port, Maker(disk_with(tmp_path / "disk.raw", files, esp_mib=8)), attested=True)
    found = shipped(port, Maker(Path("/gone"), makes="/nix/store/other"), attested=True)
    assert found.uploaded.adopted
    assert sent.measured == found.measured == measurements(image, name="x", alone=False)
    assert shipped(port, Maker(Path("/gone"))).measured == ()


def test_an_image_that_cannot_be_attested_is_not_sent(disk: Path) -> None:
    """An upload of minutes would end with a release whose secrets nobody opens."""
    port = FakeSnapshots()
    with pytest.raises(InputError, match="cannot be attested"):
        shipped(port, Maker(disk), attested=True)
    assert port.held == {}


def test_a_source_that_makes_another_image_is_refused_before_it_does(disk: Path) -> None:
    """What nobody has looked at in a preview would be built for minutes, and deployed under another's name."""
    port, source = FakeSnapshots(), Maker(disk, makes="/nix/store/other")
    with pytest.raises(
        FleetswapError, match=r"identity /nix/store/abc-image, but its source now has identity /nix/store/other"
    ):
        shipped(port, source)
    assert source.asked == ["identity"]
    assert port.held == {}


def test_what_is_not_sent_whole_is_kept_on_the_machine(disk: Path) -> None:
    """After a failed upload, Nix's garbage collector would take the image away, and the next try build it again."""
    port, source = FakeSnapshots(), Maker(disk)

    def refuse(_: int, name: str) -> None:
        if name == "put":
            raise CloudError("access denied: allow ebs:PutSnapshotBlock")

    port.before = refuse
    with pytest.raises(CloudError, match="access denied"):
        shipped(port, source)
    assert source.asked == ["identity", "bring"]


@dataclass
class Trying:
    """A trial that remembers what it was asked, and refuses with `refusal`."""

    refusal: FleetswapError | None = None
    asked: list[str] = field(default_factory=list)

    def ready(self) -> None:
        self.asked.append("ready")

    def run(self, image: ImageFile, name: str, say: Callable[[str], None], status: Callable[[str], None]) -> None:
        self.asked.append(f"run {image.path.name} {name}")
        status("booting")
        say("tried")
        if self.refusal is not None:
            raise self.refusal


def test_an_image_that_does_not_pass_its_trial_is_not_uploaded(disk: Path) -> None:
    """A broken image would cost an upload, and its snapshot stay."""
    port, source = FakeSnapshots(), Maker(disk)
    trial = Trying(FleetswapError("the boot test refused it"))
    passing: list[str] = []
    with pytest.raises(FleetswapError, match="the boot test refused it"):
        shipped(port, source, trial=trial, building=passing.append)
    assert trial.asked == ["ready", f"run disk.raw {STORE_PATH}"]
    assert passing == ["building", "booting"]
    assert source.asked == ["identity", "bring"], "kept for the next try"
    assert "start" not in port.calls


def test_what_is_sent_is_what_was_tried(disk: Path, tmp_path: Path) -> None:
    """A build that ends during the boot test would be sent in place of the image that has passed, under its name."""

    class Replaced(Trying):
        def run(self, *args: Any) -> None:
            super().run(*args)
            disk_file(tmp_path / "new.raw", seed=7).replace(disk)

    port = FakeSnapshots()
    with pytest.raises(FleetswapError, match="changed while it was read"):
        shipped(port, disk, trial=Replaced())
    assert not port.of_state("completed")


def test_what_a_trial_needs_is_missed_before_anything_is_made(disk: Path) -> None:
    """An hour of building would end with the news that there is no QEMU."""

    class Missing(Trying):
        def ready(self) -> None:
            raise InputError("no QEMU")

    source = Maker(disk)
    with pytest.raises(InputError, match="no QEMU"):
        shipped(FakeSnapshots(), source, trial=Missing())
    assert source.asked == []


@pytest.mark.parametrize("as_file", [False, True])
def test_an_image_that_has_a_snapshot_is_not_tried(disk: Path, as_file: bool) -> None:  # noqa: FBT001
    """Each deploy of an unchanged image would boot it, which has long passed."""
    port, trial = FakeSnapshots(), Trying()
    first = shipped(port, Maker(disk), trial=trial).uploaded
    assert shipped(port, disk if as_file else Maker(disk), trial=trial).uploaded.snapshot_id == first.snapshot_id
    assert trial.asked == ["ready", f"run disk.raw {STORE_PATH}"]


def test_a_disk_that_no_machine_boots_from_is_refused(disk: Path) -> None:
    """Its machines would be waited for until the gate gives up. Whoever wants a snapshot only may have it."""
    content = bytearray(disk.read_bytes())
    content[450] = 0x83
    disk.write_bytes(content)
    port = FakeSnapshots()
    with pytest.raises(InputError, match="has no EFI system partition"):
        shipped(port, Maker(disk))
    assert "start" not in port.calls
    assert shipped(port, Maker(disk), info=None).uploaded.snapshot_id in port.held


def test_a_root_volume_that_is_too_small_is_refused_in_time(disk: Path) -> None:
    """EC2 would refuse every launch, minutes after the upload; of an adopted snapshot just the same."""
    with disk.open("r+b") as file:
        file.truncate(1 << 30)
    port = FakeSnapshots()
    with pytest.raises(InputError, match="root_gib is 1, but the volume of the image has 2 GiB"):
        shipped(port, Maker(disk), root_gib=1)
    assert "start" not in port.calls
    there = shipped(port, Maker(disk), root_gib=2).uploaded
    with pytest.raises(InputError, match="root_gib is 1, but the volume of the image has 2 GiB"):
        shipped(port, Maker(disk), root_gib=1)
    assert list(port.held) == [there.snapshot_id]


def test_an_image_that_is_there_is_looked_for_once(disk: Path) -> None:
    """Each upload from the command line would ask EC2 a question more, and wait for the answer."""
    port = FakeSnapshots()
    request = {"identity": identify(disk)}
    first = shipped(port, disk, request=request).uploaded
    assert port.calls.count("find") == 1
    again = shipped(port, disk, request=request)
    assert (again.uploaded.snapshot_id, again.uploaded.adopted) == (first.snapshot_id, True)
    assert again.uploaded.blocks == first.blocks


def test_a_file_is_named_by_what_it_holds_now(disk: Path) -> None:
    """A file that was written again since the preview would be deployed under the name of what it held before."""
    port = FakeSnapshots()
    request = {"identity": identify(disk)}
    disk_file(disk, seed=1)
    with pytest.raises(FleetswapError, match="its source now has identity sha256:"):
        shipped(port, FileSource(disk), request=request)
    assert port.held == {}
    request = {"identity": identify(disk)}
    assert shipped(port, FileSource(disk), request=request).uploaded.blocks > 0
    assert disk.exists()
