"""`python -m bench image`: what an image moves, what it takes to build, and what a change of it takes to be previewed.

It decides the sections, their order and how they are shown; each section measures in a module of its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bench import derivations, image_layout, image_machine, image_preview
from bench.sections import Measure, Section, show
from bench.upload import machine


def sections() -> Mapping[str, Measure]:
    """What can be measured, by the names of `--only`, in their order."""
    return {
        "blocks": image_layout.blocks,
        "build": image_layout.build,
        "preview": image_preview.preview,
        "derivations": derivations.derivations,
        "live": image_machine.live,
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
                show(section)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if report:
        report.write_text(json.dumps({"machine": before, "sections": [asdict(each) for each in done]}, indent=1) + "\n")
    print(", ".join(f"{key}: {value}" for key, value in before.items()))  # noqa: T201 (what the command is for)
