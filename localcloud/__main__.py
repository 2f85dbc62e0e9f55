"""The command line: start, stop and look at the local cloud.

Decides only what to print and which exit status to end with; `daemon` does the rest.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from localcloud import daemon
from localcloud.daemon import DEFAULT_PORT

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,  # the log's last line must say what went wrong, not draw a box
    help="AWS on this machine, for a first try, for tests and for rehearsals.",
)

Directory = Annotated[Path, typer.Option("--dir", help="Where its state, log and pid file lie.")]
Port = Annotated[int, typer.Option(help="The port of the endpoint, on 127.0.0.1.")]


@app.command()
def start(directory: Directory = Path(".work/cloud"), port: Port = DEFAULT_PORT) -> None:
    """Start it in the background; returns when it answers."""
    _report(daemon.start, directory, port)


@app.command()
def stop(directory: Directory = Path(".work/cloud")) -> None:
    """Stop it and everything that it started."""
    _report(daemon.stop, directory)


@app.command()
def status(directory: Directory = Path(".work/cloud")) -> None:
    """Print what runs, as JSON; exit status 1 if nothing does."""
    shown = daemon.status(directory)
    typer.echo(json.dumps(shown, indent=2) if shown else f"No local cloud runs in {directory}.")
    if not shown:
        raise typer.Exit(1)


@app.command()
def serve(directory: Directory = Path(".work/cloud"), port: Port = DEFAULT_PORT) -> None:
    """Run it in the foreground until SIGTERM or Ctrl-C."""
    _report(daemon.serve, directory, port)


def _report(action: object, *arguments: object) -> None:
    try:
        line = action(*arguments)  # type: ignore[operator] # one of the three above
    except daemon.Refused as refused:
        typer.echo(str(refused), err=True)
        raise typer.Exit(2) from None
    if line:
        typer.echo(line)


if __name__ == "__main__":
    app()
