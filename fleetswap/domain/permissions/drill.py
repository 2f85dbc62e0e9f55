"""What `fleetswap drill` takes beside a rollback's permissions: a look at all that machines are launched from, quotas,
simulations of policies, and one schedule that never fires.
"""

from __future__ import annotations

from collections.abc import Iterator

from fleetswap.domain.permissions.scope import Scope
from fleetswap.domain.permissions.statement import Statement

EC2 = (
    "DescribeImages DescribeInstanceTypeOfferings DescribeInstanceTypes DescribeInstances"
    " DescribeLaunchTemplateVersions DescribeSecurityGroups DescribeSnapshots DescribeSubnets"
    " GetEbsDefaultKmsKeyId GetEbsEncryptionByDefault"
)
OTHERS = (
    "elasticloadbalancing:DescribeTargetGroups",
    "iam:ListRoles",
    "servicequotas:GetAWSDefaultServiceQuota",
)


def look(scope: Scope) -> Iterator[Statement]:
    """What a drill reads. It changes nothing."""
    yield Statement(
        "LookAtLaunches",
        "AMIs, snapshots, launch templates and subnets, which a rollback needs; these actions know no resource",
        tuple(sorted([*(f"ec2:{name}" for name in EC2.split()), *OTHERS])),
    )
    yield look_at_quotas(scope, "the vCPU quotas of EC2", "ec2")
    yield Statement(
        "LookAtLaunchKeys",
        "whether EC2 Auto Scaling may use the keys of volumes and snapshots",
        ("kms:DescribeKey", "kms:GetKeyPolicy", "kms:ListGrants"),
        (f"arn:{scope.partition}:kms:{scope.region}:{scope.account}:key/*",),
    )
    yield simulate(scope, "whether the caller may roll back, and the dead man's switch may modify the rule")


def look_at_quotas(scope: Scope, reason: str, *services: str) -> Statement:
    """The quotas of some services, by their names in Service Quotas."""
    where = f"arn:{scope.partition}:servicequotas:{scope.region}:{scope.account}"
    return Statement(
        "LookAtQuotas", reason, ("servicequotas:GetServiceQuota",), tuple(f"{where}:{each}/*" for each in services)
    )


def simulate(scope: Scope, reason: str) -> Statement:
    """Asking IAM what a role may do. It shows the permissions of roles, and gives none."""
    return Statement(
        "Simulate",
        reason,
        ("iam:GetRole", "iam:SimulatePrincipalPolicy"),
        (f"arn:{scope.partition}:iam::{scope.account}:role/*", f"arn:{scope.partition}:iam::{scope.account}:user/*"),
    )


def try_switch(scope: Scope) -> Statement:
    """A schedule that is disabled, and deleted at once."""
    return Statement(
        "TrySwitch",
        "a disabled schedule, by which EventBridge Scheduler proves that it can assume the switch's role",
        ("scheduler:CreateSchedule", "scheduler:DeleteSchedule"),
        scope.schedules,
    )
