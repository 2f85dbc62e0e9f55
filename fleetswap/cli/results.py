"""What `--json` prints, key by key. This is a public interface, independent of names inside the program.

A key is never renamed or removed, and keeps its meaning and unit. New keys may be added.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # each command needs one of these
    from fleetswap.domain.boot.health import Check
    from fleetswap.domain.boot.machine import Hardware
    from fleetswap.domain.image.cost import Estimate
    from fleetswap.workflows.boot_test import Passed
    from fleetswap.workflows.image.download import Downloaded
    from fleetswap.workflows.image.request import UploadRequest
    from fleetswap.workflows.image.upload import Uploaded
    from fleetswap.workflows.image.verify import Verified

Result = dict[str, object]


def of_upload(file: Path, kind: str, size: int, request: UploadRequest, region: str, uploaded: Uploaded) -> Result:
    """For `fleetswap upload`. `kind` is the file's format, `size` the bytes of its disk."""
    return {
        "file": str(file),
        "format": kind,
        "size": size,
        "identity": request.identity,
        "stack": request.stack,
        "lineage": request.lineage,
        "region": region,
        "snapshot_id": uploaded.snapshot_id,
        "volume_gib": uploaded.volume_gib,
        "blocks": uploaded.blocks,
        "bytes_sent": uploaded.bytes_sent,
        "seconds": uploaded.seconds,
        "adopted": uploaded.adopted,
        "blocks_sent": uploaded.blocks_sent,
        "parent": uploaded.parent,
        "throttled": uploaded.throttled,
        "retried": uploaded.retried,
        "resumed": uploaded.resumed,
    }


def of_boot_test(file: Path, kind: str, size: int, hardware: Hardware, check: Check, passed: Passed) -> Result:
    """For `fleetswap boot-test`. `kind` is the file's format, `size` the bytes of its disk."""
    return {
        "file": str(file),
        "format": kind,
        "size": size,
        "architecture": hardware.architecture,
        "boot_mode": hardware.boot_mode,
        "port": check.port,
        "path": check.path,
        "seconds": passed.seconds,
    }


def of_plan(file: Path, region: str, planned: Estimate) -> Result:
    """For `fleetswap upload --dry-run`."""
    return {
        "file": str(file),
        "region": region,
        "blocks": planned.blocks,
        "blocks_sent": planned.blocks_sent,
        "bytes_sent": planned.bytes_sent,
        "seconds": planned.seconds,
        "parent": planned.parent,
        "adopted": planned.adopted,
        "request_dollars": planned.request_dollars,
        "month_dollars": planned.month_dollars,
    }


def of_download(made: Downloaded) -> Result:
    """For `fleetswap download`."""
    return {
        "snapshot_id": made.snapshot_id,
        "file": str(made.path),
        "size": made.size,
        "volume_gib": made.volume_gib,
        "map_problem": made.map_problem,
        "blocks_read": made.blocks_read,
        "bytes_read": made.bytes_read,
        "throttled": made.throttled,
        "retried": made.retried,
        "seconds": made.seconds,
    }


def of_verify(found: Verified, file: Path | None) -> Result:
    """For `fleetswap verify`, with the file that the snapshot was compared with."""
    return {
        "matches": found.matches,
        "file": str(file) if file else None,
        "snapshot_id": found.snapshot_id,
        "volume_gib": found.volume_gib,
        "map_problem": found.map_problem,
        "size": found.size,
        "blocks_read": found.blocks_read,
        "bytes_read": found.bytes_read,
        "blocks_lacking": found.blocks_lacking,
        "manifest": found.manifest,
        "problems": list(found.problems),
        "differing": found.differing,
        "differences": [
            {"index": each.index, "offset": each.offset, "reason": each.reason} for each in found.differences
        ],
        "throttled": found.throttled,
        "retried": found.retried,
        "seconds": found.seconds,
    }
