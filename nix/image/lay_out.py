"""Where the files of a closure lie in the store image, so that a change of one package moves few blocks.

EBS counts a block of 512 KiB as changed if one byte of it is, and a file system that puts files one behind another
moves all that follows a file that grew. Here nothing has to move for the sake of something else:

- Files are cut into *slots*: a large path has one or more of its own, small paths share one with their neighbours by
  name. A slot ends where the names say so, never because it is full: a new path changes its own slot alone.
- Each slot starts on a block, at a *home* that is computed from the names in it, without the hash and the version: a
  rebuilt package stays where it was. If the home is taken, it is at the next free run of blocks.
- What nearly every change of a configuration touches (the system's top level, etc, units) is one slot.

It decides from names and sizes alone: the same closure has the same layout everywhere. It reads no content but to copy
it. `mkfs.erofs --tar=f --sort=none` takes what it writes, and lays data out in the order of that tar.
"""

from __future__ import annotations

import os
import re
import stat
import tarfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import BinaryIO

from programs import Refused

BLOCK = 512 * 1024
"""The unit of EBS: changed or not as a whole."""

PAGE = 4096
"""The block size of the file system: where a file can start."""

SMALL = 512 * 1024
"""A store path with less data shares its slot with others."""

SHARED = 1024 * 1024
"""How much a slot of small paths holds, on average."""

PIECE = 8 * 1024 * 1024
"""How much of a large path a slot holds, on average. A file of half of it or more has a slot of its own."""

SYSTEM = re.compile(r"nixos-system-.*|etc|etc-.*|.*-units|unit-.*|boot\.json|users-groups\.json")
"""NixOS's names for what a change of the configuration rebuilds (nixos/lib/systemd-lib.nix, system/etc)."""

STORE = "nix/store"
SPACE = ".space"
"""The folder of the files of zeros between the slots."""


class Full(Exception):
    """There is no room for a slot, in an image for data of `blocks` blocks."""

    def __init__(self, blocks: int) -> None:
        super().__init__(f"{blocks} blocks of data do not fit")
        self.blocks = blocks


@dataclass(frozen=True)
class File:
    """A file with content: where it goes in the image, where it is now, how long it is in bytes."""

    path: str
    source: str
    size: int
    executable: bool

    @property
    def room(self) -> int:
        """Bytes that it takes in the file system."""
        return -(-self.size // PAGE) * PAGE


@dataclass
class Tree:
    """All that goes into the image. `paths`: of each store path its key and its files, in the order of their names."""

    folders: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    empty: list[File] = field(default_factory=list)
    paths: list[tuple[str, list[File]]] = field(default_factory=list)


@dataclass(frozen=True)
class Slot:
    """Files that lie one behind another, from a block on. Its key decides its home."""

    key: str
    files: tuple[File, ...]

    @property
    def blocks(self) -> int:
        """How many it takes."""
        return -(-sum(file.room for file in self.files) // BLOCK)


def stem(name: str) -> str:
    """The name of a store path without hash and version, which change when it stays the same thing.

    >>> stem("0bkc04rfjkwkz1ahyx7f0dpdbzs56qzp-openssl-3.0.14-bin")
    'openssl-bin'
    """
    without_hash = re.sub(r"^[0-9a-z]{32}-", "", name)
    return re.sub(r"(?<=.)-[0-9][^-]*", "", without_hash)


def scan(names: Iterable[str], root: str = "/") -> Tree:
    """Look at the store paths `/nix/store/NAME` under `root`; sizes and kinds, no content.

    Raises `Refused` for what a Nix store cannot hold.
    """
    tree = Tree()
    found: list[tuple[str, list[File]]] = []
    for name in sorted(set(names)):
        files: list[File] = []
        _walk(tree, f"{STORE}/{name}", os.path.join(root, STORE, name), files)
        found.append((name, files))
    tree.paths = key_paths(found)
    return tree


def key_paths(found: Iterable[tuple[str, list[File]]]) -> list[tuple[str, list[File]]]:
    """Give each store path, by its name, the key that it keeps when it is rebuilt, and sort it all."""
    # Of two paths of one name the larger is the first: their hashes say nothing, and would swap them at any time.
    order = sorted((stem(name), name[33:], -sum(file.size for file in files), name, files) for name, files in found)
    counts: dict[str, int] = {}
    keyed = []
    for key, *_, files in order:
        nth = counts[key] = counts.get(key, 0) + 1
        keyed.append((key if nth == 1 else f"{key}#{nth}", sorted(files, key=lambda file: file.path)))
    return keyed


def _walk(tree: Tree, path: str, source: str, files: list[File]) -> None:
    try:
        found = os.lstat(source)
    except FileNotFoundError:
        raise Refused(f"{source} is in the closure but is not there: build or fetch it first") from None
    if stat.S_ISLNK(found.st_mode):
        tree.links.append((path, os.readlink(source)))
    elif stat.S_ISREG(found.st_mode):
        file = File(path, source, found.st_size, bool(found.st_mode & stat.S_IXUSR))
        (files if file.size else tree.empty).append(file)
    elif stat.S_ISDIR(found.st_mode):
        tree.folders.append(path)
        for name in sorted(os.listdir(source)):
            _walk(tree, f"{path}/{name}", f"{source}/{name}", files)
    else:
        raise Refused(f"{source} is neither a file nor a folder nor a symlink: a Nix store has nothing else")


def slots(tree: Tree) -> list[Slot]:
    """Cut the files into slots."""
    found: list[Slot] = []
    system: list[File] = []
    small: list[File] = []
    first = ""

    def close() -> None:
        if small:
            found.append(Slot(f"small:{first}", tuple(small)))
            small.clear()

    for key, files in tree.paths:
        size = sum(file.room for file in files)
        if not size:
            continue
        if SYSTEM.fullmatch(key) and size < PIECE:
            system += files
        elif size >= SMALL:
            found += _pieces(key, files)
        else:
            if small and _ends(key, size, SHARED):
                close()
            first = first if small else key
            small += files
    close()
    if system:
        found.append(Slot("system", tuple(system)))
    return found


def _pieces(key: str, files: list[File]) -> Iterator[Slot]:
    prefix = len(STORE) + 1
    piece: list[File] = []
    alone = False
    for file in files:
        name = file.path[prefix:].partition("/")[2]
        large = file.room >= PIECE // 2
        if piece and (alone or large or _ends(f"{key}/{name}", file.room, PIECE)):
            yield _piece(key, piece)
            piece = []
        piece.append(file)
        alone = large
    yield _piece(key, piece)


def _piece(key: str, files: list[File]) -> Slot:
    name = files[0].path[len(STORE) + 1 :].partition("/")[2]
    return Slot(f"{key}/{stem(name)}", tuple(files))


def _ends(name: str, size: int, mean: int) -> bool:
    """Whether a slot ends before this one: as the hash of its name says, the more often the larger it is.

    The size counts in powers of two, so that it seldom decides otherwise after a change.
    """
    return _hash(name) * mean < (1 << size.bit_length()) << 64


def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(errors="surrogateescape"), digest_size=8).digest(), "big")


def place(wanted: list[Slot], blocks: int) -> dict[int, Slot]:
    """Give each slot its first block, in an image whose data may lie in the blocks from 1 to `blocks` - 1.

    The largest are placed first, so that a small one never moves a larger one. Raises `Full`.
    """
    if blocks < 2:
        raise Full(sum(slot.blocks for slot in wanted))  # smaller than what is kept for inodes
    free = bytearray(blocks)
    free[0] = 1  # the superblock's
    placed: dict[int, Slot] = {}
    for slot in sorted(wanted, key=lambda slot: (-slot.blocks, _hash(slot.key), slot.key)):
        run = bytes(slot.blocks)
        home = 1 + _hash(slot.key) % (blocks - 1)
        start = free.find(run, home)
        if start < 0:
            start = free.find(run)
        if start < 0:
            raise Full(sum(each.blocks for each in wanted))
        free[start : start + slot.blocks] = b"\1" * slot.blocks
        placed[start] = slot
    return placed


def write_tar(tree: Tree, placed: dict[int, Slot], end: int, out: BinaryIO) -> None:
    """Write the tar whose files lie as they are to lie in the image, with zeros up to the block `end`.

    It has no owner, no time and no mode but executable or not, as Nix's own archives.
    """
    folders = {SPACE, "nix", STORE, *tree.folders}
    folders.update(parent for path, _ in tree.links for parent in _parents(path))
    for path in sorted(folders):
        out.write(_header(path, tarfile.DIRTYPE, mode=0o555))
    position = PAGE  # the superblock is before it
    for start in sorted(placed):
        position = _space(out, position, start * BLOCK)
        for file in placed[start].files:
            _copy(file, out)
            position += file.room
    _space(out, position, end * BLOCK)
    for file in tree.empty:
        out.write(_header(file.path, tarfile.REGTYPE, mode=0o555 if file.executable else 0o444))
    for path, target in tree.links:
        out.write(_header(path, tarfile.SYMTYPE, target=target, mode=0o777))
    out.write(bytes(2 * tarfile.BLOCKSIZE))


def _parents(path: str) -> Iterator[str]:
    while path := os.path.dirname(path):
        yield path


def _header(path: str, kind: bytes, *, target: str = "", size: int = 0, mode: int) -> bytes:
    header = tarfile.TarInfo(path)
    header.type, header.linkname, header.size, header.mode, header.mtime = kind, target, size, mode, 1
    # GNU's form takes names and targets of any length, as the bytes that they are.
    return header.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape")


def _space(out: BinaryIO, position: int, end: int) -> int:
    if end > position:
        out.write(_header(f"{SPACE}/{position // PAGE:08x}", tarfile.REGTYPE, size=end - position, mode=0o444))
        _zeros(out, end - position)
    return end


def _zeros(out: BinaryIO, count: int) -> None:
    zeros = bytes(min(count, 1 << 20))
    for _ in range(count >> 20):
        out.write(zeros)
    out.write(zeros[: count & 0xFFFFF])


def _copy(file: File, out: BinaryIO) -> None:
    out.write(_header(file.path, tarfile.REGTYPE, size=file.size, mode=0o555 if file.executable else 0o444))
    left = file.size
    with open(file.source, "rb", buffering=0) as source:
        while left:
            data = source.read(min(left, 1 << 20))
            if not data:
                break
            out.write(data)
            left -= len(data)
        if left or source.read(1):
            raise Refused(f"{file.source} changed while it was read: a store path never does")
    out.write(bytes(-file.size % tarfile.BLOCKSIZE))


STEPS = [step << exponent for exponent in range(27, 50) for step in (2, 3)]
"""Sizes that a store image has if nobody says otherwise, in bytes: 256, 384, 512, 768 MiB, 1 GiB, …"""


def data_blocks(store: int) -> int:
    """How many blocks of a store image of so many bytes are for data; behind them are inodes and folders."""
    return (store - max(16 << 20, store >> 4)) // BLOCK


def size_for(wanted: list[Slot]) -> int:
    """The size of a store image in bytes if nobody says one: half as much again as the data, and some for inodes."""
    blocks = sum(slot.blocks for slot in wanted)
    fitting = [data_blocks(step) for step in STEPS]
    return STEPS[bisect_right(fitting, blocks * 3 // 2)]


def one_behind_another(wanted: list[Slot]) -> dict[int, Slot]:
    """The slots without room between them, for a file system that decides itself where data goes."""
    placed: dict[int, Slot] = {}
    for slot in wanted:
        placed[sum(each.blocks for each in placed.values()) + 1] = slot
    return placed
