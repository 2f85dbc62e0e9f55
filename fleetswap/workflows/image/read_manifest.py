"""Reads the manifest of an image out of its snapshot: with AWS alone, no Pulumi state and no store.

It decides which snapshot of an image is read, and that whatever is wrong is one line and never stops the caller: a
preview without a manifest is still a preview. It reads a few blocks and changes nothing. A manifest is believed only by
the header of the snapshot that it is in (`fleetswap.domain.image.blockmap`), so not that of a copy, or of a snapshot
made from a volume; one that another account shares is read like an own one.

Cost: two requests for the header, and one to list and one for each block of the manifest, `MAX_BLOCKS` at most.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from fleetswap.domain.errors import CloudError
from fleetswap.domain.image import blockmap, manifest
from fleetswap.domain.image.blockmap import BadMap, BlockMap, Header
from fleetswap.domain.image.blocks import BLOCK_SIZE
from fleetswap.domain.image.manifest import MAX_BLOCKS, BadManifest, Manifest
from fleetswap.domain.image.snapshots import Snapshot, Wanted, adoptable
from fleetswap.domain.tags import IMAGE, STACK
from fleetswap.workflows.clock import Clock, SystemClock
from fleetswap.workflows.image.adopt import LOOKS
from fleetswap.workflows.image.block_list import listing, read_header
from fleetswap.workflows.image.ports import Reads, Snapshots
from fleetswap.workflows.retry import GaveUp, Patience

PATIENCE_SECONDS = 10.0
"""Silence after which it does without: somebody waits for a preview."""


class NoManifest(Exception):
    """There is one, or should be, and it cannot be had; the message says why, and names the snapshot."""


def manifest_of(
    port: Snapshots, stack: str, identity: str, warn: Callable[[str], None], *, clock: Clock | None = None
) -> Manifest | None:
    """The manifest of the image of this identity that the stack has uploaded.

    None if its snapshot has none, as those of older versions; or if it cannot be had, and then `warn` got one line that
    says why: no snapshot, no permission, archived, damaged. Raises nothing of AWS's.
    """
    try:
        return read_manifest(port, stack, identity, clock=clock)
    except (CloudError, NoManifest) as reason:
        warn(f"what {identity} consists of is not known: {reason}")
        return None


def read_manifest(port: Snapshots, stack: str, identity: str, *, clock: Clock | None = None) -> Manifest | None:
    """The same for a caller who must know: raises `NoManifest` or `CloudError` where `manifest_of` warns."""
    clock = clock or SystemClock()
    found = _patience(clock).call(lambda: port.find({STACK: stack, IMAGE: identity}))
    return _of_any(port, found, identity, clock)


def manifest_in(port: Reads, snapshot_id: str, *, clock: Clock | None = None) -> Manifest | None:
    """The manifest in a snapshot, also of another account; None if it has none.

    `NoManifest` if it is damaged or archived, or the snapshot is a copy or nothing that was uploaded; `CloudError` if
    the snapshot cannot be read.
    """
    clock = clock or SystemClock()
    return _read(port, _patience(clock).call(lambda: port.describe(snapshot_id)), None, _patience(clock))


def read_blocks(
    port: Reads, patience: Patience, snapshot_id: str, volume_gib: int, stated: Header | BlockMap
) -> Manifest:
    """The manifest that a header or map states, which must state one. `BadManifest` unless all of it checks."""
    first, sealed = blockmap.manifest_first(stated, volume_gib), stated.manifest
    if sealed.blocks > MAX_BLOCKS:
        raise BadManifest(f"has {sealed.blocks} blocks, but this Fleetswap reads {MAX_BLOCKS} at most")
    blob = bytearray(sealed.blocks * BLOCK_SIZE)
    read = 0
    for index, token in listing(port, patience, snapshot_id, first, first + sealed.blocks):
        at = (index - first) * BLOCK_SIZE
        blob[at : at + BLOCK_SIZE] = patience.call(partial(port.get, snapshot_id, index, token))
        read += 1
    if read < sealed.blocks:
        raise BadManifest(f"is truncated: {sealed.blocks - read} of its blocks are missing from the snapshot")
    return manifest.opened(blob, sealed)


def _of_any(port: Snapshots, found: list[Snapshot], identity: str, clock: Clock) -> Manifest | None:
    """The manifest of the best snapshot that holds the image. All of them hold the same; not all can be read."""
    reasons = []
    for each in adoptable(found, Wanted(identity, 0, encrypted=False, kms_key=None))[:LOOKS]:
        try:
            return _read(port, each, identity, _patience(clock))
        except NoManifest as reason:
            reasons.append(str(reason))
        except CloudError as error:
            reasons.append(str(error))
            if isinstance(error, GaveUp):
                break  # the others would be as silent
    archived = [f"snapshot {each.snapshot_id} is archived: restore it first" for each in found if each.archived]
    raise NoManifest((reasons or archived or ["the stack has no completed snapshot of it"])[0])


def _read(port: Reads, snapshot: Snapshot, identity: str | None, patience: Patience) -> Manifest | None:
    snapshot_id = snapshot.snapshot_id
    if snapshot.archived:
        raise NoManifest(f"snapshot {snapshot_id} is archived: restore it first")
    try:
        header = read_header(port, patience, snapshot_id, snapshot.volume_gib)
    except BadMap as reason:
        raise NoManifest(f"snapshot {snapshot_id} cannot be believed: its block map {reason}") from reason
    if identity is not None and header.image != blockmap.name_of(identity):
        raise NoManifest(f"snapshot {snapshot_id} is of another image, in spite of its tags")
    if not header.manifest.blocks:
        return None
    try:
        return read_blocks(port, patience, snapshot_id, snapshot.volume_gib, header)
    except BadManifest as reason:
        raise NoManifest(f"snapshot {snapshot_id}: its manifest {reason}") from reason


def _patience(clock: Clock) -> Patience:
    return Patience(clock, threading.Event(), seconds=PATIENCE_SECONDS)
