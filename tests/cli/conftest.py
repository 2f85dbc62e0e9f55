"""The command line, run in this process against a local cloud in another."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from fleetswap.aws.image.block_writer import BlockPuts
from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.aws.session import Cloud
from fleetswap.cli.app import run
from fleetswap.domain.image.blocks import digest, linear_checksum
from fleetswap.domain.image.snapshots import Start
from fleetswap.workflows.image import complete
from tests.fakes.ebs import BLOCK, disk_bytes, nothing
from tests.fakes.localcloud import Served, serve
from tests.fakes.reads import mapped

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


CONTENT = disk_bytes(["data", "zero", "same"], 9 * BLOCK - 512, seed=3)

NOBODY = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of an error; nothing else may be an error, and nothing a result."""
        *before, last = self.err.splitlines()
        assert last.startswith("error: "), self.err
        assert not any(line.startswith("error: ") or "Traceback" in line for line in before), self.err
        return last.removeprefix("error: ")

    @property
    def result(self) -> dict[str, Any]:
        """What --json printed."""
        (line,) = self.out.splitlines()
        found: dict[str, Any] = json.loads(line)
        return found


@dataclass(frozen=True)
class Local(Served):
    """The local cloud."""

    @property
    def ec2(self) -> EC2Client:
        return boto3.client("ec2", endpoint_url=self.endpoint, region_name="us-east-1")

    def snapshots(self, **tags: str) -> list[dict[str, Any]]:
        """All snapshots with these tags, whose keys begin with `fleetswap:`, in any state."""
        filters = [{"Name": f"tag:fleetswap:{key}", "Values": [value]} for key, value in tags.items()]
        found = self.ec2.describe_snapshots(OwnerIds=["self"], Filters=filters)["Snapshots"]  # type: ignore[arg-type]
        return [dict(each) for each in found]

    def fault(self, **rule: object) -> None:
        """Ask for a fault."""
        self.ask("POST", "faults", rule)

    def no_faults(self) -> None:
        """Take all faults back."""
        self.ask("DELETE", "faults")

    def hold(self, make: Callable[[str], Mapping[int, bytes]]) -> str:
        """A completed snapshot of these blocks, made by hand; they are made for its id."""
        cloud = Cloud("us-east-1", self.endpoint)
        ebs, ec2 = cloud.ebs_and_ec2(1)
        port = DirectSnapshots(ebs, ec2)
        token = os.urandom(8).hex()
        snapshot_id = port.start(Start(token, 1, {}, "", encrypted=False, kms_key=None)).snapshot_id
        line = BlockPuts.of(cloud, ebs).connect()
        held = make(snapshot_id)
        for index, block in held.items():
            line.put(snapshot_id, index, block, digest(block), nothing)
        line.close()
        port.complete(snapshot_id, len(held), linear_checksum(digest(held[index]) for index in sorted(held)))
        return snapshot_id


@pytest.fixture(scope="session")
def endpoint(_local_cloud: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A local cloud for all tests that ask for it."""
    with serve(tmp_path_factory.mktemp("cloud")) as served:
        yield served.endpoint


@pytest.fixture(autouse=True)
def environment(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home and a set of AWS settings of the test's own. Where it has no `endpoint`, nothing answers for AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    for name, value in {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "AWS_CONFIG_FILE": str(home / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": request.getfixturevalue("endpoint") if "endpoint" in request.fixturenames else NOBODY,
        "TERM": "xterm",
        "COLUMNS": "200",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def local(endpoint: str) -> Iterator[Local]:
    local = Local(endpoint)
    yield local
    local.no_faults()


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run the command line in this process; a snapshot's completion is looked for more often than EC2 would like."""
    monkeypatch.setattr(complete, "POLL_SECONDS", (0.02, 1.0))

    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        status = run([str(each) for each in arguments])
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    return call


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A disk of nine blocks."""
    path = tmp_path / "web-1.0.raw"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(scope="session")
def whole(endpoint: str) -> str:
    """A snapshot of `CONTENT` with its map, as an upload leaves it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "local")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "local")
        return Local(endpoint).hold(lambda snapshot_id: mapped(CONTENT, snapshot_id=snapshot_id).held)
