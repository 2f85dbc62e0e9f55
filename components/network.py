"""The VPC, its subnets and security groups: see `fleetswap_pulumi.network`."""

from fleetswap_pulumi.network import Network, NetworkArgs

__all__ = ["Network", "NetworkArgs"]
