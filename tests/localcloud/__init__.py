"""Tests of the local cloud: that it judges as AWS does."""
