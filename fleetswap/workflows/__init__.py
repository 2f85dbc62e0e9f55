"""Effects in order, through ports: what is done to the world, never how the world is called."""
