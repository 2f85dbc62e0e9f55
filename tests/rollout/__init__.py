"""Tests of the rollout: the gate, the state machine, the workflow in a simulated world, the AWS adapters."""
