"""Tests of the engine's finding and building, its stand-ins, and the stack `local`."""
