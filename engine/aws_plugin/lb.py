"""Load balancers and target groups: facts and API calls of each type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from engine.aws_plugin.compare import Rules
from engine.aws_plugin.convert import tag_list, tag_map
from engine.aws_plugin.kind import Boto, Call, Kind, OperationError, forget_missing, gone, unique_name
from engine.aws_plugin.wire import Props


def tags_argument(props: Props) -> dict[str, Any]:
    """The `Tags` of a create call; nothing if there are none, since AWS refuses an empty list."""
    return {"Tags": tag_list(props["tagsAll"])} if props.get("tagsAll") else {}


def update_tags(call: Call, arn: str, old: Props, new: Props) -> None:
    """Bring a resource's tags from old to new."""
    before, after = old.get("tagsAll") or {}, new.get("tagsAll") or {}
    if removed := [key for key in before if key not in after]:
        call.client("elbv2").remove_tags(ResourceArns=[arn], TagKeys=removed)
    if changed := {key: value for key, value in after.items() if before.get(key) != value}:
        call.client("elbv2").add_tags(ResourceArns=[arn], Tags=tag_list(changed))


def read_tags(call: Call, arn: str) -> dict[str, str]:
    """A resource's tags."""
    answer = call.client("elbv2").describe_tags(ResourceArns=[arn])
    return tag_map(answer["TagDescriptions"][0]["Tags"])


def find(call: Call, operation: str, key: str, **arguments: Boto) -> dict[str, Any] | None:
    """The first of what an ELBv2 describe call finds, None if it is gone."""
    try:
        found = getattr(call.client("elbv2"), operation)(**arguments)[key]
    except ClientError as error:
        if gone(error):
            return None
        raise
    return dict(found[0]) if found else None


def attribute_list(props: Props, table: Mapping[str, str], names: frozenset[str]) -> list[dict[str, str]]:
    """Properties that are "attributes" in the API, as a list of its keys and strings."""
    values = {api: props.get(name) for name, api in table.items() if name in names}
    return [
        {"Key": key, "Value": str(value).lower() if isinstance(value, bool) else str(value)}
        for key, value in values.items()
        if value is not None
    ]


def attribute_props(kind: Kind, attributes: list[dict[str, str]], table: Mapping[str, str]) -> Props:
    """The way back: attributes as properties of the SDK's types; those that the API does not answer are left out."""
    values = {item["Key"]: item["Value"] for item in attributes}
    found: Props = {}
    for name, api in table.items():
        if api not in values:
            continue
        type_name = getattr(kind.schema.inputs[name].type, "name", "str")
        text = values[api]
        found[name] = int(text) if type_name == "int" else text == "true" if type_name == "bool" else text
    return found


_BALANCER_ATTRIBUTES = {
    "clientKeepAlive": "client_keep_alive.seconds",
    "desyncMitigationMode": "routing.http.desync_mitigation_mode",
    "dropInvalidHeaderFields": "routing.http.drop_invalid_header_fields.enabled",
    "enableDeletionProtection": "deletion_protection.enabled",
    "enableHttp2": "routing.http2.enabled",
    "enableTlsVersionAndCipherSuiteHeaders": "routing.http.x_amzn_tls_version_and_cipher_suite.enabled",
    "enableWafFailOpen": "waf.fail_open.enabled",
    "enableXffClientPort": "routing.http.xff_client_port.enabled",
    "idleTimeout": "idle_timeout.timeout_seconds",
    "preserveHostHeader": "routing.http.preserve_host_header.enabled",
    "xffHeaderProcessingMode": "routing.http.xff_header_processing.mode",
}


class LoadBalancer(Kind):
    """An application load balancer (`aws_lb`)."""

    type_name = "aws:lb/loadBalancer:LoadBalancer"
    noun = "ELBv2 Load Balancer"
    supported = frozenset(
        {"internal", "ipAddressType", "loadBalancerType", "name", "namePrefix", "region", "securityGroups", "subnets"}
        | {"tags", *_BALANCER_ATTRIBUTES}
    )
    replace = frozenset({"internal", "loadBalancerType", "name", "namePrefix"})
    defaults: ClassVar[Props] = {
        "loadBalancerType": "application",
        "clientKeepAlive": 3600,
        "desyncMitigationMode": "defensive",
        "dropInvalidHeaderFields": False,
        "enableDeletionProtection": False,
        "enableHttp2": True,
        "enableTlsVersionAndCipherSuiteHeaders": False,
        "enableWafFailOpen": False,
        "enableXffClientPort": False,
        "idleTimeout": 60,
        "preserveHostHeader": False,
        "xffHeaderProcessingMode": "append",
    }
    computed = frozenset(
        {"arn", "arnSuffix", "dnsName", "vpcId", "zoneId", "internal", "ipAddressType", "name", "namePrefix"}
        | {"securityGroups", "subnets", "subnetMappings"}
    )
    rules = Rules(sets=frozenset({"securityGroups", "subnets"}))
    name_length = 32
    timeout = 600.0

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """What AWS refuses, and what is not implemented."""
        if props.get("loadBalancerType", "application") != "application":
            yield "loadBalancerType", "the stand-in for the AWS plugin implements application load balancers only"
        if not props.get("subnets"):
            yield "subnets", "a load balancer needs subnets"
        yield from name_failures(props, self.name_length)

    def create(self, call: Call, props: Props) -> str:
        """Make it, wait until it is active, then set its attributes."""
        api = call.client("elbv2")
        groups = {"SecurityGroups": props["securityGroups"]} if props.get("securityGroups") else {}
        family = {"IpAddressType": props["ipAddressType"]} if props.get("ipAddressType") else {}
        balancer = api.create_load_balancer(
            Name=unique_name(props, self.name_length),
            Subnets=props["subnets"],
            Scheme="internal" if props.get("internal") else "internet-facing",
            Type=props["loadBalancerType"],
            **groups,
            **family,
            **tags_argument(props),
        )["LoadBalancers"][0]
        call.made = arn = str(balancer["LoadBalancerArn"])
        call.wait(f"load balancer {arn} becoming active", lambda: self._active(call, arn))
        attributes = attribute_list(props, _BALANCER_ATTRIBUTES, frozenset(_BALANCER_ATTRIBUTES))
        api.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=attributes)
        return arn

    @staticmethod
    def _active(call: Call, arn: str) -> bool:
        balancer = find(call, "describe_load_balancers", "LoadBalancers", LoadBalancerArns=[arn]) or {}
        state = balancer.get("State") or {}
        if state.get("Code") == "failed":
            message = f"load balancer {arn} failed: {state.get('Reason', 'no reason given')}"
            raise OperationError(message)
        return state.get("Code") in {"active", "active_impaired"}

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The balancer with its attributes and tags."""
        balancer = find(call, "describe_load_balancers", "LoadBalancers", LoadBalancerArns=[resource_id])
        if balancer is None:
            return None
        answer = call.client("elbv2").describe_load_balancer_attributes(LoadBalancerArn=resource_id)
        subnets = [zone["SubnetId"] for zone in balancer.get("AvailabilityZones", [])]
        return {
            **attribute_props(self, answer["Attributes"], _BALANCER_ATTRIBUTES),
            "name": balancer["LoadBalancerName"],
            "internal": balancer.get("Scheme") == "internal",
            "ipAddressType": balancer.get("IpAddressType"),
            "loadBalancerType": balancer.get("Type"),
            "securityGroups": balancer.get("SecurityGroups", []),
            "subnets": subnets,
            "subnetMappings": [{"subnetId": subnet} for subnet in subnets],
            "arn": resource_id,
            "arnSuffix": resource_id.partition(":loadbalancer/")[2],
            "dnsName": balancer.get("DNSName"),
            "vpcId": balancer.get("VpcId"),
            "zoneId": balancer.get("CanonicalHostedZoneId"),
            "tagsAll": read_tags(call, resource_id),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Security groups, subnets, attributes, tags."""
        api = call.client("elbv2")
        if "securityGroups" in changed:
            api.set_security_groups(LoadBalancerArn=resource_id, SecurityGroups=new["securityGroups"])
        if "subnets" in changed:
            api.set_subnets(LoadBalancerArn=resource_id, Subnets=new["subnets"])
        if "ipAddressType" in changed:
            api.set_ip_address_type(LoadBalancerArn=resource_id, IpAddressType=new["ipAddressType"])
        if attributes := attribute_list(new, _BALANCER_ATTRIBUTES, changed):
            api.modify_load_balancer_attributes(LoadBalancerArn=resource_id, Attributes=attributes)
        update_tags(call, resource_id, old, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it, with its listeners."""
        api = call.client("elbv2")
        forget_missing(
            lambda: call.retry({"ResourceInUse"}, lambda: api.delete_load_balancer(LoadBalancerArn=resource_id))
        )
        call.wait(
            f"load balancer {resource_id} going away",
            lambda: find(call, "describe_load_balancers", "LoadBalancers", LoadBalancerArns=[resource_id]) is None,
        )


def name_failures(props: Props, longest: int) -> Iterator[tuple[str, str]]:
    """What ELBv2 refuses in names of balancers and target groups."""
    name, prefix = props.get("name"), props.get("namePrefix")
    if isinstance(name, str) and len(name) > longest:
        yield "name", f"{name!r} has {len(name)} characters, at most {longest} are allowed"
    if isinstance(prefix, str) and len(prefix) > 6:
        yield "namePrefix", f"{prefix!r} has {len(prefix)} characters, at most 6 are allowed"


_TARGET_ATTRIBUTES = {
    "deregistrationDelay": "deregistration_delay.timeout_seconds",
    "loadBalancingAlgorithmType": "load_balancing.algorithm.type",
    "loadBalancingAnomalyMitigation": "load_balancing.algorithm.anomaly_mitigation",
    "loadBalancingCrossZoneEnabled": "load_balancing.cross_zone.enabled",
    "slowStart": "slow_start.duration_seconds",
}
_HEALTH = {
    "enabled": "HealthCheckEnabled",
    "healthyThreshold": "HealthyThresholdCount",
    "interval": "HealthCheckIntervalSeconds",
    "path": "HealthCheckPath",
    "port": "HealthCheckPort",
    "protocol": "HealthCheckProtocol",
    "timeout": "HealthCheckTimeoutSeconds",
    "unhealthyThreshold": "UnhealthyThresholdCount",
}


class TargetGroup(Kind):
    """A target group (`aws_lb_target_group`)."""

    type_name = "aws:lb/targetGroup:TargetGroup"
    noun = "ELBv2 Target Group"
    supported = frozenset(
        {"name", "namePrefix", "port", "protocol", "protocolVersion", "vpcId", "targetType", "healthCheck"}
        | {"stickiness", "ipAddressType", "region", "tags", *_TARGET_ATTRIBUTES}
    )
    replace = frozenset(
        {"name", "namePrefix", "port", "protocol", "protocolVersion", "vpcId", "targetType", "ipAddressType"}
    )
    defaults: ClassVar[Props] = {
        "deregistrationDelay": 300,
        "slowStart": 0,
        "targetType": "instance",
        "healthCheck.enabled": True,
        "healthCheck.healthyThreshold": 3,
        "healthCheck.interval": 30,
        "healthCheck.port": "traffic-port",
        "healthCheck.protocol": "HTTP",
        "healthCheck.unhealthyThreshold": 3,
        "stickiness.cookieDuration": 86400,
        "stickiness.enabled": True,
    }
    computed = frozenset(
        {"arn", "arnSuffix", "loadBalancerArns", "name", "namePrefix", "healthCheck", "stickiness", "protocolVersion"}
        | {"loadBalancingAlgorithmType", "loadBalancingAnomalyMitigation", "loadBalancingCrossZoneEnabled"}
        | {"ipAddressType", "targetGroupHealth", "targetFailovers", "targetHealthStates", "preserveClientIp"}
    )
    rules = Rules(caseless=frozenset({"protocol", "protocolVersion", "healthCheck.protocol"}))
    name_length = 32

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """What AWS refuses."""
        if props.get("targetType", "instance") != "lambda":
            for name in ("port", "protocol", "vpcId"):
                if not props.get(name):
                    yield name, f"a target group of {props.get('targetType', 'instance')} targets needs it"
        yield from name_failures(props, self.name_length)
        check = props.get("healthCheck") or {}
        interval, timeout = check.get("interval", 30), check.get("timeout")
        if isinstance(interval, int) and isinstance(timeout, int) and timeout >= interval:
            yield "healthCheck.timeout", f"{timeout} s must be less than the interval of {interval} s"

    @staticmethod
    def _health(check: Props | None) -> dict[str, Any]:
        if not check:
            return {}
        arguments = {api: check[name] for name, api in _HEALTH.items() if check.get(name) not in (None, "")}
        if check.get("matcher"):
            arguments["Matcher"] = {"HttpCode": check["matcher"]}
        return arguments

    @staticmethod
    def _stickiness(props: Props) -> list[dict[str, str]]:
        block = props.get("stickiness")
        if not block:
            return []
        values = {"stickiness.enabled": str(block["enabled"]).lower(), "stickiness.type": block["type"]}
        if block["type"] == "lb_cookie":
            values["stickiness.lb_cookie.duration_seconds"] = str(block["cookieDuration"])
        if block["type"] == "app_cookie":
            values["stickiness.app_cookie.cookie_name"] = str(block.get("cookieName", ""))
            values["stickiness.app_cookie.duration_seconds"] = str(block["cookieDuration"])
        return [{"Key": key, "Value": value} for key, value in values.items()]

    def create(self, call: Call, props: Props) -> str:
        """Make it, then set its attributes."""
        api = call.client("elbv2")
        names = {
            "port": "Port",
            "protocol": "Protocol",
            "protocolVersion": "ProtocolVersion",
            "vpcId": "VpcId",
            "ipAddressType": "IpAddressType",
        }
        arguments = {there: props[name] for name, there in names.items() if props.get(name)}
        group = api.create_target_group(
            Name=unique_name(props, self.name_length),
            TargetType=props["targetType"],
            **arguments,
            **self._health(props.get("healthCheck")),
            **tags_argument(props),
        )["TargetGroups"][0]
        call.made = arn = str(group["TargetGroupArn"])
        attributes = attribute_list(props, _TARGET_ATTRIBUTES, frozenset(_TARGET_ATTRIBUTES)) + self._stickiness(props)
        api.modify_target_group_attributes(TargetGroupArn=arn, Attributes=attributes)
        return arn

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The group with its attributes and tags."""
        group = find(call, "describe_target_groups", "TargetGroups", TargetGroupArns=[resource_id])
        if group is None:
            return None
        answer = call.client("elbv2").describe_target_group_attributes(TargetGroupArn=resource_id)
        attributes = {item["Key"]: item["Value"] for item in answer["Attributes"]}
        check = {name: group.get(api) for name, api in _HEALTH.items()}
        check["matcher"] = (group.get("Matcher") or {}).get("HttpCode")
        found = {
            **attribute_props(self, answer["Attributes"], _TARGET_ATTRIBUTES),
            "name": group["TargetGroupName"],
            "port": group.get("Port"),
            "protocol": group.get("Protocol"),
            "vpcId": group.get("VpcId"),
            "targetType": group.get("TargetType"),
            "healthCheck": {name: value for name, value in check.items() if value is not None},
            "loadBalancerArns": group.get("LoadBalancerArns", []),
            "arn": resource_id,
            "arnSuffix": resource_id.rpartition(":")[2],
            "tagsAll": read_tags(call, resource_id),
        }
        for name, api in (("protocolVersion", "ProtocolVersion"), ("ipAddressType", "IpAddressType")):
            if group.get(api):
                found[name] = group[api]
        if (kind := attributes.get("stickiness.type")) in {"lb_cookie", "app_cookie"}:
            found["stickiness"] = {
                "type": kind,
                "enabled": attributes["stickiness.enabled"] == "true",
                "cookieDuration": int(attributes[f"stickiness.{kind}.duration_seconds"]),
                "cookieName": attributes["stickiness.app_cookie.cookie_name"],
            }
        return found

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Health check, attributes, tags."""
        api = call.client("elbv2")
        if "healthCheck" in changed and new.get("healthCheck"):
            api.modify_target_group(TargetGroupArn=resource_id, **self._health(new["healthCheck"]))
        attributes = attribute_list(new, _TARGET_ATTRIBUTES, changed)
        if "stickiness" in changed:
            attributes += self._stickiness(new)
        if attributes:
            api.modify_target_group_attributes(TargetGroupArn=resource_id, Attributes=attributes)
        update_tags(call, resource_id, old, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it once no listener and no rule uses it."""
        api = call.client("elbv2")
        forget_missing(
            lambda: call.retry({"ResourceInUse"}, lambda: api.delete_target_group(TargetGroupArn=resource_id))
        )
