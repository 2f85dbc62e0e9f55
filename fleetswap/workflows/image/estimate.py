"""What an upload would send, without sending anything: adopted or not, from which parent, how many blocks.

It decides how much is read for that. It looks for the same snapshots as an upload (`acquire`, `parent`) and compares
the same digests, so if nothing changes in between, it is what an upload sends. Without a parent nothing is read of the
image: every block is sent. It changes nothing, in AWS or on disk.

Memory: 65 bytes per block of the image, and a block for each core.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from fleetswap.domain.image import blockmap
from fleetswap.domain.image.blocks import BLOCK_SIZE, block_count, digest
from fleetswap.domain.image.cost import Estimate
from fleetswap.domain.image.lineage import Plan
from fleetswap.domain.tags import IMAGE
from fleetswap.workflows.clock import Clock, SystemClock
from fleetswap.workflows.image.adopt import finished
from fleetswap.workflows.image.image_file import ImageFile
from fleetswap.workflows.image.parent import Search
from fleetswap.workflows.image.ports import Snapshots
from fleetswap.workflows.image.promote import first_shared
from fleetswap.workflows.image.request import HOLES, UploadRequest
from fleetswap.workflows.retry import Patience

PATIENCE_SECONDS = 10.0
"""Silence after which it is given up: nobody sends anything yet."""

_ZEROS = digest(bytes(BLOCK_SIZE))


def estimate(
    path: Path,
    request: UploadRequest,
    port: Snapshots,
    say: Callable[[str], None],
    *,
    enough: Callable[[], bool] = lambda: False,
    clock: Clock | None = None,
    encrypts: Callable[[], bool] = lambda: False,
) -> Estimate | None:
    """What `upload` would send of the image in the file `path` for this request.

    `say` gets why no parent or no snapshot is used. `enough` is asked between blocks, by several threads: once it says
    so, the answer is None. `encrypts` is asked whether the account encrypts by default, if the parent is not encrypted:
    EBS then refuses it, and the upload sends every block. Raises as `upload` does before it starts a snapshot.
    """
    clock = clock or SystemClock()
    with ImageFile(path, data=request.data) as image:
        layout = blockmap.layout(image.size)
        wanted = request.wanted(layout.volume_gib)
        found = finished(port, request.stack, wanted, say, clock)
        if found is not None:
            return Estimate(layout.count, 0, adopted=found.snapshot_id)
        patience = partial(Patience, clock, threading.Event(), seconds=PATIENCE_SECONDS)
        stacks = (request.stack, *request.trusted_stacks)
        of_manifest = block_count(len(request.manifest))
        # No samples: what they would find is found by the upload, before it inherits anything.
        parent = Search(port, patience, image, wanted, stacks=stacks, samples=0).chosen(request, say)
        same = parent is not None and parent.snapshot.tags.get(IMAGE) == request.identity
        if parent is not None and not same and not parent.snapshot.encrypted and encrypts():
            say(
                f"snapshot {parent.snapshot_id} cannot be the parent: it is not encrypted, and the account encrypts all"
                " new snapshots"
            )
            parent = None
        behind = layout.map_blocks + (of_manifest if of_manifest <= layout.free else 0)
        if not same:
            shared = first_shared(port, patience, request, wanted)
            if shared is not None:
                say(f"account {shared.owner} shares a snapshot of this image, which is copied and compared")
                return Estimate(layout.count, behind, parent=shared.snapshot_id)
        plan = Plan(
            layout,
            None if parent is None else parent.block_map,
            is_hole=image.is_hole if request.sparse == HOLES else None,
        )
        indexes = plan.indexes()
        sent = len(indexes)
        if parent is not None:
            if not _compare(image, plan, indexes, enough):
                return None
            image.check_unchanged()
            sent = plan.written
        return Estimate(layout.count, sent + behind, parent=None if parent is None else parent.snapshot_id)


def _compare(image: ImageFile, plan: Plan, indexes: Sequence[int], enough: Callable[[], bool]) -> bool:
    """Look at every block, on all cores. False if it was enough before the end."""
    stop = threading.Event()

    def look(part: Sequence[int]) -> None:
        block = bytearray(BLOCK_SIZE)
        try:
            for index in part:
                if stop.is_set() or enough():
                    stop.set()
                    return
                if image.is_zero(index):
                    plan.wants(index, _ZEROS)
                else:
                    image.read(index, block)
                    plan.wants(index, digest(block))
        except BaseException:
            stop.set()  # the others need not go on
            raise

    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(cores, thread_name_prefix="estimate") as pool:
        try:
            list(pool.map(look, (indexes[first::cores] for first in range(cores))))
        except BaseException:
            stop.set()  # Ctrl-C must not wait for the rest
            raise
    return not stop.is_set()


def seconds_left(clock: Clock, seconds: float) -> Callable[[], bool]:
    """An `enough` that says so after so many seconds."""
    until = clock.now() + seconds
    return lambda: clock.now() >= until
