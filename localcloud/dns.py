"""Records of Route 53: which changes are refused, and when one has come to every name server.

Decides nothing that resolves a name: nobody asks the local cloud for one. Moto takes an alias to anything, a record
twice and the deletion of one that is gone, and every change of moto's is everywhere at once. Sources: Route 53 API
reference (ChangeResourceRecordSets, GetChange, AliasTarget), developer guide ("Choosing between alias and non-alias
records").
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.moto_api._internal import mock_random
from moto.route53.exceptions import InvalidInput, Route53ClientError
from moto.route53.models import Route53Backend
from moto.route53.responses import Route53

from localcloud.elbv2.balancers import HOSTED_ZONE
from localcloud.moto_state import backend

if TYPE_CHECKING:
    from localcloud.faults.lateness import Lateness
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

_DUAL: Final = "dualstack."

_change = Route53Backend.change_resource_record_sets
_answer_change = Route53.change_resource_record_sets


def patch(patches: Patches, lateness: Lateness) -> None:
    """Make records strict, and late."""
    made: dict[str, float] = {}

    def change_resource_record_sets(self: Moto) -> Moto:
        """AWS answers at once that a change is pending; moto that it is done."""
        _answer_change(self)
        change = "/change/C" + str(mock_random.get_random_string(20)).upper()
        made[change] = time.monotonic()
        return ActionResult({"ChangeInfo": {"Id": change, "Status": "PENDING", "SubmittedAt": utcnow()}})

    def get_change(self: Moto) -> Moto:
        """AWS knows its own changes, which are late; moto any, and at once."""
        change = "/change/" + str(self._get_param("Id")).removeprefix("/change/")
        if change not in made:
            raise Route53ClientError("NoSuchChange", f"A change with the specified change ID does not exist: {change}")
        done = time.monotonic() >= made[change] + lateness.of("records", change)
        status = "INSYNC" if done else "PENDING"
        return ActionResult({"ChangeInfo": {"Id": change, "Status": status, "SubmittedAt": utcnow()}})

    patches.methods(Route53, change_resource_record_sets, get_change)
    patches.set(Route53Backend, "change_resource_record_sets", _checked)


def _invalid(message: str) -> Route53ClientError:
    return Route53ClientError("InvalidChangeBatch", f"[{message}]")


def _checked(self: Moto, zoneid: str, change_list: list[dict[str, Any]]) -> None:
    """AWS checks the whole batch before it does any of it."""
    zone = self.get_hosted_zone(zoneid)
    there = {_key(record.name, record.type, record.set_identifier): record for record in zone.rrsets}
    for change in change_list:
        wanted, action = change["ResourceRecordSet"], change["Action"]
        name, kind = _whole(wanted["Name"]), wanted["Type"]
        if name != zone.name and not name.endswith(f".{zone.name}"):
            raise _invalid(f"RRSet with DNS name {name} is not permitted in zone {zone.name}")
        alias = wanted.get("AliasTarget")
        if bool(alias) == bool(wanted.get("ResourceRecords") and wanted.get("TTL") is not None) or (
            alias and (wanted.get("TTL") is not None or wanted.get("ResourceRecords"))
        ):
            raise InvalidInput(
                "Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or"
                f" TrafficPolicyInstanceId] in Change with [Action={action}, Name={wanted['Name']}, Type={kind},"
                f" SetIdentifier={wanted.get('SetIdentifier', 'null')}]"
            )
        known = there.get(_key(name, kind, wanted.get("SetIdentifier")))
        if action == "CREATE" and known is not None:
            raise _invalid(f"Tried to create resource record set [name='{name}', type='{kind}'] but it already exists")
        if action == "DELETE":
            _check_deletion(known, name, kind, wanted)
        elif alias:
            _check_alias(self, zone, name, kind, alias)
    _change(self, zoneid, change_list)


def _check_deletion(known: Moto, name: str, kind: str, wanted: dict[str, Any]) -> None:
    if known is None:
        raise _invalid(f"Tried to delete resource record set [name='{name}', type='{kind}'] but it was not found")
    alias = known.alias_target or {}
    here = (sorted(known.records or []), _whole(alias.get("DNSName", "")), alias.get("HostedZoneId"))
    asked = wanted.get("AliasTarget") or {}
    values = sorted(record["Value"] for record in wanted.get("ResourceRecords") or [])
    if here != (values, _whole(asked.get("DNSName", "")), asked.get("HostedZoneId")):
        raise _invalid(
            f"Tried to delete resource record set [name='{name}', type='{kind}'] but the values provided do not match"
            " the current values"
        )


def _check_alias(route53: Moto, zone: Moto, name: str, kind: str, alias: dict[str, Any]) -> None:
    """An alias names a load balancer with its region's own zone, or another record of the same zone."""
    target, of = _whole(alias["DNSName"]).removeprefix(_DUAL), alias["HostedZoneId"].removeprefix("/hostedzone/")
    told = f"Tried to create an alias that targets {target}, type {kind} in zone {of}, but"
    if of == HOSTED_ZONE:
        if kind not in {"A", "AAAA"} or target not in {
            _whole(balancer.dns_name) for balancer in backend("elbv2").load_balancers.values()
        }:
            raise _invalid(f"{told} that target was not found")
        return
    if of not in route53.zones:
        raise _invalid(f"{told} the alias target name does not lie within the target zone")
    if of != zone.id.removeprefix("/hostedzone/"):
        raise _invalid(f"{told} the alias target is not in the hosted zone of {name}")
    if not target.endswith(zone.name):
        raise _invalid(f"{told} the alias target name does not lie within the target zone")
    if not any(record.name == target and record.type == kind for record in zone.rrsets):
        raise _invalid(f"{told} that target was not found")


def _whole(name: str) -> str:
    return name.lower().rstrip(".") + "." if name else ""


def _key(name: str, kind: str, identifier: str | None) -> tuple[str, str, str | None]:
    return _whole(name), kind, identifier
