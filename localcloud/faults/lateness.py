"""How late the local cloud does what AWS does late. Pure: no I/O, no clock.

Decides how many seconds after its time a thing happens: the same thing always the same number, another thing another
one. A minute of AWS is 10 s here, as a load balancer's figures stand for 10 s and not for 60.

| member | what is late | in AWS |
|---|---|---|
| `metrics` | a load balancer's figures, after their period has ended: each metric by itself, each in two parts | a minute or two (user guide for Application Load Balancers, "CloudWatch metrics", and what people see) |
| `weights` | requests follow the rules of a listener; the API answers the new ones at once | seconds (argo-rollouts issues 4595, 4926) |
| `scaling` | an auto scaling group launches and retires, after its capacity was changed; the API answers the new one at once | seconds |
| `scale_out` | the data points above the target of a target tracking policy, before it scales out; at least one | 3 of a minute (the policy's AlarmHigh) |
| `scale_in` | the data points below it, before it scales in; at least one | 15 of a minute (AlarmLow) |
| `health_checks` | an auto scaling group finds that EC2 has taken one of its Spot Instances | up to a minute or two: when a health check has failed (EC2 Auto Scaling user guide, "Capacity Rebalancing") |
| `warm_pools` | a warm pool that was deleted is gone, with its instances | until they are terminated: a minute or more |
| `actions` | a scheduled action of an auto scaling group | up to two minutes (EC2 Auto Scaling user guide, "Scheduled scaling") |
| `nat_gateways` | a NAT gateway is available, or gone | one to two minutes |
| `endpoints` | an interface endpoint is available; an endpoint and its network interfaces are gone | about a minute |
| `schedules` | a schedule of EventBridge Scheduler | up to a minute (its user guide, "Schedule types") |
| `records` | a change of Route 53 is at all name servers | within a minute (its API reference, ChangeResourceRecordSets) |
| `keys` | a KMS key, its policy, state, rotation, tags, grants and aliases are as they were changed; reads say old and new by turns | seconds, up to minutes (KMS developer guide, "Eventual consistency") |
| `principals` | a role or a user that was made is known to KMS, whose key policies may then name it | seconds (IAM user guide, "Changes that I make are not always immediately visible") |

A member is the least and the most seconds. With the look that a change then waits for, requests follow it after 3 s at
most, unless someone asks for more: a rollout that waits for `rollout.convergence` may count on it.
"""  # noqa: E501 - a table's row is one line

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, fields
from typing import Generic, TypeAlias, TypeVar

Thing = TypeVar("Thing")
Span: TypeAlias = tuple[float, float]


class BadLateness(Exception):
    """What was asked for is no lateness; the message is one line."""


@dataclass
class Lateness:
    """See the module's docstring. It may be changed at any time, from any thread."""

    metrics: Span = (10.0, 20.0)
    weights: Span = (1.0, 2.5)
    scaling: Span = (0.5, 2.0)
    scale_out: Span = (30.0, 30.0)
    scale_in: Span = (150.0, 150.0)
    health_checks: Span = (0.0, 10.0)
    warm_pools: Span = (1.0, 5.0)
    actions: Span = (0.0, 20.0)
    schedules: Span = (0.0, 10.0)
    nat_gateways: Span = (3.0, 8.0)
    endpoints: Span = (1.0, 5.0)
    records: Span = (2.0, 8.0)
    keys: Span = (0.5, 2.5)
    principals: Span = (0.5, 2.5)

    @classmethod
    def none(cls) -> Lateness:
        """Everything at once: for tests of something else."""
        return cls(*[(0.0, 0.0)] * len(fields(cls)))

    def change(self, asked: object) -> None:
        """Take over the members of a JSON object; nothing if one of them is wrong. Raises `BadLateness`."""
        if not isinstance(asked, dict):
            raise BadLateness("Lateness is a JSON object.")
        known = asdict(self)
        for name, span in asked.items():
            if name not in known:
                raise BadLateness(f"Lateness has no member {name!r}; it has {', '.join(known)}.")
            if not _is_span(span):
                raise BadLateness(f"{name} must be the least and the most seconds, as in [1, 3], not {span!r}.")
        for name, (least, most) in asked.items():
            setattr(self, name, (float(least), float(most)))

    def shown(self) -> dict[str, list[float]]:
        """All members, as JSON."""
        return {name: list(span) for name, span in asdict(self).items()}

    def of(self, member: str, *thing: object) -> float:
        """By how many seconds a thing is late."""
        least, most = getattr(self, member)
        return float(least + (most - least) * share(member, *thing))


class Late(Generic[Thing]):
    """Something that is followed late. As it is at first it is followed at once."""

    def __init__(self, first: Thing) -> None:
        self._followed = self._newest = first
        self._coming: list[tuple[float, Thing]] = []

    def follow(self, wanted: Thing, late: float, now: float) -> Thing:
        """As what to follow it now. What is new in `wanted` counts from so many seconds after it was first seen."""
        if wanted != self._newest:
            # What was to come later than this is never seen.
            self._coming = [one for one in self._coming if one[0] < now + late] + [(now + late, wanted)]
            self._newest = wanted
        while self._coming and self._coming[0][0] <= now:
            self._followed = self._coming.pop(0)[1]
        return self._followed


def share(*thing: object) -> float:
    """A number from 0 to 1 that looks as if drawn, and is always the same for the same thing."""
    return random.Random(repr(thing)).random()  # noqa: S311 - repeatable, no secret


def _is_span(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(one, int | float) and not isinstance(one, bool) for one in value)
        and 0 <= value[0] <= value[1]
    )
