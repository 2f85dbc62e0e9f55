"""The whole fleet of a stack: see `fleetswap_pulumi.fleet`."""

from fleetswap_pulumi.fleet import Fleet, deploy

__all__ = ["Fleet", "deploy"]
