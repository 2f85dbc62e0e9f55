"""`fleetswap permissions` in a project: what it reads, what it prints, and what it says of wrong input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Local, Ran

SETTINGS = {
    "aws:region": "eu-central-1",
    "fleetswap:service": "shop",
    "fleetswap:account": "222233334444",
    "fleetswap:image": {"file": "disk.raw"},
}


def write(folder: Path, *, shared: Any = None, stack: str = "prod", **more: Any) -> None:
    """A project of one stack; `more` are settings of Fleetswap, None takes one away."""
    document = {"name": "company", "runtime": "python", **({"config": shared} if shared else {})}
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump(document))
    config = {**SETTINGS, **{f"fleetswap:{key}": value for key, value in more.items()}}
    config = {key: value for key, value in config.items() if value is not None and key not in (shared or {})}
    (folder / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump({"config": config}))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of the user's own, with the library installed."""
    project = tmp_path / "company"
    project.mkdir()
    write(project)
    monkeypatch.chdir(project)
    return project


def test_the_policies_are_those_of_the_settings(cli: Callable[..., Ran], folder: Path) -> None:
    """A role would get the rights of another stack, or of settings that nobody has."""
    plain = cli("permissions", "--json").result
    assert {key: plain[key] for key in ("for", "stack", "service", "account", "region", "key_policy")} == {
        "for": "deploy",
        "stack": "company/prod",
        "service": "shop",
        "account": "222233334444",
        "region": "eu-central-1",
        "key_policy": [],
    }
    assert [policy["name"] for policy in plain["policies"]] == [f"fleetswap-shop-deploy-{part}" for part in (1, 2, 3)]
    for policy in plain["policies"]:
        sids = [statement["Sid"] for statement in policy["document"]["Statement"]]
        assert list(policy["reasons"]) == sids
    assert "CreateNatGateway" not in json.dumps(plain)
    write(
        folder,
        network={"nat": "single", "egress": [{"prefix_list": "pl-0a1b2c3d4e5f60718", "ports": [443]}]},
        machine={"policies": ["arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"]},
    )
    more = json.dumps(cli("permissions", "--json").result)
    assert "CreateNatGateway" in more
    assert "prefix-list/pl-0a1b2c3d4e5f60718" in more
    assert '"iam:PolicyARN": "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"' in more


def test_each_region_has_policies_of_its_own(cli: Callable[..., Ran], folder: Path) -> None:
    """The role would be refused in a further region, or two policies of one account have one name."""
    write(folder, regions={"eu-west-1": {}})
    home, west = (cli("permissions", "--json", *given) for given in ((), ("--region", "eu-west-1")))
    names = [[policy["name"] for policy in ran.result["policies"]] for ran in (home, west)]
    assert names[1] == [f"{name}-eu-west-1" for name in names[0]]
    assert west.result["region"] == "eu-west-1"
    assert "arn:aws:ec2:eu-west-1:" in str(west.result["policies"])
    assert "--region" in home.err
    assert "not among the Regions" in cli("permissions", "--region", "eu-west-9").error


def test_what_all_stacks_have_in_common_counts_too(cli: Callable[..., Ran], folder: Path) -> None:
    """A project that sets its region in Pulumi.yaml could not use the command."""
    write(folder, shared={"aws:region": "eu-west-1", "fleetswap:account": {"value": "333344445555"}, "own": "x"})
    found = cli("permissions", "--json").result
    assert (found["region"], found["account"]) == ("eu-west-1", "333344445555")


def test_the_account_is_the_option_s_the_settings_or_the_credentials(
    cli: Callable[..., Ran], folder: Path, local: Local
) -> None:
    """The policy would name another account, and allow nothing in this one."""
    assert cli("permissions", "--json", "--account", "444455556666").result["account"] == "444455556666"
    write(folder, shared={"aws:allowedAccountIds": ["333344445555"]}, account=None)
    assert cli("permissions", "--json").result["account"] == "333344445555"
    write(folder, account=None, endpoint=local.endpoint)
    assert cli("permissions", "--json").result["account"] == "123456789012"


def test_without_an_account_a_line_says_so(cli: Callable[..., Ran], folder: Path, monkeypatch: Any) -> None:
    """Somebody would copy a policy for AWS's example account, and wonder why nothing is allowed."""
    write(folder, account=None)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    ran = cli("permissions", "--json")
    assert ran.result["account"] == "111122223333"
    assert ran.err.startswith("111122223333 stands for your account: name it with --account or fleetswap:account, or")
    assert ran.status == 0


@pytest.mark.parametrize("purpose", ["deploy", "preview", "rollback"])
def test_the_text_has_the_same_documents_and_says_how_to_attach_them(cli: Callable[..., Ran], purpose: str) -> None:
    """What a person copies would not be what a script gets."""
    text = cli("permissions", "--for", purpose).out
    for policy in cli("permissions", "--for", purpose, "--json").result["policies"]:
        assert json.dumps(policy["document"], indent=2) in text
        name = policy["name"]
        assert f"aws iam create-policy --policy-name {name} --policy-document file://{name}.json" in text
        for sid, reason in policy["reasons"].items():
            assert any(line.split(None, 1) == [sid, reason] for line in text.splitlines()), sid


def test_a_key_is_in_the_policy_and_has_statements_of_its_own(cli: Callable[..., Ran]) -> None:
    """An account that encrypts with its own key could upload nothing, and launch nothing."""
    key = "arn:aws:kms:eu-central-1:222233334444:key/1"
    found = cli("permissions", "--json", "--kms-key", key).result
    assert [one["Sid"] for one in found["key_policy"]] == ["AutoScalingUsesTheKey", "AutoScalingLetsEc2AttachVolumes"]
    assert key in json.dumps(found["policies"])
    assert f"Add these statements to the key policy of {key}:" in cli("permissions", "--kms-key", key).out
    assert cli("permissions", "--json", "--kms-key", key, "--for", "preview").result["key_policy"] == []


def test_a_machine_has_what_the_settings_attach(cli: Callable[..., Ran], folder: Path) -> None:
    """Nobody could see what a machine may do."""
    assert "Attached managed policies: none" in cli("permissions", "--for", "machine").out
    policy = "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"
    write(folder, machine={"policies": [policy]})
    assert f"Attached managed policies: {policy}" in cli("permissions", "--for", "machine").out
    found = cli("permissions", "--for", "machine", "--json").result
    assert (found["policies"], found["attached"], found["boundary"]) == ([], [policy], None)


def test_wrong_input_is_one_line(cli: Callable[..., Ran], folder: Path, monkeypatch: Any, tmp_path: Path) -> None:
    """A traceback, or the policy of a stack that was not meant."""

    def error(*words: str) -> str:
        ran = cli("permissions", *words)
        assert ran.status == 2
        assert ran.out == ""
        return ran.error

    assert error("--stack", "staging") == "stack staging has no Pulumi.staging.yaml here"
    assert error("--account", "1") == "--account 1 is not an account ID: it has 12 digits"
    key = "arn:aws:kms:us-east-1:222233334444:key/1"
    assert error("--kms-key", key) == f"--kms-key {key} is not a key of region eu-central-1"
    write(folder, stack="staging")
    assert error() == "which stack? Name it with --stack (company has: prod, staging)"
    write(folder, service="Shop", image=None)
    told = error("--stack", "prod")
    assert "fleetswap:service: " in told
    assert "fleetswap:image is missing" in told
    monkeypatch.chdir(tmp_path)
    assert error() == "no Pulumi project here: run this in the folder of Pulumi.yaml"
