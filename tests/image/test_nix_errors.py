"""What is read out of nix's error output. The samples are what the versions wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetswap.nix.errors import complaint, reason
from fleetswap.nix.failures import failure
from fleetswap.nix.remedies import remedy


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


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "Cannot build '/nix/store/x.drv'. Reason: required system or feature not available"
            " Required system: 'aarch64-linux' with features {} Current system: 'x86_64-linux' with features {kvm}",
            "this machine cannot build for aarch64-linux: ",
        ),
        ("opening lock file '/nix/var/nix/db/big-lock': Permission denied", "this user has no access to nix's store"),
        ("attribute 'readFileType' missing", "a builtin that nix 2.8.0 does not have"),
        ("executing SQLite statement: disk is full (in '/nix/var')", "the disk is full"),
        ("unable to download 'https://x': Couldn't resolve host name (6)", "nix needs the network"),
        (
            "unable to download 'https://x/flake-registry.json': Couldn't resolve host name (6)",
            "is looked up in Nix's registry of flakes",
        ),
        ("cannot find flake 'flake:web' in the flake registries", "`.#web` is the flake of this folder"),
        ("undefined variable 'x'", None),
    ],
)
def test_what_mends_it_is_told(said: str, told: str | None) -> None:
    """The words of a newer nix, or of a computer that is set up otherwise, would be all that the user gets."""
    mends = remedy(said, "nix 2.8.0")
    assert mends is None if told is None else mends is not None and told in mends


def test_a_message_has_an_end() -> None:
    """A throw that prints a package set would push everything else off the screen."""
    why = complaint('@nix {"action":"msg","level":0,"raw_msg":"' + "x" * 5_000 + "\\n - y" * 100 + '"}\n@nix broken')
    lines = failure("web", why, [Path("/p")], ["nix", "build"]).splitlines()
    assert len(lines) < 50
    assert max(map(len, lines)) < 1_100
    assert lines[-2:] == ["  … and 61 more lines", "`nix build` shows the other 61 lines and the trace."]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("getting status of '{}': No such file or directory", True),
        ("path '{}' does not exist", True),
        ("Path '{}' in the repository is not tracked by Git.", True),
        ("The option `web.prot' does not exist. Definition values:\\n- In `{}': 8080", False),
    ],
)
def test_git_add_is_advised_only_for_a_file_that_is_missing(words: str, *, told: bool, tmp_path: Path) -> None:
    """A misspelt option would be answered with `git add` of the file that it is in."""
    (tmp_path / "server.nix").touch()
    message = words.format(f"/nix/store/{'a' * 32}-source/server.nix")
    why = complaint(f'@nix {{"action":"msg","level":0,"raw_msg":"{message}"}}')
    assert ("`git add server.nix`" in failure("web", why, [tmp_path], ["nix", "build"])) is told
