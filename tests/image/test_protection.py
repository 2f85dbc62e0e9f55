"""The protection of an AMI, against the local cloud."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetswap_pulumi.image_protection import SCHEMA, ImageProtectionProvider
from tests.fakes.localcloud import serve
from tests.localcloud.clients import Clients, refusal


@pytest.fixture
def clients(_local_cloud: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    with serve(tmp_path / "cloud") as served, Clients(served.endpoint) as made:
        yield made


def test_an_ami_is_protected_until_its_release_is_deleted(clients: Clients) -> None:
    """The way back could be deregistered by anybody; or the engine could never delete a release."""
    provider, image = ImageProtectionProvider(), clients.image()
    props: dict[str, Any] = {
        "schema_version": SCHEMA,
        "image": image,
        "region": "us-east-1",
        "endpoint": clients._endpoint,
    }
    assert provider.check({}, props).failures == []
    made = provider.create(props)
    provider.create(props)  # a lost answer
    assert refusal(lambda: clients.ec2.deregister_image(ImageId=image)) == "OperationNotPermitted"
    assert provider.read(made.id, props).id == made.id
    assert not provider.diff(made.id, props, props).changes
    assert provider.diff(made.id, props, {**props, "image": "ami-2"}).replaces == ["image"]
    assert provider.update(made.id, props, props).outs == props
    provider.delete(made.id, props)
    assert provider.read(made.id, props).id == "", "somebody lifted it"
    clients.ec2.deregister_image(ImageId=image)
    provider.delete(made.id, props)  # a lost answer
    assert provider.read(made.id, props).id == ""
