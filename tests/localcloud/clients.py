"""boto3 clients of a local cloud, and the few things that many tests need to make with them."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.localcloud.certificates import issued

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_ebs import EBSClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client
    from mypy_boto3_iam import IAMClient

BLOCK = 524_288


def block(seed: int) -> bytes:
    """A block's worth of bytes, a different one for each seed."""
    return hashlib.sha256(str(seed).encode()).digest() * (BLOCK // 32)


def sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def linear(blocks: Mapping[int, bytes]) -> str:
    """The LINEAR checksum, written down a second time so that the store's is not judged by itself."""
    return sha256(b"".join(hashlib.sha256(blocks[index]).digest() for index in sorted(blocks)))


def refusal(call: Callable[[], object]) -> str:
    """The code of the error that a call is refused with."""
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"]
    raise AssertionError("the call was not refused")


@dataclass(frozen=True)
class Network:
    vpc: str
    subnets: list[str]
    group: str


class Clients:
    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._made: list[Any] = []

    def __enter__(self) -> Clients:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._made:
            client.close()

    def client(self, name: str, region: str = "us-east-1") -> Any:
        """A new client of any service."""
        client = boto3.client(
            name,  # type: ignore[call-overload] # any service's name
            endpoint_url=self._endpoint,
            region_name=region,
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 - no secret: the local cloud takes anything
            config=Config(
                retries={"total_max_attempts": 1},
                parameter_validation=False,  # it is the local cloud that must refuse
            ),
        )
        self._made.append(client)
        return client

    @cached_property
    def ebs(self) -> EBSClient:
        client: EBSClient = self.client("ebs")
        return client

    @cached_property
    def ec2(self) -> EC2Client:
        client: EC2Client = self.client("ec2")
        return client

    @cached_property
    def autoscaling(self) -> AutoScalingClient:
        client: AutoScalingClient = self.client("autoscaling")
        return client

    @cached_property
    def elbv2(self) -> ElasticLoadBalancingv2Client:
        client: ElasticLoadBalancingv2Client = self.client("elbv2")
        return client

    @cached_property
    def iam(self) -> IAMClient:
        client: IAMClient = self.client("iam")
        return client

    @cached_property
    def cloudwatch(self) -> CloudWatchClient:
        client: CloudWatchClient = self.client("cloudwatch")
        return client

    def put(self, snapshot_id: str, index: int, data: bytes) -> None:
        self.ebs.put_snapshot_block(
            SnapshotId=snapshot_id,
            BlockIndex=index,
            BlockData=data,
            DataLength=BLOCK,
            Checksum=sha256(data),
            ChecksumAlgorithm="SHA256",
        )

    def snapshot(self, blocks: Mapping[int, bytes] | None = None, **asked: Any) -> str:
        """A completed snapshot of these blocks."""
        blocks = {0: block(0)} if blocks is None else blocks
        snapshot_id = self.ebs.start_snapshot(**{"VolumeSize": 1, **asked})["SnapshotId"]
        for index, data in blocks.items():
            self.put(snapshot_id, index, data)
        self.ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=len(blocks))
        return snapshot_id

    def image(self, name: str = "web-1", snapshot_id: str | None = None, **asked: Any) -> str:
        """A registered AMI that boots by UEFI."""
        return self.ec2.register_image(
            **{
                "Name": name,
                "Architecture": "x86_64",
                "VirtualizationType": "hvm",
                "BootMode": "uefi",
                "EnaSupport": True,
                "ImdsSupport": "v2.0",
                "RootDeviceName": "/dev/xvda",
                "BlockDeviceMappings": [
                    {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id or self.snapshot()}}
                ],
                **asked,
            }
        )["ImageId"]

    def network(self) -> Network:
        """A VPC with a gateway, two subnets in two zones, and a security group."""
        vpc = self.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        subnets = [
            self.ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")[
                "Subnet"
            ]["SubnetId"]
            for n, zone in enumerate("ab")
        ]
        group = self.ec2.create_security_group(GroupName="web", Description="web", VpcId=vpc)["GroupId"]
        return Network(vpc, subnets, group)

    def certificate(self, *names: str) -> str:
        """The ARN of an issued certificate for these names."""
        return issued(self.client("acm"), *names)

    def template(self, image_id: str, **data: Any) -> str:
        """A launch template of the image, with a root volume that names no size."""
        wanted: Any = {
            "ImageId": image_id,
            "InstanceType": "t3.micro",
            "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeType": "gp3", "Encrypted": True}}],
            **data,
        }
        made = self.ec2.create_launch_template(LaunchTemplateName=f"web-{image_id}", LaunchTemplateData=wanted)
        return made["LaunchTemplate"]["LaunchTemplateId"]

    def group(self, template_id: str, network: Network, **asked: Any) -> str:
        """An auto scaling group called `web`."""
        self.autoscaling.create_auto_scaling_group(
            **{
                "AutoScalingGroupName": "web",
                "MinSize": 0,
                "MaxSize": 4,
                "DesiredCapacity": 0,
                "LaunchTemplate": {"LaunchTemplateId": template_id, "Version": "1"},
                "VPCZoneIdentifier": ",".join(network.subnets),
                **asked,
            }
        )
        return str(asked.get("AutoScalingGroupName", "web"))

    def instances(self, group: str = "web") -> list[Any]:
        """The instances of a group that are not terminated, as EC2 shows them."""
        shown = self.ec2.describe_instances(
            Filters=[
                {"Name": "tag:aws:autoscaling:groupName", "Values": [group]},
                {"Name": "instance-state-name", "Values": ["pending", "running"]},
            ]
        )
        return [instance for reservation in shown["Reservations"] for instance in reservation["Instances"]]
