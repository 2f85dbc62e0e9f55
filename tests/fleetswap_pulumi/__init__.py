"""The building blocks that are no resources by themselves."""
