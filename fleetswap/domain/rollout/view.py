"""A service as its tags show it, for those who have lost the state: its listener, its releases, and what is wrong with
them.

Only values, and which releases a rollout may be about. It reads nothing, and knows no setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout import boots, freeze, rollout_tags
from fleetswap.domain.rollout.boots import Measured, Proposal
from fleetswap.domain.rollout.freeze import Freeze
from fleetswap.domain.rollout.health import Target, healthy
from fleetswap.domain.rollout.model import Armed, Group, ReleaseTarget, Rule
from fleetswap.domain.rollout.rollout_tags import Paused, RolledBack
from fleetswap.domain.rollout.rule import OWN, Rules
from fleetswap.domain.secrets.key_state import KeyState


@dataclass(frozen=True)
class Service:
    """Where a service is: the tags name its stack and its releases that have an auto scaling group."""

    stack: str
    name: str
    listener: str
    releases: tuple[ReleaseTarget, ...]
    extra: tuple[str, ...] = ()
    """What has its tags and is not counted, in words."""
    rules: Rules | None = OWN
    """Where its rule stands; None on the listener of others, if there is no rule."""


@dataclass(frozen=True)
class ReleaseView:
    """One release at this moment. `group` is None for one that was deleted while we looked."""

    target: ReleaseTarget
    weight: int
    group: Group | None
    targets: tuple[Target, ...]
    known: bool = True
    """Whether AWS has told both; of what it has not told, there seems to be none."""

    @property
    def release(self) -> str:
        """Its id."""
        return self.target.release

    @property
    def healthy(self) -> int:
        """How many of its machines take requests; with weights, how many units of capacity."""
        return healthy(self.targets)

    @property
    def desired(self) -> int:
        """How many machines it is to have; with weights, how many units of capacity."""
        return self.group.desired if self.group else 0

    @property
    def paused(self) -> Paused | None:
        """That its rollout waits for a person."""
        return Paused.read(self.group.paused) if self.group and self.group.paused else None

    @property
    def weighted(self) -> bool:
        """Whether these are units of capacity."""
        return self.group is not None and self.group.weighted


@dataclass(frozen=True)
class ServiceView:
    """A service at this moment. `switch` is the dead man's switch; `unknown` lists what could not be read."""

    service: Service
    rule: Rule | None
    releases: tuple[ReleaseView, ...]
    strangers: tuple[tuple[str, int], ...]
    """Target groups with weight that belong to no release, and their weights."""
    live: str | None
    """The release that the last finished rollout made live; None if no one has told."""
    standby: str | None
    rolled_back: RolledBack | None
    switch: Armed | None
    unknown: tuple[str, ...] = ()
    keys: tuple[KeyState, ...] = ()
    """Of the KMS keys without which a release cannot start machines."""
    measured: tuple[Measured, ...] = ()
    """The boots of the last rollouts."""
    freeze: Freeze | None = None
    """Also one that has ended."""

    @property
    def proposals(self) -> tuple[Proposal, ...]:
        """Settings that the measured boots do not fit, by the group that has the most traffic."""
        group = self.serving[0].group if self.serving else None
        if group is None or group.warmup is None or group.grace is None:
            return ()
        return boots.proposals(self.measured, warmup=group.warmup, grace=group.grace)

    def needing(self, key: str) -> tuple[str, ...]:
        """The releases that need a key, by its ARN."""
        return tuple(each.release for each in self.service.releases if key in each.keys)

    @property
    def serving(self) -> tuple[ReleaseView, ...]:
        """The releases with traffic, the one with the most first."""
        return tuple(sorted((each for each in self.releases if each.weight > 0), key=lambda each: -each.weight))

    def release(self, name: str) -> ReleaseView:
        """A release by its id; an `InputError` if it has no machines to go to."""
        for each in self.releases:
            if each.release == name:
                return each
        known = ", ".join(sorted(each.release for each in self.releases)) or "none"
        raise InputError(
            f"release {name} of {self.service.name} has no auto scaling group (there are: {known}): deploy it again"
            " with `pulumi up`"
        )


def seen(
    service: Service,
    *,
    rule: Rule | None,
    tags: Mapping[str, str],
    groups: Mapping[str, Group | None],
    targets: Mapping[str, tuple[Target, ...]],
    switch: Armed | None,
    unknown: tuple[str, ...],
    keys: tuple[KeyState, ...] = (),
) -> ServiceView:
    """Put together what was read. `groups` are by name, `targets` by target group; what is unknown is not in them."""
    weights = dict(rule.weights) if rule else {}
    known = {target.target_group for target in service.releases}
    rolled_back = tags.get(rollout_tags.ROLLED_BACK)
    return ServiceView(
        service=service,
        rule=rule,
        releases=tuple(
            ReleaseView(
                target=target,
                weight=weights.get(target.target_group, 0),
                group=groups.get(target.group),
                targets=targets.get(target.target_group, ()),
                known=target.group in groups and target.target_group in targets,
            )
            for target in service.releases
        ),
        strangers=tuple((arn, weight) for arn, weight in weights.items() if weight > 0 and arn not in known),
        live=tags.get(rollout_tags.LIVE),
        standby=tags.get(rollout_tags.STANDBY),
        rolled_back=RolledBack.read(rolled_back) if rolled_back else None,
        switch=switch,
        unknown=unknown,
        keys=keys,
        measured=boots.read(tags.get(rollout_tags.BOOTS, "")),
        freeze=freeze.read(tags),
    )


def in_rollout(now: ServiceView) -> tuple[ReleaseView, ...]:
    """The releases that a rollout which is running may be about, the likeliest kind only.

    Those that share the traffic with the last live one; if none does, those with machines that are neither live nor
    standby; if there are none, a standby with machines: a rollout may be about to go back to it.
    """
    alone = now.serving[0].release if len(now.serving) == 1 and not now.strangers else None
    resident = now.live or alone
    sharing = tuple(each for each in now.serving if each.release not in {resident, alone})
    fresh = tuple(
        each
        for each in now.releases
        if each.desired > 0 and each.release not in {resident, alone, now.standby} and each.group is not None
    )
    warm = tuple(each for each in now.releases if each.desired > 0 and each.release not in {resident, alone})
    return sharing or fresh or warm
