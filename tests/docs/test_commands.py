"""The tutorials and how-to guides: every command can be run as it is written, whatever block it is in."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.docs.commands import LANGUAGES, PAGES, blocks, check, commands, like

COMMANDS = [(page, command) for page in PAGES for command in commands(page)]
STARTS = re.compile(r"^(\$ |(?:fleetswap|pulumi|aws|make|git|nix|curl) [a-z-])", flags=re.MULTILINE)


def test_there_are_commands_to_look_at() -> None:
    """The tests below would pass on nothing."""
    assert {command.split()[0] for _, command in COMMANDS} >= {"aws", "pulumi", "fleetswap", "make", "cp", "git"}
    assert {page.parent.name for page, _ in COMMANDS} == {"tutorial", "how-to"}


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{page.stem}: {each}" for page, each in COMMANDS])
def test_a_command_can_be_run(page: Path, command: str) -> None:
    """A reader would run a command that does not exist, or that takes no such option."""
    assert page.is_file()
    check(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_command_is_where_nobody_looks(page: Path) -> None:
    """A page would have a command that no test knows of: in a block of another language, or with a typing error."""
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{page.name}: a block of {block.language}"
        if block.language == "console":
            assert block.text.startswith("$ "), f"{page.name}: output without its command: {block.text}"
        elif block.language == "":
            assert not STARTS.search(block.text), f"{page.name}: a command in a plain block: {block.text}"
        elif block.language == "json":
            json.loads(block.text)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("fleetswap status --stak prod", "No such option"),
        ("fleetswap stauts", "no command"),
        ("fleetswap rollback --to", "requires an argument"),
        ("pulumi pu --stack prod", "no such command"),
        ("pulumi up --stakc prod", "has no"),
        ("aws ec2 describe-vpcs --vpc-idz x", "has no"),
        ("aws ec2 describe-vpc", "has no describe-vpc"),
        ("make upp", "make has no"),
        ("python -m localcloud fluat", "no command"),
        ("cp examples/none.yaml x", "is not there"),
        ("frobnicate", "is in no list"),
        ("fleetswap permissions --stack prod >x.json && fleetswap nothing", "no command"),
        ("pulumi preview --json --stack prod | fleetswap comment --psot github", "No such option"),
    ],
)
def test_a_command_that_cannot_be_run_is_found(command: str, why: str) -> None:
    """The check would let anything pass."""
    with pytest.raises(AssertionError, match=why):
        check(command)


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("web-3c107ba1: healthy, probing /", "web-91bc02aa: healthy, probing /", True),
        ("web-3c107ba1: healthy, probing /", "web-91bc02aa: unhealthy, probing /", False),
        ("    + 41 created", "    + 42 created", True),
        ("    + 41 created", "    - 41 created", False),
        ("log …/.work/cloud/log)", "log /tmp/x/.work/cloud/log)", True),
        ("version 2 on i-0a1b", "version 3 on i-77aa", True),
    ],
)
def test_a_line_is_compared_without_what_differs_each_time(shown: str, printed: str, *, expected: bool) -> None:
    """The tutorial would be held against IDs that nobody else gets; or any text would do."""
    assert bool(re.fullmatch(like(shown), printed)) is expected
