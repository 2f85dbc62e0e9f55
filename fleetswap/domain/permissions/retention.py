"""What `fleetswap gc` takes: it reads all of a region, and deletes what has the stack's tags."""

from __future__ import annotations

from collections.abc import Iterator

from fleetswap.domain.permissions.scope import Scope
from fleetswap.domain.permissions.statement import Statement

EC2 = (
    "DescribeImageReferences DescribeImages DescribeInstances DescribeLaunchTemplateVersions DescribeLaunchTemplates"
    " DescribeSnapshots ListImagesInRecycleBin ListSnapshotsInRecycleBin"
)
ELB = "DescribeLoadBalancers DescribeRules DescribeTags DescribeTargetGroups"
AUTO_SCALING = "DescribeAutoScalingGroups DescribeScheduledActions"
REFERENCES = "imagebuilder:ListContainerRecipes imagebuilder:ListImageRecipes ssm:DescribeParameters"
"""What DescribeImageReferences lists for its caller (EC2 user guide, "Identify your resources referencing specified
AMIs")."""


def look(scope: Scope) -> Iterator[Statement]:
    """What decides whether something lives."""
    actions = [
        *(f"ec2:{each}" for each in EC2.split()),
        *(f"elasticloadbalancing:{each}" for each in ELB.split()),
        *(f"autoscaling:{each}" for each in AUTO_SCALING.split()),
        "scheduler:ListSchedules",
        *REFERENCES.split(),
    ]
    yield Statement(
        "LookAtEverything",
        "what Fleetswap has made in the region, and who refers to it; these actions know no resource",
        tuple(sorted(actions)),
    )
    where = f"{scope.region}:{scope.account}"
    yield Statement(
        "LookAtReferences",
        "parameters and recipes that refer to an AMI, for AWS's own check",
        ("imagebuilder:GetContainerRecipe", "ssm:GetParameters"),
        (
            f"arn:{scope.partition}:imagebuilder:{where}:container-recipe/*",
            f"arn:{scope.partition}:ssm:{where}:parameter/*",
        ),
    )
    yield Statement(
        "LookAtShares",
        "with whom AMIs and snapshots are shared",
        ("ec2:DescribeImageAttribute", "ec2:DescribeSnapshotAttribute"),
        scope.ec2("image", "snapshot"),
    )
    yield Statement(
        "LookAtSwitches",
        "dead man's switches, of all services",
        ("scheduler:GetSchedule",),
        (f"{scope.schedules[0].rpartition('/')[0]}/fleetswap-*",),
    )


def delete(scope: Scope) -> Iterator[Statement]:
    """Only what is the stack's."""
    yield Statement(
        "DeleteImages",
        "AMIs, snapshots and launch templates of the stack that nothing refers to, and the protection of such an AMI",
        (
            "ec2:DeleteLaunchTemplate",
            "ec2:DeleteSnapshot",
            "ec2:DeregisterImage",
            "ec2:DisableImageDeregistrationProtection",
        ),
        scope.ec2("image", "launch-template", "snapshot"),
        scope.own,
    )
    yield Statement(
        "DeleteTargetGroups",
        "target groups of the stack that nothing refers to",
        ("elasticloadbalancing:DeleteTargetGroup",),
        scope.target_groups,
        scope.own,
    )
    yield Statement(
        "DeleteSwitches",
        "dead man's switches of the service whose listener rule is gone",
        ("scheduler:DeleteSchedule",),
        scope.schedules,
    )
