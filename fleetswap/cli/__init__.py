"""The command line: reads the arguments, connects the workflows to AWS, and shows progress and results.

It decides nothing about snapshots or fleets. A user's mistake, or an error from AWS, is one line `error: …` on standard
error, never a traceback. Standard output contains only the result.
"""

from __future__ import annotations

from fleetswap.cli.app import run


def main() -> int:
    """Run with the program's own arguments, and return the exit status."""
    return run()
