"""What a rollout needs from the outside, as `typing.Protocol`s: the load balancer, the fleet, metrics, switch and more.

Unless stated otherwise, every call may raise `TryAgain` for what may succeed later (a throttle, a 5xx, a timeout), and
`CloudError` for a refusal. Every change is safe to repeat: a caller that got no response makes it again.
`fleetswap.aws` implements them; the tests have a fake world.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from fleetswap.domain.rollout.health import Answer, Failure, Target
from fleetswap.domain.rollout.metric_checks import CloudWatch, Prometheus
from fleetswap.domain.rollout.metric_values import Sample, Series
from fleetswap.domain.rollout.model import Armed, Group, ReleaseTarget, Rule
from fleetswap.domain.rollout.moments import HookCall, HookResult
from fleetswap.domain.rollout.notices import Notice
from fleetswap.domain.rollout.periods import Report
from fleetswap.domain.rollout.schedules import Schedule
from fleetswap.domain.rollout.warm_pool import WarmPool
from fleetswap.domain.secrets.key_state import KeyState


class Balancer(Protocol):
    """The load balancer: one rule of a listener, its tags, and the health of targets."""

    def rule(self, listener: str) -> Rule | None:
        """The rule with the weights, or None."""

    def forward(self, listener: str, weights: tuple[tuple[str, int], ...]) -> None:
        """Write the weights, and create the rule if there is none. The whole action is written: stickiness is reset."""

    def restore(self, listener: str, rule: Rule | None) -> None:
        """Restore the rule's own previous actions (`rule.verbatim`); None deletes the rule."""

    def mend(self, listener: str) -> None:
        """Remove from the rule what `Rule.odd` lists. Does nothing without a rule."""

    def targets(self, target_group: str) -> tuple[Target, ...]:
        """The targets and their health; empty for a target group that no longer exists."""

    def tags(self, listener: str) -> Mapping[str, str]:
        """The tags of the rule with the weights; empty if there is no rule."""

    def tag(self, listener: str, tags: Mapping[str, str], remove: Sequence[str] = ()) -> None:
        """Write these tags on the rule, and remove those keys. Does nothing without a rule."""


class Fleet(Protocol):
    """The auto scaling groups and their machines."""

    def group(self, name: str) -> Group | None:
        """The group, with its tags read by `rollout_tags`, or None if it does not exist."""

    def resize(self, name: str, *, minimum: int, desired: int | None) -> None:
        """Write the minimum and, unless None, the desired capacity.

        With a desired capacity of None, AWS raises it to the minimum if it is lower (UpdateAutoScalingGroup, MinSize).
        """

    def failures(self, name: str) -> tuple[Failure, ...]:
        """The newest scaling activities that failed, newest first."""

    def console(self, machine: str) -> str:
        """The end of the machine's console; empty if it has none."""

    def tag(self, name: str, tags: Mapping[str, str]) -> None:
        """Write tags on the group, not on its machines."""

    def untag(self, name: str, keys: Sequence[str]) -> None:
        """Remove tags from the group. A missing key, or a missing group, is not an error."""

    def releases_of(self, target_groups: Sequence[str], service: str) -> tuple[ReleaseTarget, ...]:
        """The releases of the stack's service, declared or not, that these target groups belong to, as tags say."""

    def schedule_scale_in(self, name: str, seconds: float, note: str = "") -> None:
        """Let AWS set minimum and desired capacity to 0 after so many seconds, even if the deployer no longer runs.

        The tag `SCALE_IN`, with the note, is written before the scheduled action, so that no action is ever without its
        tag. An existing action is moved.
        """

    def schedules(self, name: str) -> tuple[Schedule, ...]:
        """What the group's scheduled actions of ours say, by their names."""

    def follow(self, name: str, schedules: Sequence[Schedule], minimum: int) -> None:
        """Let AWS change the group's minimum by these schedules alone, and set it to what is due now.

        The tag `SCHEDULES` is `MOVING` before the first scheduled action is changed, and says what is followed after
        the last one; without schedules it is removed then. `minimum` is what the group has before any of them was due;
        without schedules, the minimum stays.
        """

    def keep_warm_pool(self, name: str, pool: WarmPool | None) -> None:
        """Give the group this warm pool and no other; without one, delete it with its machines. AWS works on it later.

        While a pool is being deleted, there can be no other: `TryAgain`.
        """

    def cancel_scale_in(self, name: str) -> None:
        """Delete that scheduled action, then its tag. A missing one is not an error."""

    def images(self, machines: Sequence[str]) -> Mapping[str, str]:
        """The AMI ID of each machine; a machine that EC2 does not know (yet) is omitted."""

    def on_demand(self, name: str, percent: int) -> None:
        """Write the group's OnDemandPercentageAboveBaseCapacity, and nothing else of its mixed instances policy."""


class Metrics(Protocol):
    """CloudWatch."""

    def counts(self, target_groups: Sequence[str], seconds: float, slow: float | None) -> Report:
        """What CloudWatch has published about these target groups for the last so many seconds.

        The first period is complete, although it may have started before. `slow` is the limit in seconds for a slow
        response; with None, response times are not requested. A period about which CloudWatch knows nothing (yet) is
        omitted.
        """

    def alarms(self, names: Sequence[str]) -> Mapping[str, str]:
        """The state (`OK`, `ALARM`, `INSUFFICIENT_DATA`) of each metric or composite alarm. A missing alarm is omitted.

        Never called without names.
        """


class MetricQueries(Protocol):
    """CloudWatch, for `rollout.metrics`."""

    def values(self, query: CloudWatch, seconds: float) -> Series:
        """The values of the last so many seconds; the first period is complete, although it may have started before.

        `InputError` for a query that CloudWatch does not accept, or that has several series.
        """


class InstantQueries(Protocol):
    """Prometheus, for `rollout.metrics`."""

    def value(self, query: Prometheus) -> Sample:
        """The value at this moment.

        `InputError` for a query that Prometheus does not accept, or that has several series, and for a token that the
        environment does not have. Returns or raises within a few seconds.
        """


class Keys(Protocol):
    """KMS."""

    def state(self, arn: str) -> KeyState:
        """The state of a key. One that does not exist or may not be described, and no answer, are states as well."""


class Switch(Protocol):
    """The dead man's switch: the service's one-time schedule, with which AWS restores the previous weights."""

    def arm(self, seconds: float, rule: Rule, run: str) -> None:
        """Schedule that the rule gets its previous actions back (`rule.verbatim`) after so many seconds.

        Creates the schedule or overwrites it, even that of another run; `run` records whose it is.
        """

    def disarm(self, run: str | None) -> None:
        """Delete the schedule, unless it belongs to another run; with None, whoever it belongs to. Safe to repeat."""

    def armed(self) -> Armed | None:
        """The current schedule, or None."""


class Hooks(Protocol):
    """Runs hooks, one at a time, beside the rollout. What is wrong with a hook is its result, and is never raised."""

    def run(self, call: HookCall, seconds: float) -> HookResult | None:
        """Start the hook, unless it was started with this very call, and wait so many seconds for its end.

        None while it runs. At its timeout it is killed, with all that it has started. May raise `TryAgain` before it is
        started.
        """

    def stop(self) -> None:
        """Kill the hook that runs, if one does. Never raises."""


class Notifier(Protocol):
    """Notifies people. Whatever it raises becomes a warning and changes nothing."""

    def tell(self, notice: Notice) -> None:
        """Send one message."""


class Prober(Protocol):
    """An HTTP client that follows no redirects. It never raises if there is no response."""

    def get(self, url: str, *, release: str | None, timeout: float) -> Answer:
        """GET with the preview header of `release`, or without; `timeout` in seconds."""
