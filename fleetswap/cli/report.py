"""`fleetswap report`: one page about a rollout, from its record."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from fleetswap.cli import options
from fleetswap.cli.display import print_json, print_result
from fleetswap.cli.project import replace
from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.report.checks import Course
from fleetswap.domain.report.compose import report as report_of
from fleetswap.domain.report.model import Report
from fleetswap.domain.report.packages import packages
from fleetswap.domain.rollout.model import Order
from fleetswap.domain.rollout.replay import course
from fleetswap.domain.text import one_line
from fleetswap.domain.timeline.deploys import of_record
from fleetswap.domain.timeline.model import Deploy
from fleetswap.report import FIRST, mark
from fleetswap.workflows.rollout.find_record import newest
from fleetswap.workflows.rollout.read_record import Record, load, policy_of, read, recorded
from fleetswap.workflows.rollout.record_file import name_of

STDIO = "-"

NAME_CHARS = 100
"""Of a release in the name of its page; that of a damaged record may be longer than file systems take."""

READABLE_BY_OWNER = 0o600
"""As the record: it may hold the end of a machine's console."""


def report(
    *,
    record: Annotated[
        str | None,
        typer.Argument(
            metavar="[RELEASE|RECORD]",
            show_default="the newest record",
            help="A release, of which the newest record is taken; or the file of a record; - is standard input.",
        ),
    ] = None,
    stack: Annotated[
        str | None,
        typer.Option(metavar="STACK", show_default="any", help="STACK or PROJECT/STACK of the release's record."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", show_default="RELEASE-report.html", help="Where to write the page; - is standard output."
        ),
    ] = None,
    changes: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Package changes to show: what `fleetswap diff --json` printed."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a file that is not a report of this stack.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Write the report of a rollout: one page of HTML with its timeline, traffic and checks.

    The page needs no network and runs no script, so it can be attached, mailed and kept. It needs no AWS and no Pulumi.
    Prints the name of the file. A record that ends too early, or that an older Fleetswap wrote, gives a page as well.
    """
    if as_json and (output is not None or force):
        raise InputError("--json writes no page, so --output and --force have no meaning")
    found, source = _record(record, stack)
    section = None if changes is None else packages(_json(changes))
    order, moments = _replayed(found, source)
    made = report_of(
        found.header,
        found.entries,
        policy=policy_of(found) if order is None else order.policy,
        course=moments,
        deploy=_deploy(found),
        packages=section,
    )
    if as_json:
        print_json(asdict(made))
        return
    named = output or f"{name_of(found.header.candidate)[:NAME_CHARS]}-report.html"
    path = None if output == STDIO else _free(named, made.stack, force=force)
    text = _page(made, source)
    if path is None:
        print_result(text)
        return
    replace(path, text, READABLE_BY_OWNER)
    print_result(str(path))


def _record(named: str | None, stack: str | None) -> tuple[Record, str]:
    """The record, and what to call it."""
    if named == STDIO:
        return read(sys.stdin.buffer.read(), "standard input"), "standard input"
    is_file = named is not None and (os.sep in named or named.endswith(".jsonl") or _is_file(named))
    if (named == STDIO or is_file) and stack is not None:
        raise InputError("--stack has no meaning with the file of a record")
    path = Path(named) if named is not None and is_file else newest(named, stack)
    return load(path), path.name


def _is_file(named: str) -> bool:
    try:
        return Path(named).is_file()
    except (OSError, ValueError):  # too long, or with a character that no name has
        return False


def _replayed(found: Record, source: str) -> tuple[Order | None, Course]:
    """What the rollout was asked to do, and what it read and did. A record that cannot be replayed says why."""
    try:
        given = recorded(found, source)
        moments = course(given)
    except FleetswapError as error:
        return None, Course(why=one_line(error))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return None, Course(why=f"the readings do not fit together ({one_line(error)})")
    clocks = (given.clock, *(each.clock for each in given.answers))
    return given.order, Course(tuple(zip(clocks, moments, strict=True)))


def _deploy(found: Record) -> Deploy | None:
    """What the deploy did before its rollout, too; None if the times of the record are damaged."""
    try:
        return of_record(found.header, found.entries, found.readings)
    except (ValueError, OverflowError):
        return None


def _json(path: str) -> object:
    try:
        text = sys.stdin.buffer.read() if path == STDIO else Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {one_line(error)}") from error


def _page(made: Report, source: str) -> str:
    try:
        from fleetswap.report.page import page  # noqa: PLC0415 (an extra, and slow to load)
    except ImportError as error:
        raise InputError(
            f"a page needs packages that are not installed ({error.name}): pip install 'fleetswap[report]'"
        ) from error
    return page(made, version=version("fleetswap"), source=source)


def _free(named: str, stack: str, *, force: bool) -> Path:
    """The file to write, unless something else would be lost."""
    path = Path(named)
    try:
        if not path.exists():
            return path
        if not path.is_file():
            raise InputError(f"{path} is not a file: name another one with --output")
        with path.open("rb") as file:
            is_ours = mark(stack).encode() in file.read(FIRST)
    except (OSError, ValueError) as error:  # ValueError of a name that can be none
        raise InputError(f"{one_line(path)} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not is_ours and not force:
        raise InputError(
            f"{path} exists, and is not a report of stack {one_line(stack)}: name another file with --output, or use"
            " --force"
        )
    return path
