"""The policy pack starts as the official Pulumi starts one, whichever way that is."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import grpc
import pytest
import yaml
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import analyzer_pb2_grpc

from fleetswap.domain.resource_policies import POLICIES

ROOT = Path(__file__).parents[2]
PACK = ROOT / "policy"
ENGINE = "127.0.0.1:9"


@pytest.mark.parametrize(
    ("folder", "words"),
    [(PACK, ["-m", "pulumi.policy", ENGINE, "."]), (ROOT, [str(PACK), ENGINE])],
    ids=["pulumi-analyzer-policy-python", "RunPlugin"],
)
def test_the_pack_starts_as_pulumi_starts_it(folder: Path, words: list[str]) -> None:
    """Only the stand-in of the language host could run it: Pulumi before it asked the language host for it starts
    pulumi-analyzer-policy-python, in the folder of the pack, and that imports it from there.
    """
    command = [sys.executable, "-u", *words]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            with grpc.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}") as channel:
                told = analyzer_pb2_grpc.AnalyzerStub(channel).GetAnalyzerInfo(Empty(), timeout=30)
        finally:
            process.kill()
    assert told.name == "fleetswap"
    assert {policy.name for policy in told.policies} == set(POLICIES)


def test_the_project_file_has_what_pulumi_reads() -> None:
    """Pulumi would look for another interpreter, or report the policies as of no version (PulumiPolicy.yaml)."""
    file = yaml.safe_load((PACK / "PulumiPolicy.yaml").read_text())
    assert file["runtime"] == {"name": "python", "options": {"virtualenv": "../.venv"}}
    assert file["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (PACK / "__main__.py").is_file()
