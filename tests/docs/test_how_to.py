"""The how-to guides and the examples: settings that the program takes, and commands that exist."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any, cast

import botocore.session
import click
import pytest
import typer
import yaml
from botocore import xform_name

from fleetswap_pulumi.parse import parse
from fleetswap_pulumi.settings import Settings
from localcloud.__main__ import app as localcloud_app
from tests.cli.reference import commands as fleetswap_commands

ROOT = Path(__file__).resolve().parents[2]
GUIDES = sorted((ROOT / "docs/how-to").glob("*.md"))
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))
NEEDED = {"fleetswap:service": "web", "fleetswap:image": {"file": "web.raw"}}
"""What every stack has, and no guide repeats."""

AWS_OPTIONS = {"query", "output"}
"""Options of every command of the AWS CLI (AWS CLI reference, "Global options")."""

SHORTHAND = {("ec2", "authorize-security-group-ingress"): {"protocol", "port", "source-group"}}
"""Options that the AWS CLI has for a command besides the members of its operation (AWS CLI reference)."""

PULUMI = {
    "stack init": set[str](),
    "stack output": {"show-secrets", "stack"},
    "preview": {"stack"},
    "up": {"stack"},
}
"""The commands of Pulumi, with the options, that the guides use (pulumi.com/docs/iac/cli/commands)."""


FLEETSWAP = fleetswap_commands()
LOCALCLOUD = cast("click.Group", typer.main.get_command(localcloud_app)).commands


def read(config: dict[str, Any]) -> Settings:
    """Validate a configuration as the program does. Pulumi hands objects on as JSON."""
    text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    ours, aws = (
        {key.removeprefix(prefix): value for key, value in text.items() if key.startswith(prefix)}
        for prefix in ("fleetswap:", "aws:")
    )
    assert len(ours) + len(aws) == len(config)
    return parse(ours, region=aws.pop("region", "eu-central-1"), aws=aws)


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(), flags=re.DOTALL)


SETTINGS = [(path, number) for path in GUIDES for number in range(len(blocks(path, "yaml")))]


@pytest.mark.parametrize(("path", "number"), SETTINGS, ids=[f"{path.stem}-{n}" for path, n in SETTINGS])
def test_the_settings_of_a_guide_are_valid(path: Path, number: int) -> None:
    """A reader would copy settings that the program refuses."""
    config = yaml.safe_load(blocks(path, "yaml")[number])
    assert read({**NEEDED, **config})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid_and_whole(path: Path) -> None:
    """An example would be refused, or need something that it does not show."""
    document = yaml.safe_load(path.read_text())
    assert set(document) == {"config"}
    assert read(document["config"]).network.vpc is not None


def test_the_index_names_every_guide_and_every_example() -> None:
    """A guide or an example would be there that nobody finds."""
    index = (ROOT / "docs/how-to/README.md").read_text()
    for path in GUIDES:
        assert path.name == "README.md" or f"]({path.name})" in index, path
    for path in EXAMPLES:
        assert f"](../../{path.relative_to(ROOT)})" in index, path
    assert "](docs/how-to/README.md)" in (ROOT / "README.md").read_text()


def test_a_guide_shows_the_settings_of_its_example() -> None:
    """The page and the example that it goes through would drift apart."""
    shown = {
        "your-own-vpc.md": ["existing-vpc.yaml"],
        "several-services.md": ["two-services/shop.yaml", "two-services/admin.yaml"],
        "database.md": ["database.yaml"],
        "nixos-image.md": ["nixos.yaml"],
    }
    assert sorted(name for names in shown.values() for name in names) == [
        str(path.relative_to(ROOT / "examples")) for path in EXAMPLES
    ]
    for guide, names in shown.items():
        on_page = [yaml.safe_load(block) for block in blocks(ROOT / "docs/how-to" / guide, "yaml")]
        for name in names:
            config = yaml.safe_load((ROOT / "examples" / name).read_text())["config"]
            assert any(block.items() <= config.items() for block in on_page), name


def commands(path: Path) -> list[list[str]]:
    """The commands of a guide's `sh` blocks, as words."""
    text = "".join(blocks(path, "sh")).replace("\\\n", " ")
    return [shlex.split(line) for line in text.splitlines() if line.strip()]


def options(words: list[str]) -> set[str]:
    return {word[2:] for word in words if word.startswith("--")}


def test_there_are_commands_to_look_at() -> None:
    """The test below would pass on nothing."""
    assert {command[0] for path in GUIDES for command in commands(path)} >= {"aws", "pulumi", "cp"}


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_the_commands_of_a_guide_exist(path: Path) -> None:
    """A reader would run a command that does not exist, or that takes no such option."""
    for program, *words in commands(path):
        if program == "aws":
            service, operation, *rest = words
            assert options(rest) - AWS_OPTIONS <= members(service, operation), words
        elif program == "pulumi":
            verb = next(verb for verb in PULUMI if " ".join(words).startswith(verb))
            assert options(words) <= PULUMI[verb], words
        elif program == "fleetswap":
            name = next(name for name in FLEETSWAP if " ".join(words).startswith(name))
            known = {option[2:] for each in FLEETSWAP[name].params for option in each.opts if option.startswith("--")}
            assert options(words) <= known, words
        elif program == "python":
            assert words[:2] == ["-m", "localcloud"], words
            known = {option[2:] for each in LOCALCLOUD[words[2]].params for option in each.opts}
            assert options(words) <= known, words
        else:
            assert program == "cp", program
            assert (ROOT / words[0]).is_file(), words


def members(service: str, operation: str) -> set[str]:
    """The options of an AWS CLI command: the members of its operation's input, in the CLI's spelling."""
    model: Any = botocore.session.get_session().get_service_model(service)
    (name,) = (name for name in model.operation_names if xform_name(name, "-") == operation)
    asked = model.operation_model(name).input_shape
    assert asked is not None
    found = {xform_name(member, "-") for member in asked.members}
    return found | SHORTHAND.get((service, operation), set())
