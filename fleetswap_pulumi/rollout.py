"""The rollout: a dynamic provider, and the only owner of the weights and of a group's `desired` and `min`.

`diff` and `read` look at the real listener. So a change made outside Pulumi, or a deployer that died halfway, shows in
the next preview and is repaired by the next update. Nothing is decided here: see `fleetswap.workflows.rollout.run`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult
from pydantic import model_validator

from fleetswap.aws.rollout.adapters import Adapters
from fleetswap.aws.rollout.hooks import HookRunner
from fleetswap.aws.rollout.probe import HttpProber
from fleetswap.aws.session import Cloud
from fleetswap.domain import tags
from fleetswap.domain.rollout import model, record, rollout_tags
from fleetswap.domain.rollout.health import HTTP1, ProbeProtocol
from fleetswap.domain.rollout.model import Order
from fleetswap.domain.rollout.origin import Origin
from fleetswap.domain.rollout.record import Kind
from fleetswap.domain.rollout.rule import OWN, Rules
from fleetswap.domain.rollout.schedules import Schedule
from fleetswap.domain.rollout.state import State
from fleetswap.domain.rollout.warm_pool import WarmPool
from fleetswap.domain.timeline.model import Deploy
from fleetswap.prometheus.instant_queries import PrometheusQueries
from fleetswap.workflows.clock import SystemClock
from fleetswap.workflows.rollout import run as workflow
from fleetswap.workflows.rollout.record_file import recorder_of
from fleetswap.workflows.rollout.recorder import Recorder
from fleetswap.workflows.stop import Stop
from fleetswap_pulumi import timeline
from fleetswap_pulumi.cancel import hear
from fleetswap_pulumi.checks import Strict, check_failures, wrong
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.guardian import guarded
from fleetswap_pulumi.policy import RolloutPolicy
from fleetswap_pulumi.reach import ACCESS, ReachInputs, is_reached_otherwise
from fleetswap_pulumi.rule_inputs import RuleInputs, rule_inputs, rules_of
from fleetswap_pulumi.speech import Speech, urn_of
from fleetswap_pulumi.waves import WavesArgs, WavesInputs, told

if TYPE_CHECKING:
    from fleetswap_pulumi.capacity_settings import ScheduleSettings

SCHEMA = 1
"""Version of the inputs. A newer program must keep reading the states that older ones wrote."""

HOW = ("trusted", "urn", "keys", "ledger", "waves", "webhook_env", "origin")
"""These say how a rollout is made, and where it is told. By themselves they are no reason for one: the live release
becomes trusted by being live."""

FALLBACK = ("shortage", "shortage_limit", "hooks", "pause")
"""These of the policy matter only to a rollout that moves traffic, so a change of them alone starts none."""

OUTPUTS = ("serving", "previous", "left", "seconds", "record", "boots", "history")

CANCELLED = "cancelled"
GONE = f"{CANCELLED}: pulumi was killed"
"""Why a rollout ends that no engine waits for any more: no ledger would be written of it."""


class ReleaseTargetInputs(Strict):
    """See `fleetswap.domain.rollout.model.ReleaseTarget`."""

    release: str
    group: str
    target_group: str
    image: str | None = None


class ScheduleInputs(Strict):
    """See `fleetswap.domain.rollout.schedules.Schedule`."""

    recurrence: str
    time_zone: str
    min: int


class WarmPoolInputs(Strict):
    """See `fleetswap.domain.rollout.warm_pool.WarmPool`."""

    size: int
    prepared: int
    state: str
    reuse: bool


class Inputs(ReachInputs):
    """The resource's inputs, in the order of a preview."""

    schema_version: int
    live: str
    """The wanted release, which is to be live; which one is live now is the output `serving`."""
    standby: str | None = None
    service: str
    listener: str
    url: str
    sides: list[ReleaseTargetInputs]
    policy: RolloutPolicy
    tags: dict[str, str]
    trusted: bool = False
    switch_role: str | None = None
    alerts: str | None = None
    webhook_env: str | None = None
    """The environment variable with the URL of a chat's webhook."""
    probe_host: str | None = None
    protocol_version: str | None = None
    """What the targets speak if not `http1`: `http2` or `grpc`."""
    grpc_codes: str | None = None
    """The gRPC statuses that a probe accepts."""
    rules: RuleInputs | None = None
    keys: list[str] | None = None
    """ARNs of the KMS keys without which the wanted release cannot start machines."""
    schedules: dict[str, ScheduleInputs] | None = None
    """What changes the minimum of the live release at certain times, by name."""
    warm_pool: WarmPoolInputs | None = None
    """The warm pool of the live release."""
    urn: str = ""
    """In whose row the rollout speaks."""
    ledger: dict[str, Any] | None = None
    """The ledger once `live` has the traffic, in a stack of several regions: an update that another one fails leaves
    it here, and not in its outputs (`fleetswap_pulumi.stack_state`)."""
    waves: WavesInputs | None = None
    """The rollouts of the other regions, which an error tells of."""
    origin: dict[str, Any] | None = None
    """Where the rollout comes from, for its timeline (`fleetswap_pulumi.origin`)."""

    @model_validator(mode="after")
    def _has_the_wanted_release(self) -> Inputs:
        if self.live not in {target.release for target in self.sides}:
            raise wrong("live", f"no target is given for release {self.live}")
        return self

    @property
    def order(self) -> Order:
        """The order for the workflow."""
        targets = {target.release: model.ReleaseTarget(**target.model_dump()) for target in self.sides}
        candidate = replace(targets.pop(self.live), keys=tuple(self.keys or ()))
        return Order(
            service=self.service,
            listener=self.listener,
            url=self.url,
            candidate=candidate,
            others=tuple(targets.values()),
            standby=self.standby,
            policy=self.policy.to_policy(),
            trusted=self.trusted,
            switch_role=self.switch_role,
            schedules=tuple(
                Schedule(name, each.recurrence, each.time_zone, each.min)
                for name, each in sorted((self.schedules or {}).items())
            ),
            warm_pool=WarmPool(**self.warm_pool.model_dump()) if self.warm_pool is not None else None,
        )


class RolloutProvider(ResourceProvider):
    """Moves all the traffic to `live`. Every repeat starts from the listener's rule, so it only repairs."""

    serialize_as_secret_always = False

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse inputs that this version cannot read."""
        return CheckResult(news, check_failures(Inputs, news))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Changed inputs, or a fleet that differs from them. It never replaces: that would interrupt the traffic."""
        changed = _is_another_order(_olds, _news)
        if not changed:
            inputs = Inputs.of(_news)
            drift = _observe(inputs).drift
            changed = bool(drift) or is_reached_otherwise(_olds, _news)
            for what in drift:
                Speech(inputs.urn).warn(f"the fleet has drifted: {what}")
        return DiffResult(changes=changed, replaces=[], delete_before_replace=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Roll out. After any failure, the previous weights are restored first; then the first error is raised."""
        id_ = f"{props['service']}-rollout-{uuid.uuid4().hex[:8]}"
        return CreateResult(id_, _roll_out(props, id_, None))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """`serving` is what the listener says, so that a refresh shows a change made outside Pulumi."""
        return ReadResult(id_, {**props, "serving": _observe(Inputs.of(props)).live or ""})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """The same as `create`; but of another way to AWS to the same fleet only a record is made."""
        if not _is_another_order(_olds, _news) and not _observe(Inputs.of(_news)).drift:
            return UpdateResult({**_olds, **_news})
        return UpdateResult(_roll_out(_news, _id, _olds.get("history")))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Take the service down: the rule first, then the machines.

        Unless it was replaced (`--replace`, a new name): then another resource has the traffic, as the rule says.
        """
        inputs = Inputs.of(_props)
        aws = _adapters(inputs)
        owner = aws.balancer.tags(inputs.listener).get(rollout_tags.OWNER, _id)
        if owner != _id:
            Speech(inputs.urn).line(f"the traffic now belongs to {owner}: nothing is deleted")
            return
        workflow.retire(
            inputs.order,
            balancer=aws.balancer,
            fleet=aws.fleet,
            clock=SystemClock(),
            say=Speech(inputs.urn).line,
        )
        aws.switch.disarm(None)  # there is nothing left to put back


@dataclass(frozen=True)
class ReleaseTarget:
    """A release that traffic can be moved to, and the AMI that its machines must run."""

    release: str
    group: pulumi.Output[str]
    target_group: pulumi.Output[str]
    image: pulumi.Output[str]


@dataclass(frozen=True)
class RolloutArgs:
    """`candidate` gets the traffic; of the other releases, `standby` is kept warm.

    `trusted`: the candidate was live before. `alerts` is the ARN of an SNS topic that is notified of every end.
    """

    context: Context
    listener_arn: pulumi.Output[str]
    url: pulumi.Input[str]
    candidate: str
    standby: str | None
    releases: Sequence[ReleaseTarget]
    policy: RolloutPolicy
    trusted: bool
    switch_role: pulumi.Output[str]
    alerts: str | None
    webhook_env: str | None = None
    """The environment variable with the URL of a webhook that is notified as well."""
    probe_host: str | None = None
    rules: Rules = OWN
    protocol: ProbeProtocol = HTTP1
    """What the candidate speaks, in which it is probed."""
    keys: Sequence[pulumi.Input[str]] = ()
    """ARNs of the KMS keys without which the candidate cannot start machines."""
    ledger: Mapping[str, Any] | None = None
    """The plain ledger that the update leaves if it succeeds, if others may fail after this rollout."""
    schedules: Mapping[str, ScheduleSettings] = field(default_factory=dict)
    """What changes the minimum of the live release, by name."""
    warm_pool: WarmPool | None = None
    """The warm pool of the live release."""
    waves: WavesArgs | None = None
    origin: Mapping[str, Any] | None = None
    """Where the rollout comes from (`fleetswap_pulumi.origin`)."""


class Rollout(Resource, module="fleetswap", name="Rollout"):
    """The traffic of a service. Outputs the release that has it and the seconds that each phase took.

    `left` is the release that was rolled back manually before, if any. `record` has the phases and the steps of the
    last rollout, with the evidence that each was judged by, as docs/reference/rollout-record.md describes them. `boots`
    is how long the machines of the last rollouts took to become healthy (`fleetswap.domain.rollout.boots`). `history`
    has the timelines of the last rollouts that succeeded (`fleetswap.domain.timeline`).
    """

    serving: pulumi.Output[str]
    left: pulumi.Output[str | None]
    seconds: pulumi.Output[dict[str, float]]
    record: pulumi.Output[dict[str, Any] | None]
    boots: pulumi.Output[str | None]
    history: pulumi.Output[list[dict[str, Any]] | None]

    def __init__(self, name: str, args: RolloutArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        inputs = {
            "schema_version": SCHEMA,
            "live": args.candidate,
            "standby": args.standby,
            "service": args.context.service,
            "region": args.context.region,
            "endpoint": args.context.endpoint,
            "access": args.context.reach,
            "listener": args.listener_arn,
            "url": args.url,
            "sides": [
                {
                    "release": target.release,
                    "group": target.group,
                    "target_group": target.target_group,
                    "image": target.image,
                }
                for target in args.releases
            ],
            "policy": args.policy.model_dump(mode="json", by_alias=True),
            "tags": args.context.tags(name),
            "trusted": args.trusted,
            "switch_role": args.switch_role,
            "alerts": args.alerts,
            "webhook_env": args.webhook_env,
            "probe_host": args.probe_host,
            "protocol_version": None if args.protocol.version == "http1" else args.protocol.version,
            "grpc_codes": args.protocol.codes if args.protocol.version == "grpc" else None,
            "rules": rule_inputs(args.rules),
            "keys": list(args.keys) or None,
            "schedules": {name: each.model_dump() for name, each in args.schedules.items()} or None,
            "warm_pool": asdict(args.warm_pool) if args.warm_pool is not None else None,
            "urn": urn_of("Rollout", name, *args.context.parents),
            "ledger": args.ledger,
            "waves": args.waves.inputs if args.waves is not None else None,
            "origin": args.origin,
        }
        super().__init__(RolloutProvider(), name, {**inputs, **dict.fromkeys(OUTPUTS)}, opts)


def _is_another_order(olds: dict[str, Any], news: dict[str, Any]) -> bool:
    """Whether other inputs ask for a rollout."""
    return any(_asked(olds, key) != _asked(news, key) for key in Inputs.model_fields if key not in {*HOW, ACCESS})


def _asked(inputs: dict[str, Any], key: str) -> Any:  # noqa: ANN401 - any input
    value = inputs.get(key)
    if key == "policy" and isinstance(value, dict):
        return {name: each for name, each in value.items() if name not in FALLBACK}
    return value


def _adapters(inputs: Inputs, cloud: Cloud | None = None) -> Adapters:
    """Created for each operation: a provider keeps no clients."""
    return Adapters(
        cloud or inputs.admitted(inputs.listener),
        stack=inputs.tags[tags.STACK],
        service=inputs.service,
        listener=inputs.listener,
        tags=inputs.tags,
        switch_role=inputs.switch_role,
        rules=rules_of(inputs.rules),
    )


def tags_of_rule(outputs: Mapping[str, Any]) -> Mapping[str, str]:
    """The tags of the listener's rule, of a rollout with these outputs in the state. Raises `CloudError`."""
    inputs = Inputs.of({**outputs})
    return _adapters(inputs).balancer.tags(inputs.listener)


def _prober(inputs: Inputs, aws: Adapters) -> HttpProber:
    protocol = ProbeProtocol(inputs.protocol_version or HTTP1.version, inputs.grpc_codes or HTTP1.codes)
    return aws.prober(inputs.probe_host, {target.release: target.target_group for target in inputs.sides}, protocol)


def _hooks(inputs: Inputs, aws: Adapters, interrupted: Callable[[], bool] = lambda: False) -> HookRunner | None:
    """What runs the hooks; nothing if there are none."""
    if not inputs.policy.hooks:
        return None
    return aws.hooks({target.release: target.target_group for target in inputs.sides}, interrupted)


def _observe(inputs: Inputs) -> workflow.Observed:
    """What is real now."""
    aws = _adapters(inputs)
    return workflow.observe(inputs.order, balancer=aws.balancer, fleet=aws.fleet, switch=aws.switch)


def _roll_out(props: dict[str, Any], owner: str, history: object) -> dict[str, Any]:
    inputs = Inputs.of(props)
    origin = timeline.origin_of(inputs.origin, inputs.region)

    def deploy(outcome: workflow.Outcome) -> Deploy:
        stack = inputs.tags[tags.STACK]
        return timeline.deploy_of(outcome, origin, service=inputs.service, stack=stack, region=inputs.region)

    aws = _adapters(inputs)
    stop = Stop()
    where = inputs.region if inputs.waves is not None else ""
    speech = Speech(inputs.urn, gone=lambda: stop.ask(GONE), where=where)
    with (
        hear(lambda: stop.ask(CANCELLED)) as heard,
        guarded(inputs.model_dump(exclude={"ledger", "waves", "origin"})) as guardian,
    ):
        if not heard:
            speech.warn("this version of Pulumi does not report Ctrl-C: use `fleetswap abort` to end the rollout")
        try:
            outcome = workflow.roll_out(
                replace(inputs.order, owner=owner),
                balancer=aws.balancer,
                fleet=aws.fleet,
                prober=_prober(inputs, aws),
                clock=SystemClock(stop),
                metrics=aws.metrics(),
                switch=aws.switch,
                keys=aws.keys,
                cloudwatch=aws.metric_queries() if inputs.policy.metrics else None,
                prometheus=PrometheusQueries(),
                hooks=_hooks(inputs, aws, lambda: stop.is_wanted),
                notifier=aws.notifier(inputs.alerts, inputs.webhook_env),
                say=speech.line,
                show=speech.status,
                stop=stop,
                keep=guardian.keep,
                recorder=_recorder(inputs, origin),
                notes=lambda outcome: timeline.over_budget(deploy(outcome)),
            )
        except Exception as error:
            raise told(error, inputs.region, inputs.waves) from error
    seconds = {phase: round(spent, 1) for phase, spent in outcome.phases.items()}
    return {
        **props,
        "serving": outcome.live,
        "previous": outcome.previous or "",
        "left": outcome.left or "",
        "seconds": seconds,
        "boots": outcome.boots,
        "record": {
            "version": record.VERSION,
            "run": outcome.run,
            "started": outcome.started,
            "phases": [record.plain(time) for time in outcome.times],
            "steps": [record.plain(step) for step in outcome.steps],
        },
        "history": timeline.history_with(history, lambda: deploy(outcome), speech.warn),
    }


def _recorder(inputs: Inputs, origin: Origin | None = None) -> Recorder:
    """What keeps the record of a rollout of these inputs; nothing where there is no home for it."""
    return recorder_of(inputs.tags[tags.STACK], Kind.DEPLOY, origin)


def put_back(props: dict[str, Any], state: State, why: str, say: workflow.Say) -> None:
    """End the rollout of these inputs, whose provider was killed in this state. Sends the notification; no errors."""
    try:
        inputs = Inputs.of(props)
        aws = _adapters(inputs, inputs.cloud())  # the provider has seen to the account, and here nothing may be late
        workflow.take_up(
            state,
            why,
            balancer=aws.balancer,
            fleet=aws.fleet,
            prober=_prober(inputs, aws),
            clock=SystemClock(),
            switch=aws.switch,
            hooks=_hooks(inputs, aws),
            notifier=aws.notifier(inputs.alerts, inputs.webhook_env),
            say=say,
            recorder=_recorder(inputs),
        )
    except Exception as error:  # noqa: BLE001 - no one is left whom it could be raised to
        say(f"error: {error}")
