"""What is deleted of what Fleetswap has made in an account, and what is not."""
