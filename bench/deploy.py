"""Deploys the demo on the local cloud, through a canary and back again, and prints what each phase took.

It decides what is deployed and when each moment was seen, from outside, by asking the local cloud; `bench.phases` what
counts as reached. It works as `make up` does, in a folder, on ports and in a network of its own, and leaves nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import boto3
import yaml
from botocore.exceptions import BotoCoreError, ClientError

from bench import figures, phases
from bench.phases import Timeline
from bench.upload import Refused, machine

ROOT = Path(__file__).resolve().parent.parent
PORT = 4621
LISTENER_PORT = 8191
CIDR = "10.76.0.0/16"

HOLD = 20
WEIGHTS = (10, 25, 50)
CANARY = [{"weight": weight, "hold": HOLD} for weight in WEIGHTS]
LOOK_EVERY = 0.2
"""Seconds between two looks. Each costs the local cloud some milliseconds, which the deploy must not be slowed by."""


class Watch:
    """Looks at the local cloud while an update runs, and keeps when each moment was first seen."""

    def __init__(self, endpoint: str) -> None:
        account = boto3.Session(
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 (no secret: the local cloud takes anything)
            region_name="us-east-1",
        )
        self._scaling: Any = account.client("autoscaling", endpoint_url=endpoint)
        self._elb: Any = account.client("elbv2", endpoint_url=endpoint)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.moments: dict[str, float] = {}

    def __enter__(self) -> Watch:
        self._before = self._machines()
        self._listeners = [
            listener["ListenerArn"]
            for balancer in self._elb.describe_load_balancers()["LoadBalancers"]
            for listener in self._elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
        ]
        self._weights = self._shares()
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_EVERY):
            with suppress(BotoCoreError, ClientError):  # a moment that was missed is seen at the next look
                self._look()

    def _look(self) -> None:
        for group, (machines, wanted, target_groups) in self._machines().items():
            if set(machines) - set(self._before.get(group, ((), 0, ()))[0]):
                self._saw("launched")
                healthy = 0 if "all_healthy" in self.moments else self._healthy(target_groups)
                if healthy:
                    self._saw("first_healthy")
                if healthy and healthy >= wanted:
                    self._saw("all_healthy")
        weights = self._shares()
        if weights != self._weights:
            self._saw("shifted")
            if len(weights) == 1:
                self._saw("arrived")

    def _saw(self, moment: str) -> None:
        self.moments.setdefault(moment, time.monotonic() - self._started)

    def _machines(self) -> dict[str, tuple[tuple[str, ...], int, tuple[str, ...]]]:
        """Of each group: its machines, how many it wants, its target groups."""
        return {
            group["AutoScalingGroupName"]: (
                tuple(machine["InstanceId"] for machine in group["Instances"]),
                group["DesiredCapacity"],
                tuple(group["TargetGroupARNs"]),
            )
            for group in self._scaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        }

    def _healthy(self, target_groups: tuple[str, ...]) -> int:
        found = [
            target["TargetHealth"]["State"]
            for arn in target_groups
            for target in self._elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        ]
        return found.count("healthy")

    def _shares(self) -> dict[str, int]:
        """The weights above 0 of the rule that carries them: the one without a preview header."""
        shares: dict[str, int] = {}
        for listener in self._listeners:
            for rule in self._elb.describe_rules(ListenerArn=listener)["Rules"]:
                forward = rule["Actions"][0].get("ForwardConfig")
                if forward and not any(each["Field"] == "http-header" for each in rule["Conditions"]):
                    shares |= {each["TargetGroupArn"]: each["Weight"] for each in forward["TargetGroups"]}
        return {arn: weight for arn, weight in shares.items() if weight}


class Demo:
    """The demo's stack, or that of another expression, driven by the verbs of the Makefile."""

    def __init__(
        self,
        folder: Path,
        *,
        expression: str = "nix/demo",
        strategy: object = CANARY,
        grace: int | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        """`more` are settings that are laid over those of the demo."""
        folder.mkdir(parents=True, exist_ok=True)
        config = yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())["config"]
        config.pop("fleetswap:secrets", None)  # the goals are of machines that boot alone
        config["fleetswap:front"] = {"port": LISTENER_PORT}
        config["fleetswap:network"] = {"cidr": CIDR}
        config["fleetswap:rollout"] |= {
            "strategy": strategy,
            # Holds and nothing else: how long the figures of requests are waited for is CloudWatch's, not ours.
            "errors": None,
            "bake": 0,
            "deadline": 300,
        }
        config["fleetswap:image"]["nix"]["expression"] = expression
        if grace is not None:
            config["fleetswap:health"]["grace"] = grace
        config |= {f"fleetswap:{name}": value for name, value in (more or {}).items()}
        settings = folder / "settings.yaml"
        settings.write_text(yaml.safe_dump({"config": config}))
        self._env = os.environ | {
            "PORT": str(PORT),
            "FLEETSWAP_WORK": str(folder),
            "FLEETSWAP_SETTINGS": str(settings),
        }

    def run(self, verb: str, *, version: str = "") -> tuple[int, str]:
        """Run a verb to its end; its exit status and what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "tools.local", verb],
            cwd=ROOT,
            env=self._env | {"VERSION": version},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def watched(self, name: str, verb: str, *, version: str = "", holds: float = 0.0) -> Timeline:
        """Run a verb, and see what happens meanwhile."""
        _say(f"{name} …")
        with Watch(f"http://127.0.0.1:{PORT}") as watch:
            started = time.monotonic()
            status, said = self.run(verb, version=version)
            total = time.monotonic() - started
        problem = "" if status == 0 else f"`make {verb}` exited with status {status}: {_error(said)}"
        rollout, sent = phases.phases_of(said), phases.sent_of(said)
        return Timeline(name, total, holds=holds, rollout=rollout, problem=problem, sent=sent, **watch.moments)


def deploy(folder: Path, report: Path | None) -> None:
    """Deploy twice and go back, print the tables, and write all figures to the file `report`."""
    before = machine()
    demo = Demo(folder)
    try:
        _say("the first deploy …")
        status, said = demo.run("up", version="1")
        if status != 0:
            raise Refused(f"the first deploy failed: {_error(said)}")
        canary = demo.watched(f"canary {_steps()}", "up", version="2", holds=float(HOLD * len(WEIGHTS)))
        back = demo.watched("warm rollback", "rollback")
    finally:
        demo.run("down")
    reached = phases.goals(canary, back)
    if report:
        report.write_text(json.dumps(_report(before, [canary, back], reached), indent=1) + "\n")
    lines = [
        figures.table([["update", "phase", ""], *canary.rows(), *back.rows()]),
        "",
        figures.table([["goal", "", "", ""], *(goal.cells() for goal in reached)]),
        "",
        ", ".join(f"{key}: {value}" for key, value in before.items()),
        *(line.problem for line in (canary, back) if line.problem),
    ]
    print("\n".join(lines))  # noqa: T201 (what the command is for)


def _steps() -> str:
    return ", ".join(f"{weight} % for {HOLD} s" for weight in WEIGHTS)


def _report(before: dict[str, str], lines: list[Timeline], reached: list[phases.Goal]) -> dict[str, object]:
    return {
        "machine": before,
        "updates": [asdict(line) for line in lines],
        "goals": [
            {"text": goal.text, "seconds": goal.seconds, "most": goal.most, "verdict": goal.verdict} for goal in reached
        ],
    }


def _error(said: str) -> str:
    """The line of what was said that tells what went wrong."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next((line for line in lines if "error:" in line), lines[-1] if lines else "no message")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 (progress of a command-line program)
