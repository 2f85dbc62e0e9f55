"""Security groups and their rules as EC2 has them: names, owners, ports of a rule for all protocols, changes in place.

Decides which names are refused, and how a rule looks. Never filters a packet: what the machines let in is theirs.

Moto takes names that begin with `sg-`, does not tell whose a rule's group is nor its ARN, and changes a rule's
addresses only. Sources: EC2 API reference (CreateSecurityGroup, SecurityGroupRule, ModifySecurityGroupRules).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import (
    EC2ClientError,
    InvalidParameterCombination,
    InvalidSecurityGroupNotFoundError,
    InvalidSecurityGroupRuleIdNotFoundError,
    MissingParameter,
)
from moto.ec2.models.security_groups import SecurityGroupBackend
from moto.ec2.responses.security_groups import SecurityGroups

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

MAX_PORT = 65_535
ALL = "-1"  # every protocol; such a rule has no ports, and EC2 tells them as -1

_TEXT = re.compile(r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}")
_SOURCES = {"CidrIpv4": "CidrIp", "CidrIpv6": "CidrIpv6", "PrefixListId": "", "ReferencedGroupId": "GroupId"}

_create_group = SecurityGroupBackend.create_security_group


def patch(patches: Patches) -> None:
    """Make security groups strict."""
    patches.methods(SecurityGroupBackend, create_security_group, modify_security_group_rules)
    patches.methods(SecurityGroups, describe_security_group_rules)
    patches.methods(SecurityGroups, authorize_security_group_ingress, authorize_security_group_egress)


def create_security_group(self: Moto, name: str, description: str, *args: Any, **kwargs: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """AWS refuses some names and texts; moto takes any."""
    if not name or not _TEXT.fullmatch(name):
        raise EC2ClientError("InvalidParameterValue", f"Value ({name}) for parameter GroupName is invalid.")
    if name.startswith("sg-"):
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Value ({name}) for parameter GroupName is invalid. Group names may not be in the format sg-*",
        )
    if description and not _TEXT.fullmatch(description):
        raise EC2ClientError(
            "InvalidParameterValue", f"Value ({description}) for parameter GroupDescription is invalid."
        )
    return _create_group(self, name, description, *args, **kwargs)


def describe_security_group_rules(self: Moto) -> Moto:
    """See `_told`."""
    self.error_on_dryrun()
    found = self.ec2_backend.describe_security_group_rules(
        self._get_param("SecurityGroupRuleIds", []), self._filters_from_querystring()
    )
    return ActionResult({"SecurityGroupRules": [_told(rule) for rule in found]})


def authorize_security_group_ingress(self: Moto) -> Moto:
    """See `_authorize`."""
    return _authorize(self, self.ec2_backend.authorize_security_group_ingress)


def authorize_security_group_egress(self: Moto) -> Moto:
    """See `_authorize`."""
    return _authorize(self, self.ec2_backend.authorize_security_group_egress)


def _authorize(response: Moto, add: Callable[..., Moto]) -> Moto:
    """AWS answers with every rule that was made; moto with those of the last permission."""
    response.error_on_dryrun()
    for asked in response._get_param("IpPermissions", []):
        _check_ports(asked)
        _check_prefix_lists(response.ec2_backend, asked)
    made = [rule for asked in response._process_rules_from_querystring() for rule in add(**_whole(asked))[0]]
    return ActionResult({"Return": True, "SecurityGroupRules": [_told(rule) for rule in made]})


def _whole(asked: dict[str, Any]) -> dict[str, Any]:
    """A protocol that has no ports has none in its rules (IpPermission, FromPort); moto stumbles over that."""
    ports = {name: "-1" for name in ("from_port", "to_port") if asked.get(name) is None}
    return {**asked, **(ports if asked["ip_protocol"] != ALL else {})}


def _check_ports(asked: dict[str, Any]) -> None:
    first, last = asked.get("FromPort"), asked.get("ToPort")
    if asked.get("IpProtocol") in {"tcp", "udp", "6", "17"} and (
        first is None or last is None or not 0 <= int(first) <= int(last) <= MAX_PORT
    ):
        raise EC2ClientError("InvalidParameterValue", f"Invalid port range: {first} to {last}")


def _check_prefix_lists(ec2: Moto, asked: dict[str, Any]) -> None:
    for each in asked.get("PrefixListIds") or []:
        if each["PrefixListId"] not in ec2.managed_prefix_lists:
            raise EC2ClientError(
                "InvalidPrefixListID.NotFound", f"The prefix list ID '{each['PrefixListId']}' does not exist"
            )


def _told(rule: Moto) -> dict[str, Any]:
    """A rule as AWS tells it; moto leaves out the group's owner and the ARN, and the ports of a rule without any."""
    ec2 = rule.ec2_backend
    ports = {"FromPort": -1, "ToPort": -1}
    if rule.ip_protocol != ALL:
        ports = {"FromPort": rule.from_port, "ToPort": rule.to_port}
    other = {key: rule.source_group[key] for key in ("GroupId", "UserId") if key in rule.source_group}
    told = {
        "SecurityGroupRuleId": rule.id,
        "SecurityGroupRuleArn": f"arn:{ec2.partition}:ec2:{ec2.region_name}:{ec2.account_id}"
        f":security-group-rule/{rule.id}",
        "GroupId": rule.group_id,
        "GroupOwnerId": ec2.account_id,
        "IsEgress": rule.is_egress,
        "IpProtocol": rule.ip_protocol,
        **ports,
        "CidrIpv4": rule.cidr_ipv4,
        "CidrIpv6": rule.cidr_ipv6,
        "PrefixListId": rule.prefix_list_id,
        "ReferencedGroupInfo": other or None,
        "Description": rule.ip_range.get("Description") or rule.source_group.get("Description"),
        "Tags": rule.tag_set,
    }
    return {key: value for key, value in told.items() if value is not None}


def modify_security_group_rules(self: Moto, group_id: str, rules: dict[str, dict[str, Any]]) -> None:
    """AWS puts the new rule in the place of the old one, with the same kind of source; moto changes IPv4 CIDRs only."""
    group = self.get_security_group_by_name_or_id(group_id)
    if group is None:
        raise InvalidSecurityGroupNotFoundError(group_id)
    for rule_id, asked in rules.items():
        rule = group.get_rule(rule_id)
        if rule is None:
            raise InvalidSecurityGroupRuleIdNotFoundError(rule_id)
        _check_change(self, rule, asked)
    for rule_id, asked in rules.items():
        _change(group.get_rule(rule_id), asked, self.account_id)


def _source(rule: Moto) -> str:
    return next(
        name
        for name, value in (
            ("PrefixListId", rule.prefix_list_id),
            ("ReferencedGroupId", rule.source_group),
            ("CidrIpv6", rule.cidr_ipv6),
            ("CidrIpv4", True),
        )
        if value
    )


def _check_change(ec2: Moto, rule: Moto, asked: dict[str, Any]) -> None:
    given = [name for name in _SOURCES if asked.get(name)]
    if not given:
        raise MissingParameter(
            "The request must contain exactly one of: cidrIp, cidrIpv6, prefixListId, or referencedGroupId"
        )
    if len(given) > 1:
        raise InvalidParameterCombination(
            "Only one of cidrIp, cidrIpv6, prefixListId, or referencedGroupId can be specified"
        )
    if given[0] != _source(rule):
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Invalid rule type for security group rule '{rule.id}'. You may not specify {given[0]} for an existing"
            f" {_source(rule)} rule.",
        )
    protocol = asked.get("IpProtocol")
    if protocol is None:
        raise EC2ClientError(
            "InvalidParameterValue",
            "Invalid value 'null' for protocol. VPC security group rules must specify protocols explicitly.",
        )
    if protocol in {"tcp", "udp", "6", "17"} and None in {asked.get("FromPort"), asked.get("ToPort")}:
        raise EC2ClientError(
            "InvalidParameterValue",
            "Invalid value for portRange. Must specify both from and to ports with TCP/UDP.",
        )
    referenced = asked.get("ReferencedGroupId")
    if referenced and ec2.get_security_group_by_name_or_id(referenced.rpartition("/")[2]) is None:
        raise InvalidSecurityGroupNotFoundError(referenced)


def _change(rule: Moto, asked: dict[str, Any], account: str) -> None:
    note = {"Description": asked["Description"]} if asked.get("Description") else {}
    rule.ip_protocol = asked["IpProtocol"]
    everything = rule.ip_protocol == ALL
    rule.from_port = None if everything else asked.get("FromPort")
    rule.to_port = None if everything else asked.get("ToPort")
    source = _source(rule)
    if source == "PrefixListId":
        rule.prefix_list_id = asked[source]
    elif source == "ReferencedGroupId":
        # Another account's group is named ACCOUNT/GROUP.
        owner, _, group_id = asked[source].rpartition("/")
        rule.source_group = {"GroupId": group_id, "UserId": owner or account, "OwnerId": owner or account, **note}
    else:
        rule.ip_range = {_SOURCES[source]: asked[source], **note}
