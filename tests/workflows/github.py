"""Runs a job of a workflow as GitHub's runner does: expressions, `if`, files of commands, artifacts, tokens.

What an action of others does is done by a stand-in, which is as strict: without `id-token: write` there is no role,
an artifact that does not exist cannot be downloaded. What is not known is an error: an expression, an action, an input.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / ".github/workflows"
ACTIONS = ROOT / ".github/actions"

EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
TOKEN = re.compile(r"'[^']*'|[A-Za-z_][\w-]*(?:\.[\w-]+)*\(?|&&|\|\||!(?!=)|==|!=|[\[\]()]|\s+")
SHELLS = {None: ["bash", "-e"], "bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"]}
"""How a `run` step is called, by its `shell` (GitHub, "Workflow syntax", `defaults.run.shell`)."""


def parsed(name: str) -> dict[str, Any]:
    """A workflow. YAML 1.1 takes the key `on` for a boolean."""
    found: dict[Any, Any] = yaml.safe_load((WORKFLOWS / f"{name}.yml").read_text())
    found["on"] = found.pop(True)
    return found


def action(name: str) -> dict[str, Any]:
    """An action of this repository."""
    found: dict[str, Any] = yaml.safe_load((ACTIONS / name / "action.yml").read_text())
    return found


@dataclass
class Job:
    """How a job has ended. `said` is what its steps printed, `outputs` what each step has set."""

    failed: bool = False
    said: str = ""
    path: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    role: str = ""
    outputs: dict[str, str] = field(default_factory=dict)


@dataclass
class GitHub:
    """A repository, its runners and its artifacts. `env` is what a runner has; `context` what expressions know."""

    folder: Path
    env: Mapping[str, str]
    context: Mapping[str, str]
    keys: Mapping[str, str]
    """What a role gives."""
    temp: Path
    artifacts: dict[str, Path] = field(default_factory=dict)

    def run(self, workflow: str, job: str, **context: str) -> Job:
        """Run a job to its end. `context` is what its expressions know beside the rest."""
        plain = parsed(workflow)["jobs"][job]
        known = {**self.context, **{key.replace("__", "."): value for key, value in context.items()}}
        if "if" in plain:
            assert evaluated(plain["if"], known, failed=False), f"{workflow}: {job} is skipped"
        done = Job()
        env = {**self.env, **{key: text(value, known) for key, value in plain.get("env", {}).items()}}
        self._steps(plain["steps"], known, env, done, plain["permissions"])
        return done

    def _steps(
        self, steps: list[dict[str, Any]], known: dict[str, str], env: dict[str, str], job: Job, may: Mapping[str, str]
    ) -> None:
        for step in steps:
            condition = step.get("if", "success()")
            if not evaluated(condition, known, failed=job.failed) or (
                job.failed and not re.search(r"always\(|cancelled\(", condition)
            ):
                continue
            if "run" in step:
                own = {key: text(value, known) for key, value in step.get("env", {}).items()}
                self._shell(step, {**env, **job.env, **own}, job)
                continue
            given = {key: text(value, known) for key, value in step.get("with", {}).items()}
            name, _, version = step["uses"].partition("@")
            if name.startswith("./.github/actions/"):
                inner = action(name.rpartition("/")[2])
                defaults = {key: str(each.get("default", "")) for key, each in inner.get("inputs", {}).items()}
                assert set(given) <= set(defaults), f"{name} has no such input: {given}"
                inputs = {f"inputs.{key}": value for key, value in {**defaults, **given}.items()}
                self._steps(inner["runs"]["steps"], {**known, **inputs}, env, job, may)
            else:
                assert re.fullmatch(r"[0-9a-f]{40}", version), step["uses"]
                self._action(name, given, job, may)

    def _shell(self, step: dict[str, Any], env: dict[str, str], job: Job) -> None:
        assert "${{" not in step["run"]
        files = {name: self.temp / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_PATH")}
        for each in files.values():
            each.write_text("")
        script = self.temp / "step.sh"
        script.write_text(step["run"])
        path = os.pathsep.join([*reversed(job.path), env["PATH"]])
        done = subprocess.run(
            [*SHELLS[step.get("shell")], str(script)],
            cwd=self.folder,
            env={**env, **{name: str(each) for name, each in files.items()}, "PATH": path},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        print(done.stdout)
        job.said += done.stdout
        job.failed = job.failed or done.returncode != 0
        job.path += files["GITHUB_PATH"].read_text().splitlines()
        job.outputs |= dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())

    def _action(self, name: str, given: dict[str, str], job: Job, may: Mapping[str, str]) -> None:
        if name == "actions/checkout":
            assert may["contents"] == "read"
            shutil.rmtree(self.folder / "previews", ignore_errors=True)  # a runner is new
        elif name == "aws-actions/configure-aws-credentials":
            assert may.get("id-token") == "write", "there is no OIDC token"
            assert re.fullmatch(r"arn:aws:iam::\d{12}:role/.+", given["role-to-assume"])
            assert given["aws-region"]
            job.role = given["role-to-assume"]
            job.env |= self.keys
        elif name == "actions/upload-artifact":
            self._upload(given)
        elif name == "actions/download-artifact":
            self._download(given)
        else:
            assert name in {"actions/setup-python", "pulumi/actions", "cachix/install-nix-action"}, name

    def _upload(self, given: dict[str, str]) -> None:
        assert not re.search(r'["*:<>|?\r\n/\\]', given["name"]), "GitHub takes no such name"
        assert given["name"] not in self.artifacts, "an artifact of that name exists"
        source = self.folder / given["path"]
        if not source.exists():
            assert given["if-no-files-found"] == "ignore"
            return
        target = self.temp / "artifacts" / given["name"]
        shutil.copytree(source, target)
        self.artifacts[given["name"]] = target

    def _download(self, given: dict[str, str]) -> None:
        assert given["merge-multiple"] == "true"
        target = self.folder / given["path"]
        shutil.rmtree(target, ignore_errors=True)
        for name in fnmatch.filter(self.artifacts, given["pattern"]):
            shutil.copytree(self.artifacts[name], target, dirs_exist_ok=True)


def text(value: object, known: Mapping[str, str]) -> str:
    """A value with its expressions replaced."""
    if isinstance(value, bool):
        return str(value).lower()
    return EXPRESSION.sub(lambda found: str(_value(found[1], known, failed=False)), str(value))


def evaluated(condition: str, known: Mapping[str, str], *, failed: bool) -> bool:
    """Whether an `if` holds, with or without the brackets."""
    whole = EXPRESSION.fullmatch(condition)
    return bool(_value(whole[1] if whole else condition, known, failed=failed))


def _value(expression: str, known: Mapping[str, str], *, failed: bool) -> object:
    words = TOKEN.findall(expression)
    assert "".join(words) == expression, f"cannot be read: {expression}"
    python = {"&&": " and ", "||": " or ", "!": " not ", "always(": "always(", "fromJSON(": "fromJSON("}
    functions = {
        "always": lambda: True,
        "cancelled": lambda: False,
        "success": lambda: not failed,
        "fromJSON": json.loads,
        "known": known.__getitem__,
    }
    parts = [
        python.get(word, word) if not re.match(r"[A-Za-z_]", word) or word.endswith("(") else f"known({word!r})"
        for word in words
    ]
    return eval("".join(parts).strip(), {"__builtins__": {}}, functions)  # noqa: S307 - of our own files
