"""Pulumi building blocks: components, and dynamic providers that are thin and call the engine."""
