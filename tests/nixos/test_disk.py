"""The image's derivation, really built: our modules, stand-in packages, and the builder of nix/image."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetswap.domain.errors import FleetswapError
from fleetswap.domain.image.source import NixImage
from fleetswap.nix.output import read
from fleetswap.nix.source import NixSource
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.image.ship import ship
from tests.fakes.ebs import BLOCK, FakeClock, FakeSnapshots, nothing
from tests.nixos.evaluate import BUILD, system, value

MIB = 1 << 20
SIZES = '{ fleetswap.image = { name = "web"; storeSize = "64M"; espSize = "40M"; }; fleetswap.web.enable = true; }'
OTHER = '{ networking.hostName = "other"; }'
VERITY = "{ fleetswap.image.verity.enable = true; }"
Built = Callable[[str], Path]


def source_of(modules: str, folder: Path) -> NixSource:
    """The image of a configuration, as the settings of a stack name one."""
    (folder / "default.nix").write_text(f"{system(SIZES + modules)}.config.system.build.fleetswapImage")
    return NixSource(NixImage("default.nix", {}, BUILD), folder)


@pytest.fixture(scope="module")
def built(debian13: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Evaluates and builds a configuration as a deploy does, with this Debian's nix; the result is the disk."""
    assert debian13

    def image(modules: str) -> Path:
        source = source_of(modules, tmp_path_factory.mktemp("image"))
        said = source.evaluate()
        disk = source.bring(lambda _: None)
        assert disk == Path(said.identity) / "web.raw"
        assert source.output is not None
        assert source.output.info is not None
        assert said.register == source.output.info["registerImage"], "or the deploy ends between build and upload"
        return disk

    return image


@pytest.fixture(scope="module")
def plain(built: Built) -> Path:
    """The image without dm-verity."""
    return built("")


def part(disk: Path, start: int, size: int, to: Path) -> Path:
    """A partition as a file of its own; in MiB."""
    with disk.open("rb") as whole:
        whole.seek(start * MIB)
        to.write_bytes(whole.read(size * MIB))
    return to


def command_line(debian13: Path, disk: Path, folder: Path) -> str:
    """The kernel's command line, out of the file that the firmware starts."""
    esp, uki, section = part(disk, 1, 40, folder / "esp.fat"), folder / "uki.efi", folder / "cmdline"
    subprocess.run([debian13, "mcopy", "-i", esp, "::/EFI/BOOT/BOOTX64.EFI", uki], check=True)
    subprocess.run(["objcopy", "-O", "binary", "--only-section=.cmdline", uki, section], check=True)
    return section.read_bytes().rstrip(b"\0").decode().strip()


def test_the_disk_starts_the_system_that_is_in_its_store(plain: Path, debian13: Path, tmp_path: Path) -> None:
    """The machine would start another system, or one that is not there."""
    words = command_line(debian13, plain, tmp_path).split()
    (init,) = [word.removeprefix("init=") for word in words if word.startswith("init=")]
    assert {"console=ttyS0,115200", "panic=10", "root=fstab"} <= {*words}
    out = tmp_path / "unpacked"
    store = part(plain, 41, 64, tmp_path / "store.erofs")
    subprocess.run([debian13, "fsck.erofs", f"--extract={out}", store], check=True, capture_output=True)
    assert (out / init.lstrip("/")).read_text().startswith("systemd /nix/store/")
    env = (out / "bin/env").readlink()
    assert value(f"{system()}.config.environment.usrbinenv") == str(env)


def test_what_the_output_says_of_the_disk(plain: Path) -> None:
    """The AMI would be registered for another machine; a manifest would not have what is in the store."""
    output = read(plain.parent)
    assert output.disk == plain
    info, closure = output.info, output.closure
    assert info is not None
    assert closure is not None
    image = f"{system(SIZES)}.config.system.build.fleetswapImage"
    assert info["registerImage"] == value(f"{image}.registerImage")
    assert (info["file"], info["system"], info["boot_mode"]) == ("web.raw", "x86_64-linux", "uefi")
    assert int(info["logical_bytes"]) == plain.stat().st_size
    real = subprocess.run(["nix-store", "-qR", closure["root"]], check=True, capture_output=True, text=True).stdout
    assert [path["path"] for path in closure["paths"]] == sorted(real.split())
    assert closure["root"].endswith("-nixos-system-nixos-25.11")
    assert closure["licences"] == value(f"{image}.licences")
    assert "nginx" in {path["path"].partition("-")[2].partition("-")[0] for path in closure["paths"]}


def test_verity_covers_the_store_and_the_kernel_knows_the_hash(built: Built, debian13: Path, tmp_path: Path) -> None:
    """A changed block would be served, or the machine would not find the hash of its store."""
    disk = built(VERITY)
    words = command_line(debian13, disk, tmp_path).split()
    (root,) = [word.removeprefix("usrhash=") for word in words if word.startswith("usrhash=")]
    assert re.fullmatch("[0-9a-f]{64}", root)
    store, tree = part(disk, 41, 64, tmp_path / "store"), part(disk, 105, 1, tmp_path / "tree")
    verify: list[str | Path] = [debian13, "veritysetup", "verify", store, tree, root]
    subprocess.run(verify, check=True, capture_output=True)
    with store.open("r+b") as file:
        file.seek(MIB)
        file.write(b"changed")
    assert subprocess.run(verify, check=False, capture_output=True).returncode != 0


def test_a_store_that_is_too_small_says_so(built: Built) -> None:
    """The build would fail with the words of a program that the user has never called."""
    with pytest.raises(FleetswapError, match="build-disk: the store does not fit") as error:
        built('({ lib, ... }: { fleetswap.image.storeSize = lib.mkForce "1M"; })')
    assert "give it 256M" in str(error.value)
    assert "fleetswap.image.storeSize" in str(error.value)


def test_it_is_shipped(plain: Path, tmp_path: Path) -> None:
    """A deploy would find no boot file on our own disk, or lose what the image consists of on the way to EBS."""
    source, port = source_of("", tmp_path), FakeSnapshots()
    request = UploadRequest(source.identity(), "demo/local")
    shipped = ship(request, source, port, port, nothing, clock=FakeClock(), connections=2)
    held = port.held[shipped.uploaded.snapshot_id].blocks
    content = plain.read_bytes()
    for index in range(len(content) // BLOCK):
        block = content[index * BLOCK : (index + 1) * BLOCK]
        assert held.get(index, bytes(BLOCK)) == block
    contains = source.manifest()
    assert contains is not None
    assert contains.closure is not None
    assert {"nginx", "openssl", "systemd"} <= {each.name for each in contains.closure.components.values()}


def test_the_disk_keeps_no_system_in_the_store(debian13: Path, tmp_path: Path) -> None:
    """Every image would keep its whole system, and all of its history, from Nix's garbage collector."""
    expression = tmp_path / "default.nix"
    expression.write_text(f"{system(SIZES + OTHER)}.config.system.build.fleetswapImage")
    options = [word for name, setting in BUILD.items() for word in ("--option", name, setting)]
    command: list[str | Path] = [debian13, "nix-build", "--no-out-link", *options, expression]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    query: list[str | Path] = [debian13, "nix-store", "--query", "--references", out]
    assert subprocess.run(query, check=True, capture_output=True, text=True).stdout == ""
