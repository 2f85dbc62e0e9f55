"""Machines: QEMU, and the instance metadata service of each."""
