"""What a preview says that a new image changes: an input of its disk image, and a message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pulumi
import pytest

from fleetswap.domain.closure.exact import from_file
from fleetswap.domain.closure.render import MAY_BE
from fleetswap.domain.image.manifest import Manifest
from fleetswap.domain.image.source import NixImage
from fleetswap.nix.closures import derived
from fleetswap.nix.source import NixSource
from fleetswap.workflows.image.image_file import identify
from tests.closure.store import path
from tests.fakes.ebs import disk_file
from tests.program.declared import Program, declare
from tests.program.test_stack import ROOT, local, releases

pytestmark = pytest.mark.nix

MACHINE = "tests/closure/nixos"
OPENSSL = ["openssl 3.6.0 → 3.6.1", "2 packages rebuilt because of changes in openssl", MAY_BE]


def machine(**args: str) -> dict[str, str]:
    """The settings of a stack whose image is a NixOS machine."""
    return local(image={"nix": {"expression": MACHINE, "args": args}})


def manifest(**args: str) -> dict[str, Manifest]:
    """The manifest of its image, as an upload writes it."""
    made = NixSource(NixImage(MACHINE, args, {}), ROOT).evaluate()
    return {made.identity: Manifest(made.identity, derived=derived(made.derivation))}


@pytest.fixture
def said() -> Iterator[dict[str, list[str]]]:
    """What the program says, by severity."""
    texts: dict[str, list[str]] = {"info": [], "warn": []}
    with (
        mock.patch.object(pulumi.log, "info", texts["info"].append),
        mock.patch.object(pulumi.log, "warn", texts["warn"].append),
    ):
        yield texts


@pytest.fixture(scope="module")
def live() -> Program:
    return declare(machine())


def changes(program: Program, live: Program) -> Any:
    (old,) = releases(live)
    return next(disk for disk in program.of("DiskImage") if disk.name != old).inputs["changes"]


def test_what_a_machine_changes_is_an_input_and_a_message(live: Program, said: dict[str, list[str]]) -> None:
    """A reviewer would see another store path, and not the packages."""
    found = declare(machine(openssl="3.6.1"), ledger=live.outputs["ledger"], manifests=manifest())
    assert changes(found, live) == OPENSSL
    (old,), new = releases(live), found.outputs["live"]
    text = "\n".join(f"  {line}" for line in OPENSSL)
    assert said == {"info": [f"package changes from {old}, which is live, to {new}:\n{text}"], "warn": []}


def test_the_changes_of_a_release_stay_as_they_were(live: Program, said: dict[str, list[str]]) -> None:
    """Each later update would change the disk image of a live release, or compare it with itself, or ask AWS again."""
    second = declare(machine(openssl="3.6.1"), ledger=live.outputs["ledger"], manifests=manifest())
    said["info"].clear()
    again = declare(machine(openssl="3.6.1"), ledger=second.outputs["ledger"])
    assert changes(again, live) == OPENSSL
    back = declare(local(release=releases(live)[0]), ledger=second.outputs["ledger"])
    assert {disk.name: disk.inputs["changes"] for disk in back.of("DiskImage")} == {
        disk.name: disk.inputs["changes"] for disk in second.of("DiskImage")
    }
    assert said == {"info": [], "warn": []}


def test_at_most_twenty_lines_are_shown(live: Program, said: dict[str, list[str]]) -> None:
    """A preview would be buried."""
    found = declare(machine(many="30"), ledger=live.outputs["ledger"], manifests=manifest())
    lines = changes(found, live)
    assert len(lines) == 20
    assert lines[-2:] == ["… and 12 more: `fleetswap diff`", MAY_BE]
    assert len(said["info"]) == 1


def test_without_a_manifest_it_says_that_it_does_not_know(live: Program, said: dict[str, list[str]]) -> None:
    """No changes would look like none, after an update from a version that wrote no manifest."""
    (identity,) = manifest()
    found = declare(machine(openssl="3.6.1"), ledger=live.outputs["ledger"], manifests={identity: None})
    assert changes(found, live) == []
    (line,) = said["info"]
    assert line == f"package changes are not known: nothing says what the live {releases(live)[0]} contains"


def test_derivations_that_cannot_be_read_stop_nothing(
    live: Program, said: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a store on another machine, there would be no preview at all."""
    really = Path.read_bytes

    def unreadable(self: Path) -> bytes:
        if self.suffix == ".drv":
            raise PermissionError(13, "Permission denied", str(self))
        return really(self)

    monkeypatch.setattr(Path, "read_bytes", unreadable)
    found = declare(machine(openssl="3.6.1"), ledger=live.outputs["ledger"])
    assert changes(found, live) == []
    (line,) = said["warn"]
    assert "the package changes are not known: /nix/store/" in line
    assert "cannot be read (Permission denied)" in line
    assert said["info"] == []


def test_the_first_release_changes_nothing(said: dict[str, list[str]]) -> None:
    """Every package of the first machine would be shown as added."""
    assert declare(machine()).one("DiskImage").inputs["changes"] == []
    assert said == {"info": [], "warn": []}


def test_a_disk_with_its_closure_beside_it_is_compared_exactly(tmp_path: Path, said: dict[str, list[str]]) -> None:
    """Of an image that another machine built, a reviewer would learn nothing."""

    def image(name: str, version: str) -> tuple[dict[str, str], Manifest]:
        folder = tmp_path / name
        (folder / "nix-support").mkdir(parents=True)
        root, lib = path("nixos-system-web-25.11", name), path(f"lib-{version}")
        paths = [
            {"path": root, "narHash": "sha256:0", "narSize": 10, "references": [lib, root]},
            {"path": lib, "narHash": "sha256:0", "narSize": 1_000_000 * int(version), "references": []},
        ]
        stated = {"version": 1, "root": root, "paths": paths}
        (folder / "nix-support" / "closure.json").write_text(json.dumps(stated))
        disk = disk_file(folder / "web.raw", seed=int(version))
        return local(image={"file": str(disk)}), Manifest(identify(disk), from_file(stated))

    (before, manifest), (after, _) = image("a", "1"), image("b", "2")
    first = declare(before)
    second = declare(after, ledger=first.outputs["ledger"], manifests={manifest.identity: manifest})
    expected = ["lib 1 → 2 (+1.0 MB)", "size: 1.0 MB → 2.0 MB (+1.0 MB)"]
    assert changes(second, first) == expected
    assert len(said["info"]) == 1
