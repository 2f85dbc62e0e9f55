"""`fleetswap rollback`: moves the traffic back to an older release, through Pulumi, or with `--now` through AWS alone.

Through Pulumi, it writes one setting, `fleetswap:release`, and runs `pulumi up`. The setting stays even if the update
fails: an update that fails or is killed may already have moved the traffic, and the next update with the old settings
would move it back. If the rollback is refused or declined before the update, nothing is written.
"""

from __future__ import annotations

import inspect
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from fleetswap.cli import engine, locate, options, project
from fleetswap.cli.display import Display, print_json
from fleetswap.cli.engine import Engine, EngineError
from fleetswap.cli.locate import Place
from fleetswap.cli.project import Project
from fleetswap.domain.errors import InputError
from fleetswap.domain.release.ledger import Ledger, from_plain
from fleetswap.domain.rollout.record import Kind
from fleetswap.domain.rollout.rollback import POLICY, choose
from fleetswap.domain.rollout.waves import resources
from fleetswap.domain.text import capacity
from fleetswap.workflows.clock import SystemClock
from fleetswap.workflows.rollout import service as workflow
from fleetswap.workflows.rollout.record_file import recorder_of
from fleetswap.workflows.rollout.rollback import rollback_now

THROUGH_PULUMI, NOW = "Through Pulumi", "With --now"
"""The headings of the options that only one way takes."""


def rollback(
    context: typer.Context,
    *,
    now: Annotated[
        bool, typer.Option("--now", help="Through AWS alone, immediately, without Pulumi or its state.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(metavar="RELEASE", show_default="the standby", help="The release to roll back to."),
    ] = None,
    stack: Annotated[
        str | None,
        typer.Option(
            metavar="STACK",
            show_default="the selected one",
            help="The stack, by Pulumi's name; with --now as for `fleetswap status`.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what the rollback would do, and change nothing.")
    ] = False,
    as_json: options.Json = False,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", "-y", help="Do not ask for confirmation after the preview.", rich_help_panel=THROUGH_PULUMI
        ),
    ] = False,
    skip_preview: Annotated[
        bool,
        typer.Option(
            "--skip-preview",
            "-f",
            help="Neither show a preview nor ask for confirmation.",
            rich_help_panel=THROUGH_PULUMI,
        ),
    ] = False,
    service: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default="the settings'",
            help="Name of the service, as in the resource tags.",
            rich_help_panel=NOW,
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            metavar="REGION",
            show_default="the settings', AWS_REGION, or the profile's",
            help="Region of the service.",
            rich_help_panel=NOW,
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default="the settings', or AWS_PROFILE",
            help="Profile of the AWS shared configuration.",
            rich_help_panel=NOW,
        ),
    ] = None,
    endpoint_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            show_default="the settings', or AWS's own",
            help="Endpoint to send API requests to, such as the local cloud.",
            rich_help_panel=NOW,
        ),
    ] = None,
    write: Annotated[
        bool,
        typer.Option("--write", help="Write the release into the stack's settings file.", rich_help_panel=NOW),
    ] = False,
    health_deadline: Annotated[
        float,
        typer.Option(
            min=1,
            metavar="SECONDS",
            help="How long to wait until the release is healthy.",
            rich_help_panel=NOW,
        ),
    ] = 300,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print no progress to standard error, only errors.", rich_help_panel=NOW),
    ] = False,
) -> None:
    """Roll back to a release that was live before.

    Through Pulumi: run in the project folder, it sets `fleetswap:release` for the stack and runs `pulumi up`, and exits
    with its status if that fails. With --now: it finds the service by its tags and moves the traffic itself, which also
    works while the state backend is down. The next `pulumi up` does not bring back the release that was rolled back.
    """
    if now and dry_run:
        _refuse_unused(context, "fleetswap rollback --now --dry-run", _show_now)
        _show_now(to, stack, service, region, endpoint_url, profile, as_json=as_json)
    elif now:
        _refuse_unused(context, "fleetswap rollback --now", _now)
        _now(
            to,
            stack,
            service,
            region,
            endpoint_url,
            profile,
            health_deadline,
            write=write,
            as_json=as_json,
            quiet=quiet,
        )
    elif dry_run:
        _refuse_unused(context, "fleetswap rollback --dry-run", _show_pulumi)
        _show_pulumi(to, stack, as_json=as_json)
    else:
        _refuse_unused(context, "fleetswap rollback", _pulumi)
        _pulumi(to, stack, yes=yes, skip_preview=skip_preview, as_json=as_json)


def _refuse_unused(context: typer.Context, way: str, function: Callable[..., None]) -> None:
    """What a way uses is what its function takes: whoever gives another option believes that it has an effect."""
    takes = {"now", "dry_run", *inspect.signature(function).parameters}
    options.refuse(context, way, {each.name for each in context.command.params if each.name} - takes)


# Through AWS alone


def _show_now(
    to: str | None,
    stack: str | None,
    service: str | None,
    region: str | None,
    endpoint_url: str | None,
    profile: str | None,
    *,
    as_json: bool,
) -> None:
    at = locate.find(service, stack, region, endpoint_url, profile)
    found = workflow.status(at.service, balancer=at.balancer, fleet=at.fleet, switch=at.switch)
    target = choose(found, to)
    serving = [each.release for each in found.serving] + [arn for arn, _ in found.strangers]
    if as_json:
        print_json({"service": at.service.name, "stack": at.service.stack, "to": target.release, "serving": serving})
        return
    size = capacity(target.desired, weighted=target.weighted)
    machines = f"{target.healthy} of {size} healthy" if target.known else "its machines are unknown"
    typer.echo(
        f"{at.service.name}: would roll back to {target.release} ({machines}) from {' and '.join(serving) or 'nothing'}"
    )


def _now(
    to: str | None,
    stack: str | None,
    service: str | None,
    region: str | None,
    endpoint_url: str | None,
    profile: str | None,
    health_deadline: float,
    *,
    write: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    at = locate.find(service, stack, region, endpoint_url, profile)
    if write and at.settings is None:
        raise InputError(
            f"--write: the settings file of stack {at.service.stack} is not here: run this in its Pulumi project"
        )
    with Display("", "", quiet=quiet) as display:
        try:
            done = rollback_now(
                at.service,
                to,
                balancer=at.balancer,
                fleet=at.fleet,
                switch=at.switch,
                keys=at.keys,
                clock=SystemClock(),
                policy=replace(POLICY, deadline=health_deadline),
                say=display.say,
                recorder=recorder_of(at.service.stack, Kind.ROLLBACK),
            )
        except KeyboardInterrupt as end:
            end.add_note("check with `fleetswap status` which release has the traffic before you run this again")
            raise
        line = f"{project.RELEASE}: {done.live}"
        written = write and _write(at, done.live, display)
        for warning in done.warnings:
            display.say(f"warning: {warning}")
        display.say(_next(at, line, written=written))
    if as_json:
        path = str(at.settings.path) if at.settings else None
        print_json({**asdict(done), "stack": at.service.stack, "setting": line, "file": path, "written": written})
        return
    typer.echo(
        f"{done.live} has all the traffic of {done.service}, with {capacity(done.machines, weighted=done.weighted)},"
        f" after {done.seconds:.1f} s; {done.left} had it before"
    )


def _write(at: Place, release: str, display: Display) -> bool:
    """Write the setting, if it can be: the traffic has moved, and no file may make that look like a failure."""
    if at.settings is None:
        return False
    try:
        at.settings.write_release(release)
    except InputError as error:
        display.say(f"warning: {error}")
        return False
    return True


def _next(at: Place, line: str, *, written: bool) -> str:
    """What to do so that the settings want what is real."""
    if written and at.settings:
        return f"next: commit {at.settings.path.name}, which now says `{line}`, so that the next `pulumi up` keeps it"
    where = at.settings.path.name if at.settings else f"the settings of stack {at.service.stack}"
    return (
        f"next: add `{line}` under `config:` in {where} and commit it, so that the next `pulumi up` keeps this release"
    )


# Through Pulumi


def _show_pulumi(to: str | None, stack: str | None, *, as_json: bool) -> None:
    plan = _plan(to, stack)
    _begin(plan)
    _preview(plan)
    _show(plan, "would have", as_json=as_json)


def _pulumi(to: str | None, stack: str | None, *, yes: bool, skip_preview: bool, as_json: bool) -> None:
    plan = _plan(to, stack)
    unasked = yes or skip_preview
    if not (unasked or sys.stdin.isatty()):
        raise InputError("there is no terminal to ask for confirmation: add --yes; nothing was changed")
    _begin(plan)
    if not skip_preview:
        _preview(plan)
    if not unasked:
        _ask(plan.release)
    _update(plan)
    _show(plan, "has", as_json=as_json)


@dataclass(frozen=True)
class _Plan:
    """A rollback through Pulumi: from which release to which."""

    pulumi: Engine
    project: Project
    stack: str
    left: str
    release: str


def _plan(to: str | None, stack: str | None) -> _Plan:
    """What is to be done, out of the stack's outputs; raises what is wrong with it, and changes nothing."""
    here = project.find(project.here())
    if here is None:
        raise InputError(
            "no Pulumi project here: run this in the folder of Pulumi.yaml, or roll back without Pulumi:"
            " `fleetswap rollback --now --service NAME`"
        )
    pulumi = engine.find(here.folder, ", or roll back without it: `fleetswap rollback --now --service NAME`")
    try:
        name = stack or pulumi.selected()
        if not name:
            raise InputError("no stack is selected: name one with --stack")
        outputs = pulumi.outputs(name)
    except EngineError as error:
        error.args = (f"{error} (to roll back without the state: `fleetswap rollback --now`)",)
        raise
    left, release = _target(outputs, to, name)
    return _Plan(pulumi, here, name, left, release)


def _begin(plan: _Plan) -> None:
    typer.echo(f"stack {plan.stack}: rolling back to {plan.release} from {plan.left}", err=True)


def _show(plan: _Plan, has: str, *, as_json: bool) -> None:
    if as_json:
        file = str(plan.project.file(plan.stack))
        done = {"stack": plan.stack, "release": plan.release, "left": plan.left, "file": file, "done": has == "has"}
        print_json(done)
    else:
        typer.echo(f"{plan.release} {has} all the traffic; {plan.left} had it before")


def _target(outputs: Mapping[str, Any], to: str | None, stack: str) -> tuple[str, str]:
    """The live release of the ledger, and the one to go back to."""
    ledger: Ledger = from_plain(outputs.get("ledger"))
    if ledger.live is None:
        raise InputError(f"stack {stack} has not deployed a release yet: there is nothing to roll back to")
    if to is None and ledger.standby is None:
        others = ", ".join(entry.release for entry in ledger.entries if entry.release != ledger.live) or "none"
        raise InputError(
            f"stack {stack} has no standby to roll back to (retained releases: {others}; name one with --to)"
        )
    release = ledger.entry(to or ledger.standby or "").release
    if release == ledger.live:
        raise InputError(f"release {release} is already live in stack {stack}: name another with --to")
    return ledger.live, release


def _preview(plan: _Plan) -> None:
    """Let Pulumi show what the update would do, with a copy of the settings: theirs stay as they are."""
    settings = plan.project.file(plan.stack)
    with tempfile.TemporaryDirectory(prefix="fleetswap-") as folder:
        copy = Path(folder) / settings.name
        if settings.is_file():
            shutil.copy(settings, copy)
        else:
            copy.write_text("")
        project.StackFile(plan.project.name, plan.stack, copy).write_release(plan.release)
        status = plan.pulumi.run(
            plan.stack, "preview", "--suppress-outputs", "--config-file", str(copy), *_excluded(plan)
        )
    if status != 0:
        raise EngineError(f"`pulumi preview` exited with status {status}: nothing was changed", status)


def _excluded(plan: _Plan) -> list[str]:
    """The options without which an update of a stack with skipped regions is refused."""
    settings = plan.project.file(plan.stack)
    file = project.StackFile(plan.project.name, plan.stack, settings, plan.project.shared)
    regions = file.skipped() if settings.is_file() else []
    return [word for each in regions for word in ("--exclude", resources(each))]


def _ask(release: str) -> None:
    """Nothing is changed without a yes."""
    typer.echo(f"Roll back to {release}? [y/N] ", err=True, nl=False)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise InputError("declined: nothing was changed")


def _update(plan: _Plan) -> None:
    path = plan.project.file(plan.stack)
    before = None
    if path.is_file():
        before = project.StackFile(plan.project.name, plan.stack, path).setting(project.RELEASE)
    undo = f"config set {project.RELEASE} {before}" if before else f"config rm {project.RELEASE}"
    stays = f"{path.name} now says `{project.RELEASE}: {plan.release}` and keeps it"
    try:
        plan.pulumi.set(plan.stack, project.RELEASE, plan.release)
        message = f"fleetswap rollback to {plan.release}"
        status = plan.pulumi.run(
            plan.stack, "up", "--yes", "--skip-preview", "--suppress-outputs", "--message", message, *_excluded(plan)
        )
    except KeyboardInterrupt as end:
        end.add_note(stays)
        raise
    if status != 0:
        raise EngineError(
            f"`pulumi up` exited with status {status}, for the reason above; {stays}: run `pulumi up` again, or undo it"
            f" with `pulumi {undo}` once `fleetswap status` shows that the traffic has not moved",
            status,
        )
    typer.echo(f"next: commit {path.name}, and delete that line before you deploy a new image", err=True)
