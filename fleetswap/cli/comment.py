"""`fleetswap comment`: writes the comment of a pull request from previews, and puts it there."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from fleetswap.cli.display import print_result
from fleetswap.cli.forges import Forge, drills, place, previews
from fleetswap.domain.errors import InputError
from fleetswap.domain.review.comment import comment as comment_of
from fleetswap.pull_requests.comments import Comments, GitHub, GitLab, put

NUMBER = re.compile(r"refs/pull/([0-9]+)/")
"""GITHUB_REF of a workflow that a pull request has started (GitHub Actions, "Variables")."""


def comment(
    *,
    preview_json: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            show_default="standard input",
            help="What `pulumi preview --json` printed; can be repeated: stacks then share the comment.",
        ),
    ] = None,
    drill: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            show_default="none",
            help="What `fleetswap drill --live --json` printed for one of the stacks; can be repeated.",
        ),
    ] = None,
    post: Annotated[
        Forge | None,
        typer.Option(
            show_default="print it only",
            help="Put the comment on the pull request of this job, and update it if it is there.",
        ),
    ] = None,
    pull_request: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER", show_default="the job's", help="Number of the pull request, or IID of the merge request."
        ),
    ] = None,
) -> None:
    """Write one comment for a pull request: what a change does to users, the rollout, how to roll back.

    It needs no AWS and no Pulumi. The comment is printed. With --post it is put on the pull request as well, and a
    later run for the same stacks updates it in place. A preview that failed is reported in it, and is no error here.
    """
    if pull_request is not None and post is None:
        raise InputError("--pull-request has no effect without --post")
    target = None if post is None else _comments(post, pull_request, os.environ)
    body = comment_of(previews(preview_json), drills(drill))
    print_result(body.rstrip())
    if target is not None:
        typer.echo(f"the comment is {put(target, body)}", err=True)


def _comments(forge: Forge, number: int | None, environment: Mapping[str, str]) -> Comments:
    """The pull request that this job is about, as its variables say. `InputError` names those that are missing."""
    where = place(forge, "--post", environment)
    if forge is Forge.GITHUB:
        found = NUMBER.match(environment.get("GITHUB_REF", ""))
        number = number or (int(found[1]) if found else None)
    else:
        iid = environment.get("CI_MERGE_REQUEST_IID", "")
        number = number or (int(iid) if iid.isdigit() else None)
    if number is None:
        raise InputError(
            f"--post {forge.value}: this is not a job of a pull request: say which one with --pull-request"
        )
    make = GitHub if forge is Forge.GITHUB else GitLab
    return make(where.url, where.repository, number, where.token)
