"""The engine of Fleetswap, without Pulumi: it bakes, ships, registers and swaps whole machines."""
