"""`fleetswap status`, `abort` and `continue`: shows a service as it is in AWS now; ends or continues its rollout."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from fleetswap.cli import locate, options
from fleetswap.cli.display import print_json
from fleetswap.cli.freeze import freeze_figures, freeze_lines
from fleetswap.domain.rollout.model import Armed
from fleetswap.domain.rollout.rollout_tags import Paused
from fleetswap.domain.rollout.rule import PREVIEW_HEADER
from fleetswap.domain.rollout.view import ReleaseView, ServiceView
from fleetswap.domain.text import duration, one_line, units
from fleetswap.workflows.clock import SystemClock
from fleetswap.workflows.rollout import service as workflow

REASON = "aborted manually"
"""Of an abort, if none is given."""


def status(
    *,
    service: locate.Service = None,
    stack: locate.Stack = None,
    region: locate.Region = None,
    profile: locate.Profile = None,
    endpoint_url: locate.EndpointUrl = None,
    as_json: options.Json = False,
    show_secrets: Annotated[
        bool,
        typer.Option("--show-secrets", help="Also show the secret header that reaches a release before its traffic."),
    ] = False,
) -> None:
    """Show the releases of a service, where its traffic goes, and what AWS is scheduled to do.

    The command finds everything by tags, needs neither Pulumi nor its state, and only reads. What AWS does not answer
    is shown as unknown and is not an error.
    """
    at = locate.find(service, stack, region, endpoint_url, profile)
    found = workflow.status(at.service, balancer=at.balancer, fleet=at.fleet, switch=at.switch, keys=at.keys)
    headers = _headers(at, found) if show_secrets else {}
    if as_json:
        print_json(figures(found) | ({"previews": headers} if show_secrets else {}))
        return
    for line in _lines(found):
        typer.echo(line)
    for release, header in headers.items():
        typer.echo(f"to reach {release} before its traffic: curl -H '{header}'")


def abort(
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="The reason, which the deployer shows.")] = REASON,
    service: locate.Service = None,
    stack: locate.Stack = None,
    region: locate.Region = None,
    profile: locate.Profile = None,
    endpoint_url: locate.EndpointUrl = None,
    as_json: options.Json = False,
) -> None:
    """Abort the running rollout of a service, on whatever computer it runs.

    The rollout restores the traffic itself and exits with status 3. This command cannot see whether a rollout is
    running; if none is, the request is dropped when the next one starts.
    """
    at = locate.find(service, stack, region, endpoint_url, profile)
    why = one_line(reason) or REASON
    asked = workflow.abort(at.service, why, balancer=at.balancer, fleet=at.fleet, clock=SystemClock())
    if as_json:
        print_json({"service": at.service.name, "stack": at.service.stack, "reason": why, "releases": asked})
        return
    typer.echo(f"asked the rollout of {' and '.join(asked)} to abort: {why}")
    typer.echo("if it is running, it restores the traffic itself: check with `fleetswap status`", err=True)


def continue_(
    *,
    service: locate.Service = None,
    stack: locate.Stack = None,
    region: locate.Region = None,
    profile: locate.Profile = None,
    endpoint_url: locate.EndpointUrl = None,
    as_json: options.Json = False,
) -> None:
    """Continue the paused rollout of a service, on whatever computer it runs.

    It continues the pause that `fleetswap status` shows, and no later one. The rollout reads the request within
    seconds. If nothing is paused, the exit status is 2.
    """
    at = locate.find(service, stack, region, endpoint_url, profile)
    release, paused = workflow.continue_rollout(at.service, balancer=at.balancer, fleet=at.fleet, clock=SystemClock())
    if as_json:
        print_json(
            {"service": at.service.name, "stack": at.service.stack, "release": release, "paused": asdict(paused)}
        )
        return
    typer.echo(f"asked the rollout of {release} to continue, which is paused {paused.before}")


def _headers(at: locate.Place, now: ServiceView) -> dict[str, str]:
    """The preview header of each release that has a preview rule, as the listener has it."""
    values = {each.release: at.previews.value(each.release, each.target.target_group) for each in now.releases}
    return {release: f"{PREVIEW_HEADER}: {value}" for release, value in values.items() if value is not None}


def figures(now: ServiceView) -> dict[str, Any]:
    """Everything about a service, for `--json`. Null means unknown or absent."""
    armed = now.switch
    return {
        "service": now.service.name,
        "stack": now.service.stack,
        "listener": now.service.listener,
        "live": now.live,
        "standby": now.standby,
        "rolled_back": {"release": now.rolled_back.release, "at": now.rolled_back.at} if now.rolled_back else None,
        "switch": {
            "seconds": round(armed.seconds) if math.isfinite(armed.seconds) else None,
            "weights": _named(now, armed),
            "run": armed.run,
        }
        if armed
        else None,
        "releases": [_release(each) for each in now.releases],
        "strangers": [{"target_group": arn, "weight": weight} for arn, weight in now.strangers],
        "keys": [
            {
                "arn": each.arn,
                "state": each.state if each.is_known else None,
                "deletion": each.deletion or None,
                "releases": now.needing(each.arn),
            }
            for each in now.keys
        ],
        "freeze": freeze_figures(now.freeze),
        "boots": [asdict(each) for each in now.measured],
        "proposals": [asdict(each) for each in now.proposals],
        "unknown": now.unknown,
    }


def _release(each: ReleaseView) -> dict[str, Any]:
    group = each.group
    return {
        "release": each.release,
        "weight": each.weight,
        "healthy": each.healthy if each.known else None,
        "targets": len(each.targets) if each.known else None,
        "group": each.target.group,
        "target_group": each.target.target_group,
        "desired": group.desired if group else None,
        "minimum": group.minimum if group else None,
        "maximum": group.maximum if group else None,
        "weighted": group.weighted if group else None,
        "machines": [machine.id for machine in group.machines] if group else None,
        "pin": group.pin if group else None,
        "on_demand_pin": group.on_demand_pin if group else None,
        "scale_in": group.scale_in if group else None,
        "warm_pool": asdict(group.warm_pool) if group and group.warm_pool else None,
        "abort": group.abort if group else None,
        "paused": asdict(each.paused) if each.paused else None,
    }


def _named(now: ServiceView, armed: Armed) -> dict[str, int]:
    """The weights that the switch would write, by release."""
    names = {target.target_group: target.release for target in now.service.releases}
    return {names.get(arn, arn): weight for arn, weight in armed.rule.weights}


def _lines(now: ServiceView) -> list[str]:
    """The table and what is beside it."""
    total = sum(each.weight for each in now.releases) + sum(weight for _, weight in now.strangers)
    rows = [("release", "traffic", "healthy", "machines", "")]
    rows += [_row(now, each, total) for each in now.releases]
    rows += [(arn, _share(weight, total), "?", "?", "not a release of this stack") for arn, weight in now.strangers]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [f"{now.service.name} of {now.service.stack}"]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(row[column].rjust(widths[column]) for column in (1, 2)), row[3]]
        lines.append("  ".join([*cells[:3], cells[3].ljust(widths[3]), row[4]]).rstrip())
    if not now.releases:
        lines.append("no release has an auto scaling group")
    return [*lines, *_beside(now, total)]


def _row(now: ServiceView, each: ReleaseView, total: int) -> tuple[str, str, str, str, str]:
    group = each.group
    what = f" {units(weighted=True)}" if each.weighted else ""
    machines = f"{group.desired}{what} ({group.minimum} to {group.maximum})" if group else "gone" if each.known else "?"
    healthy = f"{each.healthy} of {sum(target.weight for target in each.targets)}" if each.known else "?"
    notes = [name for name, release in (("live", now.live), ("standby", now.standby)) if release == each.release]
    if group is not None:
        if group.pin is not None:
            notes.append(f"pinned (minimum was {group.pin})")
        if group.on_demand_pin is not None:
            notes.append(f"on-demand only (was {group.on_demand_pin} %)")
        if group.scale_in is not None:
            notes.append(f"warm until {_when(group.scale_in)}")
        if group.warm_pool is not None:
            notes.append(f"has a warm pool ({group.warm_pool.state.lower()})")
        if group.abort is not None:
            notes.append(f"asked to abort: {group.abort}")
    return each.release, _share(each.weight, total), healthy, machines, "; ".join(notes)


def _paused(release: str, paused: Paused) -> str:
    what = f"the rollout of {release} is paused {paused.before} since {_when(paused.since)}"
    until = f"until {_when(paused.until)}"
    if paused.is_over(datetime.now(UTC)):
        return f"{what}, was to be {until}, and its deployer has died: run `pulumi up` again"
    then = "aborts" if paused.otherwise == "abort" else "continues"
    return f"{what}, {until}, when it {then}: run `fleetswap continue` or `fleetswap abort`"


def _when(text: str) -> str:
    """A time in short, without the date if it is today's. Any other text stays as it is."""
    try:
        at = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return text
    return f"{at:%H:%M} UTC" if at.date() == datetime.now(UTC).date() else f"{at:%Y-%m-%d %H:%M} UTC"


def _share(weight: int, total: int) -> str:
    return f"{100 * weight / total:.3g} %" if weight else "-"


def _beside(now: ServiceView, total: int) -> list[str]:
    lines = list(now.service.extra)
    if now.rule is None:
        lines.append("the listener has no rule: no release gets traffic")
    elif not total:
        lines.append("the listener's rule forwards to no release")
    if len(now.serving) + len(now.strangers) > 1:
        lines.append("several releases share the traffic: a rollout is running, or has died")
    elif now.live is not None and now.serving and now.serving[0].release != now.live:
        lines.append(f"the last successful rollout made {now.live} live")
    lines += [_paused(each.release, each.paused) for each in now.releases if each.paused is not None]
    if now.rolled_back is not None:
        at = f" at {now.rolled_back.at}" if now.rolled_back.at else ""
        lines.append(
            f"{now.rolled_back.release} was rolled back with `fleetswap rollback --now`{at}: to deploy it again, set"
            " fleetswap:rollout.again"
        )
    lines += freeze_lines(now.service.name, now.freeze)
    if now.switch is not None:
        weights = " and ".join(f"{weight} % on {name}" for name, weight in _named(now, now.switch).items())
        left = now.switch.seconds
        when = f"in {duration(max(0.0, left))}" if math.isfinite(left) else "at an unknown time"
        lines.append(
            f"the dead man's switch is armed: {when} it restores {weights or 'weights that Fleetswap did not write'}"
        )
    lines += [
        each.line(f"new machines of {' and '.join(now.needing(each.arn))} need it")
        for each in now.keys
        if not each.works
    ]
    lines += [each.line for each in now.proposals]
    if now.unknown:
        lines.append("unknown, because AWS did not answer:")
        lines += [f"  {each}" for each in now.unknown]
    return lines
