"""A preview of the present program, with the real engine, of a stack that an earlier version deployed."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes.ebs import disk_file
from tests.states.old import V0_1
from tests.states.replay import Replay, replay
from tools.local.config import SALT, configuration
from tools.local.process import environment
from tools.local.work import PROJECT, STACK, Work

ROOT = Path(__file__).resolve().parents[2]


OFFERS_ASKED = {
    "LocationType": "availability-zone",
    "Filter.1.Name": "instance-type",
    "Filter.1.Value.1": "c7a.large",
    "Filter.1.Value.2": "c7i.large",
    "Filter.2.Name": "location",
    "Filter.2.Value.1": "us-east-1a",
    "Filter.2.Value.2": "us-east-1b",
}
"""What is asked of a release that is new, by DescribeInstanceTypeOfferings."""

TYPES_ASKED = {
    "Filter.1.Name": "instance-type",
    "Filter.1.Value.1": "c7a.large",
    "Filter.1.Value.2": "c7i.large",
}
"""And by DescribeInstanceTypes."""


IMAGES_ASKED = {
    "Owner.1": "self",
    "Filter.1.Name": "tag:fleetswap:stack",
    "Filter.1.Value.1": "fleetswap/local",
    "Filter.2.Name": "tag:fleetswap:service",
    "Filter.2.Value.1": "web",
}
"""And by DescribeImages, before another release takes its place."""


class Imported:
    """The stack in a new backend, whose state was imported."""

    def __init__(self, folder: Path, engine: Path, aws: Replay) -> None:
        self._aws = aws
        self._config = folder / f"Pulumi.{STACK}.yaml"
        work = Work(root=ROOT, folder=folder)
        self._env = environment(work, {"PATH": "/usr/bin:/bin"}, engine=engine) | {"PULUMI_HOME": str(folder / "home")}
        # The state is the stand-in's, also where the user has the official plugin.
        plugin = folder / "home/plugins" / f"resource-aws-v{metadata.version('pulumi-aws')}"
        plugin.mkdir(parents=True)
        (plugin / "pulumi-resource-aws").symlink_to(ROOT / "engine/bin/pulumi-resource-aws")
        work.state.mkdir()
        # A folder of its own: `stack init` writes settings beside Pulumi.yaml.
        (folder / "Pulumi.yaml").write_text(f"name: {PROJECT}\nruntime: python\n")
        self._config.write_text(f'encryptionsalt: "{SALT}"\n')
        self.run("stack", "init", STACK, cwd=folder)
        (folder / "state.json").write_text(V0_1.text(aws.endpoint))
        self.run("stack", "import", "--stack", STACK, "--file", str(folder / "state.json"), cwd=folder)
        self.configure({"fleetswap:release": V0_1.ledger["live"]})

    def configure(self, changes: dict[str, Any]) -> None:
        """Write the settings of then, with changes."""
        settings = {"config": {**V0_1.settings["config"], **changes}}
        self._config.write_text(yaml.safe_dump(configuration(settings, {}, port=self._aws.server_port)))

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, as its state has them."""
        found: dict[str, Any] = json.loads(self.run("stack", "output", "--stack", STACK, "--json"))
        return found

    def run(self, *args: str, cwd: Path = ROOT) -> str:
        """What `pulumi` says; it must end well, and ask AWS nothing that was not recorded."""
        command = ["pulumi", *args, "--non-interactive"]
        done = subprocess.run(command, cwd=cwd, env=self._env, capture_output=True, text=True, check=False)
        assert self._aws.refused == [], done.stdout + done.stderr
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def preview(self, *verb: str) -> str:
        """What a preview says."""
        return self.run(*verb, "--stack", STACK, "--config-file", str(self._config), "--suppress-progress")


@pytest.fixture(scope="module")
def aws() -> Iterator[Replay]:
    """AWS as it was when the state was written."""
    with replay(V0_1.answers) as server:
        yield server


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, engine_bin: Path, aws: Replay) -> Imported:
    return Imported(tmp_path_factory.mktemp("stack"), engine_bin, aws)


GROUPS_GET = {"capacityRebalance", "instanceMaintenancePolicy"}
"""What newer versions set of the groups that run, in place."""


def test_an_upgrade_makes_preview_headers_secret_and_changes_nothing_else(stack: Imported) -> None:
    """The first deploy after an upgrade would change, or replace, what no one has asked it to."""
    said = stack.preview("preview")
    all_but_default_providers = [each for each in V0_1.resources() if not each["urn"].endswith("::default")]
    assert told(said) == ["~ 5 to update", f"{len(all_but_default_providers) - 5} unchanged"], said
    assert len(re.findall(r"~ .*PreviewRule web-\w+ update", said)) == 2, said
    # There is a tag more by which rollouts speak to each other: it is not drift.
    assert re.findall(r"providers:aws aws update \[diff: (.+)\]", said) == ["~ignoreTags"], said
    groups = re.findall(r"~ .*autoscaling:Group web-\w+ update \[diff: ([^\]]+)\]", said)
    assert [set(re.findall(r"\w+", each)) for each in groups] == [GROUPS_GET] * 2, said
    outputs = said.partition("Outputs:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split(":")[0].strip() for line in outputs] == ["+ preview"], said


def test_a_refresh_finds_nothing_changed(stack: Imported) -> None:
    """The launcher of dynamic providers would not find what the state names, so nothing could be read or deleted."""
    said = stack.preview("refresh", "--preview-only", "--target", "**dynamic/fleetswap:**")
    dynamic = [each for each in V0_1.resources() if "dynamic/fleetswap:" in each["urn"]]
    assert told(said) == [f"{len(dynamic)} unchanged"], said


def test_an_update_of_something_else_leaves_the_ledger(tmp_path: Path, engine_bin: Path) -> None:
    """With a new image in the settings, `up --target` would write "unknown" over the ledger: no update works then."""
    offers = "".join(
        f"<item><instanceType>{each}</instanceType><location>us-east-1a</location></item>"
        for each in V0_1.settings["config"]["fleetswap:machine"]["instance_types"]
    )
    kind = "DescribeInstanceTypeOfferings"
    asked = {"service": "ec2", "action": kind, "params": OFFERS_ASKED}
    answer = f"<{kind}Response><instanceTypeOfferingSet>{offers}</instanceTypeOfferingSet></{kind}Response>"
    recorded = {**asked, "status": 200, "headers": {"Content-Type": "text/xml"}, "body": answer}
    facts = "".join(
        f"<item><instanceType>{each}</instanceType>"
        "<processorInfo><supportedArchitectures><item>x86_64</item></supportedArchitectures></processorInfo>"
        "<supportedBootModes><item>legacy-bios</item><item>uefi</item></supportedBootModes>"
        "<networkInfo><enaSupport>required</enaSupport></networkInfo><nitroTpmSupport>supported</nitroTpmSupport></item>"
        for each in V0_1.settings["config"]["fleetswap:machine"]["instance_types"]
    )
    answer = (
        f"<DescribeInstanceTypesResponse><instanceTypeSet>{facts}</instanceTypeSet></DescribeInstanceTypesResponse>"
    )
    types = {**recorded, "action": "DescribeInstanceTypes", "params": TYPES_ASKED, "body": answer}
    live = V0_1.ledger["live"]
    tags = {"fleetswap:release": live, "fleetswap:image": "sha256:12"}
    described = "".join(f"<item><key>{key}</key><value>{value}</value></item>" for key, value in tags.items())
    image = f"<item><imageId>ami-1</imageId><imageState>available</imageState><tagSet>{described}</tagSet></item>"
    images = {
        **recorded,
        "action": "DescribeImages",
        "params": IMAGES_ASKED,
        "body": f"<DescribeImagesResponse><imagesSet>{image}</imagesSet></DescribeImagesResponse>",
    }
    defaults = {
        "GetEbsEncryptionByDefault": "<ebsEncryptionByDefault>false</ebsEncryptionByDefault>",
        "GetEbsDefaultKmsKeyId": "<kmsKeyId>alias/aws/ebs</kmsKeyId>",
    }
    encryption = [
        {**recorded, "action": name, "params": {}, "body": f"<{name}Response>{body}</{name}Response>"}
        for name, body in defaults.items()
    ]
    with replay([*V0_1.answers, recorded, types, images, *encryption]) as aws:
        stack = Imported(tmp_path, engine_bin, aws)
        before = stack.outputs()
        stack.configure({"fleetswap:image": {"file": str(disk_file(tmp_path / "new.raw"))}})
        (vpc,) = (each["urn"] for each in V0_1.resources() if each["type"] == "aws:ec2/vpc:Vpc")
        said = stack.preview("up", "--yes", "--skip-preview", "--target", vpc)
        assert "Resources:\n    ~ 1 updated\n    63 unchanged" in said, "the provider ignores a tag more"
        assert stack.outputs() == before


def told(said: str) -> list[str]:
    """How many resources are created, updated, left and so on, one line each."""
    return [line.strip() for line in said.partition("Resources:\n")[2].partition("\n\n")[0].splitlines()]
