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


def merged(name: str) -> dict[str, Any]:
    """A job with all that it extends: hashes are merged, the rest is replaced (GitLab, "extends")."""
    plain = yaml.safe_load(FILE.read_text())
    job = plain[name]
    above = job.pop("extends", [])
    found: dict[str, Any] = {}
    for each in [above] if isinstance(above, str) else above:
        found = _over(found, merged(each))
    return _over(found, job)


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def run(name: str, folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a job to its end. `env` is what the project and the runner set."""
    job = merged(name)
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
