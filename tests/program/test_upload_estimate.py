"""What a preview says of the upload of a new release."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pulumi
import pytest

from fleetswap.domain.errors import CloudError
from fleetswap.domain.image.cost import Estimate
from fleetswap.domain.image.source import FileImage, ImageSource, NixImage
from fleetswap.domain.release.ledger import Entry, HealthCheck, Image, Ledger, Machine
from fleetswap.workflows.image.estimate import estimate
from fleetswap.workflows.image.image_file import identify
from fleetswap.workflows.image.request import UploadRequest
from fleetswap_pulumi import upload_estimate
from fleetswap_pulumi.capacity_settings import CapacitySettings
from fleetswap_pulumi.image_settings import ImageSettings
from fleetswap_pulumi.settings import Settings
from fleetswap_pulumi.upload_estimate import tell_upload
from tests.fakes.ebs import FakeClock, FakeSnapshots, nothing, spelled
from tests.image.uploads import upload

MACHINE = Machine(("m7i.large",), 0, 100)
HEALTH = HealthCheck(80, "/", "200", 10, 5, 2, 2)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "web.raw"
    spelled(path, "ab0A")
    return path


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The messages of a preview."""
    lines: list[str] = []
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    monkeypatch.setattr(pulumi.log, "info", lines.append)
    monkeypatch.setattr(Settings, "stack", "shop/prod")
    return lines


def settings(disk: Path) -> Settings:
    return Settings(
        service="web",
        region="us-east-1",
        image=ImageSettings(file=str(disk)),
        capacity=CapacitySettings(min=1, max=2),
    )


def entry(identity: str, source: ImageSource) -> Entry:
    return Entry("web-1", Image(identity, source), MACHINE, HEALTH, 2)


def of(port: FakeSnapshots) -> upload_estimate.Estimates:
    return lambda disk, request, say: estimate(disk, request, port, say, clock=FakeClock())


def never(_disk: Path, _request: UploadRequest, _say: Callable[[str], None]) -> Estimate | None:
    raise AssertionError


def test_a_new_release_says_what_moves(disk: Path, said: list[str], tmp_path: Path) -> None:
    """A reviewer would not see that a small change sends the whole image, or why it does."""
    port = FakeSnapshots()
    new = entry(identify(disk), FileImage(str(disk)))
    tell_upload(settings(disk), new, Ledger(), of(port))
    spelled(tmp_path / "old.raw", "ax0A")
    request = UploadRequest("/nix/store/old", "shop/prod", lineage="web")
    old = upload(tmp_path / "old.raw", request, port, port, nothing, clock=FakeClock(), connections=1).snapshot_id
    tell_upload(settings(disk), new, Ledger(), of(port))
    assert said[0].startswith("web-1: 5 blocks to send (the image has 4): 2.5 MiB, less than 1 s")
    assert said[0].endswith(" (sending every block: lineage web has no completed snapshot of stack shop/prod yet)")
    assert said[1].startswith(
        f"web-1: 2 blocks to send (the image has 4; the others are in {old}): 1 MiB, less than 1 s"
    )
    assert said[1].endswith(" a month to keep (in us-east-1)")


def test_an_image_that_nix_has_built_is_found_in_the_store(disk: Path, said: list[str]) -> None:
    """Only images in files would be announced; or a preview would build one."""
    source = NixImage("nix", {}, {})
    tell_upload(settings(disk), entry(str(disk), source), Ledger(), of(FakeSnapshots()))
    assert said[0].startswith("web-1: 6 blocks to send")  # with the manifest, and the map
    tell_upload(settings(disk), entry("/nix/store/not-built", source), Ledger(), never)
    assert len(said) == 1


def test_what_is_wrong_is_said_and_the_preview_goes_on(disk: Path, said: list[str]) -> None:
    """A preview with an old policy would fail, or one of a large image take minutes."""
    new = entry(identify(disk), FileImage(str(disk)))

    def refused(*_: object) -> Estimate | None:
        raise CloudError("access denied: allow ec2:DescribeSnapshots")

    tell_upload(settings(disk), new, Ledger(), refused)
    tell_upload(settings(disk), new, Ledger(), lambda *_: None)
    tell_upload(settings(disk), entry("sha256:0", FileImage(f"{disk}.gone")), Ledger(), never)
    assert said[0] == ("web-1: how many blocks will be sent is not known: access denied: allow ec2:DescribeSnapshots")
    assert said[1] == "web-1: how many blocks will be sent takes longer than 5 s to find out"
    assert said[2].startswith("web-1: how many blocks will be sent is not known: ")
    assert len(said) == 3


def test_a_release_that_is_there_and_an_update_ask_nothing(
    disk: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each preview without a change would read AWS and the whole image, and an update do so before it uploads."""
    new = entry(identify(disk), FileImage(str(disk)))
    tell_upload(settings(disk), new, Ledger(live="web-1", entries=(new,)), never)
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: False)
    tell_upload(settings(disk), new, Ledger(), never)
    assert said == []
