"""Everything that a rollout knows while it runs. Only values: `machine` makes each state from the one before."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from fleetswap.domain.rollout import boots
from fleetswap.domain.rollout.boots import Boots
from fleetswap.domain.rollout.findings import Finding
from fleetswap.domain.rollout.health import Streak
from fleetswap.domain.rollout.messages import (
    Action,
    Arm,
    CancelScaleIn,
    Change,
    Disarm,
    End,
    Resize,
    Restore,
    Route,
    ScheduleScaleIn,
    Seen,
    TagRule,
    Wait,
)
from fleetswap.domain.rollout.metric_values import MetricWatch
from fleetswap.domain.rollout.model import Order, ReleaseTarget, Rule, shares
from fleetswap.domain.rollout.moments import HookCall, Moment, Pause
from fleetswap.domain.rollout.periods import Watch
from fleetswap.domain.rollout.rollout_tags import BOOTS, LEFT, ROLLED_BACK, RolledBack
from fleetswap.domain.rollout.strategy import Step

STALE_SECONDS = 10.0
"""How long AWS may show a rule as it was. What is seen for longer is the truth: someone else has written it."""


class Phase(StrEnum):
    """Where a rollout is. The last three before the end are the put-back."""

    LOOK = "look"
    RECOVER = "recover"
    SCALE = "scale"
    GATE = "gate"
    PROBE = "probe"
    SHIFT = "shift"
    HOLD = "hold"
    BAKE = "bake"
    HOOK = "hook"
    PAUSE = "pause"
    SETTLE = "settle"
    COMPARE = "compare"
    PUT_BACK = "put back"
    CLEAN_UP = "clean up"
    DONE = "done"

    @property
    def is_back(self) -> bool:
        """Whether the rollout has failed and is being undone."""
        return self in {Phase.COMPARE, Phase.PUT_BACK, Phase.CLEAN_UP}


@dataclass(frozen=True)
class State:
    """All that a rollout knows. `doing` is the action in flight: a new process could go on from here."""

    order: Order
    run: str
    """Tells this run from every other of the same service; the switch carries it."""
    started: float
    deadline: float
    doing: Action
    streak: Streak
    ending: End
    phase: Phase = Phase.LOOK
    first: Seen | None = None
    """The world before anything was touched."""
    latest: Seen | None = None
    home: Rule | None = None
    """Where the traffic belongs until this rollout has succeeded, and where a failure puts it back."""
    recovered: int = 0
    """How often the traffic was brought home from where a rollout that died had left it."""
    steps: tuple[Step, ...] = ()
    """The steps that are left; the first of them is being taken."""
    wanted: int = 0
    most: int | None = None
    """How many machines the candidate can have at most, if that is fewer than serve now, and will have to do."""
    eager: bool = True
    """Whether the candidate was healthy from the first reading on."""
    suspects: tuple[str, ...] = ()
    boots: Boots = field(default_factory=Boots)
    """How long the candidate's machines took to become healthy."""
    short_since: float | None = None
    """Since when EC2 has had no capacity for the candidate."""
    queue: tuple[Change, ...] = ()
    touched: tuple[Change, ...] = ()
    """Changes that were made, or may have been."""
    doing_since: float = 0.0
    """When the change that is being made was first tried."""
    written: tuple[tuple[tuple[str, int], ...], ...] = ()
    """The weights that this rollout has written, or may have."""
    odd_since: float | None = None
    """Since when the rule is seen as it was before our last write."""
    had: frozenset[str] = frozenset()
    """The target groups that were seen to have traffic, or got some, at any time since this rollout began."""
    calm_since: float = 0.0
    """When the weights were last written, seen to change, or seen to begin to hold."""
    moved: bool = False
    """Whether the traffic was moved, or may have been."""
    since: float | None = None
    """When the candidate got its first weight."""
    held: int = 0
    """How often weights were not written, because the world was not as it was when they were decided on."""
    hold_until: float = 0.0
    watch: Watch = field(default_factory=Watch)
    """What is known of the candidate's requests."""
    metrics: MetricWatch = field(default_factory=MetricWatch)
    """What is known of the values of `rollout.metrics`."""
    armed_until: float | None = None
    """The switch does not fire before; None if it is not ours."""
    arming_until: float | None = None
    """The same for a switch that is just being set."""
    owned: bool = False
    """Whether the switch was ever ours."""
    switch_stays: bool = False
    """Whether the switch of another run could not be deleted."""
    arrived: bool = False
    """Whether the traffic is where someone has asked for it by hand: from then on a failure leaves it there."""
    moment: Moment = Moment.BEFORE_TRAFFIC
    """Whose hooks run."""
    hooks: tuple[int, ...] = ()
    """The hooks of this moment that are left, as numbers of the policy's; the first of them runs."""
    hook_until: float | None = None
    """When the hook that runs is late; None before it was started."""
    attempts: int = 0
    """How often the hooks before the traffic were begun."""
    pause: Pause | None = None
    """The pause that the rollout is in."""
    paused: tuple[str, ...] = ()
    """The places where it has waited."""
    pause_until: float = 0.0
    push_at: float = 0.0
    """When what is planned for the case that we die is to be pushed out again."""
    time_left: float = 0.0
    """Seconds that were left until `deadline` when hooks or a pause began: they do not count."""
    uncertain: bool = False
    """Whether the change that is being made may have been made already, by a try that got no answer."""
    verified: bool = False
    """Whether the weights were seen to hold after the switch was disarmed."""
    leaving: bool = False
    """Whether what served before is being scaled in: from then on there is no way back."""
    refusals: int = 0
    evidence: tuple[Finding, ...] = ()
    """The last findings about the candidate."""
    now_on: str | None = None
    """What has the traffic, in words, if it is not what had it before."""
    freeze: str = ""
    """Why this rollout may begin although the service is frozen; empty if it is not frozen, or the release is live."""
    warnings: tuple[str, ...] = ()
    """What could not be done, or not as it should be, and did not keep the traffic from moving."""

    @property
    def served(self) -> frozenset[str]:
        """The target groups that have the traffic until this rollout has succeeded."""
        return self.home.serving if self.home else frozenset()

    @property
    def previous(self) -> str | None:
        """The release that had the traffic before; if several shared it, all of them in one text."""
        return " and ".join(sorted(self.order.release_of(arn) for arn in self.served)) or None

    @property
    def weighted(self) -> bool:
        """Whether the candidate's size is in units of capacity."""
        return self.is_weighted(self.order.candidate)

    def is_weighted(self, target: ReleaseTarget) -> bool:
        """Whether the size of a release's group is in units of capacity, as far as it was seen."""
        groups = [look.group(target.release) for look in (self.latest, self.first) if look is not None]
        return any(group is not None and group.weighted for group in groups)

    @property
    def rule_tags(self) -> dict[str, str]:
        """The tags of the rule, as they were found and as this rollout has written them since."""
        found = dict(self.first.tags) if self.first else {}
        for change in self.touched:
            if isinstance(change, TagRule):
                found = {key: value for key, value in (found | dict(change.tags)).items() if key not in change.remove}
        return found

    @property
    def boot_times(self) -> str:
        """What the rule is told of this and the last rollouts' boots (`rollout_tags.BOOTS`)."""
        before = self.first.tags.get(BOOTS, "") if self.first else ""
        measured = self.boots.measured
        return before if measured is None else boots.written((*boots.read(before), measured))

    @property
    def left_by_hand(self) -> str | None:
        """The release that `fleetswap rollback --now` took the traffic from, if no rollout has ended since."""
        return RolledBack.read(self.first.tags.get(ROLLED_BACK, "") if self.first else "").release or None

    @property
    def trusted(self) -> bool:
        """Whether the candidate has proved itself. One that was left by hand did, until then: the ledger is older."""
        return self.order.trusted and self.left_by_hand != self.order.candidate.release

    @property
    def weight(self) -> int:
        """Percent of the traffic that the candidate has, as far as we have written it."""
        return dict(self.written[-1]).get(self.order.candidate.target_group, 0) if self.written and self.moved else 0

    def call_of(self, number: int) -> HookCall:
        """The run of one of the policy's hooks, for the first time."""
        order = self.order
        return HookCall(
            number=number,
            hook=order.policy.hooks[number],
            run=self.run,
            service=order.service,
            release=order.candidate.release,
            previous=self.previous,
            weight=self.weight,
            url=order.url,
        )

    @property
    def hook(self) -> HookCall:
        """The run of the hook whose turn it is."""
        call = self.call_of(self.hooks[0])
        return replace(call, attempt=self.attempts) if call.hook.at is Moment.BEFORE_TRAFFIC else call

    @property
    def is_live_already(self) -> bool:
        """Whether the candidate had all the traffic before."""
        return self.served == {self.order.candidate.target_group}

    @property
    def home_target(self) -> ReleaseTarget | None:
        """The release to go back to, if there is one and the order knows it."""
        return next((target for arn in sorted(self.served) if (target := self.order.release_target(arn))), None)

    @property
    def expected(self) -> Rule | None:
        """The rule as we left it."""
        return Rule(self.written[-1]) if self.written else self.home

    def is_ours(self, rule: Rule | None) -> bool:
        """Whether this is a rule that we found or wrote, and so perhaps only an old reading of it; else others did."""
        known = {shares(self.home)} | {shares(Rule(weights)) for weights in self.written}
        return shares(rule) in known

    def with_rule(self, rule: Rule | None, now: float) -> State:
        """The state after the rule was read."""
        if shares(rule) == shares(self.expected):
            return replace(self, odd_since=None)
        odd_since = now if self.odd_since is None else self.odd_since
        return replace(self.with_traffic_on(rule, now), odd_since=odd_since)

    def with_traffic_on(self, rule: Rule | None, now: float) -> State:
        """The state after weights were written, or seen to begin to hold: from now on the load balancer follows."""
        return replace(self, had=self.had | (rule.serving if rule else frozenset()), calm_since=now)

    @property
    def is_planned_ahead(self) -> bool:
        """Whether the candidate is, or may be, scaled in by AWS if we die."""
        mine = [change for change in self.touched if getattr(change, "target", None) == self.order.candidate]
        plans = [change for change in mine if isinstance(change, (ScheduleScaleIn, CancelScaleIn))]
        return bool(plans) and isinstance(plans[-1], ScheduleScaleIn)

    def is_others(self, rule: Rule | None, now: float) -> bool:
        """Whether someone else has moved the traffic: an unknown rule, or a former one that is no stale reading."""
        return not self.is_ours(rule) or (self.odd_since is not None and now - self.odd_since >= STALE_SECONDS)

    def wait(self, seconds: float, why: str, then: Action) -> State:
        """The state that waits before `then`."""
        return replace(self, doing=Wait(seconds, why, then))

    def change(self, change: Change, now: float) -> State:
        """The state that makes a change. From here on it may have been made, whatever is answered."""
        state = replace(self, doing=change, touched=(*self.touched, change), doing_since=now, uncertain=False)
        match change:
            case Route(weights=weights):
                since = now if self.since is None else self.since
                state = state.with_traffic_on(Rule(weights), now)
                return replace(state, written=(*self.written, weights), moved=True, since=since)
            case Restore(rule=rule):
                return state.with_traffic_on(rule, now)
            case Arm(seconds=seconds):
                return replace(state, arming_until=now + seconds)
            case Resize(target=target, desired=0):
                return replace(state, leaving=self.leaving or target.target_group in self.served)
            case ScheduleScaleIn(target=target, note=note) if note == LEFT:
                return replace(state, leaving=self.leaving or target.target_group in self.served)
            case _:
                return state

    def unchanged(self) -> State:
        """The state after a guarded change that was not made."""
        if not isinstance(self.doing, Route) or self.uncertain:
            return replace(self, queue=(), held=self.held + 1)
        written = self.written[:-1]
        since = self.since if written else None
        return replace(self, queue=(), written=written, moved=bool(written), since=since, held=self.held + 1)

    def changed(self) -> State:
        """The state after a change that was accepted."""
        state = replace(self, queue=self.queue[1:], refusals=0)
        if isinstance(self.doing, Arm):
            return replace(state, armed_until=self.arming_until, owned=True)
        return replace(state, armed_until=None) if isinstance(self.doing, Disarm) else state
