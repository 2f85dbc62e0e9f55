"""What the demo's evaluation takes, and a preview of a change of it on the local cloud, beside a stack that is live."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import yaml

from bench.deploy import ROOT, Demo
from bench.sections import Goal, Section, say
from bench.upload import Refused

EVALUATION, PREVIEW = 5.0, 15.0
"""Seconds, for the demo: what stays after its evaluation is Pulumi's start, and reading the account."""


def preview(folder: Path, quick: bool) -> list[Section]:  # noqa: FBT001 (one of the sections' signature)
    """Evaluate the demo, deploy it, and preview another version of it."""
    options = yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())["config"]["fleetswap:image"]["nix"]["options"]
    command = ["nix-instantiate", str(ROOT / "nix/demo"), "--argstr", "version", "2"]
    for name, value in options.items():
        command += ["--option", name, json.loads(json.dumps(value))]
    times = sorted(_seconds(command) for _ in range(1 if quick else 5))
    evaluated = times[len(times) // 2]
    demo = Demo(folder / "demo")
    try:
        say("deploying the demo …")
        status, said = demo.run("up", version="1")
        if status:
            raise Refused(f"the demo was not deployed: {said[-400:]}")
        previewed = []
        for _ in range(1 if quick else 3):
            say("previewing a change of it …")
            started = time.monotonic()
            status, said = demo.run("preview", version="2")
            previewed.append(time.monotonic() - started)
            if status:
                raise Refused(f"the preview failed: {said[-400:]}")
    finally:
        demo.run("down")
    seen = sorted(previewed)[len(previewed) // 2]
    rows = [
        ["", "median"],
        ["nix-instantiate nix/demo", f"{evaluated:.2f} s"],
        ["make preview VERSION=2", f"{seen:.1f} s"],
    ]
    goals = [
        Goal(f"evaluation of the demo: at most {EVALUATION:.0f} s", f"{evaluated:.2f} s", evaluated <= EVALUATION),
        Goal(f"preview of a change of it: at most {PREVIEW:.0f} s", f"{seen:.1f} s", seen <= PREVIEW),
    ]
    return [Section("Evaluation and preview of the demo", rows, goals)]


def _seconds(command: list[str]) -> float:
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env=os.environ)
    return time.monotonic() - started
