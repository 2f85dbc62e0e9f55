"""The small EC2 model: it is what botocore has, it is found first, and it is all that an upload calls."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name
from botocore.loaders import Loader

from fleetswap.aws.session import MODELS, Cloud
from tools import trim_models

ADAPTERS = Path(trim_models.__file__).parent.parent / "fleetswap" / "aws"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")


def test_the_model_is_botocores() -> None:
    """After an update of botocore an upload would speak an older EC2 than everything else."""
    held = {str(path.relative_to(MODELS)): path.read_text() for path in MODELS.rglob("*.json")}
    assert held == trim_models.trimmed(), "run python tools/trim_models.py"


def test_the_upload_gets_the_small_model_and_nobody_else() -> None:
    """An upload would need 25 MiB more than it may; or the rollout lack calls that it makes."""
    cloud = Cloud("eu-west-1", "http://127.0.0.1:9")
    ebs, ec2 = cloud.ebs_and_ec2(1)
    assert set(ec2.meta.service_model.operation_names) == set(trim_models.KEPT)
    assert "PutSnapshotBlock" in ebs.meta.service_model.operation_names
    assert "GetConsoleOutput" in cloud.ec2().meta.service_model.operation_names
    assert (ec2.meta.region_name, ec2.meta.endpoint_url) == ("eu-west-1", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("region", "host"),
    [("eu-west-1", "ec2.eu-west-1.amazonaws.com"), ("cn-north-1", "ec2.cn-north-1.amazonaws.com.cn")],
)
def test_the_endpoint_is_the_regions(region: str, host: str) -> None:
    """The model would be found, but not the rules that say where EC2 is."""
    assert Cloud(region).ebs_and_ec2(1)[1].meta.endpoint_url == f"https://{host}"


@cache
def loader() -> Loader:
    """Botocore's models and endpoints, read once: reading them takes most of a client's time."""
    found: Loader = botocore.session.Session().get_component("data_loader")
    return found


@pytest.mark.parametrize("setting", ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "us-gov-west-1", "cn-north-1"])
def test_endpoints_are_those_of_botocore(region: str, setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A region, a partition or a kind of endpoint would be reached with botocore's data, and not with ours."""
    for value in ("false", "true"):
        monkeypatch.setenv(setting, value)
        ours = [client.meta.endpoint_url for client in Cloud(region).ebs_and_ec2(1)]
        session = botocore.session.Session()
        session.register_component("data_loader", loader())
        assert ours == [session.create_client(name, region_name=region).meta.endpoint_url for name in ("ebs", "ec2")]


@pytest.mark.parametrize("module", ["account", "image/ebs", "image/snapshots"])
def test_every_call_is_in_the_model(module: str) -> None:
    """The first upload that needs the missing call would end in a traceback."""
    tree = ast.parse((ADAPTERS / f"{module}.py").read_text())
    called = {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) in ("ec2", "self._ec2")
    }
    paged = {
        str(ast.literal_eval(node.args[0]))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("ec2.get_paginator", "self._ec2.get_paginator")
    }
    kept = {xform_name(name) for name in trim_models.KEPT}
    assert (called - {"get_paginator"}) | paged <= kept
    assert called, "the module calls EC2 by another name now: correct this test"


def test_credentials_and_models_of_ones_own_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who logs in with IAM Identity Center, or has models in AWS_DATA_PATH, could not upload."""
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    session = Cloud("eu-west-1")._small_session
    assert {*botocore.session.Session().get_available_services(), "mine"} <= {*session.get_available_services()}
    assert session.create_client("sso", region_name="eu-west-1").meta.service_model.service_name == "sso"
