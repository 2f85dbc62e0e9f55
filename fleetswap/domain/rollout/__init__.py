"""Rollouts: one state machine, and the modules by which it decides."""
