"""Ships an image, until its snapshot is completed: adopts one, or gets the image built, checks it and uploads it.

It decides the order of these steps, and what is refused before anything is sent. How an image is built is up to its
`Source`. CI builds, deployments and the command line all ship with this module, so it does not depend on Pulumi.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fleetswap.domain.boot.measured import Measurements
from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.image import blockmap
from fleetswap.domain.image.info import DEFAULT, ImageInfo
from fleetswap.domain.image.manifest import Manifest, encode
from fleetswap.domain.image.meter import Progress
from fleetswap.workflows.clock import Clock, SystemClock
from fleetswap.workflows.image import adopt, measure
from fleetswap.workflows.image.bootable import refuse_unbootable
from fleetswap.workflows.image.fan_out import Destination, Failed, fan_out
from fleetswap.workflows.image.image_file import ImageFile, identify
from fleetswap.workflows.image.ports import Puts, Snapshots, Source, Trial
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.image.send import CONNECTIONS
from fleetswap.workflows.image.upload import Uploaded, upload


class FileSource:
    """An image that something else has made; a `Source`."""

    def __init__(self, path: Path, manifest: Callable[[], Manifest | None] = lambda: None) -> None:
        """`manifest` says what is in it; it is asked only if the file is sent."""
        self._path = path
        self._manifest = manifest

    def identity(self) -> str:
        """See `fleetswap.workflows.image.image_file.identify`."""
        return identify(self._path)

    def bring(self, say: Callable[[str], None]) -> Path:  # noqa: ARG002 (there is nothing to say)
        """The file, which is there."""
        return self._path

    def manifest(self) -> Manifest | None:
        """What is said with it."""
        return self._manifest()

    def sent(self) -> None:
        """The file is not ours."""


@dataclass(frozen=True)
class Shipped:
    """A completed snapshot of the image, and what it took, without a trial. Both times are 0 if it was there before
    the image was.
    """

    uploaded: Uploaded
    build_seconds: float = 0.0
    upload_seconds: float = 0.0
    trial_seconds: float = 0.0
    """Of the boot test, which is between the two."""
    measured: Measurements = ()
    """What a NitroTPM measures of it, if that was asked for."""


@dataclass(frozen=True)
class Others:
    """More destinations of an image."""

    destinations: Sequence[Destination]
    name: str
    """The name of the first destination among these."""

    ended: Callable[[str, Uploaded | Failed], None]
    """Gets what became of each destination, the first one too, as soon as it is known."""

    progress: Callable[[Mapping[str, Progress]], None]
    """Gets the figures of all destinations by their names; `progress` of `ship` gets none."""

    wait: bool = True
    """See `fleetswap.workflows.image.fan_out.fan_out`."""


def ship(
    request: UploadRequest,
    source: Source | Path,
    port: Snapshots,
    puts: Puts,
    say: Callable[[str], None],
    *,
    building: Callable[[str], None] = lambda _line: None,
    progress: Callable[[Progress], None] | None = None,
    accept: Callable[[Path], None] = lambda _disk: None,
    info: ImageInfo | None = DEFAULT,
    root_gib: int | None = None,
    attested: bool = False,
    trial: Trial | None = None,
    clock: Clock | None = None,
    connections: int = CONNECTIONS,
    others: Others | None = None,
) -> Shipped:
    """Return a completed snapshot of the image that `request` names, made now or before.

    With a `Source`, a completed snapshot is looked for before anything is made: the source of an older image may be
    gone. What the source makes must be the image that the request names. A `Path` is of an image that is there, which
    the caller has named. `accept` raises if what the source made is not what the caller expects. `info` is of the AMI
    that will be made of it: a disk from which no machine of that AMI boots is refused; with None, none is. `root_gib`
    refuses one that does not fit into a root volume of that size. `attested` asks what is measured of it, and refuses
    one of which that is not known (`fleetswap.workflows.image.measure`). An image that does not pass `trial` is not
    uploaded; one that has a completed snapshot is not tried. `say` gets what stays to be read, `building` and
    `progress` what passes.

    What is uploaded goes to the `others` as well, from the same pass over it. Their requests get the manifest, and what
    fails there is told to them alone. A snapshot that was there before the image was is not sent anywhere.

    To repeat it is harmless. Raises as `upload` does, and `FleetswapError` if the source makes another image.
    """
    clock = clock or SystemClock()
    began = clock.now()
    if isinstance(source, Path):
        path = source
        if trial is not None and adopt.finished(port, request.stack, request.wanted(0), say, clock) is not None:
            trial = None  # the upload adopts it
    else:
        found = adopt.finished(port, request.stack, request.wanted(0), say, clock)
        if found is not None:
            _check_root(found.volume_gib, root_gib)
            say(f"snapshot {found.snapshot_id} already has this image: nothing to build or send")
            adopted = Uploaded(found.snapshot_id, found.volume_gib, 0, 0, clock.now() - began, adopted=True)
            if not attested:
                return Shipped(adopted)
            seen = measure.of_snapshot(port, found.snapshot_id, found.volume_gib, info or DEFAULT, clock=clock)
            return Shipped(adopted, measured=seen)
    if trial is not None:
        trial.ready()
    if not isinstance(source, Path):
        path = _made(source, request.identity, building)
        accept(path)
        contains = source.manifest()
        request = replace(request, manifest=b"" if contains is None else encode(contains))
    built = clock.now()
    with ImageFile(path, data=request.data) as image:
        if info is not None:
            refuse_unbootable(image, info)
        _check_root(blockmap.layout(image.size).volume_gib, root_gib)
        measured = measure.of_image(image, info or DEFAULT) if attested else ()
        if trial is not None:
            trial.run(image, request.identity, say, building)
        tried = clock.now()
        # Of the open file, so that what is sent is what was tried.
        first = Destination(others.name if others is not None else "", request, port, puts, connections)
        uploaded = _sent(image, first, others, say, progress, clock)
    if not isinstance(source, Path):
        source.sent()
    return Shipped(uploaded, built - began, clock.now() - tried, tried - built if trial is not None else 0.0, measured)


def _sent(
    image: ImageFile,
    first: Destination,
    others: Others | None,
    say: Callable[[str], None],
    progress: Callable[[Progress], None] | None,
    clock: Clock,
) -> Uploaded:
    """Upload to all destinations, and return what the first one has; raises what went wrong there."""
    if others is None:
        return upload(
            image,
            first.request,
            first.port,
            first.puts,
            say,
            progress=progress,
            clock=clock,
            connections=first.connections,
        )
    manifest = first.request.manifest
    more = [replace(each, request=replace(each.request, manifest=manifest)) for each in others.destinations]
    outcome, *_ = fan_out(
        image, [first, *more], say, progress=others.progress, ended=others.ended, clock=clock, wait=others.wait
    )
    if isinstance(outcome, Failed):
        raise outcome.error
    return outcome


def _made(source: Source, identity: str, building: Callable[[str], None]) -> Path:
    """The image, which must be the one that was asked for: somebody has looked at that one's name, not at another's."""
    made = source.identity()
    if made != identity:
        raise FleetswapError(
            f"the image should have identity {identity}, but its source now has identity {made}:"
            " check out the commit that built it, or deploy the new image as a new release"
        )
    return source.bring(building)


def _check_root(volume_gib: int, root_gib: int | None) -> None:
    """EC2 refuses a volume that is smaller than its snapshot, but only when a machine is launched."""
    if root_gib is not None and root_gib < volume_gib:
        raise InputError(
            f"fleetswap:machine.root_gib is {root_gib}, but the volume of the image has {volume_gib} GiB (the image"
            " and its block map): increase it, or remove it"
        )
