"""Images and snapshots: what they are made of, which may be adopted, and how fast they are sent."""
