"""`fleetswap freeze` and `fleetswap unfreeze`: keep new releases off a service for a time, and let them on again."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from fleetswap.aws.caller import caller_arn
from fleetswap.cli import locate, options
from fleetswap.cli.connect import configured
from fleetswap.cli.display import print_json
from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout.freeze import Freeze, asked, exempted, readable
from fleetswap.workflows.clock import SystemClock
from fleetswap.workflows.rollout import freeze as workflow

REGIONS = "fleetswap:regions"


def freeze(
    *,
    reason: Annotated[
        str,
        typer.Option(metavar="TEXT", help="Why, for those whom it stops. At most 256 characters.", show_default=False),
    ],
    until: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="The end: a time from now (90m, 2h, 3d), or ISO 8601 with a time zone. At most 90 days away.",
            show_default=False,
        ),
    ],
    service: locate.Service = None,
    stack: locate.Stack = None,
    region: locate.Region = None,
    profile: locate.Profile = None,
    endpoint_url: locate.EndpointUrl = None,
    as_json: options.Json = False,
) -> None:
    """Freeze a service: no new release is deployed until a time, or `unfreeze`.

    Rollbacks, and updates to the release that is live, are not stopped; a rollout that runs goes on. Another freeze is
    replaced.
    """
    asked(reason, until, by="", now=time.time())  # what is wrong is said before AWS is asked
    at = locate.find(service, stack, region, endpoint_url, profile)
    clock, where = SystemClock(), at.cloud.region
    workflow.current(at.service, balancer=at.balancer, clock=clock)
    wanted = asked(reason, until, by=_caller(at), now=time.time())
    found = workflow.freeze(at.service, wanted, balancer=at.balancer, clock=clock)
    if as_json:
        print_json(_place(at) | {"freeze": freeze_figures(found)})
    else:
        typer.echo(f"{at.service.name} in {where} is {found.line}")
    typer.echo("a rollout that runs now goes on: `fleetswap abort` ends it", err=True)
    if at.settings is not None and region is None and at.settings.config().get(REGIONS):
        typer.echo(f"this freezes {where} alone: repeat it with --region for each other region", err=True)


def unfreeze(
    *,
    only: Annotated[
        str | None,
        typer.Option(metavar="RELEASE", help="Let only this release pass; the freeze stays. Needs --reason."),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="With --only: why, for the record and the notification.")
    ] = None,
    service: locate.Service = None,
    stack: locate.Stack = None,
    region: locate.Region = None,
    profile: locate.Profile = None,
    endpoint_url: locate.EndpointUrl = None,
    as_json: options.Json = False,
) -> None:
    """End the freeze of a service, or let one release pass.

    With --only, the release may be deployed until the freeze ends, and no other one. Who allowed it, when and why is in
    the output, the record and the notification of its rollout.
    """
    if (only is None) != (reason is None):
        raise InputError("--only and --reason belong together: name the release, and say why it may pass")
    at = locate.find(service, stack, region, endpoint_url, profile)
    clock = SystemClock()
    before = workflow.current(at.service, balancer=at.balancer, clock=clock)
    if only is not None and reason is not None:
        wanted = exempted(before, at.service.name, only, reason, by=_caller(at), now=time.time())
        found = workflow.allow(at.service, wanted, balancer=at.balancer, clock=clock)
        said = f"{at.service.name} lets {found.release} pass: {found.reason}; it stays frozen for every other release"
    else:
        workflow.unfreeze(at.service, balancer=at.balancer, clock=clock)
        frozen = before is not None and before.holds(time.time())
        said = f"{at.service.name} in {at.cloud.region} is {'no longer' if frozen else 'not'} frozen"
    if as_json:
        after = workflow.current(at.service, balancer=at.balancer, clock=clock)
        print_json(_place(at) | {"freeze": freeze_figures(after), "before": freeze_figures(before)})
    else:
        typer.echo(said)


def freeze_figures(freeze: Freeze | None) -> dict[str, Any] | None:
    """A freeze, for `--json`. Null if there is none, or it has ended; null in it is what cannot be read."""
    if freeze is None or not freeze.holds(time.time()):
        return None
    allowed = freeze.allowed
    return {
        "until": _time(freeze.until),
        "since": _time(freeze.since),
        "by": freeze.by,
        "reason": freeze.reason,
        "allowed": {
            "release": allowed.release,
            "since": _time(allowed.since),
            "by": allowed.by,
            "reason": allowed.reason,
        }
        if allowed
        else None,
    }


def freeze_lines(service: str, freeze: Freeze | None) -> list[str]:
    """A freeze, for people; nothing of one that has ended."""
    if freeze is None or not freeze.holds(time.time()):
        return []
    lines = [f"{service} is {freeze.line}"]
    if freeze.allowed is not None:
        each = freeze.allowed
        lines.append(f"{each.release} may pass, says {each.by or 'someone'}: {each.reason or 'no reason is given'}")
    return lines


def _caller(at: locate.Place) -> str:
    with configured():
        return caller_arn(at.cloud)


def _place(at: locate.Place) -> dict[str, Any]:
    return {"service": at.service.name, "stack": at.service.stack, "region": at.cloud.region}


def _time(moment: float | None) -> str | None:
    return None if moment is None else readable(moment)
