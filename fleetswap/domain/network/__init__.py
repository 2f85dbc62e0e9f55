"""Networks: how a VPC of the stack's own is divided, and what an existing one must have."""
