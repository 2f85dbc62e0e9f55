"""The demo image as a derivation and as a disk, without booting it."""

from __future__ import annotations

import hmac
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.domain.image.evaluation import Evaluation
from fleetswap.nix import build
from tests.nix.conftest import DEMO, OPTIONS, PROJECT, name

Demo = Callable[[str], Path]
Sealed = Callable[..., Path]
MIB = 1024 * 1024
BLOCK = 512 * 1024

SEALED = """demo: ENC[AES256_GCM,data:{},iv:aXY=,tag:dGFn,type:str]
sops:
    version: 3.11.0
"""
"""Of a sealed file, what the expression looks at."""


def named(parts: Path, version: str) -> Evaluation:
    return name(DEMO, version=version, parts=str(parts))


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def sealed(parts: Path, tmp_path: Path) -> Sealed:
    """Builds a version of the demo image with a sealed file; answers with its store path."""

    def built(version: str, text: str) -> Path:
        file = tmp_path / "sealed.yaml"
        file.write_text(text)
        image = name(DEMO, version=version, parts=str(parts), secrets=str(file))
        return build.realise(image, root=None, say=lambda _: None, options=OPTIONS)

    return built


def differing(one: Path, two: Path) -> list[int]:
    """The numbers of the blocks that differ between two images of one size."""
    first, second = ((image / "disk.raw").read_bytes() for image in (one, two))
    assert len(first) == len(second)
    return [at // BLOCK for at in range(0, len(first), BLOCK) if first[at : at + BLOCK] != second[at : at + BLOCK]]


def test_built_twice_it_has_the_same_bytes(parts: Path, demo: Demo) -> None:
    """Two machines that build the same commit would ship two images under one store path."""
    demo("1")
    drv = named(parts, "1").derivation
    options = [part for name, value in OPTIONS.items() for part in ("--option", name, value)]
    done = subprocess.run(
        ["nix-store", *options, "--realise", "--check", drv], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_its_files_carry_no_time_of_the_build(demo: Demo) -> None:
    """Built at another time, the disk would have other bytes; a check within the same two seconds would not see it."""
    listing = output("mdir", "-i", f"{demo('1') / 'disk.raw'}@@1M", "-/", "::")
    times = [line for line in listing.splitlines() if "<DIR>" in line or "BOOTX64" in line]
    assert len(times) == 7  # EFI, BOOT, the executable, and two dots in each folder
    assert all("2025-01-01" in line for line in times)


def test_it_is_a_gpt_disk_that_firmware_boots(demo: Demo) -> None:
    """UEFI firmware, EC2's or QEMU's, would find nothing to start."""
    disk = demo("1") / "disk.raw"
    assert "No problems found" in output("sgdisk", "--verify", disk)
    assert "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" in output("sgdisk", "--info=1", disk)  # the EFI system partition
    executable = subprocess.run(
        ["mcopy", "-n", "-i", f"{disk}@@1M", "::/EFI/BOOT/BOOTX64.EFI", "-"], check=True, capture_output=True
    ).stdout
    assert executable.startswith(b"MZ")
    assert b"console=ttyS0" in executable
    assert disk.stat().st_size % MIB == 0
    assert disk.stat().st_size <= 24 * MIB


def test_versions_are_different_images_that_differ_little(parts: Path, demo: Demo) -> None:
    """A new version would not be deployed, or an incremental upload would send nearly all of it."""
    assert named(parts, "1") == named(parts, "1")
    assert named(parts, "1") != named(parts, "2")
    assert 1 <= len(differing(demo("1"), demo("2"))) <= 3


def test_secrets_are_opened_from_a_partition_of_their_own(parts: Path, sealed: Sealed) -> None:
    """Fifty megabytes would be in the memory of each machine and go through its firmware, or it would find no sops."""
    text = SEALED.format("b25l")
    image = sealed("1", text)
    disk = image / "disk.raw"
    assert "No problems found" in output("sgdisk", "--verify", disk)
    first = int(output("sgdisk", "--info=2", disk).split("First sector: ")[1].split()[0])
    assert first * 512 % BLOCK == 0
    volume = f"{disk}@@{first * 512}"
    files = {"sops": PROJECT / ".work/sops/sops", "trusted.pem": parts / "secrets/ca-certificates.crt"}
    for file, source in files.items():
        copied = subprocess.run(["mcopy", "-n", "-i", volume, f"::/{file}", "-"], check=True, capture_output=True)
        assert copied.stdout == source.read_bytes()
    assert output("mcopy", "-n", "-i", volume, "::/sealed.yaml", "-") == text
    listing = output("mdir", "-i", volume, "::").splitlines()
    assert sum("2025-01-01" in line for line in listing) == 3
    packages = (image / "packages").read_text()
    assert "\nsops 3." in packages
    assert "ca-certificates 2" in packages


def test_with_secrets_a_change_moves_few_blocks(sealed: Sealed) -> None:
    """Each version, and each rotation of a secret, would send the fifty megabytes of sops again."""
    one = sealed("1", SEALED.format("b25l"))
    assert 1 <= len(differing(one, sealed("2", SEALED.format("b25l")))) <= 3
    other = differing(one, sealed("1", SEALED.format("b" * 20_000)))
    assert 1 <= len(other) <= 3


def test_without_secrets_nothing_of_them_is_an_input(parts: Path, tmp_path: Path) -> None:
    """Whoever seals nothing would deploy another image because of certificates or sops, which are not in it."""
    copy = tmp_path / "parts"
    subprocess.run(["cp", "-r", parts, copy], check=True)
    (copy / "secrets" / "ca-certificates.crt").write_text("another")
    assert named(copy, "1") == named(parts, "1")
    assert "sops" not in named(parts, "1").packages


@pytest.mark.parametrize(
    ("text", "said"), [("demo: in-the-clear\n", "is not sealed"), (None, "there is no sealed file")]
)
def test_a_file_that_is_not_sealed_is_refused(parts: Path, tmp_path: Path, text: str | None, said: str) -> None:
    """A secret in the clear would be in the Nix store, in the snapshot, and on each machine."""
    file = tmp_path / "unsealed.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=said):
        name(DEMO, version="1", parts=str(parts), secrets=str(file))
    assert not list(Path("/nix/store").glob("*-unsealed.yaml"))


@pytest.mark.parametrize("key", [b"k", b"%s\\0\n\0\xff", b"k" * 64, b"k" * 65, b"\0" * 200])
def test_the_keyed_hash_is_an_hmac(tmp_path: Path, key: bytes) -> None:
    """Nobody who knows the secret could tell that a machine has it."""
    (tmp_path / "key").write_bytes(key)
    said = output("busybox", "sh", DEMO / "keyed-hash", tmp_path / "key", "i-0123456789abcdef0")
    assert said == hmac.new(key, b"i-0123456789abcdef0", "sha256").hexdigest() + "\n"


def test_the_keyed_hash_tells_no_process_its_key(tmp_path: Path) -> None:
    """Every process of a machine could read the secret among the arguments of another, or in its environment."""
    (tmp_path / "key").write_bytes(b"marker" * 5)
    log = tmp_path / "log"
    for program in ("cut", "od", "printf", "sha256sum", "tr"):
        spy = tmp_path / program
        spy.write_text(f'#!/bin/sh\n{{ echo "{program} $*"; env; }} >>{log}\nexec busybox {program} "$@"\n')
        spy.chmod(0o755)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    # Not busybox's shell, which would not look for these on PATH.
    command: list[str | Path] = ["sh", DEMO / "keyed-hash", tmp_path / "key", "i-1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=path)
    assert done.stdout == hmac.new(b"marker" * 5, b"i-1", "sha256").hexdigest() + "\n"
    told = log.read_text()
    assert "sha256sum" in told
    for form in ("marker", b"marker".hex(), "\\133\\127\\104"):  # in the clear, in hex, and xor 0x36 in octal
        assert form not in told


def test_another_kernel_is_another_image(parts: Path, tmp_path: Path) -> None:
    """A kernel with a security fix would not be deployed, since the store path stayed."""
    copy = tmp_path / "parts"
    subprocess.run(["cp", "-r", parts, copy], check=True)
    assert named(copy, "1") == named(parts, "1")
    with (copy / "vmlinuz").open("ab") as kernel:
        kernel.write(b"x")
    assert named(copy, "1") != named(parts, "1")


@pytest.mark.parametrize("version", ["", "a b", "x" * 33, "1/2", 'a"b', "1\n"])
def test_a_bad_version_is_refused(parts: Path, version: str) -> None:
    """A version could break out of the scripts or names that it is put into."""
    with pytest.raises(InputError, match=r"must be 1 to 32 of the characters A-Z a-z 0-9 \. _ -"):
        named(parts, version)


def test_without_the_kernel_the_remedy_is_to_fetch_it(tmp_path: Path) -> None:
    """A fresh checkout would show nix's error about a path that does not exist."""
    with pytest.raises(InputError, match=f"no kernel in {tmp_path}: run nix/demo/fetch-kernel {tmp_path}"):
        named(tmp_path, "1")


def test_the_manifest_in_a_preview_is_the_one_that_is_built(parts: Path, demo: Demo) -> None:
    """The package changes that a reviewer reads would not be those of the image."""
    evaluated = named(parts, "7").packages
    assert evaluated["fleetswap-demo"] == "7"
    assert {"linux-image-cloud-amd64", "busybox-static", "systemd-boot-efi"} < evaluated.keys()
    built = dict(line.split(" ", 1) for line in (demo("1") / "packages").read_text().splitlines())
    assert built == {**evaluated, "fleetswap-demo": "1"}


def test_fetching_leaves_a_complete_folder_alone(parts: Path) -> None:
    """Every `make up` would ask the network, and change each version's image when Debian has a newer kernel."""
    before = {path: path.stat().st_mtime_ns for path in parts.rglob("*")}
    done = subprocess.run([DEMO / "fetch-kernel", parts], env={"PATH": "/nowhere"}, check=False)
    assert done.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in parts.rglob("*")} == before


def test_fetching_never_mixes_two_kernels(parts: Path, tmp_path: Path) -> None:
    """A folder of an earlier version would get modules of a newer kernel, which its own does not load."""
    old = tmp_path / "old"
    subprocess.run(["cp", "-r", parts, old], check=True)
    subprocess.run(["rm", "-r", old / "secrets"], check=True)
    apt = tmp_path / "apt-get"
    apt.write_text(f'#!/bin/sh\necho "$*" >{tmp_path}/asked\nexit 1\n')
    apt.chmod(0o755)
    path = {"PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run([DEMO / "fetch-kernel", old], capture_output=True, text=True, check=False, env=path)
    assert done.returncode == 2
    assert f"remove {old} for a newer kernel" in done.stderr
    version = dict(line.split(" ", 1) for line in (parts / "packages").read_text().splitlines())
    (release,) = (path.name for path in (parts / "lib/modules").iterdir())
    asked = (tmp_path / "asked").read_text()
    assert f"linux-image-{release}={version['linux-image-cloud-amd64']} " in asked
    assert not (old / "secrets").exists()


def test_fetching_removes_nothing_that_it_did_not_make(tmp_path: Path) -> None:
    """A wrong folder in the command would cost the user what lies in it."""
    (tmp_path / "mine").write_text("keep")
    done = subprocess.run([DEMO / "fetch-kernel", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is in the way" in done.stderr
    assert (tmp_path / "mine").read_text() == "keep"
