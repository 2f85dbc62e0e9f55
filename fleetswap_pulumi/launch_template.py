"""How the machines of a release are launched: the launch template, and the instances that its group may launch.

What is here is part of the release, which never changes: another value makes another release. What may change in place
is in `fleetswap_pulumi.release`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import Any

import pulumi
from pulumi_aws import autoscaling, ec2
from pulumi_aws.autoscaling import GroupMixedInstancesPolicyLaunchTemplateOverrideArgs as Override

from fleetswap.domain.release.ledger import Entry, Machine
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.network import Network

ATTRIBUTES = {
    "vcpus": "vcpu_count",
    "memory_mib": "memory_mib",
    "memory_gib_per_vcpu": "memory_gib_per_vcpu",
    "cpu_manufacturers": "cpu_manufacturers",
    "generations": "instance_generations",
    "allow": "allowed_instance_types",
    "exclude": "excluded_instance_types",
    "bare_metal": "bare_metal",
    "burstable": "burstable_performance",
    "local_storage": "local_storage",
    "local_storage_types": "local_storage_types",
    "local_storage_gb": "total_local_storage_gb",
    "ebs_mbps": "baseline_ebs_bandwidth_mbps",
    "network_gbps": "network_bandwidth_gbps",
    "network_interfaces": "network_interface_count",
    "accelerators": "accelerator_count",
    "accelerator_types": "accelerator_types",
    "spot_max_price_percent": "spot_max_price_percentage_over_lowest_price",
    "on_demand_max_price_percent": "on_demand_max_price_percentage_over_lowest_price",
}
"""What Pulumi's AWS provider calls the fields of `Requirements`."""


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
                    iops=machine.volume.iops,
                    throughput=machine.volume.throughput,
                    volume_initialization_rate=machine.volume.initialization_rate,
                ),
            )
        ],
        cpu_options=_cpu_options(args.entry),
        placement=_placement(machine),
        monitoring=ec2.LaunchTemplateMonitoringArgs(enabled=True) if machine.monitoring else None,
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


def _cpu_options(entry: Entry) -> ec2.LaunchTemplateCpuOptionsArgs | None:
    """EC2 wants both numbers, or none (user guide, "Rules for specifying CPU options")."""
    threads = entry.machine.threads_per_core
    if threads is None:
        return None
    return ec2.LaunchTemplateCpuOptionsArgs(core_count=entry.cores, threads_per_core=threads)


def _placement(machine: Machine) -> ec2.LaunchTemplatePlacementArgs | None:
    """None where nothing is asked for: a VPC with dedicated tenancy refuses `default`."""
    if machine.tenancy == "default" and machine.placement_group is None:
        return None
    return ec2.LaunchTemplatePlacementArgs(
        group_name=machine.placement_group,
        tenancy=None if machine.tenancy == "default" else machine.tenancy,
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
            overrides=_overrides(machine),
        ),
    )


def _overrides(machine: Machine) -> list[Override]:
    if machine.requirements is not None:
        asked: Any = machine.requirements.named(ATTRIBUTES, "min", "max")
        return [Override(instance_requirements=asked)]
    # AWS takes a weight for each type or for none (API reference, LaunchTemplateOverrides).
    weights = map(str, machine.weights) if machine.weights else repeat(None)
    return [
        Override(instance_type=name, weighted_capacity=weight)
        for name, weight in zip(machine.instance_types, weights, strict=False)
    ]
