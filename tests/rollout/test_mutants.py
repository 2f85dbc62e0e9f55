"""The tool that breaks the state machine, and its list of mutants that may live, without running any of them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from mutmut.mutation import file_mutation

from tools import mutants

REASONS = Path(__file__).with_name("mutants.toml")
DOMAIN = Path(__file__).resolve().parents[2] / "fleetswap" / "domain" / "rollout"


def test_every_reason_is_about_code_that_is_there() -> None:
    """A reason would stay for what was long changed, and excuse a new mutant that looks alike."""
    entries = tomllib.loads(REASONS.read_text(encoding="utf-8"))["survivor"]
    assert entries
    for entry in entries:
        module, _, function = entry["where"].partition(".")
        source = (DOMAIN / f"{module}.py").read_text(encoding="utf-8")
        assert f"def {function.split('.')[-1]}(" in source, entry["where"]
        lines = {line.strip() for line in source.splitlines()}
        assert set(entry["was"].splitlines()) <= lines, entry["where"]
        assert entry["why"]


SAMPLE = """
@dataclass(frozen=True)
class Gate:
    @property
    def is_open(self) -> bool:
        return self.sure and self.healthy

    @classmethod
    def of(cls, word: str) -> Gate:
        return cls(state=word, note="as it was")


def changes(gate: Gate) -> Iterator[str]:
    if gate.is_open:
        tell("opened")
        yield "open"
    word = None if gate.sure else more(gate)
    found = [first(gate), *more(gate)]
    match gate:
        case Gate() if gate.sure:
            raise Wrong
"""


def test_what_the_tool_breaks() -> None:
    """Dataclasses, properties, guards, conditions and left-out statements would never be broken: mutmut cannot."""
    mutants.teach()
    code = file_mutation.mutate_file_contents("sample.py", mutants.undecorated(SAMPLE)).code
    for broken in (
        "return self.sure\n",
        "return self.healthy\n",
        "return self.sure or self.healthy\n",
        'return cls(note="as it was")\n',
        "if not (gate.is_open):\n",
        'tell("XXopened")\n',
        "yield from ()\n",
        "word = None if not (gate.sure) else more(gate)\n",
        "found = [*more(gate)]\n",
        "case Gate():\n",
        "case Gate() if not (gate.sure):\n",
        "            pass\n",
        "is_open = property(is_open)\n",
        "\nGate = dataclass(frozen=True)(Gate)\n",
    ):
        assert broken in code, broken
    assert "XXas it was" not in code, "words for people are not broken"


def test_a_mutant_is_known_by_what_it_changes() -> None:
    """A reason would be lost with every edit above it, or excuse another mutant of the same function."""
    known = mutants.reasons()
    assert len(known) == len(tomllib.loads(REASONS.read_text(encoding="utf-8"))["survivor"])
    assert all(mutant.was != mutant.now for mutant in known)


def test_the_shortest_tests_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two thousand mutants would meet the longest test first, for hours."""
    monkeypatch.setattr("mutmut.duration_by_test", {"long": 9.0, "b": 1.0, "a": 1.0, "c": 1.5})
    assert list(mutants.shortest(["long", "c", "b", "a"], 3.0)) == ["a", "b"]
    assert list(mutants.shortest(["long"], 3.0)) == ["long"], "one at least"


def test_the_tests_and_modules_that_are_left_out_exist() -> None:
    """After a file was renamed, its slow tests would run for each mutant, or its messages be mutated."""
    settings = tomllib.loads((DOMAIN.parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
    ignored = [each.removeprefix("--ignore=") for each in settings["pytest_add_cli_args_test_selection"]]
    slow = [f"tests/rollout/{name}" for name in mutants.SLOW_TESTS]
    for name in (*ignored, *slow, *settings["do_not_mutate"], *settings["also_copy"]):
        assert (DOMAIN.parents[2] / name).exists(), name
