"""What the real engine says in a preview that would replace what carries the traffic, or make a second service."""

from __future__ import annotations

from pathlib import Path

from tests.engine.aws_plugin.test_real_engine import PROGRAM, Stack

GUARDED = """
import sys
from fleetswap.domain.rollout.model import ReleaseTarget
from fleetswap.domain.rollout.view import Service
from fleetswap_pulumi.traffic_checks import refuse_replacement, refuse_second

there = Service("tiny/local", "web", "listener", (ReleaseTarget("web-1", "group", "target"),))
if config.get("live"):
    carrying = {"the network": network.id, "its group": group.id}
    refuse_replacement("tiny/local", "web-1", carrying, lambda: [there] if config.get_bool("there") else [])
else:
    other = Service("other/local", "web", "listener", (ReleaseTarget("web-0", "group", "target"),))
    failed = Service("tiny/local", "web", "listener", ())
    refuse_second("tiny/local", "web", [network.id, role.arn], lambda: [other, failed, there])
"""


def test_a_preview_that_would_replace_what_carries_traffic_fails(
    tmp_path: Path, endpoint: str, engine_bin: Path
) -> None:
    """A group or target group with traffic would be deleted by a change that looks harmless, or a repair refused."""
    stack = Stack(tmp_path, endpoint, engine_bin, program=PROGRAM + GUARDED)
    stack.config |= {"there": "false", "live": "web-1"}
    stack.run("up", "--yes", "--skip-preview")
    stack.config["there"] = "true"
    stack.config["tag"] = "changed in place"
    assert stack.steps() == {"net": ("update", ["tags.Name"])}
    stack.config["description"] = "which cannot change"
    told = stack.run("preview", expected=1)
    assert "error: this update would replace its group, with which release web-1 carries the traffic" in told
    stack.config["there"] = "false"
    assert stack.steps()["machines"][0] in {"replace", "create-replacement"}


def test_a_preview_whose_state_was_lost_fails(tmp_path: Path, endpoint: str, engine_bin: Path) -> None:
    """Whoever deploys with an empty state would get a second service, and no command would find the first; or a stack
    whose first deploy failed could not deploy again.
    """
    stack = Stack(tmp_path, endpoint, engine_bin, program=PROGRAM + GUARDED)
    told = stack.run("preview", expected=1)
    assert "error: service web of stack tiny/local runs already (web-1 at listener), and this state has nothing" in told
    stack.run("up", "--yes", "--skip-preview", "--target", "urn:pulumi:local::tiny::aws:ec2/vpc:Vpc::net")
    stack.run("preview")
