"""The list of commands, and how each outcome becomes one line and an exit status (docs/reference/exit-status.md).

A command's module is imported when the command runs. It imports botocore and the workflows, which the list of commands,
`--help` and `--version` do not need.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from keyword import iskeyword
from types import FrameType
from typing import Annotated

import click
import typer
from click.exceptions import NoArgsIsHelpError
from typer.core import TyperGroup

from fleetswap.domain.errors import EvaluationError, FleetswapError
from fleetswap.domain.text import one_line

INTERRUPTED = 128
"""Added to the number of the signal that ended the program, as a shell does."""

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Signals that are answered like Ctrl-C: cleaned up first. Python would end on the spot."""

IMAGES, FLEET, SECRETS = "Images", "Fleet", "Secrets"
"""The headings of the list of commands."""


@dataclass(frozen=True)
class Listed:
    """A command as the list shows it, and the module with the function of that name."""

    module: str
    panel: str
    summary: str


COMMANDS = {
    "upload": Listed("upload", IMAGES, "Upload the disk image FILE as an EBS snapshot, and print the snapshot ID."),
    "download": Listed("download", IMAGES, "Download SNAPSHOT as the raw disk image FILE, and print the file name."),
    "verify": Listed("verify", IMAGES, "Compare SNAPSHOT with its block map and, if given, with the disk image FILE."),
    "boot-test": Listed(
        "boot_test", IMAGES, "Boot the disk image FILE in QEMU, and wait until its service is healthy."
    ),
    "status": Listed(
        "service", FLEET, "Show the releases of a service, where its traffic goes, and what AWS is scheduled to do."
    ),
    "diff": Listed("diff", FLEET, "Show which packages change from a release to another one, or to an image."),
    "comment": Listed(
        "comment",
        FLEET,
        "Write one comment for a pull request: what a change does to users, the rollout, how to roll back.",
    ),
    "drift": Listed("drift", FLEET, "Say what an update of the main branch would change, and keep one issue about it."),
    "abort": Listed("service", FLEET, "Abort the running rollout of a service, on whatever computer it runs."),
    "continue": Listed("service", FLEET, "Continue the paused rollout of a service, on whatever computer it runs."),
    "freeze": Listed("freeze", FLEET, "Freeze a service: no new release is deployed until a time, or `unfreeze`."),
    "unfreeze": Listed("freeze", FLEET, "End the freeze of a service, or let one release pass."),
    "replay": Listed(
        "replay",
        FLEET,
        "Replay the record of a rollout: what it did, and with --set what it would have done under other settings.",
    ),
    "history": Listed(
        "history", FLEET, "Show the last deploys of a stack: by which commit, how each ended, and how long it took."
    ),
    "show": Listed(
        "history",
        FLEET,
        "Show the timeline of a deploy: each phase from the commit to the bake, its budget, its share of the whole.",
    ),
    "report": Listed(
        "report", FLEET, "Write the report of a rollout: one page of HTML with its timeline, traffic and checks."
    ),
    "rollback": Listed("rollback", FLEET, "Roll back to a release that was live before."),
    "drill": Listed(
        "drill", FLEET, "Try everything that a rollback needs, without moving traffic, and say how long it would take."
    ),
    "gc": Listed("gc", FLEET, "Delete the AMIs, snapshots and more that nothing needs."),
    "why": Listed(
        "contents", FLEET, "Show which live, standby and retained releases contain PACKAGE, and what brings it in."
    ),
    "manifest": Listed("contents", FLEET, "Print what RELEASE (the live one if none is given) consists of."),
    "permissions": Listed("permissions", FLEET, "Print the IAM policies of a stack: exactly what its settings need."),
    "doctor": Listed(
        "doctor",
        FLEET,
        "Check what Fleetswap needs: tools and their versions, settings, credentials, clock, region and endpoint.",
    ),
    "secrets": Listed(
        "secrets", SECRETS, "Make, edit, rotate and check files of secrets that are sealed with sops and KMS."
    ),
}


class Commands(TyperGroup):
    """Lists every command without importing its module, and imports the one that is called."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments name, loaded; a `click.UsageError` if there is none."""
        name, listed, rest = super().resolve_command(ctx, args)
        command = load(name) if name is not None and listed is not None else None
        gc.enable()  # see `fleetswap.cli.main`
        return name, command, rest


app = typer.Typer(
    name="fleetswap",
    cls=Commands,
    help="Upload disk images as EBS snapshots, and inspect, abort and roll back the deployments made of them.",
    epilog="Credentials are found as in every AWS SDK: AWS_PROFILE, the AWS_* variables, IAM Identity Center, a role.",
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
        from importlib.metadata import version  # noqa: PLC0415 (only this reads what is installed)

        typer.echo(version("fleetswap"))
        raise typer.Exit


@app.callback()
def options(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """The options that all commands have in common."""


def load(name: str) -> click.Command:
    """A command with all its options, or a group of commands, its module imported."""
    listed = COMMANDS[name]
    attribute = f"{name}_" if iskeyword(name) else name.replace("-", "_")
    function = getattr(import_module(f"fleetswap.cli.{listed.module}"), attribute)
    if isinstance(function, typer.Typer):
        return typer.main.get_command(function)
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name, no_args_is_help=listed.panel == IMAGES)(function)  # they cannot run without an argument
    return typer.main.get_command(alone)


for _name, _listed in COMMANDS.items():
    app.command(_name, help=_listed.summary, rich_help_panel=_listed.panel)(lambda: None)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run with these arguments (default: the program's own), and return the exit status.

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
            # click names the environment variable of every option of typer, also where there is none.
            said = end.format_message().replace(" (env var: 'None')", "").rstrip(".")
            line, status = f"{said} (see `{where} --help`)", end.exit_code
        case EvaluationError():
            typer.echo(f"error: {end}", err=True)
            return end.exit_status
        case FleetswapError():
            line, status = str(end), end.exit_status
        case BrokenPipeError():
            # Whoever read the output has gone. Nothing more can be written, not even by Python at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return INTERRUPTED + signal.SIGPIPE
        case _:
            number = end.number if isinstance(end, Ended) else signal.SIGINT
            line = "interrupted" if number == signal.SIGINT else f"terminated by {signal.Signals(number).name}"
            line, status = "; ".join([line, *getattr(end, "__notes__", ())]), INTERRUPTED + number
    typer.echo(f"error: {one_line(line)}", err=True)
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
