"""The keys of `--json`, each with its value: scripts read them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from fleetswap.cli import results
from fleetswap.domain.boot.health import Check
from fleetswap.domain.boot.machine import Hardware
from fleetswap.workflows.boot_test import Passed
from fleetswap.workflows.image.download import Downloaded
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.image.upload import Uploaded
from fleetswap.workflows.image.verify import Difference, Verified


def test_the_keys_of_an_upload() -> None:
    """A script that deploys what was uploaded would stop working when a name inside the program changes."""
    request = UploadRequest("sha256:1", "shop/prod", lineage="web")
    uploaded = Uploaded("snap-1", 2, 3, 4, 5.5, True, 6, "snap-0", 7, 8, True)  # noqa: FBT003 (in the fields' order)
    assert results.of_upload(Path("a.raw"), "raw", 9, request, "eu-west-1", uploaded) == {
        "file": "a.raw",
        "format": "raw",
        "size": 9,
        "identity": "sha256:1",
        "stack": "shop/prod",
        "lineage": "web",
        "region": "eu-west-1",
        "snapshot_id": "snap-1",
        "volume_gib": 2,
        "blocks": 3,
        "bytes_sent": 4,
        "seconds": 5.5,
        "adopted": True,
        "blocks_sent": 6,
        "parent": "snap-0",
        "throttled": 7,
        "retried": 8,
        "resumed": True,
    }


def test_the_keys_of_a_boot_test() -> None:
    """A script that measures boots would stop working when a name inside the program changes."""
    found = results.of_boot_test(Path("a.raw"), "raw", 9, Hardware(), Check(8080, "/healthz"), Passed(5.5))
    assert found == {
        "file": "a.raw",
        "format": "raw",
        "size": 9,
        "architecture": "x86_64",
        "boot_mode": "uefi",
        "port": 8080,
        "path": "/healthz",
        "seconds": 5.5,
    }


def test_the_keys_of_a_download() -> None:
    """A script that boots what was downloaded would stop working when a name inside the program changes."""
    made = Downloaded("snap-1", Path("a.raw"), 2, 3, None, 4, 5, 6, 7, 8.5)
    assert results.of_download(made) == {
        "snapshot_id": "snap-1",
        "file": "a.raw",
        "size": 2,
        "volume_gib": 3,
        "map_problem": None,
        "blocks_read": 4,
        "bytes_read": 5,
        "throttled": 6,
        "retried": 7,
        "seconds": 8.5,
    }


def test_the_keys_of_a_verification() -> None:
    """A nightly check would pass or fail for another reason when a name inside the program changes."""
    found = Verified("snap-1", 2, None, 3, 4, 5, 6, ("it is cut off",), 1, (Difference(7, 8, "differs"),), 9, 10, 11.5)
    assert results.of_verify(found, Path("a.raw")) == {
        "matches": False,
        "file": "a.raw",
        "snapshot_id": "snap-1",
        "volume_gib": 2,
        "map_problem": None,
        "size": 3,
        "blocks_read": 4,
        "bytes_read": 5,
        "blocks_lacking": 6,
        "manifest": False,
        "problems": ["it is cut off"],
        "differing": 1,
        "differences": [{"index": 7, "offset": 8, "reason": "differs"}],
        "throttled": 9,
        "retried": 10,
        "seconds": 11.5,
    }
    assert results.of_verify(found, None)["file"] is None


def test_every_result_is_printed() -> None:
    """A new figure would be in the summary for people, and scripts would never see it."""
    uploaded = Uploaded("snap-1", 2, 3, 4, 5.5, adopted=True)
    request = UploadRequest("sha256:1", "shop/prod")
    printed = {
        Uploaded: results.of_upload(Path("a"), "raw", 9, request, "eu-west-1", uploaded),
        Downloaded: results.of_download(Downloaded("snap-1", Path("a"), 2, 3, None, 4, 5, 6, 7, 8.5)),
        Verified: results.of_verify(Verified("snap-1", 2, None, 3, 4, 5, 6, (), 0, (), 9, 10, 11.5), None),
    }
    others = {Uploaded: 7, Downloaded: 0, Verified: 2}  # keys that are about the request, or that follow from the rest
    for kind, result in printed.items():
        assert len(result) == len(fields(kind)) + others[kind]
