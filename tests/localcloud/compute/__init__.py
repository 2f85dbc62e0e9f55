"""Machines and their metadata service."""
