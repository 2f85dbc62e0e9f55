"""`fleetswap why` and `fleetswap manifest` against the local cloud: read out of snapshots, found by tags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from fleetswap.aws.image.block_writer import BlockPuts
from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.aws.session import Cloud
from fleetswap.domain import tags
from fleetswap.domain.image import manifest
from fleetswap.domain.image.manifest import Manifest
from fleetswap.workflows.image import complete
from fleetswap.workflows.image.request import UploadRequest
from tests.cli.conftest import Ran
from tests.cli.test_service import Region, Service, endpoint, region
from tests.fakes.ebs import disk_file, nothing
from tests.image.test_manifest import NAMES, derived, made, store_path
from tests.image.uploads import upload

__all__ = ["endpoint", "region"]

pytestmark = pytest.mark.usefixtures("endpoint")

Cli = Callable[..., Ran]

IMAGES = {
    "b": store_path(1, "image-b"),
    "a": store_path(2, "image-a"),
    "kept": store_path(3, "image-kept"),
    "old": store_path(4, "image-old"),
}
OLDER = made(tuple(name.replace("3.6.1", "3.5.4") for name in NAMES))
HOLDS = {
    "b": Manifest(IMAGES["b"], made()),
    "a": Manifest(IMAGES["a"], packages={"openssl": "3.5.4"}),
    "kept": Manifest(IMAGES["kept"], derived=derived(OLDER)),
    "old": None,
}


@dataclass(frozen=True)
class Shop:
    """A service: b is live, a is the standby, the images of two more are retained. The last is older than manifests."""

    service: Service
    cloud: Cloud

    def why(self, cli: Cli, *arguments: str) -> Ran:
        return cli("why", *arguments, "--service", self.service.name, "--endpoint-url", self.cloud.endpoint)

    def manifest(self, cli: Cli, *arguments: str) -> Ran:
        return cli("manifest", *arguments, "--service", self.service.name, "--endpoint-url", self.cloud.endpoint)


@pytest.fixture(scope="module")
def shop(region: Region, endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "local")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "local")
        patch.setattr(complete, "POLL_SECONDS", (0.02, 1.0))
        service = Service(region).settled()
        cloud = Cloud("us-east-1", endpoint)
        ebs, ec2 = cloud.ebs_and_ec2(2)
        disk = disk_file(tmp_path_factory.mktemp("disk") / "disk.raw")
        for letter, holds in HOLDS.items():
            given = tags.policy(service.stack, service.name, name="x", release=service.id(letter), image=IMAGES[letter])
            request = UploadRequest(
                IMAGES[letter], service.stack, tags=given, manifest=b"" if holds is None else manifest.encode(holds)
            )
            snapshot = upload(disk, request, DirectSnapshots(ebs, ec2), BlockPuts.of(cloud, ebs), nothing).snapshot_id
            ami = region.ec2.register_image(
                Name=service.id(letter),
                RootDeviceName="/dev/xvda",
                VirtualizationType="hvm",
                BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}],
            )["ImageId"]
            ec2.create_tags(Resources=[ami], Tags=[{"Key": key, "Value": value} for key, value in given.items()])
        return Shop(service, cloud)


def test_every_release_that_contains_a_package_is_shown_with_the_way_to_it(cli: Cli, shop: Shop) -> None:
    """In an incident nobody would know which release to keep the traffic from, or why the package is there."""
    ran = shop.why(cli, "openssl")
    name = shop.service.name
    assert ran.status == 0
    assert ran.out.splitlines() == [
        f"{name}-b (live) contains openssl 3.6.1",
        "  nixos-system-web-25.11 → openssl-3.6.1",
        f"{name}-b (live) contains openssl 3.6.1",
        "  nixos-system-web-25.11 → openssl-3.6.1",
        f"{name}-a (standby) lists openssl 3.5.4",
        f"{name}-kept (retained) may contain (from its derivations) openssl 3.5.4",
        "  nixos-system-web-25.11 → openssl-3.5.4",
        f"{name}-kept (retained) may contain (from its derivations) openssl 3.5.4",
        "  nixos-system-web-25.11 → openssl-3.5.4",
        f"{name}-old (retained): not known, because its snapshot has no manifest: it was uploaded by an older version,"
        " or nothing says what is in its image",
    ]


def test_one_version_or_a_pattern_can_be_asked_for(cli: Cli, shop: Shop) -> None:
    """Every release would look as if it had the version with the hole in it."""
    result = shop.why(cli, "openssl", "3.6.*", "--json").result
    assert (result["package"], result["version"]) == ("openssl", "3.6.*")
    found = {each["role"]: each for each in result["releases"][:2]}
    assert [one["version"] for one in found["live"]["matches"]] == ["3.6.1", "3.6.1"]
    assert found["live"]["matches"][0]["via"][0] == made().root
    assert (found["standby"]["matches"], found["standby"]["known_by"]) == ([], "packages")
    assert [each["problem"] is None for each in result["releases"]] == [True, True, True, False]


def test_what_cannot_be_known_is_not_taken_for_absent(cli: Cli, shop: Shop) -> None:
    """A check in CI would say that no machine has the hole, although nobody looked into one image."""
    ran = shop.why(cli, "openssl", "1.0.2")
    assert ran.status == 1
    assert ran.error.startswith(
        f"openssl 1.0.2 is in no release that is known; not known are {shop.service.name}-old: its snapshot has no"
    )


def test_a_package_that_is_in_no_release_has_a_status_of_its_own(
    cli: Cli, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script could not tell an absent package from a present one."""
    images = {shop.service.id("b"): IMAGES["b"], shop.service.id("a"): IMAGES["a"]}
    monkeypatch.setattr("fleetswap.cli.contents.identities", lambda *_: images)
    ran = shop.why(cli, "openssl", "1.0.2")
    assert (ran.status, ran.error) == (5, f"no release of {shop.service.name} contains openssl 1.0.2")
    ran = shop.why(cli, "ssl")
    assert (ran.status, ran.error) == (5, f"no release of {shop.service.name} contains ssl, but there is openssl")
    assert ran.out.splitlines()[0] == f"{shop.service.name}-b (live): no"


def test_the_manifest_of_the_live_release_is_an_spdx_document(cli: Cli, shop: Shop) -> None:
    """A scanner could not be given what runs."""
    document = shop.manifest(cli).result
    assert (document["spdxVersion"], document["name"]) == ("SPDX-2.3", "image-b")
    assert len(document["packages"]) == 1 + len(NAMES)


def test_a_manifest_can_be_read_by_people_and_scripts(cli: Cli, shop: Shop) -> None:
    """A person would have to read SPDX."""
    lines = shop.manifest(cli, shop.service.id("b"), "--format", "text").out.splitlines()
    assert lines[1].split("\t")[:3] == ["nginx", "1.28.0", "BSD-2-Clause AND (MIT OR ISC)"]
    listed = shop.manifest(cli, shop.service.id("a"), "--format", "json").result
    assert (listed["role"], listed["exact"], listed["identity"]) == ("standby", False, IMAGES["a"])
    assert [(each["name"], each["version"], each["path"]) for each in listed["packages"]] == [
        ("openssl", "3.5.4", None)
    ]
    assert shop.manifest(cli, shop.service.id("a"), "--json").result == listed
    assert "--json` does not take --format" in shop.manifest(cli, "--json", "--format", "text").error
    guessed = shop.manifest(cli, shop.service.id("kept"), "--format", "json").result
    assert {each["name"] for each in guessed["packages"]} == {
        "glibc",
        "nginx",
        "nixos-system-web",
        "openssl",
        "system-path",
    }


def test_a_release_without_a_manifest_or_an_ami_is_told(cli: Cli, shop: Shop) -> None:
    """An empty document would look like an empty image."""
    old = shop.manifest(cli, shop.service.id("old"))
    assert (old.status, old.out) == (5, "")
    assert "its snapshot has no manifest" in old.error
    none = shop.manifest(cli, "web-nothing")
    assert none.status == 2
    assert f"has no AMI of release web-nothing (there are: {shop.service.id('a')}, " in none.error


def test_a_damaged_manifest_is_told(cli: Cli, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package could be missed in an image that cannot be read, or a traceback be the answer."""

    def refuse(*_: object, **__: object) -> None:
        raise manifest.BadManifest("is damaged: its checksum is wrong")

    monkeypatch.setattr("fleetswap.workflows.image.read_manifest.read_blocks", refuse)
    ran = shop.manifest(cli)
    assert (ran.status, ran.out) == (1, "")
    assert "its manifest is damaged: its checksum is wrong" in ran.error
    assert shop.why(cli, "zlib").status == 1
