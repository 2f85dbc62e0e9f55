"""`python -m bench image`: what an image moves, what it takes to build, and what a change of it takes to be previewed.

It decides the sections, their order and how they are shown; each section measures in a module of its own.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import figures
from bench.upload import machine


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


def sections() -> Mapping[str, Measure]:
    """What can be measured, by the names of `--only`, in their order."""
    from bench import image_layout, image_preview  # noqa: PLC0415 (they import what is above)

    return {
        "blocks": image_layout.blocks,
        "build": image_layout.build,
        "preview": image_preview.preview,
    }


def image(folder: Path, report: Path | None, names: Sequence[str], *, quick: bool) -> None:
    """Measure the sections of these names, print each as it is done, and write all figures to the file `report`."""
    before = machine()
    done: list[Section] = []
    for name in names:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            for section in sections()[name](folder, quick):
                done.append(section)
                _print(section)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if report:
        report.write_text(json.dumps({"machine": before, "sections": [asdict(each) for each in done]}, indent=1) + "\n")
    print(", ".join(f"{key}: {value}" for key, value in before.items()))  # noqa: T201 (what the command is for)


def say(text: str) -> None:
    """Progress, for the one who waits."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 (progress of a command-line program)


def _print(section: Section) -> None:
    lines = [f"## {section.title}", "", figures.table([list(row) for row in section.rows]), ""]
    if section.goals:
        goals = [[goal.text, goal.figure, goal.verdict] for goal in section.goals]
        lines += [figures.table([["goal", "", ""], *goals]), ""]
    print("\n".join(lines), flush=True)  # noqa: T201 (what the command is for)
