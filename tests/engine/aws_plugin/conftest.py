"""The local cloud and the plugin behind a real gRPC channel, driven as the engine drives it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import grpc
import pytest
from pulumi.runtime import proto
from pulumi.runtime.proto import provider_pb2_grpc

from engine.aws_plugin import kind, server, wire
from localcloud.ebs.store import SnapshotStore
from localcloud.faults.lateness import Lateness
from localcloud.server import LocalCloud

SERVICES = ("ec2", "autoscaling", "elbv2", "iam", "sts", "kms", "route53", "wafv2", "cloudwatch", "events", "sns")


@dataclass
class NoClients:
    """A configured provider that must not be asked for a client."""

    region: str = "us-east-1"
    default_tags: dict[str, str] = field(default_factory=dict)
    ignored_tags: frozenset[str] = frozenset()
    ignored_prefixes: tuple[str, ...] = ()

    def client(self, service: str, region: str | None = None) -> Any:
        raise AssertionError((service, region))


@dataclass
class Made:
    """A resource as the engine remembers it."""

    id: str
    inputs: dict[str, Any]
    state: dict[str, Any]


@dataclass
class Engine:
    """What the engine does with one resource, in the order in which it does it."""

    stub: Any

    @staticmethod
    def urn(type_name: str, name: str = "thing") -> str:
        return f"urn:pulumi:dev::proj::pkg:index:Parent${type_name}::{name}"

    def check(self, type_name: str, inputs: dict[str, Any], old: Any = None, name: str = "thing") -> Any:
        return self.stub.Check(
            proto.CheckRequest(
                urn=self.urn(type_name, name),
                news=wire.encode(inputs),
                olds=wire.encode(old or {}),
                randomSeed=b"a seed",
            )
        )

    def checked(self, type_name: str, inputs: dict[str, Any], old: Any = None, name: str = "thing") -> dict[str, Any]:
        answer = self.check(type_name, inputs, old, name)
        assert [f"{failure.property}: {failure.reason}" for failure in answer.failures] == []
        return wire.decode(answer.inputs)

    def create(self, type_name: str, inputs: dict[str, Any], name: str = "thing", *, preview: bool = False) -> Made:
        inputs = self.checked(type_name, inputs, name=name)
        request = proto.CreateRequest(
            urn=self.urn(type_name, name), properties=wire.encode(inputs), preview=preview, timeout=20
        )
        answer = self.stub.Create(request)
        return Made(answer.id, inputs, wire.decode(answer.properties))

    def diff(self, type_name: str, made: Made, inputs: dict[str, Any], ignore: tuple[str, ...] = ()) -> Any:
        return self.stub.Diff(
            proto.DiffRequest(
                urn=self.urn(type_name),
                id=made.id,
                olds=wire.encode(made.state),
                news=wire.encode(self.checked(type_name, inputs, made.inputs)),
                old_inputs=wire.encode(made.inputs),
                ignoreChanges=list(ignore),
            )
        )

    def update(
        self, type_name: str, made: Made, inputs: dict[str, Any], ignore: tuple[str, ...] = (), *, preview: bool = False
    ) -> Made:
        inputs = self.checked(type_name, inputs, made.inputs)
        answer = self.stub.Update(
            proto.UpdateRequest(
                urn=self.urn(type_name),
                id=made.id,
                olds=wire.encode(made.state),
                news=wire.encode(inputs),
                old_inputs=wire.encode(made.inputs),
                ignoreChanges=list(ignore),
                preview=preview,
                timeout=20,
            )
        )
        return Made(made.id, inputs, wire.decode(answer.properties))

    def read(self, type_name: str, made: Made) -> Made:
        """Refresh."""
        answer = self.stub.Read(
            proto.ReadRequest(
                urn=self.urn(type_name),
                id=made.id,
                properties=wire.encode(made.state),
                inputs=wire.encode(made.inputs),
            )
        )
        return Made(answer.id, wire.decode(answer.inputs), wire.decode(answer.properties))

    def imported(self, type_name: str, resource_id: str) -> Made:
        return self.read(type_name, Made(resource_id, {}, {}))

    def delete(self, type_name: str, made: Made, timeout: float = 20) -> None:
        request = proto.DeleteRequest(
            urn=self.urn(type_name), id=made.id, properties=wire.encode(made.state), timeout=timeout
        )
        self.stub.Delete(request)


@pytest.fixture(scope="package")
def endpoint(_local_cloud: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The local cloud's control plane, without machines, at a free port."""
    root = tmp_path_factory.mktemp("cloud")
    cloud = LocalCloud(
        root,
        0,
        machines=False,
        store=SnapshotStore(root / "snapshots", settle_seconds=0.0),
        lateness=Lateness(keys=(0.1, 0.3), principals=(0.1, 0.3)),
    )
    cloud.start()
    yield cloud.endpoint
    cloud.stop()


def provider_config(endpoint: str) -> dict[str, Any]:
    """As the SDK sends it: everything but strings as JSON."""
    endpoints = ", ".join(f'"{service}": "{endpoint}"' for service in SERVICES)
    return {
        "region": "us-east-1",
        "endpoints": f"[{{{endpoints}}}]",
        "accessKey": "local",
        "secretKey": "local",
        "skipCredentialsValidation": "true",
        "skipMetadataApiCheck": "true",
    }


@pytest.fixture(scope="package", autouse=True)
def _quick() -> Iterator[None]:
    """Of what the plugin waits for, the tests wait a tenth."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "POLL_SECONDS", kind.POLL_SECONDS / 10)
        yield


@pytest.fixture(scope="package")
def stub() -> Iterator[Any]:
    """The plugin, not configured."""
    running, port, _ = server.serve()
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    yield provider_pb2_grpc.ResourceProviderStub(channel)
    channel.close()
    running.stop(grace=None).wait()


@pytest.fixture(scope="package")
def engine(stub: Any, endpoint: str) -> Engine:
    """The plugin, configured for the local cloud."""
    stub.Configure(proto.ConfigureRequest(args=wire.encode(provider_config(endpoint))))
    return Engine(stub)


@pytest.fixture(scope="package")
def aws(endpoint: str) -> Any:
    """Makes boto3 clients of the local cloud, to look at it and to change it behind the plugin's back."""
    make: Any = boto3.client  # the stubs know literal service names only

    def client(service: str) -> Any:
        return make(
            service,
            region_name="us-east-1",
            endpoint_url=endpoint,
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 - no secret: the local cloud takes anything
        )

    return client
