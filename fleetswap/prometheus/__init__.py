"""Prometheus, as a source of evidence."""
