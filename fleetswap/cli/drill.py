"""`fleetswap drill`: tries everything that a rollback needs, without moving traffic, and says what is missing."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from fleetswap.aws.partition import partition_of
from fleetswap.aws.rollout.identity import Identity
from fleetswap.aws.rollout.launch_parts import LaunchParts
from fleetswap.aws.rollout.preview_way import PreviewWay
from fleetswap.cli import locate, options
from fleetswap.cli.display import print_json, print_result
from fleetswap.domain.checklist import Finding, State, of
from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.text import counted
from fleetswap.workflows.rollout.drill import LIVE, Drill, World
from fleetswap.workflows.rollout.drill import drill as tried

Strict = Annotated[bool, typer.Option("--strict", help="Exit with status 1 also if something could not be checked.")]


def drill(
    *,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            "--release",
            metavar="RELEASE",
            show_default="what `fleetswap rollback` would take",
            help="The release to roll back to.",
        ),
    ] = None,
    live: Annotated[
        bool,
        typer.Option("--live", help="The live release instead, to which the next deploy would be rolled back."),
    ] = False,
    service: locate.Service = None,
    stack: locate.Stack = None,
    region: locate.Region = None,
    profile: locate.Profile = None,
    endpoint_url: locate.EndpointUrl = None,
    strict: Strict = False,
    as_json: options.Json = False,
) -> None:
    """Try everything that a rollback needs, without moving traffic, and say how long it would take.

    It works through AWS alone, as `fleetswap rollback --now`, and changes nothing that carries traffic: it makes one
    schedule that never fires, and deletes it. What it may not look at is `unknown`, never `ok`. The exit status is 1 if
    a check has failed; with --strict also if one is unknown.
    """
    if live and to is not None:
        raise InputError("--live names a release as --to does: leave one of them out")
    at = locate.find(service, stack, region, endpoint_url, profile)
    found = tried(at.service, LIVE if live else to, world_of(at))
    if as_json:
        print_json(plain(found))
    else:
        print_result("\n".join(_lines(found)))
    failed, unknown = of(found.findings, State.FAILED), found.untried
    if failed:
        raise FleetswapError(f"a rollback to {found.to} would not work: {_named(failed)} failed")
    if unknown:
        what = f"whether a rollback to {found.to} works is not proved: {_named(unknown)} could not be checked"
        if strict:
            raise FleetswapError(what)
        typer.echo(f"warning: {what}", err=True)


def world_of(at: locate.Place) -> World:
    """All that the drill of a service reaches."""
    hosts = at.service.rules.hosts if at.service.rules is not None else ()
    return World(
        at.balancer,
        at.fleet,
        at.switch,
        at.keys,
        LaunchParts(at.cloud),
        Identity(at.cloud),
        PreviewWay(at.cloud, at.service.listener, at.previews, hosts),
        at.cloud.region,
        partition_of(at.cloud.region).name,
    )


def _named(findings: tuple[Finding, ...]) -> str:
    return f"{counted(len(findings), 'check')} ({', '.join(each.check for each in findings)})"


def plain(found: Drill) -> dict[str, Any]:
    """Everything, for `--json` and for the comment of a pull request."""
    return {
        "service": found.service,
        "stack": found.stack,
        "region": found.region,
        "release": found.to,
        "from": found.left,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "proved": found.proved,
        "seconds": found.expected.seconds,
        "warm": found.expected.warm,
        "checks": [asdict(each) for each in found.findings],
    }


def _lines(found: Drill) -> list[str]:
    first = f"{found.service} of {found.stack}: a rollback to {found.to} from {found.left}"
    return [first, *map(str, found.findings), f"it would take {found.expected.line}"]
