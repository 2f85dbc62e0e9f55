"""The only owner of the weights: see `fleetswap_pulumi.rollout`."""

from fleetswap_pulumi.rollout import Rollout, RolloutArgs, RolloutProvider, Side

__all__ = ["Rollout", "RolloutArgs", "RolloutProvider", "Side"]
