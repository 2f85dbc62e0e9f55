"""The blocks of the tutorials and how-to guides, and whether a command in them can be run. It runs nothing.

A `sh` block has commands alone. A `console` block has a command behind each `$ `, and what it prints. `check` reads a
command as its program would: `fleetswap` and the local cloud with their own parsers, the AWS CLI by botocore's models,
`make` by the Makefile, Pulumi and the usual tools by the lists here. What is in no list is an error: an unknown command
is never taken to be right.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import botocore.session
import click
import typer
from botocore import xform_name

from localcloud.__main__ import app as localcloud_app
from tests.cli.reference import commands as fleetswap_commands

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs/tutorial").glob("*.md"), *(ROOT / "docs/how-to").glob("*.md")])
LANGUAGES = {"", "sh", "console", "bash", "python", "yaml", "yml", "json", "nix", "mermaid", "diff", "hcl"}
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", flags=re.DOTALL | re.MULTILINE)

FLEETSWAP = fleetswap_commands()
LOCALCLOUD = cast("click.Group", typer.main.get_command(localcloud_app)).commands
MAKE = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
MAKE_VARIABLES = {"VERSION", "PORT", "ARGS"}

AWS_OPTIONS = {"query", "output", "region", "profile"}
"""Options of every command of the AWS CLI (AWS CLI reference, "Global options")."""

SHORTHAND = {
    ("ec2", "authorize-security-group-ingress"): {"protocol", "port", "source-group"},
    ("sns", "subscribe"): {"notification-endpoint"},
}
"""Options that the AWS CLI has for a command besides the members of its operation (AWS CLI reference)."""

AWS_OWN = {"sso login": {"profile"}, "configure sso": {"profile"}, "s3 ls": set[str](), "s3 cp": set[str]()}
"""Commands of the AWS CLI that are no operation of a service, and their options (AWS CLI reference)."""

WAITERS = {"wait"}

PULUMI = {
    "stack init": {"secrets-provider"},
    "stack output": {"show-secrets", "stack", "json"},
    "stack export": {"stack", "file", "version"},
    "stack import": {"stack", "file", "force"},
    "stack history": {"stack"},
    "stack ls": set[str](),
    "stack rm": {"stack"},
    "stack unselect": set[str](),
    "plugin install": set[str](),
    "config set": {"stack", "path"},
    "config rm": {"stack"},
    "cancel": {"stack", "yes"},
    "login": set[str](),
    "install": set[str](),
    "version": set[str](),
    "import": {"stack", "provider", "parent", "protect", "generate-code"},
    "preview": {"stack", "refresh", "json", "diff", "policy-pack"},
    "up": {"stack", "yes", "skip-preview", "exclude"},
    "refresh": {"stack", "preview-only", "yes"},
    "destroy": {"stack"},
}
"""The commands of Pulumi, with the options, that the pages use (pulumi.com/docs/iac/cli/commands)."""

TOOLS = {
    "cat",
    "do",
    "done",
    "while",
    "curl",
    "mkdir",
    "cd",
    "git",
    "nix",
    "nix-build",
    "export",
    "python3",
    "pip",
    "sha256sum",
    "qemu-img",
    "packer",
}
"""Programs that every reader has, or that the page says to install: their arguments are not looked at."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. `language` is what follows the fence."""

    language: str
    text: str

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """Each command, with the lines that the page says it prints."""
        text = self.text.replace("\\\n", " ")
        if self.language == "sh":
            return [(each, []) for each in _whole(text)]
        found: list[tuple[str, list[str]]] = []
        for line in text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif found:
                found[-1][1].append(line)
        return found


def _whole(text: str) -> Iterator[str]:
    """The commands of a script: a quoted argument may go over several lines."""
    command = ""
    for line in text.splitlines():
        command = f"{command}\n{line}" if command else line
        if command.count("'") % 2 == 0 and command.strip():
            yield command
            command = ""
    assert not command.strip(), f"a quote without its end: {command}"


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page, also those of a list; of some languages, or all of them."""
    found = [
        Block(language, "".join(line.removeprefix(indent) for line in text.splitlines(keepends=True)))
        for indent, language, text in FENCE.findall(page.read_text(encoding="utf-8"))
    ]
    return [block for block in found if not languages or block.language in languages]


def commands(page: Path) -> list[str]:
    """Every command of a page."""
    return [command for block in blocks(page, "sh", "console") for command, _ in block.commands]


def check(command: str) -> None:
    """Raise an AssertionError that says why a command cannot be run."""
    for words in _parts(command):
        _check(words)


def _parts(command: str) -> Iterator[list[str]]:
    """The programs of a line with pipes and `&&`, each with its arguments; without variables before and files after."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("|&;"):
            yield _program(words)
            words = []
        else:
            words.append(word)


def _program(words: list[str]) -> list[str]:
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    files = [place + 1 for place, word in enumerate(words) if set(word) <= set("<>")]
    kept = [word for place, word in enumerate(words) if place not in files and not set(word) <= set("<>")]
    assert kept, "a line without a program"
    return kept


def _check(words: list[str]) -> None:
    program, *rest = words
    match program.removeprefix(".venv/bin/"):
        case "fleetswap":
            name = next((name for name in FLEETSWAP if " ".join(rest).startswith(name)), None)
            assert name, f"fleetswap has no command {rest[:1]}"
            _parse(name, FLEETSWAP[name], rest[len(name.split()) :])
        case "python" if rest[:2] == ["-m", "localcloud"]:
            assert rest[2] in LOCALCLOUD, f"the local cloud has no command {rest[2]}"
            _parse(rest[2], LOCALCLOUD[rest[2]], rest[3:])
        case "aws":
            _check_aws(rest)
        case "pulumi":
            verb = next((verb for verb in PULUMI if " ".join(rest).startswith(verb)), None)
            assert verb, f"pulumi {' '.join(rest)}: no such command is listed"
            assert options(rest) <= PULUMI[verb], f"pulumi {verb} has no {options(rest) - PULUMI[verb]}"
        case "make":
            targets = [word for word in rest if "=" not in word]
            assert set(targets) <= MAKE, f"make has no {set(targets) - MAKE}"
            assert {word.partition("=")[0] for word in rest if "=" in word} <= MAKE_VARIABLES, rest
        case "cp":
            assert (ROOT / rest[0]).exists(), f"{rest[0]} is not there to be copied"
        case other:
            assert other in TOOLS, f"{other} is in no list of {__name__}"


def _parse(name: str, command: click.Command, words: list[str]) -> None:
    """Have a command read its arguments. Files of the reader are not here, so whether they exist does not count."""
    for option in command.params:
        if isinstance(option.type, click.Path):
            option.type.exists = False
    try:
        command.make_context(name, words)
    except click.UsageError as error:
        raise AssertionError(f"fleetswap {name}: {error.format_message()}") from error


def _check_aws(words: list[str]) -> None:
    own = next((verb for verb in AWS_OWN if words[:2] == verb.split()), None)
    if own is not None:
        assert options(words) <= AWS_OWN[own], words
        return
    service, operation, *rest = words
    service = service.removesuffix("api")  # s3api: the operations of S3
    known = _members(service, rest[0], waits=True) if operation in WAITERS else _members(service, operation)
    assert options(rest) - AWS_OPTIONS <= known, f"aws {service} {operation} has no {options(rest) - known}"


@lru_cache
def _members(service: str, operation: str, *, waits: bool = False) -> set[str]:
    """The options of an AWS CLI command: the members of its operation's input, in the CLI's spelling."""
    model = _model(service)
    if waits:
        waiters = botocore.session.get_session().get_waiter_model(service)
        names = [
            waiters.get_waiter(name).operation for name in waiters.waiter_names if xform_name(name, "-") == operation
        ]
    else:
        names = [name for name in model.operation_names if xform_name(name, "-") == operation]
    assert len(names) == 1, f"aws {service} has no {operation}"
    asked = model.operation_model(names[0]).input_shape
    found = {xform_name(member, "-") for member in asked.members} if asked is not None else set()
    return found | SHORTHAND.get((service, operation), set())


@lru_cache
def _model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


def options(words: list[str]) -> set[str]:
    """The long options among words."""
    return {word[2:].partition("=")[0] for word in words if word.startswith("--")}


def like(line: str) -> str:
    """A pattern for a line of the page: any release, ID, number and path in the place of those that it has."""
    kinds = (r"web-[0-9a-f]{8}", r"(?:snap|i|ami)-[0-9a-f]+", r"[\d.,:]*\d", "…")
    patterns = (r"web-[0-9a-f]{8}", r"(?:snap|i|ami)-[0-9a-f]+", r"[\d.,:]*\d", ".*")
    parts = re.split("(" + "|".join(kinds) + ")", line)
    pattern = ""
    for part in parts:
        known = [of for kind, of in zip(kinds, patterns, strict=True) if re.fullmatch(kind, part)]
        pattern += known[0] if known else re.escape(part)
    return pattern
