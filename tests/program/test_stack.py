"""What the program declares, read off the inputs that it registers; the mock's answers are never asserted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from fleetswap.domain.errors import InputError
from fleetswap.domain.image.evaluation import Evaluation
from fleetswap.domain.rollout.schedules import Schedule
from fleetswap.domain.rollout.warm_pool import WarmPool
from fleetswap_pulumi.rollout import Inputs
from tests.fakes.ebs import disk_file
from tests.program.declared import Around, Credentials, Declared, Program, declare

pytestmark = pytest.mark.nix

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())["config"]


def local(version: str = "1", **changes: Any) -> dict[str, str]:
    """The settings of the stack `local`, as the engine hands them over, without secrets (`test_sealed_secrets`)."""
    left_out = ("aws:region", "fleetswap:secrets")
    values = {key.removeprefix("fleetswap:"): value for key, value in COMMITTED.items() if key not in left_out}
    values["image"] = json.loads(json.dumps(values["image"]))
    values["image"]["nix"]["args"]["version"] = version
    values |= changes
    return {key: json.dumps(value) if isinstance(value, (dict, list)) else str(value) for key, value in values.items()}


def with_ami(ami: dict[str, Any]) -> dict[str, str]:
    """The same, with settings of the AMI."""
    given = local("1")
    return {**given, "image": json.dumps({**json.loads(given["image"]), "ami": ami})}


@pytest.fixture(scope="module")
def first() -> Program:
    return declare(local("1"))


@pytest.fixture(scope="module")
def second(first: Program) -> Program:
    return declare(local("2"), ledger=first.outputs["ledger"])


def releases(program: Program) -> list[str]:
    return [resource.name for resource in program.of("Release")]


def depends_on(resource: Declared) -> list[str]:
    found = resource.options.depends_on
    assert isinstance(found, list)
    return [type(each).__name__ for each in found]


def test_a_new_image_is_declared_beside_the_live_one(first: Program, second: Program) -> None:
    """A deploy would change or delete the release that carries the traffic."""
    (live,) = releases(first)
    assert set(releases(second)) > {live}
    assert len(releases(second)) == 2
    candidate = next(name for name in releases(second) if name != live)
    rollout = second.one("Rollout").inputs
    assert (rollout["live"], rollout["standby"]) == (candidate, live)
    assert {side["release"] for side in rollout["sides"]} == {candidate, live}


def test_the_live_release_is_declared_just_as_it_was(first: Program, second: Program) -> None:
    """A preview would show changes of machines that nobody asked to change."""
    for was in first.resources:
        if "Rollout" not in was.type:
            assert second.one(was.type.rsplit(":", 1)[1], was.name).inputs == was.inputs


def test_the_oldest_release_goes_and_the_ledger_says_so(second: Program) -> None:
    """Releases would pile up, or the standby would be thrown away by the deploy after it."""
    third = declare(local("3"), ledger=second.outputs["ledger"])
    ledger = third.outputs["ledger"]
    assert ledger["standby"] == second.outputs["ledger"]["live"]
    assert set(releases(third)) == {ledger["live"], ledger["standby"]}
    assert [entry["release"] for entry in ledger["entries"]] == [ledger["live"], ledger["standby"]]


def test_an_image_that_is_only_kept_has_no_machines(second: Program) -> None:
    """Keeping an old AMI would cost machines, or forgetting its machines would forget its AMI."""
    third = declare(local("3", retention={"images": 1, "min_age": 0}), ledger=second.outputs["ledger"])
    kept = second.outputs["ledger"]["standby"]
    assert kept in releases(third)
    assert kept in {ami.name for ami in third.of("Ami")}
    assert kept not in {group.name for group in third.of("Group")}
    assert kept not in {side["release"] for side in third.one("Rollout").inputs["sides"]}


def test_an_image_that_is_only_kept_is_deprecated_and_one_that_comes_back_is_not(second: Program) -> None:
    """AMIs nobody needs would be offered for ever, or the live release have an AMI that an account may refuse."""
    keeps = {"images": 1, "min_age": 0, "deprecate_after": "7d"}
    third = declare(local("3", retention=keeps), ledger=second.outputs["ledger"])
    kept = second.outputs["ledger"]["standby"]
    times = {ami.name: ami.inputs.get("deprecationTime") for ami in third.of("Ami")}
    written = {entry["release"]: entry.get("deprecated") for entry in third.outputs["ledger"]["entries"]}
    assert times == written
    assert [name for name, time in times.items() if time] == [kept]
    again = declare(local("3", retention=keeps), ledger=third.outputs["ledger"])
    assert {ami.name: ami.inputs.get("deprecationTime") for ami in again.of("Ami")} == times, "no phantom diff"
    back = declare(local("3", retention=keeps, release=kept), ledger=third.outputs["ledger"])
    assert next(ami for ami in back.of("Ami") if ami.name == kept).inputs.get("deprecationTime") is None
    old = third.outputs["ledger"]
    past = [
        {**each, **({"deprecated": "2026-01-01T00:00:00Z"} if each["release"] == kept else {})}
        for each in old["entries"]
    ]
    later = declare(local("3", retention=keeps), ledger={**old, "entries": past})
    assert next(ami for ami in later.of("Ami") if ami.name == kept).inputs.get("deprecationTime") is None, (
        "EC2 refuses it"
    )


def test_the_amis_of_new_releases_are_protected_and_those_of_older_versions_are_as_they_were(second: Program) -> None:
    """The way back could be deregistered by hand; or an upgrade would change AMIs that nobody asked it to change."""
    protected = {each.name: each.inputs["image"] for each in second.of("ImageProtection")}
    assert set(protected) == set(releases(second))
    assert len(set(protected.values())) == 2
    old = second.outputs["ledger"]
    before = [{key: value for key, value in each.items() if key != "made"} for each in old["entries"]]
    upgraded = declare(local("2"), ledger={**old, "entries": before})
    assert upgraded.of("ImageProtection") == []


def test_a_warm_release_has_all_but_machines(second: Program) -> None:
    """A rollback by two releases would take as long as a deploy, though the settings ask for it to be quick."""
    third = declare(local("3", retention={"images": 1, "warm": 2}), ledger=second.outputs["ledger"])
    warm = second.outputs["ledger"]["standby"]
    assert warm in {group.name for group in third.of("Group")} & {group.name for group in third.of("TargetGroup")}
    assert warm in {side["release"] for side in third.one("Rollout").inputs["sides"]}
    assert third.one("Rollout").inputs["standby"] == second.outputs["ledger"]["live"]


def test_a_release_named_in_the_settings_is_the_rollback(first: Program, second: Program) -> None:
    """The one config line that undoes a deploy would not, or would build something to do it."""
    (old,) = releases(first)
    back = declare(local("2", release=old), ledger=second.outputs["ledger"])
    assert back.one("Rollout").inputs["live"] == old
    assert set(releases(back)) == set(releases(second))
    with pytest.raises(InputError, match="web-00000000"):
        declare(local("2", release="web-00000000"), ledger=second.outputs["ledger"])


def test_another_kind_of_machine_is_another_release(first: Program) -> None:
    """A change of instance types would replace what launches under a running fleet."""
    other = declare(local("1", machine={"instance_types": ["m7i.large"]}), ledger=first.outputs["ledger"])
    assert len(releases(other)) == 2


def test_bounds_change_in_place(first: Program) -> None:
    """To allow the fleet one machine more would deploy a new release."""
    wider = declare(local("1", capacity={"min": 2, "max": 9}), ledger=first.outputs["ledger"])
    assert releases(wider) == releases(first)
    assert wider.one("Group").inputs["maxSize"] == 9
    narrower = declare(local("1", capacity={"min": 2, "max": 3}), ledger=wider.outputs["ledger"])
    assert narrower.one("Group").inputs["maxSize"] == 9


def test_a_moved_health_check_does_not_touch_the_live_release(first: Program) -> None:
    """A version that moves its health check would make the live one unhealthy before it has taken over."""
    (live,) = releases(first)
    moved = declare(local("2", health={"path": "/ready", "port": 9090}), ledger=first.outputs["ledger"])
    paths = {group.name: group.inputs["healthCheck"]["path"] for group in moved.of("TargetGroup")}
    assert paths.pop(live) == "/healthz"
    assert set(paths.values()) == {"/ready"}
    assert {rule.inputs["fromPort"] for rule in moved.of("SecurityGroupEgressRule")} == {8080, 9090}


def test_groups_are_declared_empty_and_their_size_belongs_to_the_rollout(second: Program) -> None:
    """An update would set the size of a running fleet, in the worst case to zero."""
    for group in second.of("Group"):
        assert (group.inputs["minSize"], group.inputs["desiredCapacity"]) == (0, 0)
        assert set(group.options.ignore_changes or []) == {"minSize", "desiredCapacity", "warmPool"}
        assert group.inputs["healthCheckType"] == "ELB"


def test_only_the_rollout_can_write_weights(second: Program) -> None:
    """Another resource could put the weights back to an older value while it changes something else."""
    assert second.one("Listener").inputs["defaultActions"][0]["type"] == "fixed-response"
    assert second.one("Listener").inputs["defaultActions"][0]["fixedResponse"]["statusCode"] == "503"
    assert second.of("ListenerRule") == []


def test_a_release_is_reached_before_it_has_traffic_and_goes_whole(second: Program) -> None:
    """A candidate would get traffic unprobed; or a rule that no state knows would keep its target group for ever."""
    for name in releases(second):
        rule, guard = second.one("PreviewRule", name), second.one("PreviewGuard", name)
        target_group = second.one("TargetGroup", name)
        assert rule.inputs["target_group"] == guard.inputs["target_group"] == f"arn:{target_group.name}"
        assert rule.inputs["listener"] == guard.inputs["listener"] == "arn:web"
        assert depends_on(rule) == ["PreviewGuard"], "so that the guard is in the state before the rule is made"
        assert "PreviewRule" in depends_on(second.one("Group", name)), "or its machines would not be checked"


def test_machines_are_reached_by_the_load_balancer_only(first: Program) -> None:
    """The machines would be open to the world, or to each other."""
    (ingress,) = [rule for rule in first.of("SecurityGroupIngressRule") if "machines" in rule.inputs["securityGroupId"]]
    assert "cidrIpv4" not in ingress.inputs
    assert ingress.inputs["referencedSecurityGroupId"] == "web-front-id"
    assert ingress.inputs["fromPort"] == ingress.inputs["toPort"] == 8080
    assert not [rule for rule in first.of("SecurityGroupEgressRule") if "machines" in rule.inputs["securityGroupId"]]
    assert all(not subnet.inputs.get("mapPublicIpOnLaunch") for subnet in first.of("Subnet"))


def test_machines_can_have_security_groups_of_others(first: Program) -> None:
    """A database that lets in members of a group would refuse the machines; or it would change what runs."""
    group = "sg-0a1b2c3d4e5f60718"
    around = Around(known={group: "vpc-1"}, own=frozenset({"vpc-1"}))
    given = local("1", machine={"security_groups": [group]})
    program = declare(given, ledger=first.outputs["ledger"], around=around)
    (live,), (new,) = releases(first), set(releases(program)) - set(releases(first))
    assert program.one("LaunchTemplate", new).inputs["vpcSecurityGroupIds"] == ["web-machines-id", group]
    assert program.one("LaunchTemplate", live).inputs["vpcSecurityGroupIds"] == ["web-machines-id"]
    assert program.outputs["ledger"]["entries"][0]["machine"]["security_groups"] == [group]


def test_machines_have_imdsv2_and_an_encrypted_disk(first: Program) -> None:
    """A forged request could read the role's credentials (IMDSv1), or a disk lie in plain."""
    template = first.one("LaunchTemplate").inputs
    assert template["metadataOptions"]["httpTokens"] == "required"
    (device,) = template["blockDeviceMappings"]
    assert device["ebs"]["encrypted"] == "true"
    assert device["ebs"]["volumeType"] == "gp3"
    ami = first.one("Ami").inputs
    assert (ami["bootMode"], ami["enaSupport"], ami["imdsSupport"]) == ("uefi", True, "v2.0")
    assert ami["rootDeviceName"] == device["deviceName"]


def test_an_ami_is_registered_as_before_there_were_settings_for_it(first: Program) -> None:
    """An upgrade would replace the AMI of a running fleet, and with it everything that launches it."""
    ami = first.one("Ami").inputs
    plain = {"architecture", "bootMode", "enaSupport", "imdsSupport", "rootDeviceName", "virtualizationType"}
    assert {key: ami[key] for key in plain} == {
        "architecture": "x86_64",
        "bootMode": "uefi",
        "enaSupport": True,
        "imdsSupport": "v2.0",
        "rootDeviceName": "/dev/xvda",
        "virtualizationType": "hvm",
    }
    assert set(ami) == plain | {"description", "ebsBlockDevices", "tags"}


def test_an_ami_is_registered_as_the_settings_say(first: Program) -> None:
    """An image with NitroTPM could not be deployed; or the AMI of the live release would be replaced by another one."""
    given = with_ami({"tpm_support": "v2.0", "ena_support": True})
    program = declare(given, ledger=first.outputs["ledger"])
    (live,), (new,) = releases(first), set(releases(program)) - set(releases(first))
    assert program.one("Ami", new).inputs["tpmSupport"] == "v2.0"
    assert program.one("Ami", live).inputs == first.one("Ami").inputs
    written = program.outputs["ledger"]["entries"][0]["image"]
    assert (written["info"], written["asserted"]) == ({"tpm": "v2.0"}, ["ena", "tpm"])
    again = declare(given, ledger=program.outputs["ledger"])
    assert releases(again) == releases(program)
    assert again.one("Ami", new).inputs == program.one("Ami", new).inputs
    without = declare(local("1"), ledger=program.outputs["ledger"])
    assert without.one("Rollout").inputs["live"] == live, "what the settings once said is not the image's"


def test_a_file_is_registered_as_its_image_info_says(tmp_path: Path) -> None:
    """Nixpkgs' own Amazon image, as a file, would be registered for another architecture and boot mode."""
    disk_file(tmp_path / "web.raw")
    (tmp_path / "nix-support").mkdir()
    written = {"file": "web.raw", "registerImage": {"BootMode": "legacy-bios", "RootDeviceName": "/dev/sda1"}}
    (tmp_path / "nix-support/image-info.json").write_text(json.dumps(written))
    given = {**local("1"), "image": json.dumps({"file": str(tmp_path / "web.raw")})}
    program = declare(given)
    ami = program.one("Ami").inputs
    assert (ami["bootMode"], ami["rootDeviceName"]) == ("legacy-bios", "/dev/sda1")
    assert ami["ebsBlockDevices"][0]["deviceName"] == "/dev/sda1"
    (device,) = program.one("LaunchTemplate").inputs["blockDeviceMappings"]
    assert device["deviceName"] == "/dev/sda1", "or every machine had a second, empty volume"
    disk = program.one("DiskImage").inputs
    assert disk["info"] == {"boot_mode": "legacy-bios", "root_device": "/dev/sda1"}
    (tmp_path / "nix-support/image-info.json").unlink()
    again = declare(given, ledger=program.outputs["ledger"])
    assert releases(again) == releases(program), "the same image cannot say anything else of itself"


@pytest.mark.parametrize(
    ("register", "system", "ami"),
    [
        ({}, "aarch64-linux", ("arm64", "uefi", None)),
        ({"Architecture": "arm64", "TpmSupport": "v2.0"}, "x86_64-linux", ("arm64", "uefi", "v2.0")),
        ({"BootMode": "uefi-preferred"}, "x86_64-linux", ("x86_64", "uefi-preferred", None)),
    ],
)
def test_a_nix_image_is_registered_as_its_derivation_says(
    register: dict[str, Any], system: str, ami: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preview would show another AMI than the image needs, and the deploy end half-way."""
    made = Evaluation("/nix/store/x-image", "/nix/store/x-image.drv", system, {}, register)
    monkeypatch.setattr("tests.program.declared._evaluate", lambda *_, **__: made)
    program = declare({**local("1"), "machine": "{}"})
    inputs = program.one("Ami").inputs
    assert (inputs["architecture"], inputs["bootMode"], inputs.get("tpmSupport")) == ami


def test_an_output_that_is_in_the_store_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only a build tells would be told after it, though it was built before."""
    (tmp_path / "nix-support").mkdir()
    (tmp_path / "nix-support/image-info.json").write_text(json.dumps({"boot_mode": "legacy-bios"}))
    made = Evaluation(str(tmp_path), "/nix/store/x-image.drv", "x86_64-linux")
    monkeypatch.setattr("tests.program.declared._evaluate", lambda *_, **__: made)
    assert declare(local("1")).one("Ami").inputs["bootMode"] == "uefi", "a build that was cut short says nothing"
    disk_file(tmp_path / "web.raw")
    assert declare(local("1")).one("Ami").inputs["bootMode"] == "legacy-bios"


def test_an_image_for_arm64_is_launched_on_arm64() -> None:
    """Its machines could not be launched: the group would have instance types of another architecture."""
    given = with_ami({"architecture": "arm64"})
    program = declare({**given, "machine": "{}"})
    assert program.one("Ami").inputs["architecture"] == "arm64"
    overrides = program.one("Group").inputs["mixedInstancesPolicy"]["launchTemplate"]["overrides"]
    types = [each["instanceType"] for each in overrides]
    assert types == ["c7g.large", "c6g.large", "m7g.large", "m6g.large"]
    plain = (
        declare({**local("1"), "machine": "{}"})
        .one("Group")
        .inputs["mixedInstancesPolicy"]["launchTemplate"]["overrides"]
    )
    assert [each["instanceType"] for each in plain] == ["c7i.large", "c7a.large", "m7i.large", "m7a.large"]


@pytest.mark.parametrize(
    ("types", "ami", "told"),
    [
        (["c7i.large", "c7g.large"], {}, "the image is for x86_64, but c7g.large can only run arm64"),
        (
            ["c7g.large", "c7i.large", "m7i.large"],
            {"architecture": "arm64"},
            "c7i.large and m7i.large can only run x86",
        ),
        (["m4.large"], {}, "the AMI has boot mode uefi, which m4.large cannot boot"),
        (["c7i.large"], {"ena_support": False}, "the AMI has no ENA support, which is required by c7i.large"),
        (["m4.large"], {"tpm_support": "v2.0"}, "NitroTPM v2.0, but there is none with m4.large"),
    ],
)
def test_instance_types_are_those_that_can_launch_the_ami(types: list[str], ami: dict[str, Any], told: str) -> None:
    """The image would be sent and the fleet made, and every launch of the group would fail."""
    given = {**with_ami(ami), "machine": json.dumps({"instance_types": types})}
    with pytest.raises(InputError, match=told):
        declare(given)


def test_all_that_is_wrong_with_instance_types_is_told_at_once() -> None:
    """A user would mend one type a run."""
    given = {**with_ami({"tpm_support": "v2.0"}), "machine": json.dumps({"instance_types": ["m4.large", "c7g.large"]})}
    with pytest.raises(InputError) as caught:
        declare(given, credentials=Credentials(lacks=("c9z.large",)))
    message = str(caught.value)
    assert message.startswith("fleetswap:machine.instance_types: ")
    for told in ("c7g.large can only run arm64", "uefi, which m4.large cannot", "none with m4.large"):
        assert told in message


def test_an_ami_for_a_bios_can_be_launched_by_older_types() -> None:
    """Nixpkgs' own image, with a BIOS, could not be deployed at all."""
    given = {
        **with_ami({"boot_mode": "uefi-preferred", "ena_support": False}),
        "machine": json.dumps({"instance_types": ["m4.large"]}),
    }
    assert declare(given).one("Ami").inputs["bootMode"] == "uefi-preferred"


def test_what_no_ami_can_be_is_told_before_anything_is_declared() -> None:
    """EC2 would refuse it after the image was sent."""
    given = with_ami({"boot_mode": "legacy-bios", "tpm_support": "v2.0"})
    with pytest.raises(InputError, match="NitroTPM requires boot mode uefi"):
        declare(given)


def test_grace_warm_up_and_drain_are_three_things(first: Program) -> None:
    """A long grace for slow boots would hold back scale-out; or requests be cut off when a release is scaled in."""
    program = declare(
        local("1", health={"grace": 300}, capacity={"min": 2, "max": 4, "warmup": 30}, front={"idle_timeout": 90}),
        ledger=first.outputs["ledger"],
    )
    group = program.one("Group").inputs
    assert (group["healthCheckGracePeriod"], group["defaultInstanceWarmup"]) == (300, 30)
    assert program.one("LoadBalancer").inputs["idleTimeout"] == 90
    assert program.one("TargetGroup").inputs["deregistrationDelay"] == 90
    assert releases(program) == releases(first), "all of it changes in place"


def test_a_machine_is_replaced_only_when_another_serves(first: Program) -> None:
    """A fleet of two would serve with one while EC2 Auto Scaling replaces the other."""
    policy = first.one("Group").inputs["instanceMaintenancePolicy"]
    assert policy == {"minHealthyPercentage": 100, "maxHealthyPercentage": 110}
    other = declare(
        local("1", capacity={"min": 2, "max": 4, "healthy_percent": {"min": 50, "max": 150}}),
        ledger=first.outputs["ledger"],
    )
    policy = other.one("Group").inputs["instanceMaintenancePolicy"]
    assert policy == {"minHealthyPercentage": 50, "maxHealthyPercentage": 150}
    assert releases(other) == releases(first), "it changes in place"


def test_requests_are_those_of_the_releases_own_targets(first: Program) -> None:
    """AWS would refuse the policy, or the fleet would scale by what another release, or nobody, is asked."""
    program = declare(
        local("1", capacity={"min": 2, "max": 4, "requests_per_target": 500}), ledger=first.outputs["ledger"]
    )
    (live,) = releases(program)
    assert program.one("Policy").inputs["targetTrackingConfiguration"] == {
        "predefinedMetricSpecification": {
            "predefinedMetricType": "ALBRequestCountPerTarget",
            "resourceLabel": f"app/web/1/targetgroup/{live}/2",
        },
        "targetValue": 500,
    }
    assert releases(program) == releases(first), "it changes in place"


def test_schedules_are_the_rollouts(first: Program) -> None:
    """Every release would get machines in the morning, or a preview would not show that a schedule has changed."""
    schedules = {"day": {"recurrence": "0 8 * * 1-5", "time_zone": "Europe/Berlin", "min": 3}}
    program = declare(local("1", capacity={"min": 2, "max": 4, "schedules": schedules}), ledger=first.outputs["ledger"])
    assert program.one("Rollout").inputs["schedules"] == schedules
    assert not program.of("Schedule")
    assert "schedules" not in first.one("Rollout").inputs, "as the states of older versions have it"
    given = program.one("Rollout").inputs
    sides = [{**side, "group": "asg", "target_group": "tg", "image": "ami"} for side in given["sides"]]
    order = Inputs.of({**given, "sides": sides}).order
    assert order.schedules == (Schedule("day", "0 8 * * 1-5", "Europe/Berlin", 3),)


def test_the_role_is_ec2s_in_every_partition() -> None:
    """In China no machine could take its role, and each launch would fail."""
    roles = {}
    for region in ("us-east-1", "cn-north-1", "eusc-de-east-1"):
        program = declare(local("1"), region=region)
        (role,) = [role for role in program.of("Role") if role.name in releases(program)]
        (statement,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
        roles[region] = statement["Principal"]["Service"]
    assert roles == {
        "us-east-1": "ec2.amazonaws.com",
        "cn-north-1": "ec2.amazonaws.com.cn",
        "eusc-de-east-1": "ec2.amazonaws.com",
    }


def test_the_fleet_is_a_mix_with_spot(first: Program) -> None:
    """The fleet would be all on demand, or stop when one spot pool runs dry."""
    policy = first.one("Group").inputs["mixedInstancesPolicy"]
    assert policy["instancesDistribution"]["spotAllocationStrategy"] == "price-capacity-optimized"
    assert policy["instancesDistribution"]["onDemandBaseCapacity"] == 1
    assert len(policy["launchTemplate"]["overrides"]) > 1
    specification = policy["launchTemplate"]["launchTemplateSpecification"]
    assert str(specification["version"]).isdigit()
    tracking = first.one("Policy").inputs["targetTrackingConfiguration"]
    assert tracking["targetValue"] == 50


@pytest.mark.parametrize(("percent", "rebalances"), [(0, True), (99, True), (100, False)])
def test_a_group_that_may_have_spot_instances_replaces_them_before_ec2_takes_them(
    *, percent: int, rebalances: bool
) -> None:
    """Every interruption would cost the requests in flight, and those until two health checks have failed."""
    machine = {**json.loads(local("1")["machine"]), "on_demand_percent": percent}
    group = declare(local("1", machine=machine)).one("Group")
    assert bool(group.inputs.get("capacityRebalance")) is rebalances


def test_everything_that_can_be_tagged_carries_the_policy(second: Program) -> None:
    """Live and standby could not be found without the state, nor the costs of the service."""
    untaggable = {"ImageProtection", "Policy", "RolePolicy", "Route", "RouteTableAssociation", "Rollout"}
    for resource in second.resources:
        kind = resource.type.rsplit(":", 1)[1]
        if not resource.custom or kind in untaggable or resource.type.startswith("pulumi:"):
            continue
        tags = resource.inputs["tags"]
        if kind == "Group":
            assert all(tag["propagateAtLaunch"] for tag in tags)
            tags = {tag["key"]: tag["value"] for tag in tags}
        assert tags["fleetswap:stack"] == "fleetswap/local", resource
        assert tags["fleetswap:service"] == "web", resource
        if resource.name in releases(second):
            assert tags["fleetswap:release"] == resource.name, resource


def test_every_resource_has_its_component_as_parent(first: Program) -> None:
    """The preview would be a flat list in which no release can be seen."""

    def parent(resource: Declared) -> pulumi.Resource | None:
        return resource.options.parent

    alone = {resource.type for resource in first.resources if resource.custom and parent(resource) is None}
    assert alone == {"pulumi:providers:aws", "pulumi-python:dynamic/fleetswap:Rollout"}


def test_no_name_is_given_to_what_may_have_to_be_replaced(second: Program) -> None:
    """A replacement could not exist beside what it replaces, so traffic would be lost in between."""
    for kind in ("LoadBalancer", "TargetGroup", "Group", "LaunchTemplate", "Ami", "Role", "InstanceProfile"):
        for resource in second.of(kind):
            assert "name" not in resource.inputs, resource


def test_nothing_is_declared_twice(second: Program) -> None:
    """The engine would refuse the whole update."""
    counted = Counter((resource.type, resource.name) for resource in second.resources)
    assert set(counted.values()) == {1}


def test_the_preview_names_the_packages_that_change(first: Program, second: Program) -> None:
    """A reviewer would see a store path and not what is in it."""
    (live,) = releases(first)
    disk = next(disk for disk in second.of("DiskImage") if disk.name != live)
    assert disk.inputs["changes"] == ["fleetswap-demo 1 → 2"]


def test_the_preview_says_that_the_image_will_be_booted(first: Program) -> None:
    """A reviewer could not tell, or the machine be asked otherwise than the load balancer asks."""
    (live,) = releases(first)
    image = {**json.loads(local("2")["image"]), "boot_test": {"timeout": 300}}
    health = {"port": 8443, "path": "/up", "codes": "200-204", "protocol": "https", "timeout": 4, "healthy": 3}
    program = declare(local("2", image=image, health=health), ledger=first.outputs["ledger"])
    disk = next(disk for disk in program.of("DiskImage") if disk.name != live)
    assert disk.inputs["boot_test"] == {
        "timeout": 300,
        "memory": 1024,
        "accelerator": "auto",
        "architecture": "x86_64",
        "boot_mode": "uefi",
        "instance_type": "c7i.large",
        "port": 8443,
        "path": "/up",
        "codes": "200-204",
        "protocol": "https",
        "protocol_version": "http1",
        "healthy": 3,
        "health_timeout": 4,
    }
    assert program.outputs["ledger"]["live"] == declare(local("2", health=health)).outputs["ledger"]["live"]
    assert "boot_test" not in json.dumps(program.outputs["ledger"])


def test_the_network_cannot_change_under_a_fleet(first: Program) -> None:
    """A new CIDR would replace the VPC, and with it take down what is live."""
    with pytest.raises(InputError, match="network cannot change"):
        declare(local("2", network={"cidr": "10.99.0.0/16"}), ledger=first.outputs["ledger"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"values": {"service": "shop"}}, "fleetswap:service cannot change"),
        ({"region": "eu-west-1"}, "aws:region cannot change"),
        ({"stack_name": "live"}, "this stack is named fleetswap/live"),
        ({"credentials": Credentials(account="999900001111")}, "credentials belong to AWS account 999900001111"),
    ],
)
def test_another_identity_touches_nothing(first: Program, changes: dict[str, Any], told: str) -> None:
    """A new name of the service, or another region, would delete the fleet that serves: 503 for everyone."""
    with pytest.raises(InputError, match=told):
        declare(local("2", **changes.pop("values", {})), ledger=first.outputs["ledger"], **changes)


def test_the_account_of_the_settings_is_the_only_one() -> None:
    """With another profile the first deploy would go to another account, and cost money there."""
    with pytest.raises(InputError, match=r"account 123456789012, but fleetswap:account is 999900001111.*AWS_PROFILE"):
        declare(local("1", account="999900001111"))
    on_aws = {key: value for key, value in local("1").items() if key != "endpoint"}
    (provider,) = [each for each in declare(on_aws).resources if each.type == "pulumi:providers:aws"]
    assert json.loads(provider.inputs["allowedAccountIds"]) == ["123456789012"]


def test_zones_are_those_that_the_account_has() -> None:
    """The first deploy would fail half-way where the account has no zone a: letters differ by account."""
    there = Credentials(there=("b", "c", "d"))
    chosen = declare(local("1"), credentials=there)
    assert {subnet.inputs["availabilityZone"] for subnet in chosen.of("Subnet")} == {"us-east-1b", "us-east-1c"}
    with pytest.raises(InputError, match="no zone a in us-east-1: choose two or more of b, c, d"):
        declare(local("1", network={"zones": ["a", "b"]}), credentials=there)
    with pytest.raises(InputError, match="fewer than two availability zones"):
        declare(local("1"), credentials=Credentials(there=("a",)))
    later = declare(local("2"), ledger=chosen.outputs["ledger"], credentials=Credentials(there=("a", "b", "c")))
    assert {subnet.inputs["availabilityZone"] for subnet in later.of("Subnet")} == {"us-east-1b", "us-east-1c"}


def test_instance_types_are_those_that_the_zones_have(first: Program) -> None:
    """The group of the first release could not be made, half-way through the deploy, in a region without some type."""
    without = Credentials(lacks=("c7a.large",))
    with pytest.raises(InputError, match=r"us-east-1 has no c7a\.large in its zones a and b: leave it out"):
        declare(local("1"), credentials=without)
    again = declare(local("1"), ledger=first.outputs["ledger"], credentials=without)
    assert releases(again) == releases(first), "what runs already is not asked about"


@pytest.mark.parametrize("serving", [None, "web-00000000"])
def test_an_update_without_the_rollout_writes_down_what_it_found(first: Program, serving: str | None) -> None:
    """After `--target` or `--exclude`, the next update would give an unproved release all the traffic at once."""
    before = {**first.outputs, "seconds": {"build": 1.0, "upload": 2.0, "rollout": {"gate": 3.0}}}
    partial = declare(local("2"), outputs=before, serving=serving)
    for name in ("ledger", "standby", "seconds"):
        assert partial.outputs[name] == before[name]
    assert partial.outputs["live"] == serving
    following = declare(local("2"), outputs=partial.outputs)
    assert following.one("Rollout").inputs["trusted"] is False


def test_the_rollout_has_the_warm_pool() -> None:
    """The live release would get none, or one of another size; and an upgrade would deploy everything anew."""
    on_demand = {"on_demand_percent": 100}
    first = declare(local("1", machine=on_demand))
    assert "warm_pool" not in first.one("Rollout").inputs, "as the states of older versions have it"
    capacity = {"min": 2, "max": 4, "warm_pool": {"size": 1, "state": "running"}}
    again = declare(local("1", machine=on_demand, capacity=capacity), ledger=first.outputs["ledger"])
    assert releases(again) == releases(first), "it is no part of a release"
    given = again.one("Rollout").inputs
    pool = {"size": 1, "prepared": 1, "state": "Running", "reuse": False}
    assert given["warm_pool"] == pool
    sides = [{**side, "group": "asg", "target_group": "tg", "image": "ami"} for side in given["sides"]]
    assert Inputs.of({**given, "sides": sides}).order.warm_pool == WarmPool(1, 1, "Running")


def test_a_rollback_to_a_release_with_spot_instances_goes_without_the_warm_pool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """AWS would refuse the pool; or the traffic would have to stay on a broken release for a pool."""
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", said.append)
    spot = declare(local("1", machine={"on_demand_percent": 50}))
    values = local("2", capacity={"warm_pool": {"size": 1}}, machine={"on_demand_percent": 100})
    old = spot.outputs["ledger"]["live"]
    back = declare({**values, "release": old}, ledger=spot.outputs["ledger"])
    assert back.one("Rollout").inputs["live"] == old
    assert "warm_pool" not in back.one("Rollout").inputs
    assert [each for each in said if "warm pool" in each] == [
        f"release {old} gets no warm pool: it was made with other settings of the machine"
    ]


def test_what_the_measured_boots_propose_is_shown_and_not_done(first: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines that boot slowly would be replaced again and again, and nobody would know which setting is wrong."""
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", said.append)
    assert first.outputs["boots"] == "2/40/41", "as the rollout has left it"
    slow = declare(local("1"), outputs={**first.outputs, "boots": "4/200/210"})
    group = slow.one("Group").inputs
    assert (group["defaultInstanceWarmup"], group["healthCheckGracePeriod"]) == (60, 60)
    assert [line.split(",")[0] for line in said] == [
        "fleetswap:capacity.warmup is 60 s; 200 is proposed",
        "fleetswap:health.grace is 60 s; 420 is proposed",
    ]
    said.clear()
    declare(local("1"), outputs=first.outputs)
    assert said == []


def test_a_release_that_was_left_is_not_trusted(first: Program, second: Program) -> None:
    """A release that was rolled back would get all the traffic again, without canary and bake."""
    old = first.outputs["ledger"]["live"]
    back = declare(local("1"), ledger=second.outputs["ledger"])
    assert back.one("Rollout").inputs["live"] == old
    assert back.one("Rollout").inputs["trusted"] is True
    again = declare(local("2"), ledger=back.outputs["ledger"])
    assert again.one("Rollout").inputs["trusted"] is False
    after_all = declare(local("2"), ledger=again.outputs["ledger"])
    assert after_all.one("Rollout").inputs["trusted"] is True
    by_hand = declare(local("3", retention={"images": 3, "min_age": 0}), ledger=second.outputs["ledger"], left=old)
    assert declare(local("1"), ledger=by_hand.outputs["ledger"]).one("Rollout").inputs["trusted"] is False


def test_the_switch_may_change_the_weights_and_nothing_else(first: Program) -> None:
    """AWS could not put the weights back when the deploying machine dies; or a stolen role could do more than that."""
    role = first.one("Role", "web-switch").inputs
    assert json.loads(role["assumeRolePolicy"])["Statement"][0]["Principal"] == {"Service": "scheduler.amazonaws.com"}
    policy = json.loads(first.one("RolePolicy").inputs["policy"])
    (statement,) = policy["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Allow", "elasticloadbalancing:ModifyRule")
    assert statement["Resource"].endswith("/*")
    assert statement["Resource"] != "*"
    assert first.one("Rollout").inputs["switch_role"] == "arn:web-switch"


def test_only_what_was_live_lately_skips_the_canary(first: Program, second: Program) -> None:
    """A new image would get all the traffic unproved, or the way back would take as long as a deploy."""
    assert first.one("Rollout").inputs["trusted"] is False
    assert second.one("Rollout").inputs["trusted"] is False
    old = first.outputs["ledger"]["live"]
    back = declare(local("2", release=old), ledger=second.outputs["ledger"])
    assert back.one("Rollout").inputs["trusted"] is True
    long_ago = declare(local("2", release=old, rollout={"trusted": 1}), ledger=second.outputs["ledger"])
    assert long_ago.one("Rollout").inputs["trusted"] is False


def test_the_strategy_reaches_the_rollout(first: Program) -> None:
    """The traffic would move in other steps than the reviewed ones."""
    steps = [{"weight": 10, "hold": 5, "min_requests": 7}]
    program = declare(
        local("2", rollout={"strategy": steps, "bake": 9, "alarms": ["bad"]}), ledger=first.outputs["ledger"]
    )
    policy = program.one("Rollout").inputs["policy"]
    assert policy["strategy"]["steps"][0] == {"weight": 10, "hold": 5, "min_requests": 7}
    assert [step["weight"] for step in policy["strategy"]["steps"]] == [10, 100]
    assert (policy["strategy"]["bake"], policy["alarms"]) == (9, ["bad"])
    assert policy["errors"]["ceiling"] == 0.1


def test_a_refresh_leaves_the_tags_of_rollouts_alone(first: Program) -> None:
    """A refresh would take a pin for drift, and the next update remove it with its undo."""
    (provider,) = [each for each in first.resources if each.type == "pulumi:providers:aws"]
    assert "fleetswap:pin" in provider.inputs["ignoreTags"]


def test_an_image_of_a_flake_is_declared_as_it_is_named(tmp_path: Path) -> None:
    """The disk image could not be built from its inputs, or an older program would misread the ledger."""
    (tmp_path / "flake.nix").write_text(
        '{ outputs = { self }: { web = (derivation { name = "web"; system = "x86_64-linux"; builder = "/bin/sh"; })'
        ' // { packages = { nginx = "1.28"; }; }; }; }'
    )
    flake = f"path:{tmp_path}#web"
    options = {"substitute": "false", "build-users-group": ""}
    program = declare(local(image={"nix": {"flake": flake, "options": options}}))
    (disk,) = program.of("DiskImage")
    assert disk.inputs["nix"] == {"flake": flake, "options": options}
    assert disk.inputs["identity"].endswith("-web")
    ledger = program.outputs["ledger"]
    assert ledger["version"] == 4
    assert ledger["entries"][0]["image"]["nix"] == {"flake": flake, "options": options}
    assert ledger["entries"][0]["image"]["packages"] == {"nginx": "1.28"}
    again = declare(local(image={"nix": {"flake": flake, "options": options}}), ledger=ledger)
    assert again.outputs["ledger"]["entries"] == ledger["entries"]


def test_warnings_of_the_image_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """NixOS would say in vain that an option is going away."""
    made = Evaluation("/nix/store/x-image", "/nix/store/x-image.drv", "x86_64-linux", warnings=("a", "b"))
    monkeypatch.setattr("tests.program.declared._evaluate", lambda *_, **__: made)
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", said.append)
    declare(local("1"))
    assert [each for each in said if each.startswith("the image: ")] == ["the image: a", "the image: b"]


def test_no_deploy_leaves_a_release_that_cannot_start_machines(first: Program) -> None:
    """A rollback would lead to a group that cannot grow, and nobody would know before."""
    (live,) = releases(first)
    with pytest.raises(InputError, match=f"the AMI of release {live}, which has the traffic, does not exist") as raised:
        declare(local("2"), ledger=first.outputs["ledger"], images=())
    assert f"Set fleetswap:release to {live}" in str(raised.value)
    assert releases(declare(local("1"), ledger=first.outputs["ledger"], images=())) == [live]
