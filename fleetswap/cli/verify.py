"""`fleetswap verify`: compares a snapshot with its own block map, and with a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleetswap.cli import options, results
from fleetswap.cli.connect import in_region, join
from fleetswap.cli.display import Display, cost, print_json, print_result
from fleetswap.cli.way import of_stack
from fleetswap.domain.text import counted
from fleetswap.workflows.image import verify as workflow
from fleetswap.workflows.image.read_back import CONNECTIONS, Mismatch
from fleetswap.workflows.image.verify import Verified


def verify(
    snapshot: options.SnapshotId,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]")] = None,
    *,
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
    """Compare SNAPSHOT with its block map and, if given, with the disk image FILE.

    FILE is a raw disk, a VHD or a qcow2 image, and is compared byte for byte. Exits with status 4 if anything differs,
    and names the first blocks that do. A snapshot that `fleetswap upload` did not make has no block map: then only FILE
    is compared, and without FILE the command only checks that every block can be read.
    """
    snapshot_id = options.snapshot(snapshot)
    way = of_stack(stack, region, endpoint_url, profile)
    joined = join(way, connections=connections)
    with Display("verifying", "gets", quiet=quiet) as display, in_region(joined.region, way.endpoint):
        found = workflow.verify(
            snapshot_id,
            file,
            joined.port,
            progress=display.tell,
            connections=connections,
        )
        display.say(
            cost(found.blocks_read, found.bytes_read, found.seconds, found.throttled, found.retried, unit="gets")
        )
    if as_json:
        print_json(results.of_verify(found, file))
    else:
        for line in _lines(found, file):
            print_result(line)
    if not found.matches:
        raise Mismatch(_wrong(found))


def _lines(found: Verified, file: Path | None) -> list[str]:
    """The result, in lines."""
    lines = []
    if found.map_problem is not None:
        lines.append(f"{found.snapshot_id} was not compared with its block map: the map {found.map_problem}")
    if not found.matches:
        lines += found.problems
        lines += [f"block {each.index} (byte {each.offset}) {each.reason}" for each in found.differences]
        if found.differing > len(found.differences):
            lines.append(f"and {counted(found.differing - len(found.differences), 'block')} more")
        return lines
    matched = ["its block map"] if found.map_problem is None else []
    matched += [file.name] if file is not None else []
    what = f"all match {' and '.join(matched)}" if matched else "all readable, with nothing to compare them with"
    lines.append(f"{found.snapshot_id} is intact: {counted(found.blocks_read, 'block')}, {what}")
    if found.blocks_lacking:
        lines.append(
            f"{counted(found.blocks_lacking, 'block')} of the image are not in the snapshot (skipped holes): they read"
            " as zeros from an unencrypted volume, as garbage from an encrypted one"
        )
    return lines


def _wrong(found: Verified) -> str:
    what = [*found.problems, *([f"{counted(found.differing, 'differing block')}"] if found.differing else [])]
    first = f", the first at byte {found.differences[0].offset}" if found.differences else ""
    return f"snapshot {found.snapshot_id} does not match: {'; '.join(what)}{first}"
