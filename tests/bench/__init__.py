"""Tests of the benchmarks: that what they print follows from what was measured."""
