"""Sealed secrets: the KMS key of an environment, and who may do what with it."""
