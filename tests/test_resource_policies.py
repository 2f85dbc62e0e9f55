"""The policies as decisions: what neither a program nor the policy pack's test shows."""

from __future__ import annotations

import pytest

from fleetswap.domain.resource_policies import POLICIES, UNKNOWN, Declared, violations

NETWORK = ("fleetswap:components:Network",)
FRONT = Declared("aws:ec2/securityGroup:SecurityGroup", "web-front", {}, NETWORK)
MACHINES = Declared("aws:ec2/securityGroup:SecurityGroup", "web-machines", {}, NETWORK)
RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"


@pytest.mark.parametrize(
    "resource",
    [
        Declared("aws:ec2/instance:Instance", "x", dict.fromkeys(("metadataOptions", "rootBlockDevice"), UNKNOWN)),
        Declared("aws:ec2/ami:Ami", "x", {"tags": UNKNOWN}),
        Declared("aws:ebs/volume:Volume", "x", {"encrypted": UNKNOWN}),
        Declared(RULE, "x", {"cidrIpv4": UNKNOWN}),
        Declared("aws:s3/bucket:Bucket", "x", {}),
        Declared(RULE, "x", {"referencedSecurityGroupId": "sg-balancer"}, NETWORK, {"securityGroupId": (MACHINES,)}),
        Declared(
            "aws:ec2/securityGroupRule:SecurityGroupRule",
            "x",
            {"type": "ingress", "sourceSecurityGroupId": UNKNOWN},
            (),
            {"securityGroupId": (MACHINES,), "sourceSecurityGroupId": (FRONT,)},
        ),
    ],
)
def test_what_is_not_known_or_none_of_our_business_is_let_through(resource: Declared) -> None:
    """A preview would be refused for what only the update knows, or behind an existing load balancer."""
    assert violations(resource) == ()


def test_a_group_that_is_only_called_front_is_no_front() -> None:
    """Anyone could open anything by its name."""
    group = Declared(FRONT.type, FRONT.name, {})
    rule = Declared(RULE, "x", {"cidrIpv4": "0.0.0.0/0"}, (), {"securityGroupId": (group,)})
    (wrong,) = violations(rule)
    assert wrong == (
        f"x ({RULE}): it lets 0.0.0.0/0 in: only the front may be open to anyone, name the networks that need it"
        " (policy ingress-by-the-front)"
    )


def test_each_policy_has_a_name_and_a_sentence() -> None:
    """A report would not say what is wanted."""
    assert repr(UNKNOWN) == "unknown"
    assert all(policy.description.endswith(".") for policy in POLICIES.values())
