"""VPC endpoints: what deleting and changing them answers and does.

Decides which deletions fail. Moto forgets the type that is the default, and deletes an endpoint twice, which fails on
the route that went with it. Of a change it drops private DNS and the policy's reset, and leaves the routes of a gateway
endpoint as they were.

Source: EC2 API reference (DeleteVpcEndpoints, ModifyVpcEndpoint).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.ec2.models.vpcs import VPCBackend, VPCEndPoint
from moto.ec2.responses.vpcs import VPCs

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

_create_vpc_endpoint = VPCBackend.create_vpc_endpoint
_delete_vpc_endpoints = VPCBackend.delete_vpc_endpoints
_modify_vpc_endpoint = VPCs.modify_vpc_endpoint


def patch(patches: Patches) -> None:
    """Make endpoints whole."""
    patches.methods(VPCs, delete_vpc_endpoints, modify_vpc_endpoint)
    patches.methods(VPCBackend, create_vpc_endpoint)


def create_vpc_endpoint(
    self: Moto,
    vpc_id: str,
    service_name: str,
    endpoint_type: str | None,
    *args: Any,  # noqa: ANN401 - moto's own arguments
    **kwargs: Any,  # noqa: ANN401 - the same
) -> Moto:
    """An endpoint is a gateway endpoint unless it is asked otherwise."""
    return _create_vpc_endpoint(self, vpc_id, service_name, endpoint_type or "Gateway", *args, **kwargs)


def delete_vpc_endpoints(self: Moto) -> ActionResult:
    """AWS deletes those that exist, and says of each other that it does not."""
    asked, there = self._get_param("VpcEndpointIds", []), self.ec2_backend.vpc_end_points
    known = [item for item in asked if item in there and there[item].state != "deleted"]
    _delete_vpc_endpoints(self.ec2_backend, known)
    missing = [
        {
            "ResourceId": item,
            "Error": {
                "Code": "InvalidVpcEndpointId.NotFound",
                "Message": f"The Vpc Endpoint Id '{item}' does not exist",
            },
        }
        for item in asked
        if item not in known
    ]
    return ActionResult({"Unsuccessful": missing})


def modify_vpc_endpoint(self: Moto) -> ActionResult:
    """AWS changes the routes of a gateway endpoint with its route tables, and all that it is asked to."""
    answer = _modify_vpc_endpoint(self)
    ec2 = self.ec2_backend
    endpoint = ec2.vpc_end_points[self._get_param("VpcEndpointId")]
    if self._get_bool_param("ResetPolicy"):
        endpoint.policy_document = json.dumps(VPCEndPoint.DEFAULT_POLICY)
    private_dns = self._get_bool_param("PrivateDnsEnabled")
    if private_dns is not None:
        endpoint.private_dns_enabled = private_dns
    prefixes = endpoint.destination_prefix_list_id
    if prefixes:
        for table in self._get_param("AddRouteTableIds", []):
            ec2.create_route(table, None, gateway_id=endpoint.id, destination_prefix_list_id=prefixes)
        for table in self._get_param("RemoveRouteTableIds", []):
            ec2.delete_route(table, prefixes)
    return answer
