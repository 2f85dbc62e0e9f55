"""CloudWatch, as the local cloud has it."""
