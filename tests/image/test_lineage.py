"""Which snapshot may be the parent, and which blocks are then sent."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.image import blockmap
from fleetswap.domain.image.blockmap import BlockMap
from fleetswap.domain.image.lineage import Plan, candidates, disagreement, unfit
from fleetswap.domain.image.snapshots import Snapshot, Wanted

BLOCK = 524_288
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
OWN = {"fleetswap:own-key": "shop/staging"}
WANTED = Wanted("/nix/store/b", 4, encrypted=False, kms_key=None)


def snapshot(name: str = "1", *, age: int = 0, image: str = "/nix/store/a") -> Snapshot:
    tags = {"fleetswap:image": image}
    return Snapshot(f"snap-{name}", "completed", "", 4, False, None, EPOCH - timedelta(days=age), tags)  # noqa: FBT003


def test_the_same_image_comes_first_then_the_newest() -> None:
    """Another stack's snapshot of the very image, with nothing to send, would be passed over for a newer one."""
    found = [snapshot("1", age=9), snapshot("2", age=1), snapshot("3", age=5, image="/nix/store/b"), snapshot("4")]
    assert [each.snapshot_id for each in candidates(found, WANTED)] == ["snap-3", "snap-4", "snap-2"]


@pytest.mark.parametrize(
    ("changes", "wanted", "reason"),
    [
        ({}, {}, None),
        ({"state": "pending"}, {}, "is pending, not completed"),
        ({"state": "error"}, {}, "is error, not completed"),
        ({"archived": True}, {}, "is archived: restore it first"),
        (
            {"volume_gib": 5},
            {},
            "has a volume of 5 GiB, but the image needs 4: a child cannot be smaller than its parent",
        ),
        ({"volume_gib": 3}, {}, None),
        ({}, {"encrypted": True}, "is not encrypted, but the new snapshot must be"),
        ({"encrypted": True, "kms_key": "k"}, {}, None),
        ({"encrypted": True, "kms_key": "k"}, {"encrypted": True}, None),
        ({"encrypted": True, "kms_key": "k"}, {"encrypted": True, "kms_key": "k"}, None),
        ({"encrypted": True, "kms_key": "k"}, {"encrypted": True, "kms_key": "l"}, "is encrypted with k, not with l"),
        ({"encrypted": True, "kms_key": "k", "tags": OWN}, {"encrypted": True, "kms_key": "k"}, None),
        (
            {"encrypted": True, "kms_key": "k", "tags": OWN},
            {},
            "is encrypted with a stack's own key, k, and the upload names none",
        ),
    ],
)
def test_what_may_be_a_parent(changes: dict[str, object], wanted: dict[str, object], reason: str | None) -> None:
    """StartSnapshot would refuse, or the child be plain, or have another key, where encryption was ordered."""
    each = replace(snapshot(), **changes)  # type: ignore[arg-type]
    asked = replace(WANTED, **wanted)  # type: ignore[arg-type]
    assert unfit(each, asked) == reason
    assert bool(candidates([each], asked)) == (reason is None)


def digest(letter: str) -> bytes:
    return hashlib.sha256(letter.encode()).digest()


def map_of(letters: str) -> BlockMap:
    """`.` is a block that the snapshot does not have."""
    return BlockMap("snap-1", len(letters) * BLOCK, b"".join(bytes(32) if at == "." else digest(at) for at in letters))


def sent(plan: Plan, letters: str) -> str:
    """The letters that are sent, `-` for those that are not wanted, ` ` for those that are not looked at."""
    shown = [" "] * len(letters)
    for index in plan.indexes():
        wanted = plan.wants(index, digest("0" if letters[index] == "." else letters[index]))
        shown[index] = letters[index] if wanted else "-"
    return "".join(shown)


@pytest.mark.parametrize(
    ("parent", "image", "sparse", "expected"),
    [
        (None, "ab0.", False, "ab0."),
        (None, "ab0.", True, "ab0 "),
        ("ab00", "ab0.", False, "----"),
        ("ab00", "ab0.", True, "----"),
        ("abcd", "abx.", True, "--x."),  # data under the hole: zeros are sent
        ("ab..", "ab.0", True, "-- 0"),
        ("ab..", "ab.0", False, "--.0"),
        ("ab", "abab..", True, "--ab.."),  # past the parent's image: unknown
        ("abab", "ba", True, "ba"),
        ("ab0c", "a00", False, "-0-"),  # became zero
    ],
)
def test_what_is_sent(parent: str | None, image: str, sparse: bool, expected: str) -> None:  # noqa: FBT001
    """A block would be missing, or an ancestor's stay in its place, in the disk that a machine boots from."""
    plan = Plan(
        blockmap.layout(len(image) * BLOCK),
        None if parent is None else map_of(parent),
        is_hole=(lambda index: image[index] == ".") if sparse else None,
    )
    assert sent(plan, image) == expected
    assert plan.written == len(expected.replace("-", "").replace(" ", ""))


LETTERS = st.text("ab0.", min_size=1, max_size=8)


@given(st.none() | LETTERS, LETTERS, st.booleans())
def test_the_map_says_what_the_snapshot_has(parent: str | None, image: str, sparse: bool) -> None:  # noqa: FBT001
    """The lie of one snapshot's map would be inherited by all that follow."""
    plan = Plan(
        blockmap.layout(len(image) * BLOCK),
        None if parent is None else map_of(parent),
        is_hole=(lambda index: image[index] == ".") if sparse else None,
    )
    shown = sent(plan, image)
    made = plan.block_map("snap-2", "an image")
    has = dict(enumerate(parent or "")) | {
        index: "0" if at == "." else at for index, at in enumerate(shown) if at not in "- "
    }
    for index, letter in enumerate(image):
        inside = made.digest(index)
        if inside is None:
            assert sparse
            assert letter == "."
            assert has.get(index, ".") == "."
        else:
            assert inside == digest(has[index]) == digest("0" if letter == "." else letter)


@given(LETTERS, LETTERS)
def test_the_checksum_is_of_what_was_written(parent: str, image: str) -> None:
    """EBS would refuse, or fail, the completion of every snapshot with a parent."""
    plan = Plan(blockmap.layout(len(image) * BLOCK), map_of(parent), is_hole=None)
    shown = sent(plan, image)
    written = [digest("0" if at == "." else at) for at in shown if at not in "- "]
    joined = b"".join([*written, digest("m"), digest("n")])
    wanted = base64.b64encode(hashlib.sha256(joined).digest()).decode()
    assert plan.checksum({2047: digest("n"), 2046: digest("m")}) == wanted


def test_to_look_again_changes_nothing() -> None:
    """A block that is read again after a failed request would be taken for inherited, and be left out."""
    plan = Plan(blockmap.layout(2 * BLOCK), map_of("ab"), is_hole=None)
    for _ in range(2):
        assert not plan.wants(0, digest("a"))
        assert plan.wants(1, digest("x"))
    assert plan.written == 1


def test_the_list_must_agree_with_the_map() -> None:
    """A parent that lost blocks, or that somebody else wrote to, would be built upon."""
    assert disagreement(map_of("ab.c"), b"\1\1\0\1") is None
    assert disagreement(map_of("ab.c"), b"\1\0\0\1") == 1
    assert disagreement(map_of("ab.c"), b"\1\1\1\1") == 2
