"""`fleetswap gc` against the local cloud: what it deletes is gone, what is needed is not, and it says why."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fleetswap.aws.retention.region import Region
from fleetswap.aws.retention.survey import schedule, survey, users_of_target_group
from fleetswap.aws.rollout.switch import DESCRIPTION
from fleetswap.aws.session import Cloud
from fleetswap.cli.app import run
from fleetswap.cli.engine import Engine
from fleetswap.cli.stacks import Backend, stack_of
from fleetswap.domain import tags
from fleetswap.domain.errors import InputError, NotFound
from fleetswap.domain.release.ledger import Ledger, release_id, to_plain
from fleetswap.domain.rollout.rollout_tags import PIN
from fleetswap.workflows.retention.collect import collect
from tests.fakes.localcloud import Served, serve
from tests.localcloud.clients import Clients
from tests.release.test_plan import entry

ROLLOUT = "pulumi-python:dynamic/fleetswap:Rollout"
SETTINGS = "config:\n  aws:region: us-east-1\n  fleetswap:service: web\n  fleetswap:endpoint: {endpoint}\n"
LIVE = entry(1)
NAME = release_id("web", LIVE.image.identity, LIVE.machine, LIVE.health, LIVE.image.info)
LEDGER = to_plain(Ledger(NAME, None, (type(LIVE)(NAME, LIVE.image, LIVE.machine, LIVE.health, 4),)))


@pytest.fixture(scope="module")
def cloud(_local_cloud: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
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


def test_stacks_of_one_name_in_two_organizations_are_both_asked() -> None:
    """Tags do not tell them apart: what is live of one would be deleted because the other does not have it."""

    class Two(Engine):
        def stacks(self) -> list[dict[str, Any]]:
            return [{"name": "prod"}, {"name": "acme/shop/prod"}, {"name": "acme/shop/dev", "updateInProgress": True}]

        def state(self, stack: str) -> dict[str, Any]:
            root = {"type": "pulumi:pulumi:Stack", "outputs": {"ledger": LEDGER}, "id": stack}
            return {"deployment": {"resources": [root] if stack == "prod" else []}}

    found = Backend(Two("pulumi", Path()), "shop").known({})
    assert [each.live for each in found["shop/prod"].ledgers] == [NAME]
    assert found["shop/prod"].state == {"prod"}
    assert (found["shop/prod"].busy, found["shop/dev"].busy) == (False, True)


def test_a_backup_that_has_our_tags_stays(here: Here) -> None:
    """Backup tools copy the tags of machines and AMIs to the AMIs that they make, and nobody could restore them."""
    ec2 = here.clients.ec2
    backup, orphan = here.image("backup"), here.image("orphan")
    ec2.create_tags(Resources=[backup[1]], Tags=[{"Key": tags.UPLOAD, "Value": orphan[1]}])
    assert here.why()[backup[0]] == "no upload made its snapshot, so it may be a backup"
    here.gc("--yes")
    assert here.there() == {*backup}


def test_the_parent_of_an_upload_that_runs_stays(here: Here) -> None:
    """The upload would lose the blocks that it does not send."""
    parent, clients = here.image("parent"), here.clients
    clients.ec2.deregister_image(ImageId=parent[0])
    asked = {tags.STACK: "shop/prod", tags.IMAGE: "/nix/store/next", tags.PARENT: parent[1]}
    child = clients.ebs.start_snapshot(VolumeSize=1, Tags=[{"Key": key, "Value": each} for key, each in asked.items()])
    cloud = Cloud("us-east-1", here.cloud.endpoint)
    thing = next(each for each in survey(cloud).things if each.id == parent[1])
    assert here.why()[thing.id] == f"snapshot {child['SnapshotId']} uses it"
    said = f"it is the parent of {child['SnapshotId']}, an upload that may be running"
    assert Region(cloud).holders(thing, frozenset()) == (said,), "one that began after the look"
    here.gc("--yes")
    assert here.there() == {parent[1], child["SnapshotId"]}


def test_the_copy_of_a_killed_promotion_goes(here: Here) -> None:
    """It would be paid for as long as there is the release that it was made for, and longer."""
    made = here.clients.snapshot(Description="x")
    copy = here.clients.ec2.copy_snapshot(
        SourceRegion="us-east-1", SourceSnapshotId=made, Description=f"copy of {made}"
    )["SnapshotId"]
    here.tagged([copy], "shop/prod", release=NAME)
    here.clients.ec2.delete_tags(Resources=[copy], Tags=[{"Key": tags.IMAGE}])
    here.clients.ec2.create_tags(Resources=[copy], Tags=[{"Key": tags.COPY, "Value": LIVE.image.identity}])
    assert here.why()[copy] == "nothing of stack shop/prod refers to it"
    here.gc("--yes")
    assert here.there() == {made}


def test_what_has_no_ec2_tags_is_read_too(here: Here) -> None:
    """Schedules, target groups, pins and scheduled actions would be deleted under a fleet, or stay for ever."""
    clients, network = here.clients, here.clients.network()
    marked: Any = [{"Key": tags.STACK, "Value": "shop/prod"}, {"Key": tags.RELEASE, "Value": "web-none"}]
    elbv2, scheduler = clients.elbv2, clients.client("scheduler")
    used, spare, attached = (
        elbv2.create_target_group(Name=name, Protocol="HTTP", Port=80, VpcId=network.vpc, Tags=marked)["TargetGroups"][
            0
        ]["TargetGroupArn"]
        for name in ("used", "spare", "attached")
    )
    balancer = elbv2.create_load_balancer(Name="web", Subnets=network.subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    forward: Any = [{"Type": "forward", "TargetGroupArn": used}]
    listener = elbv2.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=forward)
    rule = elbv2.create_rule(
        ListenerArn=listener["Listeners"][0]["ListenerArn"],
        Priority=1,
        Conditions=[{"Field": "path-pattern", "Values": ["*"]}],
        Actions=forward,
    )["Rules"][0]["RuleArn"]
    template = clients.template(here.image("web")[0])
    pinned = [
        {
            "Key": key,
            "Value": value,
            "PropagateAtLaunch": False,
            "ResourceId": "web",
            "ResourceType": "auto-scaling-group",
        }
        for key, value in ((tags.STACK, "shop/prod"), (PIN, "2"))
    ]
    clients.group(template, network, Tags=pinned, TargetGroupARNs=[attached])
    clients.autoscaling.put_scheduled_update_group_action(
        AutoScalingGroupName="web", ScheduledActionName="night", StartTime="2099-01-01T00:00:00Z", MinSize=0
    )

    def arm(name: str, rule: str, description: str = DESCRIPTION) -> None:
        scheduler.create_schedule(
            Name=name,
            GroupName="default",
            Description=f"{description}run",
            ScheduleExpression="at(2099-01-01T00:00:00)",
            FlexibleTimeWindow={"Mode": "OFF"},
            State="DISABLED",
            Target={
                "Arn": "arn:aws:scheduler:::aws-sdk:elasticloadbalancingv2:modifyRule",
                "RoleArn": role,
                "Input": json.dumps({"RuleArn": rule, "Actions": forward}),
            },
        )

    trust = {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = clients.iam.create_role(
        RoleName="switch", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    gone = elbv2.create_rule(
        ListenerArn=listener["Listeners"][0]["ListenerArn"],
        Priority=2,
        Conditions=[{"Field": "path-pattern", "Values": ["/x"]}],
        Actions=forward,
    )["Rules"][0]["RuleArn"]
    elbv2.delete_rule(RuleArn=gone)
    arm("fleetswap-armed", rule)
    arm("fleetswap-over", gone)
    arm("fleetswap-theirs", gone, "Of somebody: ")
    why = here.why()
    assert why[used] == f"load balancer {balancer} forwards to it"
    assert why[attached] == "group web registers machines in it"
    assert why[spare] == "no ledger has release web-none"
    assert why[f"web/{PIN}"] == "the next rollout of its stack undoes it"
    assert why["web/night"].startswith("it is a part of its group")
    assert why["fleetswap-armed"] == f"it restores listener rule {rule}"
    assert why["fleetswap-over"] == "a rollout may be running that has armed it"
    assert why["fleetswap-theirs"] == "Fleetswap has not armed it"
    here.gc("--yes")
    left = {each["TargetGroupArn"] for each in elbv2.describe_target_groups()["TargetGroups"]}
    assert left == {used, attached}
    assert len(scheduler.list_schedules()["Schedules"]) == 3
    cloud = Cloud("us-east-1", here.cloud.endpoint)
    over, region = schedule(cloud, "fleetswap-over"), Region(cloud)
    assert region.holders(replace(over, made=None), frozenset()) == ("it was armed again",)
    assert region.holders(over, frozenset()) == ()
    region.delete(over, snapshots=False)
    with pytest.raises(NotFound):
        region.holders(over, frozenset())


def test_what_is_deleted_while_it_is_read_is_passed_over(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a deploy, or another gc, this one would fail as a whole."""
    clients = here.clients
    marked: Any = [{"Key": tags.STACK, "Value": "shop/prod"}]
    vpc = clients.network().vpc
    arns = [
        clients.elbv2.create_target_group(Name=name, Protocol="HTTP", Port=80, VpcId=vpc, Tags=marked)["TargetGroups"][
            0
        ]["TargetGroupArn"]
        for name in ("first", "second")
    ]
    template = clients.ec2.create_launch_template(
        LaunchTemplateName="brief",
        LaunchTemplateData={"InstanceType": "t3.micro"},
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": marked}],
    )["LaunchTemplate"]["LaunchTemplateId"]

    def deleting(client: Any, operation: str, delete: Callable[[], object]) -> Any:
        client.meta.events.register_first(f"before-call.*.{operation}", lambda **_: delete() and None)
        return client

    def once(delete: Callable[[], object]) -> Callable[[], object]:
        calls = iter([delete])
        return lambda: next(calls, lambda: None)()

    template_goes = once(lambda: clients.ec2.delete_launch_template(LaunchTemplateId=template))
    group_goes = once(lambda: clients.elbv2.delete_target_group(TargetGroupArn=arns[0]))
    ec2, elbv2 = Cloud.ec2, Cloud.elbv2
    monkeypatch.setattr(Cloud, "ec2", lambda self: deleting(ec2(self), "DescribeLaunchTemplateVersions", template_goes))
    monkeypatch.setattr(Cloud, "elbv2", lambda self: deleting(elbv2(self), "DescribeTags", group_goes))
    why = here.why()
    assert {*arns} & why.keys() == {arns[1]}
    assert template not in why


@pytest.mark.parametrize("operation", ["DescribeImageAttribute", "DeregisterImage"])
def test_an_ami_that_someone_else_deregisters_is_gone_already(
    here: Here, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """Beside a deploy that ends a release, or another gc, this one would end as failed although nothing is left."""
    orphan = here.image("orphan")

    def goes(params: dict[str, Any], **_: object) -> None:
        here.clients.ec2.deregister_image(ImageId=params["body"]["ImageId"])

    def raced(self: Cloud) -> Any:
        client = ec2(self)
        client.meta.events.register_first(f"before-call.*.{operation}", goes)
        return client

    def racing(*given: Any) -> Any:
        monkeypatch.setattr(Cloud, "ec2", raced)
        return collect(*given)

    ec2 = Cloud.ec2
    monkeypatch.setattr("fleetswap.cli.gc.collect", racing)
    outcomes = {each["id"]: each["outcome"] for each in here.gc("--yes")["things"]}
    assert [outcomes[each] for each in orphan] == ["deleted", "deleted"]
    assert not here.there()


def test_an_ami_that_refuses_and_is_there_has_failed(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that EC2 does not change in its state would be reported as deleted, and stay for ever."""
    name, snapshot = here.image("orphan")

    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": "InvalidAMIID.Unavailable", "Message": "not now"}}, "DeregisterImage")

    def refusing(self: Cloud) -> Any:
        client = ec2(self)
        client.meta.events.register_first("before-call.*.DeregisterImage", refuse)
        return client

    ec2 = Cloud.ec2
    monkeypatch.setattr(Cloud, "ec2", refusing)
    assert run(["gc", "--json", "--min-age", "0m", "--yes"]) == 1
    assert here.there() == {name, snapshot}


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
    reached = stack_of(
        "p/s", {"deployment": {"resources": [{"type": ROLLOUT, "outputs": {"ledger": LEDGER}}, {"type": ROLLOUT}]}}
    )
    assert [each.live for each in reached.ledgers] == [NAME], "the update failed in another region afterwards"


def test_a_group_uses_a_target_group_however_it_was_attached() -> None:
    """TrafficSources names what AttachTrafficSources attached: it would be deleted under the group."""
    source = {"Identifier": "arn:t", "Type": "elbv2"}
    groups = [{"AutoScalingGroupName": "web", "TargetGroupARNs": [], "TrafficSources": [source]}]
    assert users_of_target_group({"TargetGroupArn": "arn:t"}, groups) == ("group web registers machines in it",)
    assert users_of_target_group({"TargetGroupArn": "arn:other"}, groups) == ()
