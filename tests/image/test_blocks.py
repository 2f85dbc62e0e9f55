"""The arithmetic of blocks, volumes and checksums."""

from __future__ import annotations

import base64
import hashlib

from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.image import blocks


@given(st.integers(1, 1 << 46))
def test_blocks_and_volume_just_hold_the_image(size: int) -> None:
    """The end of an image would be lost, or a volume be larger than it must be."""
    count, gib = blocks.block_count(size), blocks.volume_gib(size)
    assert (count - 1) * 524_288 < size <= count * 524_288
    assert gib == 1 or (gib - 1) * 2**30 < size
    assert size <= gib * 2**30
    assert count <= gib * 2048


def test_the_linear_checksum_is_of_raw_digests() -> None:
    """EBS would refuse, or fail, every snapshot at its completion."""
    digests = [hashlib.sha256(text).digest() for text in (b"a", b"b", b"c")]
    wanted = base64.b64encode(hashlib.sha256(digests[0] + digests[1] + digests[2]).digest()).decode()
    assert blocks.linear_checksum([b"".join(digests)]) == wanted
    assert blocks.linear_checksum([digests[1] + digests[0] + digests[2]]) != wanted
