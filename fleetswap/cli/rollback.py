"""`fleetswap rollback`: the way back to an older release, through Pulumi, or with `--now` through AWS alone.

Through Pulumi it writes one setting, `fleetswap:release`, and runs `pulumi up`. The setting stays, whatever becomes of
the update: an update that fails or is killed may have moved the traffic already, and settings that still want the
release that was left would take it back there. What is refused, or declined, before the update writes nothing.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetswap.cli import engine, locate, options, project
from fleetswap.cli.display import Display, print_json
from fleetswap.cli.engine import Engine, EngineError
from fleetswap.cli.project import Project
from fleetswap.domain.errors import InputError
from fleetswap.domain.text import counted

if TYPE_CHECKING:
    from fleetswap.cli.locate import Place
    from fleetswap.domain.release.ledger import Ledger


def rollback(
    *,
    now: Annotated[
        bool, typer.Option("--now", help="Through AWS alone, at once: without Pulumi, its state and a question.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="RELEASE", show_default="the standby", help="The release that is to have the traffic again."
        ),
    ] = None,
    stack: Annotated[
        str | None,
        typer.Option(
            metavar="STACK",
            show_default="the selected one",
            help="Pulumi's name of the stack; with --now, as for `status`.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing after the preview. Not with --now.")] = False,
    skip_preview: Annotated[
        bool, typer.Option("--skip-preview", "-f", help="No preview and no question. Not with --now.")
    ] = False,
    service: locate.Service = None,
    region: locate.Region = None,
    endpoint_url: locate.EndpointUrl = None,
    write: Annotated[
        bool, typer.Option("--write", help="With --now: put the release into the stack's settings here.")
    ] = False,
    health_deadline: Annotated[
        float,
        typer.Option(min=1, metavar="SECONDS", help="With --now: until the release must be healthy."),
    ] = 300,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Put the traffic back on a release that was live before.

    Through Pulumi: in the project's folder, it sets fleetswap:release for the stack and runs `pulumi up`, whose exit
    status it ends with if that fails. With --now: it moves the traffic itself, found by tags alone, also while the
    state cannot be reached. The next `pulumi up` will not bring back the release that was left.
    """
    if now:
        if yes or skip_preview:
            raise InputError("--now has no preview and no question: leave out --yes and --skip-preview")
        at = locate.find(service, stack, region, endpoint_url)
        if dry_run:
            _show_now(at, to, as_json=as_json)
        else:
            _now(at, to, health_deadline, write=write, as_json=as_json, quiet=quiet)
        return
    given = {"--service": service, "--region": region, "--endpoint-url": endpoint_url, "--write": write or None}
    wrong = [option for option, value in given.items() if value is not None]
    if wrong:
        raise InputError(f"{', '.join(wrong)} is for `rollback --now`; through Pulumi, the stack's settings say it")
    _through_pulumi(to, stack, dry_run=dry_run, unasked=yes or skip_preview, unseen=skip_preview, as_json=as_json)


# Through AWS alone


def _show_now(at: Place, to: str | None, *, as_json: bool) -> None:
    from fleetswap.domain.rollout.view import way_back  # noqa: PLC0415 (as light as `--help` wants it)
    from fleetswap.workflows.rollout import by_hand as workflow  # noqa: PLC0415

    found = workflow.status(at.site, balancer=at.balancer, fleet=at.fleet, switch=at.switch)
    target = way_back(found, to)
    serving = [each.release for each in found.serving] + [arn for arn, _ in found.strangers]
    if as_json:
        print_json({"service": at.site.service, "stack": at.site.stack, "to": target.release, "serving": serving})
        return
    machines = f"{target.healthy} of {target.desired} machines healthy" if target.known else "its machines are unknown"
    typer.echo(
        f"{at.site.service}: would go back to {target.release} ({machines}) from {' and '.join(serving) or 'nothing'}"
    )


def _now(at: Place, to: str | None, health_deadline: float, *, write: bool, as_json: bool, quiet: bool) -> None:
    from fleetswap.workflows.rollout import by_hand as workflow  # noqa: PLC0415
    from fleetswap.workflows.rollout.run import SystemClock  # noqa: PLC0415

    if write and at.settings is None:
        raise InputError(f"--write: the settings of stack {at.site.stack} are not here: run it in its Pulumi project")
    with Display("", "", quiet=quiet) as display:
        try:
            done = workflow.rollback_now(
                at.site,
                to,
                balancer=at.balancer,
                fleet=at.fleet,
                switch=at.switch,
                clock=SystemClock(),
                pace=workflow.Pace(health_deadline=health_deadline),
                say=display.say,
            )
        except KeyboardInterrupt as end:
            end.add_note("the way back may be half done: `fleetswap status` shows it, and the same command goes on")
            raise
        line = f"{project.RELEASE}: {done.live}"
        written = write and _write(at, done.live, display)
        for warning in done.warnings:
            display.say(f"warning: {warning}")
        display.say(_next(at, line, written=written))
    if as_json:
        path = str(at.settings.path) if at.settings else None
        print_json({**asdict(done), "stack": at.site.stack, "setting": line, "file": path, "written": written})
        return
    typer.echo(
        f"{done.live} has all the traffic of {done.service}, with {counted(done.machines, 'machine')},"
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
        return f"next: commit {at.settings.path.name}, which says `{line}` now, so that the next `pulumi up` agrees"
    where = at.settings.path.name if at.settings else f"the settings of stack {at.site.stack}"
    return f"next: put `{line}` under `config:` in {where} and commit it, so that the next `pulumi up` agrees"


# Through Pulumi


def _through_pulumi(
    to: str | None, stack: str | None, *, dry_run: bool, unasked: bool, unseen: bool, as_json: bool
) -> None:
    here = project.find(Path.cwd())
    if here is None:
        raise InputError(
            "no Pulumi project is here: run this where Pulumi.yaml is, or, without Pulumi,"
            " `fleetswap rollback --now --service NAME`"
        )
    pulumi = engine.find(here.folder)
    try:
        name = stack or pulumi.selected()
        if not name:
            raise InputError("no stack is selected: name one with --stack")
        outputs = pulumi.outputs(name)
    except EngineError as error:
        error.args = (f"{error} (without the state: `fleetswap rollback --now`)",)
        raise
    left, release = _target(outputs, to, name)
    if not (dry_run or unasked or sys.stdin.isatty()):
        raise InputError("there is no terminal to ask: say --yes to go back without a question; nothing was changed")
    typer.echo(f"stack {name}: going back to {release} from {left}", err=True)
    if dry_run or not unseen:
        _preview(pulumi, here, name, release)
    if not dry_run:
        if not unasked:
            _ask(release)
        _update(pulumi, here, name, release)
    if as_json:
        print_json({"stack": name, "release": release, "left": left, "file": str(here.file(name)), "done": not dry_run})
    else:
        typer.echo(f"{release} {'would have' if dry_run else 'has'} all the traffic; {left} had it before")


def _target(outputs: Mapping[str, Any], to: str | None, stack: str) -> tuple[str, str]:
    """The live release of the ledger, and the one to go back to."""
    from fleetswap.domain.release.ledger import from_plain  # noqa: PLC0415

    ledger: Ledger = from_plain(outputs.get("ledger"))
    if ledger.live is None:
        raise InputError(f"stack {stack} has deployed no release yet: there is nothing to go back to")
    if to is None and ledger.standby is None:
        others = ", ".join(entry.release for entry in ledger.entries if entry.release != ledger.live) or "none"
        raise InputError(
            f"stack {stack} has no standby: nothing to go back to (kept releases: {others}; name one with --to)"
        )
    release = ledger.entry(to or ledger.standby or "").release
    if release == ledger.live:
        raise InputError(f"release {release} is the live one of stack {stack} already: name another with --to")
    return ledger.live, release


def _preview(pulumi: Engine, here: Project, stack: str, release: str) -> None:
    """Let Pulumi show what the update would do, with a copy of the settings: theirs stay as they are."""
    settings = here.file(stack)
    with tempfile.TemporaryDirectory(prefix="fleetswap-") as folder:
        copy = Path(folder) / settings.name
        if settings.is_file():
            shutil.copy(settings, copy)
        else:
            copy.write_text("")
        project.StackFile(here.name, stack, copy).write_release(release)
        status = pulumi.run(stack, "preview", "--suppress-outputs", "--config-file", str(copy))
    if status != 0:
        raise EngineError(f"`pulumi preview` ended with status {status}: nothing was changed", status)


def _ask(release: str) -> None:
    """Nothing is changed without a yes."""
    typer.echo(f"Put the traffic back on {release}? [y/N] ", err=True, nl=False)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise InputError("declined: nothing was changed")


def _update(pulumi: Engine, here: Project, stack: str, release: str) -> None:
    path = here.file(stack)
    settings = path.name
    before = project.StackFile(here.name, stack, path).setting(project.RELEASE) if path.is_file() else None
    undo = f"config set {project.RELEASE} {before}" if before else f"config rm {project.RELEASE}"
    stays = f"{settings} says `{project.RELEASE}: {release}` now, and keeps it"
    try:
        pulumi.set(stack, project.RELEASE, release)
        message = f"fleetswap rollback to {release}"
        status = pulumi.run(stack, "up", "--yes", "--skip-preview", "--suppress-outputs", "--message", message)
    except KeyboardInterrupt as end:
        end.add_note(stays)
        raise
    if status != 0:
        raise EngineError(
            f"`pulumi up` ended with status {status}, for the reason above; {stays}: run `pulumi up` again, or undo it"
            f" with `pulumi {undo}` once `fleetswap status` shows that the traffic has not moved",
            status,
        )
    typer.echo(f"next: commit {settings}, and delete that line when a new image is to be deployed", err=True)
