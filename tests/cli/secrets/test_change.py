"""`fleetswap secrets encrypt`, `edit` and `rotate`, with the real sops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from fleetswap.cli.app import run
from fleetswap.sops.change import memory
from tests.cli.secrets.conftest import SECRET, Cli, Shop, editor


def test_encrypt_seals_in_place(cli: Cli, aws: Shop) -> None:
    """The plaintext would stay, or sops alone could not open what is sealed."""
    aws.with_rule()
    aws.file.parent.mkdir()
    aws.file.write_text(f"# {SECRET} too\npassword: {SECRET}\nlist: [{SECRET}, 7]\n")
    ran = cli("secrets", "encrypt", "secrets/prod.yaml")
    assert (ran.status, ran.out, ran.err) == (0, "secrets/prod.yaml\n", "")
    assert SECRET not in aws.file.read_text()
    assert aws.opened() == {"password": SECRET, "list": [SECRET, 7]}
    assert sorted(path.name for path in aws.file.parent.iterdir()) == ["prod.yaml"]
    again = cli("secrets", "encrypt", "secrets/prod.yaml")
    assert (again.status, again.error) == (
        2,
        "secrets/prod.yaml is sealed already: change it with `fleetswap secrets edit secrets/prod.yaml`",
    )


def test_encrypt_says_where_the_plaintext_is_left(cli: Cli, aws: Shop) -> None:
    """Who sealed a file would believe that its secrets are safe, and git, or a backup, has them."""
    aws.with_rule()
    aws.file.parent.mkdir()
    aws.file.write_text(f"password: {SECRET}\n")
    aws.file.with_name("prod.yaml~").write_text(SECRET)
    aws.git("init", "-q")
    aws.git("add", ".")
    aws.git("commit", "-qm", "oops")
    ran = cli("secrets", "encrypt", "secrets/prod.yaml")
    assert ran.err.splitlines() == [
        "warning: git has secrets/prod.yaml in plaintext: change these secrets if it was ever pushed",
        "warning: these may have the plaintext of secrets/prod.yaml: secrets/prod.yaml~",
    ]
    aws.seal()
    aws.git("add", ".")
    aws.git("commit", "-qm", "sealed")
    aws.file.write_text(f"password: {SECRET}\n")
    ran = cli("secrets", "encrypt", "secrets/prod.yaml", "--json")
    assert ran.result == {"file": "secrets/prod.yaml", "in_git": False, "copies": ["secrets/prod.yaml~"]}


def test_what_would_stay_in_plaintext_is_not_sealed(cli: Cli, aws: Shop) -> None:
    """A value would be left in plaintext because of its name, and the file look sealed."""
    aws.with_rule()
    aws.file.parent.mkdir()
    aws.file.write_text(text := f"password_unencrypted: {SECRET}\n")
    ran = cli("secrets", "encrypt", "secrets/prod.yaml")
    assert ran.status == 4
    assert "password_unencrypted is not sealed, because a name on its path ends in _unencrypted: rename it" in ran.error
    assert aws.file.read_text() == text
    assert SECRET not in ran.out + ran.err


def test_nobody_else_gets_a_key(cli: Cli, aws: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of some other project would let its people open every file that is sealed here."""
    aws.with_rule()
    aws.file.parent.mkdir()
    aws.file.write_text("password: x\n")
    monkeypatch.setenv("SOPS_AGE_RECIPIENTS", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p")
    assert cli("secrets", "encrypt", "secrets/prod.yaml").status == 0
    assert "age" not in yaml.safe_load(aws.file.read_text())["sops"]


@pytest.mark.parametrize("command", ["encrypt", "edit", "rotate"])
def test_a_file_of_no_rule_is_refused(cli: Cli, shop: Shop, command: str) -> None:
    """The error would be `config file not found`, or it would be sealed with the rule of a folder above."""
    shop.file.parent.mkdir()
    shop.file.write_text("a: 1\n")
    ran = cli("secrets", command, "secrets/prod.yaml")
    assert ran.status == 2
    assert ran.error.startswith("secrets/prod.yaml: no rule in .sops.yaml says which keys it is sealed for")
    shop.with_rule("arn:aws:kms:us-east-1:111122223333:key/x")
    shop.file.unlink()
    ran = cli("secrets", command, "secrets/prod.yaml")
    assert (ran.status, "does not exist" in ran.error) == (2, True)
    shop.file.write_text("a: [\n")
    ran = cli("secrets", command, "secrets/prod.yaml")
    assert (ran.status, ran.error) == (2, "secrets/prod.yaml is not YAML (line 2, column 1)")


def test_edit_changes_what_was_changed(cli: Cli, aws: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change would be lost, every value have a new ciphertext, or the plaintext lie on a disk."""
    before = yaml.safe_load(aws.seal())
    seen = editor(aws, 'sed -i s/5432/5433/ "$1"', monkeypatch)
    ran = cli("secrets", "edit", "secrets/prod.yaml")
    assert (ran.status, ran.out, ran.err) == (0, "secrets/prod.yaml\n", "")
    after = yaml.safe_load(aws.file.read_text())
    assert after["password"] == before["password"]
    assert aws.opened() == {"password": SECRET, "port": 5433}
    temporary = Path(seen.read_text())
    assert temporary.is_relative_to(memory() or "/")
    assert not temporary.parent.parent.exists()
    assert sorted(path.name for path in aws.file.parent.iterdir()) == ["prod.yaml"]


def test_edit_without_a_change_changes_nothing(cli: Cli, aws: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit status 200 of sops would be a failure, or the file have a new time and a new diff."""
    before = aws.seal()
    editor(aws, "true", monkeypatch)
    ran = cli("secrets", "edit", "secrets/prod.yaml")
    assert (ran.status, ran.out, ran.err) == (0, "", "secrets/prod.yaml was not changed\n")
    assert aws.file.read_bytes() == before


def test_an_editor_that_fails_has_its_own_words(
    capfd: pytest.CaptureFixture[str], aws: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only `could not run the editor` would be shown, and not why."""
    aws.seal()
    editor(aws, "echo my own words >&2; exit 1", monkeypatch)
    capfd.readouterr()
    assert run(["secrets", "edit", "secrets/prod.yaml"]) == 1
    assert capfd.readouterr().err.splitlines() == [
        "my own words",
        "error: secrets/prod.yaml: sops could not run the editor: set EDITOR to one that waits until the file is"
        " closed",
    ]


def test_what_cannot_be_sealed_is_edited_again(
    capfd: pytest.CaptureFixture[str], aws: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would know that sops waits for Enter; or its reason, with the plaintext in it, be in a log."""
    aws.seal()
    again = aws.programs / "again"
    editor(
        aws, f'[ -e "{again}" ] && echo "a: 1" >"$1" || {{ touch "{again}"; echo "{SECRET}: [" >"$1"; }}', monkeypatch
    )
    read, write = os.pipe()
    os.write(write, b"\n")
    kept = os.dup(0)
    os.dup2(read, 0)
    capfd.readouterr()
    try:
        assert run(["secrets", "edit", "secrets/prod.yaml"]) == 0
    finally:
        os.dup2(kept, 0)
        for each in (read, write, kept):
            os.close(each)
    said = capfd.readouterr()
    assert said.err == "this cannot be sealed: press Enter to edit it again, or Ctrl-C to give up\n"
    assert SECRET not in said.out
    assert aws.opened() == {"a": 1}


def test_a_change_of_someone_else_is_not_overwritten(cli: Cli, aws: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """`git pull` while the editor is open would be undone, or what was edited be lost."""
    aws.seal()
    editor(aws, f'echo "a: 1" >"$1"; echo "# other" >>"{aws.file}"', monkeypatch)
    ran = cli("secrets", "edit", "secrets/prod.yaml")
    assert ran.status == 2
    assert ran.error == "secrets/prod.yaml was changed meanwhile: what you edited is sealed in secrets/prod.yaml.edited"
    assert aws.file.read_text().endswith("# other\n")
    aws.file.with_name("prod.yaml.edited").replace(aws.file)
    assert aws.opened() == {"a": 1}


def test_a_file_that_is_gone_does_not_take_the_edit_with_it(
    cli: Cli, aws: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`git switch` while the editor is open would end the command with a traceback, and what was edited be lost."""
    aws.seal()
    editor(aws, f'echo "a: 1" >"$1"; rm "{aws.file}"', monkeypatch)
    ran = cli("secrets", "edit", "secrets/prod.yaml")
    assert (ran.status, ran.error.endswith("is sealed in secrets/prod.yaml.edited")) == (2, True)
    aws.file.with_name("prod.yaml.edited").replace(aws.file)
    assert aws.opened() == {"a": 1}


def test_an_editor_that_leaves_nothing_takes_no_secret_away(
    cli: Cli, aws: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor that fails to save, on a full disk, would replace all secrets by an empty file."""
    before = aws.seal()
    editor(aws, ': >"$1"', monkeypatch)
    ran = cli("secrets", "edit", "secrets/prod.yaml")
    assert (ran.status, ran.error) == (
        2,
        "what you edited is empty: secrets/prod.yaml stays as it was; to take all secrets out, leave {}",
    )
    assert aws.file.read_bytes() == before
    editor(aws, 'echo {} >"$1"', monkeypatch)
    assert cli("secrets", "edit", "secrets/prod.yaml").status == 0
    assert aws.opened() == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_edit_leaves_no_plaintext(
    aws: Shop, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """The plaintext would stay: sops before 3.13 leaves the file that was edited behind (seen with 3.11)."""
    before = aws.seal()
    seen = editor(aws, "sleep 60", monkeypatch)
    command = [sys.executable, "-m", "fleetswap", "secrets", "edit", "secrets/prod.yaml"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while not seen.exists() or not seen.read_text():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        temporary = Path(seen.read_text())
        assert SECRET in temporary.read_text()
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        process.wait(30)
        assert not temporary.parent.parent.exists()
        assert process.returncode == 128 + number
        if number == signal.SIGTERM:
            os.killpg(process.pid, signal.SIGKILL)  # the editor, whom nobody has asked
    assert aws.file.read_bytes() == before


def test_rotate_makes_a_new_data_key(cli: Cli, aws: Shop) -> None:
    """Whoever has the old data key could read what is sealed after it was taken away."""
    before = yaml.safe_load(aws.seal())
    ran = cli("secrets", "rotate", "secrets/prod.yaml", "--json")
    assert ran.result == {"files": [{"file": "secrets/prod.yaml", "keys_changed": False}]}
    after = yaml.safe_load(aws.file.read_text())
    assert after["sops"]["kms"][0]["enc"] != before["sops"]["kms"][0]["enc"]
    assert after["password"] != before["password"]
    assert aws.opened() == {"password": SECRET, "port": 5432}


@pytest.mark.parametrize("at", ["metadata", "key group"])
@pytest.mark.parametrize("command", ["edit", "rotate"])
def test_no_vault_gets_a_token(cli: Cli, shop: Shop, command: str, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends a pull request with a sealed file would get the Vault token of whoever opens it."""
    shop.with_rule("arn:aws:kms:us-east-1:111122223333:key/x")
    vault = {"hc_vault": [{"vault_address": "http://127.0.0.1:1", "engine_path": "t", "key_name": "k", "enc": "x"}]}
    shop.file.parent.mkdir()
    shop.file.write_text(yaml.safe_dump({"sops": {"key_groups": [vault]} if at == "key group" else vault}))
    shop.program("sops", "#!/bin/sh\necho ran >>ran; exit 1\n")
    editor(shop, "true", monkeypatch)
    ran = cli("secrets", command, "secrets/prod.yaml")
    assert ran.status == 2
    assert "names a Vault server in its metadata, and sops would send your Vault token to it" in ran.error
    assert not (shop.folder / "ran").exists()


def test_rotate_moves_to_another_key(cli: Cli, aws: Shop) -> None:
    """The file would still be opened with the old key, and be lost with it."""
    aws.seal()
    old, new = aws.key, aws.new_key()
    aws.with_rule(new)
    assert cli("secrets", "check").status == 4
    ran = cli("secrets", "rotate", "secrets/prod.yaml")
    assert (ran.status, ran.out) == (0, "secrets/prod.yaml\n"), ran.err
    aws.kms.disable_key(KeyId=old)
    assert aws.opened() == {"password": SECRET, "port": 5432}
    assert old not in aws.file.read_text()
    assert cli("secrets", "check").status == 0
    assert sorted(path.name for path in aws.file.parent.iterdir()) == ["prod.yaml"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is empty: write a line `name: value` for each secret"),
        (f"- {SECRET}\n", "sops cannot read it: is it valid YAML or JSON, with names and values at the top?"),
        (f"7: {SECRET}\n", "sops cannot seal it: is a name in it a number or a truth value? Put quotes around it"),
    ],
)
def test_a_file_that_cannot_be_sealed_says_why(cli: Cli, aws: Shop, text: str, told: str) -> None:
    """Only an exit status of sops would be told, and to run it oneself."""
    aws.with_rule()
    aws.file.parent.mkdir()
    aws.file.write_text(text)
    ran = cli("secrets", "encrypt", "secrets/prod.yaml")
    assert (ran.status, ran.error) == (1, f"secrets/prod.yaml: {told}")
    assert aws.file.read_text() == text
