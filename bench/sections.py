"""What a benchmark says: sections, each a table with goals. It measures nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import figures


@dataclass(frozen=True)
class Goal:
    """What was to be reached, what was measured, and whether it is that. None: nothing was measured."""

    text: str
    figure: str
    reached: bool | None

    @property
    def verdict(self) -> str:
        """As in the other benchmarks."""
        return {True: "ok", False: "short", None: "fails"}[self.reached]


@dataclass(frozen=True)
class Section:
    """A table, the first row the heads, and its goals."""

    title: str
    rows: Sequence[Sequence[str]]
    goals: Sequence[Goal] = ()


Measure = Callable[[Path, bool], list[Section]]
"""Measures in a folder that is empty and goes afterwards; quickly, if the second argument says so."""


def say(text: str) -> None:
    """Progress, for the one who waits."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 (progress of a command-line program)


def show(section: Section) -> None:
    """A section in Markdown, with the verdict of each goal."""
    lines = [f"## {section.title}", "", figures.table([list(row) for row in section.rows]), ""]
    if section.goals:
        goals = [[goal.text, goal.figure, goal.verdict] for goal in section.goals]
        lines += [figures.table([["goal", "", ""], *goals]), ""]
    print("\n".join(lines), flush=True)  # noqa: T201 (what the command is for)
