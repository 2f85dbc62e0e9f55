"""Rollouts, run through ports."""
