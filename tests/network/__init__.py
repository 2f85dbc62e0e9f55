"""The network wing: how a VPC is divided, and what an existing one must have."""
