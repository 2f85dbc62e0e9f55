"""Calls to the real nix: instantiate, realise, and nothing else."""
