"""What the files of the workflows must have, whoever edits them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.github import ACTIONS, ROOT, WORKFLOWS, action, evaluated, parsed
from tests.workflows.gitlab import FILE, inputs, merged
from tests.workflows.gitlab import parsed as gitlab

NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.yml"))
STACKS = sorted(path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml") if path.name != "Pulumi.local.yaml")


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every step of every workflow and action."""
    for name in NAMES:
        for job in parsed(name)["jobs"].values():
            for step in job["steps"]:
                yield name, step
    for path in sorted(ACTIONS.iterdir()):
        for step in action(path.name)["runs"]["steps"]:
            yield path.name, step


def scripts() -> list[str]:
    """Every script of GitHub's and GitLab's files."""
    jobs = [merged(name) for name in ("preview", "comment", "drift", "issue", "deploy", "rollback")]
    return [step["run"] for _, step in steps() if "run" in step] + ["\n".join(job["script"]) for job in jobs]


@pytest.mark.go
def test_actionlint_has_nothing_to_say() -> None:
    """A misspelled key would be found by GitHub, in the minute in which someone wants to roll back."""
    files = [str(path) for path in sorted(WORKFLOWS.glob("*.yml"))]
    done = subprocess.run(
        ["go", "-C", "tools/actionlint", "tool", "actionlint", *files],
        cwd=ROOT,
        env=os.environ | {"GOFLAGS": "-mod=readonly", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, len(files)) == (0, "", 4), done.stderr


def test_no_script_holds_an_expression() -> None:
    """Who names a branch or a stack could run commands with our tokens: GitHub pastes expressions into the script."""
    assert [name for name, step in steps() if "${{" in step.get("run", "")] == []


def test_scripts_end_at_the_first_error() -> None:
    """A deploy would go on behind a step that failed."""
    github = [step["run"] for _, step in steps() if "run" in step]
    assert [each for each in github if not each.startswith("set -euo pipefail\n")] == []
    assert merged("deploy")["before_script"][0] == merged("comment")["before_script"][0] == "set -euo pipefail"


def test_scripts_are_bash() -> None:
    """A typing error in a script that no test runs would be found when it is needed."""
    for each in scripts():
        done = subprocess.run(["bash", "-n"], input=each, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_actions_of_others_are_pinned() -> None:
    """Whoever moves a tag of an action could deploy with our role."""
    used = {step["uses"] for _, step in steps() if "uses" in step and not step["uses"].startswith("./")}
    assert [each for each in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", each)] == []
    files = [*WORKFLOWS.glob("*.yml"), *ACTIONS.glob("*/action.yml")]
    lines = [line for path in files for line in path.read_text().splitlines()]
    named = [line for line in lines if re.search(r"uses: [^.]", line)]
    assert [line for line in named if not re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)] == []


def test_a_job_may_do_only_what_it_needs() -> None:
    """A step of someone else's could write into the repository, or assume a role that this job does not need."""
    for name in NAMES:
        plain = parsed(name)
        assert plain["permissions"] == {}
        for job, each in plain["jobs"].items():
            assert set(each["permissions"]) <= {"contents", "id-token", "pull-requests", "issues"}
            assert each["permissions"]["contents"] == "read"
            has_role = any("role" in step.get("with", {}) for step in each["steps"])
            assert ("id-token" in each["permissions"]) is has_role, (name, job)


def test_nothing_cancels_a_deploy_or_a_rollback() -> None:
    """A push to main would end the rollout of the commit before it, in the middle."""
    deploy, rollback = parsed("deploy"), parsed("rollback")
    assert deploy["jobs"]["deploy"]["concurrency"]["cancel-in-progress"] is False
    assert deploy["jobs"]["deploy"]["strategy"]["fail-fast"] is False
    assert "concurrency" not in deploy
    assert rollback["concurrency"]["cancel-in-progress"] is False
    assert rollback["concurrency"]["group"] != deploy["jobs"]["deploy"]["concurrency"]["group"]
    assert merged("deploy").get("interruptible", False) is merged("rollback").get("interruptible", False) is False
    assert merged("deploy")["resource_group"] == "deploy-$STACK"
    assert gitlab()["workflow"]["auto_cancel"]["on_new_commit"] == "none"


def test_deploys_and_rollbacks_are_in_an_environment() -> None:
    """Nobody would be asked for approval, and the role of one stack could be assumed for another."""
    assert parsed("deploy")["jobs"]["deploy"]["environment"] == "${{ matrix.stack }}"
    assert parsed("rollback")["jobs"]["rollback"]["environment"] == "${{ inputs.stack }}"
    assert merged("deploy")["environment"] == "$STACK"
    assert merged("rollback", rollback="prod")["environment"] == "prod"


def test_a_rollback_has_one_input() -> None:
    """Whoever is woken at night would have to know more than the name of the stack."""
    assert list(parsed("rollback")["on"]["workflow_dispatch"]["inputs"]) == ["stack"]
    assert list(inputs()) == ["rollback"]
    assert '"none" != "none"' in merged("rollback")["rules"][0]["if"], "a pipeline without it must have no such job"


def test_gitlab_names_every_stack() -> None:
    """A new stack would be neither previewed nor deployed by GitLab, which cannot list files itself."""
    (matrix,) = merged("deploy")["parallel"]["matrix"]
    assert sorted(matrix["STACK"]) == STACKS
    assert matrix == merged("preview")["parallel"]["matrix"][0] == merged("drift")["parallel"]["matrix"][0]
    assert inputs()["rollback"]["options"] == ["none", *STACKS]


def test_pulumi_is_the_locked_version() -> None:
    """The engine of CI would be another one than the SDK is tested with."""
    locked = re.search(r"^pulumi==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert locked
    installed = [step["with"] for _, step in steps() if step.get("uses", "").startswith("pulumi/actions@")]
    assert installed == [{"pulumi-version": locked[1]}]
    assert f"Pulumi {locked[1]}" in FILE.read_text()


FORK = {"github.event.pull_request.head.repo.full_name": "mallory/web", "github.repository": "shop/web"}


@pytest.mark.parametrize(
    ("name", "job", "known"),
    [
        ("preview", "stacks", FORK),
        ("deploy", "stacks", {"github.ref": "refs/heads/other"}),
        ("rollback", "rollback", {"github.ref": "refs/heads/other"}),
        ("drift", "stacks", {"github.ref": "refs/heads/other"}),
    ],
)
def test_nothing_runs_for_a_fork_or_another_branch(name: str, job: str, known: dict[str, str]) -> None:
    """Each pull request of a fork would fail for want of a token, or another branch would be deployed."""
    assert not evaluated(parsed(name)["jobs"][job]["if"], known, failed=False)


@pytest.mark.parametrize(
    ("name", "job", "program"), [("deploy", "deploy", "pulumi"), ("rollback", "rollback", "fleetswap")]
)
def test_the_signal_of_a_cancelled_job_reaches_the_rollout(name: str, job: str, program: str, tmp_path: Path) -> None:
    """The runner signals the shell alone, which passes nothing on: the traffic would stay where the canary was."""
    (step,) = (each for each in parsed(name)["jobs"][job]["steps"] if "XDG_STATE_HOME" in each.get("env", {}))
    stand_in = tmp_path / program
    stand_in.write_text("""#!/bin/bash
sleep 60 > /dev/null &  # not for ever, if no signal comes
trap 'kill $!; echo "restored ${RUNNER_TRACKING_ID-unset}"; exit 7' INT
echo started
wait  # which a trap ends at once; while Bash waits for anything else, it may lose the signal
""")
    stand_in.chmod(0o755)
    script = tmp_path / "step.sh"
    script.write_text(step["run"])
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "STACK": "prod", "GITHUB_SHA": "1", "RUNNER_TRACKING_ID": "github_1"}
    with subprocess.Popen(["bash", "-e", script], env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
    assert process.returncode == 7
    # Without Pulumi there is no guardian, which would have to outlive the job.
    assert said == ("restored \n" if program == "pulumi" else "restored github_1\n")
