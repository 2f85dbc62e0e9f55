"""NAT gateways: that a deleted one frees its network interface and its address, and that a missing one is an error.

Decides which Elastic IP addresses can be released. Moto keeps what a deleted gateway had, releases an address from
under its gateway, and fails on one that does not exist.

Sources: EC2 API reference (DeleteNatGateway: "disassociates its Elastic IP address"; ReleaseAddress), VPC user guide
("NAT gateways": a deleted one is seen for about an hour).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.elastic_ip_addresses import ElasticAddressBackend
from moto.ec2.models.nat_gateways import NatGatewayBackend

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

_describe_nat_gateways = NatGatewayBackend.describe_nat_gateways
_delete_nat_gateway = NatGatewayBackend.delete_nat_gateway
_release_address = ElasticAddressBackend.release_address


def patch(patches: Patches) -> None:
    """Make NAT gateways whole."""
    patches.methods(NatGatewayBackend, describe_nat_gateways, delete_nat_gateway)
    patches.methods(ElasticAddressBackend, release_address)


def _require(self: Moto, gateway_id: str) -> Moto:
    if gateway_id not in self.nat_gateways:
        raise EC2ClientError("NatGatewayNotFound", f"NAT gateway {gateway_id} was not found")
    return self.nat_gateways[gateway_id]


def describe_nat_gateways(self: Moto, filters: Any, nat_gateway_ids: list[str] | None) -> list[Moto]:  # noqa: ANN401 - moto's
    """AWS refuses ids that it does not know."""
    for gateway_id in nat_gateway_ids or []:
        _require(self, gateway_id)
    return _describe_nat_gateways(self, filters, nat_gateway_ids)  # type: ignore[no-any-return]


def delete_nat_gateway(self: Moto, nat_gateway_id: str) -> Moto:
    """Its address is free for another, its interface no longer holds its subnet."""
    gateway = _require(self, nat_gateway_id)
    for address in self.addresses:
        if address.eni is not None and address.eni is gateway._eni:
            self.disassociate_address(association_id=address.association_id)
    self.enis.pop(gateway._eni.id, None)
    return _delete_nat_gateway(self, nat_gateway_id)


def release_address(self: Moto, address: str | None = None, allocation_id: str | None = None) -> None:
    """AWS keeps an address that is in use."""
    for item in self.addresses:
        if allocation_id is not None and item.allocation_id == allocation_id and item.association_id is not None:
            message = f"The address with allocation id [{allocation_id}] cannot be released because it is in use."
            raise EC2ClientError("InvalidIPAddress.InUse", message)
    _release_address(self, address, allocation_id)
