"""The AMI of a release: UEFI, ENA, and IMDSv2 only, whatever launches it."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws import ec2

from fleetswap_pulumi.context import Context

ROOT_DEVICE = "/dev/xvda"


@dataclass(frozen=True)
class MachineImageArgs:
    """`snapshot_id` is the snapshot of the disk; `identity` is the image's, for the tags."""

    context: Context
    release: str
    identity: str
    snapshot_id: pulumi.Output[str]


class MachineImage(pulumi.ComponentResource):
    """Outputs the AMI's ID."""

    ami_id: pulumi.Output[str]

    def __init__(self, name: str, args: MachineImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetswap:components:MachineImage", name, None, opts)
        ami = ec2.Ami(
            name,
            description=args.identity,
            architecture="x86_64",
            virtualization_type="hvm",
            boot_mode="uefi",
            ena_support=True,
            imds_support="v2.0",
            root_device_name=ROOT_DEVICE,
            ebs_block_devices=[
                ec2.AmiEbsBlockDeviceArgs(
                    device_name=ROOT_DEVICE,
                    snapshot_id=args.snapshot_id,
                    volume_type="gp3",
                    delete_on_termination=True,
                )
            ],
            tags=args.context.tags(name, release=args.release, image=args.identity),
            # The disk of a release never changes. Its id is unknown in a preview that only changes the disk's tags, and
            # would show there as a replacement of the AMI.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["ebsBlockDevices"]),
        )
        self.ami_id = ami.id
        self.register_outputs({"amiId": self.ami_id})
