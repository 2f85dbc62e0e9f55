"""Where the credentials lead to, asked of the local cloud as of AWS."""

from __future__ import annotations

import pytest
from botocore.stub import Stubber

from fleetswap.aws.account import Account
from fleetswap.aws.session import Cloud
from fleetswap.domain.errors import CloudError
from fleetswap.domain.release.instance_types import InstanceType
from localcloud.server import LocalCloud


def test_the_account_and_its_zones(cloud: LocalCloud) -> None:
    """No stack could be deployed, or a fleet in one account be taken for one in another."""
    account = Account(Cloud("us-east-1", cloud.endpoint))
    assert account.id() == "123456789012"
    assert account.zones()[:2] == ("a", "b")
    assert account.offered(["c7i.large", "c7z.large"], ["a", "b"]) == {"c7i.large"}


def test_what_instance_types_can_launch(cloud: LocalCloud) -> None:
    """An AMI would be launched on machines that cannot boot it; one unknown type would keep all from being judged."""
    asked = ["c7i.large", "c7g.large", "m4.large", "c7z.large"]
    found = {each.name: each for each in Account(Cloud("us-east-1", cloud.endpoint)).instance_types(asked)}
    x86, both = frozenset({"x86_64"}), frozenset({"legacy-bios", "uefi"})
    assert found == {
        "c7i.large": InstanceType("c7i.large", x86, both, cores=1, threads=(1, 2)),
        "c7g.large": InstanceType("c7g.large", frozenset({"arm64"}), frozenset({"uefi"}), cores=2, threads=(1,)),
        "m4.large": InstanceType(
            "m4.large", x86, frozenset({"legacy-bios"}), needs_ena=False, nitro_tpm=False, cores=1, threads=(1, 2)
        ),
    }


def test_only_whole_zones_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subnet would be made in a Local Zone, where no Application Load Balancer of the region can be."""
    cloud = Cloud("us-west-1")
    ec2 = cloud.small_ec2()
    with Stubber(ec2) as stub:
        zones = [{"ZoneName": "us-west-1c"}, {"ZoneName": "us-west-1a"}]
        filters = [
            {"Name": "zone-type", "Values": ["availability-zone"]},
            {"Name": "state", "Values": ["available"]},
        ]
        stub.add_response("describe_availability_zones", {"AvailabilityZones": zones}, {"Filters": filters})
        monkeypatch.setattr(cloud, "small_ec2", lambda: ec2)
        assert Account(cloud).zones() == ("a", "c")


def test_a_denied_look_names_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has too few rights would see a traceback before the first deploy."""
    cloud = Cloud("us-west-1")
    ec2 = cloud.small_ec2()
    with Stubber(ec2) as stub:
        stub.add_client_error("describe_availability_zones", "UnauthorizedOperation", "no", 403)
        monkeypatch.setattr(cloud, "small_ec2", lambda: ec2)
        with pytest.raises(CloudError, match="on us-west-1: access denied: allow ec2:DescribeAvailabilityZones"):
            Account(cloud).zones()
