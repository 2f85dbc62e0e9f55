"""EBS direct and EC2's snapshots."""
