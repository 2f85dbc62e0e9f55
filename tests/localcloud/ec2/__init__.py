"""EC2's control plane, as the local cloud has it."""
