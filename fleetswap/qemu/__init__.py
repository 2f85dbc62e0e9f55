"""Machines in QEMU on this computer, for boot tests."""
