"""How an AMI ends: deprecation, protection from deregistration, deregistration, the Recycle Bin, and who refers to it.

Decides what EC2 refuses. Sources: EC2 API reference (EnableImageDeprecation, EnableImageDeregistrationProtection,
DeregisterImage, DescribeImageReferences), EC2 user guide ("Protect an AMI from deregistration"), EBS user guide
("Recycle Bin").

What DeregisterImage does with DeleteAssociatedSnapshots where a Recycle Bin rule holds the AMI, no document says. Here
the AMI in the bin still uses its snapshots, so that they are skipped: whoever counts on their deletion finds out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError
from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import AmiBackend
from moto.ec2.responses.amis import AmisResponse
from moto.ec2.responses.launch_templates import LaunchTemplates

from localcloud.ec2.images import of_request
from localcloud.moto_state import Moto

if TYPE_CHECKING:
    from localcloud.patches import Patches

COOLDOWN = timedelta(hours=24)
"""For which a protection with cooldown lasts after it was disabled."""

MOST_YEARS = 10
"""Until an AMI is deprecated, at most."""

_deregister_image = AmiBackend.deregister_image
_describe_launch_template_versions = LaunchTemplates.describe_launch_template_versions


@dataclass
class RecycleBin:
    """What its rules hold: for how many seconds AMIs are kept (None: there is no rule), and those that are."""

    image_seconds: float | None = None
    images: dict[str, tuple[Moto, datetime]] = field(default_factory=dict)

    def held(self, now: datetime) -> dict[str, tuple[Moto, datetime]]:
        """Those whose time is not over; the others are gone for good."""
        self.images = {name: each for name, each in self.images.items() if each[1] > now}
        return self.images


def patch(patches: Patches) -> None:
    """Make the end of AMIs as in AWS."""
    patches.set(EC2Backend, "recycle_bin", RecycleBin())
    patches.methods(
        AmisResponse,
        deregister_image,
        describe_image_references,
        enable_image_deprecation,
        disable_image_deprecation,
        enable_image_deregistration_protection,
        disable_image_deregistration_protection,
        list_images_in_recycle_bin,
        list_snapshots_in_recycle_bin,
    )
    patches.methods(LaunchTemplates, describe_launch_template_versions)


def enable_image_deprecation(self: Moto) -> Moto:
    """AWS rounds the time to minutes, and refuses one that is past; moto answers 500."""
    image, given, now = of_request(self), self._get_param("DeprecateAt"), datetime.now(UTC)
    when = datetime.fromisoformat(given) if isinstance(given, str) else given
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when
    when = (when + timedelta(seconds=30)).replace(second=0, microsecond=0)
    if when < now or when > now.replace(year=now.year + MOST_YEARS, day=min(now.day, 28)) + timedelta(days=3):
        raise EC2ClientError(
            "InvalidParameterValue", f"Value ({given}) for parameter DeprecateAt is invalid. It must be in the future."
        )
    image.deprecation_time = when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return ActionResult({"Return": True})


def disable_image_deprecation(self: Moto) -> Moto:
    """AWS undoes a deprecation; moto answers 500."""
    of_request(self).deprecation_time = None
    return ActionResult({"Return": True})


def enable_image_deregistration_protection(self: Moto) -> Moto:
    """AWS protects an AMI from DeregisterImage; moto answers 500."""
    image = of_request(self)
    image.deregistration_protection = (
        "enabled-with-cooldown" if self._get_param("WithCooldown") else "enabled-without-cooldown"
    )
    return ActionResult({"Return": "true"})


def disable_image_deregistration_protection(self: Moto) -> Moto:
    """AWS keeps an AMI protected for 24 hours after a protection with cooldown is disabled; moto answers 500."""
    image = of_request(self)
    if image.deregistration_protection == "enabled-with-cooldown":
        image.protected_until = datetime.now(UTC) + COOLDOWN
    image.deregistration_protection = "disabled"
    return ActionResult({"Return": "true"})


def deregister_image(self: Moto) -> Moto:
    """AWS refuses a protected AMI, keeps one in the Recycle Bin, and deletes snapshots on request; moto does not."""
    image, ec2 = of_request(self), self.ec2_backend
    until = getattr(image, "protected_until", None)
    if image.deregistration_protection != "disabled" or (until is not None and until > datetime.now(UTC)):
        raise EC2ClientError("OperationNotPermitted", f"The image '{image.id}' is protected from deregistration.")
    _deregister_image(ec2, image.id)
    ec2.tags.pop(image.id, None)
    if ec2.recycle_bin.image_seconds is not None:
        leaves = datetime.now(UTC) + timedelta(seconds=ec2.recycle_bin.image_seconds)
        ec2.recycle_bin.images[image.id] = (image, leaves)
    answer: dict[str, Any] = {"Return": True}
    if self._get_param("DeleteAssociatedSnapshots"):
        answer["DeleteSnapshotResults"] = [_deleted(ec2, each) for each in image.snapshot_ids]
    return ActionResult(answer)


def _deleted(ec2: Moto, snapshot_id: str) -> dict[str, str]:
    try:
        ec2.delete_snapshot(snapshot_id)
    except EC2ClientError as error:
        in_use = error.code == "InvalidSnapshot.InUse"
        return {"SnapshotId": snapshot_id, "ReturnCode": "skipped" if in_use else "client-error"}
    return {"SnapshotId": snapshot_id, "ReturnCode": "success"}


def list_images_in_recycle_bin(self: Moto) -> Moto:
    """AWS tells the AMIs that a rule holds, without their tags; moto answers 500."""
    self.error_on_dryrun()
    wanted = self._get_param("ImageIds", [])
    rule = self.ec2_backend.recycle_bin
    found = [
        {
            "ImageId": name,
            "Name": image.name,
            **({"Description": image.description} if image.description else {}),
            "RecycleBinExitTime": leaves,
        }
        for name, (image, leaves) in rule.held(datetime.now(UTC)).items()
        if not wanted or name in wanted
    ]
    return ActionResult({"Images": found})


def list_snapshots_in_recycle_bin(self: Moto) -> Moto:
    """There is no rule for snapshots here, so it is empty; moto answers 500."""
    self.error_on_dryrun()
    return ActionResult({"Snapshots": []})


def describe_image_references(self: Moto) -> Moto:
    """AWS finds the instances and launch templates of the account that refer to AMIs; moto answers 500.

    Nothing here keeps AMIs in parameters of SSM or in recipes of Image Builder.
    """
    self.error_on_dryrun()
    images, types = self._get_param("ImageIds", []), self._get_param("ResourceTypes", [])
    everything = bool(self._get_param("IncludeAllResourceTypes"))
    if not images or not (everything or types):
        raise EC2ClientError("MissingParameter", "ImageIds and one of IncludeAllResourceTypes and ResourceTypes")
    for name in images:
        if not name.startswith("ami-"):
            raise InvalidAMIIdError([name])
    asked = {each["ResourceType"]: each for each in types}
    found: list[dict[str, str]] = []
    if everything or "ec2:Instance" in asked:
        states = _option(asked.get("ec2:Instance", {}), "state-name")
        found += [
            _reference(self, each.image_id, "ec2:Instance", f"instance/{each.id}")
            for reservation in self.ec2_backend.all_reservations()
            for each in reservation.instances
            if each.image_id in images and (not states or each.state in states)
        ]
    if everything or "ec2:LaunchTemplate" in asked:
        depth = int(next(iter(_option(asked.get("ec2:LaunchTemplate", {}), "version-depth")), 10))
        for template in self.ec2_backend.launch_templates.values():
            used = {version.data.get("ImageId") for version in template.versions[-depth:]}
            found += [
                _reference(self, name, "ec2:LaunchTemplate", f"launch-template/{template.id}")
                for name in images
                if name in used
            ]
    return ActionResult({"ImageReferences": found})


def _option(asked: dict[str, Any], name: str) -> list[str]:
    options = asked.get("ResourceTypeOptions", [])
    return next((each["OptionValues"] for each in options if each["OptionName"] == name), [])


def _reference(self: Moto, image: str, kind: str, resource: str) -> dict[str, str]:
    where = f"arn:{self.partition}:ec2:{self.region}:{self.current_account}"
    return {"ImageId": image, "ResourceType": kind, "Arn": f"{where}:{resource}"}


def describe_launch_template_versions(self: Moto) -> Moto:
    """AWS finds versions by their AMI; moto knows no filter."""
    answer = _describe_launch_template_versions(self)
    wanted = self._filters_from_querystring().get("image-id")
    if wanted is not None:
        found = answer.result["LaunchTemplateVersions"]
        answer.result["LaunchTemplateVersions"] = [
            each for each in found if each["LaunchTemplateData"].get("ImageId") in wanted
        ]
    return answer
