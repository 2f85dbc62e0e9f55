"""One image made runnable (AMI, launch template, auto scaling group, target group): see `fleetswap_pulumi.release`."""

from fleetswap_pulumi.release import Release, ReleaseArgs, Tuning

__all__ = ["Release", "ReleaseArgs", "Tuning"]
