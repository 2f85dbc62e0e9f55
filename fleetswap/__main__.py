"""`python -m fleetswap` runs the command line (`fleetswap.cli`)."""

from __future__ import annotations

import sys

from fleetswap.cli import main

if __name__ == "__main__":
    sys.exit(main())
