"""Benchmarks: what the promises of docs are measured with. Nothing here is part of what is installed or deployed."""
