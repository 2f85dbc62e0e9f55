"""The role of the dead man's switch: see `fleetswap_pulumi.switch`."""

from fleetswap_pulumi.switch import Switch, SwitchArgs

__all__ = ["Switch", "SwitchArgs"]
