"""docs/how-to/failed-rollout.md: its commands are run on the record of such a rollout, and say what the page says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran, cli
from tests.rollout.records import record_of

PAGE = (Path(__file__).resolve().parents[2] / "docs/how-to/failed-rollout.md").read_text(encoding="utf-8")
SHOWN = [block.splitlines() for block in re.findall(r"```console\n(.*?)```", PAGE, flags=re.DOTALL)]

__all__ = ["cli"]


def test_there_is_something_to_run() -> None:
    """The test below would pass on nothing."""
    names = [block[0].split()[2] for block in SHOWN]
    assert names == ["replay", "report", "replay", "replay"]
    assert all(" RECORD" in block[0] for block in SHOWN)


@pytest.mark.parametrize("block", SHOWN, ids=lambda block: block[0])
def test_a_command_says_what_the_page_says(
    block: list[str], cli: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader would look for lines that are not there. An ellipsis stands for anything."""
    monkeypatch.chdir(tmp_path)
    record = tmp_path / "RECORD"
    record.write_bytes(record_of("bad"))
    command, *shown = block
    _, _, *words = shlex.split(command)
    ran = cli(*(str(record) if word == "RECORD" else word for word in words))
    lines = iter(ran.out.splitlines())
    for line in shown:
        pattern = re.escape(line).replace("…", ".*")
        assert any(re.fullmatch(pattern, each) for each in lines), line
