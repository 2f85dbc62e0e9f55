"""The rollout's hand on the machines: auto scaling groups' minimum and desired capacity, their failures, and consoles.

It writes a group's minimum and desired capacity and nothing else; launching, replacing and ending machines is the
group's own work. It never decides how many there should be. It implements `fleetswap.workflows.rollout.Fleet`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from fleetswap.aws.calls import code, explained
from fleetswap.domain.gate import Failure, Machine
from fleetswap.domain.orders import Group

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_ec2 import EC2Client

RECENT = 20
"""Scaling activities that are looked at, newest first: more than a group can fail at during one rollout's patience."""

NO_LATEST = frozenset({"UnsupportedOperation", "InvalidParameterCombination", "InvalidParameterValue"})
"""What EC2 answers to `Latest` for an instance type that is not built on Nitro (GetConsoleOutput)."""


class Fleet:
    """The groups of an account and region. Safe to share between threads, as the clients are."""

    def __init__(self, autoscaling: AutoScalingClient, ec2: EC2Client) -> None:
        """Both clients are of the same account and region."""
        self._autoscaling = autoscaling
        self._ec2 = ec2

    def group(self, name: str) -> Group | None:
        """The group, or None if it does not exist. Raises `Unavailable` or `CloudError`."""
        with explained("autoscaling:DescribeAutoScalingGroups", name):
            found = self._autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
        if not found:
            return None
        group = found[0]
        return Group(
            minimum=group["MinSize"],
            desired=group["DesiredCapacity"],
            maximum=group["MaxSize"],
            machines=tuple(Machine(item["InstanceId"], item["LifecycleState"]) for item in group.get("Instances", ())),
        )

    def resize(self, name: str, *, minimum: int, desired: int | None) -> None:
        """Write the minimum and, unless None, the desired capacity, in one call. Repeating it changes nothing.

        Raises `Unavailable` or `CloudError`.
        """
        with explained("autoscaling:UpdateAutoScalingGroup", name):
            if desired is None:
                self._autoscaling.update_auto_scaling_group(AutoScalingGroupName=name, MinSize=minimum)
            else:
                self._autoscaling.update_auto_scaling_group(
                    AutoScalingGroupName=name, MinSize=minimum, DesiredCapacity=desired
                )

    def failures(self, name: str) -> tuple[Failure, ...]:
        """The newest scaling activities that failed, newest first. Raises `Unavailable` or `CloudError`."""
        with explained("autoscaling:DescribeScalingActivities", name):
            answer = self._autoscaling.describe_scaling_activities(AutoScalingGroupName=name, MaxRecords=RECENT)
        return tuple(
            Failure(item["ActivityId"], item.get("StatusMessage") or item.get("Description") or item["Cause"])
            for item in answer["Activities"]
            if item["StatusCode"] == "Failed"
        )

    def console(self, machine: str) -> str:
        """The end of the machine's console, at most 64 KiB; empty if it has none. botocore has decoded the base64.

        `Latest` is what the machine says now; older instance types only have what they said after boot. Raises
        `Unavailable` or `CloudError`.
        """
        with explained("ec2:GetConsoleOutput", machine):
            try:
                return self._ec2.get_console_output(InstanceId=machine, Latest=True).get("Output", "")
            except ClientError as error:
                if code(error) not in NO_LATEST:
                    raise
            return self._ec2.get_console_output(InstanceId=machine).get("Output", "")
