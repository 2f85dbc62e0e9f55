"""What is read out of nix's error output. The samples are what the versions wrote."""

from __future__ import annotations

import pytest

from fleetswap.nix.errors import reason


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        (
            "trace: x\nerror:\n       … while calling\n\n         at /x.nix:1:1:\n\n       error: no\n       more",
            "no more",
        ),
        (
            "error: executing SQLite statement 'insert\n       into x;': disk is full (in '/nix')\n",
            "executing SQLite statement 'insert into x;': disk is full (in '/nix')",
        ),
        ("warning: a\nit broke\n\n", "it broke"),
        ("", "no reason given"),
    ],
)
def test_the_reason_is_found_in_what_other_versions_print(stderr: str, expected: str) -> None:
    """With another nix, or a full disk, the message would be a bare "error" or half a sentence."""
    assert reason(stderr) == expected
