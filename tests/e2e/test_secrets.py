"""Secrets sealed with KMS, opened by real machines at boot: what they answer, who may not, what breaks, what leaks.

Each test goes on from where the one before left the fleet. It has one machine a release, and whoever deploys has the
printed policies. The first secret is sealed by `make up`, and nobody knows it; the second is `SECRET`.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.load import Load
from tests.e2e.stack import PORT, ROLLOUT, ROOT, LocalStack, Ran
from tools.local.process import environment
from tools.local.work import Work

pytestmark = [pytest.mark.e2e]

SECRET = f"marker-{secrets.token_hex(12)}"

IMPATIENT = {**ROLLOUT, "deadline": 120}
"""For a machine that cannot become healthy. It says why about 8 s after its launch, later on a busy computer."""


class SealedStack(LocalStack):
    """The stack, with what it has said."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, has_users=True, has_secrets=True, **settings)
        self.said: list[str] = []

    def run(self, verb: str, *, version: str = "") -> Ran:
        ran = super().run(verb, version=version)
        self.said.append(ran.said)
        return ran

    @property
    def sealed(self) -> Path:
        """The sealed file that the image is built with."""
        return Work(ROOT, self.folder).sealed

    @property
    def key(self) -> str:
        """The id of the stack's key."""
        return str(yaml.safe_load(self.sealed.read_text())["sops"]["kms"][0]["arn"]).rpartition("/")[2]

    def sops(self, profile: str, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run sops as one of the users, with `text` as its input."""
        env = environment(Work(ROOT, self.folder), os.environ, engine=None, profile=profile)
        env["AWS_ENDPOINT_URL_KMS"] = f"http://127.0.0.1:{PORT}"
        return subprocess.run(["sops", *words], env=env, input=text, capture_output=True, text=True, check=False)

    def seal(self, secret: str) -> None:
        """Replace the sealed file by one with another secret, as the role that deploys may."""
        (how,) = yaml.safe_load(self.sealed.read_text())["sops"]["kms"]
        context = ",".join(f"{name}:{value}" for name, value in how["context"].items())
        words = ["encrypt", "--kms", how["arn"], "--encryption-context", context, "--filename-override", "demo.yaml"]
        done = self.sops("deploy", *words, "/dev/stdin", text=yaml.safe_dump({"demo": secret}))
        assert done.returncode == 0, done.stderr
        self.sealed.write_text(done.stdout)

    def instances(self) -> list[str]:
        """The instances that run or start."""
        wanted = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        found = self.client("ec2").describe_instances(Filters=wanted)["Reservations"]
        return [instance["InstanceId"] for one in found for instance in one["Instances"]]

    def console(self, instance: str) -> str:
        return str(self.client("ec2").get_console_output(InstanceId=instance, Latest=True).get("Output", ""))

    def answer(self) -> tuple[str, str]:
        """The instance that answers, and the keyed hash of its id."""
        instance, digest = self.get("secret").split()
        return instance, digest


def digest(secret: str, instance: str) -> str:
    """What a machine with this secret answers."""
    return hmac.new(secret.encode(), instance.encode(), "sha256").hexdigest()


def wait_for(happens: Callable[[], object], what: str, *, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SealedStack]:
    """A stack with secrets and one machine a release."""
    stack = SealedStack(tmp_path_factory.mktemp("secrets"), capacity={"min": 1, "max": 2})
    yield stack
    stack.run("down")


@pytest.fixture(scope="module")
def first(fleet: SealedStack) -> tuple[str, str]:
    """The stack deployed, and what its first machine answers."""
    assert fleet.run("up").status == 0
    return fleet.answer()


def test_one_command_seals_a_secret_that_only_machines_can_open(fleet: SealedStack, first: tuple[str, str]) -> None:
    """A new stack could not be brought up, or whoever deploys could read what is sealed for machines."""
    instance, answered = first
    assert re.fullmatch(r"i-[0-9a-f]{17} [0-9a-f]{64}", f"{instance} {answered}")
    assert "secrets opened after" in fleet.console(instance)
    sealed = yaml.safe_load(fleet.sealed.read_text())
    assert sealed["demo"].startswith("ENC[AES256_GCM,")
    assert sealed["sops"]["kms"][0]["context"] == {"Environment": "fleetswap/local"}
    for user in ("deploy", "preview", "rollback"):
        opened = fleet.sops(user, "decrypt", str(fleet.sealed))
        assert opened.returncode != 0
        assert "AccessDenied" in opened.stderr
        assert opened.stdout == ""


def test_a_new_secret_is_deployed_although_kms_fails_for_a_while(fleet: SealedStack) -> None:
    """A rotation would not reach the machines, or an outage of a minute would fail a deploy."""
    fleet.seal(SECRET)
    (old,) = fleet.instances()
    fleet.admin("POST", "faults", {"fault": "error-503", "service": "kms", "operation": "Decrypt"})
    started = fleet.start("up", version="2")

    def new() -> list[str]:
        return [instance for instance in fleet.instances() if instance != old]

    try:
        wait_for(
            lambda: any("Trying for" in fleet.console(each) for each in new()), "a machine tries again", seconds=400
        )
        assert fleet.answer()[0] == old
    finally:
        rules = fleet.admin("GET", "faults")["rules"]
        fleet.admin("DELETE", "faults")
        said, _ = started.communicate(timeout=1500)
    fleet.said.append(said)
    print(said)
    assert rules[0]["fired"]
    assert started.returncode == 0
    assert fleet.serves("2")
    (instance,) = new()
    assert fleet.answer() == (instance, digest(SECRET, instance))


def leaks(folders: list[Path], forms: list[bytes]) -> list[Path]:
    """The files that contain one of these. One that its owner deletes meanwhile, as other stacks do, is none."""
    found = []
    for path in (path for folder in folders for path in folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with suppress(FileNotFoundError):
                data = path.read_bytes()
                if any(form in data for form in forms):
                    found.append(path)
    return found


def test_the_secret_is_nowhere_but_in_the_memory_of_machines(fleet: SealedStack) -> None:
    """Whoever reads a state, a log, a preview, a console, a disk or the Nix store would have the secret."""
    forms = [SECRET.encode(), base64.b64encode(SECRET.encode()), SECRET.encode().hex().encode()]
    asked = [
        ("preview", "--diff"),
        ("preview", "--json"),
        ("stack", "export", "--show-secrets"),
    ]
    with ThreadPoolExecutor() as pool:
        for ran in pool.map(lambda words: fleet.pulumi(*words), asked):
            assert ran.status == 0
            fleet.said.append(ran.said)
    for instance in fleet.instances():
        fleet.said.append(fleet.console(instance))
        data = fleet.client("ec2").describe_instance_attribute(InstanceId=instance, Attribute="userData")
        fleet.said.append(json.dumps(data, default=str))
    assert "web: web-" in "".join(fleet.said)
    assert not any(form.decode() in said for form in forms for said in fleet.said)

    (name,) = set(re.findall(r"/nix/store/[a-z0-9]{32}-fleetswap-demo-2\b", "".join(fleet.said)))
    image = Path(name)
    derivation = subprocess.run(["nix-store", "-q", "--deriver", image], check=True, capture_output=True, text=True)
    inputs = subprocess.run(
        ["nix-store", "-q", "--references", derivation.stdout.strip()], check=True, capture_output=True, text=True
    )
    (sealed,) = (path for path in inputs.stdout.split() if path.endswith("-sealed.yaml"))
    assert Path(sealed).read_text() == fleet.sealed.read_text()
    records = re.findall(r"record of this rollout: (\S+\.jsonl)", "".join(fleet.said))
    assert len(set(records)) == 2
    assert leaks([image], [fleet.sealed.read_bytes()]), "the search does not find what is there"
    # The disks of the machines, the snapshots, Pulumi's state and the local cloud's log are in the folder of the stack.
    caches = [ROOT / ".work" / name for name in ("evaluations", "uploads")]
    assert leaks([fleet.folder, image, *caches, *(Path(record).parent for record in set(records))], forms) == []


def test_what_is_sealed_for_another_environment_is_refused_before_a_deploy(fleet: SealedStack) -> None:
    """A file from the wrong folder would be found out by machines, one by one, when they cannot start."""
    mine = fleet.sealed.read_text()
    fleet.sealed.write_text(mine.replace("fleetswap/local", "fleetswap/other"))
    machines = fleet.instances()
    try:
        ran = fleet.run("up", version="wrong")
    finally:
        fleet.sealed.write_text(mine)
    assert ran.status != 0
    assert re.search(r"error: .*fleetswap/other", ran.said)
    assert fleet.instances() == machines


def test_a_release_that_may_not_open_its_secret_never_gets_traffic(fleet: SealedStack) -> None:
    """Machines without their secrets would serve, or the error would leave everyone guessing."""
    kms = fleet.client("kms")
    policy = kms.get_key_policy(KeyId=fleet.key, PolicyName="default")["Policy"]
    without = json.loads(policy)
    without["Statement"] = [
        each for each in without["Statement"] if each["Action"] not in ("kms:Decrypt", ["kms:Decrypt"])
    ]
    assert len(without["Statement"]) < len(json.loads(policy)["Statement"])
    live = fleet.answer()
    fleet.set(rollout=IMPATIENT)
    kms.put_key_policy(KeyId=fleet.key, PolicyName="default", Policy=json.dumps(without))
    try:
        with Load(fleet.url) as load:
            ran = fleet.run("up", version="3")
    finally:
        kms.put_key_policy(KeyId=fleet.key, PolicyName="default", Policy=policy)
        fleet.set(rollout=ROLLOUT)
    print(load.report())
    assert ran.status != 0
    assert re.search(r"console of i-[0-9a-f]{17}: .*KMS refuses: AccessDeniedException", ran.said)
    assert load.failures == {}
    assert set(load.versions) == {"2"}
    assert fleet.answer() == live


def test_a_rollback_brings_the_old_secret_back(fleet: SealedStack, first: tuple[str, str]) -> None:
    """A secret that turns out to be wrong would need a second rotation while users wait."""
    assert fleet.run("rollback").status == 0
    assert fleet.serves("1")
    assert fleet.answer() == first


def test_a_disabled_key_stops_new_machines_and_the_next_deploy_alone(fleet: SealedStack) -> None:
    """Whoever disables a key would take the service down, or find out when the next machine does not start."""
    kms, groups = fleet.client("kms"), fleet.client("autoscaling")
    live = fleet.answer()
    (group,) = (name for name in groups.describe_auto_scaling_groups()["AutoScalingGroups"] if live[0] in str(name))
    before = fleet.instances()
    kms.disable_key(KeyId=fleet.key)
    try:
        with Load(fleet.url) as load:
            refused = fleet.run("up", version="4")
            # Not before: a machine gives up two minutes after it began to ask.
            groups.set_desired_capacity(AutoScalingGroupName=group["AutoScalingGroupName"], DesiredCapacity=2)
            wait_for(lambda: len(fleet.instances()) > len(before), "a second machine is launched")
            (new,) = set(fleet.instances()) - set(before)
            wait_for(lambda: "KMS refuses: DisabledException" in fleet.console(new), "the second machine says why")
        assert fleet.answer() == live
    finally:
        kms.enable_key(KeyId=fleet.key)
    print(load.report())
    assert refused.status != 0
    assert re.search(rf"error: .*{fleet.key} is Disabled, and new machines of web-", refused.said)
    assert not re.search(r"^ [+~-]+ .*(Release|Rollout|LaunchTemplate)", refused.said, flags=re.MULTILINE)
    assert load.failures == {}
    assert set(load.versions) == {"1"}
    wait_for(lambda: fleet.answer()[0] == new, "the second machine serves once the key is enabled")


def test_all_of_it_needs_no_more_than_the_printed_policies(fleet: SealedStack) -> None:
    """The printed policies would lack an action for keys, or it was not they that were proved, but root."""
    opened = [one for one in fleet.denials() if one[1] != "kms:Decrypt"]  # which the first test tries
    assert opened == []
    decisions = fleet.admin("GET", "authorizations")["authorizations"]
    asked = {one["action"] for one in decisions if one["principal"].endswith(":user/deploy") and one["allowed"]}
    assert asked >= {"kms:CreateKey", "kms:CreateAlias", "kms:Encrypt", "kms:DescribeKey"}
