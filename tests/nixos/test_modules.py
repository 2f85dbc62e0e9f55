"""What a configuration of our modules is, in every release of NixOS that options.json knows."""

from __future__ import annotations

import json
import re

import pytest

from tests.needs import ROOT
from tests.nixos.evaluate import RELEASES, STUB, refusal, system, value, values

VERITY = "{ fleetswap.image.verity.enable = true; }"


def test_every_release_evaluates(nix: tuple[str, ...]) -> None:
    """An option that a release renamed or does not have would stop each image on it."""
    found = values(
        {release: system(release=release) + ".config.system.build.toplevel.name" for release in RELEASES}, nix
    )
    assert found == {release: f"nixos-system-nixos-{release}" for release in RELEASES}


def test_the_mounts() -> None:
    """The machine would not find its store, or would try to write to it."""
    found = value(f"builtins.mapAttrs (_: fs: {{ inherit (fs) device fsType options; }}) {system()}.config.fileSystems")
    assert found == {
        "/": {"device": "tmpfs", "fsType": "tmpfs", "options": ["mode=0755"]},
        "/usr": {"device": "/dev/disk/by-partlabel/store", "fsType": "erofs", "options": ["ro"]},
        "/nix/store": {"device": "/usr/nix/store", "fsType": "none", "options": ["bind"]},
    }
    label = (ROOT / "nix/image/repart.d/20-store.conf").read_text()
    assert "Label=store\n" in label, "the label that /usr is mounted by"


def test_verity_mounts_what_was_checked_and_names_the_hash() -> None:
    """The kernel would read the store past dm-verity, and a changed block would be served."""
    config = system(VERITY) + ".config"
    found = values(
        {
            "device": f'{config}.fileSystems."/usr".device',
            "enabled": f"{config}.boot.initrd.systemd.dmVerity.enable",
            "params": f"{config}.boot.kernelParams",
            "plain": f"{system()}.config.boot.kernelParams",
        }
    )
    assert (found["device"], found["enabled"]) == ("/dev/mapper/usr", True)
    assert {"usrhash=@usrhash@", "systemd.verity_usr_options=panic-on-corruption"} <= {*found["params"]}
    assert not [param for param in found["plain"] if "usrhash" in param]


def test_the_console_and_what_happens_to_a_machine_that_cannot_boot() -> None:
    """A broken machine would wait for a person, and say nothing where EC2 could show it."""
    config = system() + ".config"
    params = value(config + ".boot.kernelParams")
    assert {"panic=10", "boot.panic_on_fail", "systemd.gpt_auto=0"} <= {*params}
    assert [param for param in params if param.startswith("console=")] == ["console=ttyS0,115200"]
    arm = value(system(arch="aarch64") + ".config.boot.kernelParams")
    assert [param for param in arm if param.startswith("console=")] == [
        "console=ttyAMA0,115200",
        "console=ttyS0,115200",
    ]
    assert value(config + ".systemd.enableEmergencyMode") is False
    getty = value(f"builtins.mapAttrs (_: service: service.enable) {config}.systemd.services")
    assert not any(getty.values()), getty


@pytest.mark.parametrize("release", RELEASES)
def test_logs_and_names_stay_on_the_machine(release: str) -> None:
    """A renamed option would keep its default: a journal on a disk that is read-only, and public name servers."""
    config = system(release=release) + ".config.services"
    journal = f"{config}.journald.settings.Journal.Storage" if release == "26.11" else f"{config}.journald.storage"
    names = f"{config}.resolved." + ("fallbackDns" if release < "26.05" else "settings.Resolve.FallbackDNS")
    found = values({"journal": journal, "names": names, "time": f"{config}.timesyncd.servers"})
    assert found == {"journal": "volatile", "names": [], "time": ["169.254.169.123"]}


def test_defaults_yield_to_the_user() -> None:
    """Whoever needs another setting would have to force it, or change our files."""
    mine = "{ systemd.network.wait-online.timeout = 5; boot.growPartition = true; networking.useNetworkd = false; }"
    config = system(mine) + ".config"
    found = values(
        {
            "timeout": f"{config}.systemd.network.wait-online.timeout",
            "grow": f"{config}.boot.growPartition",
            "networkd": f"{config}.networking.useNetworkd",
        }
    )
    assert found == {"timeout": 5, "grow": True, "networkd": False}


def test_a_file_system_of_hardware_configuration_is_a_conflict(nix: tuple[str, ...]) -> None:
    """The image would look for a disk that there is not, and nobody would know before it boots."""
    mine = '{ _file = "hardware-configuration.nix"; fileSystems."/".fsType = "ext4"; }'
    said = refusal(f'{system(mine)}.config.fileSystems."/".fsType', nix)
    assert "conflicting definition values" in said
    assert "hardware-configuration.nix" in said
    assert "image.nix" in said


def test_defaults_of_a_module_for_a_cloud_change_no_mount() -> None:
    """A configuration that is used elsewhere as well would not evaluate, or would resize a root in memory."""
    default = (
        '({ lib, ... }: { fileSystems."/" = lib.mapAttrs (_: lib.mkDefault) '
        '{ device = "/dev/disk/by-label/nixos"; fsType = "ext4"; autoResize = true; }; })'
    )
    root = f'{system(default)}.config.fileSystems."/"'
    found = value(f"{{ inherit ({root}) device fsType autoResize; }}")
    assert found == {"device": "tmpfs", "fsType": "tmpfs", "autoResize": False}


ENV = "/nix/store/coreutils/bin/env"


@pytest.mark.parametrize(
    ("release", "init", "made"),
    [
        ("25.05", "", {"usrbinenv": ENV}),
        ("25.11", "", {"usrbinenv": ENV}),
        # nixos-init of these releases would make it, and its failure ends the boot.
        ("25.11", "{ system.nixos-init.enable = true; }", {"usrbinenv": None}),
        ("26.05", "{ system.nixos-init.enable = true; }", {"usrbinenv": None}),
        ("26.11", "{ system.nixos-init.enable = true; }", {"usrbinenv": ENV, "createUsrBinEnv": False}),
    ],
)
def test_no_boot_makes_env_in_the_read_only_usr(release: str, init: str, made: dict[str, object]) -> None:
    """A machine with nixos-init would end its boot with "Read-only file system"; one without would log an error."""
    config = system(init, release=release) + ".config"
    found = values(
        {name: f"{config}.environment.{name}" for name in made}
        | {
            "script": f"{config}.system.activationScripts.usrbinenv",
            "builds": f'builtins.match ".*(--symlink bin/env=|bin/env=/nix/store/[^ ]+/bin/env).*" '
            f"{config}.system.build.fleetswapImage.buildCommand != null",
        }
    )
    assert found == {**made, "script": "", "builds": True}


def test_zstd_needs_a_kernel_that_reads_it() -> None:
    """The machine would not mount its store; nixpkgs' kernels do not read zstd before June 2026."""
    mine = '{ fleetswap.image.compression = "zstd"; }'
    said = refusal(system(mine) + ".config.system.build.toplevel")
    assert "linux-6.12.40, cannot read a store that is compressed with zstd" in said
    kernel = "({ pkgs, ... }: { boot.kernelPackages.kernel = removeAttrs pkgs.linuxPackages.kernel %s // { %s }; })"
    for module in (
        kernel % ("[ ]", 'configfile.structuredConfig.EROFS_FS_ZIP_ZSTD.tristate = "y";'),
        kernel % ('[ "configfile" ]', ""),  # an own one, which says nothing
    ):
        assert value(system(mine + module) + ".config.system.build.toplevel.name")


def test_a_service_that_is_off_is_not_evaluated() -> None:
    """A package that is broken or not free, in a service that is switched off, would stop the image."""
    mine = '{ systemd.services.old = { enable = false; path = [ (throw "broken") ]; }; }'
    assert value(system(mine) + ".config.system.build.fleetswapImage.packages")


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        ('{ services.jornald.storage = "none"; }', "The option `services.jornald' does not exist"),
        ('{ fleetswap.image.storeSize = "4 GB"; }', "`fleetswap.image.storeSize' is not of type"),
        ('{ fleetswap.image.compression = "gzip"; }', "`fleetswap.image.compression' is not of type"),
        ('{ boot.growPartition = "no"; }', "`boot.growPartition' is not of type `boolean'"),
    ],
)
def test_the_stub_is_strict(mine: str, said: str) -> None:
    """A wrong option or value of ours would pass here, and stop at a user's real nixpkgs."""
    whole = f"with {system(mine)}.config; [ fleetswap.image.storeSize fleetswap.image.compression boot.growPartition ]"
    assert said in refusal(whole)


def test_every_option_has_its_file_of_nixpkgs_and_is_used() -> None:
    """The fixture would vouch for options that nobody has looked up, or that nothing needs any more."""
    options = json.loads((STUB / "options.json").read_text())
    ours = "\n".join(path.read_text() for path in sorted((ROOT / "nix").rglob("*.nix")))
    ours += (STUB / "nixos/lib/eval-config.nix").read_text()
    for name, entry in options.items():
        assert re.fullmatch(r"(nixos/|agenix: |sops-nix: )modules/.+\.nix", entry["source"]), name
        words = name.split(".")
        assert all(word in ours for word in words), name


def test_every_option_of_ours_says_what_it_is_for_and_what_it_is_unset() -> None:
    """A user would have to read our modules, and NixOS's list of options could not be made."""
    walk = """
      let walk = path: tree:
        if tree._type or "" == "option" then
          [ { name = path; said = tree ? description; shown = tree ? defaultText || !(tree ? default)
                || builtins.isString tree.default || builtins.isBool tree.default || builtins.isInt tree.default
                || builtins.elem tree.default [ null [ ] ] || tree.internal or false; } ]
        else builtins.concatLists (map (name: walk "${path}.${name}" tree.${name}) (builtins.attrNames tree));
      in walk "fleetswap" (%s).options.fleetswap"""
    found = value(walk % system())
    assert len(found) > 10
    assert [each["name"] for each in found if not (each["said"] and each["shown"])] == []


def test_what_the_derivation_says_without_a_build(nix: tuple[str, ...]) -> None:
    """A preview would show no packages, and the AMI would be registered for another machine."""
    image = system(
        '{ fleetswap.web.enable = true; fleetswap.image.registerImage.TpmSupport = "v2.0"; }', arch="aarch64"
    )
    image += ".config.system.build.fleetswapImage"
    found = values({name: f"{image}.{name}" for name in ("packages", "licences", "registerImage", "system")}, nix)
    assert found["system"] == "aarch64-linux"
    assert found["registerImage"] == {
        "Architecture": "arm64",
        "BootMode": "uefi",
        "EnaSupport": True,
        "ImdsSupport": "v2.0",
        "RootDeviceName": "/dev/xvda",
        "TpmSupport": "v2.0",
    }
    assert found["packages"]["nginx"] == "1.28.0"
    assert found["packages"]["openssl"] == "3.5.1", "what a package is linked with counts as well"
    assert found["licences"]["systemd"] == "LGPL-2.1-or-later AND GPL-2.0-only"


@pytest.mark.parametrize(
    ("package", "licence"),
    [
        ("choice", "MIT OR (Apache-2.0+ WITH LLVM-exception)"),
        ("both", "(MIT OR (Apache-2.0+ WITH LLVM-exception)) AND Zlib"),
    ],
)
def test_a_licence_that_is_an_expression(package: str, licence: str) -> None:
    """The manifest would say that nobody knows the licence, of packages in NixOS 26.05 and later."""
    image = system(f"({{ pkgs, ... }}: {{ fleetswap.image.packages = [ pkgs.{package} ]; }})")
    assert value(f"{image}.config.system.build.fleetswapImage.licences.{package}") == licence


def test_a_licence_that_spdx_does_not_know() -> None:
    """The manifest would not be valid SPDX."""
    image = system("({ pkgs, ... }: { fleetswap.image.packages = [ pkgs.vendored ]; })")
    licence = value(image + ".config.system.build.fleetswapImage.licences.vendored")
    assert licence == "LicenseRef-unfree-redistributable-"
