"""The data of a rollout: what is requested, and what AWS looks like.

Only values and their checks: `fleetswap.domain.rollout.machine` decides with them, `fleetswap.workflows.rollout.run`
acts on them.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout.health import Machine
from fleetswap.domain.rollout.policy import Policy
from fleetswap.domain.rollout.schedules import Schedule, digest, minima
from fleetswap.domain.rollout.warm_pool import WarmPool


@dataclass(frozen=True)
class ReleaseTarget:
    """One release as the rollout sees it: its id, the name of its auto scaling group, the ARN of its target group.

    `image` is the id of its AMI, which its machines must run; None if that is not to be checked. `keys` are the ARNs of
    the KMS keys without which it cannot start machines.
    """

    release: str
    group: str
    target_group: str
    image: str | None = None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Terms:
    """What a rollout gives way to, what it can do without, and what it leaves. The defaults are those of a deploy."""

    overrules: str = ""
    """What another rollout that still runs is told, so that it stops; its switch is deleted, and traffic that it moves
    meanwhile is moved again. Empty: whoever else moves traffic is given way to."""
    best_effort: bool = False
    """Whether what AWS refuses beside the traffic (a tag, a plan, the switch) is a warning; else it is an error."""
    scarce: bool = False
    """Whether fewer machines than serve now will do: as many as the group may have; and at the deadline, any number
    above the healthy ones that serve."""
    keeps_all: bool = False
    """Whether all releases keep their machines at the end, with no end planned for them; else only the standby does."""
    rolled_back: str = ""
    """The tag `ROLLED_BACK` that the rule is to have at the end."""
    unfit: str = ""
    """What to do if the candidate is not healthy in time."""
    again: str = "run `pulumi up` again"
    """What to do about whatever could not be done."""


DEPLOY = Terms()


@dataclass(frozen=True)
class Order:
    """What is asked for: `candidate` gets all the traffic of `listener`.

    `others` are the other declared releases that may have machines. Of them `standby` is kept warm, which is: its
    size stays what it is and its group's minimum is raised to it, because target tracking would shrink a group without
    traffic, and going back to it must need no launch. The others are scaled to 0.

    `trusted`: the candidate is one of the last releases that were live, so it needs no canary. `switch_role` is the
    role of the dead man's switch; without one there is none. `strangers` are releases of the same service that no one
    has named and that have traffic: one that a rollout which failed has left live. They are found, not asked for.

    `url` is where users reach the service, and what is probed; empty if nobody knows: then nothing is probed.
    """

    service: str
    listener: str
    url: str
    candidate: ReleaseTarget
    others: tuple[ReleaseTarget, ...]
    standby: str | None
    policy: Policy
    trusted: bool = False
    switch_role: str | None = None
    owner: str = ""
    """Who owns the traffic: written on the rule at the end, so that one that was replaced does not take it down."""
    strangers: tuple[ReleaseTarget, ...] = ()
    terms: Terms = DEPLOY
    schedules: tuple[Schedule, ...] = ()
    """What changes the minimum of the live release at certain times."""
    warm_pool: WarmPool | None = None
    """That of the live release."""

    def __post_init__(self) -> None:
        """Refuse an order that names a release twice, or a standby that is not among the others."""
        for what in ("release", "group", "target_group"):
            names = [getattr(target, what) for target in self.releases]
            if len(set(names)) < len(names):
                raise InputError(f"rollout of {self.candidate.release}: two releases share one {what}: {names}")
        if self.standby is not None and self.standby not in {target.release for target in self.others}:
            raise InputError(f"rollout of {self.candidate.release}: standby {self.standby} is not one of the others")
        if self.url and not self.url.startswith(("http://", "https://")):
            raise InputError(f"rollout of {self.candidate.release}: {self.url!r} is not an http(s) address")

    @property
    def minima(self) -> frozenset[int]:
        """Every minimum that the live release may have."""
        return minima(self.schedules, self.policy.minimum)

    @property
    def moves_schedules(self) -> bool:
        """Whether it knows what the live release is to follow. Who goes back by hand may not have found it."""
        return not self.terms.keeps_all or bool(self.schedules)

    @property
    def followed(self) -> str:
        """What the live release's group is to be tagged with (`rollout_tags.SCHEDULES`)."""
        return digest(self.schedules)

    @property
    def releases(self) -> tuple[ReleaseTarget, ...]:
        """All releases of the order, the candidate first, and those that were found beside it."""
        return (self.candidate, *self.others, *self.strangers)

    def release_target(self, target_group: str) -> ReleaseTarget | None:
        """The release of a target group, if the order knows it."""
        return next((target for target in self.releases if target.target_group == target_group), None)

    def release_of(self, target_group: str) -> str:
        """The release of a target group; of one that is not in the order, its ARN, which is all that is known."""
        return next((target.release for target in self.releases if target.target_group == target_group), target_group)


@dataclass(frozen=True)
class Rule:
    """The rule that carries the weights, as the listener has it.

    `weights` are pairs of target group and weight. `verbatim` is what the balancer needs to write the very same
    actions again, and the switch to have them written; for everyone else it is opaque.
    """

    weights: tuple[tuple[str, int], ...]
    verbatim: str = ""
    odd: tuple[str, ...] = ()
    """What someone else has put on it that no rollout writes, and that keeps users from where the weights say."""

    @property
    def serving(self) -> frozenset[str]:
        """The target groups that get requests."""
        return frozenset(target_group for target_group, weight in self.weights if weight > 0)

    def shares(self) -> frozenset[tuple[str, float]]:
        """What part of the requests each serving target group gets; a lone one has all, whatever its weight."""
        total = sum(weight for _, weight in self.weights)
        return frozenset((target_group, weight / total) for target_group, weight in self.weights if weight > 0)


def shares(rule: Rule | None) -> frozenset[tuple[str, float]] | None:
    """A rule's shares; None if there is no rule. Two rules that divide the requests alike are equal in this."""
    return rule.shares() if rule else None


@dataclass(frozen=True)
class Group:
    """An auto scaling group: its bounds, its desired capacity, its machines, and its tags (`rollout_tags`)."""

    minimum: int
    desired: int
    maximum: int
    machines: tuple[Machine, ...] = ()
    pin: int | None = None
    """The minimum to restore: a rollout has raised it, and has not restored it yet (`rollout_tags.PIN`)."""
    abort: str | None = None
    """Why its rollout is to abort (`rollout_tags.ABORT`)."""
    paused: str | None = None
    """That its rollout waits for a person (`rollout_tags.Paused`)."""
    continued: str | None = None
    """That a person has said yes to a pause (`rollout_tags.CONTINUE`)."""
    scale_in: str | None = None
    """When AWS will scale it in by a scheduled action, or has, as its tag says (`rollout_tags.SCALE_IN`)."""
    scale_in_note: str = ""
    """What for (`rollout_tags.ScaleIn`)."""
    has_action: bool = True
    """Whether the scheduled action that the tag tells of exists: a deployer may have died between the two, or a hand
    has deleted it. Means nothing without a tag, or without machines."""
    on_demand_percent: int | None = None
    """OnDemandPercentageAboveBaseCapacity; None for a group without a mixed instances policy."""
    on_demand_base: int = 0
    """OnDemandBaseCapacity: the machines to which the percentage does not apply."""
    on_demand_pin: int | None = None
    """The percentage to restore (`rollout_tags.ON_DEMAND`)."""
    weighted: bool = False
    """Whether instance types have weights: its sizes are in units of capacity then."""
    warmup: int | None = None
    """DefaultInstanceWarmup, in seconds; None if it has none."""
    grace: int | None = None
    """HealthCheckGracePeriod, in seconds."""
    warm_pool: WarmPool | None = None
    """None also for one that is being deleted."""
    follows: str = ""
    """The schedules that it follows (`rollout_tags.SCHEDULES`); empty for none."""

    @property
    def own_minimum(self) -> int:
        """The minimum without the pin."""
        return self.minimum if self.pin is None else self.pin

    @property
    def is_planned(self) -> bool:
        """Whether AWS will scale it in on a schedule: a tag alone does not."""
        return self.scale_in is not None and self.has_action


@dataclass(frozen=True)
class Armed:
    """The dead man's switch as it stands: in `seconds` (less than 0: due) it writes `rule`; `run` is who armed it."""

    rule: Rule
    seconds: float
    run: str
