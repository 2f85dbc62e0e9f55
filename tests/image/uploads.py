"""Uploads of an image in a file, without what `ship` does before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fleetswap.domain.image.meter import Progress
from fleetswap.workflows.clock import Clock
from fleetswap.workflows.image import upload as workflow
from fleetswap.workflows.image.image_file import ImageFile
from fleetswap.workflows.image.ports import Puts, Snapshots
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.image.send import CONNECTIONS


def upload(
    path: Path,
    request: UploadRequest,
    port: Snapshots,
    puts: Puts,
    say: Callable[[str], None],
    *,
    progress: Callable[[Progress], None] | None = None,
    clock: Clock | None = None,
    connections: int = CONNECTIONS,
) -> workflow.Uploaded:
    """`fleetswap.workflows.image.upload.upload` of the image in a file."""
    with ImageFile(path, data=request.data) as image:
        return workflow.upload(image, request, port, puts, say, progress=progress, clock=clock, connections=connections)
