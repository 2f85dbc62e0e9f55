"""AMIs that remember what they were registered with, above all their snapshot.

Decides which registrations EC2 refuses and what a volume or a machine made from an AMI starts from. Moto keeps an AMI's
name and description only and invents the rest.

Defaults and limits come from the EC2 API reference: RegisterImage, EbsBlockDevice, EnableImageDeregistrationProtection.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError
from moto.ec2.models.amis import Ami, AmiBackend
from moto.ec2.responses.amis import AmisResponse
from moto.ec2.utils import random_ami_id

from localcloud.ec2 import snapshots
from localcloud.moto_state import Moto

if TYPE_CHECKING:
    from localcloud.patches import Patches

_describe_images = AmiBackend.describe_images
_describe_image_attribute = AmisResponse.describe_image_attribute
_modify_image_attribute = AmisResponse.modify_image_attribute

_NAME = re.compile(r"[A-Za-z0-9()\[\] ./\-'@_]{3,128}")
_MEMBERS = (
    "Name",
    "Description",
    "ImageLocation",
    "Architecture",
    "VirtualizationType",
    "KernelId",
    "RamdiskId",
    "RootDeviceName",
    "EnaSupport",
    "SriovNetSupport",
    "BootMode",
    "TpmSupport",
    "ImdsSupport",
    "BlockDeviceMappings",
)
_CHOICES = {
    "Architecture": {"i386", "x86_64", "arm64", "x86_64_mac", "arm64_mac"},
    "BootMode": {"legacy-bios", "uefi", "uefi-preferred"},
    "ImdsSupport": {"v2.0"},
    "SriovNetSupport": {"simple"},
    "TpmSupport": {"v2.0"},
    "VirtualizationType": {"hvm", "paravirtual"},
}


class RegisteredImage(Ami):  # type: ignore[misc] # moto ships no types
    """An AMI of this account. Its attributes are named so that moto's serializer finds them."""

    block_device_mappings: list[dict[str, Any]]  # moto computes them; ours are given

    def __init__(self, ec2: Moto, asked: dict[str, Any]) -> None:
        # Moto's constructor would invent a volume and a snapshot, so it is not called.
        self.ec2_backend = ec2
        self.id = random_ami_id()
        self.name = asked["Name"]
        self.description = asked.get("Description")
        self.owner_id = ec2.account_id
        self.owner_alias = None
        self.image_location = asked.get("ImageLocation") or f"{ec2.account_id}/{self.name}"
        self.image_type = "machine"
        self.state = "available"
        self.creation_date = utcnow()
        self.architecture = asked.get("Architecture", "i386")
        self.virtualization_type = asked.get("VirtualizationType", "paravirtual")
        self.hypervisor = "xen"
        self.platform = None
        self.platform_details = "Linux/UNIX"
        self.usage_operation = "RunInstances"
        self.kernel_id = asked.get("KernelId")
        self.ramdisk_id = asked.get("RamdiskId")
        self.root_device_name = asked["RootDeviceName"]
        self.root_device_type = "ebs"
        self.ena_support = asked.get("EnaSupport", False)
        self.sriov_net_support = asked.get("SriovNetSupport")
        self.sriov = self.sriov_net_support
        self.boot_mode = asked.get("BootMode")
        self.tpm_support = asked.get("TpmSupport")
        self.imds_support = asked.get("ImdsSupport")
        self.product_codes: set[str] = set()
        self.instance_id = None
        self.launch_permissions: list[dict[str, str]] = []
        self.deprecation_time: str | None = None
        self.deregistration_protection = "disabled"
        self._mappings = [_mapping(ec2, given) for given in asked["BlockDeviceMappings"]]

    @property  # type: ignore[no-redef]
    def block_device_mappings(self) -> list[dict[str, Any]]:
        """The mappings as registered, filled up from the snapshots."""
        return self._mappings

    @property
    def snapshot_ids(self) -> list[str]:
        """The snapshots that its devices are made from."""
        return [each["Ebs"]["SnapshotId"] for each in self._mappings if each["Ebs"].get("SnapshotId")]

    def get_filter_value(self, filter_name: str, method_name: str | None = None) -> Moto:
        """AWS finds AMIs by their snapshots; moto does not."""
        if filter_name == "block-device-mapping.snapshot-id":
            return self.snapshot_ids
        return super().get_filter_value(filter_name, method_name)

    @property
    def public(self) -> bool:
        """Whether everybody may launch it."""
        return bool(self.is_public)


def _mapping(ec2: Moto, given: dict[str, Any]) -> dict[str, Any]:
    if "Ebs" not in given:
        return {key: given[key] for key in ("DeviceName", "VirtualName", "NoDevice") if key in given} | {"Ebs": {}}
    ebs = dict(given["Ebs"])
    snapshot_id = ebs.get("SnapshotId")
    if snapshot_id is None:
        if "VolumeSize" not in ebs:
            raise EC2ClientError("MissingParameter", "The request must contain the parameter size or snapshotId")
        ebs["VolumeSize"] = int(ebs["VolumeSize"])
        ebs["Encrypted"] = bool(ebs.get("Encrypted", False))
    else:
        if "Encrypted" in ebs:
            raise EC2ClientError(
                "InvalidBlockDeviceMapping", f"Encrypted must be omitted for a mapping of the snapshot '{snapshot_id}'"
            )
        ebs["Encrypted"] = snapshots.of_volume(ec2, ebs).encrypted
    ebs.setdefault("VolumeType", "standard")
    ebs.setdefault("DeleteOnTermination", True)
    return {"DeviceName": given["DeviceName"], "Ebs": ebs}


def patch(patches: Patches) -> None:
    """Make EC2's image calls work on registered images."""
    patches.methods(AmiBackend, _load_amis, describe_images)
    patches.methods(
        AmisResponse,
        register_image,
        describe_image_attribute,
        modify_image_attribute,
    )


def _load_amis(self: Moto) -> None:
    """A new account owns no AMIs; moto loads hundreds from a file, which takes seconds, and calls them Amazon's."""
    self.amis.clear()


def describe_images(
    self: Moto,
    ami_ids: list[str] | None = None,
    filters: dict[str, Any] | None = None,
    exec_users: list[str] | None = None,
    owners: list[str] | None = None,
) -> list[Any]:
    """AWS refuses an id that it does not know; moto answers with the ones that it does know."""
    unknown = [ami_id for ami_id in ami_ids or [] if ami_id.startswith("ami-") and ami_id not in self.amis]
    if unknown:
        raise InvalidAMIIdError(unknown)
    images: list[Any] = _describe_images(self, ami_ids, filters, exec_users, owners)
    return images


def register_image(self: Moto) -> Moto:
    """AWS remembers everything and checks the snapshot; moto keeps name and description and invents a snapshot."""
    asked = {name: value for name in _MEMBERS if (value := self._get_param(name)) is not None}
    self.error_on_dryrun()
    _check(self.ec2_backend, asked)
    image = RegisteredImage(self.ec2_backend, asked)
    self.ec2_backend.amis[image.id] = image
    image.add_tags(self._parse_tag_specification("image").get("image", {}))
    return ActionResult({"ImageId": image.id})


def _check(ec2: Moto, asked: dict[str, Any]) -> None:
    name = asked.get("Name", "")
    if not _NAME.fullmatch(name):
        raise EC2ClientError("InvalidAMIName.Malformed", f"The AMI name '{name}' is not 3 to 128 allowed characters.")
    for image in ec2.amis.values():
        if image.name == name and image.owner_id == ec2.account_id:
            raise EC2ClientError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {image.id}")
    for key, choices in _CHOICES.items():
        if key in asked and asked[key] not in choices:
            raise EC2ClientError("InvalidParameterValue", f"Value ({asked[key]}) for parameter {key} is invalid.")
    if asked.get("Architecture") == "arm64" and asked.get("BootMode") == "legacy-bios":
        raise EC2ClientError("InvalidParameterCombination", "BootMode legacy-bios is not supported for arm64.")
    # Not with uefi-preferred either, as was tried (flatcar/mantle pull request 582).
    if asked.get("TpmSupport") and asked.get("BootMode") != "uefi":
        raise EC2ClientError("InvalidParameterCombination", "TpmSupport needs BootMode uefi.")
    if asked.get("BootMode", "").startswith("uefi") and asked.get("VirtualizationType") != "hvm":
        raise EC2ClientError("InvalidParameterCombination", "BootMode uefi needs VirtualizationType hvm.")
    _check_devices(asked.get("RootDeviceName"), asked.get("BlockDeviceMappings", []))


def _check_devices(root: str | None, mappings: list[dict[str, Any]]) -> None:
    if root is None:
        raise EC2ClientError("MissingParameter", "The request must contain the parameter rootDeviceName")
    devices = [mapping.get("DeviceName") for mapping in mappings]
    if len(set(devices)) < len(devices) or None in devices:
        raise EC2ClientError("InvalidBlockDeviceMapping", "Every mapping needs a device name of its own.")
    if not any(mapping["DeviceName"] == root and "SnapshotId" in mapping.get("Ebs", {}) for mapping in mappings):
        raise EC2ClientError("InvalidBlockDeviceMapping", f"No snapshot is mapped to the root device {root}")


def of_request(response: Moto) -> Moto:
    """The AMI that a request names. Raises what EC2 refuses one with that it does not know."""
    image_id = response._get_param("ImageId")
    response.error_on_dryrun()
    if image_id in response.ec2_backend.deleted_amis and image_id not in response.ec2_backend.amis:
        raise EC2ClientError("InvalidAMIID.Unavailable", f"The image ID '{image_id}' is no longer available")
    if image_id not in response.ec2_backend.amis:
        raise InvalidAMIIdError([image_id])
    return response.ec2_backend.amis[image_id]


def describe_image_attribute(self: Moto) -> Moto:
    """AWS answers InvalidAMIID.NotFound for an unknown AMI, and every attribute it documents; moto a 500 for some."""
    image, attribute = of_request(self), self._get_param("Attribute")
    found = {
        "bootMode": ("BootMode", image.boot_mode),
        "tpmSupport": ("TpmSupport", image.tpm_support),
        "imdsSupport": ("ImdsSupport", image.imds_support),
        "sriovNetSupport": ("SriovNetSupport", image.sriov_net_support),
        "description": ("Description", image.description),
        "kernel": ("KernelId", image.kernel_id),
        "ramdisk": ("RamdiskId", image.ramdisk_id),
    }
    if attribute in found:
        name, value = found[attribute]
        return ActionResult({"ImageId": image.id, name: {"Value": value} if value is not None else {}})
    return _describe_image_attribute(self)


def modify_image_attribute(self: Moto) -> Moto:
    """AWS changes descriptions, too, and shares no AMI of a snapshot that the account's AWS managed key encrypts."""
    image = of_request(self)
    if description := self._get_param("Description"):
        image.description = description.get("Value") if isinstance(description, dict) else description
    shares = (self._get_param("LaunchPermission") or {}).get("Add") or self._get_param("OperationType") == "add"
    of_image = [self.ec2_backend.snapshots.get(each["Ebs"].get("SnapshotId")) for each in image.block_device_mappings]
    if shares and any(snapshots.has_managed_key(each) for each in of_image if each is not None):
        raise EC2ClientError(  # as AWS says it (DataDog/stratus-red-team issue 109)
            "InvalidParameter",
            "Snapshots encrypted with the AWS Managed CMK can't be shared.  Specify another snapshot.",
        )
    return _modify_image_attribute(self)
