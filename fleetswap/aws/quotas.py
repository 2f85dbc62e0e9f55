"""Service Quotas, and how much of some is in use in a region. Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from fleetswap.aws.errors import code, explained

if TYPE_CHECKING:
    from fleetswap.aws.session import Cloud


class Quotas:
    """The quotas of an account in a region. Each method raises `TryAgain` or `CloudError`."""

    def __init__(self, cloud: Cloud) -> None:
        """No call is made, and no client, before something is asked."""
        self._cloud = cloud

    def value(self, service: str, quota: str) -> float:
        """The value of a quota, by its code; AWS's default where the account has none of its own."""
        client: Any = self._cloud.service_quotas()
        asked = {"ServiceCode": service, "QuotaCode": quota}
        with explained("servicequotas:GetServiceQuota", f"{service} {quota}"):
            try:
                return float(client.get_service_quota(**asked)["Quota"]["Value"])
            except ClientError as error:
                if code(error) != "NoSuchResourceException":
                    raise
        with explained("servicequotas:GetAWSDefaultServiceQuota", f"{service} {quota}"):
            return float(client.get_aws_default_service_quota(**asked)["Quota"]["Value"])

    def groups(self) -> int:
        """How many auto scaling groups there are."""
        with explained("autoscaling:DescribeAutoScalingGroups", self._cloud.region):
            pages = self._cloud.autoscaling().get_paginator("describe_auto_scaling_groups").paginate()
            return sum(len(page["AutoScalingGroups"]) for page in pages)

    def target_groups(self) -> int:
        """How many target groups there are."""
        with explained("elasticloadbalancing:DescribeTargetGroups", self._cloud.region):
            pages = self._cloud.elbv2().get_paginator("describe_target_groups").paginate()
            return sum(len(page["TargetGroups"]) for page in pages)
