"""A machine's network and memory in namespaces of their own, and files that are sealed for it by the real sops."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.needs import ROOT
from tests.secrets.aws_of_a_machine import DEPLOYER, KEY

OPEN = ROOT / "nix/secrets/open-secrets"
SOPS = ROOT / ".work/sops/sops"
CONTEXT = "Environment:fleetswap/prod"
HOSTILE = {
    "AWS_ENDPOINT_URL": "http://127.0.0.3:1",
    "AWS_ACCESS_KEY_ID": "AKIANOBODY",
    "AWS_SECRET_ACCESS_KEY": "of-nobody",
    "AWS_PROFILE": "other",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CA_BUNDLE": "/etc/passwd",
    "HTTPS_PROXY": "http://127.0.0.3:1",
    "SOPS_KEYSERVICE": "tcp://127.0.0.3:1",
    "SOPS_ENABLE_LOCAL_KEYSERVICE": "false",
}
"""What would send sops elsewhere, if it heard of it."""


@dataclass(frozen=True)
class Ran:
    """How one run ended."""

    status: int
    said: str


@dataclass(frozen=True)
class Machine:
    """A network and a file system as a machine has them, with folders in memory."""

    folder: Path
    pid: int

    @property
    def run_folder(self) -> Path:
        """In a tmpfs that the namespace alone sees; outside it goes by /proc."""
        return self.folder / "run"

    def inside(self, *command: str | Path, env: Mapping[str, str] = os.environ) -> subprocess.CompletedProcess[str]:
        """Run a command there."""
        enter = ["nsenter", f"--target={self.pid}", "--net", "--mount", f"--wdns={self.folder}"]
        return subprocess.run([*enter, *command], check=False, capture_output=True, text=True, env=env)

    def plan(self, **answers: Any) -> None:
        """How KMS and the metadata service answer from now on."""
        for path in [*self.folder.glob("used-*"), self.folder / "asked", self.folder / "seen"]:
            path.unlink(missing_ok=True)
        (self.folder / "new").write_text(json.dumps(answers))
        (self.folder / "new").rename(self.folder / "plan.json")

    def open(
        self,
        *secrets: str,
        sealed: str = "sealed.yaml",
        shell: str = "dash",
        jq: bool = True,
        deadline: int = 20,
        into: str = "run/one",
        ca: bool = True,
        sops: str = "sops",
    ) -> Ran:
        """Open a sealed file, with an environment that means no good."""
        self.inside("mkdir", "-p", into)
        command: list[str | Path] = [
            *shell.split(),
            OPEN,
            "--sealed",
            self.folder / sealed,
            "--into",
            self.folder / into,
        ]
        command += ["--sops", self.folder / sops, "--deadline", str(deadline), "--ca", self.folder / "not-there"]
        command += ["--jq", self.folder / "jq"] if jq else []
        command += ["--ca", self.folder / "ca.pem"] if ca else []
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **HOSTILE}
        done = self.inside(*command, *secrets, env=env)
        return Ran(done.returncode, done.stdout + done.stderr)

    def files(self, into: str = "run/one") -> dict[str, str]:
        """What is in a folder: mode, owner and group of each file."""
        found = self.inside("find", into, "-mindepth", "1", "-printf", "%P %m:%U:%G\\n").stdout
        return dict(line.rsplit(" ", 1) for line in found.splitlines())

    def asked(self) -> list[list[Any]]:
        """Every request since the plan was made: service, method, path, status."""
        path = self.folder / "asked"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def seen(self) -> str:
        """Arguments and environments of every sops and jq since the plan was made."""
        return (self.folder / "seen").read_bytes().decode().replace("\0", "\n")

    def changed(self, name: str, old: str, new: str) -> str:
        """The sealed file with something replaced, as another file."""
        text, count = re.subn(old, lambda _: new, (self.folder / "sealed.yaml").read_text(), count=1, flags=re.M | re.S)
        assert count == 1
        (self.folder / name).write_text(text)
        return name

    def seal(self, name: str, plain: Mapping[str, object]) -> Path:
        """A file that sops sealed with KMS's key, for the stack."""
        (self.folder / "plain.json").write_text(json.dumps(plain))
        env = {
            "AWS_ACCESS_KEY_ID": DEPLOYER,
            "AWS_SECRET_ACCESS_KEY": "x",
            "SSL_CERT_FILE": str(self.folder / "ca.pem"),
        }
        seal = [
            "encrypt",
            "--input-type",
            "yaml",
            "--output-type",
            "yaml",
            "--encryption-context",
            CONTEXT,
            "--kms",
            KEY,
        ]
        done = self.inside(SOPS, *seal, self.folder / "plain.json", env=env)
        assert done.returncode == 0, done.stderr
        (self.folder / name).write_text(done.stdout)
        return self.folder / name


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Machine]:
    """The machine, without a sealed file."""
    for name in ("run", "ramfs"):
        (folder / name).mkdir()
    for name, real in (("sops", SOPS), ("jq", "/usr/bin/jq")):
        wrapper = folder / name
        wrapper.write_text(f'#!/bin/sh\n/bin/cat /proc/$$/cmdline /proc/$$/environ >>{folder}/seen\nexec {real} "$@"\n')
        wrapper.chmod(0o755)
    (folder / "plan.json").write_text("{}")
    serve = f"{ROOT}/.venv/bin/python -m tests.secrets.aws_of_a_machine {folder}"
    server = subprocess.Popen(["unshare", "--net", "--mount", *serve.split()], cwd=ROOT)
    try:
        until = time.monotonic() + 30
        while not (folder / "ready").exists():
            assert server.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        yield Machine(folder, server.pid)
    finally:
        server.kill()
        server.wait()
