"""A command reaches AWS as the stack does: settings of the project and of the stack, options before them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleetswap.cli import project
from fleetswap.cli.way import Way, of_stack
from fleetswap.domain.access import Access, AssumedRole
from fleetswap.domain.errors import InputError
from tests.cli.conftest import Local, Ran

ROLE = "arn:aws:iam::111122223333:role/deploy"
STACK = f"""config:
  aws:region: eu-central-1
  aws:profile: company
  aws:assumeRoles:
    - {{roleArn: "{ROLE}", duration: 1h}}
  fleetswap:account: "111122223333"
  fleetswap:endpoint: http://127.0.0.1:4510
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "Pulumi.yaml").write_text(
        "name: shop\nruntime: python\nconfig:\n  aws:maxRetries: 7\n  aws:profile: {value: other}\n"
        "  aws:stsRegion: {default: us-east-1}\n"
    )
    (tmp_path / "Pulumi.prod.yaml").write_text(STACK)
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    return tmp_path


def test_a_further_region_is_reached_as_the_settings_say(folder: Path) -> None:
    """A rollback of a further region would go to the home region's account, or to its local cloud."""
    west = '{endpoint: "http://127.0.0.1:4610", account: "444455556666", aws: {profile: west}}'
    own = f"fleetswap:regions: {{eu-west-1: {west}}}"
    (folder / "Pulumi.prod.yaml").write_text(f"{STACK}  {own}\n")
    there, home = of_stack("prod", "eu-west-1", None, None), of_stack("prod", None, None, None)
    assert (there.region, there.endpoint, there.access.profile) == ("eu-west-1", "http://127.0.0.1:4610", "west")
    assert there.access.allowed_account_ids == ("444455556666",)
    assert (home.region, home.endpoint, home.access.profile) == ("eu-central-1", "http://127.0.0.1:4510", "company")
    assert of_stack("prod", "us-east-1", None, None).endpoint == "http://127.0.0.1:4510"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("stack", [None, "prod", "shop/prod", "acme/shop/prod"])
def test_the_stacks_settings_are_taken(stack: str | None) -> None:
    """A rollback would move traffic in another account than the deploy, or be denied at night."""
    found = of_stack(stack, None, None, None)
    access = Access(
        profile="company",
        assume_roles=(AssumedRole(ROLE, duration=3600),),
        max_retries=7,
        sts_region="us-east-1",
        allowed_account_ids=("111122223333",),
    )
    assert found == Way("eu-central-1", "http://127.0.0.1:4510", access)


@pytest.mark.usefixtures("folder")
def test_options_go_before_settings() -> None:
    """Whoever has another profile could not roll back without changing a file."""
    found = of_stack("prod", "us-east-1", "http://127.0.0.1:1", "mine")
    assert (found.region, found.endpoint, found.access.profile) == ("us-east-1", "http://127.0.0.1:1", "mine")
    assert found.access.assume_roles != ()


def test_another_stack_has_no_settings_here(folder: Path) -> None:
    """A command would use the account of one stack for another."""
    assert of_stack("other/prod", None, None, "mine") == Way(access=Access(profile="mine"))
    (folder / "Pulumi.test.yaml").write_text("config: {}\n")
    assert of_stack(None, None, None, None) == Way()
    assert of_stack("test", None, None, None).access.profile == "other", "the project's"


def test_settings_that_are_not_valid_are_told_with_their_file(folder: Path) -> None:
    """The environment's account would be used in place of the one that was meant."""
    (folder / "Pulumi.prod.yaml").write_text("config:\n  aws:accessKey: {secure: v1:abc}\n  aws:maxRetries: none\n")
    with pytest.raises(InputError, match=r"prod\.yaml: aws:accessKey: is not supported: .*; aws:maxRetries: must"):
        of_stack("prod", None, None, None)


def test_a_project_without_settings_has_none(folder: Path) -> None:
    """Every command would fail in a project that sets nothing for all stacks."""
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    found = project.find(folder)
    assert found is not None
    assert found.shared == {}


@pytest.mark.parametrize("command", [["status", "--service", "web"], ["verify", "snap-0123456789abcdef0"]])
def test_another_account_is_refused(cli: Callable[..., Ran], local: Local, folder: Path, command: list[str]) -> None:
    """A command would work in the account of whoever's credentials are in the environment."""
    settings = STACK.replace("http://127.0.0.1:4510", local.endpoint).replace("  aws:profile: company\n", "")
    start = settings.index("  aws:assumeRoles"), settings.index("  fleetswap:account")
    (folder / "Pulumi.prod.yaml").write_text(settings[: start[0]] + settings[start[1] :])
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    ran = cli(*command, "--stack", "prod")
    assert ran.status == 2
    assert "belong to AWS account 123456789012, but account 111122223333 is meant" in ran.error
