"""`fleetswap gc`: says of all that Fleetswap has made in an account whether it lives or dies, and deletes what dies.

It reads the ledgers and the states of all stacks through Pulumi, because any of them may have an image. What cannot be
read lives.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from fleetswap.aws.retention.region import Region
from fleetswap.cli import engine, locate, options, project
from fleetswap.cli.connect import joining
from fleetswap.cli.display import print_json
from fleetswap.cli.project import Project, StackFile
from fleetswap.cli.stacks import Backend
from fleetswap.cli.way import Way, of_settings, settings_of
from fleetswap.domain.errors import CloudError, InputError
from fleetswap.domain.retention.judge import Verdict
from fleetswap.domain.retention.things import Thing
from fleetswap.domain.retention.times import seconds
from fleetswap.domain.text import counted, one_line
from fleetswap.workflows.retention.collect import Done, collect, look

REGIONS = "fleetswap:regions"


def gc(
    *,
    stack: locate.Stack = None,
    region: Annotated[
        list[str] | None,
        typer.Option(metavar="REGION", show_default="those of the settings", help="A region to look at. Repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted, and delete nothing.")] = False,
    as_json: options.Json = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation before deleting.")] = False,
    gone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROJECT/STACK", help="A stack that is gone for good: delete what it has left. Repeatable."
        ),
    ] = None,
    min_age: Annotated[
        str, typer.Option(metavar="TIME", help="Delete nothing younger than this, such as 90m, 24h or 7d.")
    ] = "24h",
    profile: locate.Profile = None,
    endpoint_url: locate.EndpointUrl = None,
) -> None:
    """Delete the AMIs, snapshots and more that nothing needs.

    Nothing is deleted that a ledger or a state of any stack, an instance, a launch template or a share refers to.

    Every thing is shown with the reason why it lives or dies. What cannot be read lives.
    """
    try:
        age = seconds(min_age)
    except ValueError as error:
        raise InputError(f"--min-age {error}") from error
    if not (dry_run or yes or sys.stdin.isatty()):
        raise InputError("there is no terminal to ask for confirmation: use --yes, or --dry-run")
    here, settings = _stack(stack)
    pulumi = engine.find(here.folder)
    regions, missed = _regions(settings, of_settings(settings, None, endpoint_url, profile), region)

    def judged() -> tuple[list[Verdict], list[str]]:
        known = Backend(pulumi, here.name, frozenset(gone or ())).known
        return look(regions, known, datetime.now(UTC), age, [*missed])

    verdicts, problems = judged()
    problems = [*(f"{name}: {error}" for name, error in missed.items()), *problems]
    doomed = [each.thing for each in verdicts if each.dies]
    if not as_json:
        _show(verdicts, problems, dry_run=dry_run)
    results: list[Done] = []
    if doomed and not dry_run:
        if not yes and not typer.confirm(f"Delete {counted(len(doomed), 'thing')}?", err=True):
            raise InputError("nothing was deleted: the confirmation was declined")
        # A deploy may have adopted something while somebody thought about it.
        still = {_key(each.thing) for each in judged()[0] if each.dies}
        results = [
            Done(each, deleted=False, why="something needs it now") for each in doomed if _key(each) not in still
        ]
        left = [each for each in doomed if _key(each) in still]
        results += collect(regions, left, (lambda _: None) if as_json else _tell)
    if as_json:
        print_json(_plain(verdicts, results, problems, dry_run=dry_run))
    if problems or any(each.failed for each in results):
        raise typer.Exit(1)


def _stack(stack: str | None) -> tuple[Project, StackFile]:
    """The project that we are in, and the settings of the stack whose regions are looked at."""
    here = project.find(project.here())
    if here is None:
        raise InputError("this directory is in no Pulumi project: run this in the project of the stack")
    settings = settings_of(here, None, stack)
    if settings is None:
        names = ", ".join(each.stack for each in here.stacks()) or "none"
        raise InputError(f"which stack's regions? Name it with --stack ({here.name} has: {names})")
    return here, settings


def _key(thing: Thing) -> tuple[str, str, str]:
    return thing.region, thing.kind, thing.id


def _regions(settings: StackFile, way: Way, only: Sequence[str] | None) -> tuple[list[Region], dict[str, str]]:
    """The regions to look at, and those that cannot be reached, with the reason."""
    given = json.loads(settings.config().get(REGIONS, "{}"))
    others: Mapping[str, Any] = given if isinstance(given, dict) else {}
    names: list[str | None] = list(only or dict.fromkeys(each for each in (way.region, *others) if each))
    found, missed = [], {}
    for name in names or [None]:
        of = others.get(name or "") or {}
        account, endpoint = of.get("account"), of.get("endpoint")
        one = replace(way, region=name, endpoint=endpoint or way.endpoint)
        if account is not None:
            one = replace(one, access=one.access.only(str(account)))
        try:
            with joining(one) as cloud:
                found.append(Region(cloud))
        except (CloudError, InputError) as error:
            if len(names) <= 1:
                raise
            missed[str(name)] = str(error)
    return found, missed


def _show(verdicts: Sequence[Verdict], problems: Sequence[str], *, dry_run: bool) -> None:
    for each in sorted(verdicts, key=lambda each: (each.dies, each.unsure)):
        word = "dies" if each.dies else "lives"
        typer.echo(one_line(f"{word:<5}  {each.thing.region}  {each.thing}: {each.why}"))
    dying = sum(each.dies for each in verdicts)
    unsure = sum(each.unsure for each in verdicts)
    typer.echo(
        f"{counted(len(verdicts) - dying, 'thing')} live{'s' if len(verdicts) - dying == 1 else ''}"
        + (f", {unsure} of them because something is not known" if unsure else "")
        + f"; {dying} {'would be' if dry_run else 'to be'} deleted",
        err=True,
    )
    for problem in problems:
        typer.echo(f"warning: {one_line(problem)}", err=True)


def _tell(done: Done) -> None:
    what = "deleted" if done.deleted else "failed" if done.failed else "kept"
    typer.echo(one_line(f"{what}  {done.thing.region}  {done.thing}{f': {done.why}' if done.why else ''}"), err=True)


def _plain(
    verdicts: Sequence[Verdict], results: Sequence[Done], problems: Sequence[str], *, dry_run: bool
) -> dict[str, object]:
    """What `--json` prints: a public interface, as in `fleetswap.cli.results`."""
    came = {_key(each.thing): each for each in results}
    return {
        "dry_run": dry_run,
        "things": [_of(each, came.get(_key(each.thing))) for each in verdicts],
        "problems": list(problems),
    }


def _of(verdict: Verdict, done: Done | None) -> dict[str, object]:
    thing: Thing = verdict.thing
    outcome = None if done is None else "deleted" if done.deleted else "failed" if done.failed else "kept"
    return {
        "kind": str(thing.kind),
        "region": thing.region,
        "id": thing.id,
        "stack": thing.stack,
        "service": thing.service,
        "release": thing.release,
        "image": thing.image,
        "made": None if thing.made is None else thing.made.isoformat(),
        "dies": verdict.dies,
        "why": verdict.why,
        "unsure": verdict.unsure,
        "outcome": outcome,
        "outcome_why": None if done is None else done.why,
    }
