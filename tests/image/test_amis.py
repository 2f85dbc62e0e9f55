"""The image of each release, by the tags of its AMI."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.stub import Stubber

from fleetswap.aws.image.amis import identities
from fleetswap.aws.session import Cloud


def ami(release: str | None, image: str | None) -> dict[str, Any]:
    tags = {"fleetswap:release": release, "fleetswap:image": image}
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items() if value is not None]}


def test_releases_have_images_on_all_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that is kept would not be found, or one of another stack's be taken for it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    ec2 = Cloud("us-east-1", "http://127.0.0.1:9").ebs_and_ec2(1)[1]
    asked = {
        "Owners": ["self"],
        "Filters": [
            {"Name": "tag:fleetswap:stack", "Values": ["fleetswap/prod"]},
            {"Name": "tag:fleetswap:service", "Values": ["web"]},
        ],
    }
    with Stubber(ec2) as stub:
        first = [ami("web-2", "sha256:b"), ami(None, "sha256:c"), {}]
        stub.add_response("describe_images", {"Images": first, "NextToken": "more"}, asked)
        second = [ami("web-1", "sha256:a"), ami("web-3", None)]
        stub.add_response("describe_images", {"Images": second}, {**asked, "NextToken": "more"})
        assert identities(ec2, "fleetswap/prod", "web") == {"web-1": "sha256:a", "web-2": "sha256:b"}
