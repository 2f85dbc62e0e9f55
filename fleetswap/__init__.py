"""The core of Fleetswap, without Pulumi: images become snapshots, and a fleet is moved to a new release."""
