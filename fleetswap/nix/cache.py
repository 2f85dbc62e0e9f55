"""Keeps what nix said of images, so that it is not asked again about the same source.

Two things are keys: a fingerprint of a locked flake, from which the evaluation follows, and the image's store path. An
entry checks itself, and counts only while its derivation is in the store. Losing the folder only costs time, and so
does a folder that cannot be written.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fleetswap.domain.image.evaluation import Evaluation
from fleetswap.domain.image.source import FlakeImage
from fleetswap.nix import evaluate
from fleetswap.nix.process import pairs, run, version

DAYS = 30
"""Age at which an entry is removed by the next one that is written."""

IMPURE = ("pure-eval", "impure-env", "allow-unsafe-native-code-during-evaluation", "plugin-files")
"""Settings with which a flake may read what is not part of its fingerprint. A flake can set them too (`nixConfig`)."""


NAME = "evaluations"
"""Of the folder, beside what else makes a project's next deployment faster."""


def evaluations(root: Path) -> Path:
    """The folder of the project in `root`."""
    return root / ".work" / NAME


class Cache:
    """Evaluations in a folder. Several processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Evaluation | None:
        """What was kept, if it is whole and its derivation is still in the store."""
        try:
            kept = json.loads(self._path(key).read_bytes())
            found = Evaluation(**kept["evaluation"])
            found = replace(found, warnings=tuple(found.warnings))
            if kept["digest"] != _digest([key, asdict(found)]):
                return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        # Asked for anything else, nix would first look for the derivation in its substituters.
        return found if run(["nix-store", "--check-validity", found.derivation]).returncode == 0 else None

    def put(self, key: str, evaluation: Evaluation) -> None:
        """Keep it under the key, and under the image's store path."""
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            for each in (key, evaluation.identity):
                text = json.dumps({"evaluation": asdict(evaluation), "digest": _digest([each, asdict(evaluation)])})
                with tempfile.NamedTemporaryFile("w", dir=self._folder, delete=False) as file:
                    file.write(text)
                Path(file.name).replace(self._path(each))
            for old in self._folder.iterdir():
                if time.time() - old.stat().st_mtime > DAYS * 86_400:
                    old.unlink()

    def _path(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.json"


def fingerprint(image: FlakeImage, root: Path) -> str | None:
    """What an evaluation of the flake's attribute follows from; None if that cannot be known.

    It is all that nix says of the flake (the hash of its files, the revision, the lock of its inputs), the reference,
    the options, nix itself and its configuration.
    """
    if _is_impure([*image.options, *_configuration()]):
        return None
    reference = image.flake.partition("#")[0]
    asked = [
        "flake",
        "metadata",
        reference or ".",
        "--json",
        "--no-update-lock-file",
        *pairs("--option", image.options),
    ]
    done = run(["nix", *evaluate.FLAKES, *asked], folder=root)
    try:
        said = json.loads(done.stdout) if done.returncode == 0 else {}
        locked = said["locked"]
    except (ValueError, KeyError):
        return None
    if not isinstance(locked, Mapping) or "narHash" not in locked:
        return None
    try:
        if _is_impure([(Path(said["path"]) / locked.get("dir", "") / "flake.nix").read_text(errors="replace")]):
            return None
    except (OSError, KeyError):
        return None
    here = [version("nix"), platform.machine(), _configuration(), (evaluate.HERE / "image.nix").read_text()]
    return _digest([image.flake, dict(image.options), said, here])


def _is_impure(texts: Iterable[str]) -> bool:
    return any(name in text for text in texts for name in IMPURE)


def _configuration() -> list[str]:
    """Nix's configuration: what its environment says, and its files (nix.conf(5))."""
    said = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("NIX_")]
    # Without a home, as that of a user whom the machine does not know, there is no such file.
    homes = [os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")]  # noqa: PTH111
    homes += (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
    files = [Path(os.environ.get("NIX_CONF_DIR") or "/etc/nix") / "nix.conf"]
    files += [Path(home) / "nix" / "nix.conf" for home in homes]
    files += [Path(file) for file in os.environ.get("NIX_USER_CONF_FILES", "").split(":") if file]
    for file in files:
        with suppress(OSError):
            said.append(file.read_text(errors="replace"))
    return said


def _digest(value: Any) -> str:  # noqa: ANN401 (JSON)
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
