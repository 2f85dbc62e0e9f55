"""DNS records of Route 53: facts and API calls of the type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from engine.aws_plugin.compare import Rules, domain
from engine.aws_plugin.kind import Call, Kind, OperationError, code
from engine.aws_plugin.wire import Props

_COMMENT = "Managed by Pulumi"


class Record(Kind):
    """A record set of one name and type: values with a TTL, or an alias (`aws_route53_record`)."""

    type_name = "aws:route53/record:Record"
    noun = "Route 53 Record"
    supported = frozenset({"aliases", "allowOverwrite", "name", "records", "ttl", "type", "zoneId"})
    replace = frozenset({"name", "zoneId"})
    computed = frozenset({"allowOverwrite", "fqdn"})
    rules = Rules(sets=frozenset({"records"}), domains=frozenset({"name", "aliases.name"}))
    timeout = 1800.0

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """Values or an alias, and a TTL with the former only."""
        if bool(props.get("aliases")) == bool(props.get("records")):
            yield "aliases", "a record has exactly one of aliases, records"
        if bool(props.get("records")) != ("ttl" in props):
            yield "ttl", "a record has a ttl if it has records, and none if it is an alias"
        if len(props.get("aliases") or []) > 1:
            yield "aliases", "a record has at most one alias"

    @staticmethod
    def _zone(call: Call, zone_id: str) -> tuple[str, str]:
        """The hosted zone's id and its name; raises ClientError if it is gone."""
        zone = call.client("route53").get_hosted_zone(Id=zone_id.removeprefix("/hostedzone/"))["HostedZone"]
        return str(zone["Id"]).removeprefix("/hostedzone/"), domain(zone["Name"])

    @staticmethod
    def _full(name: str, zone: str) -> str:
        """A record's name in its zone: one that does not end with the zone's is below it."""
        name = domain(name)
        if not name:
            return zone
        return name if name == zone or name.endswith(f".{zone}") else f"{name}.{zone}"

    def _set(self, props: Props, zone: str) -> dict[str, Any]:
        record: dict[str, Any] = {"Name": self._full(props["name"], zone), "Type": props["type"]}
        if props.get("records"):
            record["ResourceRecords"] = [{"Value": value} for value in props["records"]]
            record["TTL"] = props["ttl"]
        for alias in props.get("aliases") or []:
            record["AliasTarget"] = {
                "DNSName": domain(alias["name"]),
                "EvaluateTargetHealth": alias["evaluateTargetHealth"],
                "HostedZoneId": alias["zoneId"],
            }
        return record

    @staticmethod
    def _change(call: Call, zone_id: str, *changes: tuple[str, dict[str, Any]]) -> str:
        """Make changes, all or none; returns the id of what the name servers then get."""
        answer = call.client("route53").change_resource_record_sets(
            HostedZoneId=zone_id,
            ChangeBatch={
                "Comment": _COMMENT,
                "Changes": [{"Action": action, "ResourceRecordSet": record} for action, record in changes],
            },
        )
        return str(answer["ChangeInfo"]["Id"]).removeprefix("/change/")

    @staticmethod
    def _settle(call: Call, change: str) -> None:
        """Wait until every name server has a change."""
        api = call.client("route53")
        call.wait(
            f"Route 53 change {change} reaching the name servers",
            lambda: api.get_change(Id=change)["ChangeInfo"]["Status"] == "INSYNC",
        )

    @staticmethod
    def _id(props: Props) -> str:
        return "_".join((str(props["zoneId"]), domain(props["name"]), str(props["type"])))

    def create(self, call: Call, props: Props) -> str:
        """Make it; a record that exists is another's, unless `allowOverwrite` says otherwise."""
        zone_id, zone = self._zone(call, props["zoneId"])
        action = "UPSERT" if props.get("allowOverwrite") else "CREATE"
        change = self._change(call, zone_id, (action, self._set(props, zone)))
        call.made = self._id(props)
        self._settle(call, change)
        return call.made

    def _find(self, call: Call, known: Props) -> tuple[dict[str, Any] | None, str]:
        """The record set as Route 53 has it, and its full name."""
        try:
            zone_id, zone = self._zone(call, known["zoneId"])
        except ClientError as error:
            if code(error) == "NoSuchHostedZone":
                return None, ""
            raise
        name = self._full(known["name"], zone)
        answer = call.client("route53").list_resource_record_sets(
            HostedZoneId=zone_id, StartRecordName=f"{name}.", StartRecordType=known["type"], MaxItems="1"
        )
        for record in answer["ResourceRecordSets"]:
            if domain(record["Name"]) == name and record["Type"] == known["type"]:
                return dict(record), name
        return None, name

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The record; an import id is `ZONEID_NAME_TYPE`."""
        where = known if known.get("zoneId") else self._parsed(resource_id)
        record, name = self._find(call, where)
        if record is None:
            return None
        alias = record.get("AliasTarget")
        target = alias and {
            "name": domain(alias["DNSName"]),
            "zoneId": alias["HostedZoneId"],
            "evaluateTargetHealth": alias["EvaluateTargetHealth"],
        }
        return {
            "name": domain(where["name"]),
            "type": record["Type"],
            "zoneId": where["zoneId"],
            "fqdn": name,
            "aliases": [target] if target else None,
            "records": [item["Value"] for item in record.get("ResourceRecords") or []] or None,
            "ttl": record.get("TTL"),
            "id": self._id({**where, "type": record["Type"]}),
        }

    @staticmethod
    def _parsed(resource_id: str) -> Props:
        zone_id, _, rest = resource_id.partition("_")
        name, _, kind = rest.rpartition("_")
        if not zone_id or not name or not kind:
            message = f"the import id of a record is ZONEID_NAME_TYPE, not {resource_id}"
            raise OperationError(message)
        return {"zoneId": zone_id, "name": name, "type": kind}

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Other values in place; of another type, the old record goes and the new one comes in one change."""
        zone_id, zone = self._zone(call, new["zoneId"])
        wanted = self._set(new, zone)
        if "type" not in changed:
            change = self._change(call, zone_id, ("UPSERT", wanted))
        else:
            action = "UPSERT" if new.get("allowOverwrite") else "CREATE"
            change = self._change(call, zone_id, ("DELETE", self._set(old, zone)), (action, wanted))
        self._settle(call, change)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it as it is now: Route 53 wants every value of what is to go."""
        record, _ = self._find(call, known)
        if record is None:
            return
        try:
            change = self._change(call, str(known["zoneId"]).removeprefix("/hostedzone/"), ("DELETE", record))
        except ClientError as error:
            if code(error) == "InvalidChangeBatch":  # gone meanwhile: the official plugin lets it be, too
                return
            raise
        self._settle(call, change)
