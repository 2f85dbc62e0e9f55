"""What a launch asks of IAM: RunInstances on every kind of resource, CreateTags, PassRole.

Decides the questions of RunInstances, and of an auto scaling group, whose template EC2 checks when the group is made or
given another (Auto Scaling user guide, "Control Amazon EC2 launch template usage"). With `LOCK` held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localcloud.authorization import resources
from localcloud.authorization.checks import Check, created_tags, keys_of, pass_role
from localcloud.authorization.policies import Question

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localcloud.authorization.asked import Asked
    from localcloud.authorization.checks import Keys
    from localcloud.moto_state import Moto


@dataclass(frozen=True)
class Launch:
    """What instances are launched from: the request's own values before those of the template."""

    template_id: str
    data: Mapping[str, Any]
    subnets: tuple[str, ...]

    @classmethod
    def direct(cls, asked: Asked) -> Launch:
        """Of RunInstances."""
        template_id, data = _template(asked, asked.parameters.get("LaunchTemplate") or {})
        own = {key: value for key, value in asked.parameters.items() if value not in (None, [], {})}
        subnets = asked.values("SubnetId,NetworkInterfaces.SubnetId")
        return cls(template_id, {**data, **own}, tuple(subnets or _walk(data, "NetworkInterfaces", "SubnetId")))

    @classmethod
    def of_group(cls, asked: Asked) -> Launch | None:
        """Of an auto scaling group that is made, or whose template is changed; None if the request names none."""
        mixed = (asked.parameters.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}
        named = asked.parameters.get("LaunchTemplate") or mixed.get("LaunchTemplateSpecification")
        if not named:
            return None
        template_id, data = _template(asked, named)
        group = resources.moto(asked, "autoscaling").autoscaling_groups.get(asked.value("AutoScalingGroupName"))
        subnets = asked.value("VPCZoneIdentifier") or str(getattr(group, "vpc_zone_identifier", "") or "")
        return cls(template_id, data, tuple(one.strip() for one in subnets.split(",") if one.strip()))


def _template(asked: Asked, named: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    ec2 = resources.moto(asked, "ec2")
    template_id = named.get("LaunchTemplateId") or ec2.launch_template_name_to_ids.get(
        named.get("LaunchTemplateName"), ""
    )
    template = ec2.launch_templates.get(template_id)
    if template is None:
        return str(template_id or named.get("LaunchTemplateName") or ""), {}
    version = str(named.get("Version") or "$Default")
    known = {str(one.number) for one in template.versions}
    data = template.get_version(version).data if version in known | {"$Default", "$Latest"} else {}
    return template_id, data


def _walk(data: Mapping[str, Any], member: str, of_each: str) -> list[str]:
    found: list[str] = []
    for one in data.get(member) or []:
        value = one.get(of_each)
        found += value if isinstance(value, list) else [value] if value else []
    return found


def launching(asked: Asked, launch: Launch, about: str) -> list[Check]:
    """RunInstances on every kind of resource that it uses or makes, and CreateTags on what the template tags."""
    data = launch.data
    groups = [*(data.get("SecurityGroupIds") or []), *_walk(data, "NetworkInterfaces", "Groups")]
    named = [
        ("image", [data["ImageId"]] if data.get("ImageId") else []),
        ("instance", ["*"]),
        ("key-pair", [data["KeyName"]] if data.get("KeyName") else []),
        ("launch-template", [launch.template_id] if launch.template_id else []),
        ("network-interface", ["*"]),
        ("security-group", list(dict.fromkeys(groups))),
        ("subnet", list(launch.subnets)),
        ("volume", ["*"]),
    ]
    shared: Keys = {}
    if launch.template_id:
        template = resources.arn(asked, "ec2", f"launch-template/{launch.template_id}")
        shared = {"ec2:launchtemplate": (template,), "ec2:islaunchtemplateresource": ("true",)}
    specifications = data.get("TagSpecifications") or []
    checks = []
    for kind, names in named:
        tags = [tag for spec in specifications if spec.get("ResourceType") == kind for tag in spec.get("Tags", [])]
        keys = {**shared, **_launch_keys(asked, launch, kind), **keys_of(tags)}
        for name in names:
            arn = resources.arn(asked, "ec2", f"{kind}/{name}", account=kind != "image")
            checks.append(
                Check(Question("ec2:RunInstances", arn, {**keys, **resources.context(asked, kind, arn)}), about)
            )
    return [*checks, *created_tags(asked, specifications, "RunInstances", about)]


def _launch_keys(asked: Asked, launch: Launch, kind: str) -> Keys:
    data = launch.data
    keys: Keys = {}
    if kind == "instance":
        metadata, market = data.get("MetadataOptions") or {}, data.get("InstanceMarketOptions") or {}
        for key, value in (
            ("ec2:instancetype", data.get("InstanceType")),
            ("ec2:metadatahttptokens", metadata.get("HttpTokens")),
            ("ec2:metadatahttpputresponsehoplimit", metadata.get("HttpPutResponseHopLimit")),
            ("ec2:instancemarkettype", market.get("MarketType")),
            ("ec2:instanceprofile", _profile_arn(asked, data)),
        ):
            if value:
                keys[key] = (str(value),)
    if kind == "network-interface" and len(launch.subnets) == 1:
        keys["ec2:subnet"] = (resources.arn(asked, "ec2", f"subnet/{launch.subnets[0]}"),)
    if kind == "volume":
        encrypted = any((one.get("Ebs") or {}).get("Encrypted") for one in data.get("BlockDeviceMappings") or [])
        keys["ec2:encrypted"] = ("true" if encrypted else "false",)
    return keys


def _profile(asked: Asked, data: Mapping[str, Any]) -> Moto:
    named = data.get("IamInstanceProfile") or {}
    profiles = resources.moto(asked, "iam").instance_profiles.values()
    return next(
        (one for one in profiles if named and (one.arn == named.get("Arn") or one.name == named.get("Name"))), None
    )


def _profile_arn(asked: Asked, data: Mapping[str, Any]) -> str:
    profile = _profile(asked, data)
    return str(profile.arn) if profile else ""


def passing_profile(asked: Asked, launch: Launch, about: str) -> list[Check]:
    """PassRole of the role that the instances get."""
    profile = _profile(asked, launch.data)
    return [pass_role(role.arn, resources.ec2(asked), about) for role in (profile.roles if profile else [])]
