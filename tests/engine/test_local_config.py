"""What `make up` deploys, and with what environment: the pure decisions of tools/local."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tools.local.config import SALT, checked_port, checked_version, committed_port, configuration, needs_secret
from tools.local.process import environment
from tools.local.work import LocalError, Work


def committed() -> dict[str, Any]:
    """A configuration as it is committed."""
    return {
        "config": {
            "fleetswap:endpoint": "http://127.0.0.1:4510",
            "fleetswap:image": {"nix": {"expression": "nix/demo", "args": {"version": "1", "other": "x"}}},
        }
    }


def test_without_a_choice_the_committed_configuration_is_deployed() -> None:
    """A plain `make up` would deploy something else than the file says."""
    assert configuration(committed(), {}, port=4510) == committed() | {"encryptionsalt": SALT}


def test_chosen_version_stays_a_string_and_leaves_the_rest() -> None:
    """VERSION=2 would be the number 2, or other arguments of the image would be lost."""
    config = configuration(committed(), {"version": "2"}, port=4510)["config"]
    assert config["fleetswap:image"] == {"nix": {"expression": "nix/demo", "args": {"version": "2", "other": "x"}}}
    assert "fleetswap:release" not in config


def test_committed_configuration_is_not_changed() -> None:
    """The version that a preview is asked for would leak into the next update of the same process."""
    original = committed()
    configuration(original, {"version": "2", "release": "web-0"}, port=5000)
    assert original == committed()


@pytest.mark.parametrize("setting", [True, {}, {"editors": ["a"]}])
def test_the_sealed_file_is_checked_and_built_with(setting: object) -> None:
    """The image would have no secret, or the check of the preview look at no file or at another one."""
    original = committed()
    original["config"]["fleetswap:secrets"] = setting
    sealed = Path("/work/secrets/local.yaml")
    config = configuration(original, {}, port=4510, sealed=sealed)["config"]
    kept = setting if isinstance(setting, dict) else {}
    assert config["fleetswap:secrets"] == {**kept, "file": str(sealed)}
    assert config["fleetswap:image"]["nix"]["args"] == {"version": "1", "other": "x", "secrets": str(sealed)}
    before = configuration(original, {}, port=4510, sealed=sealed, is_sealed=False)["config"]
    assert before["fleetswap:secrets"] == {**kept, "file": str(sealed)}
    assert "secrets" not in before["fleetswap:image"]["nix"]["args"]
    assert configuration(original, {}, port=4510)["config"]["fleetswap:secrets"] == setting


@pytest.mark.parametrize(
    ("setting", "image"),
    [(None, "nix/demo"), (False, "nix/demo"), (True, "nix/other")],
)
def test_no_other_image_and_no_stack_without_secrets_gets_a_demo_secret(setting: object, image: str) -> None:
    """An image that takes no sealed file could not be deployed by `make up`."""
    original = committed()
    original["config"]["fleetswap:image"]["nix"]["expression"] = image
    if setting is not None:
        original["config"]["fleetswap:secrets"] = setting
    assert not needs_secret(original)
    found = configuration(original, {}, port=4510, sealed=Path("/work/secrets/local.yaml"))
    assert found == original | {"encryptionsalt": SALT}


def test_chosen_release_is_what_a_rollback_deploys() -> None:
    """`make rollback` would deploy the image again."""
    config = configuration(committed(), {"version": "2", "release": "web-01234567"}, port=4510)["config"]
    assert config["fleetswap:release"] == "web-01234567"


def test_another_port_sets_the_endpoint() -> None:
    """The program would speak to a port where no local cloud listens."""
    config = configuration(committed(), {}, port=5000)["config"]
    assert config["fleetswap:endpoint"] == "http://127.0.0.1:5000"


@pytest.mark.parametrize("image", [{"file": "disk.raw"}, ".#web"])
def test_version_of_an_image_that_nix_does_not_build_is_refused(image: object) -> None:
    """`make up VERSION=2` would deploy the same image again and call it version 2."""
    other = {"config": {"fleetswap:image": image, "fleetswap:secrets": True}}
    assert not needs_secret(other)
    with pytest.raises(LocalError, match=r"VERSION needs an image that Nix builds: set fleetswap:image.nix"):
        configuration(other, {"version": "2"}, port=4510)
    assert configuration(other, {}, port=4510)["config"]["fleetswap:image"] == image


@pytest.mark.parametrize("bad", ["2; rm -rf /", "$(id)", "-2", "a b", "a/b", "a\n", "x" * 65, "ü"])
def test_version_with_anything_but_a_version_is_refused(bad: str) -> None:
    """A shell, a path or a page would take part of VERSION for something else."""
    with pytest.raises(LocalError, match="is not a version"):
        checked_version(bad)


@pytest.mark.parametrize("good", ["2", "broken", "1.2.3-rc_1+b"])
def test_plain_versions_are_taken(good: str) -> None:
    """A usual version would be refused."""
    assert checked_version(good) == good


@pytest.mark.parametrize("bad", ["0", "65536", "http", "-1", "4510 ", "٤٥"])
def test_port_that_is_none_is_refused(bad: str) -> None:
    """A misspelt port would fail deep inside the local cloud."""
    with pytest.raises(LocalError, match="is not a port"):
        checked_port(bad)


def test_ports_that_are_none_given_come_from_the_file() -> None:
    """`make up` would ignore the port of the committed endpoint."""
    assert checked_port("") is None
    assert checked_port("4511") == 4511
    assert committed_port({"config": {"fleetswap:endpoint": "http://127.0.0.1:4999"}}) == 4999
    assert committed_port({"config": {}}) == 4510


def test_no_real_account_and_no_real_backend_can_be_reached(tmp_path: Path) -> None:
    """`make up` would deploy into the account, or the Pulumi organisation, that the user is logged in to."""
    base = {
        "PATH": "/usr/bin",
        "HOME": "/home/u",
        "AWS_PROFILE": "prod",
        "AWS_SESSION_TOKEN": "t",
        "AWS_ENDPOINT_URL": "https://real",
        "PULUMI_ACCESS_TOKEN": "t",
        "PULUMI_STACK": "prod",
        "HTTP_PROXY": "http://proxy",
        "HTTPS_PROXY": "http://proxy",
    }
    env = environment(Work(root=tmp_path, folder=tmp_path / "w"), base, engine=tmp_path / "engine")
    assert {k: v for k, v in env.items() if k.startswith("AWS_")} == {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }
    assert {k: v for k, v in env.items() if k.startswith("PULUMI_")} == {
        "PULUMI_HOME": f"{tmp_path}/.work/pulumi",
        "PULUMI_BACKEND_URL": f"file://{tmp_path}/w/state",
        "PULUMI_CONFIG_PASSPHRASE": "local",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    assert env["PATH"].startswith(f"{tmp_path}/engine:{tmp_path}/.venv/bin:/usr/bin:")
    assert (env["HOME"], env["HTTPS_PROXY"]) == ("/home/u", "http://proxy")
    assert "HTTP_PROXY" not in env
