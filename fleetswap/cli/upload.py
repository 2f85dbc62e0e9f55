"""`fleetswap upload`: uploads a disk image into an EBS snapshot."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fleetswap.cli import options, results
from fleetswap.cli.connect import Joined, in_region, join
from fleetswap.cli.display import Display, cost, print_json, print_result, slowly
from fleetswap.cli.way import Way, of_stack
from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.image.info import DEFAULT
from fleetswap.domain.image.manifest import encode
from fleetswap.domain.text import counted
from fleetswap.nix.stated import beside
from fleetswap.workflows.image.estimate import estimate
from fleetswap.workflows.image.fan_out import Destination, Failed
from fleetswap.workflows.image.image_file import ImageFile, identify
from fleetswap.workflows.image.ports import TRIAL_SECONDS, Trial
from fleetswap.workflows.image.request import AUTO, NONE, SAMPLES, UploadRequest
from fleetswap.workflows.image.send import CONNECTIONS
from fleetswap.workflows.image.ship import Others, ship
from fleetswap.workflows.image.upload import Uploaded

_NOT_YET = "sha256:"
"""Stands for the identity until the file is read, so that everything else is judged before."""

NO_STACK = "cli"
"""Who owns what no stack owns."""


Outcomes = dict[str, Uploaded | Failed]
"""What became of an upload, by region."""


class Sparse(StrEnum):
    """Values of `--sparse`."""

    NONE = "none"
    HOLES = "holes"


def upload(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    *,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Tag for the snapshot; can be repeated.")
    ] = None,
    description: Annotated[str, typer.Option(metavar="TEXT", help="Description of the snapshot.")] = "",
    encrypted: Annotated[
        bool, typer.Option("--encrypted", help="Encrypt the snapshot with the account's default EBS key.")
    ] = False,
    kms_key: Annotated[
        str | None, typer.Option(metavar="ARN", help="Encrypt the snapshot with this KMS key; implies --encrypted.")
    ] = None,
    parent: Annotated[
        str | None,
        typer.Option(
            metavar="SNAPSHOT",
            show_default="the newest of the lineage",
            help="Send only the blocks that differ from this snapshot; an error if it cannot be the parent.",
        ),
    ] = None,
    trust_stack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Another stack whose snapshots can be the parent; can be repeated. Whoever can upload for that stack"
            " decides what is in this image.",
        ),
    ] = None,
    no_parent: Annotated[bool, typer.Option("--no-parent", help="Send every block.")] = False,
    lineage: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default="FILE's name without its version",
            help="Name of a series of images, the newest of which becomes the parent. Empty: no lineage.",
        ),
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            show_default="sha256:… of the disk",
            help="Identity of the image, if you know it; saves reading FILE once to compute its digest. Two uploads"
            " with the same identity and stack count as the same image.",
        ),
    ] = None,
    stack: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Stack that owns the snapshot. Only its own snapshots are adopted, resumed or used as the parent. In"
            " its Pulumi project, its settings say how to reach AWS.",
        ),
    ] = NO_STACK,
    data: Annotated[
        bool,
        typer.Option("--data", help="FILE is a data volume, not a boot disk, and needs no partition table."),
    ] = False,
    sparse: Annotated[
        Sparse,
        typer.Option(
            help="holes: skip what was never written to FILE. A skipped block reads as garbage from an encrypted"
            " volume."
        ),
    ] = Sparse.NONE,
    samples: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Number of unchanged blocks to read back from a parent before it is used."
        ),
    ] = SAMPLES,
    connections: Annotated[
        int, typer.Option(min=1, metavar="N", help="Maximum number of concurrent connections.")
    ] = CONNECTIONS,
    boot_test: Annotated[
        bool,
        typer.Option(
            "--boot-test", help="Boot FILE (x86-64, UEFI) in QEMU first, and upload nothing if it is not healthy."
        ),
    ] = False,
    boot_port: options.BootPort = 8080,
    boot_path: options.BootPath = "/healthz",
    boot_timeout: options.BootTimeout = TRIAL_SECONDS,
    journal: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            show_default="~/.cache/fleetswap/journal",
            help="Where an interrupted upload records what the next run needs to resume it.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only show how many blocks would be sent, how long that takes at the quota, and its price.",
        ),
    ] = False,
    region: options.Regions = None,
    profile: options.Profile = None,
    endpoint_url: options.EndpointUrls = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Upload the disk image FILE as an EBS snapshot, and print the snapshot ID.

    FILE is a raw disk, a fixed or dynamic VHD, or a qcow2 image. Only the blocks that the parent does not have are
    sent. It is safe to run the command again: it adopts a completed snapshot of the same image, and resumes an
    interrupted upload. With --dry-run, nothing is sent or created, and the number of blocks is printed. With several
    regions, a line is printed for each that has the image, and one that fails does not stop the others.
    """
    if dry_run:
        options.refuse(context, "fleetswap upload --dry-run", {"boot_test", "journal", "samples", "description", "tag"})
    if no_parent:
        options.refuse(context, "fleetswap upload --no-parent", {"parent", "trust_stack", "samples"})
    if parent is not None:
        options.refuse(context, "fleetswap upload --parent", {"trust_stack"})
    if data:
        options.refuse(context, "fleetswap upload --data", {"boot_test"})
    if not boot_test:
        options.refuse(context, "fleetswap upload without --boot-test", {"boot_port", "boot_path", "boot_timeout"})
    trial = _trial(boot_port, boot_path, boot_timeout) if boot_test else None
    request = UploadRequest(
        _NOT_YET if identity is None else identity,
        stack,
        tags=options.tags(tag or []),
        description=description,
        encrypted=encrypted or kms_key is not None,
        kms_key=kms_key,
        lineage=options.lineage(file) if lineage is None else lineage,
        trusted_stacks=tuple(trust_stack or ()),
        parent=NONE if no_parent else options.snapshot(parent) if parent is not None else AUTO,
        data=data,
        sparse=sparse.value,
        samples=samples,
        journal=journal or _journal(),
    )
    with ImageFile(file, data=data) as image:
        unbootable = None if data else image.disk.unbootable
    ways = _ways(None if stack == NO_STACK else stack, region or [], endpoint_url or [], profile)
    places = [join(way, connections=connections) for way in ways]
    with Display("uploading", "puts", quiet=quiet) as display, in_region(places[0].region, ways[0].endpoint):
        if unbootable is not None:
            display.say(f"warning: {file.name} {unbootable}, so it does not boot with UEFI")
        if identity is None:
            display.say(f"computing the identity of {file.name} (--identity skips this)")
            request = replace(request, identity=identify(file, data=data))
        contains = beside(file, request.identity)
        request = replace(request, manifest=b"" if contains is None else encode(contains))
        if dry_run:
            _plan(file, request, places, display, as_json=as_json)
            return
        outcomes = _sent(file, request, places, display, connections, trial)
        there = {place: each for place in places if isinstance(each := outcomes[place.region], Uploaded)}
        for place, uploaded in there.items():
            display.say(f"{_of(place, places)}{_summary(file, uploaded)}")
    told = [results.of_upload(file, image.format, image.size, request, at.region, each) for at, each in there.items()]
    _print(told, len(places), as_json=as_json)
    _refuse_failed(places, outcomes)


def _trial(port: int, path: str, seconds: int) -> Trial:
    from fleetswap.cli.boot_test import made  # noqa: PLC0415 (an upload rarely boots anything, and this takes 25 ms)
    from fleetswap.domain.boot.health import Check  # noqa: PLC0415 (as above)
    from fleetswap.domain.boot.machine import Hardware  # noqa: PLC0415 (as above)
    from fleetswap.qemu import programs  # noqa: PLC0415 (as above)

    return made(Hardware(), Check(port, path), programs.AUTO, seconds, "--boot-timeout")


def _sent(
    file: Path,
    request: UploadRequest,
    places: list[Joined],
    display: Display,
    connections: int,
    trial: Trial | None,
) -> Outcomes:
    """Upload to all regions; by region what became of it. Raises what goes wrong before, or in the only region."""
    outcomes: Outcomes = {}
    first, *rest = places
    destinations = [Destination(each.region, request, each.port, each.puts, connections) for each in rest]
    others = Others(destinations, first.region, outcomes.__setitem__, display.tell_all) if rest else None
    try:
        shipped = ship(
            request,
            file,
            first.port,
            first.puts,
            display.say,
            progress=display.tell,
            info=DEFAULT if trial is not None else None,
            building=slowly(display.say),
            trial=trial,
            connections=connections,
            others=others,
        )
    except FleetswapError:
        if len(outcomes) < len(places):
            raise
    else:
        outcomes[first.region] = shipped.uploaded
    return outcomes


def _print(told: list[results.Result], regions: int, *, as_json: bool) -> None:
    for each in told:
        if as_json:
            print_json(each)
        else:
            print_result(f"{each['region']} {each['snapshot_id']}" if regions > 1 else str(each["snapshot_id"]))


def _refuse_failed(places: list[Joined], outcomes: Outcomes) -> None:
    failed = [f"{name}: {outcome}" for name, outcome in outcomes.items() if isinstance(outcome, Failed)]
    if failed:
        told = f"{len(failed)} of {counted(len(places), 'region')} without a snapshot of the image"
        raise FleetswapError(f"{told}: {'; '.join(failed)}: run the command again to resume")


def _of(place: Joined, places: list[Joined]) -> str:
    """How a line about a region begins, if there are several."""
    return f"{place.region}: " if len(places) > 1 else ""


def _ways(stack: str | None, regions: list[str], endpoints: list[str], profile: str | None) -> list[Way]:
    """The way to each region. `InputError` if they are not told apart, or it is not clear which endpoint is whose."""
    if len(set(regions)) < len(regions):
        raise InputError("a --region is given twice: give each region once")
    if len(endpoints) > 1 and len(endpoints) != len(regions):
        raise InputError(
            f"--endpoint-url is given {len(endpoints)} times, and --region {len(regions)} times: give one endpoint, or"
            " one for each region"
        )
    named: list[str | None] = [*regions] or [None]
    urls: list[str | None] = [*endpoints] or [None]
    if len(urls) == 1:
        urls *= len(named)
    return [of_stack(stack, region, url, profile) for region, url in zip(named, urls, strict=True)]


def _plan(file: Path, request: UploadRequest, places: list[Joined], display: Display, *, as_json: bool) -> None:
    for place in places:
        planned = estimate(file, request, place.port, display.say)
        if planned is None:
            raise AssertionError("unreachable: nobody has enough of it")
        display.say(f"{_of(place, places)}{file.name}: {planned}")
        if as_json:
            print_json(results.of_plan(file, place.region, planned))
        else:
            print_result(f"{_of(place, places)}{planned.blocks_sent}")


def _summary(file: Path, uploaded: Uploaded) -> str:
    snapshot = f"snapshot {uploaded.snapshot_id} ({uploaded.volume_gib} GiB)"
    if uploaded.adopted and not uploaded.blocks_sent:
        return f"adopted {snapshot} of {file.name}: nothing was sent"
    resumed = ", resuming an interrupted upload" if uploaded.resumed else ""
    parent = f", parent {uploaded.parent}" if uploaded.parent is not None else ""
    spent = cost(
        uploaded.blocks_sent,
        uploaded.bytes_sent,
        uploaded.seconds,
        uploaded.throttled,
        uploaded.retried,
        unit="puts",
    )
    blocks = f"{counted(uploaded.blocks, 'block')}, {uploaded.blocks_sent:,} sent including the block map"
    return f"uploaded {file.name} to {snapshot}{resumed}{parent}: {blocks}, {spent}"


def _journal() -> Path | None:
    """The folder for journals; None if there is no home directory."""
    cache = options.cache()
    return cache / "journal" if cache is not None else None
