"""A release: one image made runnable. It is created and deleted, never changed.

    DiskImage → MachineImage → launch template → auto scaling group → target group ← preview rule

A retained release has its image and nothing that is billed by the hour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws import autoscaling, iam, lb

from fleetswap.aws.partition import partition_of
from fleetswap.domain import tags
from fleetswap.domain.release.ledger import Entry
from fleetswap.domain.rollout.rule import OWN, PREVIEW_HEADER, Rules
from fleetswap.domain.secrets import key_policy
from fleetswap.domain.secrets.sealing import STACK, Sealing, encryption_context
from fleetswap.domain.share import NOBODY, Share
from fleetswap_pulumi.auto_scaling import GroupArgs, Tuning, scaling_group
from fleetswap_pulumi.boot_settings import BootTestSettings
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.disk_image import DiskImage
from fleetswap_pulumi.iam_policy import trust
from fleetswap_pulumi.image_settings import UploadSettings
from fleetswap_pulumi.key_statements import KeyStatements
from fleetswap_pulumi.keys import in_one_line
from fleetswap_pulumi.launch_template import LaunchTemplateArgs, launch_template
from fleetswap_pulumi.machine_image import MachineImage, MachineImageArgs
from fleetswap_pulumi.network import Network
from fleetswap_pulumi.preview import PreviewRule
from fleetswap_pulumi.rollout import ReleaseTarget
from fleetswap_pulumi.sealed_secrets import MachineRole
from fleetswap_pulumi.sharing import share_image

__all__ = ["Release", "ReleaseArgs", "Tuning", "key_tags"]

KEY_ID = 36
"""Characters of the ID of a KMS key, a multi-Region one or not (KMS developer guide, "Key identifiers")."""


@dataclass(frozen=True)
class ReleaseArgs:
    """`running` is False for a retained release, which has no machines.

    `deprecate` is when its AMI is deprecated, empty for never, and None if that is to stay as it is.
    """

    context: Context
    entry: Entry
    network: Network
    listener_arn: pulumi.Output[str]
    tuning: Tuning
    upload: UploadSettings
    running: bool
    boot_test: BootTestSettings | None = None
    deprecate: str | None = ""
    rules: Rules = OWN
    volume_key: pulumi.Input[str] | None = None
    """ARN of the stack's own key for volumes and snapshots, if it has one."""
    also: Sequence[pulumi.Input[Mapping[str, Any]]] = ()
    """Where else the image is sent: see `DiskImage`."""
    sent_before: DiskImage | None = None
    """The same image in another region, which is built and sent before this one."""
    share: Share = NOBODY
    """Whom the AMI and the snapshot are shared with."""


class Release(pulumi.ComponentResource):
    """Outputs the disk image, the AMI and, once it is completed, the release target of a rollout, if it is running.

    It is declared in two steps: a key policy names what is measured of the image, and no machine may boot before it.
    """

    disk: DiskImage
    ami_id: pulumi.Output[str]
    ids: dict[str, pulumi.Output[str]]
    """Of what carries its traffic, by what it is, if it is running."""
    target: ReleaseTarget | None = None
    targets: pulumi.Output[str] | None = None
    """The end of its target group's ARN, by which CloudWatch knows it, if it is running."""
    preview: pulumi.Output[str | None] | None = None
    """The secret header that reaches it before it has traffic, if it is running; none while no update has made it."""

    def __init__(self, args: ReleaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        self._args = args
        self._name = args.entry.release
        self.ids = {}
        super().__init__("fleetswap:components:Release", self._name, None, opts)
        self._child = pulumi.ResourceOptions(parent=self)
        self._tags = args.context.tags(self._name, release=self._name, image=args.entry.image.identity)

        self.disk = DiskImage(
            self._name,
            args.context,
            args.entry,
            args.upload,
            args.boot_test,
            self._key(args.entry.image.kms_key),
            opts=self._after(args.sent_before),
            also=args.also,
        )
        self.ami_id = MachineImage(
            self._name,
            MachineImageArgs(
                context=args.context,
                release=self._name,
                identity=args.entry.image.identity,
                info=args.entry.image.info,
                snapshot_id=self.disk.snapshot_id,
                deprecate=args.deprecate,
                # Of a release that an older version made, an upgrade changes nothing.
                protect=bool(args.entry.made),
            ),
            opts=self._child,
        ).ami_id
        share_image(self._name, args.share, self.ami_id, self.disk.snapshot_id, self._child)

    @property
    def made(self) -> list[pulumi.Output[str]]:
        """IDs that are known once its AMI and what makes it a fleet are there."""
        target = self.target
        return [self.ami_id, *([target.group, target.target_group] if target is not None else [])]

    def _after(self, other: DiskImage | None) -> pulumi.ResourceOptions:
        return self._child if other is None else pulumi.ResourceOptions(parent=self, depends_on=[other])

    def _key(self, key: str | None) -> pulumi.Input[str] | None:
        """The ARN of a key for volumes and snapshots."""
        return self._args.volume_key if key == STACK else key

    def complete(self, machine_role: MachineRole | None = None, keys: Sequence[pulumi.Input[str]] = ()) -> None:
        """Declare what makes the image a fleet, if it is running. `machine_role` is the stack's role of machines that
        open secrets, for a release that has some. `keys` are the ARNs of all KMS keys that its machines need to start.
        """
        self._tagged_keys = key_tags(keys, self._args.context)
        self.target = self._run(machine_role) if self._args.running else None
        self.register_outputs(
            {
                "amiId": self.ami_id,
                "snapshotId": self.disk.snapshot_id,
                "group": self.target.group if self.target else None,
            }
        )

    def _run(self, machine_role: MachineRole | None) -> ReleaseTarget:
        """The target that comes back is complete once all of it exists."""
        target_group, rule = self._target_group()
        # No machine may boot before its role can do what it must.
        profile_arn, permissions = self._role(machine_role)
        template = launch_template(
            LaunchTemplateArgs(
                context=self._args.context,
                entry=self._args.entry,
                network=self._args.network,
                ami_id=self.ami_id,
                profile_arn=profile_arn,
                kms_key=self._key(self._args.entry.machine.kms_key),
            ),
            opts=self._child,
        )
        group = scaling_group(
            GroupArgs(
                entry=self._args.entry,
                network=self._args.network,
                tuning=self._args.tuning,
                template=template,
                target_group=target_group,
                tags=[
                    autoscaling.GroupTagArgs(key=key, value=value, propagate_at_launch=True)
                    for key, value in self._tags.items()
                ]
                + self._tagged_keys,
                after=[rule, *permissions],
            ),
            opts=self._child,
        )
        self.targets = target_group.arn_suffix
        self.ids = {"its target group": target_group.id, "its auto scaling group": group.id}
        return ReleaseTarget(release=self._name, group=group.name, target_group=target_group.arn, image=self.ami_id)

    def _target_group(self) -> tuple[lb.TargetGroup, PreviewRule]:
        health = self._args.entry.health
        target_group = lb.TargetGroup(
            self._name,
            port=health.port,
            protocol=health.protocol.upper(),
            protocol_version=None if health.protocol_version == "http1" else health.protocol_version.upper(),
            target_type="instance",
            vpc_id=self._args.network.vpc_id,
            deregistration_delay=self._args.tuning.drain,
            health_check=lb.TargetGroupHealthCheckArgs(
                protocol=health.protocol.upper(),
                port="traffic-port",
                path=health.path,
                matcher=health.codes,
                interval=health.interval,
                timeout=health.timeout,
                healthy_threshold=health.healthy,
                unhealthy_threshold=health.unhealthy,
            ),
            tags=self._tags,
            opts=self._child,
        )
        rule = PreviewRule(
            self._name,
            self._args.context,
            listener=self._args.listener_arn,
            target_group=target_group.arn,
            tags=self._tags,
            rules=self._args.rules,
            opts=self._child,
        )
        self.preview = rule.value.apply(lambda value: f"{PREVIEW_HEADER}: {value}" if value else None)
        return target_group, rule

    def _role(self, given: MachineRole | None) -> tuple[pulumi.Output[str], list[pulumi.Resource]]:
        """The ARN of the instance profile, and what its role needs: the stack's or, without secrets, its own."""
        machine = self._args.entry.machine
        if machine.secrets is not None:
            if given is None:
                raise ValueError(f"{self._name} has secrets, and no role is given to open them")
            return given.profile_arn, [*given.ready, *self._opening(machine.secrets, given)]
        role = iam.Role(
            self._name,
            path=machine.path,
            permissions_boundary=self._args.context.boundary,
            assume_role_policy=trust(partition_of(self._args.context.region).principal("ec2")),
            tags=self._tags,
            opts=self._child,
        )
        policies: list[pulumi.Resource] = [
            iam.RolePolicyAttachment(f"{self._name}-{index}", role=role.name, policy_arn=policy_arn, opts=self._child)
            for index, policy_arn in enumerate(machine.policies)
        ]
        profile = iam.InstanceProfile(self._name, path=machine.path, role=role.name, tags=self._tags, opts=self._child)
        return profile.arn, policies

    def _opening(self, sealing: Sealing, role: MachineRole) -> list[pulumi.Resource]:
        """What lets machines of this image open secrets, if it is attested: a statement in the stack's key policy.

        The engine removes it when the release has no machines any more, after the rollout that took its place. An
        image that this update leaves out before it was ever measured opens nothing.
        """
        if not sealing.attested or sealing.key != STACK:
            return []
        context = encryption_context(self._args.context.stack)

        def statements(found: Sequence[Any]) -> list[dict[str, Any]]:
            arn, pcrs = found
            return [key_policy.of_release(self._name, arn, context, pcrs)] if pcrs else []

        # A preview knows what the ledger says, also where it shows a change of the disk's tags.
        measured = dict(self._args.entry.image.measured) or self.disk.measured
        wanted = pulumi.Output.all(role.arn, measured).apply(statements)
        return [
            KeyStatements(
                f"{self._name}-{region}" if region else self._name, self._args.context, key, wanted, opts=self._child
            )
            for region, key in role.keys.items()
        ]


def key_tags(keys: Sequence[pulumi.Input[str]], context: Context) -> list[autoscaling.GroupTagArgs]:
    """By which `fleetswap status` and a rollback without the state know the keys; not a tag of the machines.

    Where ARNs are so long that three are longer than a tag, the last, that of the snapshot, is left out.
    """
    if not keys:
        return []
    longest = len(f"arn:{partition_of(context.region).name}:kms:{context.region}:{context.account}:key/{'x' * KEY_ID}")
    told = in_one_line(keys[: (tags.VALUE_CHARS + 1) // (longest + 1)])
    return [autoscaling.GroupTagArgs(key=tags.KEYS, value=told, propagate_at_launch=False)]
