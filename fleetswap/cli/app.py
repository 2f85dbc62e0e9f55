"""The commands, and how each way to end becomes one line and an exit status (docs/reference/exit-status.md)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import click
import typer
from click.exceptions import NoArgsIsHelpError

from fleetswap.cli.download import download
from fleetswap.cli.rollback import rollback
from fleetswap.cli.service import abort, status
from fleetswap.cli.upload import upload
from fleetswap.cli.verify import verify
from fleetswap.domain.errors import FleetswapError

INTERRUPTED = 128
"""Added to the number of the signal that ended the program, as a shell does."""

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Signals that are answered like Ctrl-C: cleaned up first. Python would end on the spot."""

app = typer.Typer(
    name="fleetswap",
    help="Disk images into EBS snapshots and back; and what is live, who is to be stopped, and the way back.",
    epilog="Credentials and profiles are found as by every AWS SDK: AWS_PROFILE, the AWS_* variables, SSO, a role.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # an error of ours is one line; a mistake in the program is a plain traceback
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


class Ended(KeyboardInterrupt):
    """A signal asked the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _version(asked: bool) -> None:  # noqa: FBT001 (typer calls it so)
    if asked:
        from importlib.metadata import version  # noqa: PLC0415 (seldom asked, slow to import)

        typer.echo(version("fleetswap"))
        raise typer.Exit


@app.callback()
def options(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Only what all commands have in common."""


for _command in (upload, download, verify):
    app.command(no_args_is_help=True)(_command)
app.command()(status)
app.command()(abort)
app.command()(rollback)


def run(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say (without any: the program's own), and return the exit status.

    Only a mistake in this program is raised.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    with _signals():
        try:
            _invoke(given)
            if sys.stdout is not None:  # closed (`>&-`)
                sys.stdout.flush()
        except (click.exceptions.Exit, click.ClickException, FleetswapError, KeyboardInterrupt, BrokenPipeError) as end:
            return _outcome(end)
    return 0


def _invoke(arguments: list[str]) -> None:
    # Not `app(…)`: typer would make a bare exit status of Ctrl-C, and forget what could not be cleaned up.
    command = typer.main.get_command(app)
    with command.make_context("fleetswap", arguments) as context:
        command.invoke(context)


def _outcome(end: BaseException) -> int:
    """Say how the program ends, and return its exit status."""
    match end:
        case click.exceptions.Exit():
            return end.exit_code
        case NoArgsIsHelpError():
            end.show()
            return end.exit_code
        case click.ClickException():
            where = end.ctx.command_path if isinstance(end, click.UsageError) and end.ctx else "fleetswap"
            told, status = f"{end.format_message().rstrip('.')} (see `{where} --help`)", end.exit_code
        case FleetswapError():
            told, status = str(end), end.exit_status
        case BrokenPipeError():
            # Whoever read the output has gone. Nothing more can be written, not even by Python at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return INTERRUPTED + signal.SIGPIPE
        case _:
            number = end.number if isinstance(end, Ended) else signal.SIGINT
            told = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
            told, status = "; ".join([told, *getattr(end, "__notes__", ())]), INTERRUPTED + number
    typer.echo(f"error: {' '.join(told.split())}", err=True)
    return status


@contextmanager
def _signals() -> Iterator[None]:
    """Be interrupted by `ENDING` as by Ctrl-C; but not by one that is ignored (nohup)."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise Ended(number)

    taken = [each for each in ENDING if signal.getsignal(each) == signal.SIG_DFL]
    for each in taken:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each in taken:
            signal.signal(each, signal.SIG_DFL)
