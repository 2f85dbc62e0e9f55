"""The policies that `fleetswap permissions` prints."""
