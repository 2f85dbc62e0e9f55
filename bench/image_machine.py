"""What a change of an application takes from the command to live, and a machine from its launch to healthy.

Both for the Debian machine, which is laid out as a NixOS image is, beside the demo image, on the local cloud.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from bench.deploy import ROOT, Demo
from bench.phases import Timeline, told
from bench.sections import Goal, Section
from bench.upload import Refused

LIVE = 60.0
"""Seconds from the command to the end of the update, with all the traffic at the new release."""

GRACE = 180
"""Seconds. An emulated machine with systemd may need more than the demo's 60 on a busy computer."""

IMAGES = {"demo": "nix/demo", "Debian machine": "nix/debian"}


def live(folder: Path, quick: bool) -> list[Section]:  # noqa: FBT001 (one of the sections' signature)
    """Deploy each image and then a change of its application; `quick`: the Debian machine alone."""
    subprocess.run([ROOT / "nix/debian/fetch-parts", ROOT / ".work/debian"], check=True)
    names = ["Debian machine"] if quick else [*IMAGES]
    lines = [_changed(folder / IMAGES[name], name) for name in names]
    rows = [["image", "phase", ""]]
    for line in lines:
        rows += [[line.name, "blocks sent", line.sent or "not seen"], *line.rows()]
    boots = [line.launch_to_first_healthy for line in lines]
    if len(boots) == len(IMAGES):
        demo, debian = boots
        ratio = f"{debian / demo:.1f}" if demo and debian else "not seen"
        rows.append(["both", "launch to first healthy, over the demo's", ratio])
    goals = [
        Goal(
            f"{line.name}: a change of the application is live in at most {LIVE:.0f} s",
            line.problem or told(line.total),
            None if line.problem else line.total <= LIVE,
        )
        for line in lines
    ]
    return [Section("From the command to live", rows, goals)]


def _changed(folder: Path, name: str) -> Timeline:
    """Deploy version 1, and see what a deploy of a version takes that was never built here."""
    stack = Demo(folder, expression=IMAGES[name], strategy="all-at-once", grace=GRACE)
    try:
        status, said = stack.run("up", version="1")
        if status:
            raise Refused(f"{IMAGES[name]} was not deployed: {said[-400:]}")
        return stack.watched(name, "up", version=f"2.{int(time.time())}")
    finally:
        stack.run("down")
