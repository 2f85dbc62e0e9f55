"""EC2's control plane, as strict as AWS."""
