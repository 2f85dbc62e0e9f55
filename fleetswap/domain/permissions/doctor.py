"""What `fleetswap doctor` asks about an account beside whose credentials it has, which needs no permission."""

from __future__ import annotations

from collections.abc import Iterator

from fleetswap.domain.permissions.drill import look_at_quotas, simulate
from fleetswap.domain.permissions.scope import Scope
from fleetswap.domain.permissions.statement import Statement


def look(scope: Scope) -> Iterator[Statement]:
    """Whether the caller may deploy, and whether quotas have room. It changes nothing."""
    yield simulate(scope, "whether the policies of the caller allow a deploy")
    yield look_at_quotas(scope, "the quotas that a deploy can meet", "autoscaling", "ec2", "elasticloadbalancing")
    yield Statement(
        "LookAtUse",
        "defaults of quotas, and what counts against them; these actions know no resource",
        (
            "autoscaling:DescribeAutoScalingGroups",
            "ec2:DescribeInstanceTypes",
            "ec2:DescribeInstances",
            "elasticloadbalancing:DescribeTargetGroups",
            "servicequotas:GetAWSDefaultServiceQuota",
        ),
    )
