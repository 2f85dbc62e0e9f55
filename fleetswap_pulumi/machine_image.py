"""The AMI of a release: registered as its image says, and IMDSv2 only, whatever launches it."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws import ec2

from fleetswap.domain.image.info import ImageInfo
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.image_protection import ImageProtection


@dataclass(frozen=True)
class MachineImageArgs:
    """`snapshot_id` is the snapshot of the disk; `identity` is the image's, for the tags.

    Nothing of `info` may change while there is the release: the provider would replace the AMI (aws_ami, ForceNew).
    """

    context: Context
    release: str
    identity: str
    info: ImageInfo
    snapshot_id: pulumi.Output[str]
    deprecate: str | None = ""
    """When it is deprecated; empty: never. None: that stays as it is. EC2 refuses a time in the past, which is what a
    ledger has of an AMI that is deprecated by now."""
    protect: bool = False
    """Whether EC2 refuses to deregister it until the release is deleted."""


class MachineImage(pulumi.ComponentResource):
    """Outputs the AMI's ID."""

    ami_id: pulumi.Output[str]

    def __init__(self, name: str, args: MachineImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetswap:components:MachineImage", name, None, opts)
        info = args.info
        ami = ec2.Ami(
            name,
            description=args.identity,
            architecture=info.architecture,
            virtualization_type="hvm",
            boot_mode=info.boot_mode,
            ena_support=info.ena,
            imds_support=info.imds,
            tpm_support=info.tpm,
            root_device_name=info.root_device,
            ebs_block_devices=[
                ec2.AmiEbsBlockDeviceArgs(
                    device_name=info.root_device,
                    snapshot_id=args.snapshot_id,
                    volume_type="gp3",
                    delete_on_termination=True,
                )
            ],
            deprecation_time=args.deprecate or None,
            tags=args.context.tags(name, release=args.release, image=args.identity),
            # The disk of a release never changes. Its id is unknown in a preview that only changes the disk's tags, and
            # would show there as a replacement of the AMI.
            opts=pulumi.ResourceOptions(
                parent=self,
                ignore_changes=["ebsBlockDevices", *(["deprecationTime"] if args.deprecate is None else [])],
            ),
        )
        self.ami_id = ami.id
        if args.protect:
            ImageProtection(name, args.context, ami.id, opts=pulumi.ResourceOptions(parent=self))
        self.register_outputs({"amiId": self.ami_id})
