"""Makes a raw UEFI disk of a closure and a unified kernel image (UKI), the same bytes from the same input.

    build-disk --closure closure.json --uki web.efi OUT
    build-disk --closure closure.json --uki-config uki.conf --verity OUT

OUT is created, with `NAME.raw` and, under `nix-support`, `image-info.json` and `closure.json`. The disk has a boot
partition (`esp`: the UKI, as the file that firmware starts without being asked), the store (`store`: erofs, see
lay_out.py) and with --verity its hash tree (`store-verity`). The programs come from PATH: mkfs.erofs (1.8 or later),
mformat, mmd and mcopy, systemd-repart (252 or later), with --verity veritysetup, with --uki-config ukify. It needs
neither root nor a loop device nor a machine, and leaves nothing behind when it fails.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from types import FrameType
from typing import Any

import closure
import store
from programs import Refused, fixed_uuid, need, run

MIB = 1 << 20
SYSTEMS = {
    "x86_64-linux": ("x86_64", "BOOTX64.EFI", "usr-x86-64"),
    "aarch64-linux": ("arm64", "BOOTAA64.EFI", "usr-arm64"),
}
"""By Nix's name of a system: EC2's architecture, the file that UEFI starts, the type of the store's partition."""

USRHASH = "@usrhash@"
"""Where the root hash of the store goes in the file of --uki-config."""

LEAST_ESP = 36
"""MiB. FAT32 has a least size, and firmware expects FAT32."""

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Exit status 0 if OUT is complete; 1, with one line, if it cannot be."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, _stop)
    os.umask(0o022)
    try:
        _build(asked)
    except Refused as error:
        print(f"build-disk: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"build-disk: {error.filename or 'a file'}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="build-disk", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to create")
    parser.add_argument(
        "--closure", required=True, type=Path, metavar="FILE",
        help="closure.json, or the list of paths that Nix writes for exportReferencesGraph, with --toplevel",
    )  # fmt: skip
    parser.add_argument(
        "--toplevel", metavar="PATH", help="the store path that all others are of (default: closure.json's root)"
    )
    parser.add_argument("--licences", type=Path, metavar="FILE", help="JSON: package name = SPDX expression")
    parser.add_argument("--root", default="/", metavar="DIR", help="the folder with nix/store (/)")
    uki = parser.add_mutually_exclusive_group(required=True)
    uki.add_argument("--uki", type=Path, metavar="FILE", help="the unified kernel image")
    uki.add_argument(
        "--uki-config", type=Path, metavar="FILE",
        help=f"ukify's configuration to make it from; {USRHASH} in it becomes the root hash of --verity",
    )  # fmt: skip
    parser.add_argument("--system", choices=SYSTEMS, default="x86_64-linux")
    parser.add_argument("--name", default="image", help="of the disk's file, without .raw (image)")
    parser.add_argument("--label", default="", help="what image-info.json calls the image")
    parser.add_argument(
        "--store-size", type=_size, metavar="SIZE",
        help="of the store's partition: 1536M, 2G; default: 1.5 times the data, rounded up to 256M, 384M, 512M, …",
    )  # fmt: skip
    parser.add_argument(
        "--esp-size", type=_size, default=128 * MIB, metavar="SIZE", help="of the boot partition (128M)"
    )
    parser.add_argument("--verity", action="store_true", help="dm-verity for the store; needs --uki-config")
    parser.add_argument(
        "--compress",
        metavar="ALGORITHM",
        help="as of mkfs.erofs -z: lz4, zstd,level=3; the order of the files is then erofs's",
    )
    parser.add_argument(
        "--symlink",
        action="append",
        default=[],
        metavar="PATH=TARGET",
        help="one more, beside nix/store: bin/env=/nix/store/…",
    )
    parser.add_argument("--register", type=Path, metavar="FILE", help="JSON to add to registerImage: TpmSupport, …")
    return parser.parse_args()


def _size(text: str) -> int:
    number, unit = text[:-1], text[-1:].upper()
    if unit not in ("M", "G") or not number.isdigit() or not int(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size in whole MiB or GiB, such as 1536M or 2G")
    return int(number) * (MIB if unit == "M" else 1024 * MIB)


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (signal's)
    raise SystemExit(128 + number)


def _build(asked: argparse.Namespace) -> None:
    _check_verity(asked)
    need(["mkfs.erofs", "mformat", "mmd", "mcopy", "systemd-repart"])
    need((["veritysetup"] if asked.verity else []) + (["ukify"] if asked.uki_config else []))
    licences = closure.read_object(asked.licences) if asked.licences else None
    whole = closure.read(asked.closure, asked.toplevel, licences)
    register = closure.read_object(asked.register) if asked.register else {}
    try:
        asked.out.mkdir()
    except FileExistsError:
        raise Refused(f"{asked.out} exists: remove it, or name another folder") from None
    try:
        work = asked.out.resolve() / "work"
        work.mkdir()
        disk = _make_disk(asked, whole, work)
        _write_support(asked, whole, register, disk)
        disk.rename(asked.out / f"{asked.name}.raw")  # last: whoever finds the disk finds all of it
        shutil.rmtree(work)
    except BaseException:
        shutil.rmtree(asked.out, ignore_errors=True)
        raise


def _check_verity(asked: argparse.Namespace) -> None:
    if not asked.uki_config:
        if asked.verity:
            raise Refused("--verity needs --uki-config: the UKI holds the root hash, and is made after the store")
    elif asked.verity != (USRHASH in asked.uki_config.read_text()):
        wrong = "has no" if asked.verity else "needs --verity: it has"
        raise Refused(f"{asked.uki_config} {wrong} usrhash={USRHASH} in its command line")


def _make_disk(asked: argparse.Namespace, whole: dict[str, Any], work: Path) -> Path:
    """Make each partition, then put them into one disk."""
    _, boot_file, kind = SYSTEMS[asked.system]
    esp, image, tree = work / "esp.fat", work / "store.erofs", work / "store.verity"
    files = store.scanned(whole, asked.root, asked.symlink)
    size = store.make(files, image, name=asked.name, size=asked.store_size, compress=asked.compress)
    partitions: dict[str, dict[str, object]] = {
        "10-esp": {"image": esp, "size": asked.esp_size, "uuid": fixed_uuid(asked.name, "esp")},
        "20-store": {"image": image, "size": size, "uuid": fixed_uuid(asked.name, "store"), "type": "linux-generic"},
    }
    uki = asked.uki
    root_hash = ""
    if asked.verity:
        root_hash = store.make_verity(image, tree, name=asked.name)
        # systemd-veritysetup-generator(8): with these UUIDs `usrhash=` in the command line is enough.
        partitions["20-store"].update(type=kind, uuid=uuid.UUID(root_hash[:32]))
        verity = {"size": tree.stat().st_size, "uuid": uuid.UUID(root_hash[32:]), "type": f"{kind}-verity"}
        partitions["30-store-verity"] = {"image": tree, **verity}
    if asked.uki_config:
        uki, config = work / "uki.efi", work / "uki.conf"
        config.write_text(asked.uki_config.read_text().replace(USRHASH, root_hash))
        run(["ukify", "build", f"--config={config}", f"--output={uki}"])
    _make_esp(asked, uki, boot_file, esp)
    return _put_together(asked, partitions, work)


def _make_esp(asked: argparse.Namespace, uki: Path, boot_file: str, image: Path) -> None:
    size = asked.esp_size
    needed = max(uki.stat().st_size * 65 // 64 // MIB + 4, LEAST_ESP)
    if size < needed * MIB:
        raise Refused(f"{uki} does not fit into the boot partition: --esp-size is {size // MIB}M: give it {needed}M")
    with image.open("wb") as file:
        file.truncate(size)
    # FAT32 has at least 65,525 clusters; the larger they are, the faster firmware reads.
    sectors = next(count for count in (8, 4, 2, 1) if size // (512 * count) > 66_000)
    mtools = ["-i", str(image)]
    run(["mformat", *mtools, "-F", "-c", str(sectors), "-N", fixed_uuid(asked.name, "fat")[:8], "-v", "ESP", "::"])
    run(["mmd", *mtools, "::/EFI", "::/EFI/BOOT"])
    run(["mcopy", *mtools, str(uki), f"::/EFI/BOOT/{boot_file}"])


def _put_together(asked: argparse.Namespace, partitions: dict[str, dict[str, object]], work: Path) -> Path:
    """Let systemd-repart place the partitions, by the definitions in repart.d."""
    definitions, disk = work / "repart.d", work / "disk.raw"
    definitions.mkdir()
    for name, values in partitions.items():
        text = (HERE / "repart.d" / f"{name}.conf").read_text()
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        (definitions / f"{name}.conf").write_text(text)
    whole = sum(int(str(values["size"])) for values in partitions.values()) + 2 * MIB  # one at each end, for the tables
    command = ["systemd-repart", f"--definitions={definitions}", f"--seed={fixed_uuid(asked.name, 'disk')}"]
    run([*command, "--empty=create", f"--size={whole}", "--dry-run=no", "--pretty=no", "--no-pager", str(disk)])
    if shutil.which("fallocate"):  # the zeros, of which repart writes every one, need no room on this machine
        subprocess.run(["fallocate", "--dig-holes", str(disk)], check=False, stderr=subprocess.DEVNULL)
    return disk


def _write_support(asked: argparse.Namespace, whole: dict[str, Any], register: dict[str, Any], disk: Path) -> None:
    """What Fleetswap reads beside the disk. The names are those of nixpkgs' Amazon image."""
    info = {
        "boot_mode": "uefi",
        "file": f"{asked.name}.raw",
        "label": asked.label or asked.name,
        "logical_bytes": str(disk.stat().st_size),
        "registerImage": {
            "Architecture": SYSTEMS[asked.system][0],
            "BootMode": "uefi",
            "EnaSupport": True,
            "ImdsSupport": "v2.0",
            "RootDeviceName": "/dev/xvda",
            **register,
        },
        "system": asked.system,
    }
    support = asked.out / "nix-support"
    support.mkdir()
    for name, content in (("image-info", info), ("closure", whole)):
        (support / f"{name}.json").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
