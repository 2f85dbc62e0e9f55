"""`fleetswap drift`: says how what is deployed differs from what main says, and keeps one issue about it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from fleetswap.cli.display import print_result
from fleetswap.cli.forges import Forge, place, previews
from fleetswap.domain.review.drift import report
from fleetswap.pull_requests.issues import GitHubIssues, GitLabIssues, Issues, close, put


def drift(
    *,
    preview_json: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            show_default="standard input",
            help="What `pulumi preview --refresh --json` printed; can be repeated: stacks then share the issue.",
        ),
    ] = None,
    issue: Annotated[
        Forge | None,
        typer.Option(
            show_default="print it only",
            help="Open an issue in the repository of this job, update it if it is open, close it without drift.",
        ),
    ] = None,
) -> None:
    """Say what an update of the main branch would change, and keep one issue about it.

    It needs no AWS and no Pulumi. What differs is printed. With --issue there is one issue about it for the stacks of a
    project, which later runs update in place and close when nothing differs. A preview that failed counts as drift,
    and drift is no error here.
    """
    target = None if issue is None else _issues(issue)
    found = report(previews(preview_json))
    print_result(found.body.rstrip() if found.differs else "no drift")
    if target is not None:
        done = put(target, found.title, found.body) if found.differs else close(target, found.marker)
        typer.echo(f"the issue is {done}", err=True)


def _issues(forge: Forge) -> Issues:
    where = place(forge, "--issue", os.environ)
    make = GitHubIssues if forge is Forge.GITHUB else GitLabIssues
    return make(where.url, where.repository, where.token)
