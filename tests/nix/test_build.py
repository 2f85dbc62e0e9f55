"""Builds with the real nix, of derivations that build at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetswap.domain.errors import FleetswapError
from fleetswap.nix import build
from tests.nix.conftest import OPTIONS, Write, message, name, small


def test_instantiate_names_what_realise_builds(expression: Write, tmp_path: Path) -> None:
    """The store path in a preview would not be the path of the image that is deployed."""
    derivation = name(expression(small()), text="hello")
    root = tmp_path / "roots" / "web-1"
    out = build.realise(derivation, root=root, say=lambda _: None, options=OPTIONS)
    assert out == Path(derivation.identity)
    assert out.read_text() == "hello\n"
    assert root.resolve() == out


def test_realise_again_builds_nothing(expression: Write) -> None:
    """A repeated deploy would build again."""
    derivation = name(expression(small()), text="again")
    build.realise(derivation, root=None, say=lambda _: None, options=OPTIONS)
    said: list[str] = []
    assert build.realise(derivation, root=None, say=said.append, options=OPTIONS) == Path(derivation.identity)
    assert said == []


def test_realise_says_what_it_builds(expression: Write, tmp_path: Path) -> None:
    """A build of minutes would look like a hang."""
    derivation = name(expression(small()), text=str(tmp_path))  # a path of its own, so that it is not built yet
    said: list[str] = []
    build.realise(derivation, root=None, say=said.append, options=OPTIONS)
    assert said == [f"building '{derivation.derivation}'..."]


def test_a_failed_build_shows_the_end_of_its_log(expression: Write) -> None:
    """Whoever deploys would have to guess why the image did not build."""
    derivation = name(expression(small("echo first; echo one; echo two >&2; echo no space left; exit 3")))
    with pytest.raises(FleetswapError, match="exit code 3") as error:
        build.realise(derivation, root=None, say=lambda _: None, options=OPTIONS)
    assert "| one | two | no space left:" in message(error)
    assert f"nix-store --read-log {derivation.derivation}" in message(error)
    assert "first" not in message(error)


def test_a_long_log_keeps_the_builders_last_words(expression: Write) -> None:
    """Every NixOS image's log is longer than what is kept: the error would be an exit code and nothing else."""
    script = "i=0; while [ $i -lt 1500 ]; do echo line $i; i=$((i+1)); done; echo error: not nix; echo no space; exit 3"
    derivation = name(expression(small(script.replace("$", "\\$"))))
    with pytest.raises(FleetswapError, match="exit code 3") as error:
        build.realise(derivation, root=None, say=lambda _: None, options=OPTIONS)
    assert "| line 1499 | error: not nix | no space:" in message(error)


def test_a_hash_mismatch_is_told_with_both_hashes(expression: Write) -> None:
    """The new hash, which is all that one wants of this error, would stand nowhere."""
    wrong = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    fixed = f'name = "small"; outputHash = "{wrong}"; outputHashAlgo = "sha256"; outputHashMode = "flat";'
    derivation = name(expression(small().replace('name = "small";', fixed)))
    with pytest.raises(FleetswapError, match="hash mismatch in fixed-output derivation") as error:
        build.realise(derivation, root=None, say=lambda _: None, options=OPTIONS)
    assert f"specified: {wrong} got: sha256-" in message(error)


def test_an_interrupted_build_leaves_no_nix_behind(expression: Write, tmp_path: Path) -> None:
    """After Ctrl-C, nix and its builders would go on building."""
    mark = tmp_path / "pid"
    derivation = name(expression(small(f"echo $$ > {mark}; while :; do read -r x < /proc/uptime; done")))

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build.realise(derivation, root=None, say=interrupt, options=OPTIONS)
    assert not mark.exists() or not Path("/proc", mark.read_text().strip()).exists()
