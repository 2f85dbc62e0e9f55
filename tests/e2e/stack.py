"""The stack `local`, driven as a user drives it, in a work folder, on ports and in a network of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.config import Config

from tests.e2e.users import Users
from tools.local.config import front_address
from tools.local.process import environment, running
from tools.local.work import STACK, Work

ROOT = Path(__file__).resolve().parents[2]
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Each worker of `make test` has ports and addresses of its own: two stacks are up at a time."""
PORT = 4611 + 10 * WORKER
LISTENER_PORT = 8581 + WORKER


def committed() -> dict[str, Any]:
    """The committed settings. Some tests change what is in them, so each stack has its own."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())["config"]
    return config


ROLLOUT = committed()["fleetswap:rollout"] | {"deadline": 600}
"""The committed rollout, on a busy computer."""

GET_USER = "iam:GetUser"
"""May be refused: the AWS provider then asks STS for the account."""


@dataclass
class Ran:
    """A command that has ended. `said` is all that it printed."""

    status: int
    said: str


def run_printed(command: list[str], *, cwd: Path, env: Mapping[str, str], seconds: float) -> Ran:
    """Run a command to its end and print what it said, for the report of a test that fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    print(done.stdout)
    return Ran(done.returncode, done.stdout)


def engine_folder() -> Path:
    """The directory of `pulumi`, as `make` finds it."""
    found = subprocess.run([ROOT / "engine/find-or-build"], check=True, stdout=subprocess.PIPE, text=True)
    return Path(found.stdout.strip())


class LocalStack:
    """Runs the verbs of the Makefile; `settings` are laid over Pulumi.local.yaml."""

    def __init__(
        self,
        folder: Path,
        *,
        has_users: bool = False,
        has_secrets: bool = False,
        region: str = "us-east-1",
        port: int = PORT,
        **settings: Any,
    ) -> None:
        """With users, every verb and command has the permissions that `fleetswap permissions` prints, and no others.

        Without secrets the image is one that boots sooner. `port` is that of the local cloud of `region`.
        """
        self.folder = folder
        self.has_users = has_users
        self.region, self.port = region, port
        self._users = Users(folder, PORT)
        self.told: list[tuple[str, str, str]] = []
        """What each verb has printed, with its version, for the test of the tutorial."""
        self.config = committed() | {"aws:region": region}
        if not has_secrets:
            self.set(secrets=None)
        # On a busy computer a machine that boots for longer than the committed grace would be replaced for ever.
        self.set(health=self.config["fleetswap:health"] | {"grace": 600}, rollout=ROLLOUT)
        # Beside a stack that a developer has up: other ports, other addresses.
        self.set(front={"port": LISTENER_PORT}, network={"cidr": f"10.{78 + WORKER}.0.0/16"}, **settings)

    @property
    def url(self) -> str:
        return f"http://{front_address(self.region)}:{LISTENER_PORT}/"

    def set(self, **settings: Any) -> None:
        """Change settings; None takes one away."""
        for key, value in settings.items():
            self.config[f"fleetswap:{key}"] = value
        self.config = {key: value for key, value in self.config.items() if value is not None}

    def start(self, verb: str, *, version: str = "") -> subprocess.Popen[str]:
        file = self.folder / "settings.yaml"
        file.write_text(yaml.safe_dump({"config": self.config}))
        if verb in {"up", "preview"} and self.has_users:
            self._users.update(self.config)
        given = {
            "VERSION": version,
            "PORT": str(self.port),
            "FLEETSWAP_WORK": str(self.folder),
            "FLEETSWAP_SETTINGS": str(file),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "tools.local", verb],
            cwd=ROOT,
            env=os.environ | given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,  # as a shell starts what a person may interrupt
        )

    def run(self, verb: str, *, version: str = "") -> Ran:
        """Run a verb to its end and print what it said, for the report of a test that fails."""
        process = self.start(verb, version=version)
        try:
            said, _ = process.communicate(timeout=1500)
        except subprocess.TimeoutExpired:
            self.kill_deployers(process)  # or it would hold its lock against the tests that follow
            raise
        print(said)
        self.told.append((verb, version, self._users.started + said))
        return Ran(process.returncode, said)

    def pulumi(self, *words: str) -> Ran:
        """Run pulumi itself on the stack, as someone does who goes past `make` and its lock.

        With the configuration of the last update: without one, pulumi writes into the committed file.
        """
        config = [] if words[0] == "stack" else ["--config-file", str(Work(ROOT, self.folder).config)]
        return self._run(["pulumi", *words, "--stack", STACK, *config, "--non-interactive"])

    def fleetswap(self, *words: str, cwd: Path | None = None) -> Ran:
        """Run the command line of Fleetswap; unless told, from a folder that is no Pulumi project."""
        return self._run([sys.executable, "-m", "fleetswap", *words], cwd=cwd or self.folder, profile="rollback")

    def _run(self, command: list[str], *, cwd: Path = ROOT, profile: str = "deploy") -> Ran:
        env = environment(Work(ROOT, self.folder), os.environ, engine=self._engine, profile=profile, region=self.region)
        return run_printed(command, cwd=cwd, env=env, seconds=300)

    @cached_property
    def _engine(self) -> Path:
        return engine_folder()

    def client(self, service: str) -> Any:
        """A client of the local cloud, which does not give up when it is told to fail."""
        return boto3.client(
            service,  # type: ignore[call-overload] # the stubs know literal names only
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name=self.region,
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 - no secret: the local cloud takes anything
            config=Config(retries={"mode": "standard", "total_max_attempts": 10}),
        )

    def denials(self) -> list[tuple[str, str, str]]:
        """What the users were denied: who, the action, the resource; besides what may be refused."""
        asked = self.admin("GET", "authorizations")["authorizations"]
        return [
            (one["principal"], one["action"], one["resource"])
            for one in asked
            if not one["allowed"] and ":user/" in one["principal"] and one["action"] != GET_USER
        ]

    def admin(self, method: str, path: str, asked: object = None) -> dict[str, Any]:
        """Ask the local cloud's own endpoint; see `localcloud.admin`."""
        body = None if asked is None else json.dumps(asked).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/_localcloud/{path}", data=body, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    @cached_property
    def _elbv2(self) -> Any:
        return self.client("elbv2")

    @cached_property
    def _listener(self) -> str:
        """ARN of the stack's listener, which stays as long as the stack does."""
        (balancer,) = self._elbv2.describe_load_balancers()["LoadBalancers"]
        (listener,) = self._elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
        return str(listener["ListenerArn"])

    def weights(self) -> dict[str, int]:
        """The weights by release, as the listener's rule has them now; without those of 0."""
        rules = self._elbv2.describe_rules(ListenerArn=self._listener)["Rules"]
        return {
            "-".join(group["TargetGroupArn"].split("/")[1].split("-")[:2]): group["Weight"]
            for rule in rules
            if rule["Priority"] == "50000"
            for group in rule["Actions"][0]["ForwardConfig"]["TargetGroups"]
            if group["Weight"]
        }

    def tags_of_groups(self) -> dict[str, dict[str, str]]:
        """The tags of each auto scaling group."""
        groups = self.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
        return {group["AutoScalingGroupName"]: {tag["Key"]: tag["Value"] for tag in group["Tags"]} for group in groups}

    def schedules(self) -> list[str]:
        """The dead man's switches that are armed."""
        return [schedule["Name"] for schedule in self.client("scheduler").list_schedules()["Schedules"]]

    def deployers(self) -> list[int]:
        """The processes that pulumi has started for this stack, and itself; not the local cloud's."""
        return self.running("")

    def running(self, command: str) -> list[int]:
        """The deployers with this in their command."""
        return running(Work(ROOT, self.folder), re.compile(re.escape(command)))

    def interrupt(self, started: subprocess.Popen[str]) -> None:
        """Ctrl-C: what runs in the foreground gets the signal, pulumi too; what has a group of its own does not."""
        os.killpg(started.pid, signal.SIGINT)

    def kill_deployers(self, started: subprocess.Popen[str]) -> int:
        """End everything of an update at once, as the death of its machine does; how many processes that were."""
        started.kill()
        killed: set[int] = set()
        deadline = time.monotonic() + 30
        while (pids := self.deployers()) and time.monotonic() < deadline:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                killed.add(pid)
            time.sleep(0.05)
        said, _ = started.communicate(timeout=30)
        print(said)
        return len(killed)

    def get(self, path: str = "", **headers: str) -> str:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers), timeout=10) as answer:
            return str(answer.read().decode().strip())

    def serves(self, version: str) -> bool:
        """Whether ten answers in a row are of this version, soon: the nodes of the balancer follow the rule late.

        Until then a node may still ask the version that was put back, which may give no answer at all.
        """
        right, deadline = 0, time.monotonic() + 120
        while right < 10 and time.monotonic() < deadline:
            try:
                right = right + 1 if self.get().startswith(f"version {version} ") else 0
            except OSError:
                right = 0
            time.sleep(0.1)
        return right == 10

    def groups(self) -> list[str]:
        """The auto scaling groups of the machines that run, one entry a machine."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_localcloud/status", timeout=10) as answer:
            return [instance["group"] for instance in json.load(answer)["instances"] if instance["state"] == "running"]

    def processes(self) -> list[str]:
        """The command lines of all processes that were started for this stack."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                command = (entry / "cmdline").read_bytes() + b"\0" + (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(self.folder).encode() in command:
                found.append(command.split(b"\0\0")[0].replace(b"\0", b" ").decode(errors="replace")[:200])
        return found
