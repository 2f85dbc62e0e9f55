"""Processes that the local cloud starts: none outlives it."""
