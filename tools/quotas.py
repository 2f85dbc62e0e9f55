"""AWS's default quotas for what a deploy calls and keeps, as AWS publishes them (read in November 2026).

It decides which quota a call counts against. Rates are of one account and one Region.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

EC2: Final = "https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html"
ELB: Final = "https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/elb-api-throttling.html"
EBS: Final = "https://docs.aws.amazon.com/general/latest/gr/ebs-service.html"
CLOUDWATCH: Final = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html"
SCHEDULER: Final = "https://docs.aws.amazon.com/scheduler/latest/UserGuide/scheduler-quotas.html"
ALB: Final = "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html"
ASG: Final = "https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-quotas.html"
TEMPLATES: Final = "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/launch-template-restrictions.html"
VPC: Final = "https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html"
IAM: Final = "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"
INSTANCES: Final = "https://docs.aws.amazon.com/general/latest/gr/ec2-service.html"

READS: Final = ("Describe", "List", "Get", "Search")


@dataclass(frozen=True)
class Bucket:
    """A token bucket: requests at once, and requests a second that refill it."""

    name: str
    capacity: float
    refill: float


EC2_OWN: Final = {
    **dict.fromkeys(["CreateTags", "DeleteTags"], (100, 10)),
    **dict.fromkeys(
        [
            "CreateLaunchTemplateVersion",
            "DeleteSnapshot",
            "DeregisterImage",
            "ModifyImageAttribute",
            "ModifyLaunchTemplate",
            "ModifySnapshotAttribute",
        ],
        (100, 5),
    ),
    "CopyImage": (100, 1),
    "RunInstances": (5, 2),
}
"""Actions of EC2 with a bucket that is not their category's."""

EC2_UNFILTERED: Final = {
    "DescribeInstances",
    "DescribeNetworkInterfaces",
    "DescribeSecurityGroups",
    "DescribeSnapshots",
}
"""Have a smaller bucket without a filter or pages: taken for all, because the recording does not have how we asked."""

ELB_INTENSIVE: Final = {"CreateLoadBalancer", "SetSubnets"}

PER_SECOND: Final = {
    "ebs:StartSnapshot": 10,
    "ebs:CompleteSnapshot": 10,
    "ebs:ListSnapshotBlocks": 50,
    "ebs:ListChangedBlocks": 50,
    "ebs:GetSnapshotBlock": 1000,
    "ebs:PutSnapshotBlock": 1000,
    "cloudwatch:DescribeAlarms": 9,
    "cloudwatch:GetMetricData": 500,
    "cloudwatch:PutMetricAlarm": 3,
    "scheduler:CreateSchedule": 250,
    "scheduler:UpdateSchedule": 250,
    "scheduler:DeleteSchedule": 250,
    "scheduler:GetSchedule": 250,
}
"""Requests a second, without a bucket. Scheduler: of the smaller Regions."""


def buckets(call: str) -> tuple[Bucket, ...]:
    """The buckets that `call` takes a token from; none where AWS publishes no number."""
    service, _, action = call.partition(":")
    if service == "ec2":
        return (Bucket(call, *_ec2(action)),)
    if service == "elbv2":
        return (Bucket("elbv2: all actions together", 40, 10), _elb(action))
    if call in PER_SECOND:
        return (Bucket(call, PER_SECOND[call], PER_SECOND[call]),)
    return ()


def _ec2(action: str) -> tuple[float, float]:
    if action in EC2_OWN:
        return EC2_OWN[action]
    if action in EC2_UNFILTERED:
        return 50, 10
    return (100, 20) if action.startswith(READS) else (50, 5)


def _elb(action: str) -> Bucket:
    if action in ELB_INTENSIVE:
        return Bucket("elbv2: CreateLoadBalancer, SetSubnets", 10, 0.2)
    if action.startswith(READS):
        return Bucket("elbv2: Describe…", 40, 10)
    return Bucket("elbv2: Create…, Modify…, Delete…, tags", 20, 3)


@dataclass(frozen=True)
class Kept:
    """A quota for how many there may be. `made_by` is the call that makes one."""

    name: str
    made_by: str
    quota: int
    source: str
    is_fixed: bool = False
    """AWS does not raise it."""
    of_release: bool = False
    """Each release has its own; otherwise each service."""
    is_global: bool = False
    """Counted over all Regions."""


KEPT: Final = (
    Kept("IAM roles of the account", "iam:CreateRole", 1000, IAM, of_release=True, is_global=True),
    Kept("instance profiles of the account", "iam:CreateInstanceProfile", 1000, IAM, of_release=True, is_global=True),
    Kept("VPCs of a Region, one a service", "ec2:CreateVpc", 5, VPC),
    Kept(
        "Application Load Balancers of a Region, one a service",
        "elbv2:CreateLoadBalancer",
        50,
        ALB,
    ),
    Kept("target groups of a Region", "elbv2:CreateTargetGroup", 3000, ALB, of_release=True),
    Kept(
        "target groups of a load balancer that all services share",
        "elbv2:CreateTargetGroup",
        100,
        ALB,
        is_fixed=True,
        of_release=True,
    ),
    Kept(
        "rules of a load balancer that all services share",
        "elbv2:CreateRule",
        100,
        ALB,
        of_release=True,
    ),
    Kept("Auto Scaling groups of a Region", "autoscaling:CreateAutoScalingGroup", 500, ASG, of_release=True),
    Kept("launch templates of a Region", "ec2:CreateLaunchTemplate", 5000, TEMPLATES, of_release=True),
)
SNAPSHOTS: Final = 100_000
"""Snapshots per Region."""
PENDING: Final = 100
"""Pending snapshots per account."""
VCPUS: Final = 5
"""Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances, of a new account."""
