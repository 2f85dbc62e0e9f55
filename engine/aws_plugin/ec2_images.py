"""AMIs and launch templates: facts and API calls of each type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from engine.aws_plugin import ec2_tags
from engine.aws_plugin.compare import Rules
from engine.aws_plugin.convert import from_api, tag_map, to_api
from engine.aws_plugin.ec2_network import describe
from engine.aws_plugin.kind import Call, Kind, OperationError, code, forget_missing, pick, unique_name
from engine.aws_plugin.wire import Props

_IMAGE_INPUTS = {
    "architecture": "Architecture",
    "bootMode": "BootMode",
    "enaSupport": "EnaSupport",
    "imageLocation": "ImageLocation",
    "imdsSupport": "ImdsSupport",
    "kernelId": "KernelId",
    "ramdiskId": "RamdiskId",
    "rootDeviceName": "RootDeviceName",
    "sriovNetSupport": "SriovNetSupport",
    "tpmSupport": "TpmSupport",
    "virtualizationType": "VirtualizationType",
}
"""Plain attributes of an AMI: property, and its name in both RegisterImage and DescribeImages."""


class Ami(Kind):
    """An AMI made from snapshots (`aws_ami`)."""

    type_name = "aws:ec2/ami:Ami"
    noun = "EC2 AMI"
    supported = frozenset(
        {"name", "description", "deprecationTime", "ebsBlockDevices", "ephemeralBlockDevices", "uefiData"}
        | {"region", "tags", *_IMAGE_INPUTS}
    )
    replace = frozenset({"name", "ebsBlockDevices", "ephemeralBlockDevices", "uefiData", *_IMAGE_INPUTS})
    defaults: ClassVar[Props] = {
        "architecture": "x86_64",
        "sriovNetSupport": "simple",
        "virtualizationType": "paravirtual",
        "ebsBlockDevices.deleteOnTermination": True,
        "ebsBlockDevices.volumeType": "standard",
    }
    computed = frozenset(
        {"arn", "hypervisor", "imageLocation", "imageOwnerAlias", "imageType", "lastLaunchedTime", "platform"}
        | {"manageEbsSnapshots", "ownerId", "platformDetails", "public", "rootSnapshotId", "usageOperation"}
        | {"ebsBlockDevices", "ephemeralBlockDevices"}
    )
    rules = Rules(sets=frozenset({"ebsBlockDevices", "ephemeralBlockDevices"}))
    name_length = 128

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """A device from a snapshot inherits its encryption."""
        for index, device in enumerate(props.get("ebsBlockDevices") or []):
            if device.get("encrypted") and device.get("snapshotId"):
                yield f"ebsBlockDevices[{index}].encrypted", "not together with snapshotId: the snapshot decides"

    def create(self, call: Call, props: Props) -> str:
        """Register it, wait until it can be used, then set when it is deprecated."""
        ec2 = call.client("ec2")
        shape = ec2.meta.service_model.operation_model("RegisterImage").input_shape
        arguments = {
            api: to_api(props[name], shape.members[api], {}, name)
            for name, api in _IMAGE_INPUTS.items()
            if props.get(name)
        }
        if props.get("uefiData"):
            arguments["UefiData"] = props["uefiData"]
        if props.get("description"):
            arguments["Description"] = props["description"]
        if devices := _image_devices(props):
            arguments["BlockDeviceMappings"] = devices
        answer = ec2.register_image(
            Name=unique_name(props, self.name_length), **arguments, **ec2_tags.specification("image", props)
        )
        call.made = image_id = str(answer["ImageId"])
        call.wait(f"AMI {image_id} becoming available", lambda: self._available(call, image_id))
        if props.get("deprecationTime"):
            ec2.enable_image_deprecation(ImageId=image_id, DeprecateAt=props["deprecationTime"])
        return image_id

    @staticmethod
    def _available(call: Call, image_id: str) -> bool:
        image = describe(call, "describe_images", "Images", ImageIds=[image_id]) or {}
        if image.get("State") in {"failed", "error", "invalid", "deregistered"}:
            reason = (image.get("StateReason") or {}).get("Message", "no reason given")
            message = f"AMI {image_id} is {image['State']}: {reason}"
            raise OperationError(message)
        return image.get("State") == "available"

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The AMI; a deregistered one is gone."""
        image = describe(call, "describe_images", "Images", ImageIds=[resource_id])
        if image is None or image.get("State") == "deregistered":
            return None
        mappings = image.get("BlockDeviceMappings", [])
        root: dict[str, Any] = next(
            (item for item in mappings if item.get("DeviceName") == image.get("RootDeviceName")), {}
        )
        ebs_type = self.schema.inputs["ebsBlockDevices"].type
        devices = [{"DeviceName": item["DeviceName"], **item["Ebs"]} for item in mappings if item.get("Ebs")]
        return {
            **{name: image.get(api) for name, api in _IMAGE_INPUTS.items()},
            **pick(image, "Name", "Description", "Hypervisor", "ImageOwnerAlias", "ImageType", "OwnerId", "Platform"),
            **pick(image, "PlatformDetails", "Public", "UsageOperation", "DeprecationTime"),
            "ebsBlockDevices": from_api(devices, ebs_type, {}),
            "ephemeralBlockDevices": [
                {"deviceName": item["DeviceName"], "virtualName": item["VirtualName"]}
                for item in mappings
                if item.get("VirtualName")
            ],
            "arn": f"arn:{call.partition}:ec2:{call.region}::image/{resource_id}",
            "rootSnapshotId": (root.get("Ebs") or {}).get("SnapshotId"),
            "manageEbsSnapshots": False,
            "tagsAll": tag_map(image.get("Tags")),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Description, deprecation and tags; the rest of an AMI cannot change."""
        ec2 = call.client("ec2")
        if "description" in changed:
            ec2.modify_image_attribute(ImageId=resource_id, Description={"Value": new.get("description") or ""})
        if "deprecationTime" in changed:
            if new.get("deprecationTime"):
                ec2.enable_image_deprecation(ImageId=resource_id, DeprecateAt=new["deprecationTime"])
            else:
                ec2.disable_image_deprecation(ImageId=resource_id)
        ec2_tags.update(call, resource_id, old, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Deregister it; its snapshots stay, they are not this resource's."""
        try:
            forget_missing(lambda: call.client("ec2").deregister_image(ImageId=resource_id))
        except ClientError as error:
            if code(error) != "InvalidAMIID.Unavailable":  # already deregistered
                raise


def _image_devices(props: Props) -> list[dict[str, Any]]:
    devices: list[dict[str, Any]] = []
    for item in props.get("ebsBlockDevices") or []:
        ebs: dict[str, Any] = {"DeleteOnTermination": item["deleteOnTermination"], "VolumeType": item["volumeType"]}
        names = {"iops": "Iops", "throughput": "Throughput", "volumeSize": "VolumeSize", "snapshotId": "SnapshotId"}
        names["outpostArn"] = "OutpostArn"
        ebs |= {api: item[name] for name, api in names.items() if item.get(name)}
        if "encrypted" in item and not item.get("snapshotId"):
            ebs["Encrypted"] = item["encrypted"]
        devices.append({"DeviceName": item["deviceName"], "Ebs": ebs})
    devices += [
        {"DeviceName": item["deviceName"], "VirtualName": item["virtualName"]}
        for item in props.get("ephemeralBlockDevices") or []
    ]
    return devices


_TEMPLATE_DATA = (
    "blockDeviceMappings",
    "capacityReservationSpecification",
    "cpuOptions",
    "creditSpecification",
    "disableApiStop",
    "disableApiTermination",
    "ebsOptimized",
    "enclaveOptions",
    "hibernationOptions",
    "iamInstanceProfile",
    "imageId",
    "instanceInitiatedShutdownBehavior",
    "instanceMarketOptions",
    "instanceRequirements",
    "instanceType",
    "kernelId",
    "keyName",
    "licenseSpecifications",
    "maintenanceOptions",
    "metadataOptions",
    "monitoring",
    "networkInterfaces",
    "placement",
    "privateDnsNameOptions",
    "ramDiskId",
    "securityGroupNames",
    "tagSpecifications",
    "userData",
    "vpcSecurityGroupIds",
)
"""What a launch template's version holds."""

_SETS = frozenset(
    {"securityGroupNames", "vpcSecurityGroupIds", "networkInterfaces.securityGroups", "licenseSpecifications"}
    | {"networkInterfaces.ipv4Addresses", "networkInterfaces.ipv4Prefixes", "networkInterfaces.ipv6Prefixes"}
)


class LaunchTemplate(Kind):
    """A launch template; whatever its machines are made of makes a new version of it (`aws_launch_template`)."""

    type_name = "aws:ec2/launchTemplate:LaunchTemplate"
    noun = "EC2 Launch Template"
    supported = frozenset(
        {"name", "namePrefix", "description", "defaultVersion", "updateDefaultVersion", "region", "tags"}
        | {*_TEMPLATE_DATA}
    )
    replace = frozenset({"name", "namePrefix"})
    computed = frozenset(
        {"arn", "latestVersion", "defaultVersion", "name", "namePrefix", "metadataOptions", "networkPerformanceOptions"}
    )
    moving = frozenset({"latestVersion"})
    renames: ClassVar[Mapping[str, str]] = {
        "ramDiskId": "RamDiskId",
        "securityGroupNames": "SecurityGroups",
        "vpcSecurityGroupIds": "SecurityGroupIds",
    }
    rules = Rules(sets=_SETS)
    name_length = 125

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """Who says which version is the default."""
        if props.get("updateDefaultVersion") and props.get("defaultVersion"):
            yield "defaultVersion", "not together with updateDefaultVersion"
        if props.get("vpcSecurityGroupIds") and any(
            item.get("securityGroups") for item in props.get("networkInterfaces") or []
        ):
            yield "vpcSecurityGroupIds", "not together with networkInterfaces[*].securityGroups"

    def _renames(self, name: str) -> dict[str, str]:
        return {"securityGroups": "Groups"} if name == "networkInterfaces" else {}

    def data(self, call: Call, props: Props) -> dict[str, Any]:
        """The properties as `LaunchTemplateData`."""
        model = call.client("ec2").meta.service_model.operation_model("CreateLaunchTemplate")
        shape = model.input_shape.members["LaunchTemplateData"]
        data: dict[str, Any] = {}
        for name in _TEMPLATE_DATA:
            if props.get(name) in (None, "", [], {}):
                continue
            api = self.renames.get(name) or name[0].upper() + name[1:]
            data[api] = to_api(props[name], shape.members[api], self._renames(name), name)
        return data

    def create(self, call: Call, props: Props) -> str:
        """Make it with its first version."""
        note = {"VersionDescription": props["description"]} if props.get("description") else {}
        answer = call.client("ec2").create_launch_template(
            LaunchTemplateName=unique_name(props, self.name_length),
            LaunchTemplateData=self.data(call, props),
            **note,
            **ec2_tags.specification("launch-template", props),
        )
        call.made = str(answer["LaunchTemplate"]["LaunchTemplateId"])
        return call.made

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The template and its latest version."""
        template = describe(call, "describe_launch_templates", "LaunchTemplates", LaunchTemplateIds=[resource_id])
        if template is None:
            return None
        version = describe(
            call,
            "describe_launch_template_versions",
            "LaunchTemplateVersions",
            LaunchTemplateId=resource_id,
            Versions=[str(template["LatestVersionNumber"])],
        )
        data = (version or {}).get("LaunchTemplateData", {})
        inputs = self.schema.inputs
        found: Props = {}
        for name in _TEMPLATE_DATA:
            api = self.renames.get(name) or name[0].upper() + name[1:]
            found[name] = from_api(data.get(api), inputs[name].type, self._renames(name))
        return {
            **found,
            "name": template["LaunchTemplateName"],
            "description": (version or {}).get("VersionDescription"),
            "defaultVersion": int(template["DefaultVersionNumber"]),
            "latestVersion": int(template["LatestVersionNumber"]),
            "arn": call.arn("ec2", f"launch-template/{resource_id}"),
            "tagsAll": tag_map(template.get("Tags")),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """A new version if the machines change; then the default version; then tags."""
        ec2 = call.client("ec2")
        latest = int(old.get("latestVersion") or 1)
        if changed & {*_TEMPLATE_DATA, "description"}:
            note = {"VersionDescription": new["description"]} if new.get("description") else {}
            answer = ec2.create_launch_template_version(
                LaunchTemplateId=resource_id, LaunchTemplateData=self.data(call, new), **note
            )
            latest = int(answer["LaunchTemplateVersion"]["VersionNumber"])
        default = latest if new.get("updateDefaultVersion") else int(new.get("defaultVersion") or 0)
        if default and default != int(old.get("defaultVersion") or 0):
            ec2.modify_launch_template(LaunchTemplateId=resource_id, DefaultVersion=str(default))
        ec2_tags.update(call, resource_id, old, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it with all its versions."""
        forget_missing(lambda: call.client("ec2").delete_launch_template(LaunchTemplateId=resource_id))
