"""Rollouts, driven through ports."""
