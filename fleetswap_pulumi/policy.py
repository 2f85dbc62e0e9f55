"""How a rollout moves traffic and judges the candidate: its settings, and the policy that the provider receives.

A setting is declared once, in `Judgement`. The settings of a stack and the inputs of the `Rollout` resource both have
it, and its default is the domain's (`fleetswap.domain.rollout.policy.Policy`). A limit may be raised later but never
lowered: the states of older versions are read with it, even to destroy a stack.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    StringConstraints,
    TypeAdapter,
    model_validator,
)

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout.moments import contradictions
from fleetswap.domain.rollout.policy import Policy, Shortage
from fleetswap.domain.rollout.rates import Limit
from fleetswap.domain.rollout.strategy import Step, Strategy
from fleetswap_pulumi.checks import Strict, wrong_together
from fleetswap_pulumi.hook_settings import HookSettings, PauseSettings
from fleetswap_pulumi.metric_settings import Metrics
from fleetswap_pulumi.names import MONTH, Deadline, EnvironmentVariable, HostName, Path, TopicArn, Wait, distinct


@cache
def _domain() -> TypeAdapter[Policy]:
    return TypeAdapter(Policy)


class StepSettings(Strict):
    """One step of a canary."""

    weight: int = Field(ge=1, le=100)
    """Percentage of requests that the candidate gets. Must be greater than that of the step before."""
    hold: Wait = Step.hold
    """Minimum time in seconds to hold the weight. If requests are counted, the step also waits for the metrics of its
    last minute, which reach CloudWatch one to two minutes late."""
    min_requests: int = Field(default=Step.min_requests, ge=0)
    """Minimum number of requests to the candidate in the whole minutes of this step. With fewer, the rollout is
    aborted."""


def _completed(steps: tuple[StepSettings, ...]) -> tuple[StepSettings, ...]:
    try:
        strategy = Strategy(tuple(Step(**step.model_dump()) for step in steps))
    except InputError as error:
        raise ValueError(str(error)) from error
    return tuple(StepSettings(**asdict(step)) for step in strategy.steps)


def _named(value: object) -> object:
    if value == "all-at-once":
        return ()
    if isinstance(value, str):
        raise ValueError(f"{value!r} is neither `all-at-once` nor a list of steps")
    return value


Steps = Annotated[tuple[StepSettings, ...], AfterValidator(_completed)]
"""In ascending order. The last one, with all the traffic, is added if it is missing."""


Ceiling = Annotated[
    float | None,
    Field(
        gt=0,
        lt=1,
        description="A rate above this aborts the rollout, unless the live release's rate is not lower."
        " `null`: no ceiling.",
    ),
]


class LimitSettings(Strict):
    """How bad the candidate may be, of one kind. docs/reference/rates.md has the mathematics and its figures."""

    alpha: float = Field(default=Limit.alpha, gt=0, le=0.5)
    """Maximum probability, over a whole rollout, that a candidate within the limits is aborted."""
    ratio: float = Field(default=Limit.ratio, ge=1)
    """The candidate's rate may be at most this many times the live release's rate."""
    tolerated: float = Field(default=Limit.tolerated, ge=0, lt=1)
    """A rate up to this does not abort the rollout, however low the live release's rate is."""
    ceiling: Ceiling = Field(default=Limit.ceiling, examples=[0.1])


class ErrorSettings(LimitSettings):
    """Limits for the candidate's failed requests (5xx or no response). `null`: failed requests are not judged."""

    ceiling: Ceiling = 0.1  # a tenth of all is too much for any service


ReportOnly = Annotated[str, StringConstraints(pattern=r"^(image|probe|alarms|errors|slowness|metrics(\.[a-z0-9-]+)?)$")]


class Judgement(Strict):
    """What a candidate must prove, and how long each part of a rollout may take."""

    deadline: Deadline = Policy.deadline
    """Time in seconds for the candidate to become healthy, from the start of the rollout. After that, the rollout is
    aborted."""
    readings: int = Field(default=Policy.readings, ge=1, le=100)
    """Consecutive good readings that are required as proof, for example that the candidate is healthy."""
    interval: float = Field(default=Policy.interval, ge=0.1, le=60)
    """Seconds between two readings."""
    data_deadline: Wait = Policy.data_deadline
    """Time in seconds to wait for missing metrics after a step's `hold` and `convergence`. After that, the rollout is
    aborted."""
    shift_deadline: float = Field(default=Policy.shift_deadline, gt=0, le=3600)
    """Time in seconds for the listener to show new weights. After that, the rollout is aborted."""
    convergence: float = Field(default=Policy.convergence, ge=0, le=3600)
    """Time in seconds until all nodes of the load balancer follow new weights, from when the listener shows them."""
    switch_margin: Deadline = Policy.switch_margin
    """Extra time in seconds before the dead man's switch fires, beyond the longest time that a step may take.
    EventBridge Scheduler may add up to a minute."""
    probe_path: Path = Policy.probe_path
    """Path to probe: through the preview rule before the candidate gets traffic, without it afterwards. For gRPC, an
    empty message is sent to it. Unset: `/`, for gRPC `health.path`."""
    probe_statuses: tuple[Annotated[int, Field(ge=100, le=599)], ...] = Field(
        default=Policy.probe_statuses, min_length=1
    )
    """HTTP status codes that a probe accepts. For gRPC, its status must be one of `health.codes` as well."""
    probe_timeout: float = Field(default=Policy.probe_timeout, gt=0, le=60)
    """Seconds without a response after which a probe fails."""
    alarms: Annotated[tuple[str, ...], AfterValidator(distinct)] = Field(
        default=Policy.alarms, max_length=100, examples=[["web-checkout-failures"]]
    )
    """Names of CloudWatch alarms. The rollout is aborted if one is in ALARM at the start, or goes into ALARM."""
    errors: LimitSettings | None = None
    slow: float | None = Field(default=Policy.slow, gt=0, le=4000, examples=[1.0])
    """Response time in seconds above which a response is slow. Unset: response times are not judged."""
    slowness: LimitSettings = LimitSettings()
    """Limits for the candidate's slow responses."""
    metrics: Metrics | None = None
    """Values from CloudWatch and Prometheus that the candidate is judged by, in each canary step and in the bake.
    Without a value, a step does not pass. See docs/how-to/metrics.md."""
    report_only: tuple[ReportOnly, ...] = Field(default=(), examples=[["slowness"]])
    """Checks whose findings are reported, but neither abort nor delay a rollout: `image`, `probe`, `alarms`, `errors`,
    `slowness`, `metrics`, or one of these, `metrics.NAME`."""
    shortage: Shortage = Policy.shortage
    """What to do when EC2 has no Spot capacity for the candidate: launch On-Demand Instances in place of the Spot
    Instances that are missing (`on-demand`), or `abort` the rollout. At its end, the group's own mix applies again."""
    shortage_limit: int | None = Field(default=Policy.shortage_limit, ge=1, le=1000)
    """Maximum number of On-Demand Instances in place of Spot Instances; `null`: as many as are missing. If more are
    missing, the rollout is aborted. With weights, in units of capacity."""
    shortage_patience: Wait = Policy.shortage_patience
    """Time in seconds that EC2 may have no capacity before `shortage` applies."""
    warm: float = Field(default=Policy.warm, ge=0, le=MONTH)
    """Time in seconds that the previous release keeps its machines as a standby. After that, a scheduled action scales
    it in."""
    again: bool = Policy.again
    """Whether a release that was rolled back manually (`fleetswap rollback --now`) may be deployed again."""
    hooks: tuple[HookSettings, ...] | None = Field(
        default=None, max_length=20, examples=[[{"at": "before-traffic", "command": ["./smoke-test"]}]]
    )
    """What runs at moments of a rollout, in this order. A hook that fails or does not end in time aborts the rollout,
    and the traffic is restored. A trusted release has only the hooks at `end`: a rollback does not wait."""
    pause: tuple[PauseSettings, ...] | None = Field(default=None, max_length=10, examples=[[{"at": "before-traffic"}]])
    """Where a rollout waits for `fleetswap continue` or `fleetswap abort`. A trusted release does not wait."""


class StrategyInputs(Strict):
    """The steps of a rollout, and the bake after them. See `fleetswap.domain.rollout.strategy.Strategy`."""

    steps: Steps = ()
    bake: Wait = Strategy.bake
    trusted_bake: Wait = Strategy.trusted_bake


class RolloutPolicy(Judgement):
    """The policy of one rollout, as `Rollout` receives it and Pulumi's state keeps it.

    Its keys are those of the states in the field. The engine leaves out what is None, so None is the default of all
    that may be None. What comes later gets a default, too.
    """

    minimum: int = Field(validation_alias=AliasChoices("capacity", "minimum"), serialization_alias="capacity", ge=1)
    """Minimum number of machines of the live release; also how many a first deploy starts with."""
    strategy: StrategyInputs = StrategyInputs(steps=())
    quick: float = Field(default=Policy.quick, gt=0, le=60)
    """Seconds between two readings of what was good from the first one on."""
    patience: Deadline = Policy.patience
    """Seconds that the clean-up after a shift may be tried for, and that after a failure."""

    def to_policy(self) -> Policy:
        """The policy for the state machine. What that refuses beyond the limits above is an `InputError`."""
        given = self.model_dump()
        lists = {name: given[name] or () for name in ("hooks", "metrics", "pause")}
        return _domain().validate_python(given | lists)


class Moves(Strict):
    """How the traffic moves."""

    strategy: Annotated[
        Steps,
        BeforeValidator(_named, json_schema_input_type=Literal["all-at-once"] | tuple[StepSettings, ...]),
    ] = (StepSettings(weight=10, hold=60, min_requests=50),)
    """`all-at-once`, or the steps of a canary. A last step with all the traffic is added if it is missing. On AWS, a
    step takes four to six minutes, because metrics reach CloudWatch one to two minutes late."""
    bake: Wait = 60
    """Minimum time in seconds to watch a release that was never live before, with all the traffic on it."""
    trusted: int = Field(default=3, ge=0)
    """Number of the newest releases in the ledger that skip the canary because they were live before, which makes a
    rollback fast. A release that was rolled back is not among them."""
    trusted_bake: Wait = Strategy.trusted_bake
    """Time in seconds to watch a trusted release with all the traffic on it."""


class RolloutSettings(Judgement, Moves):
    """How traffic moves to a new release, and what the release must prove."""

    errors: ErrorSettings | None = ErrorSettings()
    shortage: Shortage = Shortage.ON_DEMAND
    """What to do when EC2 has no Spot capacity for the candidate: launch On-Demand Instances in place of the Spot
    Instances that are missing (`on-demand`), or `abort` the rollout. At its end, the group's own mix applies again."""
    shortage_limit: int | None = Field(default=20, ge=1, le=1000)
    """Maximum number of On-Demand Instances in place of Spot Instances; `null`: as many as are missing. If more are
    missing, the rollout is aborted. With weights, in units of capacity."""
    probe_host: HostName | None = Field(default=None, examples=["shop.example.com"])
    """`Host` header of a probe, for an application that responds only to its own names. Unset: the load balancer's
    name. The load balancer's own health check always sends the machine's private address."""
    alerts: TopicArn | None = Field(default=None, examples=["arn:aws:sns:eu-central-1:111122223333:deploys"])
    """ARN of an SNS topic that is notified at the end of every rollout, whether it succeeded or not."""

    webhook_env: EnvironmentVariable | None = Field(default=None, examples=["FLEETSWAP_WEBHOOK"])
    """Name of an environment variable of the deployer with the URL of a chat's webhook, which is notified as well
    (docs/how-to/alarms.md). The URL is a secret: do not put it here."""

    @model_validator(mode="after")
    def _pauses_at_steps(self) -> RolloutSettings:
        strategy = Strategy(tuple(Step(**step.model_dump()) for step in self.strategy))
        found = [
            (f"pause[{number}].at", what)
            for number, what in contradictions([each.pause for each in self.pause or ()], strategy)
        ]
        if found:
            raise wrong_together(found)
        return self

    @model_validator(mode="after")
    def _metrics_can_judge(self) -> RolloutSettings:
        try:
            if self.metrics:
                self.policy(1).to_policy()
        except InputError as error:
            raise ValueError(str(error)) from error
        return self

    def probed(self, version: str, check: str) -> str:
        """The path to probe of a release that speaks this protocol version, and has its health check at `check`."""
        return check if version == "grpc" and "probe_path" not in self.model_fields_set else self.probe_path

    def policy(self, minimum: int, version: str = "http1", check: str = "") -> RolloutPolicy:
        """The policy of a rollout with these settings; `minimum` is the minimum capacity of the live release.

        `version` and `check` are of the candidate, see `probed`.
        """
        judgement = self.model_dump(include=set(Judgement.model_fields))
        judgement["probe_path"] = self.probed(version, check)
        strategy = StrategyInputs(steps=self.strategy, bake=self.bake, trusted_bake=self.trusted_bake)
        return RolloutPolicy(minimum=minimum, strategy=strategy, **judgement)
