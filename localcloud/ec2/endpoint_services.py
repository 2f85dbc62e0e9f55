"""The endpoint services of the region, and the prefix lists of those with gateway endpoints, as EC2 tells them.

Decides what DescribeVpcEndpointServices and DescribePrefixLists answer. Moto cannot read the filters of the first,
gives gateways a private name, and leaves the CIDR blocks out of the second.

Sources: EC2 API reference (DescribeVpcEndpointServices, ServiceDetail, DescribePrefixLists).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, InvalidServiceName
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend
from moto.ec2.responses.vpcs import VPCs

from localcloud.ec2.filters import fits

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

GATEWAY = "Gateway"

FILTERS = {"service-name", "service-type", "owner", "supported-ip-address-types"}
PAGE = 1000  # the most of one answer (MaxResults)


@dataclass(frozen=True)
class Service:
    """An endpoint service; `base` is the domain of its endpoints' names, `private_name` the service's own."""

    name: str
    kind: str
    zones: tuple[str, ...]
    base: str
    private_name: str | None
    id: str


def patch(patches: Patches) -> None:
    """Tell services and prefix lists as AWS does."""
    patches.methods(VPCs, describe_vpc_endpoint_services, describe_prefix_lists)


def offered(ec2: Moto) -> list[Service]:
    """All services, in the zones that the account has."""
    zones = tuple(zone.name for zone in RegionsAndZonesBackend.zones.get(ec2.region_name, []))
    found = []
    for detail in ec2._collect_default_endpoint_services(ec2.account_id, ec2.region_name):
        kind = detail["ServiceType"][0]["ServiceType"]
        found.append(
            Service(
                name=detail["ServiceName"],
                kind=kind,
                zones=zones,
                base=detail["BaseEndpointDnsNames"][0],
                private_name=None if kind == GATEWAY else detail.get("PrivateDnsName"),
                id=detail["ServiceId"],
            )
        )
    return found


def describe_vpc_endpoint_services(self: Moto) -> ActionResult:
    """Those that are asked for; an unknown name is an error, but in a filter it fits nothing."""
    self.error_on_dryrun()
    every = offered(self.ec2_backend)
    names = self._get_param("ServiceNames", [])
    for name in names:
        if name not in {each.name for each in every}:
            raise InvalidServiceName(name)
    filters = self._filters_from_querystring()
    unknown = [name for name in filters if name not in FILTERS and not name.startswith(("tag:", "tag-key"))]
    if unknown:
        raise EC2ClientError("InvalidFilter", f"The filter '{unknown[0]}' is invalid")
    found = [each for each in every if (not names or each.name in names) and _fits(each, filters)]
    found.sort(key=lambda each: (each.name, each.kind))
    start, size = int(self._get_param("NextToken") or 0), self._get_int_param("MaxResults") or PAGE
    page = found[start : start + size]
    answer: dict[str, Any] = {
        "ServiceNames": sorted({each.name for each in page}),
        "ServiceDetails": [_told(each, self.ec2_backend.region_name) for each in page],
    }
    if start + size < len(found):
        answer["NextToken"] = str(start + size)
    return ActionResult(answer)


def _fits(service: Service, filters: dict[str, list[str]]) -> bool:
    values = {
        "service-name": service.name,
        "service-type": service.kind,
        "owner": "amazon",
        "supported-ip-address-types": "ipv4",
    }
    return all(fits(values.get(name), wanted) for name, wanted in filters.items())


def _told(service: Service, region: str) -> dict[str, Any]:
    private: dict[str, Any] = {}
    if service.private_name is not None:
        private = {
            "PrivateDnsName": service.private_name,
            "PrivateDnsNames": [{"PrivateDnsName": service.private_name}],
            "PrivateDnsNameVerificationState": "verified",
        }
    return {
        "ServiceName": service.name,
        "ServiceId": service.id,
        "ServiceType": [{"ServiceType": service.kind}],
        "ServiceRegion": region,
        "AvailabilityZones": list(service.zones),
        "Owner": "amazon",
        "BaseEndpointDnsNames": [service.base],
        **private,
        "VpcEndpointPolicySupported": True,
        "AcceptanceRequired": False,
        "ManagesVpcEndpoints": False,
        "SupportedIpAddressTypes": ["ipv4"],
        "Tags": [],
    }


def describe_prefix_lists(self: Moto) -> ActionResult:
    """The prefix lists of AWS's services in this region, with their CIDR blocks."""
    lists = self.ec2_backend.describe_managed_prefix_lists(
        prefix_list_ids=self._get_param("PrefixListIds", []), filters=self._filters_from_querystring()
    )
    return ActionResult(
        {
            "PrefixLists": [
                {
                    "PrefixListId": each.id,
                    "PrefixListName": each.prefix_list_name,
                    "Cidrs": [entry["Cidr"] for entry in _newest(each)],
                }
                for each in lists
                if each.owner_id == "AWS"
            ]
        }
    )


def _newest(prefix_list: Moto) -> list[dict[str, str]]:
    entries = prefix_list.entries or {}
    newest: list[dict[str, str]] = list(entries.values())[-1] if entries else []
    return newest
