"""A region of the account: who refers to a thing right now, and its deletion.

Implements `fleetswap.workflows.retention.collect.Region`. The clients retry passing errors; every call here is safe to
repeat.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from fleetswap.aws.errors import code, explained
from fleetswap.aws.retention import survey as reading
from fleetswap.aws.rollout.switch import GROUP
from fleetswap.domain import tags
from fleetswap.domain.errors import CloudError, NotFound
from fleetswap.domain.retention.things import Kind, Survey, Thing

if TYPE_CHECKING:
    from fleetswap.aws.session import Cloud

DEPTH = "10000"
"""Versions of a launch template that DescribeImageReferences looks at, at most (ResourceTypeOption)."""

DEREGISTERED = "InvalidAMIID.Unavailable"
"""What EC2 answers of an AMI that was just deregistered, and of one in a state in which it cannot be changed (EC2 API
reference, "Error codes")."""

NOT_HERE = frozenset({"InvalidAction", "UnsupportedOperation", "UnknownOperationException"})
"""What a region, or a partition, answers that does not have an action."""


class Region:
    """The port, over a region of the account."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    @property
    def name(self) -> str:
        """The region's name."""
        return self._cloud.region

    def survey(self) -> Survey:
        """All that is there. Raises `CloudError`."""
        return reading.survey(self._cloud)

    def holders(self, thing: Thing, dying: frozenset[str]) -> tuple[str, ...]:
        """Who refers to it now, but for those with the IDs `dying`. Raises `NotFound` if it is gone, `CloudError`."""
        match thing.kind:
            case Kind.IMAGE:
                return self._of_image(thing, dying)
            case Kind.SNAPSHOT:
                return self._of_snapshot(thing, dying)
            case Kind.TEMPLATE:
                return self._of_template(thing)
            case Kind.TARGET_GROUP:
                return self._of_target_group(thing)
            case Kind.SCHEDULE:
                now = reading.schedule(self._cloud, thing.id)
                moved = () if now.made == thing.made else ("it was armed again",)
                return (*now.holders, *now.doubts, *moved)
            case _:
                return (f"a {thing.kind} is never deleted",)

    def _of_image(self, thing: Thing, dying: frozenset[str]) -> tuple[str, ...]:
        ec2, name = self._cloud.ec2(), thing.id
        found = self._described(name)
        with self._unless_gone("ec2:DescribeImageAttribute", name):
            shared = ec2.describe_image_attribute(ImageId=name, Attribute="launchPermission")["LaunchPermissions"]
        with explained("ec2:DescribeInstances", name):
            pages = ec2.get_paginator("describe_instances").paginate(
                Filters=[
                    {"Name": "image-id", "Values": [name]},
                    {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
                ]
            )
            machines = [
                each["InstanceId"] for page in pages for one in page["Reservations"] for each in one["Instances"]
            ]
        with explained("ec2:DescribeLaunchTemplateVersions", name):
            versions = ec2.get_paginator("describe_launch_template_versions").paginate(
                Versions=["$Latest", "$Default"], Filters=[{"Name": "image-id", "Values": [name]}]
            )
            templates = {
                each["LaunchTemplateId"]
                for page in versions
                for each in page["LaunchTemplateVersions"]
                if each["LaunchTemplateData"].get("ImageId") == name
            }
        return tuple(
            dict.fromkeys(
                (
                    *_changed(thing, found.get("Tags", ())),
                    *(f"it is shared with {_whom(each)}" for each in shared),
                    *(f"instance {each} was launched from it" for each in machines),
                    *(f"launch template {each} refers to it" for each in sorted(templates - dying)),
                    *self._references(name, dying),
                )
            )
        )

    def _described(self, image: str) -> Mapping[str, Any]:
        """An AMI, as EC2 describes it. Raises `NotFound` if there is none, or it is still shown as deregistered."""
        with explained("ec2:DescribeImages", image):
            found = self._cloud.ec2().describe_images(ImageIds=[image], IncludeDisabled=True)["Images"]
        if not found or found[0].get("State") == "deregistered":
            raise NotFound(f"AMI {image} does not exist")
        return found[0]

    @contextmanager
    def _unless_gone(self, permission: str, image: str) -> Iterator[None]:
        """As `explained`; `NotFound` if what is refused of an AMI is refused because it was deregistered meanwhile."""
        with explained(permission, image):
            try:
                yield
            except ClientError as error:
                if code(error) == DEREGISTERED:
                    self._described(image)
                raise

    def _references(self, image: str, dying: frozenset[str]) -> list[str]:
        """What AWS itself finds that refers to an AMI; nothing where it does not have that check."""
        try:
            with explained("ec2:DescribeImageReferences", image):
                try:
                    pages = (
                        self._cloud.ec2()
                        .get_paginator("describe_image_references")
                        .paginate(
                            ImageIds=[image],
                            ResourceTypes=[
                                {
                                    "ResourceType": "ec2:Instance",
                                    "ResourceTypeOptions": [
                                        {
                                            "OptionName": "state-name",
                                            "OptionValues": ["pending", "running", "stopping", "stopped"],
                                        }
                                    ],
                                },
                                {
                                    "ResourceType": "ec2:LaunchTemplate",
                                    "ResourceTypeOptions": [{"OptionName": "version-depth", "OptionValues": [DEPTH]}],
                                },
                                {"ResourceType": "ssm:Parameter"},
                                {"ResourceType": "imagebuilder:ImageRecipe"},
                                {"ResourceType": "imagebuilder:ContainerRecipe"},
                            ],
                        )
                    )
                    found = [str(each["Arn"]) for page in pages for each in page["ImageReferences"]]
                except ClientError as error:
                    if code(error) in NOT_HERE:
                        return []
                    raise
        except NotFound:
            return []  # it has just been looked at: what is not known there is a reference that is gone
        return [f"{each} refers to it" for each in found if each.rpartition("/")[2] not in dying]

    def _of_snapshot(self, thing: Thing, dying: frozenset[str]) -> tuple[str, ...]:
        ec2, name = self._cloud.ec2(), thing.id
        with explained("ec2:DescribeSnapshots", name):
            found = ec2.describe_snapshots(SnapshotIds=[name])["Snapshots"]
        if not found:
            raise NotFound(f"snapshot {name} does not exist")
        with explained("ec2:DescribeSnapshotAttribute", name):
            shared = ec2.describe_snapshot_attribute(SnapshotId=name, Attribute="createVolumePermission")
        with explained("ec2:DescribeImages", name):
            pages = ec2.get_paginator("describe_images").paginate(
                Filters=[{"Name": "block-device-mapping.snapshot-id", "Values": [name]}],
                Owners=["self"],
                IncludeDeprecated=True,
                IncludeDisabled=True,
            )
            images = {each["ImageId"] for page in pages for each in page["Images"]}
        with explained("ec2:DescribeSnapshots", name):
            children = ec2.get_paginator("describe_snapshots").paginate(
                OwnerIds=["self"],
                Filters=[{"Name": f"tag:{tags.PARENT}", "Values": [name]}, {"Name": "status", "Values": ["pending"]}],
            )
            uploads = [each["SnapshotId"] for page in children for each in page["Snapshots"]]
        state = found[0]["State"]
        return (
            *_changed(thing, found[0].get("Tags", ())),
            *((f"it is {state} now",) if state != thing.state else ()),
            *(f"it is shared with {_whom(each)}" for each in shared["CreateVolumePermissions"]),
            *(f"AMI {each} uses it" for each in sorted(images - dying)),
            *(f"it is the parent of {each}, an upload that may be running" for each in uploads),
        )

    def _of_template(self, thing: Thing) -> tuple[str, ...]:
        ec2, name = self._cloud.ec2(), thing.id
        with explained("ec2:DescribeLaunchTemplates", name):
            found = ec2.describe_launch_templates(LaunchTemplateIds=[name])["LaunchTemplates"]
        if not found:
            raise NotFound(f"launch template {name} does not exist")
        with explained("ec2:DescribeInstances", name):
            pages = ec2.get_paginator("describe_instances").paginate(
                Filters=[
                    {"Name": "tag:aws:ec2launchtemplate:id", "Values": [name]},
                    {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
                ]
            )
            machines = [
                each["InstanceId"] for page in pages for one in page["Reservations"] for each in one["Instances"]
            ]
        using = [each["AutoScalingGroupName"] for each in self._groups() if name in reading.templates_of(each)]
        return (
            *_changed(thing, found[0].get("Tags", ())),
            *(f"group {each} launches with it" for each in using),
            *(f"instance {each} was launched with it" for each in machines),
        )

    def _of_target_group(self, thing: Thing) -> tuple[str, ...]:
        with explained("elasticloadbalancing:DescribeTargetGroups", thing.id):
            found = self._cloud.elbv2().describe_target_groups(TargetGroupArns=[thing.id])["TargetGroups"]
        if not found:
            raise NotFound(f"target group {thing.id} does not exist")
        return reading.users_of_target_group(found[0], self._groups())

    def _groups(self) -> list[Mapping[str, Any]]:
        with explained("autoscaling:DescribeAutoScalingGroups", "*"):
            pages = self._cloud.autoscaling().get_paginator("describe_auto_scaling_groups").paginate()
            return [each for page in pages for each in page["AutoScalingGroups"]]

    def delete(self, thing: Thing, *, snapshots: bool) -> Sequence[tuple[str, str]]:
        """Delete it. Raises `CloudError`; `NotFound` if it is gone.

        The protection of an AMI is lifted first. What deletes only snapshots that AWS found free cannot be wrong about
        them: those of several AMIs it skips (DeregisterImage, DeleteAssociatedSnapshots).
        """
        ec2, name = self._cloud.ec2(), thing.id
        match thing.kind:
            case Kind.IMAGE:
                if thing.protected:
                    with self._unless_gone("ec2:DisableImageDeregistrationProtection", name):
                        ec2.disable_image_deregistration_protection(ImageId=name)
                with self._unless_gone("ec2:DeregisterImage", name):
                    answer = ec2.deregister_image(ImageId=name, DeleteAssociatedSnapshots=snapshots)
                told = answer.get("DeleteSnapshotResults", ())
                return [(e["SnapshotId"], "" if e["ReturnCode"] == "success" else e["ReturnCode"]) for e in told]
            case Kind.SNAPSHOT:
                self._delete_snapshot(thing)
            case Kind.TEMPLATE:
                with explained("ec2:DeleteLaunchTemplate", name):
                    ec2.delete_launch_template(LaunchTemplateId=name)
            case Kind.TARGET_GROUP:
                with explained("elasticloadbalancing:DeleteTargetGroup", name):
                    self._cloud.elbv2().delete_target_group(TargetGroupArn=name)
            case Kind.SCHEDULE:
                with explained("scheduler:DeleteSchedule", name):
                    self._cloud.scheduler().delete_schedule(Name=name, GroupName=GROUP)
            case _:
                raise CloudError(f"a {thing.kind} is never deleted")
        return []

    def _delete_snapshot(self, thing: Thing) -> None:
        with explained("ec2:DeleteSnapshot", thing.id):
            try:
                self._cloud.ec2().delete_snapshot(SnapshotId=thing.id)
            except ClientError as error:
                if code(error) != "InvalidSnapshot.InUse":
                    raise
                # No AMI that can be seen uses it.
                raise CloudError(
                    f"snapshot {thing.id} is still in use: an AMI in the Recycle Bin has it, or one that was just"
                    f" registered; run this again later ({error.response['Error'].get('Message', '')})"
                ) from error


def _changed(thing: Thing, given: Any) -> tuple[str, ...]:  # noqa: ANN401 - the tags of any answer
    """Whether it is another's now."""
    return () if reading.tags_of(given).get(tags.STACK, "") == thing.stack else ("its tags have changed",)


def _whom(permission: Mapping[str, Any]) -> str:
    """With whom something is shared."""
    if permission.get("Group") == "all":
        return "everybody"
    return next((str(value) for value in permission.values()), "somebody")
