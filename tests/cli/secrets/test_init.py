"""`fleetswap secrets init`, with a stand-in for `pulumi`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import yaml

from fleetswap.cli import secrets_init
from tests.cli.secrets.conftest import CONTEXT, ROOT, SECRET, SETTINGS, Cli, Shop, editor


def test_from_nothing_to_a_sealed_file(cli: Cli, aws: Shop) -> None:
    """The first step would make no key, or leave a file that sops, the check or the machines do not take."""
    aws.plan()
    ran = cli("secrets", "init", "--yes")
    assert (ran.status, ran.out) == (0, "secrets/prod.yaml\n"), ran.err
    assert ran.err.splitlines() == [
        f"shop/prod: secrets are sealed with {aws.key}",
        "next: `fleetswap secrets edit secrets/prod.yaml`, then commit .sops.yaml and secrets/prod.yaml",
    ]
    (words,) = [call for call in aws.calls() if call[0] == "up"]
    assert words[:5] == ["up", "--target", "**fleetswap:components:SealedSecrets**", "--yes", "--skip-preview"]
    assert aws.opened() == {}
    assert cli("secrets", "check").status == 0
    (rule,) = yaml.safe_load(aws.rules.read_text())["creation_rules"]
    assert rule["key_groups"] == [{"kms": [{"arn": aws.key, "context": CONTEXT}]}]


def test_a_repeat_of_init_changes_nothing(cli: Cli, aws: Shop) -> None:
    """It would ask for another update, or replace the sealed file by an empty one."""
    aws.plan()
    cli("secrets", "init", "--yes")
    before = (aws.rules.read_bytes(), aws.file.read_bytes())
    ran = cli("secrets", "init", "--json")
    assert ran.result == {
        "stack": "shop/prod",
        "file": "secrets/prod.yaml",
        "rules": ".sops.yaml",
        "key": aws.key,
        "replicas": [],
        "context": CONTEXT,
        "key_made": False,
        "rule_written": False,
        "file_made": False,
    }
    assert (aws.rules.read_bytes(), aws.file.read_bytes()) == before
    assert [call[0] for call in aws.calls()].count("up") == 1


def test_init_that_fails_is_done_again(cli: Cli, aws: Shop) -> None:
    """The rule or the file would be for a key that is not there."""
    aws.plan(status=7)
    ran = cli("secrets", "init", "--yes")
    assert ran.status == 7
    assert ran.error.startswith("`pulumi up` exited with status 7, for the reason above: nothing is sealed yet")
    assert not aws.file.parent.exists()
    assert not aws.rules.exists()
    aws.plan()
    assert cli("secrets", "init", "--yes").status == 0
    assert aws.opened() == {}


def test_init_with_an_existing_key_needs_no_pulumi(cli: Cli, aws: Shop) -> None:
    """A company's own key would be passed over, or a state be asked that is not needed."""
    aws.settings(secrets={"file": "secrets/prod.yaml", "kms_key": aws.key})
    ran = cli("secrets", "init", "--stack", "prod")
    assert (ran.status, ran.out) == (0, "secrets/prod.yaml\n"), ran.err
    assert aws.calls() == []
    assert aws.opened() == {}


def test_a_new_key_is_given_time(cli: Cli, aws: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """`init` would fail because KMS does not know the key everywhere yet (eventual consistency)."""
    aws.plan()
    waited = []
    missing = aws.key.replace(aws.key[-12:], "0" * 12)
    aws.plan(stack_key=missing)

    def appears(seconds: float) -> None:
        waited.append(seconds)
        aws.with_rule()

    # Not `time.sleep` itself: whoever waits for a process with a time limit sleeps, too.
    monkeypatch.setattr("fleetswap.cli.secrets_init.time", SimpleNamespace(sleep=appears))
    ran = cli("secrets", "init", "--yes")
    assert (ran.status, "waiting until KMS knows the new key" in ran.err) == (0, True)
    assert waited == [secrets_init.NEW_KEY_SECONDS]


def test_replicas_get_their_own_data_keys(cli: Cli, aws: Shop) -> None:
    """The machines of another Region could not open the file."""
    replica = aws.new_key()
    aws.plan(replicas=[replica])
    ran = cli("secrets", "init", "--yes", "--json")
    assert ran.result["replicas"] == [replica]
    arns = [entry["arn"] for entry in yaml.safe_load(aws.file.read_text())["sops"]["kms"]]
    assert arns == [aws.key, replica]


def test_what_is_there_is_told_what_to_do_with(cli: Cli, aws: Shop) -> None:
    """A plaintext file, or one of an older key, would look done."""
    aws.plan()
    (aws.programs / "made").touch()
    aws.file.parent.mkdir()
    aws.file.write_text(f"password: {SECRET}\n")
    ran = cli("secrets", "init")
    assert (ran.status, "`fleetswap secrets encrypt secrets/prod.yaml`" in ran.err) == (0, True)
    aws.seal()
    aws.plan(stack_key=aws.new_key())
    ran = cli("secrets", "init")
    assert (ran.status, "`fleetswap secrets rotate secrets/prod.yaml`" in ran.err) == (0, True)
    assert SECRET not in ran.out + ran.err


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda shop: shop.settings(secrets=True), "Pulumi.prod.yaml does not name a file for secrets: add"),
        (lambda shop: shop.settings(secrets=None), "add `fleetswap:secrets: {file: secrets/prod.yaml}` below"),
        (lambda shop: (shop.folder / "Pulumi.prod.yaml").unlink(), "stack prod has no Pulumi.prod.yaml here"),
        (lambda shop: (shop.folder / "Pulumi.yaml").unlink(), "no Pulumi project here"),
        (lambda shop: (shop.programs / "sops").unlink(), "sops is not on PATH: install sops 3.9 or newer"),
        (lambda shop: shop.program("sops", "#!/bin/sh\necho sops 3.8.1"), "is sops 3.8: install sops 3.9"),
        (lambda shop: shop.program("sops", "#!/bin/sh\necho hi"), "does not say its version"),
        (lambda shop: shop.program("sops", "no program"), "cannot be run"),
        (lambda shop: shop.rules.write_text("creation_rules: 7\n"), "creation_rules is not a list"),
        (lambda shop: shop.settings(secrets={"file": "secrets/prod.env"}), "that ends in .yaml, .yml or .json"),
        (lambda shop: shop.settings(secrets={"file": "a\nb.yaml"}), "that ends in .yaml, .yml or .json"),
        (
            lambda shop: shop.settings(secrets={"file": "../prod.yaml"}),
            "where the rules of sops are: correct `file` in",
        ),
        (lambda shop: shop.settings(secrets={"file": "/etc/prod.yaml"}), "/etc/prod.yaml is not below "),
        (
            lambda shop: shop.settings(secrets={"file": "Pulumi.yaml/x.yaml"}),
            "Pulumi.yaml/x.yaml cannot be a file, because Pulumi.yaml is no folder: correct `file` in",
        ),
        (lambda _: None, "there is no terminal to ask for confirmation: add --yes"),
    ],
)
def test_init_says_what_is_missing_before_it_changes_anything(
    cli: Cli, shop: Shop, monkeypatch: pytest.MonkeyPatch, change: Callable[[Shop], object], reason: str
) -> None:
    """A key would be made, and paid for, by a command that cannot do the rest."""
    monkeypatch.setattr(Shop, "key", "arn")
    shop.plan()
    change(shop)
    monkeypatch.setenv("PATH", str(shop.programs))
    ran = cli("secrets", "init")
    assert ran.status == 2
    assert reason in ran.error
    assert "up" not in [call[0] for call in shop.calls()]
    assert not shop.file.parent.exists()


def test_the_commands_of_the_guide_work(cli: Cli, aws: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader would follow the first page that they read, and get stuck."""
    aws.plan()
    page = (ROOT / "docs/how-to/secrets.md").read_text()
    assert f"file: {SETTINGS['fleetswap:secrets']['file']}" in page
    editor(aws, 'echo "database-password: hunter2" >"$1"', monkeypatch)
    ran = []
    for line in "".join(re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)).splitlines():
        program, *words = shlex.split(line)
        if program == "fleetswap":
            done = cli(*words, *(["--yes"] if words[1] == "init" else []))
            assert done.status == 0, done.err
            ran.append(words[1])
    assert ran == ["init", "edit", "check", "check", "rotate", "init", "rotate"]
    assert aws.opened() == {"database-password": "hunter2"}
