"""The only owner of the weights: see `fleetswap_pulumi.rollout`."""

from fleetswap_pulumi.rollout import ReleaseTarget, Rollout, RolloutArgs, RolloutProvider

__all__ = ["ReleaseTarget", "Rollout", "RolloutArgs", "RolloutProvider"]
