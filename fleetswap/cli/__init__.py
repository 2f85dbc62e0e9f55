"""The command line: it reads the arguments, connects the workflows to AWS, and shows progress and results.

It decides nothing about snapshots or fleets. A mistake of the user's, or a refusal by AWS, is one line `error: …` on
standard error and never a traceback; standard output gets the result and nothing else.
"""

from __future__ import annotations

from fleetswap.cli.app import run


def main() -> int:
    """Run the program's own arguments, and return the exit status."""
    return run()
