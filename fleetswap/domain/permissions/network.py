"""What the network takes: a VPC of the stack's own, or what is added to an existing one."""

from __future__ import annotations

from collections.abc import Iterator

from fleetswap.domain.permissions.scope import Scope
from fleetswap.domain.permissions.statement import Statement

RULES = (
    "AuthorizeSecurityGroupEgress AuthorizeSecurityGroupIngress ModifySecurityGroupRules RevokeSecurityGroupEgress"
    " RevokeSecurityGroupIngress"
)


def network(scope: Scope) -> Iterator[Statement]:
    """All statements about the network."""
    yield _make(scope)
    yield _change(scope)
    yield Statement(
        "MakeSecurityGroupRules",
        "new rules of security groups, with the tags of the stack",
        ("ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress"),
        scope.ec2("security-group-rule"),
        scope.made,
    )
    if scope.prefix_lists:
        yield Statement(
            "UsePrefixLists",
            "rules of security groups that name a prefix list",
            ("ec2:ModifySecurityGroupRules",),
            scope.ec2(*(f"prefix-list/{one}" for one in scope.prefix_lists)),
        )
    if scope.vpc is not None:
        yield from _existing(scope)
    if scope.endpoints:
        yield Statement(
            "PrivateDnsOfEndpoints",
            "the private DNS names of endpoints",
            ("route53:AssociateVPCWithHostedZone",),
            (f"arn:{scope.partition}:route53:::hostedzone/*",),
        )


def _make(scope: Scope) -> Statement:
    kinds, names = ["security-group"], ["CreateSecurityGroup"]
    if scope.vpc is None:
        kinds += ["internet-gateway", "route-table", "subnet", "vpc"]
        names += ["CreateInternetGateway", "CreateRouteTable", "CreateSubnet", "CreateVpc"]
    if scope.nat:
        kinds += ["elastic-ip", "natgateway"]
        names += ["AllocateAddress", "CreateNatGateway"]
    if scope.endpoints:
        kinds += ["vpc-endpoint"]
        names += ["CreateVpcEndpoint"]
    if scope.ipv6 and scope.vpc is None:
        kinds += ["egress-only-internet-gateway"]
        names += ["CreateEgressOnlyInternetGateway"]
    return Statement(
        "MakeNetwork",
        "what the network is made of, with the tags of the stack",
        tuple(f"ec2:{name}" for name in sorted(names)),
        scope.ec2(*sorted(kinds)),
        scope.made,
    )


def _change(scope: Scope) -> Statement:
    kinds = ["security-group", "security-group-rule"]
    names = ["CreateTags", "DeleteTags", "DeleteSecurityGroup", *RULES.split()]
    if scope.vpc is None:
        kinds += ["internet-gateway", "route-table", "subnet", "vpc"]
        names += [
            "AssociateRouteTable",
            "AttachInternetGateway",
            "CreateRoute",
            "CreateRouteTable",
            "CreateSecurityGroup",
            "CreateSubnet",
            "DeleteInternetGateway",
            "DeleteRoute",
            "DeleteRouteTable",
            "DeleteSubnet",
            "DeleteVpc",
            "DetachInternetGateway",
            "DisassociateRouteTable",
            "GetSecurityGroupsForVpc",
            "ModifyVpcAttribute",
        ]
    if scope.nat:
        kinds += ["elastic-ip", "natgateway"]
        names += ["CreateNatGateway", "DeleteNatGateway", "DisassociateAddress", "ReleaseAddress", "ReplaceRoute"]
        names += ["ReplaceRouteTableAssociation"]
    if scope.endpoints:
        kinds += ["vpc-endpoint"]
        names += ["CreateVpcEndpoint", "DeleteVpcEndpoints", "ModifyVpcEndpoint"]
    if scope.ipv6 and scope.vpc is None:
        kinds += ["egress-only-internet-gateway"]
        names += ["AssociateSubnetCidrBlock", "AssociateVpcCidrBlock", "CreateEgressOnlyInternetGateway"]
        names += ["DeleteEgressOnlyInternetGateway", "ModifySubnetAttribute"]
    return Statement(
        "ChangeNetwork",
        "what has the tags of the stack: connections among the parts, changes of settings, and deletion",
        tuple(f"ec2:{name}" for name in sorted(names)),
        scope.ec2(*sorted(kinds)),
        scope.own,
    )


def _existing(scope: Scope) -> Iterator[Statement]:
    """What is done to what the stack does not own."""
    (vpc,) = scope.ec2(f"vpc/{scope.vpc}")
    names = ["ec2:CreateSecurityGroup"]
    names += ["ec2:CreateVpcEndpoint"] if scope.endpoints else []
    names += ["ec2:GetSecurityGroupsForVpc"] if scope.listener is None else []
    yield Statement("AddToVpc", "what is added to the existing VPC", tuple(names), (vpc,))
    if scope.endpoints:
        yield Statement(
            "ConnectEndpoints",
            "endpoints in the subnets of the existing VPC, and gateway endpoints in its route tables",
            ("ec2:CreateVpcEndpoint", "ec2:ModifyVpcEndpoint"),
            scope.ec2("route-table", "subnet"),
        )
    if scope.listener is not None:
        yield Statement(
            "LetBalancerReachMachines",
            "one rule in the first security group of the existing load balancer",
            ("ec2:AuthorizeSecurityGroupEgress", "ec2:ModifySecurityGroupRules", "ec2:RevokeSecurityGroupEgress"),
            scope.ec2("security-group"),
            {"ArnEquals": {"ec2:Vpc": vpc}},
        )
