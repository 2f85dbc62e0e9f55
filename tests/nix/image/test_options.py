"""The options of `nix/image/build-disk` that change the store: verity, compression, arm64."""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.nix.image.conftest import Build, store_path

MIB = 1 << 20
ESP, STORE, TREE = 36, 64, 1
"""Sizes of the partitions, in MiB."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration of ukify. Its kernel is none, which ukify does not mind if it is given the version."""
    (tmp_path / "linux").write_bytes(b"kernel" * 5000)
    file = tmp_path / "uki.conf"
    lines = ["[UKI]", f"Linux={tmp_path}/linux", "Uname=6.12", "Cmdline=init=/init usrhash=@usrhash@"]
    file.write_text("\n".join([*lines, "Stub=/usr/lib/systemd/boot/efi/linuxx64.efi.stub", "OSRelease=ID=x", ""]))
    return file


def cut(disk: Path, start: int, size: int, to: Path) -> Path:
    with disk.open("rb") as whole:
        whole.seek(start * MIB)
        to.write_bytes(whole.read(size * MIB))
    return to


def test_the_root_hash_of_verity_is_in_the_uki_and_in_the_partitions(
    build: Build, config: Path, tmp_path: Path, debian13: Path
) -> None:
    """A store that someone changed would be started, or one that no one changed would not."""
    done = build(tmp_path / "out", "--verity", "--uki-config", str(config), uki=False)
    assert done.returncode == 0, done.stderr
    disk = tmp_path / "out/image.raw"
    esp = cut(disk, 1, ESP, tmp_path / "esp")
    uki = subprocess.run(
        [debian13, "mtype", "-i", esp, "::/EFI/BOOT/BOOTX64.EFI"], check=True, capture_output=True
    ).stdout
    _, _, after = uki.partition(b"init=/init usrhash=")
    root_hash = after[:64].decode()
    table = disk.read_bytes()[2 * 512 : 2 * 512 + 3 * 128]
    names = {table[at + 56 : at + 128].decode("utf-16-le").rstrip("\0"): at for at in range(0, 3 * 128, 128)}
    parts = {name: uuid.UUID(bytes_le=table[at + 16 : at + 32]).hex for name, at in names.items()}
    assert parts["store"] + parts["store-verity"] == root_hash
    store, tree = cut(disk, 1 + ESP, STORE, tmp_path / "s"), cut(disk, 1 + ESP + STORE, TREE, tmp_path / "t")
    verify = [str(debian13), "veritysetup", "verify", str(store), str(tree)]
    subprocess.run([*verify, root_hash], check=True, capture_output=True)
    with store.open("r+b") as file:
        file.seek(30 * MIB)
        file.write(b"!")
    assert subprocess.run([*verify, root_hash], check=False, capture_output=True).returncode != 0


def test_a_compressed_store_has_the_same_files(build: Build, small: Path, tmp_path: Path, debian13: Path) -> None:
    """Who saves bytes would lose a file for it."""
    done = build(tmp_path / "out", "--compress", "zstd,level=3")
    assert done.returncode == 0, done.stderr
    store = cut(tmp_path / "out/image.raw", 1 + ESP, STORE, tmp_path / "s")
    unpacked = tmp_path / "unpacked"
    subprocess.run([debian13, "fsck.erofs", f"--extract={unpacked}", store], check=True, capture_output=True)
    app = f"nix/store/{store_path('app-1')}/bin/app"
    assert (unpacked / app).read_bytes() == (small / app).read_bytes()
    assert len(store.read_bytes().rstrip(b"\0")) < 700_000, "2.1 MB of one word"


def test_another_architecture_has_its_own_names(build: Build, tmp_path: Path, debian13: Path) -> None:
    """Firmware of arm64 looks for BOOTAA64.EFI, and EC2 starts an AMI on machines of its architecture alone."""
    register = tmp_path / "register.json"
    register.write_text(json.dumps({"TpmSupport": "v2.0"}))
    done = build(tmp_path / "out", "--system", "aarch64-linux", "--register", str(register))
    assert done.returncode == 0, done.stderr
    info = json.loads((tmp_path / "out/nix-support/image-info.json").read_text())
    assert (info["system"], info["registerImage"]["Architecture"]) == ("aarch64-linux", "arm64")
    assert info["registerImage"]["TpmSupport"] == "v2.0"
    esp = cut(tmp_path / "out/image.raw", 1, ESP, tmp_path / "esp")
    listed = subprocess.run(
        [debian13, "mdir", "-b", "-i", esp, "::/EFI/BOOT"], check=True, capture_output=True, text=True
    )
    assert listed.stdout.split() == ["::/EFI/BOOT/BOOTAA64.EFI"]
