"""Users of the local cloud with the policies that `fleetswap permissions` prints, and nothing else."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import yaml

from tools.local.process import environment
from tools.local.stack import cloud_status
from tools.local.work import PROJECT, ROOT, STACK, Work, write

PURPOSES = ("deploy", "preview", "rollback")

SHAPELESS = {"fleetswap:image", "fleetswap:capacity", "fleetswap:release", "fleetswap:retention"}
"""Settings that permissions do not depend on: for these alone, nothing is printed anew."""


class Users:
    """One user for each purpose, with keys in the work folder's credentials file."""

    def __init__(self, folder: Path, port: int) -> None:
        self._work = Work(ROOT, folder)
        self._port = port
        self._settings: dict[str, Any] = {}
        self.started = ""
        """What the start of the local cloud has printed: `up` prints it where it starts it itself."""

    def update(self, config: Mapping[str, Any]) -> None:
        """Give the users what these settings need, on a local cloud that is started if none runs."""
        if cloud_status(self._port) is None:
            self._start()
        settings = {key: value for key, value in config.items() if key not in SHAPELESS} | {
            "fleetswap:rollout": {
                key: value for key, value in config.get("fleetswap:rollout", {}).items() if key in {"alarms", "alerts"}
            }
        }
        if settings == self._settings:
            return
        self._settings = settings
        printed = self._printed(config)
        for purpose in PURPOSES:
            self._attach(purpose, printed[purpose])

    def _start(self) -> None:
        start = [sys.executable, "-m", "localcloud", "start", "--dir", str(self._work.cloud), "--port", str(self._port)]
        self._work.credentials.unlink(missing_ok=True)
        env = environment(self._work, os.environ, engine=None)
        self.started = subprocess.run(start, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
        self._settings = {}
        keys = configparser.ConfigParser()
        for purpose in PURPOSES:
            self._iam.create_user(UserName=purpose)
            key = self._iam.create_access_key(UserName=purpose)["AccessKey"]
            keys[purpose] = {
                "aws_access_key_id": key["AccessKeyId"],
                "aws_secret_access_key": key["SecretAccessKey"],
            }
        with self._work.credentials.open("w") as file:
            keys.write(file)

    @cached_property
    def _iam(self) -> Any:
        return boto3.client(
            "iam",
            endpoint_url=f"http://127.0.0.1:{self._port}",
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 - no secret: the local cloud takes anything
        )

    def _printed(self, config: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
        """What the command prints in a project with these settings."""
        project = self._work.folder / "project"
        write(project / "Pulumi.yaml", f"name: {PROJECT}\nruntime: python\n")
        write(project / f"Pulumi.{STACK}.yaml", yaml.safe_dump({"config": dict(config)}))
        command = [sys.executable, "-m", "fleetswap", "permissions", "--json", "--account", "123456789012", "--for"]
        running = {
            purpose: subprocess.Popen([*command, purpose], cwd=project, stdout=subprocess.PIPE, text=True)
            for purpose in PURPOSES
        }
        printed = {purpose: process.communicate(timeout=60)[0] for purpose, process in running.items()}
        return {purpose: json.loads(text)["policies"] for purpose, text in printed.items()}

    def _attach(self, user: str, printed: list[dict[str, Any]]) -> None:
        for old in self._iam.list_attached_user_policies(UserName=user)["AttachedPolicies"]:
            self._iam.detach_user_policy(UserName=user, PolicyArn=old["PolicyArn"])
            self._iam.delete_policy(PolicyArn=old["PolicyArn"])
        for policy in printed:
            made = self._iam.create_policy(PolicyName=policy["name"], PolicyDocument=json.dumps(policy["document"]))
            self._iam.attach_user_policy(UserName=user, PolicyArn=made["Policy"]["Arn"])
