"""Fleetswap for Pulumi programs: components, and thin dynamic providers that call `fleetswap`.

Import from its modules: `from fleetswap_pulumi.network import Network, NetworkArgs`.
"""
