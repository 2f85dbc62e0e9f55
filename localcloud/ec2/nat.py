"""NAT gateways: late, with an address of their subnet, and an Elastic IP address that is theirs until they are gone.

Decides which NAT gateways fail, and which Elastic IP addresses can be released. Moto has a gateway at once, with an
address outside its subnet, keeps what a deleted one had, releases an address from under its gateway, and does not tell
which address is the primary one. A route to a gateway that is gone is a black hole.

Sources: EC2 API reference (CreateNatGateway, DeleteNatGateway: "disassociates its Elastic IP address"; ReleaseAddress;
NatGateway, FailureCode; Route, State), VPC user guide ("NAT gateways": a deleted one is seen for about an hour).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.elastic_ip_addresses import ElasticAddress, ElasticAddressBackend
from moto.ec2.models.nat_gateways import NatGateway, NatGatewayBackend
from moto.ec2.models.route_tables import Route, RouteBackend
from moto.ec2.utils import random_nat_gateway_id

from localcloud.ec2 import managed

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

PUBLIC = "public"

_describe_nat_gateways = NatGatewayBackend.describe_nat_gateways
_release_address = ElasticAddressBackend.release_address
_create_route = RouteBackend.create_route
_replace_route = RouteBackend.replace_route
_route_state: Any = vars(Route)["state"]


def patch(patches: Patches) -> None:
    """Make NAT gateways whole."""
    patches.set(NatGateway, "availability_mode", "zonal")
    patches.set(ElasticAddress, "network_border_group", property(lambda self: self.ec2_backend.region_name))
    patches.set(ElasticAddress, "public_ipv4_pool", "amazon")
    patches.set(Route, "state", property(_state))
    patches.methods(NatGatewayBackend, create_nat_gateway, describe_nat_gateways, delete_nat_gateway)
    patches.methods(ElasticAddressBackend, release_address)
    patches.methods(RouteBackend, create_route, replace_route)


def there(ec2: Moto, vpc_id: str) -> list[Moto]:
    """The NAT gateways of a VPC that hold something in it."""
    return [
        each for each in ec2.nat_gateways.values() if each.vpc_id == vpc_id and each.state not in {"deleted", "failed"}
    ]


def _require(self: Moto, gateway_id: str) -> Moto:
    if gateway_id not in self.nat_gateways:
        raise EC2ClientError("NatGatewayNotFound", f"NAT gateway {gateway_id} was not found")
    return self.nat_gateways[gateway_id]


def create_nat_gateway(
    self: Moto,
    subnet_id: str,
    allocation_id: str | None,
    tags: dict[str, str] | None = None,
    connectivity_type: str | None = PUBLIC,
) -> Moto:
    """AWS answers `pending`, and says later whether it is available, or why it failed."""
    subnet = self.get_subnet(subnet_id)
    kind = connectivity_type or PUBLIC
    if kind == PUBLIC and not allocation_id:
        raise EC2ClientError("MissingParameter", "The request must contain the parameter AllocationId")
    if allocation_id and kind != PUBLIC:
        raise EC2ClientError("InvalidParameter", "AllocationId is not supported with private connectivity")
    gateway = NatGateway.__new__(NatGateway)
    gateway.__dict__.update(
        id=random_nat_gateway_id(),
        subnet_id=subnet_id,
        state="pending",
        connectivity_type=kind,
        ec2_backend=self,
        vpc_id=subnet.vpc_id,
    )
    gateway._created_at = utcnow()
    gateway._eni = managed.hold(self, subnet, "nat_gateway", f"Interface for NAT Gateway {gateway.id}")
    gateway._eni._group_set = []  # it has none
    gateway.private_ip = gateway._eni.private_ip_address
    gateway.add_tags(tags or {})
    gateway.address_set = [
        {
            "networkInterfaceId": gateway._eni.id,
            "privateIp": gateway.private_ip,
            "isPrimary": True,
            "status": "succeeded",
            **({"allocationId": allocation_id} if allocation_id else {}),
        }
    ]
    self.nat_gateways[gateway.id] = gateway
    managed.later(self, "nat_gateways", gateway.id, partial(_settle, self, gateway, allocation_id))
    return gateway


def _settle(ec2: Moto, gateway: Moto, allocation_id: str | None) -> None:
    """Take the address and be available, or fail."""
    if gateway.state != "pending":
        return
    failure = _failure(ec2, gateway, allocation_id)
    if failure is not None:
        gateway.state = "failed"
        gateway.failure_code, gateway.failure_message = failure
        managed.release(ec2, gateway._eni.id)
        return
    if allocation_id:
        ec2.associate_address(eni=gateway._eni, allocation_id=allocation_id)
        (address,) = ec2.address_by_allocation([allocation_id])
        gateway.address_set[0] |= {"publicIp": address.public_ip, "associationId": address.association_id}
    gateway.state = "available"


def _failure(ec2: Moto, gateway: Moto, allocation_id: str | None) -> tuple[str, str] | None:
    if allocation_id is None:
        return None
    held = [each for each in ec2.addresses if each.allocation_id == allocation_id]
    if not held:
        return "InvalidAllocationID.NotFound", f"Elastic IP address {allocation_id} could not be found"
    if held[0].association_id is not None:
        return (
            "Resource.AlreadyAssociated",
            f"Elastic IP address [{allocation_id}] is already associated",
        )
    if not any(each.vpc and each.vpc.id == gateway.vpc_id for each in ec2.internet_gateways.values()):
        return "Gateway.NotAttached", f"Network {gateway.vpc_id} has no Internet gateway attached"
    return None


def describe_nat_gateways(self: Moto, filters: Any, nat_gateway_ids: list[str] | None) -> list[Moto]:  # noqa: ANN401 - moto's
    """AWS refuses ids that it does not know."""
    for gateway_id in nat_gateway_ids or []:
        _require(self, gateway_id)
    return _describe_nat_gateways(self, filters, nat_gateway_ids)  # type: ignore[no-any-return]


def delete_nat_gateway(self: Moto, nat_gateway_id: str) -> Moto:
    """Its address is free for another once it is gone, and its interface no longer holds its subnet."""
    gateway = _require(self, nat_gateway_id)
    if gateway.state not in {"deleting", "deleted"}:
        gateway.state = "deleting"
        managed.later(self, "nat_gateways", f"{gateway.id} goes", partial(_gone, self, gateway))
    return gateway


def _gone(ec2: Moto, gateway: Moto) -> None:
    for address in ec2.addresses:
        if address.eni is not None and address.eni is gateway._eni:
            ec2.disassociate_address(association_id=address.association_id)
    managed.release(ec2, gateway._eni.id)
    gateway.state = "deleted"


def release_address(self: Moto, address: str | None = None, allocation_id: str | None = None) -> None:
    """AWS keeps an address that is in use."""
    for item in self.addresses:
        if allocation_id is not None and item.allocation_id == allocation_id and item.association_id is not None:
            message = f"The address with allocation id [{allocation_id}] cannot be released because it is in use."
            raise EC2ClientError("InvalidIPAddress.InUse", message)
    _release_address(self, address, allocation_id)


def _state(self: Moto) -> str:
    """A route to a NAT gateway or an internet gateway that is gone leads nowhere."""
    nat, gateway = self.nat_gateway, self.gateway
    detached = gateway is not None and gateway.id.startswith("igw-") and gateway.vpc is None
    if (nat is not None and nat.state in {"deleted", "failed"}) or detached:
        return "blackhole"
    return str(_route_state.fget(self))


def create_route(self: Moto, *args: Any, **kwargs: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """AWS refuses a gateway that there is not; moto makes a route to nowhere."""
    _check_target(self, kwargs.get("nat_gateway_id"))
    return _create_route(self, *args, **kwargs)


def replace_route(self: Moto, *args: Any, **kwargs: Any) -> Moto:  # noqa: ANN401 - the same
    """See `create_route`."""
    _check_target(self, kwargs.get("nat_gateway_id"))
    return _replace_route(self, *args, **kwargs)


def _check_target(ec2: Moto, gateway_id: str | None) -> None:
    if gateway_id is not None and gateway_id not in {
        each.id for each in ec2.nat_gateways.values() if each.state not in {"deleted", "failed"}
    }:
        raise EC2ClientError("InvalidNatGatewayID.NotFound", f"The natGateway ID '{gateway_id}' does not exist")
