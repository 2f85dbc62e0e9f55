"""`fleetswap download`: a snapshot into a raw disk file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fleetswap.cli import options
from fleetswap.cli.display import Display, cost, print_json, print_result
from fleetswap.domain.errors import InputError
from fleetswap.domain.image.meter import Figures
from fleetswap.domain.text import amount
from fleetswap.workflows.image import download as workflow
from fleetswap.workflows.image.read_back import CONNECTIONS, Reading


def download(
    snapshot: options.SnapshotId,
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    *,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace FILE if it is there.")] = False,
    whole_volume: Annotated[
        bool, typer.Option("--whole-volume", help="Make FILE as large as the volume, also where the image is smaller.")
    ] = False,
    connections: Annotated[int, typer.Option(min=1, metavar="N", help="Connections at once, at most.")] = CONNECTIONS,
    region: options.Region = None,
    endpoint_url: options.EndpointUrl = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make the raw disk FILE of a completed SNAPSHOT, checked block by block, and print its name.

    FILE has the image's own size if the snapshot was made by `fleetswap upload`, else the volume's. It appears only
    when it is whole and on the disk. Zeros are holes in it.
    """
    from fleetswap.cli.connect import in_region, join  # noqa: PLC0415 (as light as `--help` wants it)

    snapshot_id = options.snapshot(snapshot)
    if str(file) == "-":
        raise InputError("a disk is not written to standard output, where it might end half-way: name a file (or ./-)")
    if not str(file).isprintable():
        raise InputError(f"{str(file)!r} is not printed on one line, as the result is: name another file")
    joined = join(region, endpoint_url, connections=connections)
    with Display("downloading", "gets", quiet=quiet) as display, in_region(joined.region, endpoint_url):
        made = workflow.download(
            snapshot_id,
            file,
            joined.port,
            display.say,
            force=force,
            whole_volume=whole_volume,
            progress=lambda now: display.tell(figures(now)),
            connections=connections,
        )
        spent = cost(made.blocks_read, made.bytes_read, made.seconds, made.throttled, made.retried, unit="gets")
        checked = "" if made.map_problem is not None else ", every block as its block map says"
        display.say(f"{file} ({amount(made.size)}) holds snapshot {snapshot_id}{checked}: {spent}")
    if as_json:
        told = asdict(made) | {"path": str(made.path)}
        print_json({("file" if key == "path" else key): value for key, value in told.items()})
    else:
        print_result(str(file))


def figures(now: Reading) -> Figures:
    """A reading as the display wants it."""
    return Figures(now.done, now.total, now.blocks, now.bytes, now.throttled, now.seconds)
