"""What processes of Pulumi do not spend their time on."""

from __future__ import annotations

import subprocess
import sys

import pytest

CYCLE = """
class Loud:
    def __del__(self):
        print("searched")

def leave():
    loud = Loud()
    loud.itself = loud

leave()
"""


@pytest.mark.parametrize(
    "module", ["fleetswap_pulumi.checks", "engine.aws_plugin.server", "engine.language_host", "builtins"]
)
def test_a_process_that_ends_is_not_searched_for_garbage(module: str) -> None:
    """The engine would wait for each process until it has looked through all classes of the AWS SDK."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}\n{CYCLE}"], capture_output=True, text=True, check=True
    )
    assert done.stdout == ("searched\n" if module == "builtins" else "")


@pytest.mark.parametrize(("before", "after"), [("700", "50000"), ("0", "0"), ("60000", "60000")])
def test_garbage_is_looked_for_seldom(before: str, after: str) -> None:
    """An update would spend a fifth of its CPU time on it, or who has turned the collector off would have it again."""
    program = f"import gc; gc.set_threshold({before}); import fleetswap_pulumi; print(gc.get_threshold()[0])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == after
