"""What a rollout needs from the outside, as `typing.Protocol`s: the load balancer, the fleet, metrics, switch and more.

Unless stated otherwise, every call may raise `TryAgain` for what may succeed later (a throttle, a 5xx, a timeout), and
`CloudError` for a refusal. Every change is safe to repeat: a caller that got no response makes it again.
`fleetswap.aws` implements them; the tests have a fake world.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from fleetswap.domain.rollout.health import Answer, Failure, Target
from fleetswap.domain.rollout.model import Armed, Group, ReleaseTarget, Rule
from fleetswap.domain.rollout.notices import Notice
from fleetswap.domain.rollout.periods import Report


class Balancer(Protocol):
    """The load balancer: one rule of a listener, its tags, and the health of targets."""

    def rule(self, listener: str) -> Rule | None:
        """The rule that carries the weights, or None."""

    def forward(self, listener: str, weights: tuple[tuple[str, int], ...]) -> None:
        """Write the weights, making the rule if there is none. The whole action is written: stickiness is reset."""

    def restore(self, listener: str, rule: Rule | None) -> None:
        """Write the rule's own former actions (`rule.verbatim`); None deletes the rule."""

    def mend(self, listener: str) -> None:
        """Take off the rule what `Rule.odd` tells. Without a rule it does nothing."""

    def targets(self, target_group: str) -> tuple[Target, ...]:
        """The targets and their health; none for a target group that is gone."""

    def tags(self, listener: str) -> Mapping[str, str]:
        """The tags of the rule that carries the weights; empty if there is no rule."""

    def tag(self, listener: str, tags: Mapping[str, str], remove: Sequence[str] = ()) -> None:
        """Write these tags on the rule, and take those keys off it. Without a rule it does nothing."""


class Fleet(Protocol):
    """The auto scaling groups and their machines."""

    def group(self, name: str) -> Group | None:
        """The group with what `rollout_tags` says of its tags, or None if it does not exist."""

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
        """Take tags off the group; a key that it does not have is fine, and so is a group that is gone."""

    def releases_of(self, target_groups: Sequence[str], service: str) -> tuple[ReleaseTarget, ...]:
        """The releases of the stack's service, declared or not, that these target groups belong to, as tags say."""

    def schedule_scale_in(self, name: str, seconds: float, note: str = "") -> None:
        """Let AWS set minimum and desired capacity to 0 in so many seconds, even if nothing of ours runs then.

        The tag `SCALE_IN`, with the note, is written before the scheduled action, so that no action is ever without its
        tag. An action that is there is moved.
        """

    def cancel_scale_in(self, name: str) -> None:
        """Delete that scheduled action, then its tag. That there is none is fine."""

    def images(self, machines: Sequence[str]) -> Mapping[str, str]:
        """The AMI id of each machine; one that EC2 does not know (yet) is left out."""

    def on_demand(self, name: str, percent: int) -> None:
        """Write the group's OnDemandPercentageAboveBaseCapacity, and nothing else of its mixed instances policy."""


class Metrics(Protocol):
    """CloudWatch."""

    def counts(self, target_groups: Sequence[str], seconds: float, slow: float | None) -> Report:
        """What is told of the last so many seconds, and of these target groups.

        The first period is whole, although it may have begun before. `slow` is the limit in seconds for a slow answer;
        with None, times are not asked for. A period of which CloudWatch knows nothing (yet) is left out.
        """

    def alarms(self, names: Sequence[str]) -> Mapping[str, str]:
        """The state (`OK`, `ALARM`, `INSUFFICIENT_DATA`) of each metric or composite alarm. A missing one is left out.

        Never called without names.
        """


class Switch(Protocol):
    """The dead man's switch: one one-shot schedule of the service, which writes the former weights back by itself."""

    def arm(self, seconds: float, rule: Rule, run: str) -> None:
        """Let the rule get its former actions back (`rule.verbatim`) in so many seconds, whatever becomes of us.

        Makes the schedule, or overwrites it, also that of another run; `run` says in it whose it is.
        """

    def disarm(self, run: str | None) -> None:
        """Delete the schedule, unless it is of another run; with None, whosever it is. That there is none is fine."""

    def armed(self) -> Armed | None:
        """The schedule as it stands, or None."""


class Notifier(Protocol):
    """Tells people. Whatever it raises is told as a warning and changes nothing."""

    def tell(self, notice: Notice) -> None:
        """Send one message."""


class Prober(Protocol):
    """An HTTP client that follows no redirects. It never raises for an answer that does not come."""

    def get(self, url: str, *, release: str | None, timeout: float) -> Answer:
        """GET with the preview header of `release`, or without; `timeout` in seconds."""
