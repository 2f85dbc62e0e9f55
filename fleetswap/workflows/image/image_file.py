"""The disk in an image file, block by block, whatever the file's format; and the name of that disk.

It decides nothing about the content (`fleetswap.domain.image.disk` does) or about the layout of a format
(`fleetswap.workflows.image.decode`). It detects changes of the file during the upload, and never writes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType

from fleetswap.domain.errors import InputError
from fleetswap.domain.image import blocks, disk, vhd
from fleetswap.workflows.image.decode import ZEROS, Decoder, DynamicVhd, Plain, Qcow2
from fleetswap.workflows.image.open_file import OpenFile

IDENTITY_PREFIX = "sha256:"
"""How the identity of an image begins that is named by its content; any other is a Nix store path."""


class ImageFile:
    """An open disk image: a `BlockSource` and a context manager. `InputError` if it is no disk or cannot be opened.

    All of it may be called from any thread. `path` is the file, `size` the bytes of the disk, `format` of the file.

    Memory: what its decoder keeps (`fleetswap.workflows.image.decode`), nothing for a raw disk.
    """

    def __init__(self, path: Path, *, data: bool = False) -> None:
        """Open and inspect `path`; reads its tables, and the disk's first and last block.

        With `data`, a disk without a partition table will do: see `fleetswap.domain.image.disk.inspect`.
        """
        self.path = path
        self._data = data
        self._file = OpenFile(path)
        try:
            self.format, self._decoder = _decode(self._file)
            self.size = self._decoder.size
            self.disk = self._inspect()
        except BaseException as error:
            with self._file:
                if isinstance(error, InputError):
                    self.check_unchanged()  # a file that is being written to looks damaged: then say that
                raise

    def __enter__(self) -> ImageFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)

    def read(self, index: int, into: bytearray) -> None:
        """Fill all 512 KiB of `into` with block `index`; zeros past the disk's end.

        For a raw disk this is one preadv(2) into the buffer and one fstat(2).

        Raises `InputError` if the file contradicts itself there, `FleetswapError` if it changed or cannot be read.
        """
        offset, length = self._extent(index)
        if len(into) != blocks.BLOCK_SIZE:
            raise ValueError(f"a buffer of {len(into)} bytes for a block")
        with memoryview(into) as view:
            try:
                self._decoder.fill(offset, view[:length])
            except InputError:
                self.check_unchanged()  # a file that is being written to looks damaged: then say that
                raise
            view[length:] = ZEROS[length:]
        self._file.check_open()

    def is_hole(self, index: int) -> bool:
        """Whether nothing was ever written to the block. See `fleetswap.workflows.image.decode` for what that means."""
        return self._decoder.is_hole(*self._extent(index))

    def is_zero(self, index: int) -> bool:
        """Whether the block is known to be zeros without reading it, as a hole always is. False says nothing."""
        return self._decoder.is_zero(*self._extent(index))

    def check_unchanged(self) -> None:
        """Raise `FleetswapError` unless the path still leads to the file that was opened, not written to since.

        The kernel stamps writes with a coarse clock (4 ms or so); a change that it cannot tell is left to the caller
        to find by the content's hash.
        """
        self._file.check_unchanged()

    def _extent(self, index: int) -> tuple[int, int]:
        """First byte and length of a block of the disk."""
        offset = index * blocks.BLOCK_SIZE
        if not 0 <= offset < self.size:
            raise IndexError(f"block {index} of a disk of {self.size} bytes")
        return offset, min(blocks.BLOCK_SIZE, self.size - offset)

    def _inspect(self) -> disk.Disk:
        head = tail = b""
        if self.size > 0:
            block = bytearray(blocks.BLOCK_SIZE)
            self.read(0, block)
            head = bytes(block[: min(self.size, disk.HEAD_BYTES)])
            last = blocks.block_count(self.size) - 1
            self.read(last, block)
            tail = bytes(block[: self._extent(last)[1]][-disk.TAIL_BYTES :])
        return disk.inspect(head, tail, self.size, name=str(self.path), data=self._data)


def identify(path: Path, *, data: bool = False) -> str:
    """The identity of an image file: `sha256:` and the hex digest of the disk that it holds. Reads all of it.

    For a raw image that is what `sha256sum` prints; for another, what it prints of the raw image that
    `qemu-img convert` makes. Raises `InputError` if it is no disk (`data` is as of `ImageFile`), `FleetswapError` if it
    changes meanwhile.
    """
    whole = hashlib.sha256()
    block = bytearray(blocks.BLOCK_SIZE)
    with ImageFile(path, data=data) as image, memoryview(block) as view:
        for index in range(blocks.block_count(image.size)):
            image.read(index, block)
            whole.update(view[: image.size - index * blocks.BLOCK_SIZE])
            image.check_unchanged()
    return IDENTITY_PREFIX + whole.hexdigest()


def _decode(file: OpenFile) -> tuple[disk.Format, Decoder]:
    head = file.read(min(file.size, disk.HEAD_BYTES), 0)
    tail = file.read(min(file.size, disk.TAIL_BYTES), max(0, file.size - disk.TAIL_BYTES))
    kind = disk.tell(head, tail)
    if kind == "qcow2":
        return kind, Qcow2(file, head)
    if kind == "vhd":
        footer = vhd.parse_footer(tail, head, file.size, name=file.name)
        return kind, DynamicVhd(file, footer) if footer.kind == vhd.DYNAMIC else Plain(file, footer.size)
    return kind, Plain(file, file.size)
