"""Rollouts: one state machine, and what it decides with."""
