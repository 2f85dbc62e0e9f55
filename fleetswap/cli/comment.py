"""`fleetswap comment`: writes the comment of a pull request from previews, and puts it there."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from fleetswap.cli.display import print_result
from fleetswap.domain.errors import InputError
from fleetswap.domain.review.comment import comment as comment_of
from fleetswap.domain.review.preview import read
from fleetswap.pull_requests.comments import Comments, GitHub, GitLab, put

STDIN = Path("-")

NUMBER = re.compile(r"refs/pull/([0-9]+)/")
"""GITHUB_REF of a workflow that a pull request has started (GitHub Actions, "Variables")."""


class Post(str, Enum):
    """Where the comment goes."""

    GITHUB = "github"
    GITLAB = "gitlab"


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
    post: Annotated[
        Post | None,
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
    body = comment_of(
        [read(_text(each), "standard input" if each == STDIN else str(each)) for each in preview_json or [STDIN]]
    )
    print_result(body.rstrip())
    if target is not None:
        typer.echo(f"the comment is {put(target, body)}", err=True)


def _text(file: Path) -> str:
    try:
        return sys.stdin.read() if file == STDIN else file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise InputError(f"{file}: cannot be read: {error}") from error


def _comments(post: Post, number: int | None, environment: Mapping[str, str]) -> Comments:
    """The pull request that this job is about, as its variables say. `InputError` names those that are missing."""
    if post is Post.GITHUB:
        found = NUMBER.match(environment.get("GITHUB_REF", ""))
        number = number or (int(found[1]) if found else None)
        needed = ("GITHUB_REPOSITORY", "GITHUB_TOKEN")
        url = environment.get("GITHUB_API_URL") or "https://api.github.com"
    else:
        iid = environment.get("CI_MERGE_REQUEST_IID", "")
        number = number or (int(iid) if iid.isdigit() else None)
        needed = ("CI_PROJECT_ID", "GITLAB_TOKEN")
        url = environment.get("CI_API_V4_URL") or "https://gitlab.com/api/v4"
    missing = [name for name in needed if not environment.get(name)]
    if missing:
        raise InputError(f"--post {post.value}: {' and '.join(missing)} must be set in the environment")
    if number is None:
        raise InputError(f"--post {post.value}: this is not a job of a pull request: say which one with --pull-request")
    where, token = (environment[name] for name in needed)
    return GitHub(url, where, number, token) if post is Post.GITHUB else GitLab(url, where, number, token)
