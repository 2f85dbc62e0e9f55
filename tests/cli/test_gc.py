"""`fleetswap gc` against the local cloud: what it deletes is gone, what is needed is not, and it says why."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fleetswap.cli.app import run
from fleetswap.cli.stacks import stack_of
from fleetswap.domain import tags
from fleetswap.domain.errors import InputError
from fleetswap.domain.release.ledger import Ledger, release_id, to_plain
from tests.fakes.localcloud import Served, serve
from tests.localcloud.clients import Clients
from tests.release.test_plan import entry

SETTINGS = "config:\n  aws:region: us-east-1\n  fleetswap:service: web\n  fleetswap:endpoint: {endpoint}\n"
LIVE = entry(1)
NAME = release_id("web", LIVE.image.identity, LIVE.machine, LIVE.health, LIVE.image.info)
LEDGER = to_plain(Ledger(NAME, None, (type(LIVE)(NAME, LIVE.image, LIVE.machine, LIVE.health, 4),)))


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("cloud")) as served:
        yield served


class Here:
    """A project whose stack is in the local cloud, and a `pulumi` that knows some stacks."""

    def __init__(self, folder: Path, cloud: Served, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
        self.cloud, self._capfd, self._states = cloud, capfd, folder / "states"
        self.clients = Clients(cloud.endpoint)
        project = folder / "shop"
        (folder / "bin").mkdir()
        self._states.mkdir()
        project.mkdir()
        (project / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
        (project / "Pulumi.prod.yaml").write_text(SETTINGS.format(endpoint=cloud.endpoint))
        program = folder / "bin/pulumi"
        program.write_text(
            "#!/bin/sh\n"
            f"cd {self._states}\n"
            'case "$2" in\n'
            "ls) cat list;;\n"
            'export) cat "$(basename "$4")" || { echo "error: it is sealed" >&2; exit 1; };;\n'
            "esac\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder / "bin"), prepend=":")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
        monkeypatch.chdir(project)
        self.has({"prod": self.state(LEDGER)})

    def state(self, ledger: Mapping[str, Any] | None, *ids: str, pending: bool = False) -> dict[str, Any]:
        root = {"type": "pulumi:pulumi:Stack", "outputs": {"ledger": ledger} if ledger is not None else {}}
        resources = [root, *({"type": "x", "id": each} for each in ids)]
        return {"deployment": {"resources": resources, **({"pending_operations": [{}]} if pending else {})}}

    def has(self, states: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Let the backend have these stacks; the state of one that is None cannot be read."""
        (self._states / "list").write_text(json.dumps([{"name": name} for name in states]))
        for name, state in states.items():
            if state is not None:
                (self._states / name.rpartition("/")[2]).write_text(json.dumps(state))

    def tagged(self, ids: list[str], stack: str, release: str = "web-none", image: str = "/nix/store/none") -> None:
        values = {tags.STACK: stack, tags.SERVICE: "web", tags.RELEASE: release, tags.IMAGE: image}
        self.clients.ec2.create_tags(Resources=ids, Tags=[{"Key": key, "Value": each} for key, each in values.items()])

    def image(
        self, name: str, stack: str = "shop/prod", release: str = "web-none", image: str = "/nix/store/none"
    ) -> list[str]:
        """An AMI and its snapshot."""
        snapshot = self.clients.snapshot()
        made = self.clients.image(snapshot_id=snapshot, name=name, Description=image)
        self.clients.ec2.create_tags(Resources=[snapshot], Tags=[{"Key": tags.UPLOAD, "Value": snapshot}])
        self.tagged([made, snapshot], stack, release, image)
        return [made, snapshot]

    def there(self) -> set[str]:
        """The AMIs and snapshots of the account."""
        ec2 = self.clients.ec2
        images = {each["ImageId"] for each in ec2.describe_images(Owners=["self"])["Images"]}
        return images | {each["SnapshotId"] for each in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]}

    def clear(self) -> None:
        """Leave an empty account for the next test."""
        ec2 = self.clients.ec2
        for template in ec2.describe_launch_templates()["LaunchTemplates"]:
            ec2.delete_launch_template(LaunchTemplateId=template["LaunchTemplateId"])
        for image in ec2.describe_images(Owners=["self"])["Images"]:
            ec2.disable_image_deregistration_protection(ImageId=image["ImageId"])
            ec2.deregister_image(ImageId=image["ImageId"])
        self.cloud.ask("POST", "recycle-bin", {"images": None})
        for snapshot in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
            ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])

    def gc(self, *words: str) -> dict[str, Any]:
        """What `fleetswap gc --json` prints; it must end well."""
        assert run(["gc", "--json", "--min-age", "0m", *words]) == 0, self._capfd.readouterr()
        found: dict[str, Any] = json.loads(self._capfd.readouterr().out)
        return found

    def why(self, *words: str) -> dict[str, str]:
        return {each["id"]: each["why"] for each in self.gc("--dry-run", *words)["things"]}


@pytest.fixture
def here(tmp_path: Path, cloud: Served, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Iterator[Here]:
    made = Here(tmp_path, cloud, monkeypatch, capfd)
    yield made
    made.clear()


def test_orphans_go_with_their_snapshots_and_what_is_needed_stays(here: Here) -> None:
    """An orphan would stay, or what is live go; or the protection of the orphan keep it for ever."""
    live, orphan = here.image("live", release=NAME), here.image("orphan")
    other = here.image("other", "infra/other")
    ec2 = here.clients.ec2
    for name in (live[0], orphan[0]):
        ec2.enable_image_deregistration_protection(ImageId=name)
    template = ec2.create_launch_template(
        LaunchTemplateName="dead",
        LaunchTemplateData={"ImageId": orphan[0], "InstanceType": "c7i.large"},
        TagSpecifications=[
            {"ResourceType": "launch-template", "Tags": [{"Key": tags.STACK, "Value": "shop/prod"}]},
        ],
    )["LaunchTemplate"]["LaunchTemplateId"]
    dry = here.gc("--dry-run")
    assert {each["id"] for each in dry["things"] if each["dies"]} == {*orphan, template}
    assert here.there() == {*live, *orphan, *other}, "nothing is deleted yet"
    done = here.gc("--yes")
    assert {each["id"] for each in done["things"] if each["outcome"] == "deleted"} == {*orphan, template}
    assert here.there() == {*live, *other}
    assert here.why()[other[0]].startswith("stack infra/other is not in the backend")
    assert {each["outcome"] for each in here.gc("--yes")["things"]} == {None}, "a second run finds nothing to do"


def test_what_aws_knows_of_references_is_asked(here: Here) -> None:
    """An AMI that others use would be deleted under them."""
    shared, templated, launched = here.image("shared"), here.image("templated"), here.image("launched")
    ec2 = here.clients.ec2
    ec2.modify_image_attribute(ImageId=shared[0], LaunchPermission={"Add": [{"UserId": "111122223333"}]})
    foreign = ec2.create_launch_template(
        LaunchTemplateName="theirs", LaunchTemplateData={"ImageId": templated[0], "InstanceType": "c7i.large"}
    )["LaunchTemplate"]["LaunchTemplateId"]
    network = here.clients.network()
    machine = ec2.run_instances(
        ImageId=launched[0], MinCount=1, MaxCount=1, InstanceType="c7i.large", SubnetId=network.subnets[0]
    )["Instances"][0]["InstanceId"]
    why = here.why()
    assert why[shared[0]] == "it is shared with 111122223333"
    assert why[templated[0]].startswith(f"launch template {foreign} refers to it")
    assert why[launched[0]].startswith(f"instance {machine} was launched from it")
    assert why[shared[1]] == f"AMI {shared[0]} uses it"
    here.gc("--yes")
    assert here.there() >= {*shared, *templated, *launched}


def test_a_backend_that_cannot_be_read_keeps_everything(here: Here) -> None:
    """What another stack needs would go, because nobody could say so."""
    orphan = here.image("orphan")
    here.has({"prod": here.state(LEDGER), "organization/infra/other": None})
    assert "the ledger of stack infra/other cannot be read" in here.why()[orphan[0]]
    here.has({"prod": here.state({"version": 99})})
    assert "has version 99" in here.why()[orphan[0]]
    here.has({"prod": here.state(LEDGER, orphan[1])})
    assert "has it in its state" in here.why()[orphan[1]]
    here.has({"prod": here.state(LEDGER), "organization/infra/other": here.state(LEDGER)})
    assert here.why()[orphan[0]] == "no ledger has release web-none"


def test_a_stack_that_is_gone_must_be_named(here: Here, capfd: Any) -> None:
    """The things of a stack in another backend would be deleted, or those of a stack that is gone never."""
    left = here.image("left", "shop/old")
    assert "use --gone shop/old" in here.why()[left[0]]
    here.gc("--yes", "--gone", "shop/old")
    assert here.there() == set()
    assert run(["gc", "--dry-run", "--gone", "shop/prod"]) == 2
    assert "stack shop/prod is not gone" in capfd.readouterr().err


def test_what_the_recycle_bin_holds_is_told(here: Here, capfd: Any) -> None:
    """Nobody would understand why a snapshot cannot be deleted."""
    here.cloud.ask("POST", "recycle-bin", {"images": 3600})
    orphan = here.image("orphan")
    assert run(["gc", "--yes", "--min-age", "0m"]) == 1, "the snapshot is still in use"
    said = capfd.readouterr()
    assert f"dies us-east-1 AMI {orphan[0]}: no ledger has release web-none" in said.out
    assert (
        f"failed us-east-1 snapshot {orphan[1]}: snapshot {orphan[1]} is still in use: an AMI in the Recycle"
        in said.err
    )
    assert here.there() == {orphan[1]}
    assert "it is in the Recycle Bin until 20" in here.why()[orphan[0]]
    here.cloud.ask("POST", "recycle-bin", {"images": None})
    here.gc("--yes")
    assert here.there() == set()


@pytest.mark.usefixtures("here")
def test_a_wrong_call_is_refused_before_anything_is_read(capfd: Any) -> None:
    """It would ask AWS, or delete, and then fail."""
    for words, said in (
        (["--min-age", "1"], "--min-age must be a whole number"),
        (["--stack", "dev", "--dry-run"], "shop has: prod"),
        ([], "use --yes, or --dry-run"),
    ):
        assert run(["gc", *words]) == 2
        assert said in capfd.readouterr().err


def test_a_state_that_is_none_is_told() -> None:
    """Its stack would seem to have nothing, and all of it would be deleted."""
    with pytest.raises(InputError, match="cannot be read"):
        stack_of("shop/prod", {"deployment": {"resources": [{"outputs": 3, "type": "pulumi:pulumi:Stack"}]}})
    regions = {"eu-west-1": {"ledger": LEDGER}, "us-east-2": {}}
    state = {
        "resources": [{"type": "pulumi:pulumi:Stack", "outputs": {"regions": regions}}],
        "pending_operations": [{}],
    }
    found = stack_of("shop/prod", {"deployment": state})
    assert [each.live for each in found.ledgers] == [NAME]
    assert found.busy
