"""RunInstances as strict as EC2: what an instance is made of, and what is refused before one exists.

Decides the volumes, the metadata options and the rest that an instance takes from its AMI and its launch template.
Never starts a machine: whatever moto shows as running is the machines' to start. As `rules` says, a launch is refused,
or its instance ends before it runs.

Moto's `run_instances` checks next to nothing, takes a few members of the launch template only, and leaves an instance
behind when it fails half-way. AWS checks all of it first. Sources: EC2 API reference (RunInstances,
RequestLaunchTemplateData, InstanceMetadataOptionsRequest), EC2 user guide ("Configure the instance metadata options").
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError, InvalidLaunchTemplateIdNotFound
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import InstanceBackend
from moto.ec2.models.launch_templates import LaunchTemplate, LaunchTemplateBackend
from moto.ec2.responses.launch_templates import LaunchTemplates
from moto.ec2.utils import convert_tag_spec, filter_iam_instance_profiles

from localcloud.authorization.services import auto_scaling_may_launch_with
from localcloud.ec2 import hardware, snapshots
from localcloud.faults import rules
from localcloud.moto_state import backend

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

NO_CAPACITY = "InsufficientInstanceCapacity"
DYING_SECONDS = 1.0  # of an instance that ends before it runs; some seconds in AWS
DEATHS = {
    "kms-key": ("Client.InvalidKMSKey.InvalidState", "The KMS key provided is in an incorrect state"),
    "volume-limit": ("Client.VolumeLimitExceeded", "Volume limit exceeded"),
    "key-denied": ("Client.InternalError", "Client error on launch"),
    "spot-taken": ("Server.SpotInstanceTermination", "Spot instance termination"),
}
"""State reasons of instances that end before they run, by fault, as scaling activities quote them (EKS workshop,
"InvalidKMSKey.InvalidState"; API reference, StateReason; EC2 user guide, "Troubleshoot instance launch issues", of a
key that may not be used)."""

_FIRMWARE = {
    "uefi": ("UEFI", " Only instance types built on the Nitro System support UEFI."),
    "legacy-bios": ("Legacy BIOS", ""),
}
"""A boot mode that only some instance types have, as a refusal calls it; the words for UEFI are EC2's (cloudgoat issue
247), the others are made like them."""

_AUTO_SCALED = "aws:autoscaling:groupName"  # the tag that Auto Scaling gives its instances

_DIES = "dies"  # an attribute of moto's instance that is ours: when, in monotonic seconds, and the state reason

_run_instances = InstanceBackend.run_instances
_create_template = LaunchTemplates.create_launch_template
_create_version = LaunchTemplates.create_launch_template_version
_describe_templates = LaunchTemplateBackend.describe_launch_templates

EMULATED = frozenset({"i386", "x86_64", "arm64"})
"""Architectures of the machines that `localcloud.compute` starts."""

HOPS = range(1, 65)  # API reference: LaunchTemplateInstanceMetadataOptionsRequest
_NAME = re.compile(r"[a-zA-Z0-9().\-/_]{3,128}")  # API reference: CreateLaunchTemplate
OWN = "launch-template"  # the type of resource of a template's own tags


def patch(patches: Patches) -> None:
    """Make RunInstances strict, whoever calls it."""
    patches.methods(InstanceBackend, run_instances)
    patches.methods(LaunchTemplates, create_launch_template, create_launch_template_version)
    patches.methods(LaunchTemplateBackend, describe_launch_templates)
    patches.set(LaunchTemplate, "tags", property(lambda self: self.get_tags(), lambda _self, _value: None))


def create_launch_template(self: Moto) -> Moto:
    """AWS keeps the template's own tags with the template; moto also in its data, which nobody asked for."""
    name = self._get_param("LaunchTemplateName") or ""
    if not _NAME.fullmatch(name):
        raise EC2ClientError(
            "InvalidLaunchTemplateName.MalformedException",
            f"The launch template name '{name}' is not 3 to 128 letters, numbers and ( ) . - / _.",
        )
    _check_hops(self)
    asked = self._get_param("LaunchTemplateData.TagSpecifications", [])
    if any(item.get("ResourceType") == OWN for item in asked):
        raise EC2ClientError(
            "InvalidParameterValue", f"'{OWN}' is not a valid taggable resource type for this operation."
        )
    answer = _create_template(self)
    template = self.ec2_backend.get_launch_template(answer.result["LaunchTemplate"]["LaunchTemplateId"])
    data = template.versions[0].data
    kept = [item for item in data.get("TagSpecifications", []) if item["ResourceType"] != OWN]
    data.pop("TagSpecifications", None)
    if kept:
        data["TagSpecifications"] = kept
    return answer


def _check_hops(response: Moto) -> None:
    hops = response._get_param("LaunchTemplateData.MetadataOptions.HttpPutResponseHopLimit")
    if hops is not None and int(hops) not in HOPS:
        raise EC2ClientError(
            "InvalidParameterValue", f"Value ({hops}) for parameter HttpPutResponseHopLimit is invalid: 1 to 64."
        )


def describe_launch_templates(
    self: Moto, template_names: Moto = None, template_ids: list[str] | None = None, filters: Moto = None
) -> Moto:
    """AWS refuses an id that it does not know; moto answers with the ones that it does know."""
    for template_id in template_ids or []:
        if template_id not in self.launch_templates:
            raise InvalidLaunchTemplateIdNotFound(template_id)
    return _describe_templates(self, template_names, template_ids, filters)


def create_launch_template_version(self: Moto) -> Moto:
    """AWS takes from the source version what the request does not name; moto ignores the source version."""
    _check_hops(self)
    source = self._get_param("SourceVersion")
    if source is None:
        return _create_version(self)
    name, template_id = self._get_param("LaunchTemplateName"), self._get_param("LaunchTemplateId")
    find = self.ec2_backend.get_launch_template_by_name if name else self.ec2_backend.get_launch_template
    template = find(name or template_id)
    inherited = template.get_version(source).data
    answer = _create_version(self)
    version = template.versions[-1]
    version.data = {**inherited, **version.data}
    version.instance_tags = convert_tag_spec(version.data.get("TagSpecifications", [])).get("instance", {})
    answer.result["LaunchTemplateVersion"]["LaunchTemplateData"] = version.data
    return answer


def run_instances(
    self: Moto,
    image_id: str | None,
    count: int,
    user_data: Moto,
    security_group_names: list[str],
    **kwargs: Any,  # noqa: ANN401 - moto's own arguments
) -> Moto:
    """AWS checks everything before it launches; moto launches, then fails and leaves an orphan."""
    template = self._get_template_from_args(kwargs["launch_template"]).data if kwargs.get("launch_template") else {}
    image = image_of(self, image_id or template.get("ImageId"))
    if kwargs.get("is_instance_type_default") and template.get("InstanceType"):
        kwargs |= {"instance_type": template["InstanceType"], "is_instance_type_default": False}
    check_type(kwargs["instance_type"], image)
    hardware.check_cpu_options(kwargs["instance_type"], template.get("CpuOptions"))
    hardware.check_placement(template.get("Placement", {}))
    _check_emulator(image)
    profile = _profile(self, kwargs, template)
    spot = (
        template.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
        or kwargs.get("instance_market_options") == "spot"
    )
    asked = _asked(self, kwargs, spot=spot)
    _check_capacity(self, asked)
    kwargs["block_device_mappings"] = devices(
        self, image, template.get("BlockDeviceMappings", []), kwargs.get("block_device_mappings", [])
    )
    kwargs["metadata_options"] = _metadata_options(image, template, kwargs.get("metadata_options") or {})
    _interfaces(kwargs, template)
    tags = kwargs.get("tags") or {}
    volume_tags = convert_tag_spec(template.get("TagSpecifications", [])).get("volume", {})
    kwargs["tags"] = {**tags, "volume": {**volume_tags, **tags.get("volume", {})}}
    if spot:
        kwargs["instance_market_options"] = "spot"
    if template.get("Monitoring", {}).get("Enabled"):
        kwargs["monitoring_state"] = "enabled"
    before = set(self.reservations)
    try:
        reservation = _run_instances(self, image.id, count, user_data, security_group_names, **kwargs)
        for instance in reservation.instances if profile is not None else []:
            self.associate_iam_instance_profile(instance_id=instance.id, iam_instance_profile_arn=profile.arn)
    except Exception:
        for new in set(self.reservations) - before:
            for instance in self.reservations[new].instances:
                instance.terminate()
            del self.reservations[new]
        raise
    if death := self.faults.launch(rules.DYING, *asked) or _denied(self, kwargs):
        for instance in reservation.instances:
            instance._state.name, instance._state.code = "pending", 0
            instance.__dict__[_DIES] = (time.monotonic() + DYING_SECONDS, *DEATHS[death])
    return reservation


def tick(ec2: Moto, ended: Callable[[list[str]], object]) -> None:
    """End the instances that do not get so far as to run; `ended` is told. With `LOCK` held."""
    pending = [
        instance
        for reservation in ec2.reservations.values()
        for instance in reservation.instances
        if instance.state == "pending" and _DIES in instance.__dict__
    ]
    for instance in pending:
        at, code, message = instance.__dict__[_DIES]
        if at <= time.monotonic():
            ec2.terminate_instances([instance.id])
            instance.state_reason.code, instance.state_reason.message = code, f"{code}: {message}"
            ended([instance.id])


def image_of(ec2: Moto, image_id: str | None) -> Moto:
    """The AMI that a launch names; raises what EC2 refuses it with."""
    if not image_id:
        raise EC2ClientError("MissingParameter", "The request must contain the parameter ImageId")
    image = ec2.amis.get(image_id)
    if image is None:
        raise InvalidAMIIdError([image_id])
    if image.state != "available":
        raise EC2ClientError("InvalidAMIID.Unavailable", f"The image ID '{image_id}' is {image.state}")
    return image


def check_type(name: str, image: Moto) -> None:
    """Refuse an instance type that cannot run an AMI."""
    kind = INSTANCE_TYPES.get(name)
    if kind is None:
        raise EC2ClientError("InvalidParameterValue", f"Invalid value '{name}' for InstanceType.")
    architectures = kind["ProcessorInfo"]["SupportedArchitectures"]
    if image.architecture not in architectures:
        raise EC2ClientError(
            "InvalidParameterValue",
            f"The architecture '{','.join(architectures)}' of the specified instance type does not match the"
            f" architecture '{image.architecture}' of the specified AMI. Specify an instance type and an AMI that have"
            " matching architectures, and try again. You can use 'describe-instance-types' or 'describe-images' to"
            " discover the architecture of the instance type or AMI.",
        )
    if kind["NetworkInfo"].get("EnaSupport") == "required" and not getattr(image, "ena_support", False):
        raise EC2ClientError(
            "InvalidParameterCombination",
            f"Enhanced networking with the Elastic Network Adapter (ENA) is required for the '{name}' instance type."
            " Ensure that you are using an AMI that is enabled for ENA.",
        )
    if image.boot_mode in _FIRMWARE and image.boot_mode not in kind["SupportedBootModes"]:
        what, more = _FIRMWARE[image.boot_mode]
        raise EC2ClientError(
            "InvalidParameterValue",
            f"The {name} instance type does not support an AMI with a boot mode of {what}.{more} Specify an instance"
            f" type that supports {what}, and try again.",
        )
    if getattr(image, "tpm_support", None) and kind.get("NitroTpmSupport") != "supported":
        raise EC2ClientError(
            "InvalidParameterValue", f"The {name} instance type does not support an AMI with NitroTPM enabled."
        )


def _check_emulator(image: Moto) -> None:
    """Fail where AWS would not, rather than show an instance that never boots."""
    if image.architecture not in EMULATED:
        raise EC2ClientError(
            "Unsupported",
            f"This local cloud cannot launch {image.id}: its architecture is {image.architecture}, and machines here"
            f" are {' or '.join(sorted(EMULATED))}. Deploy it to AWS.",
        )
    if image.architecture == "arm64" and getattr(image, "tpm_support", None):
        raise EC2ClientError(
            "Unsupported",
            f"This local cloud cannot launch {image.id}: its machines for arm64 have no TPM. Deploy it to AWS.",
        )


def _asked(ec2: Moto, kwargs: dict[str, Any], *, spot: bool) -> tuple[str, str, str]:
    """Instance type, lifecycle and zone of a launch."""
    subnet = kwargs.get("subnet_id")
    placed = ec2.get_subnet(subnet).availability_zone if subnet else kwargs.get("placement")
    return kwargs["instance_type"], "spot" if spot else "on-demand", placed or f"{ec2.region_name}a"


def _check_capacity(ec2: Moto, asked: tuple[str, str, str]) -> None:
    """Fail as `rules` says that EC2 has no capacity, or the account no more.

    Words: user guide, "Insufficient instance capacity", and what RunInstances answered (kubernetes/kops pull request
    15778, meadowrun issue 84).
    """
    kind, lifecycle, zone = asked
    fault = ec2.faults.launch(rules.UNLAUNCHED, *asked)
    if fault == "vcpu-limit":
        raise EC2ClientError(
            "VcpuLimitExceeded",
            "You have requested more vCPU capacity than your current vCPU limit of 32 allows for the instance bucket"
            " that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request"
            " to request an adjustment to this limit.",
        )
    if fault == "spot-limit":
        raise EC2ClientError("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
    if fault == "capacity":
        message = (
            "There is no Spot capacity available that matches your request."
            if lifecycle == "spot"
            else f"We currently do not have sufficient {kind} capacity in the Availability Zone you requested ({zone})."
            " Our system will be working on provisioning additional capacity."
        )
        raise EC2ClientError(NO_CAPACITY, message)


def _profile(ec2: Moto, kwargs: dict[str, Any], template: dict[str, Any]) -> Moto:
    """The launch template's instance profile, checked; None if there is none or the request names its own."""
    asked = template.get("IamInstanceProfile", {})
    if not asked or kwargs.get("iam_instance_profile_name") or kwargs.get("iam_instance_profile_arn"):
        return None
    return filter_iam_instance_profiles(
        ec2.account_id,
        partition=ec2.partition,
        iam_instance_profile_arn=asked.get("Arn"),
        iam_instance_profile_name=asked.get("Name"),
    )


def devices(
    ec2: Moto, image: Moto, template: list[dict[str, Any]], request: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Every volume: the AMI's mappings, each changed by the launch template's, then by the request's."""
    merged: dict[str, dict[str, Any]] = {}
    removed: set[str] = set()
    for mapping in (*image.block_device_mappings, *template, *request):
        name = mapping["DeviceName"]
        if mapping.get("NoDevice") is not None:
            removed.add(name)
        merged.setdefault(name, {}).update(mapping.get("Ebs", {}))
    for name, ebs in merged.items():
        if name not in removed:
            _check_device(ec2, name, ebs)
    return [{"DeviceName": name, "Ebs": ebs} for name, ebs in merged.items() if name not in removed and ebs]


def _check_device(ec2: Moto, name: str, ebs: dict[str, Any]) -> None:
    if ebs.get("SnapshotId") is None:
        if ebs and not ebs.get("VolumeSize"):
            raise EC2ClientError("MissingParameter", f"The device {name} has neither a size nor a snapshot")
        hardware.check_volume(name, ebs)
        return
    snapshot = snapshots.of_volume(ec2, ebs)
    hardware.check_volume(name, ebs)
    if snapshot.encrypted or ec2.ebs_encryption_by_default:
        ebs["Encrypted"] = True


def _denied(ec2: Moto, kwargs: dict[str, Any]) -> str:
    """How a launch dies of the KMS key of a volume; empty if it does not.

    Of a key that is not enabled any launch dies; of one that it may not use, one of Auto Scaling's.
    """
    auto_scaled = _AUTO_SCALED in kwargs["tags"].get("instance", {})
    kms = backend("kms")
    for mapping in kwargs["block_device_mappings"]:
        ebs = mapping["Ebs"]
        if str(ebs.get("Encrypted")).lower() != "true":
            continue
        sealed = getattr(ec2.snapshots.get(ebs.get("SnapshotId")), "kms_key_id", None)
        name = ebs.get("KmsKeyId") or sealed or ec2.default_kms_key_id
        keys = [kms.keys.get(kms.any_id_to_key_id(one)) for one in dict.fromkeys((name, sealed)) if one]
        if any(key is None or key.state_in_force() != "Enabled" for key in keys):
            return "kms-key"
        if auto_scaled and keys and not auto_scaling_may_launch_with(keys[0]):
            return "key-denied"
    return ""


def _metadata_options(image: Moto, template: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """An AMI with ImdsSupport v2.0 makes tokens required and two hops the default; then template, then request."""
    defaults: dict[str, Any] = {}
    if getattr(image, "imds_support", None) == "v2.0":
        defaults = {"HttpTokens": "required", "HttpPutResponseHopLimit": 2}
    return {**defaults, **template.get("MetadataOptions", {}), **request}


def _interfaces(kwargs: dict[str, Any], template: dict[str, Any]) -> None:
    """Network interfaces of the template, unless the request has some; their groups become the instance's.

    Moto forgets the groups of an interface when it shows the instance. The interface that comes with an instance goes
    with it (API reference: InstanceNetworkInterfaceSpecification); moto leaves it behind.
    """
    interfaces = [dict(nic) for nic in kwargs.get("nics") or template.get("NetworkInterfaces", [])]
    groups = [*(kwargs.get("security_group_ids") or [])]
    interfaces = interfaces or [{"DeviceIndex": 0}]
    for nic in interfaces:
        if "NetworkInterfaceId" not in nic:
            nic.setdefault("DeleteOnTermination", True)
        groups += [group for group in nic.pop("Groups", []) if group not in groups]
        if nic.pop("AssociatePublicIpAddress", False):
            kwargs["associate_public_ip"] = True
    kwargs["nics"] = interfaces
    kwargs["security_group_ids"] = groups
