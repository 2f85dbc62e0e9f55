"""Tests of the timeline: its data, its history, and where each is taken from."""
