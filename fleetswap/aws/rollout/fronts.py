"""What AWS says of front doors that exist: a listener with its load balancer and rules, and hosted zones.

Reads only, and decides nothing. The program calls it before it declares any resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from fleetswap.aws.errors import code, explained
from fleetswap.aws.rollout.listener_rules import AnyRule, is_of, rules_of, tags_of, values_of
from fleetswap.domain.rollout.listener import RULES, TARGET_GROUPS, Seen, SeenRule
from fleetswap.domain.rollout.zone import HostedZone

if TYPE_CHECKING:
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client

    from fleetswap.aws.session import Cloud

OF_RULES, OF_TARGET_GROUPS = "rules-per-application-load-balancer", "target-groups-per-application-load-balancer"
"""Names of quotas (DescribeAccountLimits)."""


class Fronts:
    """The front doors of an account and region, as one stack's service sees them."""

    def __init__(self, cloud: Cloud, ours: Mapping[str, str]) -> None:
        """No call is made, and no client, before something is asked. `ours` are the tags of stack and service."""
        self._cloud = cloud
        self._ours = ours

    def listener(self, arn: str) -> Seen | None:
        """A listener with its load balancer and rules; None if there is none. Raises `TryAgain` or `CloudError`."""
        elbv2 = self._cloud.elbv2()
        with explained("elasticloadbalancing:DescribeListeners", arn):
            try:
                (listener,) = elbv2.describe_listeners(ListenerArns=[arn])["Listeners"]
            except ClientError as error:
                if code(error) != "ListenerNotFound":
                    raise
                return None
        balancer = listener["LoadBalancerArn"]
        with explained("elasticloadbalancing:DescribeLoadBalancers", balancer):
            (found,) = elbv2.describe_load_balancers(LoadBalancerArns=[balancer])["LoadBalancers"]
        with explained("elasticloadbalancing:DescribeLoadBalancerAttributes", balancer):
            attributes = elbv2.describe_load_balancer_attributes(LoadBalancerArn=balancer)["Attributes"]
        values = {each["Key"]: each["Value"] for each in attributes}
        limits = self._limits(elbv2)
        return Seen(
            arn=arn,
            protocol=listener["Protocol"],
            port=listener["Port"],
            kind=found["Type"],
            vpc=found["VpcId"],
            dns_name=found["DNSName"],
            zone_id=found["CanonicalHostedZoneId"],
            internal=found.get("Scheme") == "internal",
            security_groups=tuple(found.get("SecurityGroups", ())),
            idle_timeout=int(values.get("idle_timeout.timeout_seconds", 60)),
            rules=self._rules(elbv2, arn),
            others=self._others(elbv2, balancer, arn),
            target_groups=self._target_groups(elbv2, balancer),
            most_rules=limits.get(OF_RULES, RULES),
            most_target_groups=limits.get(OF_TARGET_GROUPS, TARGET_GROUPS),
            http2=values.get("routing.http2.enabled", "true") == "true",
            dualstack=found.get("IpAddressType", "ipv4") != "ipv4",
        )

    def zones(self, name: str) -> tuple[HostedZone, ...]:
        """The hosted zones of this name. Raises `TryAgain` or `CloudError`."""
        with explained("route53:ListHostedZonesByName", name):
            # They are in the order of their names, beginning with this one.
            answer = self._cloud.route53().list_hosted_zones_by_name(DNSName=name)
        zones = (_zone(cast("Mapping[str, Any]", each)) for each in answer["HostedZones"])
        return tuple(zone for zone in zones if zone.name == name)

    def zone(self, zone_id: str) -> HostedZone | None:
        """A hosted zone by its id, with its VPCs; None if there is none. Raises `TryAgain` or `CloudError`."""
        with explained("route53:GetHostedZone", zone_id):
            try:
                answer = self._cloud.route53().get_hosted_zone(Id=zone_id)
            except ClientError as error:
                if code(error) != "NoSuchHostedZone":
                    raise
                return None
        vpcs = tuple(each["VPCId"] for each in answer.get("VPCs", ()))
        return replace(_zone(cast("Mapping[str, Any]", answer["HostedZone"])), vpcs=vpcs)

    @staticmethod
    def _limits(elbv2: ElasticLoadBalancingv2Client) -> dict[str, int]:
        with explained("elasticloadbalancing:DescribeAccountLimits", "*"):
            pages = elbv2.get_paginator("describe_account_limits").paginate()
            return {each["Name"]: int(each["Max"]) for page in pages for each in page["Limits"]}

    def _rules(self, elbv2: ElasticLoadBalancingv2Client, listener: str) -> tuple[SeenRule, ...]:
        found = [rule for rule in rules_of(elbv2, listener) if rule["Priority"] != "default"]
        its = tags_of(elbv2, [rule["RuleArn"] for rule in found])
        there = [rule for rule in found if rule["RuleArn"] in its]  # others delete theirs at any time
        return tuple(_seen(rule, ours=is_of(its[rule["RuleArn"]], self._ours)) for rule in there)

    @staticmethod
    def _others(elbv2: ElasticLoadBalancingv2Client, balancer: str, but: str) -> int:
        with explained("elasticloadbalancing:DescribeListeners", balancer):
            pages = elbv2.get_paginator("describe_listeners").paginate(LoadBalancerArn=balancer)
            others = [each["ListenerArn"] for page in pages for each in page["Listeners"] if each["ListenerArn"] != but]
        return sum(rule["Priority"] != "default" for other in others for rule in rules_of(elbv2, other))

    def _target_groups(self, elbv2: ElasticLoadBalancingv2Client, balancer: str) -> int:
        with explained("elasticloadbalancing:DescribeTargetGroups", balancer):
            pages = elbv2.get_paginator("describe_target_groups").paginate(LoadBalancerArn=balancer)
            try:
                arns = [each["TargetGroupArn"] for page in pages for each in page["TargetGroups"]]
            except ClientError as error:
                if code(error) != "TargetGroupNotFound":  # of a load balancer that has none
                    raise
                return 0
        return sum(not is_of(its, self._ours) for its in tags_of(elbv2, arns).values())


def _seen(rule: AnyRule, *, ours: bool) -> SeenRule:
    values = {condition["Field"]: values_of(condition) for condition in rule["Conditions"]}
    # Of a condition with a regular expression nobody can say what it takes.
    plain = set(values) <= {"host-header", "path-pattern"} and all(values.values())
    hosts, paths = values.get("host-header", ()), values.get("path-pattern", ())
    return SeenRule(str(rule["RuleArn"]), int(rule["Priority"]), ours, hosts, paths, plain)


def _zone(zone: Mapping[str, Any]) -> HostedZone:
    private = bool(zone.get("Config", {}).get("PrivateZone"))
    return HostedZone(str(zone["Id"]).removeprefix("/hostedzone/"), str(zone["Name"]).rstrip("."), private)
