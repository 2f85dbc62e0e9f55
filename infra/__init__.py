"""What is deployed: the settings, and the stack from top to bottom."""
