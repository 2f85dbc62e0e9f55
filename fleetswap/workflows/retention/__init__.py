"""Looking at what Fleetswap has made in an account, and deleting what nothing refers to."""
