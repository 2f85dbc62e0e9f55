"""Makes the file system of the store, with the layout of lay_out.py, and the hash tree of dm-verity beside it."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, cast

import lay_out
from lay_out import BLOCK
from programs import Refused, environment, error_of, fixed_uuid, run

MIB = 1 << 20


def make(tree: lay_out.Tree, image: Path, *, name: str, size: int | None, compress: str | None) -> int:
    """Make the file system, filled up to the size of its partition, which is returned; `size` is what it is to be.

    With `compress`, mkfs.erofs puts the files in an order of its own, by path.
    """
    wanted = lay_out.slots(tree)
    asked, size = size, size or lay_out.size_for(wanted)
    command = ["mkfs.erofs", "--quiet", "-T1", "--all-root", f"-U{fixed_uuid(name, 'erofs')}", "-x-1", "--tar=f"]
    if compress:
        # Between compressed files there is nothing to keep free: it would be zeros to compress.
        placed, end = lay_out.one_behind_another(wanted), 0
        command += [f"-z{compress}", "-C65536"]
    else:
        placed, end = _placed(wanted, size), lay_out.data_blocks(size)
        # With data beside the inodes, a file that grows would move all others.
        command += ["--sort=none", "-Enoinline_data"]
    _mkfs([*command, str(image)], tree, placed, end, image.with_suffix(".log"))
    made = image.stat().st_size
    if compress and not asked:
        size = next(step for step in lay_out.STEPS if step >= made * 5 // 4)
    if made > size:
        step = next(step for step in lay_out.STEPS if step >= made)
        raise Refused(
            f"the store takes {-(-made // MIB)} MiB, and --store-size is {size // MIB}M: give it {step // MIB}M"
        )
    if not compress:
        _check(placed, image)
    os.truncate(image, size)
    return size


def _placed(wanted: list[lay_out.Slot], size: int) -> dict[int, lay_out.Slot]:
    try:
        return lay_out.place(wanted, lay_out.data_blocks(size))
    except lay_out.Full as full:
        enough = lay_out.size_for(wanted) // MIB
        raise Refused(
            f"the store does not fit: {full.blocks * BLOCK // MIB} MiB of data, and --store-size is {size // MIB}M: "
            f"give it {enough}M, or leave --store-size out"
        ) from None


def _mkfs(command: list[str], tree: lay_out.Tree, placed: dict[int, lay_out.Slot], end: int, log: Path) -> None:
    around = environment()
    del around["SOURCE_DATE_EPOCH"]  # it would go before -T1, the time that Nix gives every file
    broken = False
    with (
        log.open("wb") as said,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said, env=around) as mkfs,
    ):
        try:
            with cast("BinaryIO", mkfs.stdin) as pipe:
                lay_out.write_tar(tree, placed, end, pipe)
            mkfs.wait()
        except BrokenPipeError:
            broken = True  # it says itself why it ended
        except BaseException:
            mkfs.kill()
            raise
    if mkfs.returncode or broken:
        raise Refused(f"mkfs.erofs failed: {error_of(log.read_text(errors='replace'))}")


def _check(placed: dict[int, lay_out.Slot], image: Path) -> None:
    """Whether the data is where it was to be: an mkfs.erofs with an order of its own would move everything, unseen."""
    with image.open("rb") as made:
        for start, slot in placed.items():
            made.seek(start * BLOCK)
            with Path(slot.files[0].source).open("rb") as source:
                head = source.read(lay_out.PAGE)
            if made.read(len(head)) != head:
                version = run(["mkfs.erofs", "--version"]).split("\n")[0]
                raise Refused(f"{version} did not keep the order of its input: use 1.8 or later")


def make_verity(store: Path, tree: Path, *, name: str) -> str:
    """Write the hash tree, in whole MiB; the root hash is returned."""
    salt = hashlib.sha256(fixed_uuid(name, "salt").encode()).hexdigest()
    # Said, not left to a default: systemd-repart takes the disk's sectors, which makes the tree eight times as large.
    command = ["veritysetup", "format", "--data-block-size=4096", "--hash-block-size=4096", "--hash=sha256"]
    said = run([*command, f"--salt={salt}", f"--uuid={fixed_uuid(name, 'verity')}", str(store), str(tree)])
    found = [line.partition(":")[2].strip() for line in said.splitlines() if line.startswith("Root hash:")]
    if len(found) != 1 or len(found[0]) != 64:
        raise Refused(f"veritysetup named no root hash: {error_of(said)}")
    os.truncate(tree, -(-tree.stat().st_size // MIB) * MIB)
    return found[0]


def scanned(closure: dict[str, object], root: str, symlinks: Iterable[str]) -> lay_out.Tree:
    """What goes into the store image: the closure's paths, as they are under `root`, and symlinks `PATH=TARGET`."""
    paths = cast("list[dict[str, str]]", closure["paths"])
    tree = lay_out.scan((info["path"].rpartition("/")[2] for info in paths), root)
    for each in symlinks:
        path, equals, target = each.partition("=")
        if not (equals and target) or not all(part not in ("", ".", "..") for part in path.split("/")):
            raise Refused(f"--symlink {each}: it must be PATH=TARGET, with a path such as bin/env")
        tree.links.append((path, target))
    return tree
