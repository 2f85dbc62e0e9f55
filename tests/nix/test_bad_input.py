"""What goes wrong around nix: one clear error each, with the remedy, and nothing half-made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.image.evaluation import Evaluation
from fleetswap.domain.image.source import FlakeImage, NixImage
from fleetswap.nix import build
from fleetswap.nix.evaluate import evaluate
from tests.nix.conftest import OPTIONS, Write, message, name, small

NIXPKGS = """
let wanted = "{wanted}"; in
if builtins.compareVersions wanted builtins.nixVersion != 1 then {image} {{}} else abort ''

  This version of Nixpkgs requires {words}, please upgrade:

  - If you are running NixOS, `nixos-rebuild' can be used to upgrade your system.
''
"""
"""How nixpkgs refuses an old nix (default.nix, lib/minver.nix and, since August 2025, lib/minfeatures.nix)."""


def unbuilt(image: Evaluation) -> str:
    """Why it cannot be built; nothing is left of it."""
    with pytest.raises(FleetswapError) as error:
        build.realise(image, root=None, say=lambda _: None, options=OPTIONS)
    assert not Path(image.identity).exists()
    return message(error)


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder at the beginning of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


@pytest.mark.usefixtures("nix")
@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("9.1", "Nix >= ${wanted}"),
        (
            "9.1",
            "an implementation of Nix with the following features:\n"
            "  - `builtins.nixVersion` reports at least ${wanted}\n"
            "\n  You are evaluating with Nix ${builtins.nixVersion}",
        ),
    ],
)
def test_a_nix_that_is_too_old_for_the_nixpkgs_is_told(expression: Write, wanted: str, words: str) -> None:
    """NixOS 25.11 with Debian 12's nix: a page of advice, in which the version that is needed is easily missed."""
    path = expression(NIXPKGS.format(wanted=wanted, image=small(), words=words))
    with pytest.raises(InputError) as error:
        name(path)
    said = subprocess.run(["nix-instantiate", "--version"], capture_output=True, text=True, check=True).stdout.split()
    assert str(error.value).splitlines()[-1] == (
        f"This nixpkgs needs nix 9.1 or later, and this machine has nix {said[-1]}: install a newer nix."
    )
    assert name(expression(NIXPKGS.format(wanted="2.3", image=small(), words=words))) == name(expression(small()))


def test_a_nix_without_flakes_is_told(bin_folder: Path, tmp_path: Path) -> None:
    """A setting that this machine's nix is too old for would look like a fault of Fleetswap."""
    old = "echo \"error: unrecognised flag '--extra-experimental-features'\" >&2; exit 1"
    program(bin_folder, "nix", f'[ "$1" = --version ] && echo "nix (Nix) 2.3.16" && exit\n{old}')
    with pytest.raises(InputError, match=r"flakes need nix 2\.4 or later, and this machine has nix 2\.3\.16: install"):
        evaluate(FlakeImage(".#web"), tmp_path, preview=True)


@pytest.mark.usefixtures("nix")
def test_a_system_that_cannot_be_built_here_is_told(expression: Write) -> None:
    """An image for arm64 on a machine without emulation: nix speaks of features, and of no remedy."""
    image = name(expression(small().replace("x86_64-linux", "aarch64-linux")))
    assert image.system == "aarch64-linux"
    told = unbuilt(image)
    assert "a 'aarch64-linux' with features {} is required to build" in told
    assert "this machine cannot build for aarch64-linux: give nix a remote builder (`builders`), or binfmt" in told


@pytest.mark.usefixtures("nix")
@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("kill -9 $$", "something killed it, usually because the memory was full"),
        (
            "/usr/bin/dd if=/dev/zero of=/dev/full count=1",
            "the disk is full: free some space, for example with `nix-collect-garbage`",
        ),
    ],
)
def test_a_builder_that_lacks_something_is_told(expression: Write, tmp_path: Path, script: str, told: str) -> None:
    """An exit code would be all that is known, of a build that works on a larger machine."""
    assert told in unbuilt(name(expression(small(f": {tmp_path}; {script}"))))


def test_a_nix_that_was_killed_is_told(expression: Write, bin_folder: Path) -> None:
    """An evaluation of NixOS takes more memory than a small runner has: nothing at all would be said."""
    program(bin_folder, "nix-instantiate", '[ "$1" = --version ] || kill -9 $$')
    with pytest.raises(InputError, match=r"nix was killed by signal 9: something killed it, usually because"):
        name(expression(small()))


@pytest.mark.usefixtures("nix")
def test_without_its_daemon_nix_says_what_to_start(
    expression: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an ordinary computer after a reboot, a socket would be all that is spoken of."""
    path = expression(small())
    monkeypatch.setenv("NIX_REMOTE", f"unix://{tmp_path}/daemon-socket")
    with pytest.raises(InputError, match="nix's daemon does not run: start it"):
        name(path)


@pytest.mark.parametrize(
    ("mount", "told"),
    [
        ("mount -t tmpfs -o ro none {store}", "nix's store is read-only: make /nix writable"),
        ("mount -t tmpfs -o size=64k none {store}", "the disk is full: free some space"),
    ],
)
def test_a_store_that_takes_nothing_is_told(
    expression: Write, bin_folder: Path, tmp_path: Path, mount: str, told: str
) -> None:
    """An image that cannot be written would end in words about a database, and be half there."""
    store, real = tmp_path / "store", "/usr/bin/nix-instantiate"
    store.mkdir()
    state = f"NIX_STORE_DIR={store} NIX_STATE_DIR={tmp_path}/state NIX_LOG_DIR={tmp_path}/log"
    inside = f'{mount.format(store=store)} && shift && exec env {state} {real} \\"\\$@\\"'
    program(bin_folder, "nix-instantiate", f'exec unshare --mount sh -c "{inside}" sh x "$@"')
    (tmp_path / "big").write_bytes(b"x" * 100_000)
    with pytest.raises(InputError, match=told):
        name(expression(small().replace("inherit text;", f"text = {tmp_path}/big;")))
    assert list(store.iterdir()) == []


def test_without_a_network_what_has_to_be_fetched_is_told(expression: Write) -> None:
    """An expression that fetches nixpkgs would fail with the name of a host."""
    path = expression('import (builtins.fetchTarball "http://127.0.0.1:9/nixpkgs.tar.gz") { }')
    with pytest.raises(InputError, match="nix needs the network for what is not in its store"):
        evaluate(NixImage(path.name, {}, {**OPTIONS, "download-attempts": "1"}), path.parent, preview=True)
