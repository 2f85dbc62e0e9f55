"""`fleetswap diff` against the local cloud: what it compares, prints and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fleetswap.aws.image.block_writer import BlockPuts
from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.aws.session import Cloud
from fleetswap.cli.references import image
from fleetswap.domain import tags
from fleetswap.domain.closure.render import MAY_BE
from fleetswap.domain.errors import InputError
from fleetswap.domain.image.manifest import Manifest
from fleetswap.domain.image.source import FileImage, FlakeImage, ImageSource, NixImage
from fleetswap.nix.source import NixSource
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.image.ship import FileSource, ship
from tests.cli.conftest import Ran
from tests.cli.test_service import PROJECT, Region, Service, endpoint, region, service
from tests.closure.store import path
from tests.closure.test_changes import closure, component
from tests.closure.test_known import real
from tests.fakes.ebs import disk_file, nothing

__all__ = ["endpoint", "region", "service"]

Cli = Callable[..., Ran]

ROOT = Path(__file__).resolve().parents[2]
MACHINE = "tests/closure/nixos"


class Images:
    """The images of a service's releases, with their manifests."""

    def __init__(self, at: Service, endpoint: str, folder: Path) -> None:
        self._at = at
        self._folder = folder
        self._cloud = Cloud("us-east-1", endpoint)

    def add(self, letter: str, manifest: Manifest) -> None:
        """The AMI of a release, of a snapshot with this manifest; one that says nothing is not written."""
        ebs, ec2 = self._cloud.ebs_and_ec2(1)
        disk = disk_file(self._folder / f"{letter}.raw", seed=ord(letter))
        request = UploadRequest(identity=manifest.identity, stack=self._at.stack, lineage="web")
        source = _Named(disk, manifest)
        shipped = ship(request, source, DirectSnapshots(ebs, ec2), BlockPuts.of(self._cloud, ebs), nothing)
        release = self._at.id(letter)
        given = tags.policy(self._at.stack, self._at.name, name=release, release=release, image=manifest.identity)
        ami = self._at.region.ec2.register_image(
            Name=release,
            Architecture="x86_64",
            RootDeviceName="/dev/xvda",
            VirtualizationType="hvm",
            EnaSupport=True,
            BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": shipped.uploaded.snapshot_id}}],
        )["ImageId"]
        self._at.region.ec2.create_tags(
            Resources=[ami], Tags=[{"Key": key, "Value": value} for key, value in given.items()]
        )


class _Named(FileSource):
    """A file that is named by the identity in its manifest."""

    def __init__(self, disk: Path, manifest: Manifest) -> None:
        super().__init__(disk, lambda: manifest)
        self._identity = manifest.identity

    def identity(self) -> str:
        return self._identity


@pytest.fixture
def images(service: Service, endpoint: str, tmp_path: Path) -> Images:
    return Images(service, endpoint, tmp_path)


@pytest.fixture
def both(images: Images) -> None:
    """Manifests of the standby a and the live b."""
    for letter, version, size in (("a", "3.6.0", 5_000_000), ("b", "3.6.1", 6_000_000)):
        lib = component("openssl", version, size=size)
        root = component("nixos-system-web", "25.11", lib.path, seed=letter, size=10)
        images.add(letter, Manifest(path(f"image-{letter}", images._at.name), closure(root, lib)))


@pytest.mark.usefixtures("both")
def test_two_releases_are_compared_through_aws_alone(cli: Cli, service: Service) -> None:
    """After a rollback at night, nobody could say what differs without the state, Nix and the checkout."""
    ran = cli("diff", "--from", service.id("a"), "--to", service.id("b"), "--service", service.name)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        f"{service.id('a')} → {service.id('b')}",
        "  openssl 3.6.0 → 3.6.1 (+1.0 MB)",
        "  size: 5.0 MB → 6.0 MB (+1.0 MB)",
    ]
    same = cli("diff", "--to", service.id("b"), "--service", service.name)
    assert (same.status, same.out.splitlines()) == (
        0,
        [f"{service.id('b')} → {service.id('b')}", "  no package changes"],
    )


@pytest.mark.usefixtures("both")
def test_for_a_review_and_for_a_script(cli: Cli, service: Service) -> None:
    """A pull request could not show the changes, and a script would have to read what is meant for people."""
    asked = ("diff", "--to", service.id("a"), "--service", service.name)
    markdown = cli(*asked, "--format", "markdown").out.splitlines()
    assert markdown[0] == f"### Package changes: `{service.id('b')}` → `{service.id('a')}`"
    assert "| version | `openssl` | `3.6.1` | `3.6.0` | -1.0 MB |" in markdown
    found = cli(*asked, "--json").result
    assert found == cli(*asked, "--format", "json").result
    assert found["from"] == {"release": service.id("b"), "image": path("image-b", service.name)}
    assert found["to"] == {"release": service.id("a"), "image": path("image-a", service.name)}
    assert (found["service"], found["stack"], found["source"]) == (service.name, "fleetswap/prod", "store")
    assert [each["name"] for each in found["packages"]["versions"]] == ["openssl"]
    assert "--json` does not take --format" in cli(*asked, "--json", "--format", "text").error


@pytest.fixture
def evaluated(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """The live release is a NixOS machine; it was built where it was uploaded."""
    monkeypatch.chdir(ROOT)
    source = NixSource(NixImage(MACHINE, {}, {}), ROOT)
    made = source.manifest()
    assert made is not None
    assert made.derived is not None
    images.add("b", replace(made, identity=path("image-b", images._at.name), closure=real(made.derived)))


@pytest.mark.nix
@pytest.mark.usefixtures("evaluated")
def test_an_image_that_is_not_built_is_compared_by_its_derivations(
    cli: Cli, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reviewer would have to build an image to see what it changes."""
    other = tmp_path / "other.nix"
    other.write_text(f'{{ }}: {{ image = import {ROOT / MACHINE} {{ openssl = "3.6.1"; }}; }}')
    changed = ["  openssl 3.6.0 → 3.6.1", "  2 packages rebuilt because of changes in openssl", f"  {MAY_BE}"]
    ran = cli("diff", "--to", f"{other}#image", "--service", service.name)
    assert ran.out.splitlines() == [f"{service.id('b')} → {other}#image", *changed]

    monkeypatch.chdir(tmp_path)
    (tmp_path / "Pulumi.yaml").write_text(PROJECT)
    config = {"service": service.name, "image": {"nix": {"expression": "other.nix", "attr": "image"}}}
    settings = {f"fleetswap:{key}": value for key, value in config.items()} | {"aws:region": "us-east-1"}
    (tmp_path / "Pulumi.prod.yaml").write_text(json.dumps({"config": settings}))
    ran = cli("diff")
    assert ran.out.splitlines() == [f"{service.id('b')} → the image of the settings", *changed]


@pytest.mark.usefixtures("both")
def test_what_cannot_be_compared_is_said(cli: Cli, service: Service, images: Images, tmp_path: Path) -> None:
    """A wrong name, an old release or a disk that says nothing of itself would look like no changes."""
    asked = ("diff", "--service", service.name)
    ran = cli(*asked, "--from", "web-x", "--to", service.id("a"))
    assert (ran.status, ran.error) == (
        2,
        f"release 'web-x' has no AMI in this account and region: choose one of {service.id('a')}, {service.id('b')}",
    )
    ran = cli(*asked, "--from", "", "--to", service.id("a"))
    assert (ran.status, ran.error[:39]) == (2, "release '' has no AMI in this account a"), "as of an unset variable"
    ran = cli(*asked)
    assert ran.status == 2
    assert "the settings of stack fleetswap/prod are not here: name an image or a release with --to" in ran.error
    images.add("c", Manifest(path("image-c", service.name)))
    ran = cli(*asked, "--to", service.id("c"))
    assert ran.status == 1
    assert ran.error.startswith(f"what release {service.id('c')} contains is not known: its snapshot has no manifest")
    disk = disk_file(tmp_path / "plain.raw")
    ran = cli(*asked, "--to", disk)
    assert (ran.status, ran.error) == (
        1,
        f"{service.id('b')} and {disk} cannot be compared: {service.id('b')} has a closure, and {disk} has no list of"
        " its packages",
    )
    ran = cli(*asked, "--to", "imgae.raw")
    assert (ran.status, ran.error) == (
        2,
        f"--to imgae.raw: there is no such release (there are: {service.id('a')}, {service.id('b')},"
        f" {service.id('c')}), file or folder",
    )
    assert "/nowhere.nix does not exist" in cli(*asked, "--to", f"{tmp_path}/nowhere.nix").error


@pytest.mark.nix
@pytest.mark.usefixtures("both")
def test_an_image_that_does_not_evaluate_is_told_as_nix_tells_it(cli: Cli, service: Service, tmp_path: Path) -> None:
    """A list of failed assertions would be one long line."""
    wrong = tmp_path / "wrong.nix"
    wrong.write_text('throw "Failed assertions:\\n- one\\n- two"')
    ran = cli("diff", "--to", str(wrong), "--service", service.name)
    assert ran.status == 2
    lines = ran.err.splitlines()
    assert lines[0].startswith(f"error: {wrong} does not evaluate")
    assert lines[1:3] == ["  - one", "  - two"]


@pytest.mark.usefixtures("service")
def test_without_a_live_release_one_must_be_named(cli: Cli, region: Region) -> None:
    """Before the first rollout, the error would be about the image."""
    ran = cli("diff", "--service", Service(region).name, "--to", "nowhere.raw")
    assert ran.status == 2
    assert ran.error.endswith("is live: name one with --from")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (".#web", FlakeImage(".#web", {})),
        ("flake#web", FlakeImage("./flake#web", {})),
        ("#web", FlakeImage("./#web", {})),
        ("nixpkgs#web", FlakeImage("nixpkgs#web", {})),
        ("", "--to is empty: leave it out"),
        ("github:company/machines#web", FlakeImage("github:company/machines#web", {})),
        ("folder", NixImage("folder", {}, {})),
        ("folder#web.image", NixImage("folder", {}, {}, "web.image")),
        ("folder/default.nix#web", NixImage("folder/default.nix", {}, {}, "web")),
        ("web.raw", FileImage("web.raw")),
        ("web.raw#x", "web.raw is a disk, so it has no attribute 'x'"),
        ("./nowhere", "nowhere does not exist"),
        ("empty#web", "empty has neither flake.nix nor default.nix"),
    ],
)
def test_a_reference_is_what_is_there(
    text: str, found: ImageSource | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path would be taken for a flake reference, or the other way round, and Nix's error would be a riddle."""
    monkeypatch.chdir(tmp_path)
    for folder in ("flake", "folder", "empty"):
        (tmp_path / folder).mkdir()
    for file in ("flake.nix", "flake/flake.nix", "folder/default.nix", "web.raw"):
        (tmp_path / file).touch()
    if isinstance(found, str):
        with pytest.raises(InputError, match=found):
            image(text)
    else:
        assert image(text) == found
