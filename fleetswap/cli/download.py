"""`fleetswap download`: downloads a snapshot into a raw disk image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleetswap.cli import options, results
from fleetswap.cli.connect import in_region, join
from fleetswap.cli.display import Display, cost, print_json, print_result
from fleetswap.cli.way import of_stack
from fleetswap.domain.errors import InputError
from fleetswap.domain.text import amount
from fleetswap.workflows.image import download as workflow
from fleetswap.workflows.image.read_back import CONNECTIONS


def download(
    snapshot: options.SnapshotId,
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    *,
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite FILE if it exists.")] = False,
    whole_volume: Annotated[
        bool, typer.Option("--whole-volume", help="Make FILE as large as the volume, even if the image is smaller.")
    ] = False,
    connections: Annotated[
        int, typer.Option(min=1, metavar="N", help="Maximum number of concurrent connections.")
    ] = CONNECTIONS,
    stack: options.Stack = None,
    region: options.Region = None,
    profile: options.Profile = None,
    endpoint_url: options.EndpointUrl = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Download SNAPSHOT as the raw disk image FILE, and print the file name.

    Every block is checked. FILE has the size of the image if `fleetswap upload` made the snapshot, otherwise the size
    of the volume. It appears only when it is complete and on disk. Zero blocks become holes.
    """
    snapshot_id = options.snapshot(snapshot)
    if str(file) == "-":
        raise InputError(
            "a disk image cannot be written to standard output, where it could end half-way: name a file (or ./-)"
        )
    if not str(file).isprintable():
        raise InputError(f"{str(file)!r} cannot be printed on one line, as the result is: choose another file name")
    way = of_stack(stack, region, endpoint_url, profile)
    joined = join(way, connections=connections)
    with Display("downloading", "gets", quiet=quiet) as display, in_region(joined.region, way.endpoint):
        made = workflow.download(
            snapshot_id,
            file,
            joined.port,
            display.say,
            force=force,
            whole_volume=whole_volume,
            progress=display.tell,
            connections=connections,
        )
        spent = cost(made.blocks_read, made.bytes_read, made.seconds, made.throttled, made.retried, unit="gets")
        checked = "" if made.map_problem is not None else ", every block matches its block map"
        display.say(f"downloaded snapshot {snapshot_id} to {file} ({amount(made.size)}){checked}: {spent}")
    if as_json:
        print_json(results.of_download(made))
    else:
        print_result(str(file))
