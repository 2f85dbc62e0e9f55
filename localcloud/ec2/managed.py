"""Network interfaces that AWS holds for an endpoint or a NAT gateway, and what becomes available or goes late.

Decides which address of a subnet such an interface has. Moto draws it at random, mostly outside the subnet, and has
everything at once.

Sources: EC2 API reference (NetworkInterface, RequesterManaged), VPC user guide ("Requester-managed interfaces").
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.faults.lateness import Lateness
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

FREE = "InsufficientFreeAddressesInSubnet"


def patch(patches: Patches, lateness: Lateness, clock: Callable[[], float] = time.time) -> None:
    """Let the backend know how late things are, and what is to come."""
    patches.set(EC2Backend, "lateness", lateness)
    patches.set(EC2Backend, "clock", staticmethod(clock))
    patches.set(EC2Backend, "coming", property(_coming))


def _coming(self: Moto) -> list[tuple[float, Callable[[], None]]]:
    found: list[tuple[float, Callable[[], None]]] = self.__dict__.setdefault("_coming", [])
    return found


def later(ec2: Moto, member: str, thing: str, then: Callable[[], None]) -> None:
    """Do something after the lateness of its kind; at once if there is none."""
    late = ec2.lateness.of(member, thing)
    if late:
        ec2.coming.append((ec2.clock() + late, then))
    else:
        then()


def tick(ec2: Moto) -> None:
    """Do what is due."""
    now = ec2.clock()
    for each in [each for each in ec2.coming if each[0] <= now]:
        ec2.coming.remove(each)
        each[1]()


def hold(ec2: Moto, subnet: Moto, kind: str, description: str, groups: list[str] | None = None) -> Moto:
    """A new interface in the subnet, at its next free address. Raises AWS's error if there is none."""
    try:
        address = subnet.get_available_subnet_ip(None)
    except StopIteration:
        raise EC2ClientError(FREE, f"The subnet {subnet.id} has no free addresses") from None
    interface = ec2.create_network_interface(subnet, address, group_ids=groups, description=description)
    interface.interface_type = kind
    interface.requester_managed = True
    interface.status = "in-use"
    interface.attachment_id = None
    return interface


def regroup(ec2: Moto, interface_id: str, groups: list[str]) -> None:
    """Give an interface these security groups."""
    interface = ec2.enis.get(interface_id)
    if interface is not None:
        interface._group_set = [ec2.get_security_group_from_id(group) for group in groups]


def release(ec2: Moto, interface_id: str) -> None:
    """The interface goes, its address is free again. Harmless if it is gone."""
    interface: Any = ec2.enis.pop(interface_id, None)
    if interface is not None:
        interface.subnet.del_subnet_ip(interface.private_ip_address)
