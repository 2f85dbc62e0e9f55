"""Finds what firmware starts from an image, in its file or in its snapshot, and says what a NitroTPM measures of it.

It reads the EFI system partition alone, and changes nothing. What is measured of a disk that cannot be followed to the
end is not known, and then the image is refused: see `fleetswap.domain.boot.measured`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from fleetswap.domain.boot.measured import Measurements, measurements
from fleetswap.domain.errors import InputError
from fleetswap.domain.image import blocks, boot, disk, fat
from fleetswap.domain.image.disk import Disk
from fleetswap.domain.image.info import ImageInfo
from fleetswap.workflows.clock import Clock, SystemClock
from fleetswap.workflows.image.block_list import listing
from fleetswap.workflows.image.bootable import blocks_of, read_partition
from fleetswap.workflows.image.image_file import ImageFile
from fleetswap.workflows.image.ports import Reads
from fleetswap.workflows.retry import Patience

PATIENCE_SECONDS = 60.0
"""Silence after which reading a snapshot is given up: nothing was sent yet, and the next update reads it again."""

PAGE = 128
"""Blocks that are listed at once: ListSnapshotBlocks answers with 100 to 10,000."""

MOST_BYTES = 1 << 30
"""Of a UKI, which is read into memory as a whole. A damaged file system may say 4 GiB of any file."""

Block = Callable[[int], bytes]
"""The block of a disk with that index."""


def of_image(image: ImageFile, info: ImageInfo) -> Measurements:
    """What is measured of an open image. Raises `InputError`, see `fleetswap.domain.boot.measured.measurements`."""
    return _of(image.disk, blocks_of(image), image.size, info, str(image.path))


def of_snapshot(
    port: Reads, snapshot_id: str, volume_gib: int, info: ImageInfo, *, clock: Clock | None = None
) -> Measurements:
    """The same of a completed snapshot, block by block: about as many requests as a UKI has half MiB.

    Raises `CloudError` if the snapshot cannot be read.
    """
    clock = clock or SystemClock()
    patience = Patience(clock, threading.Event(), seconds=PATIENCE_SECONDS)
    tokens: dict[int, str] = {}
    listed: set[int] = set()

    def block(index: int) -> bytes:
        page = index // PAGE
        if page not in listed:
            tokens.update(listing(port, patience, snapshot_id, page * PAGE, (page + 1) * PAGE))
            listed.add(page)
        token = tokens.get(index)
        # A block that the snapshot does not have is zeros.
        return bytes(blocks.BLOCK_SIZE) if token is None else patience.call(lambda: port.get(snapshot_id, index, token))

    size = volume_gib << 30
    name = f"in snapshot {snapshot_id}"
    return _of(disk.inspect(block(0)[: disk.HEAD_BYTES], b"", size, name=name), block, size, info, name)


def _of(found: Disk, block: Block, size: int, info: ImageInfo, name: str) -> Measurements:
    readers = [read_partition(block, start, min(length, size - start)) for start, length in found.efi]
    loader = boot.LOADERS[info.architecture]
    starts = [(read, files) for read in readers if (files := _files(read, name, boot.FOLDER))]
    if len(starts) != 1 or loader not in starts[0][1]:
        raise InputError(
            f"image {name} cannot be attested: not exactly one of its partitions has \\EFI\\BOOT\\{loader}, so its"
            " measurements are not known: build it with one EFI system partition"
        )
    [(read, files)] = starts
    _refuse_additions(name, files, _files(read, name, ("LOADER",)))
    if files[loader].size > MOST_BYTES:
        raise InputError(
            f"image {name} cannot be attested: what its firmware starts has {files[loader].size} bytes, and may have"
            f" {MOST_BYTES}: build it smaller"
        )
    uki = fat.content(read, files[loader])
    if uki is None:
        raise _unreadable(name)
    # Any other file may be what the kernel mounts: a file system in a file, as on live disks.
    beside = [{*_files(read, name, boot.FOLDER[:depth])} for depth in range(len(boot.FOLDER))]
    alone = found.partitions == 1 and [*beside, {*files}] == [{each} for each in (*boot.FOLDER, loader)]
    return measurements(uki, name=name, alone=alone)


def _files(read: fat.Read, name: str, folder: tuple[str, ...]) -> Mapping[str, fat.Found]:
    found = fat.entries(read, folder)
    if found is None:
        raise _unreadable(name)
    return found


def _refuse_additions(name: str, *folders: Mapping[str, fat.Found]) -> None:
    """Refuse folders where systemd-stub looks: beside it, and in `\\loader` (systemd-stub(7), "Companion files")."""
    if any(each.is_folder for folder in folders for each in folder.values()):
        raise InputError(
            f"image {name} cannot be attested: its EFI system partition has folders beside the unified kernel image,"
            " and systemd-stub measures what is in them (credentials, addons, extensions): put it into that image"
        )


def _unreadable(name: str) -> InputError:
    return InputError(
        f"image {name} cannot be attested: its EFI system partition cannot be read, so its measurements are not known:"
        " build it again"
    )
