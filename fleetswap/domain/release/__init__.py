"""Releases: the ledger of a stack, and which of them to declare."""
