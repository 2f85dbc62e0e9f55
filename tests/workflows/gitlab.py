"""Runs a job of .gitlab-ci.yml as GitLab's runner does: `extends`, variables, one shell for all of its scripts."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.workflows.github import ROOT

FILE = ROOT / ".gitlab-ci.yml"

VARIABLE = re.compile(r"\$(\w+)")
INPUT = re.compile(r"\$\[\[ inputs\.(\w+) \]\]")


def inputs() -> dict[str, dict[str, Any]]:
    """What somebody who runs a pipeline is asked."""
    found: dict[str, dict[str, Any]] = next(yaml.safe_load_all(FILE.read_text()))["spec"]["inputs"]
    return found


def parsed(**given: str) -> dict[str, Any]:
    """The file with these inputs, the others by default; only values that are options are taken."""
    known = {name: given.get(name, each["default"]) for name, each in inputs().items()}
    assert set(given) <= set(known)
    assert all(known[name] in each["options"] for name, each in inputs().items())
    found: dict[str, Any]
    _, found = yaml.safe_load_all(INPUT.sub(lambda found: known[found[1]], FILE.read_text()))
    return found


def merged(name: str, **given: str) -> dict[str, Any]:
    """A job with all that it extends: hashes are merged, the rest is replaced (GitLab, "extends")."""
    job = parsed(**given)[name]
    above = job.pop("extends", [])
    found: dict[str, Any] = {}
    for each in [above] if isinstance(above, str) else above:
        found = _over(found, merged(each, **given))
    return _over(found, job)


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def run(name: str, folder: Path, env: Mapping[str, str], **given: str) -> subprocess.CompletedProcess[str]:
    """Run a job to its end. `env` is what the project and the runner set, `given` are inputs."""
    job = merged(name, **given)
    variables = dict(env)
    for key, value in job.get("variables", {}).items():
        variables[key] = VARIABLE.sub(lambda found: variables[found[1]], value)
    variables |= dict.fromkeys(job.get("id_tokens", {}), "an ID token")
    script = "\n".join([*job["before_script"], *job["script"]])
    done = subprocess.run(
        ["bash"],
        input=f"set -eo pipefail\n{script}\n",
        cwd=folder,
        env=variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if "id_tokens" in job:
        Path(variables["AWS_WEB_IDENTITY_TOKEN_FILE"]).unlink()  # every job with a token has to write it
    print(done.stdout)
    return done
