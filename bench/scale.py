"""Times a preview and an unchanged update of one service, in an account that has 50 services of 3 releases each.

A service is a stack of its own, so what 50 of them take is 50 times what one takes, whatever the others are: they are
in the account, where its program finds what is its own. One is deployed in three releases; of the others, there are the
resources that have the tags by which programs and commands look for a service, made with plain calls.

It is compared with the engine's own time: that of a Python program of as many resources that only declares them, with
the same plugins. Both are timed in turn, because the machine is never as quick twice.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import boto3

from bench.deploy import PORT, ROOT, Demo
from bench.sections import Goal, Section, say, show
from bench.upload import Refused, machine

SERVICES, RELEASES = 50, 3
RATIO, SECONDS = 1.5, 5.0
"""Of the engine's own time, for a preview; of one preview, and of one update that changes nothing."""

PLAIN = """
import pulumi
import pulumi_aws as aws
from pulumi.dynamic import CreateResult, Resource, ResourceProvider

class Nothing(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, props):
        return CreateResult("1", props)

class Plain(Resource):
    def __init__(self, name, opts):
        super().__init__(Nothing(), name, {"size": 1}, opts)

config = pulumi.Config()
endpoint = config.require("endpoint")
provider = aws.Provider(
    "aws",
    region="us-east-1",
    access_key="local",
    secret_key="local",
    skip_credentials_validation=True,
    skip_metadata_api_check=True,
    endpoints=[dict.fromkeys(("autoscaling", "ec2", "elbv2", "iam", "sts"), endpoint)],
)
network = aws.ec2.Vpc("plain", cidr_block="10.99.0.0/16", opts=pulumi.ResourceOptions(provider=provider))
for number in range(config.require_int("components")):
    pulumi.ComponentResource("plain:index:Component", f"plain-{number}")
for number in range(config.require_int("dynamic")):
    Plain(f"plain-{number}", pulumi.ResourceOptions())
for number in range(config.require_int("aws") - 1):
    opts = pulumi.ResourceOptions(provider=provider)
    aws.ec2.SecurityGroup(f"plain-{number}", vpc_id=network.id, description="plain", tags={"Name": "plain"}, opts=opts)
"""


class Pulumi:
    """Runs pulumi as the verbs of the Makefile do, without what these do beside it."""

    def __init__(self, folder: Path) -> None:
        engine = subprocess.run(
            [ROOT / "engine" / "find-or-build"], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()
        self._env = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PULUMI_"))} | {
            "PATH": os.pathsep.join([engine, str(ROOT / ".venv" / "bin"), os.environ["PATH"], "/usr/sbin", "/sbin"]),
            "PULUMI_HOME": str(ROOT / ".work" / "pulumi"),
            "PULUMI_BACKEND_URL": (folder / "state").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "local",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        }

    def __call__(self, *words: str, cwd: Path = ROOT) -> tuple[float, str]:
        """Seconds that it took, and what it said. Raises `Refused` if it failed."""
        started = time.monotonic()
        done = subprocess.run(
            ["pulumi", *words, "--non-interactive"],
            cwd=cwd,
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Refused(f"pulumi {words[0]} failed: {done.stdout[-600:]}")
        return time.monotonic() - started, done.stdout


def scale(folder: Path, report: Path | None, *, quick: bool) -> None:
    """Deploy, measure, print the table, and write all figures to the file `report`."""
    before = machine()
    shutil.rmtree(folder, ignore_errors=True)  # what a run that was killed left
    demo = Demo(
        folder,
        strategy="all-at-once",
        more={
            "capacity": {"min": 1, "max": 4},
            "retention": {"warm": RELEASES - 1, "images": 0, "min_age": "0m"},
        },
    )
    try:
        for version in range(1, RELEASES + 1):
            say(f"deploying release {version} of {RELEASES} …")
            status, said = demo.run("up", version=str(version))
            if status:
                raise Refused(f"a deploy failed: {said[-600:]}")
        say(f"filling the account with {SERVICES - 1} more services …")
        _fill(f"http://127.0.0.1:{PORT}")
        section = _measured(Pulumi(folder), folder, 3 if quick else 7)
    finally:
        demo.run("down")
        shutil.rmtree(folder, ignore_errors=True)
    show(section)
    if report:
        report.write_text(json.dumps({"machine": before, "section": asdict(section)}, indent=1) + "\n")
    print(", ".join(f"{key}: {value}" for key, value in before.items()))  # noqa: T201 (what the command is for)


def _measured(pulumi: Pulumi, folder: Path, rounds: int) -> Section:
    # The stack's files, as tools/local keeps them in its work folder.
    config = str(folder / "Pulumi.local.yaml")
    stack = json.loads(pulumi("stack", "export", "--stack", "local")[1])["deployment"]["resources"]
    ledger = next(each["outputs"]["ledger"] for each in stack if each["type"] == "pulumi:pulumi:Stack")
    if len(ledger["entries"]) != RELEASES:
        raise Refused(f"the ledger has {len(ledger['releases'])} releases, and not {RELEASES}")
    plain = _plain(pulumi, folder / "plain", [each["type"] for each in stack])
    once: dict[str, Callable[[], float]] = {
        "plain": lambda: pulumi("preview", "--stack", "plain", cwd=plain)[0],
        "preview": lambda: _unchanged(pulumi("preview", "--stack", "local", "--config-file", config)),
        "up": lambda: _unchanged(pulumi("up", "--yes", "--skip-preview", "--stack", "local", "--config-file", config)),
    }
    taken: dict[str, list[float]] = {name: [] for name in once}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds} …")
        for name, run in once.items():
            taken[name].append(run())
    seconds = {name: statistics.median(each) for name, each in taken.items()}
    ratio = statistics.median(ours / own for ours, own in zip(taken["preview"], taken["plain"], strict=True))
    words = {
        "plain": f"preview of a program that only declares {len(stack)} resources",
        "preview": f"preview of a service of {RELEASES} releases, {len(stack)} resources",
        "up": "update that changes nothing",
    }
    rows = [["", "median", "from", "to"]] + [
        [words[name], f"{seconds[name]:.1f} s", f"{min(each):.1f} s", f"{max(each):.1f} s"]
        for name, each in taken.items()
    ]
    goals = [
        Goal(f"preview: at most {RATIO} times the engine's own time (median of pairs)", f"{ratio:.2f}", ratio <= RATIO),
        Goal(f"preview: at most {SECONDS:.0f} s", f"{seconds['preview']:.1f} s", seconds["preview"] <= SECONDS),
        Goal(f"update: at most {SECONDS:.0f} s", f"{seconds['up']:.1f} s", seconds["up"] <= SECONDS),
    ]
    return Section(f"One of {SERVICES} services of {RELEASES} releases", rows, goals)


def _unchanged(ran: tuple[float, str]) -> float:
    """How long it took, of an update that did nothing."""
    seconds, said = ran
    summary = said.partition("Resources:")[2]
    if "unchanged" not in summary or any(f" {sign} " in summary for sign in "+-~"):
        raise Refused(f"it was to change nothing: {said[-600:]}")
    return seconds


def _plain(pulumi: Pulumi, folder: Path, types: Sequence[str]) -> Path:
    """The folder of the plain program, deployed, with as many resources of each kind as the stack has."""
    folder.mkdir()
    (folder / ".venv").symlink_to(ROOT / ".venv")
    (folder / "Pulumi.yaml").write_text("name: plain\nruntime: {name: python, options: {virtualenv: .venv}}\n")
    (folder / "__main__.py").write_text(PLAIN)
    aws = sum(each.startswith("aws:") for each in types)
    dynamic = sum(each.startswith("pulumi-python:") for each in types)
    # Besides, the plain program has the stack, the provider and that of the dynamic ones. The rest is made up for.
    numbers = {"aws": aws, "dynamic": dynamic, "components": len(types) - aws - dynamic - 3}
    pulumi("stack", "init", "plain", cwd=folder)
    for name, value in {**numbers, "endpoint": f"http://127.0.0.1:{PORT}"}.items():
        pulumi("config", "set", name, str(value), "--stack", "plain", cwd=folder)
    pulumi("up", "--yes", "--skip-preview", "--stack", "plain", cwd=folder)
    made = json.loads(pulumi("stack", "export", "--stack", "plain", cwd=folder)[1])["deployment"]["resources"]
    if len(made) != len(types):
        raise Refused(f"the plain program has {len(made)} resources, and the stack {len(types)}")
    return folder


def _fill(endpoint: str) -> None:
    """Make, of each other service, what every release has: an AMI, a target group, a launch template, a group."""
    session = boto3.Session("local", "local", region_name="us-east-1")
    clients: dict[str, Any] = {}
    for name in ("ec2", "elbv2", "autoscaling"):
        make: Any = session.client  # the stubs know literal names only
        clients[name] = make(name, endpoint_url=endpoint)
    network = clients["ec2"].describe_subnets()["Subnets"][0]
    snapshot = clients["ec2"].describe_snapshots(OwnerIds=["self"])["Snapshots"][0]["SnapshotId"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda release: _make(clients, network, snapshot, release), _others()))


def _others() -> Iterator[tuple[str, str]]:
    """The releases of the other services: the service, and the release."""
    for service in range(1, SERVICES):
        for release in range(RELEASES):
            yield f"s{service}", f"s{service}-{release:08x}"


def _make(clients: dict[str, Any], network: dict[str, Any], snapshot: str, of: tuple[str, str]) -> None:
    service, release = of
    values = {"Name": release, "fleetswap:stack": f"shop/{service}", "fleetswap:service": service}
    values |= {"fleetswap:release": release, "fleetswap:image": f"/nix/store/{release}"}
    tags = [{"Key": key, "Value": value} for key, value in values.items()]
    ec2, elbv2, scaling = clients["ec2"], clients["elbv2"], clients["autoscaling"]
    image = ec2.register_image(
        Name=release,
        Architecture="x86_64",
        RootDeviceName="/dev/xvda",
        VirtualizationType="hvm",
        EnaSupport=True,
        BootMode="uefi",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot, "VolumeType": "gp3"}}],
        TagSpecifications=[{"ResourceType": "image", "Tags": tags}],
    )["ImageId"]
    target = elbv2.create_target_group(Name=release, Protocol="HTTP", Port=80, VpcId=network["VpcId"], Tags=tags)
    ec2.create_launch_template(
        LaunchTemplateName=release,
        LaunchTemplateData={"ImageId": image, "InstanceType": "c7i.large"},
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": tags}],
    )
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=release,
        MinSize=0,
        MaxSize=0,
        LaunchTemplate={"LaunchTemplateName": release, "Version": "1"},
        VPCZoneIdentifier=network["SubnetId"],
        TargetGroupARNs=[target["TargetGroups"][0]["TargetGroupArn"]],
        Tags=[
            {**tag, "PropagateAtLaunch": True, "ResourceType": "auto-scaling-group", "ResourceId": release}
            for tag in tags
        ],
    )
