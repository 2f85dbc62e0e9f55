"""EBS direct and the snapshots of EC2."""
