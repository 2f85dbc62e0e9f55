"""Which record `fleetswap report RELEASE` means."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.workflows.rollout.find_record import newest


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the records of two stacks."""
    for stack, time, release in (
        ("shop/prod", "20261126T120000", "web-7f3a1b2c"),
        ("shop/prod", "20261126T130000", "web-7f3a1b2c"),
        ("shop/prod", "20261126T140000", "web-91bc02aa"),
        ("shop/staging", "20261126T110000", "web-91bc02aa"),
        ("shop/staging", "20261126T150000", "api-00000000"),
    ):
        folder = tmp_path / "fleetswap/rollouts" / stack
        folder.mkdir(parents=True, exist_ok=True)
        header = {"line": "header", "version": 1, "stack": stack, "candidate": release, "started": time}
        (folder / f"{time}Z-{release}-0.jsonl").write_text(json.dumps(header) + "\n")
    (tmp_path / "fleetswap/rollouts/shop/prod/other.jsonl").write_text("{}\n[]\n")
    (tmp_path / "fleetswap/rollouts/shop/prod/empty.jsonl").write_text("")
    (tmp_path / "fleetswap/rollouts/shop/prod/list.jsonl").write_text("[1]\n")
    (tmp_path / "fleetswap/rollouts/shop/prod/deep.jsonl").write_text("[" * 100_000)
    return tmp_path


@pytest.mark.parametrize(
    ("release", "stack", "name"),
    [
        (None, None, "20261126T150000Z-api-00000000-0.jsonl"),
        (None, "prod", "20261126T140000Z-web-91bc02aa-0.jsonl"),
        ("web-7f3a1b2c", None, "20261126T130000Z-web-7f3a1b2c-0.jsonl"),
        ("web-7", "shop/prod", "20261126T130000Z-web-7f3a1b2c-0.jsonl"),
        ("web-9", "shop/staging", "20261126T110000Z-web-91bc02aa-0.jsonl"),
    ],
)
def test_the_newest_record_of_a_release_is_found(release: str | None, stack: str | None, name: str, home: Path) -> None:
    """The report would be about another rollout."""
    assert newest(release, stack, {"XDG_STATE_HOME": str(home)}).name == name


@pytest.mark.parametrize(
    ("release", "stack", "error"),
    [
        ("web", "prod", "web may be web-91bc02aa, web-7f3a1b2c: give more of its name"),
        ("web-91bc02aa", None, "web-91bc02aa may be shop/prod, shop/staging: choose one with --stack"),
        ("x\x1b[31m", "prod", r"no record in .* of stack prod is of x; the newest are of web-91bc02aa, web-7f3a1b2c"),
        (None, "none", "there is no record of a rollout in .* of stack none: name the file of a record"),
        (None, "rod", "there is no record"),
    ],
)
def test_what_is_not_clear_is_an_error(release: str | None, stack: str | None, error: str, home: Path) -> None:
    """The report of another release or stack would be attached to an incident."""
    with pytest.raises(InputError, match=error):
        newest(release, stack, {"XDG_STATE_HOME": str(home)})


def test_without_a_home_there_are_no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container without a home would end in a traceback."""

    def none() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", none)
    with pytest.raises(InputError, match="set XDG_STATE_HOME"):
        newest(None, None, {})
