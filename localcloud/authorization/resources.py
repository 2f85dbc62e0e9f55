"""The resources that a request names: their ARNs, their tags, and the condition keys that they bring.

Decides how AWS writes an ARN, and which members of a request name a resource of a type (Service Authorization
Reference). What moto does not have gets its ARN all the same: IAM comes before the service's own NotFound. With `LOCK`
held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from moto.backends import get_backend
from moto.utilities.utils import get_partition

from localcloud.moto_state import GLOBAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localcloud.authorization.asked import Asked
    from localcloud.moto_state import Moto

MEMBERS: Final[dict[str, str]] = {
    "elastic-ip": "AllocationId",
    "egress-only-internet-gateway": "EgressOnlyInternetGatewayId",
    "image": "ImageId",
    "instance": "InstanceId,InstanceIds",
    "internet-gateway": "InternetGatewayId",
    "key-pair": "KeyName",
    "launch-template": "LaunchTemplateId",
    "natgateway": "NatGatewayId",
    "network-interface": "NetworkInterfaceId",
    "prefix-list": "PrefixListId",
    "route-table": "RouteTableId",
    "security-group": "GroupId",
    "security-group-rule": "SecurityGroupRules.SecurityGroupRuleId",
    "snapshot": "SnapshotId",
    "subnet": "SubnetId",
    "volume": "VolumeId",
    "vpc": "VpcId",
    "vpc-endpoint": "VpcEndpointId,VpcEndpointIds",
    "loadbalancer": "LoadBalancerArn",
    "listener": "ListenerArn",
    "listener-rule": "RuleArn",
    "targetgroup": "TargetGroupArn",
    "autoScalingGroup": "AutoScalingGroupName",
    "role": "RoleName",
    "instance-profile": "InstanceProfileName",
    "user": "UserName",
    "policy": "PolicyArn",
    "key": "KeyId",
    "alias": "AliasName",
    "topic": "TopicArn,TargetArn",
    "bucket": "Bucket",
    "object": "Bucket",
    "hostedzone": "HostedZoneId,Id",
    "change": "Id",
    "certificate": "CertificateArn",
    "webacl": "ARN,Id",
    "schedule": "Name",
    "schedule-group": "Name",
}

TYPES: Final[dict[str, str]] = {
    "acl": "network-acl",
    "ami": "image",
    "eigw": "egress-only-internet-gateway",
    "eipalloc": "elastic-ip",
    "eni": "network-interface",
    "i": "instance",
    "igw": "internet-gateway",
    "lt": "launch-template",
    "nat": "natgateway",
    "pl": "prefix-list",
    "rtb": "route-table",
    "sg": "security-group",
    "sgr": "security-group-rule",
    "snap": "snapshot",
    "subnet": "subnet",
    "vol": "volume",
    "vpc": "vpc",
    "vpce": "vpc-endpoint",
}
"""EC2's type of resource, by what its ids begin with."""

_ACCOUNTLESS: Final = frozenset({"image", "snapshot"})
_SUFFIXES: Final = {"aws-cn": "amazonaws.com.cn", "aws-eusc": "amazonaws.eu"}
_ID_KEYS: Final = {
    "elastic-ip": "AllocationId",
    "image": "ImageID",
    "instance": "InstanceID",
    "network-interface": "NetworkInterfaceID",
    "route-table": "RouteTableID",
    "security-group": "SecurityGroupID",
    "snapshot": "SnapshotID",
    "subnet": "SubnetID",
    "volume": "VolumeID",
    "vpc": "VpcID",
}
_IN_A_VPC: Final = {
    "network-interface": "enis",
    "route-table": "route_tables",
    "subnet": "subnets",
}


def moto(asked: Asked, service: str) -> Moto:
    """Moto's backend of a service, in the account and region that are asked for."""
    partition = get_partition(asked.region)
    return get_backend(service)[asked.account][partition if service in GLOBAL | {"route53", "s3"} else asked.region]


def arn(asked: Asked, service: str, resource: str, *, region: bool = True, account: bool = True) -> str:
    """An ARN in the account and region that are asked for."""
    where = asked.region if region else ""
    return f"arn:{get_partition(asked.region)}:{service}:{where}:{asked.account if account else ''}:{resource}"


def host(asked: Asked, service: str) -> str:
    """The host of a service, as `kms:ViaService` has it."""
    return f"{service}.{asked.region}.{_SUFFIXES.get(get_partition(asked.region), 'amazonaws.com')}"


def ec2(asked: Asked) -> str:
    """EC2 as a principal: in China it has a name of its own (terraform-provider-aws, issue 47141)."""
    return "ec2.amazonaws.com.cn" if get_partition(asked.region) == "aws-cn" else "ec2.amazonaws.com"


def found(asked: Asked, row: str) -> list[tuple[str, str]]:
    """(type, ARN) of each resource that a row of `actions` stands for."""
    resources = []
    for word in row.split():
        kind, _, path = word.removeprefix("+").partition(":")
        if word.startswith("+"):
            resources.append((kind, _made(asked, kind)))
            continue
        values = asked.values(path or MEMBERS[kind]) or _indirect(asked, kind)
        resources += [_named(asked, kind, value) for value in values]
    return list(dict.fromkeys(resources))


def _made(asked: Asked, kind: str) -> str:
    """The ARN of what does not exist yet; only its name may be known."""
    if asked.service in {"ec2", "ebs"}:
        return arn(asked, "ec2", f"{kind}/*", account=kind not in _ACCOUNTLESS)
    name = asked.value("Name") or "*"
    if asked.service == "elbv2":
        kind_of_balancer = {"network": "net/", "gateway": "gwy/"}.get(asked.value("Type"), "app/")
        return arn(
            asked, "elasticloadbalancing", f"{kind}/{kind_of_balancer if kind == 'loadbalancer' else ''}{name}/*"
        )
    if asked.service == "sns":
        return arn(asked, "sns", name)
    if kind == "service-linked-role":
        return service_linked_role(asked, asked.value("AWSServiceName"), "*")
    scope = asked.value("Scope").lower()
    return arn(asked, "wafv2", f"{'global' if scope == 'cloudfront' else 'regional'}/webacl/{name}/*")


def _named(asked: Asked, kind: str, value: str) -> tuple[str, str]:  # noqa: C901, PLR0911, PLR0912 - a table
    if value.startswith("arn:") and kind not in {"key", "alias"}:
        return kind, value
    match asked.service:
        case "ec2" | "ebs":
            kind = TYPES.get(value.partition("-")[0], kind) if kind == "any" else kind
            return kind, arn(asked, "ec2", f"{kind}/{value}", account=kind not in _ACCOUNTLESS)
        case "autoscaling":
            group = moto(asked, "autoscaling").autoscaling_groups.get(value)
            return kind, group.arn if group else arn(asked, "autoscaling", f"{kind}:*:{kind}Name/{value}")
        case "iam" | "sts":
            return kind, _identity(asked, kind, value)
        case "service-quotas":
            return kind, arn(asked, "servicequotas", f"{asked.value('ServiceCode')}/{value}")
        case "kms":
            return kind, key_arn(asked, value) if kind == "key" else _alias_arn(asked, value)
        case "s3":
            key = asked.value("Key") or ",".join(asked.values("Delete.Objects.Key")[:1])
            return kind, arn(asked, "s3", f"{value}/{key}" if kind == "object" else value, region=False, account=False)
        case "route53":
            path = value.removeprefix("/").removeprefix(f"{kind}/")
            return kind, arn(asked, "route53", f"{kind}/{path}", region=False, account=False)
        case "scheduler":
            group_name = asked.value("GroupName") or "default"
            return kind, arn(
                asked, "scheduler", f"{kind}/{group_name}/{value}" if kind == "schedule" else f"{kind}/{value}"
            )
        case "events":  # of the default event bus
            return kind, arn(asked, "events", f"rule/{value}")
        case "cloudwatch":
            if kind == "dashboard":  # of all regions
                return kind, arn(asked, "cloudwatch", f"{kind}/{value}", region=False)
            return kind, arn(asked, "cloudwatch", f"{kind}:{value}")
        case "wafv2":
            scope = "global" if asked.value("Scope").lower() == "cloudfront" else "regional"
            return kind, arn(asked, "wafv2", f"{scope}/{kind}/{asked.value('Name')}/{value}")
    return kind, arn(asked, asked.service, f"{kind}/{value}")


def _indirect(asked: Asked, kind: str) -> list[str]:
    """What the request names by something else: a template's name, an association, a ciphertext."""
    if asked.service == "kms":
        return _indirect_key(asked) if kind == "key" else []
    if asked.service != "ec2":
        return []
    ec2 = moto(asked, "ec2")
    if kind == "launch-template":
        name = asked.value("LaunchTemplateName,LaunchTemplate.LaunchTemplateName")
        return [ec2.launch_template_name_to_ids[name]] if name in ec2.launch_template_name_to_ids else []
    association = asked.value("AssociationId")
    if association.startswith("rtbassoc-"):
        for table in ec2.route_tables.values():
            if association in table._associations:
                return [table.id] if kind == "route-table" else [table._associations[association]]
    if association.startswith("eipassoc-"):
        for address in ec2.addresses:
            if address.association_id == association:
                return [address.allocation_id] if kind == "elastic-ip" else [address.eni.id] if address.eni else []
    return []


def _indirect_key(asked: Asked) -> list[str]:
    """The key of a ciphertext, or of a grant token."""
    kms, blob = moto(asked, "kms"), asked.parameters.get("CiphertextBlob")
    found = kms.key_of(blob) if blob else kms.grant_of(asked.value("GrantToken"))[0]
    return [found] if found else []


def _identity(asked: Asked, kind: str, name: str) -> str:
    """The ARN of a role, a user or an instance profile, with the path that it has or is given."""
    iam = moto(asked, "iam")
    if kind == "instance-profile":
        known = next((one for one in iam.instance_profiles.values() if one.name == name), None)
    elif kind == "role":
        known = next((one for one in iam.roles.values() if one.name == name), None)
    else:
        known = iam.users.get(name) if kind == "user" else None
    if known is not None:
        existing: str = known.arn
        return existing
    path = asked.value("Path") if asked.operation.startswith("Create") else ""
    return arn(asked, "iam", f"{kind}{path or '/'}{name}", region=False)


def service_linked_role(asked: Asked, service: str, name: str) -> str:
    """The ARN of a role that AWS makes for a service."""
    return arn(asked, "iam", f"role/aws-service-role/{service}/{name}", region=False)


def key_arn(asked: Asked, name: str) -> str:
    """The ARN of a KMS key, by its id, ARN, alias or alias' ARN."""
    kms = moto(asked, "kms")
    alias = "alias/" + name.partition("alias/")[2] if "alias/" in name else ""
    key_id = str(kms.alias_in_force(alias) or "") if alias else kms.get_key_id(name)
    if key_id in kms.keys:
        existing: str = kms.keys[key_id].arn
        return existing
    return name if name.startswith("arn:") else arn(asked, "kms", alias or f"key/{name}")


def _alias_arn(asked: Asked, name: str) -> str:
    return name if name.startswith("arn:") else arn(asked, "kms", name)


def context(asked: Asked, kind: str, resource: str) -> dict[str, tuple[str, ...]]:
    """The condition keys that a resource brings, in lower case: its tags, and of EC2's also what it is and where."""
    service = resource.split(":")[2] if resource.startswith("arn:") and resource.count(":") > 1 else ""
    keys: dict[str, tuple[str, ...]] = {}
    for key, value in _tags(asked, service, kind, resource).items():
        keys[f"aws:resourcetag/{key.lower()}"] = (value,)
        keys[f"{service}:resourcetag/{key.lower()}"] = (value,)
    name = resource.rpartition("/")[2]
    if service != "ec2" or name == "*":
        return keys
    if kind in _ID_KEYS:
        keys[f"ec2:{_ID_KEYS[kind].lower()}"] = (name,)
    vpc = _vpc(moto(asked, "ec2"), kind, name)
    if vpc:
        keys["ec2:vpc"] = (arn(asked, "ec2", f"vpc/{vpc}"),)
    if kind in _ACCOUNTLESS:
        held = moto(asked, "ec2").amis if kind == "image" else moto(asked, "ec2").snapshots
        keys["ec2:owner"] = (str(getattr(held.get(name), "owner_id", asked.account)),)
    return keys


def _vpc(ec2: Moto, kind: str, name: str) -> str:
    if kind == "security-group":
        return next((vpc or "" for vpc, groups in ec2.groups.items() if name in groups), "")
    if kind == "subnet":
        subnet = next((zone[name] for zone in ec2.subnets.values() if name in zone), None)
        return str(subnet.vpc_id) if subnet else ""
    held = getattr(ec2, _IN_A_VPC[kind], {}).get(name) if kind in _IN_A_VPC else None
    return str(getattr(held, "vpc_id", "") or "")


def _tags(asked: Asked, service: str, kind: str, resource: str) -> Mapping[str, str]:
    name = resource.rpartition("/")[2]
    match service:
        case "ec2":
            held: Mapping[str, str] = moto(asked, "ec2").tags.get(name, {})
            return held
        case "elasticloadbalancing":
            of_elb: Mapping[str, str] = moto(asked, "elbv2").tagging_service.get_tag_dict_for_resource(resource)
            return of_elb
        case "autoscaling":
            group = moto(asked, "autoscaling").autoscaling_groups.get(name)
            return _pairs(group.tags if group else [])
        case "iam" if kind == "role":
            role = next((one for one in moto(asked, "iam").roles.values() if one.arn == resource), None)
            return _pairs(role.tags if role else [])
        case "kms" if kind == "key":
            of_kms: Mapping[str, str] = moto(asked, "kms").tagger.get_tag_dict_for_resource(name)
            return of_kms
    return {}


def _pairs(tags: Any) -> dict[str, str]:  # noqa: ANN401 - moto's own
    listed = tags.values() if isinstance(tags, dict) else tags or []
    return {tag["Key"]: tag.get("Value", "") for tag in listed}
