"""What Fleetswap has made in a region, found by its tags and, where there are none, by its names.

It only reads. What runs is read too: it shows that a stack is not gone, and what refers to a launch template or a
target group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fleetswap.aws.errors import explained
from fleetswap.aws.rollout.switch import DESCRIPTION, GROUP, request_of, time_of
from fleetswap.domain import tags
from fleetswap.domain.errors import CloudError, NotFound
from fleetswap.domain.retention.things import Kind, Survey, Thing
from fleetswap.domain.rollout import rollout_tags

if TYPE_CHECKING:
    from fleetswap.aws.session import Cloud

TAGGED: Any = [{"Name": "tag-key", "Values": [tags.STACK]}]
"""EC2's filter of what has our tag, with whatever value."""

PAGE: Any = {"PageSize": 200}
"""Launch templates, or versions of one, of an answer, at most (EC2 API reference)."""

COPY_OF = "copy of snap-"
"""How the description begins of a copy that a promotion makes (`fleetswap.workflows.image.promote`)."""

AT_ONCE = 20
"""Resources of one DescribeTags of ELBv2, at most (API reference)."""


def survey(cloud: Cloud) -> Survey:
    """All of a region. Raises `CloudError` if a list cannot be read: what it lacks might refer to the rest."""
    groups = list(_groups(cloud))
    running: dict[str, tuple[str, ...]] = {}
    for group in groups:
        its = tags_of(group["Tags"])
        if tags.STACK in its:
            running[its[tags.STACK]] = (*running.get(its[tags.STACK], ()), f"group {group['AutoScalingGroupName']}")
    balancers = {name: (f"load balancer {arn}",) for name, arn in _balancers(cloud)}
    snapshots = list(_snapshots(cloud))
    things = [
        *_made_by_uploads(_images(cloud), snapshots),
        *snapshots,
        *_templates(cloud, groups),
        *_target_groups(cloud, groups),
        *_of_groups(cloud, groups),
        *_schedules(cloud),
    ]
    bin_, problems = _recycle_bin(cloud, things)
    both = {name: (*running.get(name, ()), *balancers.get(name, ())) for name in {*running, *balancers}}
    return Survey(cloud.region, (*things, *bin_), both, problems)


def tags_of(given: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The tags of an answer."""
    return {str(each["Key"]): str(each["Value"]) for each in given}


def owned(thing: Thing, its: Mapping[str, str]) -> Thing:
    """The thing with whose it is, by its tags."""
    stack, service, release, image = (its.get(key, "") for key in (tags.STACK, tags.SERVICE, tags.RELEASE, tags.IMAGE))
    return replace(thing, stack=stack, service=service, release=release, image=image)


def snapshots_of(image: Mapping[str, Any]) -> tuple[str, ...]:
    """The snapshots of an AMI."""
    found = (each.get("Ebs", {}).get("SnapshotId") for each in image.get("BlockDeviceMappings", ()))
    return tuple(each for each in found if each)


def templates_of(group: Mapping[str, Any]) -> set[str]:
    """The launch templates that a group refers to."""
    policy = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
    given = [
        group.get("LaunchTemplate"),
        policy.get("LaunchTemplateSpecification"),
        *(each.get("LaunchTemplateSpecification") for each in policy.get("Overrides", ())),
        *(each.get("LaunchTemplate") for each in group.get("Instances", ())),
    ]
    return {str(each["LaunchTemplateId"]) for each in given if each and "LaunchTemplateId" in each}


def _groups(cloud: Cloud) -> Iterator[Mapping[str, Any]]:
    with explained("autoscaling:DescribeAutoScalingGroups", "*"):
        for page in cloud.autoscaling().get_paginator("describe_auto_scaling_groups").paginate():
            yield from page["AutoScalingGroups"]


def _balancers(cloud: Cloud) -> Iterator[tuple[str, str]]:
    """The stack of each load balancer, and its ARN."""
    with explained("elasticloadbalancing:DescribeLoadBalancers", "*"):
        pages = cloud.elbv2().get_paginator("describe_load_balancers").paginate()
        arns = [each["LoadBalancerArn"] for page in pages for each in page["LoadBalancers"]]
    for arn, its in _tags_of_arns(cloud, arns):
        if tags.STACK in its:
            yield its[tags.STACK], arn


def _tags_of_arns(cloud: Cloud, arns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    elbv2 = cloud.elbv2()
    for start in range(0, len(arns), AT_ONCE):
        some = arns[start : start + AT_ONCE]
        try:
            with explained("elasticloadbalancing:DescribeTags", "*"):
                answer = elbv2.describe_tags(ResourceArns=list(some))
        except NotFound:
            # One was deleted since, and AWS does not say which.
            for each in some if len(some) > 1 else ():
                yield from _tags_of_arns(cloud, [each])
            continue
        for one in answer["TagDescriptions"]:
            yield one["ResourceArn"], tags_of(one.get("Tags", ()))


def _images(cloud: Cloud) -> Iterator[Thing]:
    with explained("ec2:DescribeImages", "*"):
        pages = (
            cloud.ec2()
            .get_paginator("describe_images")
            .paginate(Owners=["self"], Filters=TAGGED, IncludeDeprecated=True, IncludeDisabled=True)
        )
        for page in pages:
            for each in page["Images"]:
                yield owned(
                    Thing(
                        Kind.IMAGE,
                        cloud.region,
                        each["ImageId"],
                        made=datetime.fromisoformat(each["CreationDate"]),
                        uses=snapshots_of(each),
                        state=str(each["State"]),
                        protected=each.get("DeregistrationProtection", "disabled") != "disabled",
                    ),
                    tags_of(each.get("Tags", ())),
                )


def _snapshots(cloud: Cloud) -> Iterator[Thing]:
    with explained("ec2:DescribeSnapshots", "*"):
        pages = cloud.ec2().get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=TAGGED)
        for page in pages:
            for each in page["Snapshots"]:
                its, runs = tags_of(each.get("Tags", ())), each["State"] == "pending"
                is_copy = tags.COPY in its and each.get("Description", "").startswith(COPY_OF)
                if is_copy:
                    its.pop(tags.RELEASE, None)  # whose image it was to become the parent of: nothing is made of it
                # Backup tools copy tags: what no upload made is not ours to delete (`fleetswap.domain.tags.UPLOAD`).
                copied = its.get(tags.UPLOAD) != each["SnapshotId"] and each["State"] == "completed" and not is_copy
                yield owned(
                    Thing(
                        Kind.SNAPSHOT,
                        cloud.region,
                        each["SnapshotId"],
                        made=each["StartTime"],
                        uses=(its[tags.PARENT],) if runs and tags.PARENT in its else (),
                        state=str(each["State"]),
                        doubts=("no upload made it, so it may be a backup: delete it if nobody needs it",)
                        if copied
                        else (),
                    ),
                    its,
                )


def _made_by_uploads(images: Iterable[Thing], snapshots: Iterable[Thing]) -> Iterator[Thing]:
    """The AMIs. Of machines and of AMIs, too, backup tools copy the tags: ours are of snapshots that uploads made."""
    uploaded = {each.id for each in snapshots if not each.doubts}
    for image in images:
        if image.uses and uploaded.issuperset(image.uses):
            yield image
        else:
            yield replace(image, doubts=("no upload made its snapshot, so it may be a backup",))


def _templates(cloud: Cloud, groups: Sequence[Mapping[str, Any]]) -> Iterator[Thing]:
    ec2, holders = cloud.ec2(), defaultdict(list)
    for group in groups:
        for template in templates_of(group):
            holders[template].append(f"group {group['AutoScalingGroupName']} launches with it")
    with explained("ec2:DescribeLaunchTemplates", "*"):
        pages = ec2.get_paginator("describe_launch_templates").paginate(Filters=TAGGED, PaginationConfig=PAGE)
        found = [each for page in pages for each in page["LaunchTemplates"]]
    for each in found:
        name = each["LaunchTemplateId"]
        try:
            with explained("ec2:DescribeLaunchTemplateVersions", name):
                versions = ec2.get_paginator("describe_launch_template_versions").paginate(
                    LaunchTemplateId=name, PaginationConfig=PAGE
                )
                data = [one["LaunchTemplateData"] for page in versions for one in page["LaunchTemplateVersions"]]
        except NotFound:
            continue  # it was deleted since
        yield owned(
            Thing(
                Kind.TEMPLATE,
                cloud.region,
                name,
                made=each["CreateTime"],
                uses=tuple(dict.fromkeys(one["ImageId"] for one in data if one.get("ImageId"))),
                holders=tuple(holders[name]),
            ),
            tags_of(each.get("Tags", ())),
        )


def _target_groups(cloud: Cloud, groups: Sequence[Mapping[str, Any]]) -> Iterator[Thing]:
    with explained("elasticloadbalancing:DescribeTargetGroups", "*"):
        pages = cloud.elbv2().get_paginator("describe_target_groups").paginate()
        found = {each["TargetGroupArn"]: each for page in pages for each in page["TargetGroups"]}
    for arn, its in _tags_of_arns(cloud, list(found)):
        if tags.STACK in its:
            # ELBv2 does not say when one was made.
            yield owned(
                Thing(Kind.TARGET_GROUP, cloud.region, arn, holders=users_of_target_group(found[arn], groups)), its
            )


def users_of_target_group(given: Mapping[str, Any], groups: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Who uses a target group."""
    arn = given["TargetGroupArn"]
    balancers = [f"load balancer {each} forwards to it" for each in given.get("LoadBalancerArns", ())]
    using = [each["AutoScalingGroupName"] for each in groups if arn in _sources(each)]
    return (*balancers, *(f"group {name} registers machines in it" for name in using))


def _sources(group: Mapping[str, Any]) -> set[str]:
    """The target groups that a group registers machines in, however they were attached (AttachTrafficSources)."""
    return {*group.get("TargetGroupARNs", ()), *(each["Identifier"] for each in group.get("TrafficSources", ()))}


def _of_groups(cloud: Cloud, groups: Sequence[Mapping[str, Any]]) -> Iterator[Thing]:
    """The pins and the planned scale-ins of our groups."""
    ours = {each["AutoScalingGroupName"]: tags_of(each["Tags"]) for each in groups}
    for name, its in ours.items():
        if tags.STACK in its:
            for key in (rollout_tags.PIN, rollout_tags.ON_DEMAND):
                if key in its:
                    yield owned(Thing(Kind.PIN, cloud.region, f"{name}/{key}"), its)
    with explained("autoscaling:DescribeScheduledActions", "*"):
        for page in cloud.autoscaling().get_paginator("describe_scheduled_actions").paginate():
            for each in page["ScheduledUpdateGroupActions"]:
                name = each["AutoScalingGroupName"]
                its = ours.get(name, {})
                if tags.STACK in its:
                    action = f"{name}/{each['ScheduledActionName']}"
                    yield owned(Thing(Kind.ACTION, cloud.region, action, made=each.get("StartTime")), its)


def _schedules(cloud: Cloud) -> Iterator[Thing]:
    """The dead man's switches, each held by the rule that it would restore."""
    client = cloud.scheduler()
    with explained("scheduler:ListSchedules", "*"):
        pages = client.get_paginator("list_schedules").paginate(GroupName=GROUP, NamePrefix="fleetswap-")
        names = [each["Name"] for page in pages for each in page["Schedules"]]
    for name in names:
        try:
            yield schedule(cloud, name)
        except NotFound:
            continue  # it fired since


def schedule(cloud: Cloud, name: str) -> Thing:
    """A dead man's switch as it is now. Raises `NotFound` and other kinds of `CloudError`."""
    with explained("scheduler:GetSchedule", name):
        found = cloud.scheduler().get_schedule(Name=name, GroupName=GROUP)
    rule = str(request_of(found.get("Target", {}).get("Input", "")).get("RuleArn", ""))
    due = time_of(found.get("ScheduleExpression", ""))
    thing = Thing(Kind.SCHEDULE, cloud.region, name, made=due)
    if not found.get("Description", "").startswith(DESCRIPTION) or not rule:
        return Thing(Kind.SCHEDULE, cloud.region, name, doubts=("Fleetswap has not armed it",))
    try:
        with explained("elasticloadbalancing:DescribeRules", rule):
            there = cloud.elbv2().describe_rules(RuleArns=[rule])["Rules"]
    except NotFound:
        return thing
    holders = (f"it restores listener rule {rule}",) if there else ()
    return Thing(Kind.SCHEDULE, cloud.region, name, made=due, holders=holders)


def _recycle_bin(cloud: Cloud, things: Iterable[Thing]) -> tuple[list[Thing], tuple[str, ...]]:
    """What a Recycle Bin rule holds of ours: AMIs by their description, which is the image's identity, and snapshots.

    What is in the bin has no tags to see. Nobody needs it to judge the rest, so an error is told and no more.
    """
    ec2, identities = cloud.ec2(), {each.image: each for each in things if each.image}
    try:
        with explained("ec2:ListImagesInRecycleBin", "*"):
            pages = ec2.get_paginator("list_images_in_recycle_bin").paginate()
            images = [(each["ImageId"], each) for page in pages for each in page["Images"]]
        with explained("ec2:ListSnapshotsInRecycleBin", "*"):
            snapshots = ec2.get_paginator("list_snapshots_in_recycle_bin").paginate()
            held: list[tuple[str, Any]] = [
                (each["SnapshotId"], each) for page in snapshots for each in page["Snapshots"]
            ]
    except CloudError as error:
        return [], (f"what is in the Recycle Bin is not known: {error}",)
    made = []
    for kind, found in ((Kind.IMAGE, images), (Kind.SNAPSHOT, held)):
        for name, each in found:
            identity = str(each.get("Description", ""))
            if identity in identities or identity.startswith(("/nix/store/", "sha256:")):
                until = each.get("RecycleBinExitTime") or datetime.max.replace(tzinfo=UTC)
                made.append(Thing(kind, cloud.region, name, image=identity, until=until))
    return made, ()
