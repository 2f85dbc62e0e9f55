"""The command line: start, stop and look at the local cloud, and have EC2 take a Spot Instance.

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
Instance = Annotated[str, typer.Argument(help="The instance's ID, as `status` prints it.")]
NOTICE_SECONDS = 120.0  # EC2 user guide, "Spot Instance interruption notices"
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
def recommend(instance: Instance, directory: Directory = Path(".work/cloud")) -> None:
    """Recommend to replace a Spot Instance, as EC2 does before it may interrupt it."""
    _report(daemon.tell, directory, instance, "recommend", {})


@app.command()
def interrupt(
    instance: Instance,
    directory: Directory = Path(".work/cloud"),
    seconds: Annotated[float, typer.Option(help="How long its notice is.")] = NOTICE_SECONDS,
) -> None:
    """Announce the interruption of a Spot Instance, and interrupt it when its notice is over."""
    _report(daemon.tell, directory, instance, "interrupt", {"seconds": seconds})


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
