"""The rows of docs/reference/cli.md, out of the command line itself. `python -m tests.cli.reference` prints them."""

from __future__ import annotations

from collections.abc import Iterator

import click
import typer

from fleetswap.cli.app import COMMANDS, app, load

HEAD = "| option | default | meaning |\n| --- | --- | --- |\n"


def usage() -> dict[str, str]:
    """How each command is called."""
    context = click.Context(typer.main.get_command(app), info_name="fleetswap")
    found = {}
    for name, command in commands().items():
        words = " ".join(command.collect_usage_pieces(click.Context(command, info_name=name, parent=context)))
        found[name] = f"fleetswap {name} {words}"
    return found


def tables() -> dict[str, str]:
    """The table of each command's options."""
    return {name: HEAD + "".join(_rows(command)) for name, command in commands().items()}


def commands() -> dict[str, click.Command]:
    """Every command, with its options; of a group, those in it."""
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = load(name)
        inner = command.commands if isinstance(command, click.Group) else {}
        found |= {f"{name} {each}": inner[each] for each in inner} or {name: command}
    return found


def _rows(command: click.Command) -> Iterator[str]:
    for option in command.params:
        if not isinstance(option, click.Option) or "--help" in option.opts:
            continue
        value = "" if option.is_flag else f" {option.metavar or '|'.join(getattr(option.type, 'choices', ()))}"
        names = ", ".join(f"`{name}{value if name.startswith('--') else ''}`" for name in reversed(option.opts))
        shown = option.show_default
        default = shown if isinstance(shown, str) else "" if not option.default else f"`{_plain(option.default)}`"
        panel = getattr(option, "rich_help_panel", None)
        cells = (names, default, " ".join(([f"*{panel}.*"] if panel else []) + (option.help or "").split()))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _plain(value: object) -> str:
    return str(getattr(value, "value", value))


if __name__ == "__main__":
    for each, table in tables().items():
        print(f"{usage()[each]}\n\n{table}")
