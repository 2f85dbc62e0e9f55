"""The dashboards of CloudWatch. The client retries passing errors; every call is safe to repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from fleetswap.aws.errors import code, explained

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

ABSENT = frozenset({"ResourceNotFound", "DashboardNotFoundError"})
"""What CloudWatch says of a dashboard that does not exist: the code on the wire, and the name of the error."""


def put(cloudwatch: CloudWatchClient, name: str, body: str) -> None:
    """Write the dashboard with this name, in place of what it was."""
    with explained("cloudwatch:PutDashboard", name):
        cloudwatch.put_dashboard(DashboardName=name, DashboardBody=body)


def exists(cloudwatch: CloudWatchClient, name: str) -> bool:
    """Whether there is a dashboard with this name."""
    with explained("cloudwatch:GetDashboard", name):
        try:
            cloudwatch.get_dashboard(DashboardName=name)
        except ClientError as error:
            if code(error) in ABSENT:
                return False
            raise
    return True


def delete(cloudwatch: CloudWatchClient, name: str) -> None:
    """Delete it, or find it gone."""
    with explained("cloudwatch:DeleteDashboards", name):
        try:
            cloudwatch.delete_dashboards(DashboardNames=[name])
        except ClientError as error:
            if code(error) not in ABSENT:
                raise
