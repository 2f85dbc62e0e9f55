"""The options that several commands share, and the formats of their values."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import click
import typer
from click.core import ParameterSource

from fleetswap.domain.errors import InputError
from fleetswap.domain.image.snapshots import SNAPSHOT_ID
from fleetswap.domain.tags import refuse_reserved

Region = Annotated[
    str | None,
    typer.Option(
        metavar="REGION",
        show_default="the settings', AWS_REGION, or the profile's",
        help="Region of the snapshot.",
    ),
]
EndpointUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        show_default="the settings', or AWS's own",
        help="Endpoint for EBS direct and EC2 requests, such as a VPC endpoint or the local cloud.",
    ),
]
Regions = Annotated[
    list[str] | None,
    typer.Option(
        "--region",
        metavar="REGION",
        show_default="the settings', AWS_REGION, or the profile's",
        help="Region of the snapshot; can be repeated: FILE is then read and hashed once for all regions.",
    ),
]
EndpointUrls = Annotated[
    list[str] | None,
    typer.Option(
        "--endpoint-url",
        metavar="URL",
        show_default="the settings', or AWS's own",
        help="Endpoint for EBS direct and EC2 requests, such as a VPC endpoint or the local cloud. With several"
        " regions: one for all, or one for each in their order.",
    ),
]
BootPort = Annotated[int, typer.Option(min=1, max=65535, metavar="N", help="Port of the service on the machine.")]
BootPath = Annotated[str, typer.Option(metavar="PATH", help="Path of the health check.")]
BootTimeout = Annotated[
    int,
    typer.Option(
        min=1, metavar="SECONDS", help="Time from the start of the machine within which it must become healthy."
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", show_default="the settings', or AWS_PROFILE", help="Profile of the AWS shared configuration."
    ),
]
Stack = Annotated[
    str | None,
    typer.Option(
        metavar="STACK",
        show_default="the only one",
        help="In a Pulumi project, the stack whose settings say how to reach AWS.",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object with all details instead of the short result.")
]
JsonFormat = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print no progress and no summary to standard error, only errors.")
]
# The help of the command says what the arguments are.
SnapshotId = Annotated[str, typer.Argument(metavar="SNAPSHOT")]

_VERSION = re.compile(r"[-_.](?:v?[0-9][0-9a-z.+~]*|(?=[a-f]*[0-9])[0-9a-f]{7,64})(?=[-_.]|$)", re.IGNORECASE)
"""What is taken for a version in a file's name: a part that begins with a digit, or one of hexadecimal digits."""

_ARCHITECTURE = re.compile(r"x86_64|i[3-6]86", re.IGNORECASE)
"""A part of a name that only looks like a version."""


def refuse(context: typer.Context, way: str, unused: Collection[str]) -> None:
    """Raise `InputError` if an option is given that has no effect with `way`, the command as the user writes it."""
    given = [each for each in context.command.params if each.name in unused and _was_given(context, each)]
    if given:
        names = " and ".join(max(each.opts, key=len) for each in given)
        raise InputError(f"`{way}` does not take {names} (see `{context.command_path} --help`)")


def _was_given(context: typer.Context, option: click.Parameter) -> bool:
    return context.get_parameter_source(option.name or "") == ParameterSource.COMMANDLINE


def snapshot(text: str) -> str:
    """A snapshot ID, or `InputError`."""
    if not SNAPSHOT_ID.fullmatch(text):
        raise InputError(f"{text!r} is not a snapshot ID (snap-…)")
    return text


def tags(given: list[str]) -> dict[str, str]:
    """The tags of `--tag KEY=VALUE`, or `InputError`."""
    found: dict[str, str] = {}
    for each in given:
        key, sign, value = each.partition("=")
        if not sign or not key:
            raise InputError(f"--tag {each!r} does not have the form KEY=VALUE")
        refuse_reserved(key)
        if key in found:
            raise InputError(f"tag {key!r} is given twice")
        found[key] = value
    return found


def lineage(file: Path) -> str:
    """The image name of a file: its own name without suffix and version-like parts.

    `web-1.4.2.raw` and `web-1.5.0.raw` are `web`. A name that is all version is taken whole. To guess wrong costs time
    and never bytes: of a parent that has little in common, few blocks are inherited.
    """
    stem = file.name.removesuffix(file.suffix) if file.suffix and not _VERSION.fullmatch(file.suffix) else file.name
    stem = "".join(each if each.isprintable() else "_" for each in stem)  # a tag is text, a file's name any bytes
    kept = _ARCHITECTURE.sub(lambda found: found.group().replace("_", "\0"), stem)
    kept = _VERSION.sub("", f"-{kept}").replace("\0", "_").strip("-_.")
    return kept or stem


def cache() -> Path | None:
    """Where this user keeps what makes the next run faster; None if there is no home directory."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = Path(named) if Path(named).is_absolute() else Path.home() / ".cache"  # XDG: a relative one is ignored
    except RuntimeError:  # no home can be found
        return None
    return folder / "fleetswap"
