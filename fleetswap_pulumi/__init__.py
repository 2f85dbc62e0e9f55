"""Fleetswap for Pulumi programs: components, and dynamic providers that are thin and call the engine.

Import from its modules: `from fleetswap_pulumi.network import Network, NetworkArgs`.
"""
