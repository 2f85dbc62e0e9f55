"""Images and snapshots: what they consist of, which may be adopted, and how fast blocks are sent."""
