"""Reads disks from files: raw, fixed and dynamic VHD, qcow2. By blocks, from any thread, with little memory.

A decoder knows where the bytes of the disk are in the file, and checks each place before it reads there. It decides
nothing about the disk's content, writes nothing, and keeps no copy of it except caches, whose sizes it states.

`is_hole` means *nothing was ever written here*, not *there are zeros here*: a hole of the file system, a block that a
VHD has not allocated or whose sectors its bitmap marks as never modified, a cluster that a qcow2 file has not
allocated. If qcow2 marks a cluster as zeros (the zero flag), somebody wrote zeros: that is `is_zero`, and not a hole.
Tools that convert may turn zeros into holes (`qemu-img convert` does): a hole is what the file says, not what its
creator saw.
"""

from __future__ import annotations

import re
import sys
import threading
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

from fleetswap.domain.image import qcow2, vhd
from fleetswap.domain.image.blocks import BLOCK_SIZE
from fleetswap.workflows.image.open_file import OpenFile

ZEROS = memoryview(bytes(BLOCK_SIZE))
"""A block of zeros, to copy from."""

TABLE_BYTES = 65_536
"""How much of a table is read at once."""

TABLES_KEPT = 16
"""How many such pieces of L2 tables are kept: 1 MiB, which describe 8 GiB of disk in clusters of 64 KiB."""

CLUSTERS_KEPT = 2
"""How many decompressed clusters are kept of those larger than a block (1 and 2 MiB): 4 MiB at most."""


class Decoder(Protocol):
    """The disk in a file. `offset` is a multiple of 512 KiB, and nothing reaches past the disk's end."""

    size: int

    def fill(self, offset: int, view: memoryview) -> None:
        """Fill `view`, at most 512 KiB. Raises `InputError` if the file contradicts itself."""

    def is_hole(self, offset: int, length: int) -> bool:
        """Whether nothing was ever written there."""

    def is_zero(self, offset: int, length: int) -> bool:
        """Whether all is known to read as zeros, without looking. A hole always does."""


class Plain:
    """A disk that lies in the file as it is: raw, or a fixed VHD with its footer behind. Keeps nothing."""

    def __init__(self, file: OpenFile, size: int) -> None:
        """`size` bytes of the file are the disk; the caller has checked that it has them."""
        self.size = size
        self._file = file
        self.fill = self._read

    def _read(self, offset: int, view: memoryview) -> None:
        self._file.read_into(view, offset)

    def is_hole(self, offset: int, length: int) -> bool:
        """See `Decoder`."""
        return self._file.is_hole(offset, length)

    is_zero = is_hole


class DynamicVhd:
    """A dynamic VHD. Keeps its table: 4 bytes for each of its blocks, 4 MiB for 2 TiB in blocks of 2 MiB."""

    def __init__(self, file: OpenFile, footer: vhd.Footer) -> None:
        """Read the header and the table, and check them."""
        self.size = footer.size
        self._file = file
        data = file.read(vhd.HEADER_BYTES, footer.header_at)
        self._header = header = vhd.parse_header(data, footer, file.size, name=file.name)
        table = _numbers(file, "I", header.table_at, header.entries)
        self._table = table[: header.blocks]
        vhd.check_table(self._table, table[header.blocks :], header, file.size, name=file.name)

    def fill(self, offset: int, view: memoryview) -> None:
        """See `Decoder`."""
        place = self._place(offset)
        written = self._bitmap(offset, len(view)) if place else "0"
        if "0" not in written:
            self._file.read_into(view, place)
        elif "1" not in written:
            view[:] = ZEROS[: len(view)]
        else:
            for run in re.finditer("0+|1+", written):
                first, last = (at * vhd.SECTOR for at in run.span())
                if written[run.start()] == "1":
                    self._file.read_into(view[first:last], place + first)
                else:
                    view[first:last] = ZEROS[: last - first]

    def is_hole(self, offset: int, length: int) -> bool:
        """See `Decoder`."""
        return not self._place(offset) or "1" not in self._bitmap(offset, length)

    is_zero = is_hole

    def _place(self, offset: int) -> int:
        """Where the data of the disk's byte `offset` lies; 0 if its block was never written."""
        block, inside = divmod(offset, self._header.block_size)
        start = self._table[block]
        return 0 if start == vhd.UNUSED else start * vhd.SECTOR + self._header.bitmap_size + inside

    def _bitmap(self, offset: int, length: int) -> str:
        """A digit for each sector, 1 if it was ever written. 512 KiB are 128 bytes of the bitmap, from a whole byte.

        QEMU sets all bits of a block and ignores them when it reads; by the specification a sector that is not set was
        never modified, so it reads as zeros. The highest bit of a byte is the first sector.
        """
        block, inside = divmod(offset, self._header.block_size)
        sectors = length // vhd.SECTOR
        bits = self._file.read(-(-sectors // 8), self._table[block] * vhd.SECTOR + inside // vhd.SECTOR // 8)
        return f"{int.from_bytes(bits):0{8 * len(bits)}b}"[:sectors]


class Qcow2:
    """A qcow2 file without others behind it. Deflated clusters are inflated.

    Keeps 16 bytes for each L2 table (2 KiB for 64 GiB in clusters of 64 KiB; 8 MiB at most, see `qcow2.MAX_L1_BYTES`),
    `TABLES_KEPT` pieces of L2 tables and `CLUSTERS_KEPT` clusters. A thread that reads a compressed cluster holds its
    two forms, 1.5 MiB at most; of clusters larger than a block only one thread at a time does, 6 MiB at most.
    """

    def __init__(self, file: OpenFile, head: bytes) -> None:
        """Read the header and the L1 table, and check them."""
        self._file = file
        self._header = header = qcow2.parse(head, file.size, name=file.name)
        self.size = header.size
        self._l1 = array("Q", map(header.table, _numbers(file, "Q", header.l1_at, header.tables)))
        self._tables = array("Q", sorted(filter(None, self._l1)))
        self._check_tables()
        self._check_snapshots()
        self._piece = lru_cache(maxsize=TABLES_KEPT)(self._read_piece)
        self._large = lru_cache(maxsize=CLUSTERS_KEPT)(self._inflate)
        self._one = threading.Lock()

    def fill(self, offset: int, view: memoryview) -> None:
        """See `Decoder`."""
        done = 0
        for cluster, inside, length in self._runs(offset, len(view)):
            part = view[done : done + length]
            if cluster.kind is qcow2.Kind.DATA:
                self._check_place(cluster.at, inside, length)
                self._file.read_into(part, cluster.at + inside)
            elif cluster.kind is qcow2.Kind.COMPRESSED:
                part[:] = self._inflated(cluster)[inside : inside + length]
            else:
                part[:] = ZEROS[:length]
            done += length

    def is_hole(self, offset: int, length: int) -> bool:
        """See `Decoder`."""
        return all(cluster.kind is qcow2.Kind.UNALLOCATED for cluster, _, _ in self._runs(offset, length))

    def is_zero(self, offset: int, length: int) -> bool:
        """See `Decoder`."""
        zeros = (qcow2.Kind.UNALLOCATED, qcow2.Kind.ZERO)
        return all(cluster.kind in zeros for cluster, _, _ in self._runs(offset, length))

    def _runs(self, offset: int, length: int) -> Iterator[tuple[qcow2.Cluster, int, int]]:
        """What lies where, in order: cluster, first byte in it, bytes. Clusters that follow each other are one run."""
        size = self._header.cluster_size
        number, inside = divmod(offset, size)
        run, start, covered = None, 0, 0
        for entry in self._entries(number, -(-(inside + length) // size)):
            cluster = self._header.cluster(entry)
            here = min(size - inside, length)
            if run is not None and _follows(cluster, run, run.at + start + covered):
                covered += here
            else:
                if run is not None:
                    yield run, start, covered
                run, start, covered = cluster, inside, here
            length -= here
            inside = 0
        if run is not None:
            yield run, start, covered

    def _entries(self, first: int, count: int) -> list[int]:
        """The L2 entries of `count` clusters of the disk."""
        per_table = self._header.cluster_size // 8
        per_piece = min(per_table, TABLE_BYTES // 8)
        entries: list[int] = []
        while len(entries) < count:
            table, inside = divmod(first + len(entries), per_table)
            if not (at := self._l1[table]):
                entries += [0] * min(count - len(entries), per_table - inside)
                continue
            piece, inside = divmod(inside, per_piece)
            entries += self._piece(at + piece * TABLE_BYTES, per_piece)[inside : inside + count - len(entries)]
        return entries

    def _read_piece(self, at: int, entries: int) -> array[int]:
        return _numbers(self._file, "Q", at, entries)

    def _inflated(self, cluster: qcow2.Cluster) -> bytes:
        if self._header.cluster_size <= BLOCK_SIZE:
            return self._inflate(cluster)
        # Several blocks lie in it, and threads read them at once: one of them inflates, the others wait for it.
        with self._one:
            return self._large(cluster)

    def _inflate(self, cluster: qcow2.Cluster) -> bytes:
        size = self._header.cluster_size
        self._check_place(cluster.at, 0, 1)
        # The field counts whole sectors, and the last one of the file may be shorter.
        stored = self._file.read(min(cluster.stored, self._file.size - cluster.at), cluster.at)
        try:
            # Raw deflate (spec, "compression_type"). QEMU writes it with a window of 4 KiB; the spec does not limit it.
            data = zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(stored, size)
        except zlib.error:
            data = b""
        if len(data) != size:
            raise qcow2.damaged(self._file.name, f"the compressed cluster at byte {cluster.at} cannot be unpacked")
        return data

    def _check_tables(self) -> None:
        """Raise `InputError` if an L2 table lies outside of the file, on another, or on the header or the L1 table."""
        size = self._header.cluster_size
        before = 0
        for at in self._tables:
            if at + size > self._file.size:
                raise qcow2.damaged(self._file.name, f"an L2 table at byte {at} is outside the file: truncated?")
            if at == before or self._on_header(at, size):
                raise qcow2.damaged(self._file.name, f"an L2 table at byte {at} overlaps something else")
            before = at

    def _check_snapshots(self) -> None:
        """Raise `InputError` if the table of internal snapshots contradicts itself. One short read for each of them."""
        at = self._header.snapshots_at
        for _ in range(self._header.snapshots):
            there = max(0, min(qcow2.SNAPSHOT.size, self._file.size - at))
            at = self._header.after_snapshot(at, self._file.read(there, at).ljust(qcow2.SNAPSHOT.size, b"\0"))

    def _check_place(self, cluster_at: int, inside: int, length: int) -> None:
        """Raise `InputError` unless these bytes lie in the file, and not on what describes it."""
        at = cluster_at + inside
        if at + length > self._file.size:
            raise qcow2.damaged(self._file.name, f"a cluster at byte {at} is outside the file: truncated?")
        table = bisect_right(self._tables, at + length - 1) - 1
        on_table = table >= 0 and at < self._tables[table] + self._header.cluster_size
        if on_table or self._on_header(at, length):
            raise qcow2.damaged(self._file.name, f"a cluster at byte {at} overlaps a table")

    def _on_header(self, at: int, length: int) -> bool:
        header = self._header
        kept = (
            (0, header.cluster_size),
            (header.l1_at, header.tables * 8),
            (header.refcounts_at, header.refcounts_size),
        )
        return any(at < first + size and first < at + length for first, size in kept)


def _follows(cluster: qcow2.Cluster, run: qcow2.Cluster, end: int) -> bool:
    """Whether a cluster goes on where a run of them ends, at byte `end` of the file if it is data."""
    if cluster.kind is qcow2.Kind.DATA:
        return run.kind is qcow2.Kind.DATA and cluster.at == end
    return cluster.kind is run.kind and cluster.kind is not qcow2.Kind.COMPRESSED


def _numbers(file: OpenFile, kind: str, at: int, count: int) -> array[int]:
    """A table of big-endian numbers that lies in the file, read in pieces. `kind`: "I" for 32 bits, "Q" for 64."""
    numbers = array(kind)
    end = at + count * numbers.itemsize
    for start in range(at, end, TABLE_BYTES):
        numbers.frombytes(file.read(min(TABLE_BYTES, end - start), start))
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers
