"""The resource types that the stand-in implements, by type token. It finds; it decides nothing."""

from __future__ import annotations

import functools
import importlib

from engine.aws_plugin import schema
from engine.aws_plugin.kind import Kind

_MODULES = {
    "Vpc": "ec2_network",
    "Subnet": "ec2_network",
    "InternetGateway": "ec2_gateways",
    "Eip": "ec2_gateways",
    "NatGateway": "ec2_gateways",
    "EgressOnlyInternetGateway": "ec2_gateways",
    "VpcEndpoint": "ec2_endpoints",
    "RouteTable": "ec2_routes",
    "Route": "ec2_routes",
    "RouteTableAssociation": "ec2_routes",
    "SecurityGroup": "ec2_security",
    "SecurityGroupIngressRule": "ec2_security",
    "SecurityGroupEgressRule": "ec2_security",
    "Ami": "ec2_images",
    "LaunchTemplate": "ec2_images",
    "AmiLaunchPermission": "ec2_sharing",
    "SnapshotCreateVolumePermission": "ec2_sharing",
    "Group": "autoscaling",
    "Policy": "autoscaling",
    "LoadBalancer": "lb",
    "TargetGroup": "lb_targets",
    "Listener": "lb_listeners",
    "ListenerCertificate": "lb_listeners",
    "ListenerRule": "lb_listeners",
    "Record": "route53",
    "WebAclAssociation": "wafv2",
    "Role": "iam",
    "RolePolicy": "iam",
    "RolePolicyAttachment": "iam",
    "InstanceProfile": "iam",
    "MetricAlarm": "cloudwatch",
    "EventRule": "events",
    "EventTarget": "events",
    "Topic": "sns",
    "TopicPolicy": "sns",
    "Key": "kms",
    "ReplicaKey": "kms",
    "Alias": "kms",
}


def kinds() -> list[Kind]:
    """All of them."""
    return [_load(module, name) for name, module in _MODULES.items()]


@functools.cache
def _load(module: str, name: str) -> Kind:
    kind = getattr(importlib.import_module(f"engine.aws_plugin.{module}"), name)()
    assert isinstance(kind, Kind)  # noqa: S101 - the table above names kinds only
    return kind


def find(token: str) -> Kind:
    """The kind of a type token.

    Raises schema.UnknownTypeError, with one line that says whether the SDK or only the stand-in lacks it.
    """
    name = token.rpartition(":")[2]
    if name in _MODULES:
        kind = _load(_MODULES[name], name)
        if kind.type_name == token:
            return kind
    schema.resource(token)  # raises if the SDK does not have it either
    message = f"the stand-in for the AWS plugin does not implement {token}; the official plugin does"
    raise schema.UnknownTypeError(message)
