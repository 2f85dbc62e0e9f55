"""The order and the slots of the store image: what moves when a closure changes, and what must not."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lay_out import (
    BLOCK,
    PAGE,
    PIECE,
    STEPS,
    File,
    Full,
    Slot,
    Tree,
    data_blocks,
    key_paths,
    place,
    scan,
    size_for,
    slots,
    stem,
    write_tar,
)
from programs import Refused

from tests.nix.image.conftest import HASH, store_path

KIB, MIB = 1024, 1024 * 1024
Sizes = Mapping[str, Mapping[str, int]]


def tree_of(closure: Sizes, salt: str = "") -> Tree:
    """A closure of store paths by name, each with its files and their sizes; other hashes with another salt."""
    found = []
    for name, files in closure.items():
        digest = sha256(f"{salt}{name}".encode()).digest()
        path = "".join(HASH[byte % 32] for byte in digest) + f"-{name}"
        found.append((path, [_file(size, f"nix/store/{path}/{file}", file) for file, size in files.items()]))
    return Tree(paths=key_paths(found))


def where(placed: Mapping[int, Slot]) -> dict[tuple[str, str], int]:
    """The first byte of each file, by the name of its store path without the hash, and its own."""
    found = {}
    for start, slot in placed.items():
        position = start * BLOCK
        for file in slot.files:
            found[file.path.split("/")[2][33:], file.source] = position
            position += file.room
    return found


def laid_out(closure: Sizes, blocks: int, salt: str = "") -> dict[tuple[str, str], int]:
    return where(place(slots(tree_of(closure, salt)), blocks))


NAMES = st.text("abcdefgh", min_size=1, max_size=4)
SIZES = st.one_of(st.integers(1, 20 * KIB), st.integers(1, 900 * KIB), st.integers(1, 12 * MIB))
PATHS = st.dictionaries(st.builds("{}{}".format, NAMES, st.sampled_from(["f", "f.so"])), SIZES, min_size=1, max_size=8)
CLOSURES = st.dictionaries(
    st.builds("{}{}".format, NAMES, st.sampled_from(["", "-1.2", "-lib", "-3-dev"])), PATHS, min_size=1, max_size=12
)
BLOCKS = 12 * 8 * 24 * 4


@given(CLOSURES)
def test_every_file_has_a_place_of_its_own(closure: Sizes) -> None:
    """A machine would read another file's bytes, or none."""
    placed = place(slots(tree_of(closure)), BLOCKS)
    taken = sorted((start, start + slot.blocks) for start, slot in placed.items())
    assert all(one[1] <= other[0] for one, other in pairwise(taken))
    assert taken[0][0] >= 1, "the superblock's"
    assert taken[-1][1] <= BLOCKS
    assert set(where(placed)) == {(name, file) for name, files in closure.items() for file in files}


@given(CLOSURES)
def test_what_is_rebuilt_stays_where_it_is(closure: Sizes) -> None:
    """A new hash of a library, which everything that uses it gets as well, would move the whole store."""
    assert laid_out(closure, BLOCKS, "one") == laid_out(closure, BLOCKS, "other")


@given(CLOSURES)
def test_the_order_of_the_closure_does_not_matter(closure: Sizes) -> None:
    """The same image would be other bytes on another machine."""
    turned = {
        name: {file: closure[name][file] for file in sorted(closure[name], reverse=True)} for name in sorted(closure)
    }
    assert laid_out(turned, BLOCKS) == laid_out(closure, BLOCKS)


@given(CLOSURES, st.data())
def test_a_new_path_opens_one_slot_at_most(closure: Sizes, data: st.DataObject) -> None:
    """A small new file, a unit say, would move its neighbours by name, and theirs."""
    new = data.draw(NAMES.filter(lambda name: all(stem(f"{HASH}-{each}") != name for each in closure)))
    files = data.draw(PATHS)
    before, after = slots(tree_of(closure)), slots(tree_of({**closure, new: files}))
    assert len(set(before) - set(after)) <= 1, "of those there were"


@given(CLOSURES)
def test_a_small_slot_never_moves_a_larger_one(closure: Sizes) -> None:
    """Each new small path could move a large one, and that others."""
    wanted = slots(tree_of(closure))
    placed = {slot: start for start, slot in place(wanted, BLOCKS).items()}
    smallest = min(wanted, key=lambda slot: slot.blocks)
    larger = [slot for slot in wanted if slot.blocks > smallest.blocks]
    without = {slot: start for start, slot in place(larger, BLOCKS).items()}
    assert without == {slot: placed[slot] for slot in larger}


@given(CLOSURES, st.data())
def test_a_file_that_grows_moves_its_slot_alone(closure: Sizes, data: st.DataObject) -> None:
    """All that lies behind it would be sent again."""
    wanted = slots(tree_of(closure))
    placed = {slot.key: start for start, slot in place(wanted, BLOCKS).items()}
    grown = data.draw(st.sampled_from(wanted))
    room = grown.blocks * BLOCK - sum(file.room for file in grown.files)
    more = Slot(grown.key, (*grown.files, _file(room, "nix/store/more"))) if room else grown
    after = {slot.key: start for start, slot in place([*(set(wanted) - {grown}), more], BLOCKS).items()}
    assert after == placed


def test_what_a_change_of_the_configuration_rebuilds_is_one_slot() -> None:
    """Each change would touch a block for each unit, scattered by their names."""
    units = {f"unit-{name}.service": {"unit": 900} for name in ("app", "nginx", "sshd", "zzz")}
    system = {"etc": {"hosts": 80}, "system-units": {"x": 1}, "nixos-system-web-25.11": {"init": 900}, **units}
    others = {f"tool{nth}": {"bin": 60 * KIB} for nth in range(40)}
    (one,) = [slot for slot in slots(tree_of({**system, **others})) if slot.key == "system"]
    assert {file.path.split("/")[2][33:] for file in one.files} == set(system)
    assert one.blocks == 1


def test_a_large_path_is_cut_where_its_names_say() -> None:
    """A change of one file in a path of a hundred megabytes would send all of it."""
    files = {f"lib/file{nth:04}": 64 * KIB for nth in range(1600)} | {"lib/file0800.so": PIECE}
    before = slots(tree_of({"big-1.0": files}))
    assert [slot.blocks for slot in before if slot.files[0].size == PIECE] == [PIECE // BLOCK], "large files are alone"
    assert len(before) > 5
    after = slots(tree_of({"big-1.0": {**files, "lib/file0100": 70 * KIB}}))
    assert len(set(before) - set(after)) == 1


def test_two_paths_of_one_name_keep_their_places() -> None:
    """Two versions of a library would swap places whenever one of their hashes changed."""
    found = [
        key_paths([(store_path("same-1", one), [_file(9)]), (store_path("same-1", other), [_file(5)])])
        for one, other in ((0, 7), (7, 0))
    ]
    assert [[(key, files[0].size) for key, files in each] for each in found] == [[("same", 9), ("same#2", 5)]] * 2


def test_a_name_is_known_without_hash_and_version() -> None:
    """A package would move with each new version, or two packages share a place."""
    names = ["openssl-3.0.14-bin", "python3.12-requests-2.32.3", "unit-nginx.service", "linux-6.12.8-modules", "-1"]
    found = [stem(f"{HASH}-{name}") for name in names]
    assert found == ["openssl-bin", "python3.12-requests", "unit-nginx.service", "linux-modules", "-1"]


def test_a_store_that_is_too_small_is_refused_with_what_it_takes() -> None:
    """The builder could not say how large it must be."""
    wanted = slots(tree_of({"a": {"x": 3 * MIB}, "b": {"x": 3 * MIB}}))
    place(wanted, 13)
    with pytest.raises(Full) as refused:
        place(wanted, 12)
    assert refused.value.blocks == 12


@given(st.integers(1, 4000))
def test_the_size_that_nobody_says_has_room(count: int) -> None:
    """A closure would fit today and not tomorrow, or everything would move with every size."""
    wanted = [Slot(str(nth), (_file(BLOCK),)) for nth in range(count)]
    size = size_for(wanted)
    assert size in STEPS
    assert data_blocks(size) > count * 3 / 2
    assert size == STEPS[0] or data_blocks(STEPS[STEPS.index(size) - 1]) <= count * 3 // 2


def _file(size: int, path: str = "x", source: str = "") -> File:
    return File(path, source, size, executable=False)


def test_the_tar_has_each_file_where_it_was_placed(tmp_path: Path) -> None:
    """mkfs.erofs lays data out in its order, so a page too few would move all that follows."""
    root = os.fsencode(tmp_path)
    store = root + b"/nix/store/"
    names = [store_path("odd"), store_path("big-1"), store_path("one")]
    Path(os.fsdecode(store + names[0].encode() + b"/deep" + b"/folder" * 40)).mkdir(parents=True)
    odd = [b"/\xff not utf-8", b"/deep" + b"/folder" * 40 + b"/file", b"/new\nline", b"/\xe2\x98\x83"]
    for name in odd:
        Path(os.fsdecode(store + names[0].encode() + name)).write_bytes(name)
    Path(os.fsdecode(store + names[0].encode() + b"/empty")).touch()
    Path(os.fsdecode(store + names[0].encode() + b"/link")).symlink_to("/nix/store/" + "target/" * 30)
    Path(os.fsdecode(store + names[1].encode())).write_bytes(b"big" * 700_000)
    Path(os.fsdecode(store + names[2].encode())).write_bytes(b"one")
    tree = scan(names, str(tmp_path))
    placed = place(slots(tree), 20)
    out = io.BytesIO()
    write_tar(tree, placed, 20, out)
    expected = {file.path: (start, file) for start, slot in placed.items() for file in slot.files}
    position, content, positions = PAGE, {}, where(placed)
    out.seek(0)
    with tarfile.open(fileobj=out, encoding="utf-8", errors="surrogateescape") as tar:
        for member in tar:
            assert (member.uid, member.gid, member.mtime) == (0, 0, 1)
            if member.name in expected:
                read = tar.extractfile(member)
                assert read is not None
                content[member.name] = read.read()
                key = member.name.split("/")[2][33:], expected[member.name][1].source
                assert position == positions[key]
            position += -(-member.size // PAGE) * PAGE
        links = [(member.name, member.linkname) for member in tar if member.issym()]
    assert position == 20 * BLOCK
    assert set(content) == set(expected)
    assert all(Path(expected[name][1].source).read_bytes() == read for name, read in content.items())
    assert links == [(f"nix/store/{names[0]}/link", "/nix/store/" + "target/" * 30)]


def test_what_is_not_there_or_is_none_of_nix_is_refused(tmp_path: Path) -> None:
    """The image would lack a path that the machine needs, and say so when it boots."""
    store = tmp_path / "nix/store"
    store.mkdir(parents=True)
    with pytest.raises(Refused, match="missing is in the closure but is not there"):
        scan(["missing"], str(tmp_path))
    os.mkfifo(store / "pipe")
    with pytest.raises(Refused, match="pipe is neither a file nor a folder nor a symlink"):
        scan(["pipe"], str(tmp_path))
