"""The story of a fleet, in order, with the real engine, real nix, real machines, and users who never stop asking.

Each test goes on from where the one before left the stack, as a fleet's life does; a deploy takes long enough.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter

import pytest

from tests.docs.commands import blocks, like
from tests.e2e.load import Load
from tests.e2e.stack import PORT, ROLLOUT, ROOT, LocalStack, Ran
from tests.e2e.users import PURPOSES
from tools.local.work import Work

pytestmark = [pytest.mark.e2e]

QUICK = {**ROLLOUT, "deadline": 120}

SERVICE = ("--service", "web", "--endpoint-url", f"http://127.0.0.1:{PORT}")
"""Whom a command means that is run outside of the project."""


def under_load(stack: LocalStack, verb: str, *, version: str = "") -> tuple[Ran, Load]:
    """Run a verb while users ask; the load begins before and ends after it."""
    with Load(stack.url) as load:
        time.sleep(1)
        ran = stack.run(verb, version=version)
        time.sleep(2)
    print(load.report())
    return ran, load


def test_one_command_deploys_an_image_that_answers(stack: LocalStack) -> None:
    """Nothing would work: no image, no snapshot, no AMI, no machine, or no way to it."""
    stack.set(rollout=ROLLOUT)
    ran = stack.run("up")
    assert ran.status == 0
    assert re.search(rf"{stack.url[:-1]} is served by web-[0-9a-f]{{8}}\n", ran.said)
    for phase in ("build", "upload", "gate", "probe", "shift"):
        assert re.search(rf"\b{phase} [\d.]+ s", ran.said), phase
    assert re.fullmatch(r"version 1 on i-[0-9a-f]+", stack.get())
    # Progress stands in the rows of what it is about, not in that of the whole stack.
    assert re.search(r"dynamic/fleetswap:Rollout web creating \(\d+s\).* web-\w+: healthy, probing /", ran.said)
    assert re.search(r"dynamic/fleetswap:DiskImage web-\w+ creating \(\d+s\).* uploading", ran.said)
    assert not re.search(r"pulumi:Stack .* (uploading|web-\w+:)", ran.said)
    resources = json.loads(Work(ROOT, stack.folder).stack_state.read_text())["checkpoint"]["latest"]["resources"]
    ours = {one["urn"]: one["inputs"]["urn"] for one in resources if one.get("inputs", {}).get("urn")}
    assert ours == {urn: urn for urn in ours}
    assert len(ours) == 2


def test_deploying_the_same_again_changes_nothing(stack: LocalStack) -> None:
    """Every unrelated deploy would touch the fleet, and no preview could be trusted."""
    machines = stack.groups()
    ran = stack.run("up")
    assert ran.status == 0
    assert re.search(r"Resources:\n +\d+ unchanged\n", ran.said)
    assert stack.groups() == machines


def test_a_swap_loses_no_request(stack: LocalStack) -> None:
    """A deploy would be seen by users."""
    ran, load = under_load(stack, "up", version="2")
    assert ran.status == 0
    assert load.failures == {}
    assert set(load.versions) == {"1", "2"}
    assert stack.serves("2")
    assert stack.run("status").status == 0


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("broken", r"Target\.ResponseCodeMismatch Health checks failed with these codes: \[503\]"),
        ("panic", r"Kernel panic - not syncing"),
    ],
)
def test_a_bad_image_leaves_the_old_one_alone(stack: LocalStack, version: str, reason: str) -> None:
    """A candidate that is not fit would get traffic, or fail without saying why, or leave its machines running."""
    stack.set(rollout=QUICK)
    before = Counter(stack.groups())
    ran, load = under_load(stack, "up", version=version)
    assert ran.status != 0
    assert re.search(reason, ran.said)
    assert load.failures == {}
    assert set(load.versions) == {"2"}
    deadline = time.monotonic() + 30
    while Counter(stack.groups()) != before and time.monotonic() < deadline:
        time.sleep(0.5)  # a group acts a little after it was told to
    assert Counter(stack.groups()) == before


def test_the_preview_shows_the_swap_and_nothing_else(stack: LocalStack) -> None:
    """A reviewer would not see what a change does, or would see noise."""
    machines = stack.groups()
    ran = stack.run("preview", version="3")
    assert ran.status == 0
    shown = dict(re.findall(r"^ ([+~-])  \S+:Release (web-\w+)", ran.said, flags=re.MULTILINE))
    assert set(shown) == {"+", "-"}
    updates = re.findall(r"^ ~  (\S+)", ran.said, flags=re.MULTILINE)
    assert updates == ["pulumi-python:dynamic/fleetswap:Rollout"]
    assert not re.search(r"replace", ran.said)
    assert stack.groups() == machines


def test_a_frozen_service_gets_no_new_release(stack: LocalStack) -> None:
    """A deploy would go out on the day on which nothing may change, or nobody would know why it was refused."""
    machines = stack.groups()
    frozen = stack.fleetswap("freeze", *SERVICE, "--reason", "Black Friday", "--until", "3d")
    assert frozen.status == 0
    ran = stack.run("up", version="3")
    assert ran.status != 0
    assert re.search(
        r"web is frozen until .*user/rollback: Black Friday: wait, .*fleetswap unfreeze --only web-\w+", ran.said
    )
    assert "DiskImage" not in ran.said
    assert stack.groups() == machines


def test_a_rollback_goes_to_the_release_before(stack: LocalStack) -> None:
    """The way back would be closed just when it is needed, also by a freeze, or cost users their requests."""
    ran, load = under_load(stack, "rollback")
    assert ran.status == 0
    assert load.failures == {}
    assert set(load.versions) == {"1", "2"}
    assert stack.serves("1")


def test_after_a_failure_the_next_good_version_goes_out(stack: LocalStack) -> None:
    """A failed deploy would block the stack, or leave its candidate behind for ever; or a freeze would never end."""
    assert stack.fleetswap("unfreeze", *SERVICE).status == 0
    stack.set(rollout=ROLLOUT)
    ran, load = under_load(stack, "up", version="3")
    assert ran.status == 0
    assert load.failures == {}
    assert stack.serves("3")
    assert len(set(stack.groups())) == 2


def test_a_rollback_without_the_state_needs_no_more_than_its_policy(stack: LocalStack) -> None:
    """The person on call, who may only roll back, could not."""
    ran = stack.fleetswap("rollback", "--now", *SERVICE)
    assert ran.status == 0
    assert stack.serves("1")
    assert stack.run("status").status == 0


def test_pulumi_takes_down_what_it_has_put_up(stack: LocalStack) -> None:
    """A stack could not be taken down by the role that deploys it."""
    assert stack.pulumi("destroy", "--yes", "--skip-preview").status == 0


def test_the_story_was_told_with_the_printed_policies(stack: LocalStack) -> None:
    """The printed policies would lack an action; or it was not they that were proved, but root."""
    assert stack.denials() == []
    decisions = stack.admin("GET", "authorizations")["authorizations"]
    asked = {
        name: {one["action"] for one in decisions if one["principal"].endswith(f":user/{name}")} for name in PURPOSES
    }
    assert asked["deploy"] >= {"ec2:RunInstances", "iam:PassRole", "ebs:PutSnapshotBlock", "ec2:DeleteVpc"}
    assert asked["rollback"] >= {"elasticloadbalancing:ModifyRule", "autoscaling:UpdateAutoScalingGroup"}
    assert asked["preview"]
    changing = re.compile(r":(Create|Put|Modify|Update|Delete|Run|Start)")
    by_root = {one["operation"] for one in decisions if one["principal"].endswith(":root")}
    assert {one for one in by_root if changing.search(one)} <= {
        "iam:CreateAccessKey",
        "iam:CreatePolicy",
        "iam:CreateUser",
        "iam:DeletePolicy",
    }


def test_down_leaves_no_process(stack: LocalStack) -> None:
    """Machines or servers would go on running on the user's computer."""
    assert stack.processes()
    assert stack.run("down").status == 0
    assert stack.processes() == []


def test_the_tutorial_shows_what_is_printed(stack: LocalStack) -> None:
    """Whoever follows docs/tutorial/local.md would see something else than the page shows.

    The verbs of the story are those of the page. IDs, numbers and addresses differ; an ellipsis stands for anything.
    """
    compared = set()
    for block in blocks(ROOT / "docs/tutorial/local.md", "console"):
        for command, shown in block.commands:
            found = re.fullmatch(r"make (\w+)(?: VERSION=(\w+))?", command)
            if found is None:
                assert command.startswith(("curl ", "git ", "cd ")), command
                continue
            verb, version = found[1], found[2] or ""
            said = [text for name, of, text in stack.told if name == verb and (verb == "preview" or of == version)]
            assert said, f"the story does not run {command}"
            # A time of tomorrow has a date, which those of the page have not.
            printed = [re.sub(r"(?<=until )[\d-]{10} ", "", line) for text in said for line in text.splitlines()]
            for line in (line for line in shown if line.strip(" …")):
                assert any(re.fullmatch(like(line), each) for each in printed), f"{command}: {line}"
            compared.add(command)
    assert {command.split()[1] for command in compared} == {"up", "preview", "status", "rollback", "down"}
