"""Tests of the report of a rollout: what it says, and its page in a browser."""
