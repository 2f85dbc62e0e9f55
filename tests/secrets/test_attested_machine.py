"""A machine with a TPM opens its secrets because it booted what was measured, and no other does.

Machines, firmware, TPMs, sops and key service are real; KMS, its endpoint and the network are the local cloud's.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fleetswap.domain.boot.measured import measurements
from fleetswap.nix import build
from localcloud.ebs.store import SnapshotStore
from localcloud.faults.lateness import Lateness
from localcloud.server import LocalCloud
from tests.localcloud.authorization.conftest import allow, policy, trust
from tests.localcloud.clients import BLOCK, Clients
from tests.nix.conftest import DEMO, OPTIONS, name, parts
from tests.secrets.test_key_service import ROOT_OF_ACCOUNT, SOPS, program

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["parts", "program"]

pytestmark = [pytest.mark.machines, pytest.mark.disks, pytest.mark.nix, pytest.mark.go]

SECONDS = 500.0  # a machine opens its secrets some 50 s after it was launched, on an idle computer
CONTEXT = {"Environment": "fleetswap/prod"}
OPENED, REFUSED = "secrets opened after", "KMS refuses: AccessDeniedException"


@pytest.fixture
def cloud(_local_cloud: None, tmp_path: Path) -> Iterator[LocalCloud]:
    """A local cloud with machines."""
    store = SnapshotStore(tmp_path / "cloud" / "snapshots", settle_seconds=0.0)
    cloud = LocalCloud(tmp_path / "cloud", 0, store=store, lateness=Lateness.none())
    try:
        cloud.start()
        yield cloud
    finally:
        cloud.stop()


class Stack:
    """A key, a role and a network as a stack has them, and an image with what the key sealed."""

    def __init__(self, folder: Path, cloud: LocalCloud, clients: Clients, parts: Path, program: Path) -> None:
        assert cloud.machines is not None
        self.folder, self.clients, self.machines = folder, clients, cloud.machines
        self.kms = clients.client("kms")
        self.key = self.kms.create_key()["KeyMetadata"]["Arn"]
        self._seal(cloud.endpoint)
        image = name(DEMO, version="1", parts=str(parts), secrets=str(folder / "sealed.yaml"), keyService=str(program))
        built = build.realise(image, root=None, say=lambda _: None, options=OPTIONS)
        self.disk = (built / "disk.raw").read_bytes()
        self._network()
        clients.iam.create_role(RoleName="machine", AssumeRolePolicyDocument=trust(Service="ec2.amazonaws.com"))
        clients.iam.create_instance_profile(InstanceProfileName="machine")
        clients.iam.add_role_to_instance_profile(InstanceProfileName="machine", RoleName="machine")

    def _seal(self, endpoint: str) -> None:
        plain = self.folder / "plain.yaml"
        plain.write_text("demo: hunter2-very-secret\n")
        context = ",".join(f"{name}:{value}" for name, value in CONTEXT.items())
        env = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_ENDPOINT_URL": endpoint}
        seal = [SOPS, "encrypt", "--kms", self.key, "--encryption-context", context, plain]
        done = subprocess.run(seal, env=env, capture_output=True, check=True, timeout=60)
        (self.folder / "sealed.yaml").write_bytes(done.stdout)

    def _network(self) -> None:
        """A subnet without a way to the internet, with an endpoint for KMS."""
        ec2 = self.clients.ec2
        vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
        self.subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24", AvailabilityZone="us-east-1a")["Subnet"][
            "SubnetId"
        ]
        self.group = ec2.create_security_group(GroupName="web", Description="web", VpcId=vpc)["GroupId"]
        front = ec2.create_security_group(GroupName="kms", Description="kms", VpcId=vpc)["GroupId"]
        https: Any = [
            {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": [{"GroupId": self.group}]}
        ]
        ec2.authorize_security_group_ingress(GroupId=front, IpPermissions=https)
        ec2.create_vpc_endpoint(
            VpcId=vpc,
            ServiceName="com.amazonaws.us-east-1.kms",
            VpcEndpointType="Interface",
            SubnetIds=[self.subnet],
            SecurityGroupIds=[front],
            PrivateDnsEnabled=True,
        )

    def image(self, disk: bytes, **asked: Any) -> str:
        """The AMI of a disk."""
        blocks = {
            number: disk[number * BLOCK :][:BLOCK].ljust(BLOCK, b"\0") for number in range(-(-len(disk) // BLOCK))
        }
        blocks = {number: block for number, block in blocks.items() if block.strip(b"\0")}
        snapshot = self.clients.snapshot(blocks)
        return self.clients.image(f"demo-{snapshot}", snapshot, **{"TpmSupport": "v2.0", **asked})

    def launch(self, image: str) -> str:
        """A machine."""
        return self.clients.ec2.run_instances(
            ImageId=image,
            InstanceType="m6i.large",
            MinCount=1,
            MaxCount=1,
            SubnetId=self.subnet,
            SecurityGroupIds=[self.group],
            IamInstanceProfile={"Name": "machine"},
            MetadataOptions={"HttpTokens": "required"},
        )["Instances"][0]["InstanceId"]

    def allow(self, disk: bytes) -> None:
        """The key opens for machines that booted this disk, and for nobody else."""
        pcrs = {
            f"kms:RecipientAttestation:NitroTPMPCR{number}": value
            for number, value in measurements(uki(disk, self.folder), name="demo", alone=False)
        }
        machine = f"arn:aws:iam::{ROOT_OF_ACCOUNT.split(':')[4]}:role/machine"
        condition = {"StringEquals": {**pcrs, "kms:EncryptionContext:Environment": CONTEXT["Environment"]}}
        statements = [
            {**allow("kms:PutKeyPolicy"), "Principal": {"AWS": ROOT_OF_ACCOUNT}},
            {**allow("kms:Decrypt", condition=condition), "Principal": {"AWS": machine}},
        ]
        self.kms.put_key_policy(
            KeyId=self.key, PolicyName="default", Policy=policy(*statements), BypassPolicyLockoutSafetyCheck=True
        )

    def says(self, instance: str, words: str) -> str:
        """A machine's console, once these words are there."""
        until = time.monotonic() + SECONDS
        while words not in (console := self.machines.console_output(instance)):
            assert time.monotonic() < until, f"{instance} never said {words!r}: {console[-3000:]}"
            time.sleep(0.1)
        return console


def uki(disk: bytes, folder: Path) -> bytes:
    """What the firmware starts of a disk."""
    (folder / "disk.raw").write_bytes(disk)
    source = ["mcopy", "-o", "-i", f"{folder / 'disk.raw'}@@1M", "::/EFI/BOOT/BOOTX64.EFI", str(folder / "uki")]
    subprocess.run(source, check=True)
    return (folder / "uki").read_bytes()


def test_a_machine_opens_its_secrets_if_it_booted_what_was_measured(
    tmp_path: Path, cloud: LocalCloud, parts: Path, program: Path
) -> None:
    """Whoever can change a snapshot could read its secrets; or a release not open its own, as after a rollback."""
    with Clients(cloud.endpoint) as clients:
        stack = Stack(tmp_path, cloud, clients, parts, program)
        changed = stack.disk.replace(b"console=ttyS0 quiet panic=0", b"console=ttyS0 quiet panic=1")
        assert changed != stack.disk
        images = [stack.image(disk) for disk in (stack.disk, changed)]
        stack.allow(stack.disk)
        old = stack.launch(images[0])
        console = stack.says(old, OPENED)
        assert "hunter2" not in console
        new = stack.launch(images[1])
        console = stack.says(new, REFUSED)
        assert "is not authorized to perform: kms:Decrypt" in console
        assert "serving" not in console
        # It goes on trying, so it is the policy alone that stands in its way.
        stack.allow(changed)
        stack.says(new, OPENED)
        clients.ec2.terminate_instances(InstanceIds=[old, new])
        stack.allow(stack.disk)
        stack.says(stack.launch(images[0]), OPENED)
