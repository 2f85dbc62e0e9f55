"""The EBS direct API and its store."""
