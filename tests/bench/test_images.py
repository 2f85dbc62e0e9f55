"""What a snapshot must hold of an image."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bench import images
from bench.images import ABSENT, BLOCK, ZERO_DIGEST
from fleetswap.domain.image import disk


def test_digests_read_through_holes(tmp_path: Path) -> None:
    """If this failed, snapshots would be compared with something else than the image."""
    path, data = tmp_path / "image", b"x" * BLOCK
    with path.open("wb") as file:
        file.truncate(8 * BLOCK)
        for index in (0, 5):
            file.seek(index * BLOCK)
            file.write(data)
    assert images.digests(path) == [
        hashlib.sha256(data).digest() if index in (0, 5) else ZERO_DIGEST for index in range(8)
    ]


def test_a_lacking_block_is_found() -> None:
    """If this failed, an uploader that leaves blocks out would be the fastest."""
    data = hashlib.sha256(b"data").digest()
    wanted = [data, ZERO_DIGEST, data]
    assert images.difference(wanted, data + ZERO_DIGEST + data, zeros_may_lack=False) == ""
    assert images.difference(wanted, data + ZERO_DIGEST + data + b"map".ljust(32), zeros_may_lack=False) == ""
    assert "block 1" in images.difference(wanted, data + ABSENT + data, zeros_may_lack=False)
    assert images.difference(wanted, data + ABSENT + data, zeros_may_lack=True) == ""
    assert "block 2" in images.difference(wanted, data + ZERO_DIGEST, zeros_may_lack=True)
    assert "not that of" in images.difference(wanted, data + data + data, zeros_may_lack=True)


def test_images_pass_for_disks() -> None:
    """If this failed, Fleetswap would refuse what the benchmark hands it."""
    table = images.partition_table(images.GIB)
    assert disk.inspect(table, table, images.GIB, name="image").table == "mbr"
