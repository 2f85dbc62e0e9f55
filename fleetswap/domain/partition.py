"""The partitions of AWS: how ARNs, hosts and services' names differ between them. Makes no call and knows no region.

`fleetswap.aws.partition` finds the partition of a region.
"""

from __future__ import annotations

from dataclasses import dataclass

EVERYWHERE = "amazonaws.com"
"""How the names of services as principals end, whatever the partition's DNS suffix is (terraform-provider-aws,
aws_service_principal; pulumi-eks, issue 2341: `ec2.amazonaws.eu` is refused)."""

OWN_NAMES = {("aws-cn", "ec2")}
"""Services whose name as a principal ends in the partition's DNS suffix: EC2 in China (terraform-provider-aws, issue
47141)."""


@dataclass(frozen=True)
class Partition:
    """Such as `aws` or `aws-cn`, and how the names of its hosts end."""

    name: str = "aws"
    suffix: str = EVERYWHERE

    def principal(self, service: str) -> str:
        """A service, such as `ec2`, as a principal of policies."""
        return f"{service}.{self.suffix if (self.name, service) in OWN_NAMES else EVERYWHERE}"

    def host(self, service: str, region: str) -> str:
        """The host of a service in a region, as `kms:ViaService` has it."""
        return f"{service}.{region}.{self.suffix}"


def of_arn(arn: str) -> str:
    """The name of an ARN's partition."""
    return arn.split(":", 2)[1]
