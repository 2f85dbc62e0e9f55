"""Images on their way into EBS snapshots and back."""
