"""Where this machine's credentials lead to: the account, and the availability zones that it has in the region.

It reads, and decides nothing. The program asks it before it declares anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetswap.aws.calls import explained

if TYPE_CHECKING:
    from fleetswap.aws.session import Cloud


class Account:
    """The account behind the credentials of a `Cloud`."""

    def __init__(self, cloud: Cloud) -> None:
        """No call is made, and no client, before something is asked."""
        self._cloud = cloud

    def id(self) -> str:
        """Its 12 digits. Needs no permission (STS, GetCallerIdentity). Raises `Unavailable` or `CloudError`."""
        with explained("sts:GetCallerIdentity", self._cloud.region):
            return str(self._cloud.sts().get_caller_identity()["Account"])

    def zones(self) -> tuple[str, ...]:
        """The letters of the zones that subnets can be made in, in order. They differ from account to account.

        Local and Wavelength Zones are none of them, nor is a zone that is impaired or unavailable
        (DescribeAvailabilityZones). Raises `Unavailable` or `CloudError`.
        """
        region = self._cloud.region
        with explained("ec2:DescribeAvailabilityZones", region):
            answer = self._cloud.ec2().describe_availability_zones(
                Filters=[
                    {"Name": "zone-type", "Values": ["availability-zone"]},
                    {"Name": "state", "Values": ["available"]},
                ]
            )
        return tuple(sorted(zone["ZoneName"].removeprefix(region) for zone in answer["AvailabilityZones"]))
