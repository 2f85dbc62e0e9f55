"""What `fleetswap gc` deletes, and what it never does."""
