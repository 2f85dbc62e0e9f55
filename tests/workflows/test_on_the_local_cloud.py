"""The `run` steps of the workflows and the scripts of GitLab, with the real engine, against the local cloud.

Nothing is left out but the fetching of packages: `pip` is a stand-in. The tests are in order, on one stack that GitHub
and GitLab deploy by turns; the local cloud has no machines, and every target counts as healthy.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from fleetswap.domain.image.disk import MBR_ENTRY, MBR_SIGNATURE
from tests.engine.company import LOCAL
from tests.engine.test_examples import Responder
from tests.fakes.localcloud import serve
from tests.pull_requests.forge import TOKEN, Forge, forge
from tests.workflows.github import ROOT, GitHub
from tests.workflows.gitlab import run
from tools.local.config import PASSPHRASE, SALT, front_address
from tools.local.process import environment
from tools.local.work import Work

PORT = 8485
ROLE = "arn:aws:iam::123456789012:role/"
SYSTEM = "/usr/bin:/bin:/usr/sbin:/sbin"


@dataclass
class Project:
    """A repository with two stacks, and what its runners have."""

    folder: Path
    temp: Path
    env: dict[str, str]
    keys: dict[str, str]
    forge: Forge
    endpoint: str

    def write(self, stack: str, content: bytes) -> None:
        """Write the settings of a stack, with the image of a machine that boots by BIOS."""
        entry = MBR_ENTRY.pack(0x80, b"", 0x83, b"", 2048, 2048)
        table = b"\xeb\x63\x90".ljust(446, b"\x90") + entry + bytes(3 * len(entry)) + MBR_SIGNATURE
        (self.folder / "disk.raw").write_bytes(table + bytes((1 << 20) - len(table)) + content.ljust(1 << 20, b"\0"))
        config: dict[str, Any] = {
            "aws:region": "us-east-1",
            "fleetswap:endpoint": self.endpoint,
            "fleetswap:service": "web" if stack == "prod" else stack,
            "fleetswap:image": {"file": "disk.raw", "ami": {"boot_mode": "legacy-bios"}},
            "fleetswap:front": {"port": PORT},
            **{f"fleetswap:{key}": value for key, value in LOCAL.items()},
        }
        text = yaml.safe_dump({"encryptionsalt": SALT, "config": config})
        (self.folder / f"Pulumi.{stack}.yaml").write_text(text)

    def git(self, *words: str) -> str:
        """Run git in the repository."""
        who = ["-c", "user.name=dev", "-c", "user.email=dev@example.com", "-c", "init.defaultBranch=main"]
        done = subprocess.run(["git", *who, *words], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    @property
    def github(self) -> GitHub:
        """GitHub, at the commit that is there."""
        sha = self.git("rev-parse", "HEAD")
        shutil.rmtree(self.temp, ignore_errors=True)
        self.temp.mkdir()
        job = {
            "GITHUB_REPOSITORY": "shop/web",
            "GITHUB_API_URL": self.forge.url,
            "GITHUB_REF": "refs/heads/main",
            "GITHUB_SHA": sha,
        }
        context = {
            "github.ref": "refs/heads/main",
            "github.repository": "shop/web",
            "github.event.pull_request.head.repo.full_name": "shop/web",
            "github.run_attempt": "1",
            "github.token": TOKEN,
            "runner.temp": str(self.temp),
            "vars.PULUMI_BACKEND_URL": f"file://{self.folder.parent}/state",
            "vars.AWS_PREVIEW_ROLES": json.dumps({"prod": f"{ROLE}preview", "staging": f"{ROLE}preview"}),
            "vars.AWS_DEPLOY_ROLE": f"{ROLE}deploy",
            "vars.AWS_DEPLOY_SECONDS": "",
            "vars.AWS_ROLLBACK_ROLE": f"{ROLE}rollback",
            "secrets.PULUMI_ACCESS_TOKEN": "",
            "secrets.PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "needs.stacks.result": "success",
        }
        return GitHub(self.folder, self.env | job, context, self.keys, self.temp)

    def gitlab(self, name: str, stack: str = "", **given: str) -> subprocess.CompletedProcess[str]:
        """Run a job of GitLab, whose token has a user of its own."""
        job = {
            "CI_API_V4_URL": self.forge.url,
            "CI_PROJECT_ID": "12",
            "CI_PROJECT_DIR": str(self.folder),
            "CI_MERGE_REQUEST_IID": "7",
            "CI_JOB_ID": f"test-{os.getpid()}",
            "CI_COMMIT_SHA": "HEAD",
            "GITLAB_TOKEN": TOKEN,
            "AWS_PREVIEW_ROLE_prod": f"{ROLE}preview",
            "AWS_DEPLOY_ROLE": f"{ROLE}deploy",
            "AWS_ROLLBACK_ROLE": f"{ROLE}rollback",
            "PULUMI_BACKEND_URL": f"file://{self.folder.parent}/state",
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        }
        return run(name, self.folder, self.env | self.keys | job | ({"STACK": stack} if stack else {}), **given)

    def client(self, service: str) -> Any:
        """A client of whoever may do anything."""
        make: Any = boto3.client  # the stubs know literal names only
        return make(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 - no secret: the local cloud takes anything
        )

    def records(self, folder: Path) -> list[dict[str, Any]]:
        """The last line of each record of a rollout below a folder."""
        files = sorted(folder.rglob("*.jsonl"))
        return [json.loads(each.read_text().splitlines()[-1]) for each in files]


@pytest.fixture(scope="module")
def project(_local_cloud: None, engine_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A clone of the repository, with a copy of this environment where the workflow makes its own."""
    root = tmp_path_factory.mktemp("workflows")
    folder, stand_ins = root / "web", root / "stand-ins"
    shutil.copytree(ROOT / "infra", folder / "infra", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Pulumi.yaml", "Pulumi.local.yaml", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    _environment(folder / ".venv", stand_ins)
    tools = environment(Work(ROOT, root / "work"), {}, engine=engine_bin)
    keys = {name: value for name, value in tools.items() if name in {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}}
    env = {name: value for name, value in tools.items() if name not in keys and name != "PULUMI_BACKEND_URL"}
    env |= {"PATH": f"{stand_ins}:{engine_bin}:{SYSTEM}", "HOME": str(root), "GITHUB_TOKEN": ""}
    (root / "state").mkdir()
    done = threading.Event()
    with serve(root / "cloud", healthy=True) as served, forge("deployer") as there:
        made = Project(folder, root / "temp", env, keys, there, served.endpoint)
        for stack in ("prod", "staging"):
            _init(made, stack)
        made.git("init", "--quiet")
        made.git("add", "--all", "--", "Pulumi.prod.yaml")
        made.git("commit", "--quiet", "-m", "first")
        made.git("clone", "--quiet", "--bare", ".", str(root / "origin.git"))
        made.git("remote", "add", "origin", str(root / "origin.git"))
        responding = threading.Thread(target=_respond, args=(made, done))
        responding.start()
        yield made
        done.set()
        responding.join()


def _respond(project: Project, done: threading.Event) -> None:
    """Be what listens for the load balancer, as soon as the local cloud has found its port free."""
    balancing = project.client("elbv2")
    while not done.wait(0.2):
        balancers = balancing.describe_load_balancers()["LoadBalancers"]
        arns = [each["LoadBalancerArn"] for each in balancers]
        if any(balancing.describe_listeners(LoadBalancerArn=arn)["Listeners"] for arn in arns):
            break
    else:
        return
    with http.server.ThreadingHTTPServer((front_address("us-east-1"), PORT), Responder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done.wait()
        server.shutdown()


def _environment(venv: Path, stand_ins: Path) -> None:
    """What `python3 -m venv` and `pip install` would make, out of the environment of the tests."""
    (venv / "bin").mkdir(parents=True)
    (venv / "lib").symlink_to(ROOT / ".venv/lib")
    shutil.copy(ROOT / ".venv/pyvenv.cfg", venv)
    for each in (ROOT / ".venv/bin").iterdir():
        (venv / "bin" / each.name).symlink_to(each)
    (venv / "bin/pip").unlink()
    stand_ins.mkdir()
    for path, body in (
        (
            venv / "bin/pip",
            'case "$*" in *"-r requirements.lock"|*"-e .") test -e requirements.lock ;; *) exit 1 ;; esac',
        ),
        (stand_ins / "python3", f'[ "$*" = "-m venv .venv" ] || exec {ROOT}/.venv/bin/python "$@"'),
    ):
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)


def _init(project: Project, stack: str) -> None:
    known = project.env | project.keys | {"PULUMI_BACKEND_URL": f"file://{project.folder.parent}/state"}
    command = ["pulumi", "stack", "init", stack, "--non-interactive"]
    subprocess.run(command, cwd=project.folder, env=known, check=True, capture_output=True)
    project.write(stack, b"one")


def test_a_pull_request_has_one_comment_about_all_stacks(project: Project) -> None:
    """Reviewers would read of one stack only, or find a comment for each; or a preview would need the deploy role."""
    here = project.github
    stacks = here.run("preview", "stacks").outputs["stacks"]
    assert json.loads(stacks) == ["prod", "staging"]
    for stack in json.loads(stacks):
        previewed = here.run("preview", "preview", matrix__stack=stack)
        assert (previewed.failed, previewed.role) == (False, f"{ROLE}preview")
    here.env = {**here.env, "GITHUB_REF": "refs/pull/7/merge"}
    commented = here.run("preview", "comment")
    assert (commented.failed, commented.role) == (False, ""), commented.said
    (body,) = project.forge.bodies
    assert "### `fleetswap/prod`: `web-" in body
    assert "### `fleetswap/staging`: `staging-" in body


def test_a_merge_request_has_a_comment(project: Project) -> None:
    """The same on GitLab; and its jobs would find no role."""
    (project.folder / "Pulumi.staging.yaml").unlink()  # it is never deployed, and would be drift
    project.forge.comments.clear()
    assert project.gitlab("preview", "prod").returncode == 0
    assert project.gitlab("comment").returncode == 0
    (body,) = project.forge.bodies
    assert "### `fleetswap/prod`: `web-" in body


def test_github_deploys_and_keeps_the_record(project: Project) -> None:
    """Nothing would be deployed, or nobody could say afterwards how the rollout went: the runner is gone."""
    here = project.github
    deployed = here.run("deploy", "deploy", matrix__stack="prod")
    assert (deployed.failed, deployed.role) == (False, f"{ROLE}deploy"), deployed.said
    (end,) = project.records(here.artifacts["rollouts-prod-1"])
    assert end["line"] == "end"


def test_a_commit_that_is_no_longer_the_newest_is_refused(project: Project) -> None:
    """Who approves a run that has waited would put an older commit in the place of a newer one."""
    here = project.github
    project.git("commit", "--quiet", "--allow-empty", "-m", "newer")
    project.git("push", "--quiet", "origin", "main")
    refused = here.run("deploy", "deploy", matrix__stack="prod")
    assert (refused.failed, refused.role) == (True, "")
    assert "approve its run" in refused.said
    assert "pulumi" not in refused.said
    assert here.artifacts == {}


def test_drift_opens_an_issue_that_is_closed_when_it_is_gone(project: Project) -> None:
    """Somebody's change in the console would stay unknown, or the issue open after it has been undone."""
    client = project.client("autoscaling")
    (group,) = (each["AutoScalingGroupName"] for each in client.describe_auto_scaling_groups()["AutoScalingGroups"])
    client.update_auto_scaling_group(AutoScalingGroupName=group, MinSize=0)
    for change in ("opened", "closed"):
        here = project.github
        compared = here.run("drift", "preview", matrix__stack="prod")
        assert (compared.failed, compared.role) == (False, f"{ROLE}preview"), compared.said
        said = here.run("drift", "issue").said
        assert f"the issue is {change}" in said
        if change == "opened":
            (issue,) = project.forge.open_issues
            assert "the fleet has drifted: web-" in issue
            assert "minimum of 0, instead of 1" in issue
            assert project.gitlab("issue").returncode == 0  # the previews are still there
            assert len(project.forge.open_issues) == 1
        client.update_auto_scaling_group(AutoScalingGroupName=group, MinSize=1)
    assert project.forge.open_issues == []


def test_gitlab_compares_and_deploys(project: Project) -> None:
    """The nightly job of GitLab would end at its first preview that fails, or nothing would be deployed there."""
    project.write("prod", b"two")
    assert project.gitlab("drift", "prod").returncode == 0
    assert project.gitlab("issue").returncode == 0
    assert "Drift: fleetswap/prod" in project.forge.open_issues[0]  # a commit that nobody has deployed
    assert project.gitlab("deploy", "prod").returncode == 0
    (end,) = project.records(project.folder / "state/fleetswap/rollouts")
    assert end["line"] == "end"


def test_both_roll_back_with_one_input(project: Project) -> None:
    """Whoever is woken at night would need a shell with credentials, or Pulumi's state."""
    (project.folder.parent / "state").rename(project.folder.parent / "lost")
    here = project.github
    back = here.run("rollback", "rollback", inputs__stack="prod")
    assert (back.failed, back.role) == (False, f"{ROLE}rollback"), back.said
    assert "has all the traffic of web" in back.said
    assert len(project.records(here.artifacts["rollback-prod-1"])) == 1
    again = project.gitlab("rollback", rollback="prod")
    assert again.returncode == 0
    assert "has all the traffic of web" in again.stdout
