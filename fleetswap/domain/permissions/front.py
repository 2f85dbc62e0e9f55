"""What the way to the machines takes: load balancer, listener, rules and target groups."""

from __future__ import annotations

from collections.abc import Iterator

from fleetswap.domain.permissions.scope import Scope
from fleetswap.domain.permissions.statement import Conditions, Statement

ELB = "elasticloadbalancing"


def front(scope: Scope) -> Iterator[Statement]:
    """All statements about load balancing."""
    own = scope.listener is None
    made = scope.balancers if own else ()
    yield Statement(
        "MakeTargetGroups" if not own else "MakeBalancer",
        "target groups with the tags of the stack" if not own else "load balancer, listener and target groups, tagged",
        (*((f"{ELB}:CreateListener", f"{ELB}:CreateLoadBalancer") if own else ()), f"{ELB}:CreateTargetGroup"),
        (*made, *scope.target_groups),
        scope.made,
    )
    yield from make_rules(scope)
    names = ["AddTags", "DeleteTargetGroup", "ModifyTargetGroupAttributes", "RemoveTags"]
    if own:
        names += ["DeleteListener", "DeleteLoadBalancer", "ModifyListener", "ModifyLoadBalancerAttributes"]
        names += ["SetIpAddressType", "SetSubnets"]
    if own and scope.certificates:
        names += ["AddListenerCertificates", "RemoveListenerCertificates"]
    yield Statement(
        "ChangeTargetGroups" if not own else "ChangeBalancer",
        "what has the tags of the stack: changes of settings, and deletion",
        tuple(f"{ELB}:{name}" for name in sorted(names)),
        (*made, *(scope.listeners if own else ()), *scope.target_groups),
        scope.own,
    )
    yield change_rules(scope)
    if not own:
        yield Statement(
            "MoveRules",
            "the stack's rules, when their range changes in the settings",
            (f"{ELB}:SetRulePriorities",),
            scope.rules,
            scope.own,
        )
    yield _tag(scope)
    if own:
        yield Statement(
            "CheckNetworkOfBalancer",
            "what Elastic Load Balancing checks with your permissions when a load balancer is made",
            ("ec2:DescribeAccountAttributes",),
        )
    if own and scope.web_acl is not None:
        # WAF developer guide, "Permissions for AssociateWebACL"; SetWebAcl knows no resource.
        yield Statement(
            "UseWebAcl",
            "the web ACL of the load balancer",
            ("wafv2:AssociateWebACL", "wafv2:DisassociateWebACL"),
            (scope.web_acl, *scope.balancers),
        )
        yield Statement(
            "LetWafProtectBalancer",
            "what WAF checks with your permissions; the action knows no resource",
            (f"{ELB}:SetWebAcl",),
        )


def make_rules(scope: Scope) -> Iterator[Statement]:
    """New rules: the one with the weights, and those of previews."""
    yield Statement(
        "MakeRules",
        "rules on the listener, with the tags of the stack",
        (f"{ELB}:CreateRule",),
        scope.listeners,
        scope.made,
    )


def change_rules(scope: Scope) -> Statement:
    """The weights, and preview rules."""
    return Statement(
        "MoveTraffic",
        "the weights, tags and deletion of the stack's rules; nobody else's",
        (
            f"{ELB}:AddTags",
            f"{ELB}:DeleteRule",
            f"{ELB}:ModifyRule",
            f"{ELB}:RemoveTags",
        ),
        scope.rules,
        scope.own,
    )


def tag_rules(scope: Scope) -> Statement:
    """The tags of a rule that is made."""
    return Statement(
        "TagRulesAsTheyAreMade",
        "tags in the request that makes a rule",
        (f"{ELB}:AddTags",),
        scope.rules,
        _creating(scope, "CreateRule"),
    )


def _tag(scope: Scope) -> Statement:
    made = ("CreateListener", "CreateLoadBalancer") if scope.listener is None else ()
    resources = (*scope.balancers, *scope.listeners) if scope.listener is None else ()
    return Statement(
        "TagBalancerAsItIsMade",
        "tags in the request that makes a resource",
        (f"{ELB}:AddTags",),
        (*resources, *scope.rules, *scope.target_groups),
        _creating(scope, *made, "CreateRule", "CreateTargetGroup"),
    )


def _creating(scope: Scope, *actions: str) -> Conditions:
    """ELB user guide, "ELB API permissions to tag resources during creation"."""
    return {"StringEquals": {**scope.made["StringEquals"], f"{ELB}:CreateAction": actions}}
