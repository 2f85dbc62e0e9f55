"""The stack's context and the one tag policy: see `fleetswap_pulumi.context`."""

from fleetswap_pulumi.context import Context

__all__ = ["Context"]
