"""What is deployed: the settings, and the stack's story from top to bottom."""
