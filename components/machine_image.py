"""The AMI of a release: see `fleetswap_pulumi.machine_image`."""

from fleetswap_pulumi.machine_image import MachineImage, MachineImageArgs

__all__ = ["MachineImage", "MachineImageArgs"]
