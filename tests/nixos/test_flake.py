"""The flake and the example of one that uses it, evaluated without a network: nixpkgs is the stub."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from fleetswap.domain.image.source import FlakeImage
from fleetswap.nix.source import NixSource
from tests.needs import ROOT
from tests.nixos.evaluate import BUILD, STUB

OURS = f"path:{ROOT}/nix"
FLAKES = ("--extra-experimental-features", "nix-command flakes")
GUIDE = ROOT / "docs/how-to/nixos-image.md"
SYSTEMS = ("x86_64-linux", "aarch64-linux")


def evaluate(nix: Sequence[str], flake: str, *arguments: str, inputs: Sequence[tuple[str, str]] = ()) -> str:
    """What `nix eval` prints of an attribute of a flake. It writes no lock file."""
    command = [*nix, "nix", *FLAKES, "eval", "--no-write-lock-file"]
    for name, url in (("nixpkgs", f"path:{STUB}"), *inputs):
        command += ["--override-input", name, url]
    return subprocess.run([*command, flake, *arguments], check=True, capture_output=True, text=True).stdout


def test_the_flake_has_an_image_of_each_architecture(nix: tuple[str, ...]) -> None:
    """`nix build .#web` would fail, or a check of the flake would not look at the configuration."""
    names = "a: builtins.mapAttrs (_: each: builtins.attrNames each) a"
    assert json.loads(evaluate(nix, f"{OURS}#packages", "--apply", names, "--json")) == {
        each: ["web"] for each in SYSTEMS
    }
    for system in SYSTEMS:
        drv = evaluate(nix, f"{OURS}#packages.{system}.web.drvPath", "--raw")
        assert re.fullmatch(r"/nix/store/[a-z0-9]{32}-web\.drv", drv)
        assert evaluate(nix, f"{OURS}#checks.{system}.web.drvPath", "--raw")


def test_the_flake_has_the_modules_by_name(nix: tuple[str, ...]) -> None:
    """A user's flake would not find what the guide names."""
    found = evaluate(nix, f"{OURS}#nixosModules", "--apply", "builtins.attrNames", "--json")
    assert json.loads(found) == ["base", "checks", "default", "image", "network", "secrets", "web"]


def test_without_flakes_it_is_the_same_image(nix: tuple[str, ...]) -> None:
    """The two ways to name an image would make two releases of one configuration."""
    ours = f'(import {ROOT}/nix {{ nixpkgs = "{STUB}"; system = "x86_64-linux"; }}).web.name'
    command = [*nix, "nix-instantiate", "--eval", "--json", "--expr", ours]
    assert json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) == "web"
    assert evaluate(nix, f"{OURS}#packages.x86_64-linux.web.name", "--raw") == "web"


def test_the_example_builds_on_our_flake(nix: tuple[str, ...], tmp_path: Path) -> None:
    """Whoever copies the example would get an error from it."""
    for name in ("flake.nix", "server.nix"):
        (tmp_path / name).write_text((ROOT / "nix/example" / name).read_text())
    inputs = [("fleetswap", OURS), ("fleetswap/nixpkgs", f"path:{STUB}")]
    drv = evaluate(nix, f"path:{tmp_path}#packages.x86_64-linux.web.drvPath", "--raw", inputs=inputs)
    assert re.fullmatch(r"/nix/store/[a-z0-9]{32}-web\.drv", drv)


def test_the_files_that_the_guide_shows_evaluate(nix: tuple[str, ...], tmp_path: Path) -> None:
    """Whoever copies them from the page would get an error, with flakes or without."""
    flake, server, default, opened = re.findall(r"```nix\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/prod.yaml").write_text("database-password: ENC[AES256_GCM,data:xx,type:str]\n")
    server = server.replace("  fleetswap.image", "  imports = [ ./secrets.nix ];\n  fleetswap.image", 1)
    for name, text in (("flake", flake), ("server", server), ("default", default), ("secrets", opened)):
        # The stand-in for nixpkgs has few packages.
        here = text.replace("/path/to/fleetswap", str(ROOT)).replace("caddy", "nginx")
        (tmp_path / f"{name}.nix").write_text(here)
    inputs = [("fleetswap", OURS), ("fleetswap/nixpkgs", f"path:{STUB}")]
    drv = evaluate(nix, f"path:{tmp_path}#packages.x86_64-linux.web.drvPath", "--raw", inputs=inputs)
    command = [*nix, "nix-instantiate", "--eval", "--json", "--attr", "web.drvPath", "--argstr", "nixpkgs", str(STUB)]
    done = subprocess.run([*command, str(tmp_path)], check=True, capture_output=True, text=True)
    assert re.fullmatch(r"/nix/store/[a-z0-9]{32}-web\.drv", drv)
    assert json.loads(done.stdout).endswith("-web.drv")


def test_a_stack_names_the_image_of_the_example(tmp_path: Path) -> None:
    """`image: .#web` would not find the image, or would need a network for what is on the computer."""
    text = (ROOT / "nix/example/flake.nix").read_text()
    text = re.sub(r"github:NixOS/nixpkgs/nixos-[0-9.]+", f"path:{STUB}", text).replace('"path:../"', f'"{OURS}"')
    (tmp_path / "flake.nix").write_text(text)
    (tmp_path / "server.nix").write_text((ROOT / "nix/example/server.nix").read_text())
    subprocess.run(["nix", *FLAKES, "flake", "lock"], check=True, cwd=tmp_path, capture_output=True)
    said = NixSource(FlakeImage(".#web", BUILD), tmp_path).evaluate()
    assert re.fullmatch(r"/nix/store/[a-z0-9]{32}-web", said.identity)
    assert said.register["BootMode"] == "uefi"
    assert said.packages["nginx"] == "1.28.0"
    assert said.licences["openssl"] == "Apache-2.0"


@pytest.mark.parametrize("name", ["flake.nix", "example/flake.nix"])
def test_nixpkgs_is_a_release_that_the_guide_names(name: str) -> None:
    """The flake would follow a release that is no longer supported, or unstable."""
    (release,) = re.findall(r"github:NixOS/nixpkgs/nixos-(\d\d\.\d\d)", (ROOT / "nix" / name).read_text())
    assert release in GUIDE.read_text().partition("## Which NixOS, which Nix")[2]
