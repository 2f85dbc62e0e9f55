"""What must be allowed for one request: its own action on each of its resources, and what AWS checks besides.

Decides the questions; who answers them is `policies`. Sources: Service Authorization Reference ("dependent actions"),
EC2 user guide ("Grant permission to tag EC2 resources during creation"), Elastic Load Balancing user guide ("ELB API
permissions to tag resources during creation"), Auto Scaling user guide ("Control Amazon EC2 launch template usage"),
IAM user guide ("Grant a user permissions to pass a role to an AWS service"), API references of AddRoleToInstanceProfile
and CreateSchedule, EBS user guide ("Control access to EBS direct APIs using IAM"), SNS developer guide ("Key
management"), WAF developer guide ("Permissions for AssociateWebACL"). With `LOCK` held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from localcloud.authorization import actions, resources
from localcloud.authorization import keys as keys_of_kms
from localcloud.authorization.asked import Asked
from localcloud.authorization.checks import KEY, LAUNCH, LINKED, OWN, PASS, Check, created_tags, keys_of, pass_role
from localcloud.authorization.launches import Launch, launching, passing_profile
from localcloud.authorization.policies import Question

if TYPE_CHECKING:
    from localcloud.authorization.checks import Keys

LINKED_ROLES: Final = {
    ("elbv2", "CreateLoadBalancer"): ("elasticloadbalancing.amazonaws.com", "AWSServiceRoleForElasticLoadBalancing"),
    ("autoscaling", "CreateAutoScalingGroup"): ("autoscaling.amazonaws.com", "AWSServiceRoleForAutoScaling"),
    ("kms", "CreateKey"): ("mrk.kms.amazonaws.com", "AWSServiceRoleForKeyManagementServiceMultiRegionKeys"),
}
"""The role that AWS makes for itself when the account has none, by the call that makes it."""

_TAGGING_ON_CREATE: Final = {
    "CreateRole": ("iam:TagRole", "role"),
    "CreateInstanceProfile": ("iam:TagInstanceProfile", "instance-profile"),
    "CreateUser": ("iam:TagUser", "user"),
    "CreatePolicy": ("iam:TagPolicy", "policy:PolicyName"),
}

_RECORD_NAMES: Final = "route53:changeresourcerecordsetsnormalizedrecordnames"
_REQUEST_KEYS: Final = {
    "iam": {
        "iam:policyarn": "PolicyArn",
        "iam:permissionsboundary": "PermissionsBoundary",
        "iam:awsservicename": "AWSServiceName",
    },
    "autoscaling": {
        "autoscaling:targetgrouparns": "TargetGroupARNs",
        "autoscaling:maxsize": "MaxSize",
        "autoscaling:minsize": "MinSize",
    },
    "elbv2": {
        "elasticloadbalancing:scheme": "Scheme",
        "elasticloadbalancing:subnet": "Subnets,SubnetMappings.SubnetId",
        "elasticloadbalancing:securitygroup": "SecurityGroups",
        "elasticloadbalancing:listenerprotocol": "Protocol",
    },
    "ebs": {
        "ebs:parentsnapshot": "ParentSnapshotId",
        "ebs:volumesize": "VolumeSize",
        "ebs:description": "Description",
    },
    "route53": {
        "route53:changeresourcerecordsetsactions": "ChangeBatch.Changes.Action",
        "route53:changeresourcerecordsetsrecordtypes": "ChangeBatch.Changes.ResourceRecordSet.Type",
        _RECORD_NAMES: "ChangeBatch.Changes.ResourceRecordSet.Name",
    },
    "ec2": {"ec2:vpceservicename": "ServiceName"},
    "sts": {"sts:externalid": "ExternalId", "sts:rolesessionname": "RoleSessionName"},
}
"""Condition keys by service, and where the request has their values."""


def of(asked: Asked) -> list[Check]:
    """Every question of a request, its own action first."""
    return [*_own(asked), *_also(asked)]


def _own(asked: Asked) -> list[Check]:
    row = actions.listed(asked.service, asked.operation)
    action = actions.action(asked.service, asked.operation)
    if asked.service == "kms" and asked.operation == "ReEncrypt":
        return keys_of_kms.re_encrypt(asked)
    keys = _request_keys(asked)
    if asked.service == "ec2" and asked.operation == "RunInstances":
        return launching(asked, Launch.direct(asked), OWN)
    found = resources.found(asked, row or "")
    return [
        Check(Question(action, arn, {**keys, **_tag_keys(asked, kind), **_resource_keys(asked, kind, arn)}))
        for kind, arn in found
    ] or [Check(Question(action, "*", {**keys, **_tag_keys(asked, "")}))]


def _resource_keys(asked: Asked, kind: str, arn: str) -> Keys:
    own = keys_of_kms.of_key(asked, arn) if asked.service == "kms" else {}
    return {**own, **resources.context(asked, kind, arn)}


def _also(asked: Asked) -> list[Check]:
    find = _ALSO.get((asked.service, asked.operation)) or _ALSO_OF.get(asked.service)
    return find(asked) if find is not None else []


def _endpoint(asked: Asked) -> list[Check]:
    zones = resources.arn(asked, "route53", "hostedzone/*", region=False, account=False)
    zone = Question("route53:AssociateVPCWithHostedZone", zones)
    return [*_tags_of_ec2(asked), *([Check(zone)] if asked.parameters.get("PrivateDnsEnabled") is True else [])]


def _group(asked: Asked) -> list[Check]:
    launch = Launch.of_group(asked)
    if launch is None:
        return _linked(asked)
    checks = [*launching(asked, launch, LAUNCH), *passing_profile(asked, launch, LAUNCH)]
    return [*_linked(asked), *(replace(one, template=launch.template_id) for one in checks)]


def _tags_of_iam(asked: Asked) -> list[Check]:
    if asked.operation not in _TAGGING_ON_CREATE or not asked.parameters.get("Tags"):
        return []
    action, row = _TAGGING_ON_CREATE[asked.operation]
    return [Check(Question(action, arn, _tag_keys(asked, kind))) for kind, arn in resources.found(asked, row)]


def _passing_to_the_scheduler(asked: Asked) -> list[Check]:
    return [pass_role(asked.value("Target.RoleArn"), "scheduler.amazonaws.com", PASS)]


def _session_tags(asked: Asked) -> list[Check]:
    if not asked.parameters.get("Tags"):
        return []
    return [
        Check(Question("sts:TagSession", arn, _tag_keys(asked, kind)))
        for kind, arn in resources.found(asked, "role:RoleArn")
    ]


def _web_acl(asked: Asked) -> list[Check]:
    balancer = asked.value("ResourceArn")
    return [Check(Question("elasticloadbalancing:SetWebAcl", balancer if balancer.startswith("arn:") else "*"))]


def _passing_to_a_profile(asked: Asked) -> list[Check]:
    return [pass_role(role, resources.ec2(asked), PASS) for _, role in resources.found(asked, "role")]


def _request_keys(asked: Asked) -> Keys:
    """The condition keys of a request that belong to none of its resources."""
    keys: Keys = {
        key: values
        for key, path in _REQUEST_KEYS.get(asked.service, {}).items()
        if (values := tuple(asked.values(path)))
    }
    match asked.service:
        case "iam" if "iam:permissionsboundary" not in keys and (boundary := _boundary(asked)):
            keys["iam:permissionsboundary"] = (boundary,)
        case "autoscaling" if subnets := asked.value("VPCZoneIdentifier"):
            keys["autoscaling:vpczoneidentifiers"] = tuple(one.strip() for one in subnets.split(","))
        case "kms":
            keys |= keys_of_kms.of_request(asked)
        case "route53" if names := keys.get(_RECORD_NAMES, ()):
            keys[_RECORD_NAMES] = tuple(name.lower().removesuffix(".") for name in names)
    return keys


def _boundary(asked: Asked) -> str:
    name = asked.value("RoleName")
    role = next((one for one in resources.moto(asked, "iam").roles.values() if one.name == name), None)
    return str(role.permissions_boundary_arn or "") if role and not asked.operation.startswith("Get") else ""


def _tag_keys(asked: Asked, kind: str) -> Keys:
    """The tags that a request gives a resource of a type."""
    if asked.service == "ec2":
        specifications = asked.parameters.get("TagSpecifications") or []
        given = [one for spec in specifications if spec.get("ResourceType") == kind for one in spec.get("Tags", [])]
        given += asked.parameters.get("Tags") or []
    else:
        tags = asked.parameters.get("Tags") or []
        given = tags if isinstance(tags, list) else []
    keys = keys_of(given)
    if untagged := asked.parameters.get("TagKeys"):
        keys["aws:tagkeys"] = tuple(untagged)
    return keys


def _tags_of_ec2(asked: Asked) -> list[Check]:
    """Tags given on creation are CreateTags, once a type of resource."""
    return created_tags(asked, asked.parameters.get("TagSpecifications") or [], asked.operation)


def _tags_of_elb(asked: Asked) -> list[Check]:
    if not asked.parameters.get("Tags") or not asked.operation.startswith("Create"):
        return []
    made = {
        "CreateListener": ("loadbalancer", "listener"),
        "CreateRule": ("listener", "listener-rule"),
    }.get(asked.operation)
    if made is None:
        arns = [arn for _, arn in resources.found(asked, actions.listed("elbv2", asked.operation) or "")]
    else:  # …:loadbalancer/app/web/1 makes …:listener/app/web/1/*
        parent, child = made
        arns = [arn.replace(f":{parent}/", f":{child}/") + "/*" for _, arn in resources.found(asked, parent)]
    keys = {**_tag_keys(asked, ""), "elasticloadbalancing:createaction": (asked.operation,)}
    return [Check(Question("elasticloadbalancing:AddTags", arn, keys)) for arn in arns]


def _linked(asked: Asked) -> list[Check]:
    """The right to let AWS make its own role, while the account has none."""
    found = LINKED_ROLES.get((asked.service, asked.operation))
    if found is None or any(role.name == found[1] for role in resources.moto(asked, "iam").roles.values()):
        return []
    service, name = found
    if asked.service == "kms" and asked.parameters.get("MultiRegion") is not True:
        return []
    role = resources.service_linked_role(asked, service, name)
    return [Check(Question("iam:CreateServiceLinkedRole", role, {"iam:awsservicename": (service,)}), LINKED)]


def _snapshot(asked: Asked) -> list[Check]:
    """Tags are EC2's to allow; and whoever starts an encrypted snapshot uses its key."""
    checks = []
    if tags := asked.parameters.get("Tags"):
        arn = resources.arn(asked, "ec2", "snapshot/*", account=False)
        checks.append(Check(Question("ec2:CreateTags", arn, {**keys_of(tags), "ec2:createaction": ("StartSnapshot",)})))
    ec2 = resources.moto(asked, "ec2")
    key = asked.value("KmsKeyArn") or str(ec2.default_kms_key_id or "")
    wanted = asked.parameters.get("Encrypted") or asked.value("KmsKeyArn") or ec2.ebs_encryption_by_default
    return [*checks, *(keys_of_kms.key_checks(asked, key, "ec2") if wanted and key else [])]


def _block(asked: Asked) -> list[Check]:
    """A block of an encrypted snapshot is decrypted for whoever reads it."""
    snapshot = resources.moto(asked, "ec2").snapshots.get(asked.value("SnapshotId"))
    key = getattr(snapshot, "kms_key_id", None)
    return (
        [check for check in keys_of_kms.key_checks(asked, key, "ec2") if check.question.action == "kms:Decrypt"]
        if key
        else []
    )


def _publish(asked: Asked) -> list[Check]:
    topic = resources.moto(asked, "sns").topics.get(asked.value("TopicArn"))
    key = getattr(topic, "kms_master_key_id", None)
    if not key:
        return []
    arn = resources.key_arn(asked, key)
    via: Keys = {"kms:viaservice": (resources.host(asked, "sns"),), "kms:calleraccount": (asked.account,)}
    return [Check(Question(f"kms:{name}", arn, via), KEY) for name in ("GenerateDataKey", "Decrypt")]


_ALSO: Final[dict[tuple[str, str], Callable[[Asked], list[Check]]]] = {
    ("ec2", "RunInstances"): lambda asked: passing_profile(asked, Launch.direct(asked), OWN),
    ("ec2", "CreateVpcEndpoint"): _endpoint,
    ("autoscaling", "CreateAutoScalingGroup"): _group,
    ("autoscaling", "UpdateAutoScalingGroup"): _group,
    ("scheduler", "CreateSchedule"): _passing_to_the_scheduler,
    ("scheduler", "UpdateSchedule"): _passing_to_the_scheduler,
    ("iam", "AddRoleToInstanceProfile"): _passing_to_a_profile,
    ("wafv2", "AssociateWebACL"): _web_acl,
    ("wafv2", "DisassociateWebACL"): _web_acl,
    ("ebs", "StartSnapshot"): _snapshot,
    ("ebs", "GetSnapshotBlock"): _block,
    ("sts", "AssumeRole"): _session_tags,
    ("kms", "CreateKey"): lambda asked: [*_linked(asked), *keys_of_kms.made(asked)],
    ("kms", "ReplicateKey"): keys_of_kms.made,
    ("sns", "Publish"): _publish,
    ("sns", "PublishBatch"): _publish,
}
_ALSO_OF: Final[dict[str, Callable[[Asked], list[Check]]]] = {
    "ec2": _tags_of_ec2,
    "elbv2": lambda asked: [*_linked(asked), *_tags_of_elb(asked)],
    "iam": _tags_of_iam,
}
"""Of every other operation of a service."""
