"""The disk image of a release, as an EBS snapshot: see `fleetswap_pulumi.disk_image`."""

from fleetswap_pulumi.disk_image import DiskImage, DiskImageProvider

__all__ = ["DiskImage", "DiskImageProvider"]
