"""How a rollout is judged and how long it may take: the outcome of a rollout's settings, and what is never valid.

Only values. The defaults here are those of the settings, whose limits are narrower: `fleetswap_pulumi.policy` has what
a user may set, and what Pulumi's state keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout.metric_checks import MetricCheck
from fleetswap.domain.rollout.moments import Hook, Pause, contradictions
from fleetswap.domain.rollout.rates import Limit
from fleetswap.domain.rollout.strategy import Strategy, check_seconds

ALL_AT_ONCE = Strategy()
DEFAULT_LIMIT = Limit()


class Check(StrEnum):
    """What a candidate is judged by."""

    STOP = "stop"
    """Whether a person asked for the end of the rollout."""
    WEIGHTS = "weights"
    """Whether the listener has the weights that this rollout wrote."""
    HEALTH = "health"
    """How many of its machines are healthy."""
    PREVIOUS = "previous"
    """Whether the release that has the other traffic has healthy machines."""
    IMAGE = "image"
    PROBE = "probe"
    ALARMS = "alarms"
    REQUESTS = "requests"
    """Whether the requests of the step are counted."""
    ERRORS = "errors"
    SLOWNESS = "slowness"
    METRICS = "metrics"
    """The metric checks, which are `metrics.NAME` each."""


OPTIONAL = frozenset({Check.IMAGE, Check.PROBE, Check.ALARMS, Check.ERRORS, Check.SLOWNESS, Check.METRICS})
"""Checks that can be for report only: reported, but neither abort nor wait. The others are what a rollout goes by:
traffic on no healthy machine is never right."""


class Shortage(StrEnum):
    """What to do when EC2 has no capacity for the candidate's machines."""

    ABORT = "abort"
    ON_DEMAND = "on-demand"


@dataclass(frozen=True)
class Policy:
    """How a rollout is judged and how long it may take. A value that makes no sense is an `InputError`."""

    minimum: int
    """Minimum number of machines of the live release; also how many a first deploy starts with."""
    deadline: float = 600.0
    """Seconds from the start until a candidate that is not healthy, or fails its probe, is given up."""
    readings: int = 3
    """Good readings in a row that count as proof; as many bad answers in a row after the shift put it back."""
    interval: float = 2.0
    """Seconds between two readings."""
    quick: float = 0.2
    """Seconds between two readings of what was good from the first one on: a warm standby, a rule just written."""
    probe_path: str = "/"
    """Path that is probed, through the preview rule and, after the shift, without it."""
    probe_statuses: tuple[int, ...] = (200,)
    """HTTP statuses that a probe accepts."""
    probe_timeout: float = 5.0
    """Seconds until a probe has failed."""
    shift_deadline: float = 60.0
    """Seconds until new weights must be seen to hold."""
    convergence: float = 60.0
    """Seconds from when new weights are seen until every node of the load balancer goes by them: DescribeRules tells
    what was written, not what the nodes do yet."""
    patience: float = 300.0
    """Seconds that the clean-up after a shift may be tried for, and the put-back after a failure."""
    strategy: Strategy = ALL_AT_ONCE
    """The steps in which the traffic moves, and the bake."""
    data_deadline: float = 420.0
    """Seconds after a step's hold, and after its weights have converged, until evidence that is still missing aborts
    the rollout. On AWS, figures that are two minutes late are settled within 315 s."""
    alarms: tuple[str, ...] = ()
    """CloudWatch alarms: one that is in ALARM at the start, or goes into it, ends the rollout."""
    errors: Limit | None = None
    """How many requests of the candidate may end with a 5xx, or with none; None: it is not judged by them."""
    slow: float | None = None
    """Seconds above which an answer is slow; None: it is not judged by that."""
    slowness: Limit = DEFAULT_LIMIT
    """How many slow answers the candidate may give."""
    metrics: tuple[MetricCheck, ...] = ()
    """Values of CloudWatch and Prometheus that the candidate is judged by."""
    report_only: tuple[str, ...] = ()
    """Checks (`Check`, or `metrics.NAME`) that are told, but neither abort nor wait."""
    shortage: Shortage = Shortage.ABORT
    """What to do when EC2 has no capacity: give up, or launch on-demand machines in the place of the spot ones that are
    missing, until the rollout ends."""
    shortage_limit: int | None = None
    """How many on-demand machines may be in the place of spot ones; None: as many as are missing."""
    shortage_patience: float = 180.0
    """Seconds that a shortage may last before that."""
    warm: float = 3600.0
    """Seconds that the release before is kept warm, before AWS scales it in; 0: it is scaled in at once."""
    switch_margin: float = 120.0
    """Seconds that the dead man's switch waits longer than we do. It fires within a minute after its time (EventBridge
    Scheduler user guide), and a call of ours may take long."""
    again: bool = False
    """Whether a release that was rolled back by hand may be deployed again."""
    hooks: tuple[Hook, ...] = ()
    """What runs at moments of the rollout, in this order."""
    pause: tuple[Pause, ...] = ()
    """Where the rollout waits for a person."""

    def __post_init__(self) -> None:
        """Refuse what can never succeed, or would not wait at all."""
        for name in ("minimum", "readings"):
            if getattr(self, name) < 1:
                raise InputError(f"rollout policy: {name} is {getattr(self, name)}, it must be 1 or more")
        for name in ("deadline", "interval", "quick", "probe_timeout", "shift_deadline", "patience", "switch_margin"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"rollout policy: {name} is {getattr(self, name)}, it must be a time above 0 s")
        for name in ("convergence", "data_deadline", "shortage_patience", "warm"):
            check_seconds(name, getattr(self, name))
        if self.slow is not None and not 0 < self.slow < float("inf"):
            raise InputError(f"rollout policy: slow is {self.slow}, it must be a time above 0 s")
        self._check_probe()
        self._check_choices()
        problems = [f"pause {number} {what}" for number, what in contradictions(self.pause, self.strategy)]
        if problems:
            raise InputError(f"rollout policy: {'; '.join(problems)}")

    def _check_probe(self) -> None:
        if not self.probe_path.startswith("/") or any(char.isspace() for char in self.probe_path):
            raise InputError(f"rollout policy: probe_path {self.probe_path!r} must start with / and contain no spaces")
        if not self.probe_statuses or any(not 100 <= status <= 599 for status in self.probe_statuses):
            raise InputError(
                f"rollout policy: probe_statuses {self.probe_statuses} must be HTTP statuses, at least one"
            )

    def _check_choices(self) -> None:
        if len(set(self.alarms)) < len(self.alarms):
            raise InputError(f"rollout policy: alarms {self.alarms} names one twice")
        self._check_metrics()
        optional = OPTIONAL | {f"{Check.METRICS}.{metric.name}" for metric in self.metrics}
        if not set(self.report_only) <= optional:
            raise InputError(f"rollout policy: report_only {self.report_only} must be of {', '.join(sorted(optional))}")

    def _check_metrics(self) -> None:
        names = [metric.name for metric in self.metrics]
        if len(set(names)) < len(names):
            raise InputError(f"rollout policy: metrics {', '.join(names)} name one twice")
        required = [metric for metric in self.metrics if not self.reports_only(Check.METRICS, metric.name)]
        if not required:
            return
        plan = self.strategy.plan(trusted=False)
        if not all(step.is_watched for step in plan[:-1]) or not any(step.is_watched for step in plan):
            raise InputError(
                "rollout policy: metrics judge only a step that has a hold, or the bake: give one to each step"
            )
        longest = max(required, key=lambda metric: metric.seconds * metric.consecutive)
        needed = (longest.consecutive + 1) * longest.seconds
        if needed > self.data_deadline:
            raise InputError(
                f"rollout policy: metric {longest.name} needs up to {needed} s for its values, and data_deadline is"
                f" {self.data_deadline:g} s"
            )

    def reports_only(self, check: Check, name: str = "") -> bool:
        """Whether a check neither aborts nor waits; `name` is that of a metric check."""
        return check in self.report_only or f"{check}.{name}" in self.report_only

    @property
    def counts_requests(self) -> bool:
        """Whether requests are to be counted at all."""
        return bool(self.errors or self.slow or any(step.min_requests for step in self.strategy.steps))

    def must_count(self, requests: int) -> bool:
        """Whether a step must not be passed before its requests are counted; `requests` is how many it asks for."""
        errors = self.errors is not None and not self.reports_only(Check.ERRORS)
        slow = self.slow is not None and not self.reports_only(Check.SLOWNESS)
        return bool(requests) or errors or slow
