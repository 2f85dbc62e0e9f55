"""Security groups and their rules: facts and API calls of each type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from engine.aws_plugin import ec2_tags
from engine.aws_plugin.compare import Rules
from engine.aws_plugin.convert import tag_map
from engine.aws_plugin.ec2_network import describe, refuse_lingering
from engine.aws_plugin.kind import Call, Kind, code, forget_missing, gone, pick, unique_name
from engine.aws_plugin.wire import Props

_RULE_SETS = ("cidrBlocks", "ipv6CidrBlocks", "prefixListIds", "securityGroups")


class SecurityGroup(Kind):
    """A security group, with its inline rules if any are given (`aws_security_group`)."""

    type_name = "aws:ec2/securityGroup:SecurityGroup"
    noun = "EC2 Security Group"
    supported = frozenset(
        {"description", "egress", "ingress", "name", "namePrefix", "region", "revokeRulesOnDelete", "tags", "vpcId"}
    )
    replace = frozenset({"description", "name", "namePrefix", "vpcId"})
    defaults: ClassVar[Props] = {"description": "Managed by Pulumi", "revokeRulesOnDelete": False}
    computed = frozenset({"arn", "ownerId", "ingress", "egress", "vpcId", "name", "namePrefix"})
    rules = Rules(
        sets=frozenset(
            {"ingress", "egress"} | {f"{way}.{name}" for way in ("ingress", "egress") for name in _RULE_SETS}
        )
    )
    name_length = 255

    def create(self, call: Call, props: Props) -> str:
        """Make it, take away the rule that AWS adds (everything may go out), add the inline rules."""
        ec2 = call.client("ec2")
        place = {"VpcId": props["vpcId"]} if props.get("vpcId") else {}
        answer = ec2.create_security_group(
            GroupName=unique_name(props, self.name_length),
            Description=props["description"],
            **place,
            **ec2_tags.specification("security-group", props),
        )
        call.made = str(answer["GroupId"])
        group = describe(call, "describe_security_groups", "SecurityGroups", GroupIds=[call.made]) or {}
        if group.get("IpPermissionsEgress"):
            ec2.revoke_security_group_egress(GroupId=call.made, IpPermissions=group["IpPermissionsEgress"])
        for way in ("ingress", "egress"):
            self._bring(call, call.made, way, [], props.get(way) or [])
        return call.made

    @staticmethod
    def _bring(call: Call, group_id: str, way: str, before: list[Props], after: list[Props]) -> None:
        """Bring the inline rules of one direction from before to after; new ones are opened before old ones close."""
        ec2 = call.client("ec2")
        added = [_permission(item, group_id) for item in after if item not in before]
        removed = [_permission(item, group_id) for item in before if item not in after]
        if added:
            getattr(ec2, f"authorize_security_group_{way}")(GroupId=group_id, IpPermissions=added)
        if removed:
            getattr(ec2, f"revoke_security_group_{way}")(GroupId=group_id, IpPermissions=removed)

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The group and all its rules, inline or not."""
        group = describe(call, "describe_security_groups", "SecurityGroups", GroupIds=[resource_id])
        if group is None:
            return None
        return {
            "name": group["GroupName"],
            "description": group["Description"],
            **pick(group, "VpcId", "OwnerId"),
            "arn": group["SecurityGroupArn"],
            "ingress": _inline(group.get("IpPermissions", []), resource_id),
            "egress": _inline(group.get("IpPermissionsEgress", []), resource_id),
            "tagsAll": tag_map(group.get("Tags")),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Inline rules and tags."""
        for way in sorted(changed & {"ingress", "egress"}):
            self._bring(call, resource_id, way, old.get(way) or [], new.get(way) or [])
        ec2_tags.update(call, resource_id, old, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it once nothing uses it; `revokeRulesOnDelete` empties it first, for groups that name each other."""
        ec2 = call.client("ec2")
        refuse_lingering(call, "group-id", resource_id)
        if known.get("revokeRulesOnDelete"):
            group = describe(call, "describe_security_groups", "SecurityGroups", GroupIds=[resource_id]) or {}
            for field, way in (("IpPermissions", "ingress"), ("IpPermissionsEgress", "egress")):
                if group.get(field):
                    revoke = getattr(ec2, f"revoke_security_group_{way}")
                    revoke(GroupId=resource_id, IpPermissions=group[field])
        forget_missing(
            lambda: call.retry(
                {"DependencyViolation", "InvalidGroup.InUse"}, lambda: ec2.delete_security_group(GroupId=resource_id)
            )
        )


def _permission(rule: Props, group_id: str) -> dict[str, Any]:
    """An inline rule as the API's permission."""
    protocol = "-1" if rule["protocol"] == "all" else rule["protocol"]
    note = {"Description": rule["description"]} if rule.get("description") else {}
    groups = [*(rule.get("securityGroups") or []), *([group_id] if rule.get("self") else [])]
    permission: dict[str, Any] = {"IpProtocol": protocol}
    if protocol != "-1":
        permission |= {"FromPort": rule["fromPort"], "ToPort": rule["toPort"]}
    if rule.get("cidrBlocks"):
        permission["IpRanges"] = [{"CidrIp": cidr, **note} for cidr in rule["cidrBlocks"]]
    if rule.get("ipv6CidrBlocks"):
        permission["Ipv6Ranges"] = [{"CidrIpv6": cidr, **note} for cidr in rule["ipv6CidrBlocks"]]
    if rule.get("prefixListIds"):
        permission["PrefixListIds"] = [{"PrefixListId": item, **note} for item in rule["prefixListIds"]]
    if groups:
        permission["UserIdGroupPairs"] = [{"GroupId": item, **note} for item in groups]
    return permission


def _inline(permissions: list[dict[str, Any]], group_id: str) -> list[Props]:
    """The API's permissions as inline rules: one for each protocol, port range and description."""
    found: dict[tuple[Any, ...], Props] = {}
    for permission in permissions:
        sources = (
            [("cidrBlocks", item["CidrIp"], item) for item in permission.get("IpRanges", [])]
            + [("ipv6CidrBlocks", item["CidrIpv6"], item) for item in permission.get("Ipv6Ranges", [])]
            + [("prefixListIds", item["PrefixListId"], item) for item in permission.get("PrefixListIds", [])]
            + [("securityGroups", item["GroupId"], item) for item in permission.get("UserIdGroupPairs", [])]
        )
        for name, value, item in sources:
            note = item.get("Description", "")
            key = (permission["IpProtocol"], permission.get("FromPort"), permission.get("ToPort"), note)
            rule = found.setdefault(
                key,
                {
                    "protocol": permission["IpProtocol"],
                    "fromPort": permission.get("FromPort") or 0,
                    "toPort": permission.get("ToPort") or 0,
                    "description": note,
                    "self": False,
                },
            )
            if name == "securityGroups" and value == group_id:
                rule["self"] = True
            else:
                rule.setdefault(name, []).append(value)
    return list(found.values())


class _SecurityGroupRule(Kind):
    """One rule of a security group; the direction is the subclass's."""

    supported = frozenset(
        {"ipProtocol", "securityGroupId", "cidrIpv4", "cidrIpv6", "description", "fromPort", "prefixListId"}
        | {"referencedSecurityGroupId", "region", "tags", "toPort"}
    )
    replace = frozenset({"securityGroupId"})
    computed = frozenset({"arn", "securityGroupRuleId"})
    rules = Rules(caseless=frozenset({"ipProtocol"}))
    egress: ClassVar[bool]
    sources: ClassVar[dict[str, str]] = {
        "cidrIpv4": "CidrIpv4",
        "cidrIpv6": "CidrIpv6",
        "prefixListId": "PrefixListId",
        "referencedSecurityGroupId": "ReferencedGroupId",
    }

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """One source, and ports where the protocol has them."""
        if sum(1 for name in self.sources if props.get(name)) != 1:
            yield "cidrIpv4", f"a rule has exactly one of {', '.join(self.sources)}"
        if props["ipProtocol"] in {"tcp", "udp"} and not {"fromPort", "toPort"} <= props.keys():
            yield "fromPort", f"a {props['ipProtocol']} rule needs fromPort and toPort"
        if props["ipProtocol"] == "-1" and {"fromPort", "toPort"} & props.keys():
            yield "fromPort", "a rule for all protocols (-1) has no ports"

    def replaces(self, name: str, old: Props, new: Props) -> bool:
        """A rule keeps its kind of source: another kind is another rule."""
        if name in self.sources:
            return [key for key in self.sources if old.get(key)] != [key for key in self.sources if new.get(key)]
        return name in self.replace

    def create(self, call: Call, props: Props) -> str:
        """Open it."""
        ec2 = call.client("ec2")
        note = {"Description": props["description"]} if props.get("description") else {}
        permission: dict[str, Any] = {"IpProtocol": props["ipProtocol"]}
        permission |= {
            api: props[name] for name, api in (("fromPort", "FromPort"), ("toPort", "ToPort")) if name in props
        }
        for name, field, key in (
            ("cidrIpv4", "IpRanges", "CidrIp"),
            ("cidrIpv6", "Ipv6Ranges", "CidrIpv6"),
            ("prefixListId", "PrefixListIds", "PrefixListId"),
            ("referencedSecurityGroupId", "UserIdGroupPairs", "GroupId"),
        ):
            if props.get(name):
                permission[field] = [{key: props[name], **note}]
        way = "egress" if self.egress else "ingress"
        answer = getattr(ec2, f"authorize_security_group_{way}")(
            GroupId=props["securityGroupId"],
            IpPermissions=[permission],
            **ec2_tags.specification("security-group-rule", props),
        )
        call.made = str(answer["SecurityGroupRules"][0]["SecurityGroupRuleId"])
        return call.made

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The rule."""
        rule = describe(call, "describe_security_group_rules", "SecurityGroupRules", SecurityGroupRuleIds=[resource_id])
        if rule is None or bool(rule.get("IsEgress")) != self.egress:
            return None
        everything = rule["IpProtocol"] == "-1"
        other = rule.get("ReferencedGroupInfo") or {}
        theirs = other and other["UserId"] != call.account()
        return {
            **pick(rule, "IpProtocol", "Description", "CidrIpv4", "CidrIpv6", "PrefixListId"),
            "fromPort": None if everything else rule.get("FromPort"),
            "toPort": None if everything else rule.get("ToPort"),
            "securityGroupId": rule["GroupId"],
            # Another account's group is named with its account, as the official plugin does.
            "referencedSecurityGroupId": f"{other['UserId']}/{other['GroupId']}" if theirs else other.get("GroupId"),
            "securityGroupRuleId": resource_id,
            "arn": rule["SecurityGroupRuleArn"],
            "tagsAll": tag_map(rule.get("Tags")),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Change it in place; tags."""
        if changed - {"tags", "tagsAll"}:
            rule: dict[str, Any] = {"IpProtocol": new["ipProtocol"]}
            names = {"fromPort": "FromPort", "toPort": "ToPort", "description": "Description", **self.sources}
            rule |= {api: new[name] for name, api in names.items() if name in new}
            call.client("ec2").modify_security_group_rules(
                GroupId=new["securityGroupId"],
                SecurityGroupRules=[{"SecurityGroupRuleId": resource_id, "SecurityGroupRule": rule}],
            )
        ec2_tags.update(call, resource_id, old, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Close it."""
        way = "egress" if self.egress else "ingress"
        revoke = getattr(call.client("ec2"), f"revoke_security_group_{way}")
        try:
            revoke(GroupId=known["securityGroupId"], SecurityGroupRuleIds=[resource_id])
        except ClientError as error:
            if not gone(error) and code(error) != "InvalidPermission.NotFound":
                raise


class SecurityGroupIngressRule(_SecurityGroupRule):
    """Who may come in (`aws_vpc_security_group_ingress_rule`)."""

    type_name = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    noun = "VPC Security Group Ingress Rule"
    egress = False


class SecurityGroupEgressRule(_SecurityGroupRule):
    """What may go out (`aws_vpc_security_group_egress_rule`)."""

    type_name = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    noun = "VPC Security Group Egress Rule"
    egress = True
