"""The command line: reads the arguments, connects the workflows to AWS, and shows progress and results.

It decides nothing about snapshots or fleets. A user's mistake, or an error from AWS, is one line `error: …` on standard
error, never a traceback. Standard output contains only the result.
"""

from __future__ import annotations

import gc


def main() -> int:
    """Run with the program's own arguments, and return the exit status."""
    # Of what is imported nothing becomes garbage: to look for it takes 8 % of the start. `app` enables it afterwards.
    gc.disable()
    from fleetswap.cli.app import run  # noqa: PLC0415 (see above)

    return run()
