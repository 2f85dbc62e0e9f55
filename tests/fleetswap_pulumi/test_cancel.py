"""Pulumi's own server of dynamic providers, the real one, and how a provider in it learns of Ctrl-C."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from google.protobuf import empty_pb2, struct_pb2
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from fleetswap_pulumi import cancel
from tests.fleetswap_pulumi.waiting import Waiting

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server() -> Iterator[provider_pb2_grpc.ResourceProviderStub]:
    """The server, as the launcher of dynamic providers starts it."""
    with subprocess.Popen([sys.executable, "-u", "-m", "pulumi.dynamic"], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield provider_pb2_grpc.ResourceProviderStub(channel)
        process.kill()


def create(server: provider_pb2_grpc.ResourceProviderStub, path: Path) -> dict[str, object]:
    """Create the resource that waits."""
    properties = struct_pb2.Struct()
    properties.update({"__provider": serialize_provider(Waiting()), "path": str(path)})
    answer = server.Create(provider_pb2.CreateRequest(properties=properties))
    return dict(answer.properties)


def test_what_runs_learns_of_every_cancel(server: provider_pb2_grpc.ResourceProviderStub, tmp_path: Path) -> None:
    """Ctrl-C would let a rollout go on to its end; or be heard by the first rollout of a process only."""
    server.Cancel(empty_pb2.Empty())  # while nothing of ours runs: Pulumi's own answer
    with ThreadPoolExecutor() as other:
        for name in ("one", "two"):
            created = other.submit(create, server, tmp_path / name)
            while not (tmp_path / name).exists():
                assert not created.done(), created.result()
                time.sleep(0.02)
            assert server.Cancel(empty_pb2.Empty()) == empty_pb2.Empty()
            made = created.result()
            assert (made["heard"], made["told"]) == (True, True)


@pytest.mark.parametrize(
    "servicer",
    [
        None,
        SimpleNamespace(),
        SimpleNamespace(Cancel=print),
        SimpleNamespace(Cancel=lambda self, request: (self, request)),
    ],
    ids=["no class", "no method", "no Python function", "another signature"],
)
def test_a_pulumi_that_is_built_otherwise_is_left_alone(servicer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a newer Pulumi no rollout could begin, or its own way of cancelling would be broken."""
    before = getattr(getattr(servicer, "Cancel", None), "__code__", None)
    monkeypatch.setattr(sys.modules["__main__"], cancel.SERVICER, servicer, raising=False)
    with cancel.hear(lambda: None) as heard:
        assert not heard
    assert getattr(getattr(servicer, "Cancel", None), "__code__", None) is before
