"""`fleetswap secrets check`, on disk, in the index of git, and as its hook."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from tests.cli.conftest import NOBODY
from tests.cli.secrets.conftest import CONTEXT, ROOT, SECRET, Cli, Shop


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
    assert "secrets/prod.yaml: does not exist: make it with `fleetswap secrets init`" in cli("secrets", "check").out


def test_a_file_that_is_not_there_yet_is_not_taken_for_plaintext(cli: Cli, shop: Shop) -> None:
    """Whoever has just written the setting would be told to change secrets that do not exist."""
    assert not shop.file.exists()
    ran = cli("secrets", "check")
    remedy = "make it with `fleetswap secrets init`, or correct `file` of fleetswap:secrets"
    assert (ran.status, ran.out) == (4, f"secrets/prod.yaml: does not exist: {remedy}\n")
    assert ran.error == "secrets/prod.yaml: not sealed as it must be"


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


def test_a_replica_counts_once_the_rule_names_it(cli: Cli, aws: Shop) -> None:
    """CI would refuse the settings that make a replica, or pass a file that its machines cannot open."""
    aws.seal()
    replica = aws.key.replace("us-east-1", "eu-west-1")
    aws.settings(secrets={"file": "secrets/prod.yaml", "replica_regions": ["eu-west-1"]})
    assert cli("secrets", "check").status == 0
    rules = yaml.safe_load(aws.rules.read_text())
    rules["creation_rules"][0]["key_groups"][0]["kms"].append({"arn": replica, "context": CONTEXT})
    aws.rules.write_text(yaml.safe_dump(rules))
    ran = cli("secrets", "check")
    assert (ran.status, f"has no data key for {replica}" in ran.out) == (4, True)


def test_nothing_to_check_is_an_error(cli: Cli, shop: Shop) -> None:
    """A hook in the wrong folder would pass for ever."""
    shop.settings(secrets=None)
    ran = cli("secrets", "check")
    assert (ran.status, ran.error.startswith("there is nothing to check: no .sops.yaml")) == (2, True)
    ran = cli("secrets", "check", "--staged")
    assert (ran.status, ran.error) == (2, "--staged: this is not a git repository, or there is no git")
