"""The load balancer and its listener: see `fleetswap_pulumi.front_door`."""

from fleetswap_pulumi.front_door import FrontDoor, FrontDoorArgs

__all__ = ["FrontDoor", "FrontDoorArgs"]
