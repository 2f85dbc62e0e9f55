"""What reads: a preview, a refresh, `status`, and a rollout that watches its machines.

No action here changes anything. Most describe calls know no resource (Service Authorization Reference), so they are
allowed for all of the region's.
"""

from __future__ import annotations

from collections.abc import Iterator

from fleetswap.domain.permissions.scope import Scope
from fleetswap.domain.permissions.statement import Statement

EC2 = (
    "DescribeAvailabilityZones DescribeImages DescribeInstanceTypeOfferings DescribeInstanceTypes DescribeInstances"
    " DescribeLaunchTemplateVersions DescribeLaunchTemplates DescribeNetworkInterfaces DescribePlacementGroups"
    " DescribeRouteTables DescribeSecurityGroupRules DescribeSecurityGroups DescribeSnapshots DescribeSubnets"
    " DescribeVpcAttribute DescribeVpcs GetInstanceTypesFromInstanceRequirements"
)
OF_OWN_VPC = "DescribeInternetGateways DescribeNetworkAcls"
OF_NAT = "DescribeAddresses DescribeAddressesAttribute DescribeNatGateways"
OF_ENDPOINTS = "DescribePrefixLists DescribeVpcEndpointServices"

ELB = (
    "DescribeListenerAttributes DescribeListeners DescribeLoadBalancerAttributes DescribeLoadBalancers DescribeRules"
    " DescribeTags DescribeTargetGroupAttributes DescribeTargetGroups DescribeTargetHealth"
)
AUTO_SCALING = "DescribeAutoScalingGroups DescribePolicies DescribeScheduledActions DescribeWarmPool"


def look(scope: Scope) -> Iterator[Statement]:
    """What `pulumi preview`, `pulumi refresh` and `fleetswap status` read."""
    actions = [*_of("ec2", EC2), *_of("elasticloadbalancing", ELB), *_of("autoscaling", AUTO_SCALING)]
    if scope.vpc is None:
        actions += _of("ec2", OF_OWN_VPC)
    if scope.nat:
        actions += _of("ec2", OF_NAT)
    if scope.endpoints:
        actions += _of("ec2", OF_ENDPOINTS)
    if scope.endpoints or scope.vpc is not None:
        actions += _of("ec2", "DescribeVpcEndpoints")
    if scope.ipv6 and scope.vpc is None:
        actions += _of("ec2", "DescribeEgressOnlyInternetGateways")
    if scope.listener is None:
        actions += _of("elasticloadbalancing", "DescribeCapacityReservation")
    else:
        actions += _of("elasticloadbalancing", "DescribeAccountLimits")
    if scope.certificates:
        actions += _of("elasticloadbalancing", "DescribeListenerCertificates")
    yield Statement(
        "Look",
        "what the settings ask for, and the state of each resource; these actions know no resource",
        tuple(sorted(actions)),
    )
    yield Statement(
        "LookAtRoles",
        "the roles and instance profiles of the stack",
        (
            "iam:GetInstanceProfile",
            "iam:GetRole",
            "iam:GetRolePolicy",
            "iam:ListAttachedRolePolicies",
            "iam:ListInstanceProfilesForRole",
            "iam:ListRolePolicies",
        ),
        (*scope.roles(), *scope.profiles),
    )
    yield look_at_switch(scope)
    yield from _look_at_domain(scope)
    if scope.web_acl is not None and scope.listener is None:
        yield Statement(
            "LookAtWebAcl",
            "which web ACL the load balancer has",
            ("wafv2:GetWebACL", "wafv2:GetWebACLForResource"),
            (scope.web_acl, *scope.balancers),
        )


def look_at_service(scope: Scope) -> Iterator[Statement]:
    """What `fleetswap status` reads: the service by its tags, and nothing of the settings."""
    elb = "DescribeListeners DescribeLoadBalancers DescribeRules DescribeTags DescribeTargetHealth"
    if scope.listener is not None:
        elb += " DescribeTargetGroups"  # by which a service is found on a listener that has not its tags
    groups = "DescribeAutoScalingGroups DescribeScheduledActions"
    yield Statement(
        "Look",
        "the service by its tags: listener, rule, targets and auto scaling groups; these actions know no resource",
        tuple(sorted([*_of("elasticloadbalancing", elb), *_of("autoscaling", groups)])),
    )
    yield look_at_switch(scope)


def look_at_switch(scope: Scope) -> Statement:
    """Whether the dead man's switch is armed."""
    return Statement(
        "LookAtSwitch", "whether the dead man's switch is armed", ("scheduler:GetSchedule",), scope.schedules
    )


def watch_machines(scope: Scope) -> Iterator[Statement]:
    """What a rollout reads in addition while it waits for machines, and to say why one failed."""
    yield Statement(
        "WatchMachines",
        "failed launches, and which image a machine has booted; these actions know no resource",
        ("autoscaling:DescribeScalingActivities", "ec2:DescribeInstances"),
    )
    yield Statement(
        "ReadConsoles",
        "the console of a machine that does not become healthy, for the error",
        ("ec2:GetConsoleOutput",),
        scope.ec2("instance"),
        scope.own,
    )


def watch_traffic(scope: Scope) -> Statement:
    """What judges a candidate. A narrower scope than all alarms hides composite ones (DescribeAlarms)."""
    alarms = ("cloudwatch:DescribeAlarms",) if scope.alarms else ()
    return Statement(
        "WatchTraffic",
        "metrics of the load balancer that judge a candidate, and alarms; these actions know no resource",
        (*alarms, "cloudwatch:GetMetricData"),
    )


def _look_at_domain(scope: Scope) -> Iterator[Statement]:
    if not scope.domain:
        return
    if scope.zone_id is None:
        yield Statement(
            "FindHostedZone",
            "the hosted zone by its name; the action knows no resource",
            ("route53:ListHostedZonesByName",),
        )
    yield Statement(
        "LookAtDomain",
        "the alias record",
        ("route53:GetHostedZone", "route53:ListResourceRecordSets"),
        (_zone(scope),),
    )


def _zone(scope: Scope) -> str:
    return f"arn:{scope.partition}:route53:::hostedzone/{scope.zone_id or '*'}"


def write_domain(scope: Scope) -> Iterator[Statement]:
    """Making, changing and deleting the alias record."""
    if scope.domain:
        yield Statement(
            "WriteDomain",
            f"the alias record {scope.domain}, and no other of its hosted zone",
            ("route53:ChangeResourceRecordSets",),
            (_zone(scope),),
            {
                "ForAllValues:StringEquals": {
                    "route53:ChangeResourceRecordSetsNormalizedRecordNames": scope.domain,
                    "route53:ChangeResourceRecordSetsRecordTypes": ("A", "AAAA"),
                }
            },
        )
        yield Statement(
            "WaitForDomain",
            "waiting until Route 53 has the alias record everywhere",
            ("route53:GetChange",),
            (f"arn:{scope.partition}:route53:::change/*",),
        )


def _of(service: str, names: str) -> list[str]:
    return [f"{service}:{name}" for name in names.split()]
