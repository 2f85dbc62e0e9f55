"""`fleetswap upload`: a disk image into a snapshot."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fleetswap.cli import options
from fleetswap.cli.display import Display, cost, print_json, print_result
from fleetswap.domain.errors import InputError
from fleetswap.domain.image.meter import Figures
from fleetswap.domain.text import counted
from fleetswap.workflows.image import upload as workflow
from fleetswap.workflows.image.image_file import ImageFile
from fleetswap.workflows.image.upload import CONNECTIONS, SAMPLES, Order, Progress, Uploaded, identify

_NOT_YET = "sha256:"
"""Stands for the identity until the file is read, so that everything else is judged before."""


class Sparse(StrEnum):
    """Values of `--sparse`."""

    NONE = "none"
    HOLES = "holes"


def upload(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    *,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A tag of the snapshot; may be repeated.")
    ] = None,
    description: Annotated[str, typer.Option(metavar="TEXT", help="The snapshot's description.")] = "",
    encrypted: Annotated[
        bool, typer.Option("--encrypted", help="Encrypt the snapshot, with the account's default key for EBS.")
    ] = False,
    kms_key: Annotated[
        str | None, typer.Option(metavar="ARN", help="Encrypt it with this key of KMS; implies --encrypted.")
    ] = None,
    parent: Annotated[
        str | None,
        typer.Option(
            metavar="SNAPSHOT",
            show_default="the lineage's newest",
            help="Send only what differs from this snapshot; an error if it cannot be trusted.",
        ),
    ] = None,
    trust_stack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Another stack whose snapshots may be the parent too; may be repeated. Whoever may upload for it"
            " decides what is in this image.",
        ),
    ] = None,
    no_parent: Annotated[bool, typer.Option("--no-parent", help="Send every block.")] = False,
    lineage: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default="FILE's name without its version",
            help="Name of the images that follow one another; the newest of them is the parent. Empty: none.",
        ),
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            show_default="sha256:… of the disk",
            help="What the image is, if you know it: saves the one read of FILE that names it by its content. Two"
            " uploads with the same identity and stack are taken for the same image.",
        ),
    ] = None,
    stack: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Whose the snapshot is: only the same stack's is adopted, gone on in, or the parent."
        ),
    ] = "cli",
    data: Annotated[
        bool,
        typer.Option(
            "--data", help="FILE is a volume of data, and no disk to boot from: it need not have a partition table."
        ),
    ] = False,
    sparse: Annotated[
        Sparse,
        typer.Option(
            help="holes: skip what the file system of FILE says was never written. Such a block reads as garbage from"
            " an encrypted volume."
        ),
    ] = Sparse.NONE,
    samples: Annotated[
        int, typer.Option(min=0, metavar="N", help="Unchanged blocks of the parent to read back before it is trusted.")
    ] = SAMPLES,
    connections: Annotated[int, typer.Option(min=1, metavar="N", help="Connections at once, at most.")] = CONNECTIONS,
    journal: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            show_default="~/.cache/fleetswap/journal",
            help="Where a killed upload leaves what the next one needs to go on.",
        ),
    ] = None,
    region: options.Region = None,
    endpoint_url: options.EndpointUrl = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Put the disk in FILE into a finished EBS snapshot, and print the snapshot's id.

    FILE is a raw disk, a fixed or dynamic VHD, or a qcow2. Only blocks that the parent lacks are sent. To repeat it is
    harmless: a finished snapshot of the same image is adopted, an unfinished one is gone on with.
    """
    from fleetswap.cli.connect import in_region, join  # noqa: PLC0415 (as light as `--help` wants it)

    if parent is not None and no_parent:
        raise InputError("--parent and --no-parent exclude each other")
    order = Order(
        file,
        _NOT_YET if identity is None else identity,
        stack,
        tags=options.tags(tag or []),
        description=description,
        encrypted=encrypted or kms_key is not None,
        kms_key=kms_key,
        lineage=options.lineage(file) if lineage is None else lineage,
        trusted_stacks=tuple(trust_stack or ()),
        parent=workflow.NONE if no_parent else options.snapshot(parent) if parent is not None else workflow.AUTO,
        data=data,
        sparse=sparse.value,
        samples=samples,
        journal=journal or _journal(),
    )
    with ImageFile(file, data=data) as image:
        unbootable = None if data else image.disk.unbootable
        about = {"file": str(file), "format": image.format, "size": image.size}
    joined = join(region, endpoint_url, connections=connections)
    with Display("uploading", "puts", quiet=quiet) as display, in_region(joined.region, endpoint_url):
        if unbootable is not None:
            display.say(f"warning: {file.name} {unbootable}, so no machine boots from it with UEFI")
        if identity is None:
            display.say(f"reading {file.name} to name it by its content (--identity saves this)")
            order = replace(order, identity=identify(file, data=data))
        uploaded = workflow.upload(
            order,
            joined.port,
            joined.puts,
            display.say,
            progress=lambda now: display.tell(_figures(now)),
            connections=connections,
        )
        display.say(_summary(file, uploaded))
    if as_json:
        named = {"identity": order.identity, "stack": stack, "lineage": order.lineage, "region": joined.region}
        print_json(about | named | asdict(uploaded))
    else:
        print_result(uploaded.snapshot_id)


def _figures(now: Progress) -> Figures:
    return Figures(now.done, now.total, now.sent, now.bytes_sent, now.throttled, now.seconds, now.trouble)


def _summary(file: Path, uploaded: Uploaded) -> str:
    volume = f"snapshot {uploaded.snapshot_id} ({uploaded.volume_gib} GiB) holds {file.name}"
    if uploaded.adopted and not uploaded.blocks_sent:
        return f"{volume}, as it did before: nothing was sent"
    how = "with what another run had sent" if uploaded.resumed else ""
    if uploaded.parent is not None:
        how = f"{how + ' and ' if how else ''}as a child of {uploaded.parent}"
    spent = cost(
        uploaded.blocks_sent,
        uploaded.bytes_sent,
        uploaded.seconds,
        uploaded.throttled,
        uploaded.retried,
        unit="puts",
    )
    beside = f", {how}" if how else ""
    return f"{volume}{beside}: {counted(uploaded.blocks, 'block')}, {uploaded.blocks_sent:,} sent with its map, {spent}"


def _journal() -> Path | None:
    """The folder for what a killed upload needs; None where there is no home for it."""
    told = os.environ.get("XDG_CACHE_HOME", "")
    try:
        cache = Path(told) if Path(told).is_absolute() else Path.home() / ".cache"  # XDG: a relative path is ignored
    except RuntimeError:  # no home can be found
        return None
    return cache / "fleetswap" / "journal"
