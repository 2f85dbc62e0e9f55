"""What an image is refused for: each check finds what it is for, and only that, and can be allowed."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest

from tests.needs import ROOT
from tests.nixos.evaluate import NEW, OLD, refusal, system, value, values

GUIDE = ROOT / "docs/how-to/nixos-image.md"

REFUSED = {
    "acme": '{ security.acme.certs."shop.example".email = "me@shop.example"; }',
    "auto-upgrade": "{ system.autoUpgrade.enable = true; }",
    "cloud-init": "{ services.cloud-init.enable = true; }",
    "container-images": '{ virtualisation.oci-containers.containers.shop.image = "shop:1"; }',
    "disk-encryption": '{ boot.initrd.luks.devices.data.device = "/dev/xvdb"; }',
    "ec2-metadata": '{ systemd.services.fetch-ec2-metadata.wantedBy = [ "multi-user.target" ]; }',
    "grow-partition": "{ boot.growPartition = true; }",
    "initrd-network": "{ boot.initrd.network.enable = true; }",
    "network-mounts": '{ fileSystems."/data" = { device = "files:/data"; fsType = "nfs"; }; }',
    "network-online": '{ systemd.services.shop.wants = [ "network-online.target" ]; }',
    "nix": "{ nix.enable = true; }",
    "private-keys": "{ sops.secrets.password = { }; }",
    "ssh-host-keys": "{ services.openssh.enable = true; }",
    "swap": '{ swapDevices = [ { device = "/swap"; } ]; }',
    "time-servers": '{ services.timesyncd.servers = [ "pool.ntp.org" ]; }',
    "user-data": "{ virtualisation.amazon-init.enable = true; }",
}
"""For each check the smallest configuration that it is there for."""

ALSO_REFUSED = {
    "auto-resize": ("grow-partition", '{ fileSystems."/var" = { device = "/dev/xvdb"; autoResize = true; }; }'),
    "netdev": ("network-mounts", '{ fileSystems."/d" = { device = "x"; fsType = "fuse"; options = [ "_netdev" ]; }; }'),
    "mount-unit": (
        "network-mounts",
        '{ systemd.mounts = [ { what = "f:/d"; where = "/d"; type = "nfs"; wantedBy = [ "multi-user.target" ]; } ]; }',
    ),
    "initrd-networkd": ("initrd-network", "{ boot.initrd.systemd.network.enable = true; }"),
    "requires-online": ("network-online", '{ systemd.services.shop.requires = [ "network-online.target" ]; }'),
    "agenix": ("private-keys", '{ age.secrets.password.file = "/secrets/password.age"; }'),
    "chrony": ("time-servers", '{ services.chrony.enable = true; services.chrony.servers = [ "pool ntp.example" ]; }'),
    "fallback": ("time-servers", '{ services.timesyncd.fallbackServers = [ "time.example" ]; }'),
}

ALLOWED = {
    "nothing": "",
    "service": "{ fleetswap.web.enable = true; }",
    "later": (
        '{ fileSystems."/data" = { device = "f:/d"; fsType = "nfs"; options = [ "noauto" "x-systemd.automount" ]; }; }'
    ),
    "off": '{ systemd.services.fetch-ec2-metadata = { enable = false; wants = [ "network-online.target" ]; }; }',
    "after-only": '{ systemd.services.shop.after = [ "network.target" ]; }',
    "known-keys": "{ services.openssh.enable = true; services.openssh.hostKeys = [ ]; }",
    "local-time": '{ services.chrony.enable = true; services.chrony.servers = [ "169.254.169.123 prefer iburst" ]; }',
    "agents": (
        '{ systemd.services = { amazon-ssm-agent.wants = [ "network-online.target" ]; '
        'vector.requires = [ "network-online.target" ]; }; }'
    ),
    "own-image": (
        "({ pkgs, ... }: { virtualisation.oci-containers.containers.shop = "
        '{ image = "shop:1"; imageFile = pkgs.coreutils; }; })'
    ),
}


ALSO_ONLINE = {
    "acme": [("acme-shop.example", "wants"), ("acme-order-renew-shop.example", "wants")],
    "auto-upgrade": [("nixos-upgrade", "wants")],
    "cloud-init": [("cloud-init", "wants"), ("cloud-config", "wants"), ("cloud-final", "wants")],
    "container-images": [("shop", "wants")],
    "ec2-metadata": [("fetch-ec2-metadata", "wants")],
    "user-data": [("amazon-init", "requires")],
}
"""The services of nixpkgs' own modules that wait for the network, of what has a check of its own."""


def _refused(name: str) -> str:
    """Nix: the smallest configuration that a check is there for, with the services that nixpkgs makes of it."""
    services = "".join(
        f' {{ systemd.services."{service}".{how} = [ "network-online.target" ]; }}'
        for service, how in ALSO_ONLINE.get(name, [])
    )
    return REFUSED[name] + services


def _messages(modules: str) -> str:
    """Nix: what the configuration is refused for."""
    imported = ["virtualisation/amazon-image.nix", "agenix", "sops-nix"]
    evaluated = system(modules, imported=imported, release="26.05")
    return f"map (one: one.message) (builtins.filter (one: !one.assertion) {evaluated}.config.assertions)"


# amazon-image.nix, which is imported here, turns it on.
OFF = "({ lib, ... }: { virtualisation.amazon-init.enable = lib.mkDefault false; })"


@functools.cache
def _all(nix: tuple[str, ...]) -> dict[str, Any]:
    """Every configuration of this file, evaluated at once."""
    cases = {f"refused {name}": f"{OFF} {_refused(name)}" for name in REFUSED}
    cases |= {f"also {name}": f"{OFF} {module}" for name, (_, module) in ALSO_REFUSED.items()}
    cases |= {f"fine {name}": f"{OFF} {module}" for name, module in ALLOWED.items()}
    for name in REFUSED:
        cases[f"allowed {name}"] = f'{OFF} {_refused(name)} {{ fleetswap.checks.allow = [ "{name}" ]; }}'
    return values({name: f"({_messages(modules)})" for name, modules in cases.items()}, nix)


def _names(messages: list[str]) -> set[str]:
    return {found for message in messages for found in re.findall(r'fleetswap\.checks\.allow = \[ "(.+)" \]', message)}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_reason_and_remedy(name: str) -> None:
    """The image would boot only where the outside answers, and nobody would have been told."""
    messages = _all(OLD)[f"refused {name}"]
    assert _names(messages) == {name}
    (message,) = messages
    first, second, third = message.split("\n")
    assert re.fullmatch(r"Fleetswap refuses .+: .+\.", first), message
    assert re.fullmatch(r"Instead: .+\.", second), message
    assert third == f'Allow it with `fleetswap.checks.allow = [ "{name}" ];`.'


@pytest.mark.parametrize("name", REFUSED)
def test_who_knows_better_may(name: str) -> None:
    """A check that is wrong for somebody would have to be taken out of our files."""
    assert _all(OLD)[f"allowed {name}"] == []


@pytest.mark.parametrize("case", ALSO_REFUSED)
def test_the_same_in_another_way(case: str) -> None:
    """The check would be passed by who writes it differently."""
    assert _names(_all(OLD)[f"also {case}"]) == {ALSO_REFUSED[case][0]}


@pytest.mark.parametrize("case", ALLOWED)
def test_what_needs_nothing_outside_is_not_refused(case: str) -> None:
    """People would learn to allow everything."""
    assert _all(OLD)[f"fine {case}"] == []


def test_a_current_nix_finds_the_same(debian13: object) -> None:
    """With another nix other images would be refused."""
    assert debian13
    assert _all(NEW) == _all(OLD)


def test_every_failed_check_is_told(nix: tuple[str, ...]) -> None:
    """Each would be found only after the one before was mended."""
    said = refusal(f"{system(REFUSED['swap'] + REFUSED['nix'])}.config.system.build.fleetswapImage.drvPath", nix)
    assert "Failed assertions" in said
    assert "Fleetswap refuses swap" in said
    assert "Fleetswap refuses Nix on the machine" in said


def test_a_misspelt_check_is_no_escape() -> None:
    """`allow = [ "amce" ]` would look like an escape and be none."""
    config = system('{ fleetswap.checks.allow = [ "amce" ]; }') + ".config"
    said = refusal(f"map (one: one.assertion) {config}.assertions")
    assert "A definition for option `fleetswap.checks.allow" in said
    assert "is not of type" in said


def test_the_agent_of_systems_manager_is_a_warning() -> None:
    """Whoever wants a shell on the machine would be refused it, or would not hear what the subnet needs."""
    config = system("{ services.amazon-ssm-agent.enable = true; }") + ".config"
    assert "ssmmessages" in value(config + ".warnings")[0]
    assert value(f"builtins.filter (one: !one.assertion) {config}.assertions") == []


def test_the_guide_has_every_check() -> None:
    """A check would be found only by who fails it; the words on the page would not be those of the module."""
    reasons = value(system() + ".config.fleetswap.checks.reasons")
    assert {*reasons} == {*REFUSED}
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \| (.+) \|$", GUIDE.read_text(), re.MULTILINE)
    assert {name: (why, instead) for name, why, instead in rows} == {
        name: (each["why"], each["instead"]) for name, each in reasons.items()
    }
