"""Target groups: facts and API calls of the type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from engine.aws_plugin.compare import Rules
from engine.aws_plugin.kind import Call, Kind, forget_missing, unique_name
from engine.aws_plugin.lb import (
    attribute_list,
    attribute_props,
    find,
    name_failures,
    read_tags,
    refuse_existing,
    tags_argument,
    update_tags,
)
from engine.aws_plugin.wire import Props

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
    def _health(props: Props) -> dict[str, Any]:
        check: Props = props.get("healthCheck") or {}
        arguments = {api: check[name] for name, api in _HEALTH.items() if check.get(name) not in (None, "")}
        if "HealthCheckProtocol" in arguments:
            arguments["HealthCheckProtocol"] = arguments["HealthCheckProtocol"].upper()
        if check.get("matcher"):
            of_grpc = str(props.get("protocolVersion") or "").upper() == "GRPC"
            arguments["Matcher"] = {"GrpcCode" if of_grpc else "HttpCode": check["matcher"]}
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
            "vpcId": "VpcId",
            "ipAddressType": "IpAddressType",
        }
        arguments = {there: props[name] for name, there in names.items() if props.get(name)}
        if props.get("protocolVersion"):
            arguments["ProtocolVersion"] = str(props["protocolVersion"]).upper()
        name = unique_name(props, self.name_length)
        refuse_existing(call, "describe_target_groups", "TargetGroups", self.noun, name)
        group = api.create_target_group(
            Name=name,
            TargetType=props["targetType"],
            **arguments,
            **self._health(props),
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
        matcher = group.get("Matcher") or {}
        check["matcher"] = matcher.get("HttpCode") or matcher.get("GrpcCode")
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
            api.modify_target_group(TargetGroupArn=resource_id, **self._health(new))
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
