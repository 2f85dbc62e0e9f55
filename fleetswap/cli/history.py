"""`fleetswap history` and `fleetswap show`: the last deploys of a stack, and the timeline of one of them.

The state of the stack has those that succeeded, the records of this computer all that it has made itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from fleetswap.cli import engine, options, project
from fleetswap.cli.display import print_json, print_result
from fleetswap.cli.way import settings_of
from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.text import visible
from fleetswap.domain.timeline import words
from fleetswap.domain.timeline.history import chosen, merged
from fleetswap.domain.timeline.model import Deploy, to_plain
from fleetswap.domain.timeline.of_state import of_state
from fleetswap.workflows.rollout.past import past
from fleetswap.workflows.rollout.record_file import KEPT, folder_of

Stack = Annotated[
    str | None,
    typer.Option(
        metavar="STACK",
        show_default="the selected one",
        help="The stack. Outside of its project PROJECT/STACK: then only the records of this computer are read.",
    ),
]
Region = Annotated[
    str | None,
    typer.Option(metavar="REGION", show_default="all of the stack", help="Only the deploys in this region."),
]


class OverBudget(FleetswapError):
    """A deploy took longer than it may, and `--strict` was given. The release is live all the same."""

    exit_status = 6


def history(
    *,
    stack: Stack = None,
    region: Region = None,
    limit: Annotated[int, typer.Option(min=1, max=KEPT, metavar="N", help="How many deploys are shown.")] = 10,
    as_json: options.Json = False,
) -> None:
    """Show the last deploys of a stack: by which commit, how each ended, and how long it took.

    Those that succeeded are in the state of the stack, whoever has made them. Of those that failed, there are the
    records on the computer that made them. The exit status is 0 if one of the two could be read.
    """
    # Of both sources the newest are enough, unless some of them are of other regions.
    found = _find(stack, region, limit if region is None else KEPT)
    deploys = found.deploys[:limit]
    if as_json:
        print_json({"stack": found.stack, "deploys": [_plain(each) for each in deploys], "unread": found.unread})
        return
    if not deploys:
        typer.echo(f"stack {found.stack}: no deploy is known{f' in {region}' if region else ''}", err=True)
        return
    print_result("\n".join(words.table(deploys)))


def show(
    release: Annotated[str, typer.Argument(metavar="RELEASE")],
    *,
    stack: Stack = None,
    region: Region = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with status 6 if a phase or a total is over its budget.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Show the timeline of a deploy: each phase from the commit to the bake, its budget, its share of the whole.

    RELEASE is the release, the beginning of its ID, the run of an older deploy, or `live`. Budgets are those of the
    settings `fleetswap:budgets` at the time of the deploy.
    """
    found = _find(stack, region, KEPT)
    deploy = chosen(found.deploys, release)
    if as_json:
        print_json(_plain(deploy))
    else:
        print_result("\n".join(words.story(deploy)))
    over = words.over_budget(deploy)
    if strict and over:
        raise OverBudget(f"the deploy of {deploy.release} is over budget: {'; '.join(over)}")
    for line in () if as_json else over:
        typer.echo(f"warning: over budget: {line}", err=True)


@dataclass(frozen=True)
class _Found:
    """The deploys of a stack, the newest first, and the sources that could not be read."""

    stack: str
    deploys: tuple[Deploy, ...]
    unread: list[str]


def _find(stack: str | None, region: str | None, records: int) -> _Found:
    """Both sources; of the records of this computer only so many, the newest. Raises if there is nothing to show
    because a source could not be read.
    """
    kept, tag, first = _state(stack)
    recorded, second = past(folder_of(tag), records)
    unread = [visible(each) for each in (*first, *second)]
    deploys = merged(kept, recorded)
    if not deploys and unread:
        raise FleetswapError(f"stack {tag}: no deploy is known, and not all could be read: {'; '.join(unread)}")
    for each in unread:
        typer.echo(f"warning: {each}", err=True)
    here = [each for each in deploys if region is None or each.region == region]
    return _Found(tag, tuple(here), unread)


def _state(stack: str | None) -> tuple[tuple[Deploy, ...], str, tuple[str, ...]]:
    """What the state has, the stack as in tags, and what could not be read. `InputError` if no stack is meant."""
    here = project.find(project.here())
    if here is None:
        if stack is None or "/" not in stack:
            raise InputError(
                "no Pulumi project here: run this in the project, or name the stack: --stack PROJECT/STACK"
            )
        return (), _tag(stack, ""), ("the state is not read, because there is no Pulumi project here",)
    only = settings_of(here, None, stack)
    name = stack or (only.stack if only is not None else None)
    try:
        pulumi = engine.find(here.folder)
        name = stack or pulumi.selected() or name
        if not name:
            raise InputError("no stack is selected: name one with --stack")
        kept, problems = of_state(pulumi.state(name))
    except FleetswapError as error:
        if not name:
            raise
        return (), _tag(name, here.name), (f"the state of stack {name} cannot be read: {error}",)
    return kept, _tag(name, here.name), problems


def _tag(stack: str, here: str) -> str:
    """A stack as in tags, without its organization."""
    parts = stack.split("/")
    return f"{parts[-2] if len(parts) > 1 else here}/{parts[-1]}"


def _plain(deploy: Deploy) -> dict[str, Any]:
    """Everything, for `--json`: a public interface, as `fleetswap.cli.results`."""
    return {
        **to_plain(deploy),
        "seconds": deploy.seconds,
        "totals": {each.name: each.seconds for each in deploy.totals},
        "over_budget": [each.name for each in deploy.over_budget],
    }
