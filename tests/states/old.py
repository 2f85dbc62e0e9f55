"""The states of earlier versions, as the tests read them."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
ENDPOINT = "http://127.0.0.1:4510"
"""Where the local cloud was when the states were written."""


class Old:
    """One state. All numbers are floats, as Pulumi hands them to the program and to the providers."""

    def __init__(self, name: str) -> None:
        self._folder = FOLDER / name
        self.answers: list[dict[str, Any]] = json.loads((self._folder / "answers.json").read_text())
        self.settings: dict[str, Any] = yaml.safe_load((self._folder / "settings.yaml").read_text())

    def text(self, endpoint: str) -> str:
        """The exported state, of a local cloud at another address."""
        written = (self._folder / "state.json").read_text()
        assert ENDPOINT in written
        return written.replace(ENDPOINT, endpoint)

    def resources(self, endpoint: str = ENDPOINT) -> list[dict[str, Any]]:
        """The resources of the state."""
        load = partial(json.loads, parse_int=float)
        found: list[dict[str, Any]] = load(self.text(endpoint))["deployment"]["resources"]
        return found

    @property
    def ledger(self) -> dict[str, Any]:
        """The plain ledger: the output of that name."""
        (stack,) = [each for each in self.resources() if each["type"] == "pulumi:pulumi:Stack"]
        ledger: dict[str, Any] = stack["outputs"]["ledger"]
        return ledger


V0_1 = Old("v0_1")
