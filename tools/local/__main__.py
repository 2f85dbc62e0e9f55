"""`python -m tools.local VERB`: one verb of the Makefile."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from tools.local.stack import Stack
from tools.local.work import ROOT, LocalError, Work


def main(argv: list[str], base: Mapping[str, str]) -> int:
    """Run one verb of the Makefile."""
    parser = argparse.ArgumentParser(prog="python -m tools.local")
    parser.add_argument("verb", choices=["up", "preview", "rollback", "status", "down"])
    verb = parser.parse_args(argv).verb
    folder = Path(base.get("FLEETSWAP_WORK") or ROOT / ".work").resolve()
    try:
        stack = Stack(Work(root=ROOT, folder=folder), base)
        return int(getattr(stack, verb)())
    except LocalError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
