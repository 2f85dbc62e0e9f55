"""Instance maintenance policies: in which order unhealthy instances of a group are replaced.

Pure. Without a policy an instance goes and another is launched. With one, as many stay in service as it asks for: a
replacement is launched first, as far as the policy allows more than the desired capacity.

Sources: EC2 Auto Scaling API reference (InstanceMaintenancePolicy) and user guide ("Instance maintenance policies").
Not as in AWS: what is launched counts once it is in service; AWS waits for its warmup as well.
"""

from __future__ import annotations

import math
from typing import Any

from moto.autoscaling.exceptions import ValidationError

CLEARED = -1
MOST_APART = 100


def check(policy: dict[str, Any] | None) -> None:
    """Refuse what AWS refuses: one percentage alone, one out of range, or two that are too far apart."""
    if policy is None:
        return
    low, high = (policy.get(f"{side}HealthyPercentage") for side in ("Min", "Max"))
    if low is None or high is None:
        raise ValidationError("MinHealthyPercentage and MaxHealthyPercentage must both be specified")
    low, high = int(low), int(high)
    if (low, high) == (CLEARED, CLEARED):
        return
    if not 0 <= low <= 100 or not 100 <= high <= 200:
        raise ValidationError("MinHealthyPercentage must be 0 to 100, and MaxHealthyPercentage 100 to 200")
    if high - low > MOST_APART:
        raise ValidationError("MaxHealthyPercentage and MinHealthyPercentage must not differ by more than 100")


def kept(policy: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a group keeps of it: -1 clears it."""
    return None if policy is None or int(policy["MinHealthyPercentage"]) == CLEARED else policy


def goes(policy: dict[str, Any] | None, *, desired: int, ready: int, unhealthy: int) -> int:
    """How many unhealthy instances may go now: those that have been replaced, or are more than must stay in service.

    `ready` instances are healthy and in service.
    """
    if policy is None:
        return unhealthy
    floor = math.ceil(desired * int(policy["MinHealthyPercentage"]) / 100)
    if ready >= floor:
        return unhealthy
    replaced = max(0, ready + unhealthy - desired)
    return min(unhealthy, replaced if surplus(policy, desired=desired, unhealthy=unhealthy) else max(1, replaced))


def surplus(policy: dict[str, Any] | None, *, desired: int, unhealthy: int) -> int:
    """How many instances more than desired there may be while that many unhealthy ones are replaced."""
    if policy is None or int(policy["MaxHealthyPercentage"]) == 100:
        return 0
    return min(unhealthy, max(1, math.floor(desired * int(policy["MaxHealthyPercentage"]) / 100) - desired))
