"""How the machines of a release are launched: the launch template, and the instances that its group may launch.

What is here is part of the release, which never changes: another value makes another release. What may change in place
is in `fleetswap_pulumi.release`.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws import autoscaling, ec2

from fleetswap.domain.release.ledger import Entry, Machine
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.network import Network


@dataclass(frozen=True)
class LaunchTemplateArgs:
    """`kms_key` is the ARN of the key of the volumes; None is the account's default key."""

    context: Context
    entry: Entry
    network: Network
    ami_id: pulumi.Output[str]
    profile_arn: pulumi.Output[str]
    kms_key: pulumi.Input[str] | None


def launch_template(args: LaunchTemplateArgs, opts: pulumi.ResourceOptions) -> ec2.LaunchTemplate:
    """Declare the launch template of a release, under the release's id."""
    name, machine = args.entry.release, args.entry.machine
    tags = args.context.tags(name, release=name, image=args.entry.image.identity)
    return ec2.LaunchTemplate(
        name,
        image_id=args.ami_id,
        iam_instance_profile=ec2.LaunchTemplateIamInstanceProfileArgs(arn=args.profile_arn),
        vpc_security_group_ids=[args.network.machine_group_id, *machine.security_groups],
        block_device_mappings=[
            ec2.LaunchTemplateBlockDeviceMappingArgs(
                device_name=args.entry.image.info.root_device,
                ebs=ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                    volume_type="gp3",
                    encrypted="true",
                    kms_key_id=args.kms_key,
                    delete_on_termination="true",
                    volume_size=machine.root_gib,
                ),
            )
        ],
        metadata_options=ec2.LaunchTemplateMetadataOptionsArgs(
            http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
        ),
        tag_specifications=[
            ec2.LaunchTemplateTagSpecificationArgs(resource_type=kind, tags=tags)
            for kind in ("instance", "volume", "network-interface")
        ],
        update_default_version=True,
        tags=tags,
        opts=opts,
    )


def mixed_instances(machine: Machine, template: ec2.LaunchTemplate) -> autoscaling.GroupMixedInstancesPolicyArgs:
    """What a group may launch, and how much of it On-Demand."""
    return autoscaling.GroupMixedInstancesPolicyArgs(
        instances_distribution=autoscaling.GroupMixedInstancesPolicyInstancesDistributionArgs(
            on_demand_base_capacity=machine.on_demand_base,
            on_demand_percentage_above_base_capacity=machine.on_demand_percent,
            spot_allocation_strategy="price-capacity-optimized",
        ),
        launch_template=autoscaling.GroupMixedInstancesPolicyLaunchTemplateArgs(
            launch_template_specification=(
                autoscaling.GroupMixedInstancesPolicyLaunchTemplateLaunchTemplateSpecificationArgs(
                    launch_template_id=template.id,
                    # A number, never `$Latest`: what a release launches must not change under it.
                    version=pulumi.Output.format("{0}", template.latest_version),
                )
            ),
            overrides=[
                autoscaling.GroupMixedInstancesPolicyLaunchTemplateOverrideArgs(instance_type=instance_type)
                for instance_type in machine.instance_types
            ],
        ),
    )
