"""The command line: it reads words, joins the workflows to AWS, shows what they tell, and ends with an exit status.

It decides nothing about snapshots or fleets. What a user did wrong, or AWS refused, is one line `error: …` on standard
error and never a traceback; the result, and nothing else, goes to standard output.
"""

from __future__ import annotations

import gc


def main() -> int:
    """Run the program's own arguments, and return the exit status."""
    gc.disable()  # until all is imported (`fleetswap.cli.connect.join`): it would only look at modules again and again
    from fleetswap.cli.app import run  # noqa: PLC0415 (typer is imported when it is needed, and not by who imports us)

    return run()
