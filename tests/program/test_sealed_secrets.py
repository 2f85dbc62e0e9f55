"""Sealed secrets as the program declares them: key, role, policies, and what they must be before a machine boots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest

from fleetswap.domain.errors import InputError
from fleetswap.domain.network.endpoints import INTERFACE, Service
from fleetswap.domain.release.own_key import replica
from tests.fakes.ebs import disk_file
from tests.program.declared import Around, Declared, Program, declare
from tests.secrets.test_sealed_file import document, entry
from tests.secrets.test_sealed_file import sealed as value

KMS = Around(
    services=(Service("com.amazonaws.us-east-1.kms", INTERFACE, frozenset({"us-east-1a", "us-east-1b"}), True),)  # noqa: FBT003
)
KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER = "arn:aws:kms:us-east-1:123456789012:key/99999999-12ab-34cd-56ef-1234567890ab"
MULTI = "arn:aws:kms:us-east-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab"
OPS = "arn:aws:iam::123456789012:role/ops"
POLICIES = ["arn:aws:iam::aws:policy/service-role/A", "arn:aws:iam::123456789012:policy/B"]
CONTEXT = {"Environment": "fleetswap/local"}
TPM = {"ami": {"tpm_support": "v2.0"}}


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("disks")
    found = []
    for number in range(3):
        path = folder / f"{number}.raw"
        path.write_bytes(disk_file(folder / "some.raw").read_bytes() + bytes([number]) * 512)
        found.append(path)
    return found


def program(disk: Path, before: Program | None = None, **values: Any) -> Program:
    """One update; `before` is the last one."""
    image = {"file": str(disk), **values.pop("image", {})}
    given = {"service": "web", "image": image, "retention": {"images": 1, "min_age": 0}, **values}
    raw = {key: json.dumps(value) if isinstance(value, (dict, list)) else str(value) for key, value in given.items()}
    return declare(raw, outputs=before.outputs if before is not None else {}, around=KMS)


def statements(found: Program, key: str = "arn:web") -> dict[str, dict[str, Any]]:
    """Those that a key's policy has once the update has ended, by their names."""
    all_of = [each.inputs["statements"] for each in found.of("KeyStatements") if each.inputs["key"] == key]
    return {each["Sid"]: each for some in all_of for each in some}


def of(found: Program, kind: str) -> dict[str, dict[str, Any]]:
    return {each.name: each.inputs for each in found.of(kind)}


def before(found: Declared) -> set[str]:
    """Types and names of what a resource depends on explicitly."""
    after = found.options.depends_on
    resources = after if isinstance(after, list) else [after]
    return {f"{type(each).__name__} {each._name}" for each in resources if isinstance(each, pulumi.Resource)}


def openable(found: Program) -> set[str]:
    """The keys that the machines' role may open secrets with."""
    policies = [json.loads(each["policy"])["Statement"] for each in of(found, "RolePolicy").values()]
    return {key for (opens,) in policies if opens["Action"] == "kms:Decrypt" for key in opens["Resource"]}


def only_release(found: Program) -> str:
    (release,) = (each.name for each in found.of("Release"))
    return release


def test_a_stack_without_the_setting_has_neither_key_nor_endpoint(disks: list[Path]) -> None:
    """Every fleet of an older version would get a key that it pays for, or another role under its machines."""
    found = program(disks[0])
    assert not [each for each in found.resources if "kms" in each.type.lower()]
    assert only_release(found) in of(found, "Role")
    assert "secrets" not in found.outputs
    assert "kms" not in str(found.one("aws").inputs["endpoints"] if found.one("aws").inputs.get("endpoints") else "")


def test_the_key_is_as_the_settings_say(disks: list[Path]) -> None:
    """It would not rotate, or be gone a week after a mistake, or be found by nobody."""
    found = program(disks[0], secrets={"rotation_period": 90, "deletion_window": 14, "editors": [OPS]})
    key = found.one("Key")
    assert key.inputs["enableKeyRotation"] is True
    assert (key.inputs["rotationPeriodInDays"], key.inputs["deletionWindowInDays"]) == (90, 14)
    assert "multiRegion" not in key.inputs
    assert key.options.ignore_changes == ["multiRegion", "policy"], "or the provider would replace the key"
    assert {each["Sid"]: each for each in json.loads(key.inputs["policy"])["Statement"]} == statements(found)
    assert found.one("Alias").inputs["name"] == "alias/fleetswap/fleetswap/local"
    assert statements(found)["EditorsSealAndOpen"]["Principal"] == {"AWS": [OPS]}


def test_the_machines_have_the_role_of_the_stack(disks: list[Path]) -> None:
    """The key policy could not name the role, or a machine boot before it may open anything."""
    found = program(disks[0], secrets=True, machine={"policies": POLICIES})
    release = only_release(found)
    assert set(of(found, "Role")) == {"web-machines", "web-switch"}, "and none of the release's own"
    template = found.one("LaunchTemplate").inputs
    assert template["iamInstanceProfile"] == {"arn": "arn:web-machines"}
    assert statements(found)["MachinesOpen"]["Principal"] == {"AWS": ["arn:web-machines"]}
    assert statements(found)["MachinesOpen"]["Condition"]["StringEquals"] == {
        "kms:EncryptionContext:Environment": "fleetswap/local"
    }
    (opens,) = json.loads(found.one("RolePolicy", "web-machines").inputs["policy"])["Statement"]
    assert (opens["Action"], opens["Resource"]) == ("kms:Decrypt", ["arn:web"])
    attached = of(found, "RolePolicyAttachment")
    assert attached["web-machines-aws-service-role-A"]["policyArn"] == POLICIES[0]
    assert attached["web-machines-123456789012-B"]["policyArn"] == POLICIES[1]
    assert before(found.one("Group", release)) >= {
        "KeyStatements web-machines",
        "RolePolicy web-machines",
        *(f"RolePolicyAttachment {name}" for name in attached),
    }


def test_the_output_says_what_seals(disks: list[Path]) -> None:
    """Whoever seals could not know the key, or seal for another environment."""
    told = program(disks[0], secrets={"replica_regions": ["eu-west-1"]}).outputs["secrets"]
    assert told == {
        "key": "arn:web",
        "stack_key": "arn:web",
        "alias": "alias/fleetswap/fleetswap/local",
        "context": CONTEXT,
        "replicas": ["arn:web-eu-west-1"],
        "role": "arn:web-machines",
    }


def test_secrets_come_with_a_way_to_kms(disks: list[Path]) -> None:
    """No machine could open anything, and each deploy would fail at its gate."""
    assert "web-endpoint-kms" in of(program(disks[0], secrets=True), "VpcEndpoint")
    assert not program(disks[0]).of("VpcEndpoint")


def test_turning_secrets_on_makes_a_new_release_of_the_same_image(disks: list[Path]) -> None:
    """The live release would change its role under its machines."""
    first = program(disks[0])
    old = only_release(first)
    found = program(disks[0], first, secrets=True)
    roles = of(found, "Role")
    assert set(roles) == {old, "web-machines", "web-switch"}
    templates = {name: each["iamInstanceProfile"]["arn"] for name, each in of(found, "LaunchTemplate").items()}
    assert templates.pop(old) == f"arn:{old}"
    assert list(templates.values()) == ["arn:web-machines"]


def test_the_role_outlives_its_releases_and_has_what_all_of_them_need(disks: list[Path]) -> None:
    """The machines of the live release would lose a policy when the next one no longer asks for it."""
    first = program(disks[0], secrets=True, machine={"policies": POLICIES[:1]})
    second = program(disks[1], first, secrets=True, machine={"policies": POLICIES[1:]})
    assert {each["policyArn"] for each in of(second, "RolePolicyAttachment").values()} == set(POLICIES)
    third = program(disks[2], second, secrets=True, machine={"policies": POLICIES[1:]})
    assert {each["policyArn"] for each in of(third, "RolePolicyAttachment").values()} == set(POLICIES[1:])
    assert "web-machines" in of(third, "Role")


def test_another_path_is_another_role_beside_the_first(disks: list[Path]) -> None:
    """IAM cannot move a role, so it would be replaced under the live release's machines."""
    first = program(disks[0], secrets=True)
    found = program(disks[0], first, secrets=True, iam={"path": "/web/"})
    roles = {name: each["path"] for name, each in of(found, "Role").items() if name.startswith("web-machines")}
    assert roles.pop("web-machines") == "/"
    ((moved, path),) = roles.items()
    assert path == "/web/"
    opening = [each["Principal"]["AWS"] for sid, each in statements(found).items() if sid.startswith("MachinesOpen")]
    assert opening == [[f"arn:{moved}"], ["arn:web-machines"]]
    assert found.outputs["secrets"]["role"] == f"arn:{moved}"


def test_an_existing_key_is_not_made_and_not_changed(disks: list[Path]) -> None:
    """A key of a company would get another policy, or secrets be sealed with one that nobody asked for."""
    found = program(disks[0], secrets={"kms_key": KEY})
    assert not found.of("Key")
    assert openable(found) == {KEY}
    assert found.outputs["secrets"] == {"key": KEY, "context": CONTEXT, "role": "arn:web-machines"}


def test_the_old_standby_may_open_its_secrets_until_the_rollout_is_over(disks: list[Path]) -> None:
    """After a rollout that fails it is still the standby, and a rollback could start no machine of it."""
    first = program(disks[0], secrets={"kms_key": KEY})
    second = program(disks[1], first, secrets={"kms_key": OTHER})
    third = program(disks[2], second, secrets={"kms_key": OTHER})
    had, has = ({name: each["policy"] for name, each in of(found, "RolePolicy").items()} for found in (second, third))
    assert openable(second) == {KEY, OTHER}
    assert {name for name in had if name not in has} == {f"web-machines-{KEY.rpartition('/')[2]}"}
    assert all(had[name] == policy for name, policy in has.items()), "what is no longer declared goes after the rollout"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"secrets": {"kms_key": KEY, "retire": True}}, f"fleetswap:secrets.kms_key: {KEY} is a key that this stack"),
        ({"secrets": {"kms_key": OTHER}}, r"fleetswap:secrets\.kms_key: .*: remove the setting$"),
        ({"secrets": True, "machine": {"kms_key": OTHER}}, r"fleetswap:machine\.kms_key: .*: set it to `stack`$"),
        ({"secrets": True, "upload": {"kms_key": KEY}}, r"fleetswap:upload\.kms_key: .*: set it to `stack`$"),
    ],
)
def test_a_key_of_the_stack_is_not_taken_for_anothers(disks: list[Path], settings: dict[str, Any], told: str) -> None:
    """It would be deleted under the live release: no release that the ledger knows needs the stack's key any more."""
    first = with_key(program(disks[0], secrets=True), KEY)
    first.outputs["volume_key"] = OTHER
    with pytest.raises(InputError, match=told):
        program(disks[0], first, **settings)


def test_replicas_have_the_policy_of_the_key(disks: list[Path]) -> None:
    """Whoever may not open in one region could do so in another."""
    found = program(disks[0], secrets={"replica_regions": ["eu-west-1", "eu-west-2"]})
    key, replicas = found.one("Key"), of(found, "ReplicaKey")
    assert key.inputs["multiRegion"] is True
    assert {each["region"] for each in replicas.values()} == {"eu-west-1", "eu-west-2"}
    for each in replicas.values():
        assert each["policy"] == key.inputs["policy"]
        assert statements(found, f"arn:web-{each['region']}") == statements(found)
        assert each["deletionWindowInDays"] == 30


def with_key(found: Program, arn: str) -> Program:
    """As if KMS had given the key this ARN."""
    return Program(found.resources, {**found.outputs, "secrets": {**found.outputs["secrets"], "stack_key": arn}})


def test_a_key_stays_what_it_was_made_as(disks: list[Path]) -> None:
    """A key of many regions would lose them with the last replica, or one of a single region be replaced."""
    first = program(disks[0], secrets={"replica_regions": ["eu-west-1"]})
    assert program(disks[0], with_key(first, MULTI), secrets=True).one("Key").inputs["multiRegion"] is True
    single = with_key(program(disks[0], secrets=True), KEY)
    with pytest.raises(InputError, match=r"fleetswap:secrets\.replica_regions: .* was made as a single-Region key"):
        program(disks[0], single, secrets={"replica_regions": ["eu-west-1"]})


def test_the_key_cannot_go_while_a_release_needs_it(disks: list[Path]) -> None:
    """The machines of the live release, or of one that a rollback starts, could never open their secrets again."""
    first = program(disks[0], secrets=True)
    second = program(disks[1], first, secrets=True)
    third = program(disks[2], second, secrets=True)
    live, standby, retained = (entry["release"] for entry in third.outputs["ledger"]["entries"])
    for change in ({}, {"secrets": {"kms_key": KEY}}):
        with pytest.raises(InputError) as caught:
            program(disks[2], third, **change)
        assert f"{live} (live), {standby} (standby), {retained} (retained) need the stack's key" in str(caught.value)
        assert "secrets.retire" in str(caught.value)


def test_a_key_that_retires_goes_with_the_last_release_that_needs_it(disks: list[Path]) -> None:
    """Secrets could never be turned off, or the key go too early."""
    first = program(disks[0], secrets=True)
    off: dict[str, Any] = {"secrets": {"retire": True}}
    second = program(disks[1], first, **off)
    assert second.outputs["ledger"]["entries"][0]["machine"].get("secrets") is None
    assert second.of("Key"), "the standby needs it"
    third = program(disks[2], second, **off)
    assert third.of("Key"), "the retained release needs it"
    assert not [name for name in of(third, "Role") if name.startswith("web-machines")], "and no machine opens anything"
    assert "MachinesOpen" not in statements(third)
    fourth = program(disks[1], third, **off, retention={"images": 0, "min_age": 0})
    assert fourth.of("Key"), "this update may still fail"
    assert not program(disks[1], fourth, **off, retention={"images": 0, "min_age": 0}).of("Key")
    assert not program(disks[1], fourth).of("Key"), "and the setting can go"


def test_a_retiring_key_gives_way_to_an_existing_one(disks: list[Path]) -> None:
    """The standby could not open its secrets when its machines start again, or the new release not its own."""
    first = program(disks[0], secrets={"editors": [OPS]})
    found = program(disks[0], first, secrets={"kms_key": KEY, "retire": True, "editors": [OPS]})
    assert found.of("Key")
    assert "EditorsSealAndOpen" in statements(found)
    assert openable(found) == {"arn:web", KEY}
    assert (found.outputs["secrets"]["key"], found.outputs["secrets"]["stack_key"]) == (KEY, "arn:web")


def test_attested_needs_a_nitro_tpm(disks: list[Path]) -> None:
    """No machine could ever attest itself: the deploy would fail at its gate, after the upload."""
    with pytest.raises(InputError) as caught:
        program(disks[0], secrets={"attested": True}, image={"ami": {"boot_mode": "uefi-preferred"}})
    assert "has no NitroTPM: set tpm_support: v2.0 and boot_mode: uefi in image.ami" in str(caught.value)


def test_the_first_update_of_a_stack_with_a_sealed_file_makes_the_key_alone(
    disks: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing can be sealed before there is a key, so no image could ever be built."""
    found = program(disks[0].with_name("not-there.raw"), secrets={"file": "secrets/not-there.yaml"})
    kinds = {each.type for each in found.resources}
    assert {
        "aws:kms/key:Key",
        "aws:kms/alias:Alias",
        "aws:iam/role:Role",
        "aws:iam/instanceProfile:InstanceProfile",
    } <= kinds
    assert not [kind for kind in kinds if "ec2" in kind or "DiskImage" in kind]
    assert found.outputs["secrets"]["role"] == "arn:web-machines"
    assert "ledger" not in found.outputs
    assert "once secrets/not-there.yaml is sealed with that key" in caplog.text


def test_the_update_that_makes_the_key_leaves_a_running_fleet_alone(disks: list[Path]) -> None:
    """A new image would be deployed although it cannot contain what is sealed with the key."""
    first = program(disks[0])
    found = program(disks[1], first, secrets={"file": "secrets/not-there.yaml"})
    assert only_release(found) == only_release(first)
    assert found.outputs["ledger"] == first.outputs["ledger"]
    assert found.of("Key")
    assert not found.of("VpcEndpoint")


def test_a_rollback_does_not_wait_for_the_key(disks: list[Path]) -> None:
    """Whoever has just turned secrets on could not go back from a bad release."""
    first = program(disks[0])
    second = program(disks[1], first)
    back = program(disks[1], second, release=only_release(first), secrets={"file": "secrets/not-there.yaml"})
    assert back.outputs["live"] == only_release(first)


def test_the_key_alone_is_not_made_over_what_a_failed_update_left(disks: list[Path]) -> None:
    """Everything that such an update does not declare would be deleted, and it might have traffic."""
    raw = {"service": "web", "image": json.dumps({"file": str(disks[0])}), "secrets": json.dumps({"file": "a.yaml"})}
    with pytest.raises(InputError, match="failed and left resources"):
        declare(raw, around=Around(own=frozenset({"vpc-1"})))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("fleetswap_pulumi.secrets_plan.root", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "secrets.yaml does not exist"),
        ("password: hunter2\n", "is not sealed"),
        ("password: [hunter2\n", "is not YAML"),
        ("password: hunter2\nsops: {mac: x}\n", "password is in plaintext"),
        ("# hunter2\nsops: {mac: x}\n", "the comment in line 1 is in plaintext"),
    ],
)
def test_a_file_that_is_not_sealed_is_refused(disks: list[Path], project: Path, content: str | None, told: str) -> None:
    """A secret in plaintext would be in the image, in the snapshot, and in the Nix store."""
    first = program(disks[0], secrets=True)
    if content is not None:
        (project / "secrets.yaml").write_text(content)
    with pytest.raises(InputError) as caught:
        program(disks[0], first, secrets={"file": "secrets.yaml"})
    assert "fleetswap:secrets.file: secrets.yaml" in str(caught.value)
    assert told in str(caught.value)
    assert "hunter2" not in str(caught.value)
    live = first.outputs["live"]
    assert program(disks[0], first, secrets={"file": "secrets.yaml"}, release=live).outputs["live"] == live, (
        "a rollback"
    )


def test_a_sealed_file_is_accepted_while_replicas_come_and_go(disks: list[Path], project: Path) -> None:
    """The update that makes a replica would want it in the file, or the one that removes it find one too many."""
    one = [entry(MULTI, context=CONTEXT)]
    both = [*one, entry(replica(MULTI, "eu-west-1"), context=CONTEXT)]

    def update(replicas: list[str], before: list[str], keys: list[dict[str, Any]]) -> None:
        known = {"stack_key": MULTI, "replicas": [replica(MULTI, each) for each in before]}
        outputs = {**first.outputs, "secrets": known}
        sealed = document(password=value())
        sealed["sops"]["kms"] = keys
        (project / "sealed.yaml").write_text(json.dumps(sealed))
        program(disks[0], Program((), outputs), secrets={"file": "sealed.yaml", "replica_regions": replicas})

    first = program(disks[0], secrets={"replica_regions": ["eu-west-1"]})
    for replicas, made, keys in (
        ([], [], one),
        (["eu-west-1"], [], one),
        (["eu-west-1"], ["eu-west-1"], both),
        ([], ["eu-west-1"], both),
        ([], ["eu-west-1"], one),
    ):
        update(replicas, made, keys)
    for replicas, made, keys in ((["eu-west-1"], ["eu-west-1"], one), ([], [], both)):
        with pytest.raises(InputError, match=r"fleetswap:secrets\.file: sealed\.yaml"):
            update(replicas, made, keys)


def test_all_that_is_wrong_with_secrets_is_told_at_once(disks: list[Path]) -> None:
    """Each would take an update of its own to find."""
    first = with_key(program(disks[0], secrets=True), KEY)
    with pytest.raises(InputError) as caught:
        program(disks[1], first, secrets={"attested": True, "replica_regions": ["eu-west-1"]})
    for key in ("secrets.attested", "secrets.replica_regions"):
        assert f"fleetswap:{key}: " in str(caught.value)


def test_a_plaintext_file_is_refused_before_the_image_is_looked_at(disks: list[Path], project: Path) -> None:
    """Nix would copy the plaintext into its store, which everybody can read."""
    first = program(disks[0], secrets=True)
    (project / "secrets.yaml").write_text("password: hunter2\n")
    with pytest.raises(InputError, match=r"secrets\.yaml: is not sealed"):
        program(disks[0].with_name("not-there.raw"), first, secrets={"file": "secrets.yaml"})
