"""Load balancers, and what they have in common with their target groups: facts and API calls of the type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from engine.aws_plugin.compare import Rules
from engine.aws_plugin.convert import tag_changes, tag_list, tag_map
from engine.aws_plugin.kind import Boto, Call, Kind, OperationError, forget_missing, gone, unique_name
from engine.aws_plugin.wire import Props


def tags_argument(props: Props) -> dict[str, Any]:
    """The `Tags` of a create call; nothing if there are none, since AWS refuses an empty list."""
    return {"Tags": tag_list(props["tagsAll"])} if props.get("tagsAll") else {}


def update_tags(call: Call, arn: str, old: Props, new: Props) -> None:
    """Bring a resource's tags from old to new."""
    removed, changed = tag_changes(old, new)
    if removed:
        call.client("elbv2").remove_tags(ResourceArns=[arn], TagKeys=removed)
    if changed:
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


def refuse_existing(call: Call, operation: str, key: str, noun: str, name: str) -> None:
    """Raise OperationError if there is one of this name: the API's create would return it, although it is another's."""
    if find(call, operation, key, Names=[name]) is not None:
        message = f"{noun} ({name}) already exists"
        raise OperationError(message)


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


_LOGS = {"accessLogs": "access_logs.s3", "connectionLogs": "connection_logs.s3"}
"""What a load balancer writes to a bucket: property, and what its attributes begin with."""


def _log_attributes(name: str, block: Props | None, *, update: bool) -> list[dict[str, str]]:
    """A block of logs as attributes. Off, it keeps its bucket, as with the official plugin."""
    prefix, on = _LOGS[name], bool((block or {}).get("enabled"))
    values = {"enabled": str(on).lower()}
    if on and block:
        values |= {key: str(block.get(key) or "") for key in ("bucket", "prefix") if update or block.get(key)}
    return [{"Key": f"{prefix}.{key}", "Value": value} for key, value in values.items()]


def _log_props(attributes: list[dict[str, str]]) -> Props:
    """The way back."""
    values = {item["Key"]: item["Value"] for item in attributes}
    return {
        name: {
            "enabled": values.get(f"{prefix}.enabled") == "true",
            "bucket": values.get(f"{prefix}.bucket", ""),
            "prefix": values.get(f"{prefix}.prefix", ""),
        }
        for name, prefix in _LOGS.items()
    }


class LoadBalancer(Kind):
    """An application load balancer (`aws_lb`)."""

    type_name = "aws:lb/loadBalancer:LoadBalancer"
    noun = "ELBv2 Load Balancer"
    supported = frozenset(
        {"internal", "ipAddressType", "loadBalancerType", "name", "namePrefix", "region", "securityGroups", "subnets"}
        | {"tags", *_BALANCER_ATTRIBUTES, *_LOGS}
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
        | {"securityGroups", "subnets", "subnetMappings", *_LOGS}
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
        name = unique_name(props, self.name_length)
        refuse_existing(call, "describe_load_balancers", "LoadBalancers", self.noun, name)
        balancer = api.create_load_balancer(
            Name=name,
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
        for name in _LOGS:
            attributes += _log_attributes(name, props.get(name), update=False)
        api.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=attributes)
        call.wait(f"load balancer {arn} becoming active", lambda: self._active(call, arn))
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
            **_log_props(answer["Attributes"]),
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
        """Attributes, security groups, subnets, address type, tags."""
        api = call.client("elbv2")
        attributes = attribute_list(new, _BALANCER_ATTRIBUTES, changed)
        for name in _LOGS:
            if name in changed:
                attributes += _log_attributes(name, new.get(name), update=True)
        if attributes:
            api.modify_load_balancer_attributes(LoadBalancerArn=resource_id, Attributes=attributes)
        if "securityGroups" in changed:
            api.set_security_groups(LoadBalancerArn=resource_id, SecurityGroups=new["securityGroups"])
        if "subnets" in changed:
            api.set_subnets(LoadBalancerArn=resource_id, Subnets=new["subnets"])
        if "ipAddressType" in changed:
            api.set_ip_address_type(LoadBalancerArn=resource_id, IpAddressType=new["ipAddressType"])
        call.wait(f"load balancer {resource_id} becoming active", lambda: self._active(call, resource_id))
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
