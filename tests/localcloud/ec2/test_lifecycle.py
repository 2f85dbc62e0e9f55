"""How AMIs end: as EC2 refuses, rounds and remembers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.localcloud.clients import Clients, refusal


def shown(clients: Clients, image_id: str) -> str | None:
    return clients.ec2.describe_images(ImageIds=[image_id])["Images"][0].get("DeprecationTime")


def test_a_deprecation_is_rounded_and_never_past(clients: Clients) -> None:
    """A program that asks for seconds would see no phantom change here; one that asks for the past, no error."""
    image_id = clients.image()
    clients.ec2.enable_image_deprecation(ImageId=image_id, DeprecateAt=datetime(2030, 1, 1, 12, 0, 31, tzinfo=UTC))
    assert shown(clients, image_id) == "2030-01-01T12:01:00.000Z"
    for wrong in (datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=3700)):
        call = lambda when=wrong: clients.ec2.enable_image_deprecation(ImageId=image_id, DeprecateAt=when)  # noqa: E731
        assert refusal(call) == "InvalidParameterValue"


def test_a_protection_with_cooldown_lasts(clients: Clients) -> None:
    """A deploy that deletes such an AMI would work here, and fail in AWS for a day."""
    image_id = clients.image()
    clients.ec2.enable_image_deregistration_protection(ImageId=image_id, WithCooldown=True)
    clients.ec2.disable_image_deregistration_protection(ImageId=image_id)
    assert refusal(lambda: clients.ec2.deregister_image(ImageId=image_id)) == "OperationNotPermitted"


def test_snapshots_go_with_their_ami_unless_another_has_them(clients: Clients) -> None:
    """The snapshot of another AMI would be deleted, or an orphan stay that AWS would have deleted."""
    snapshot_id = clients.snapshot()
    one, other = clients.image(snapshot_id=snapshot_id, name="one"), clients.image(snapshot_id=snapshot_id, name="two")
    answer = clients.ec2.deregister_image(ImageId=one, DeleteAssociatedSnapshots=True)
    assert answer["DeleteSnapshotResults"] == [{"SnapshotId": snapshot_id, "ReturnCode": "skipped"}]
    answer = clients.ec2.deregister_image(ImageId=other, DeleteAssociatedSnapshots=True)
    assert answer["DeleteSnapshotResults"] == [{"SnapshotId": snapshot_id, "ReturnCode": "success"}]
    assert refusal(lambda: clients.ec2.describe_snapshots(SnapshotIds=[snapshot_id])) == "InvalidSnapshot.NotFound"


def test_amis_are_found_by_their_snapshot(clients: Clients) -> None:
    """Who looks for what uses a snapshot would find nothing, and delete it."""
    snapshot_id = clients.snapshot()
    image_id = clients.image(snapshot_id=snapshot_id)
    clients.image(snapshot_id=clients.snapshot(), name="other")
    found = clients.ec2.describe_images(
        Owners=["self"], Filters=[{"Name": "block-device-mapping.snapshot-id", "Values": [snapshot_id]}]
    )
    assert [each["ImageId"] for each in found["Images"]] == [image_id]


def test_references_to_an_ami_are_found(clients: Clients) -> None:
    """What a launch template still needs would seem to be needed by nothing."""
    image_id = clients.image()
    template = clients.ec2.create_launch_template(
        LaunchTemplateName="web", LaunchTemplateData={"ImageId": image_id, "InstanceType": "c7i.large"}
    )["LaunchTemplate"]["LaunchTemplateId"]
    found = clients.ec2.describe_image_references(ImageIds=[image_id], IncludeAllResourceTypes=True)
    assert [(each["ResourceType"], each["Arn"].rpartition("/")[2]) for each in found["ImageReferences"]] == [
        ("ec2:LaunchTemplate", template)
    ]
    assert refusal(lambda: clients.ec2.describe_image_references(ImageIds=[image_id])) == "MissingParameter"
    for name, count in ((image_id, 1), ("ami-0a1b2c3d", 0)):
        versions = clients.ec2.describe_launch_template_versions(
            Versions=["$Latest"], Filters=[{"Name": "image-id", "Values": [name]}]
        )
        assert len(versions["LaunchTemplateVersions"]) == count
    clients.ec2.delete_launch_template(LaunchTemplateId=template)
    again = clients.ec2.describe_image_references(ImageIds=[image_id], IncludeAllResourceTypes=True)
    assert again["ImageReferences"] == []
