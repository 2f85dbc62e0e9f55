"""VPC endpoints of AWS's services: facts and API calls of the type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

import uuid
from typing import Any, ClassVar

from engine.aws_plugin import ec2_tags
from engine.aws_plugin.compare import Rules
from engine.aws_plugin.convert import from_api, tag_map, to_api
from engine.aws_plugin.ec2_network import describe
from engine.aws_plugin.kind import Boto, Call, Kind, OperationError, gone_code, pick
from engine.aws_plugin.wire import Props

_LISTS = {"routeTableIds": "RouteTableIds", "securityGroupIds": "SecurityGroupIds", "subnetIds": "SubnetIds"}
"""What an endpoint is tied to: property and API name; ModifyVpcEndpoint takes the latter with Add and Remove."""


class VpcEndpoint(Kind):
    """An endpoint in a VPC: network interfaces in subnets, or a route of route tables (`aws_vpc_endpoint`)."""

    type_name = "aws:ec2/vpcEndpoint:VpcEndpoint"
    noun = "EC2 VPC Endpoint"
    supported = frozenset(
        {"dnsOptions", "ipAddressType", "policy", "privateDnsEnabled", "region", "serviceName", "tags"}
        | {"vpcEndpointType", "vpcId", *_LISTS}
    )
    replace = frozenset({"serviceName", "vpcEndpointType", "vpcId"})
    defaults: ClassVar[Props] = {"vpcEndpointType": "Gateway"}
    computed = frozenset(
        {"arn", "cidrBlocks", "dnsEntries", "dnsOptions", "ipAddressType", "networkInterfaceIds", "ownerId", "policy"}
        | {"prefixListId", "privateDnsEnabled", "requesterManaged", "serviceRegion", "state", "subnetConfigurations"}
        | {*_LISTS}
    )
    moving = frozenset({"networkInterfaceIds", "subnetConfigurations"})
    rules = Rules(
        sets=frozenset({*_LISTS, "subnetConfigurations"}),
        json=frozenset({"policy"}),
        caseless=frozenset({"ipAddressType"}),
    )
    timeout = 600.0

    def replaces(self, name: str, old: Props, new: Props) -> bool:
        """Only an interface endpoint can change whether it has private DNS."""
        if name == "privateDnsEnabled":
            return new.get("vpcEndpointType") != "Interface"
        return name in self.replace

    def moves(self, changed: frozenset[str]) -> frozenset[str]:
        """Other subnets are other network interfaces."""
        return self.moving if "subnetIds" in changed else frozenset()

    @staticmethod
    def _settings(call: Call, operation: str, props: Props, names: frozenset[str]) -> dict[str, Any]:
        """What the create and the modify call take alike."""
        plain = {"ipAddressType": "IpAddressType", "policy": "PolicyDocument"}
        found = {api: props[name] for name, api in plain.items() if name in names and props.get(name)}
        if "dnsOptions" in names and props.get("dnsOptions"):
            model = call.client("ec2").meta.service_model.operation_model(operation)
            options = model.input_shape.members["DnsOptions"]
            found["DnsOptions"] = to_api(props["dnsOptions"], options, {}, "dnsOptions")
        return found

    def create(self, call: Call, props: Props) -> str:
        """Make it and wait until it is available."""
        ec2 = call.client("ec2")
        answer = ec2.create_vpc_endpoint(
            ClientToken=uuid.uuid4().hex,
            PrivateDnsEnabled=bool(props.get("privateDnsEnabled")),
            ServiceName=props.get("serviceName") or "",
            VpcEndpointType=props["vpcEndpointType"],
            VpcId=props["vpcId"],
            **{api: props[name] for name, api in _LISTS.items() if props.get(name)},
            **self._settings(call, "CreateVpcEndpoint", props, frozenset(props)),
            **ec2_tags.specification("vpc-endpoint", props),
        )
        call.made = endpoint_id = str(answer["VpcEndpoint"]["VpcEndpointId"])
        call.wait(f"VPC endpoint {endpoint_id} becoming available", lambda: self._available(call, endpoint_id))
        return endpoint_id

    @staticmethod
    def _find(call: Call, endpoint_id: str) -> dict[str, Any] | None:
        endpoint = describe(call, "describe_vpc_endpoints", "VpcEndpoints", VpcEndpointIds=[endpoint_id])
        return None if endpoint is None or str(endpoint.get("State")).lower() == "deleted" else endpoint

    @classmethod
    def _available(cls, call: Call, endpoint_id: str) -> bool:
        endpoint = cls._find(call, endpoint_id) or {}
        state = str(endpoint.get("State")).lower()
        if state in {"failed", "rejected", "expired", "partial"}:
            reason: Boto = endpoint.get("LastError") or {}
            message = f"VPC endpoint {endpoint_id} is {state}: {reason.get('Code')}: {reason.get('Message')}"
            raise OperationError(message)
        return state in {"available", "pendingacceptance"}

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The endpoint, the prefix list of its service, and the addresses of its network interfaces."""
        endpoint = self._find(call, resource_id)
        if endpoint is None:
            return None
        outputs = self.schema.outputs
        named = [{"Name": "prefix-list-name", "Values": [endpoint["ServiceName"]]}]
        prefixes = describe(call, "describe_prefix_lists", "PrefixLists", Filters=named) or {}
        interfaces = [
            describe(call, "describe_network_interfaces", "NetworkInterfaces", NetworkInterfaceIds=[interface]) or {}
            for interface in endpoint.get("NetworkInterfaceIds") or []
        ]
        return {
            **pick(endpoint, "ServiceName", "VpcId", "OwnerId", "PrivateDnsEnabled", "RequesterManaged", "State"),
            **pick(endpoint, "IpAddressType", "ServiceRegion"),
            "vpcEndpointType": endpoint.get("VpcEndpointType") or "Gateway",
            "routeTableIds": endpoint.get("RouteTableIds") or [],
            "subnetIds": endpoint.get("SubnetIds") or [],
            "securityGroupIds": [group["GroupId"] for group in endpoint.get("Groups") or []],
            "networkInterfaceIds": sorted(endpoint.get("NetworkInterfaceIds") or []),
            "policy": endpoint.get("PolicyDocument"),
            "dnsEntries": from_api(endpoint.get("DnsEntries") or [], outputs["dnsEntries"].type, {}),
            "dnsOptions": from_api(endpoint.get("DnsOptions"), outputs["dnsOptions"].type, {}),
            "cidrBlocks": prefixes.get("Cidrs"),
            "prefixListId": prefixes.get("PrefixListId"),
            "subnetConfigurations": [
                {
                    "ipv4": interface.get("PrivateIpAddress"),
                    "ipv6": interface.get("Ipv6Address"),
                    "subnetId": interface.get("SubnetId"),
                }
                for interface in sorted(interfaces, key=lambda item: str(item.get("NetworkInterfaceId")))
            ],
            "arn": call.arn("ec2", f"vpc-endpoint/{resource_id}"),
            "tagsAll": tag_map(endpoint.get("Tags")),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Everything but the service, its type and the VPC, in one call; then tags."""
        if changed - {"tags", "tagsAll"}:
            arguments = self._settings(call, "ModifyVpcEndpoint", new, changed)
            if "policy" in changed and not new.get("policy"):
                arguments["ResetPolicy"] = True
            if "privateDnsEnabled" in changed:
                arguments["PrivateDnsEnabled"] = bool(new.get("privateDnsEnabled"))
            for name, api in _LISTS.items():
                before, after = old.get(name) or [], new.get(name) or []
                if name in changed:
                    ways = {
                        f"Add{api}": [item for item in after if item not in before],
                        f"Remove{api}": [item for item in before if item not in after],
                    }
                    arguments |= {key: items for key, items in ways.items() if items}
            call.client("ec2").modify_vpc_endpoint(VpcEndpointId=resource_id, **arguments)
            call.wait(f"VPC endpoint {resource_id} becoming available", lambda: self._available(call, resource_id))
        ec2_tags.update(call, resource_id, old, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it, and wait until its network interfaces and routes are gone."""
        answer = call.client("ec2").delete_vpc_endpoints(VpcEndpointIds=[resource_id])
        for item in answer.get("Unsuccessful") or []:
            error: Boto = item.get("Error") or {}
            if not gone_code(str(error.get("Code"))):
                message = f"{error.get('Code')}: {error.get('Message')}"
                raise OperationError(message)
        call.wait(f"VPC endpoint {resource_id} going away", lambda: self._find(call, resource_id) is None)
