"""`nix/image/build-disk`: what it makes, always the same, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.needs import ROOT
from tests.nix.image.conftest import Build, store_path

MIB = 1 << 20


@pytest.fixture(scope="module")
def disk(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk of the small closure."""
    out = tmp_path_factory.mktemp("disk") / "out"
    done = build(out, "--name", "web", "--symlink", "bin/env=/nix/store/x/bin/env")
    assert done.returncode == 0, done.stderr
    return out / "web.raw"


def part(disk: Path, start: int, size: int, to: Path) -> Path:
    """A partition as a file of its own; in MiB."""
    with disk.open("rb") as whole, to.open("wb") as one:
        whole.seek(start * MIB)
        one.write(whole.read(size * MIB))
    return to


def test_the_store_has_every_file_as_nix_has_it(disk: Path, small: Path, tmp_path: Path, debian13: Path) -> None:
    """A machine would lack a file, or have it under another name, or could not execute it."""
    image = part(disk, 37, 64, tmp_path / "store.erofs")
    out = tmp_path / "unpacked"
    subprocess.run([debian13, "fsck.erofs", f"--extract={out}", image], check=True, capture_output=True)
    app, tool = out / "nix/store" / store_path("app-1"), out / "nix/store" / store_path("tool-2.0")
    for path in (small / "nix").rglob("*"):
        copy = out / path.relative_to(small)
        assert copy.is_symlink() == path.is_symlink()
        assert copy.is_dir() == path.is_dir(), copy
        if path.is_file() and not path.is_symlink():
            assert copy.read_bytes() == path.read_bytes()
    assert (app / "link").readlink() == Path(f"/nix/store/{tool.name}/one")
    assert (out / "bin/env").readlink() == Path("/nix/store/x/bin/env")
    assert stat.S_IMODE((app / "bin/app").stat().st_mode) == 0o555
    assert stat.S_IMODE((tool / "one").stat().st_mode) == 0o444
    assert (app / "bin/app").stat().st_mtime == 1


def test_firmware_finds_the_uki(disk: Path, small: Path, tmp_path: Path, debian13: Path) -> None:
    """The machine would not start."""
    image = part(disk, 1, 36, tmp_path / "esp.fat")
    found = subprocess.run(
        [debian13, "mtype", "-i", image, "::/EFI/BOOT/BOOTX64.EFI"], check=True, capture_output=True
    ).stdout
    assert found == (small / "web.efi").read_bytes()
    subprocess.run([debian13, "fsck.vfat", "-n", image], check=True, capture_output=True)


def test_what_it_says_beside_the_disk(disk: Path, small: Path) -> None:
    """Fleetswap would register the AMI of another machine, or could not say what is in it."""
    info = json.loads((disk.parent / "nix-support/image-info.json").read_text())
    assert info["file"] == disk.name
    assert info["registerImage"]["BootMode"] == info["boot_mode"] == "uefi"
    assert int(info["logical_bytes"]) == disk.stat().st_size == (1 + 36 + 64 + 1) * MIB
    closure = json.loads((disk.parent / "nix-support/closure.json").read_text())
    assert closure["root"] == f"/nix/store/{store_path('nixos-system-web-25.11')}"
    assert {Path(info["path"]).name for info in closure["paths"]} == {
        path.name for path in (small / "nix/store").iterdir()
    }
    assert sorted(path.name for path in disk.parent.iterdir()) == ["nix-support", "web.raw"]


def test_the_same_closure_makes_the_same_bytes_anywhere(
    disk: Path, small: Path, tmp_path: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each build would be a new image, with a new release for no change."""
    elsewhere = tmp_path / "else" / "where"
    for path in sorted((small / "nix/store").rglob("*"), reverse=True):  # so that folders list them in another order
        copy = elsewhere / path.relative_to(small)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            copy.symlink_to(path.readlink())
        elif path.is_file():
            shutil.copyfile(path, copy)
            copy.chmod(0o700 if path.stat().st_mode & stat.S_IXUSR else 0o640)
            os.utime(copy, (5, 5))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    before = os.umask(0o077)
    try:
        done = build(
            tmp_path / "again", "--name", "web", "--symlink", "bin/env=/nix/store/x/bin/env", "--root", str(elsewhere)
        )
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    for name in ("web.raw", "nix-support/image-info.json", "nix-support/closure.json"):
        assert (tmp_path / "again" / name).read_bytes() == (disk.parent / name).read_bytes(), name


def test_both_versions_of_repart_place_partitions_alike(disk: Path, tmp_path: Path, debian13: Path) -> None:
    """A builder on Debian 12 or an older NixOS would make another disk, or none."""
    store, esp = part(disk, 37, 64, tmp_path / "store"), part(disk, 1, 36, tmp_path / "esp")
    definitions = tmp_path / "repart.d"
    definitions.mkdir()
    for name, image, size in (("10-esp", esp, 36), ("20-store", store, 64)):
        text = (ROOT / f"nix/image/repart.d/{name}.conf").read_text()
        values = {
            "image": image,
            "size": size * MIB,
            "uuid": f"c0ffee00-0000-4000-8000-{size:012}",
            "type": "usr-arm64",
        }
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        (definitions / f"{name}.conf").write_text(text)
    said = ["--seed=c0ffee00-0000-4000-8000-000000000000", "--empty=create", "--size=auto", "--dry-run=no"]
    made: list[bytes] = []
    prefixes: list[list[Path]] = [[], [debian13]]
    for prefix in prefixes:
        out = tmp_path / f"disk{len(made)}"
        subprocess.run(
            [*prefix, "systemd-repart", f"--definitions={definitions}", *said, out], check=True, capture_output=True
        )
        made.append(out.read_bytes())
    assert made[0] == made[1]
