"""The stack `local`, driven as a user drives it, in a work folder, on ports and in a network of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PORT = 4611
LISTENER_PORT = 8181


@dataclass
class Ran:
    """A command that has ended. `said` is all that it printed."""

    status: int
    said: str


class LocalStack:
    """Runs the verbs of the Makefile; `settings` are laid over Pulumi.local.yaml."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        committed = yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())
        self.config: dict[str, Any] = committed["config"]
        # Beside a stack that a developer has up: other ports, other addresses.
        self.set(front={"port": LISTENER_PORT}, network={"cidr": "10.78.0.0/16"}, **settings)

    @property
    def url(self) -> str:
        return f"http://127.66.0.1:{LISTENER_PORT}/"

    def set(self, **settings: Any) -> None:
        """Change settings; None takes one away."""
        for key, value in settings.items():
            self.config[f"fleetswap:{key}"] = value
        self.config = {key: value for key, value in self.config.items() if value is not None}

    def start(self, verb: str, *, version: str = "") -> subprocess.Popen[str]:
        file = self.folder / "settings.yaml"
        file.write_text(yaml.safe_dump({"config": self.config}))
        given = {
            "VERSION": version,
            "PORT": str(PORT),
            "FLEETSWAP_WORK": str(self.folder),
            "FLEETSWAP_SETTINGS": str(file),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "tools.local", verb],
            cwd=ROOT,
            env=os.environ | given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, verb: str, *, version: str = "") -> Ran:
        """Run a verb to its end and print what it said, for the report of a test that fails."""
        process = self.start(verb, version=version)
        said, _ = process.communicate(timeout=500)
        print(said)
        return Ran(process.returncode, said)

    def get(self, path: str = "", **headers: str) -> str:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers), timeout=10) as answer:
            return str(answer.read().decode().strip())

    def groups(self) -> list[str]:
        """The auto scaling groups of the machines that run, one entry a machine."""
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/_localcloud/status", timeout=10) as answer:
            return [instance["group"] for instance in json.load(answer)["instances"] if instance["state"] == "running"]

    def processes(self) -> list[str]:
        """The command lines of all processes that were started for this stack."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                command = (entry / "cmdline").read_bytes() + b"\0" + (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(self.folder).encode() in command:
                found.append(command.split(b"\0\0")[0].replace(b"\0", b" ").decode(errors="replace")[:200])
        return found
