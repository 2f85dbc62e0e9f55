"""What the real engine says in a preview that would replace what carries the traffic."""

from __future__ import annotations

from pathlib import Path

from tests.engine.aws_plugin.test_real_engine import PROGRAM, Stack

GUARDED = """
import sys
from fleetswap.domain.rollout.model import ReleaseTarget
from fleetswap.domain.rollout.view import Service
from fleetswap_pulumi.traffic_checks import refuse_replacement

there = Service("tiny/local", "web", "listener", (ReleaseTarget("web-1", "group", "target"),))
refuse_replacement(
    "tiny/local",
    "web-1",
    {"the network": network.id, "its group": group.id},
    lambda: [there] if config.get_bool("there") else [],
)
"""


def test_a_preview_that_would_replace_what_carries_traffic_fails(
    tmp_path: Path, endpoint: str, engine_bin: Path
) -> None:
    """A group or target group with traffic would be deleted by a change that looks harmless, or a repair refused."""
    stack = Stack(tmp_path, endpoint, engine_bin, program=PROGRAM + GUARDED)
    stack.config["there"] = "false"
    stack.run("up", "--yes", "--skip-preview")
    stack.config["there"] = "true"
    stack.config["tag"] = "changed in place"
    assert stack.steps() == {"net": ("update", ["tags.Name"])}
    stack.config["description"] = "which cannot change"
    told = stack.run("preview", expected=1)
    assert "error: this update would replace its group, with which release web-1 carries the traffic" in told
    stack.config["there"] = "false"
    assert stack.steps()["machines"][0] in {"replace", "create-replacement"}
