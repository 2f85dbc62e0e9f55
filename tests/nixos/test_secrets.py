"""What our modules make of secrets: the unit that opens them, what uses them, and what is refused."""

from __future__ import annotations

import re
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.needs import ROOT
from tests.nixos.evaluate import RELEASES, refusal, system, value, values

SOPS = ROOT / ".work/sops/sops"
SEALED = """\
database: ENC[AES256_GCM,data:Z/2RO0Rh,iv:UxfJhEev=,tag:EPY+lSOV==,type:str]
nothing: ""
sops:
    mac: ENC[AES256_GCM,data:mZDmB5oc,iv:2xNtK1QK=,tag:u9SJGIrN==,type:str]
    version: 3.11.0
"""

NAMES = 'names = { database.services = [ "shop" ]; };'


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A sealed file, as sops writes it."""
    path = tmp_path / "prod.yaml"
    path.write_text(SEALED)
    return path


def with_secrets(sealed: Path, more: str = NAMES, rest: str = "") -> str:
    """Nix: a configuration with the sealed file."""
    return f"{{ fleetswap.secrets = {{ file = {sealed}; {more} }}; {rest} }}"


def failed(modules: str) -> list[str]:
    """What the configuration is refused for."""
    found: list[str] = value(
        f"map (one: one.message) (builtins.filter (one: !one.assertion) {system(modules)}.config.assertions)"
    )
    return found


def services(modules: str, release: str = "25.11") -> dict[str, Any]:
    """The services of the configuration."""
    found: dict[str, Any] = value(system(modules, release=release) + ".config.systemd.services")
    return found


@pytest.mark.parametrize("release", RELEASES)
def test_what_uses_a_secret_starts_after_it_and_gets_it_as_a_credential(sealed: Path, release: str) -> None:
    """The application would start without its secret, and a core dump of it could have it."""
    names = 'names = { database.services = [ "shop" "queue" ]; pin-1 = { services = [ "shop" ]; owner = "till"; }; };'
    sealed.write_text(SEALED + "pin-1: ENC[AES256_GCM,data:xx,type:str]\n")
    found = services(with_secrets(sealed, names), release)
    for name, secrets in (("shop", ["database", "pin-1"]), ("queue", ["database"])):
        assert found[name]["requires"] == found[name]["after"] == ["fleetswap-secrets.service"]
        assert found[name]["serviceConfig"] == {
            "LoadCredential": [f"{secret}:/run/fleetswap-secrets/{secret}" for secret in secrets],
            "LimitCORE": 0,
        }
    started = found["fleetswap-secrets"]["serviceConfig"]["ExecStart"]
    assert started.endswith(" database:0400:root:root pin-1:0400:till:root")


def test_the_unit_is_bounded_and_has_few_rights(sealed: Path, nix: tuple[str, ...]) -> None:
    """A boot would hang on KMS, a second unit could wait for the network, or a flaw in sops would be root's."""
    config = system(with_secrets(sealed, NAMES + " deadline = 40;")) + ".config"
    found = values(
        {
            "unit": f"{config}.systemd.services.fleetswap-secrets",
            "refused": f"builtins.filter (one: !one.assertion) {config}.assertions",
        },
        nix,
    )
    assert found["refused"] == []
    unit, service = found["unit"], found["unit"]["serviceConfig"]
    assert unit["wants"] == unit["after"] == ["network-online.target"]
    assert unit["wantedBy"] == ["multi-user.target"]
    assert (service["TimeoutStartSec"], "--deadline 40 " in service["ExecStart"]) == (70, True)
    assert service["LoadCredential"][0].startswith("sealed:/nix/store/")
    assert service["LoadCredential"][1:] == ["fleetswap.ca"]
    assert {
        "CapabilityBoundingSet": "CAP_CHOWN",
        "LimitCORE": 0,
        "MemorySwapMax": 0,
        "NoNewPrivileges": True,
        "ProtectSystem": "strict",
        "RuntimeDirectory": "fleetswap-secrets",
        "StandardError": "journal+console",
        "Type": "oneshot",
    }.items() <= service.items()


def test_without_a_file_nothing_is_there() -> None:
    """Every image would have sops, and wait for the network."""
    config = system() + ".config"
    found = values(
        {"services": f"builtins.attrNames {config}.systemd.services", "packages": f"{config}.fleetswap.image.packages"}
    )
    assert "fleetswap-secrets" not in found["services"]
    assert found["packages"] == []


def test_another_core_limit_of_a_service_counts(sealed: Path) -> None:
    """Whoever debugs a service would have to change our files."""
    rest = "systemd.services.shop.serviceConfig.LimitCORE = 1024;"
    assert services(with_secrets(sealed, rest=rest))["shop"]["serviceConfig"]["LimitCORE"] == 1024


def test_json_is_sealed_as_well(sealed: Path) -> None:
    """A file that sops sealed would be refused."""
    sealed.write_text('{\n\t"database": "ENC[AES256_GCM,data:xx,type:str]",\n\t"sops": {}\n}\n')
    assert failed(with_secrets(sealed)) == []


REFUSED = {
    "nothing": ("names.nothing.services = [ ];", "", "has no sealed value for nothing"),
    "missing": ("names.databas.services = [ ];", "", "has no sealed value for databas"),
    "no names": ("", "", "name the secrets that the machine opens"),
    "name like an option": ('names."-database".services = [ ];', "", "do not start with `.` or `-`: not -database"),
    "name of a unit": (
        'names.database.services = [ "shop.service" ];',
        "",
        "services without `.service` in `fleetswap.secrets.names.<name>.services`: not shop.service",
    ),
    "bad name": ('names."../database".services = [ ];', "", "do not start with `.` or `-`: not ../database"),
    "swap": (
        NAMES,
        'swapDevices = [ { device = "/swap"; } ]; fleetswap.checks.allow = [ "swap" ];',
        "no swap on a device",
    ),
    "write back": (NAMES, 'zramSwap = { enable = true; writebackDevice = "/dev/sdb"; };', "no swap on a device"),
    "unmeasured": (NAMES + " attested = true;", "", "fleetswap.image.verity.enable"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_work_or_would_leak_is_refused(sealed: Path, what: str) -> None:
    """It would be found when machines do not become healthy, or when a secret has been on a disk."""
    more, rest, told = REFUSED[what]
    messages = failed(with_secrets(sealed, more, rest))
    assert any(told in message for message in messages), messages


def test_a_file_that_is_not_sealed_is_refused_before_it_is_copied(tmp_path: Path) -> None:
    """Everyone who can use the computer could read the secrets in Nix's store, for good."""

    def copied(text: str) -> tuple[bool, str]:
        """Whether a file of this content gets into the store, and what Nix says."""
        file = tmp_path / f"{uuid.uuid4()}.yaml"
        file.write_text(text)
        # Unlike `--eval`, this writes into the store.
        # As in NixOS, the units are of a system whose assertions hold.
        units = "builtins.seq (toString c.system.build.toplevel) (builtins.toJSON c.systemd.services)"
        whole = f"let c = {system(with_secrets(file))}.config; in builtins.seq ({units}) c.system.build.toplevel"
        command = ["nix-instantiate", "--expr", whole]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        return bool(list(Path("/nix/store").glob(f"*-{file.name}"))), done.stderr

    is_copied, said = copied("database: hunter2\n")
    assert not is_copied
    assert "has no sealed value for database" in said
    is_copied, said = copied(SEALED)
    assert is_copied, said


@pytest.fixture(scope="module")
def sops_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What sops itself writes of all that YAML can have, by the end of the file's name."""
    folder = tmp_path_factory.mktemp("sops")
    (folder / "plain.yaml").write_text(EVERYTHING)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    recipient = " ".join((folder / "key.pub").read_text().split()[:2])
    return {
        kind: subprocess.run(
            [SOPS, "encrypt", "--age", recipient, "--output-type", kind, folder / "plain.yaml"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for kind in ("yaml", "json")
    }


EVERYTHING = """\
# a comment
database: one
"123": a name that is no name without quotes
nested:
  # another
  list: [one, {two: three, "f o": four}, [five]]
"a \\"b\\": c": d
empty: ""
none: null
lists: [[], {}, ""]
"""


@pytest.mark.parametrize("kind", ["yaml", "json"])
@pytest.mark.parametrize(
    ("at", "added"),
    [
        (2, "    hunter2: hunter2"),
        (2, "hunter2: |"),
        (2, "hunter2"),
        (2, "# hunter2"),
        (2, "- hunter2"),
        (2, '\t"other": "hunter2",'),
        (2, '\t"other": 5,'),
        (99, "hunter2: hunter2"),
    ],
)
def test_one_line_in_plaintext_is_refused(
    sops_files: dict[str, str], tmp_path: Path, kind: str, at: int, added: str
) -> None:
    """A secret added by hand to a sealed file would be in Nix's store, in the image and in its snapshots."""
    lines = sops_files[kind].splitlines()
    (tmp_path / "prod").write_text("\n".join([*lines[:at], added, *lines[at:]]))
    number = min(at, len(lines))
    (message,) = failed(with_secrets(tmp_path / "prod"))
    assert f"/prod is not sealed in line {number + 1}, and everyone" in message
    assert "hunter2" not in message


@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_all_that_sops_writes_is_sealed(sops_files: dict[str, str], tmp_path: Path, kind: str) -> None:
    """A configuration with a sealed file would be refused."""
    (tmp_path / "prod").write_text(sops_files[kind])
    assert failed(with_secrets(tmp_path / "prod", NAMES.replace("};", '"123" = { }; };', 1))) == []


def test_a_secret_that_is_no_text_is_refused(sealed: Path) -> None:
    """open-secrets would refuse it on the machines, after the image was built and uploaded."""
    sealed.write_text(SEALED.replace("type:str", "type:int", 1))
    (message,) = failed(with_secrets(sealed))
    assert "prod.yaml has a number, a date or a truth value as database, and a secret is text" in message


def test_a_file_that_systemd_does_not_load_is_refused(sealed: Path) -> None:
    """The unit would fail before it runs, with `Argument list too long`; or Nix, with an overflow of its stack."""
    value = "large: ENC[AES256_GCM,data:{},type:str]\n"
    sealed.write_text("".join(f"a{n}: ENC[AES256_GCM,\n" for n in range(20_000)) + value.format("x" * 500_000) + SEALED)
    assert failed(with_secrets(sealed)) == []
    sealed.write_text(value.format("x" * 1_048_576) + SEALED)
    (message,) = failed(with_secrets(sealed))
    assert "is larger than 1 MiB, which systemd does not load" in message


def test_swap_in_memory_is_fine(sealed: Path) -> None:
    """The remedy that the check of swap names would be refused with secrets."""
    assert failed(with_secrets(sealed, rest="zramSwap.enable = true;")) == []


def test_a_path_that_is_only_text_is_refused(sealed: Path) -> None:
    """The unit would look on the machine for a file of the computer that built it."""
    (message,) = failed(f'{{ fleetswap.secrets = {{ file = "{sealed}"; {NAMES} }}; }}')
    assert "is a path in your configuration" in message


@pytest.mark.parametrize("more", ["deadline = 5;", 'names.database.mode = "u+r";', 'names.database.owner = "a:b";'])
def test_values_are_checked(sealed: Path, more: str) -> None:
    """open-secrets would refuse its arguments on the machine."""
    said = refusal(system(with_secrets(sealed, more)) + ".config.systemd.services.fleetswap-secrets.serviceConfig")
    assert "is not of type" in said


def test_attested_asks_for_a_tpm_and_gets_the_key_through_it(sealed: Path) -> None:
    """KMS would refuse every machine: no NitroTPM in the AMI, or no attestation document in the request."""
    module = with_secrets(sealed, NAMES + " attested = true;", "fleetswap.image.verity.enable = true;")
    assert failed(module) == []
    assert value(f"{system(module)}.config.fleetswap.image.registerImage.TpmSupport") == "v2.0"
    service = services(module)["fleetswap-secrets"]["serviceConfig"]
    key_service, _, opens = service["ExecStart"].partition(" -- ")
    assert re.fullmatch(r"\S+/bin/fleetswap-key-service -socket (\S+)( -ca \S+){2}", key_service)
    assert " --key-service /tmp/key-service " in opens
    assert (service["PrivateDevices"], service["DeviceAllow"]) == (False, ["/dev/tpm0 rw"])
    plain = services(with_secrets(sealed))["fleetswap-secrets"]["serviceConfig"]
    assert (plain["PrivateDevices"], plain["DeviceAllow"], "key-service" in plain["ExecStart"]) == (True, [], False)
