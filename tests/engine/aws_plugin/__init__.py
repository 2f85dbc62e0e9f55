"""Tests of the stand-in for the AWS plugin."""
