"""What a drill makes of what AWS says: each finding as a table, quotas, permissions, and what cannot be read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from botocore.stub import Stubber

from fleetswap.aws.rollout.identity import Identity, drill_schedule
from fleetswap.aws.rollout.switch import former_name, schedule_name
from fleetswap.domain.checklist import Finding, State
from fleetswap.domain.drill import judge, vcpus
from fleetswap.domain.drill.grants import questions
from fleetswap.domain.drill.seen import Ami, Launches, Snapshot, Subnet, SwitchRole, Template
from fleetswap.domain.drill.vcpus import ON_DEMAND, SPOT, Running, Wanted
from fleetswap.domain.errors import CloudError, InputError, TryAgain
from fleetswap.domain.permissions.scope import Scope
from fleetswap.domain.permissions.simulate import Denied
from fleetswap.domain.rollout.boots import Measured
from fleetswap.domain.rollout.health import Answer, Target
from fleetswap.domain.rollout.model import Armed, Group, ReleaseTarget, Rule
from fleetswap.domain.rollout.view import ReleaseView, Service, ServiceView
from fleetswap.domain.secrets.key_state import KeyState
from fleetswap.workflows.rollout import drill

if TYPE_CHECKING:
    from fleetswap.aws.session import Cloud

A, B = ReleaseTarget("web-a", "group-a", "target-a"), ReleaseTarget("web-b", "group-b", "target-b")
RULE = Rule(
    (("target-b", 100),), verbatim='{"RuleArn": "arn:aws:elasticloadbalancing:r:1:listener-rule/app/web/1/2/3"}'
)
KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
OK, FAILED, UNKNOWN, SKIPPED = State.OK, State.FAILED, State.UNKNOWN, State.SKIPPED


def view(release: ReleaseTarget, desired: int, *states: str, weight: int = 0, maximum: int = 8) -> ReleaseView:
    """A release with so many machines, in these states."""
    targets = tuple(Target(f"i-{number}", state) for number, state in enumerate(states))
    return ReleaseView(release, weight, Group(0, desired, maximum), targets)


STANDBY = view(A, 2, "healthy", "healthy")
NOW = ServiceView(
    Service("shop/prod", "web", "listener", (A, B)),
    RULE,
    (STANDBY, view(B, 2, "healthy", "healthy", weight=100)),
    (),
    "web-b",
    "web-a",
    None,
    None,
)
LAUNCHES = Launches("arn", "lt-1", "3", ("subnet-1", "subnet-2"), {"c7i.large": 1})
TEMPLATE = Template("ami-1", ("sg-1",))


def key(state: str, arn: str = KEY, **also: str) -> KeyState:
    return KeyState(arn, state, **also)


FINDINGS: dict[str, tuple[Finding, State, str]] = {
    "no rollout": (judge.rollout(NOW), OK, "none is running"),
    "a switch without a time": (
        judge.rollout(replace(NOW, switch=Armed(RULE, float("inf"), "r"))),
        FAILED,
        "the dead man's switch is armed: a rollout",
    ),
    "shared traffic": (
        judge.rollout(replace(NOW, releases=(replace(STANDBY, weight=5), NOW.releases[1]))),
        FAILED,
        "several releases share the traffic",
    ),
    "no rule": (judge.rule(replace(NOW, rule=None)), FAILED, "the listener has no rule"),
    "a stranger": (judge.rule(replace(NOW, strangers=(("arn:other", 100),))), FAILED, "forwards to arn:other"),
    "an odd rule": (judge.rule(replace(NOW, rule=replace(RULE, odd=("priority 3",)))), FAILED, "it has priority 3"),
    "a rule to nowhere": (judge.rule(replace(NOW, releases=(STANDBY,))), FAILED, "forwards to no release"),
    "another live release": (judge.rule(replace(NOW, live="web-a")), FAILED, "the last rollout made web-a live"),
    "a good rule": (judge.rule(replace(NOW, live=None)), OK, "all the traffic is on web-b"),
    "no machines": (judge.health(view(A, 0)), OK, "they would start first"),
    "healthy machines": (judge.health(STANDBY), OK, "2 of 2 machines healthy"),
    "a sick machine": (judge.health(view(A, 2, "healthy", "unhealthy")), FAILED, "1 of 2 machines healthy: i-1 is"),
    "unchecked machines": (judge.health(view(A, 1, "unused")), SKIPPED, "there is no preview rule, or a zone"),
    "missing machines": (judge.health(view(A, 1)), FAILED, "web-a has 0 of 1 machine healthy"),
    "no preview rule": (judge.preview("web-a", None, None, ""), FAILED, "no preview rule"),
    "a preview rule without machines": (judge.preview("web-a", "value", None, ""), OK, "its rule is there"),
    "no response": (judge.preview("web-a", "v", Answer(None, "refused"), "200"), UNKNOWN, "no response through it (re"),
    "not for us": (judge.preview("web-a", "v", Answer(403), "200"), UNKNOWN, "front.preview_sources"),
    "an expected 403": (judge.preview("web-a", "v", Answer(403), "200-499"), OK, "status 403"),
    "an error": (judge.preview("web-a", "v", Answer(502), "200"), FAILED, "responds with status 502, not 200"),
    "no group": (judge.group(STANDBY, None, 2), FAILED, "group-a does not exist"),
    "a small group": (judge.group(view(A, 1, maximum=1), LAUNCHES, 2), FAILED, "may have 1 machine, and 2 machines"),
    "two suspended processes": (
        judge.group(STANDBY, replace(LAUNCHES, suspended=("Launch", "AZRebalance", "HealthCheck")), 2),
        FAILED,
        "HealthCheck and Launch are suspended",
    ),
    "a good group": (judge.group(STANDBY, LAUNCHES, 2), OK, "may have 8, and 2 are needed"),
    "no template": (judge.template(LAUNCHES, None), FAILED, "launch template lt-1 version 3 does not exist"),
    "a template": (judge.template(LAUNCHES, TEMPLATE), OK, "lt-1 version 3"),
    "no AMI": (judge.ami("ami-1", None), FAILED, "AMI ami-1 does not exist"),
    "a disabled AMI": (judge.ami("ami-1", Ami("disabled", ())), FAILED, "AMI ami-1 is disabled"),
    "an AMI": (judge.ami("ami-1", Ami("available", ())), OK, "ami-1"),
    "no snapshot": (judge.snapshots(["s-1", "s-2"], {"s-1": Snapshot("completed")}), FAILED, "s-2 does not exist"),
    "a pending snapshot": (judge.snapshots(["s-1"], {"s-1": Snapshot("error")}), FAILED, "s-1 is error"),
    "a snapshot": (judge.snapshots(["s-1"], {"s-1": Snapshot("completed")}), OK, "s-1 completed"),
    "no volume": (judge.snapshots([], {}), OK, "the AMI has none"),
    "a disabled key": (judge.keys([key("Disabled")], {}), FAILED, "is Disabled"),
    "a key for nobody": (judge.keys([key("Enabled")], {KEY: False}), FAILED, "lets EC2 Auto Scaling use it"),
    "an unseen key": (judge.keys([key("denied", told="AccessDenied")], {}), UNKNOWN, "is unknown (AccessDenied)"),
    "an unseen key without words": (judge.keys([key("denied")], {}), UNKNOWN, "is unknown"),
    "a policy that nobody may read": (judge.keys([key("Enabled")], {KEY: None}), UNKNOWN, "whether EC2 Auto Scaling"),
    "good keys": (judge.keys([key("Enabled")], {KEY: True}), OK, "1 customer managed key, enabled"),
    "AWS's key": (judge.keys([], {}), OK, "AWS's own"),
    "no subnet": (judge.network(LAUNCHES, TEMPLATE, ["subnet-1"], ["sg-1"]), FAILED, "subnet-2 does not exist"),
    "neither": (judge.network(LAUNCHES, TEMPLATE, ["subnet-1"], []), FAILED, "subnet-2 and sg-1 do not exist"),
    "a network": (judge.network(LAUNCHES, TEMPLATE, LAUNCHES.subnets, ["sg-1"]), OK, "2 subnets, 1 security group"),
    "no addresses": (
        judge.addresses({"s": Subnet("a", 1)}, 2),
        FAILED,
        "2 machines would start, and the subnets have 1",
    ),
    "addresses": (judge.addresses({"s": Subnet("a", 2)}, 2), OK, "2 free addresses"),
    "no type": (judge.types(["m1.small"], []), FAILED, "offers m1.small"),
    "one of two types": (judge.types(["a", "b"], ["b"]), OK, "b (not offered: a)"),
    "both types": (judge.types(["a", "b"], ["a", "b"]), OK, "a, b"),
    "no room": (judge.quota(SPOT, 3, 2, "words"), FAILED, "3 Spot would start, and there is room for 2 (words)"),
    "room": (judge.quota(SPOT, 2, 2, "words"), OK, "room for 2"),
    "a launch that is refused": (judge.launch("Code: why"), FAILED, "EC2 refuses a dry run of a launch: Code: why"),
    "a launch": (judge.launch(""), OK, "succeeded"),
    "no role": (judge.switch(None, ""), FAILED, "no role has the tags"),
    "a role that is not trusted": (judge.switch(SwitchRole("r", modifies=True), "cannot"), FAILED, "cannot"),
    "a powerless role": (judge.switch(SwitchRole("r", modifies=False), ""), FAILED, "do not let it modify"),
    "a role": (judge.switch(SwitchRole("r", modifies=True), ""), OK, "can assume"),
    "denied": (judge.permissions([Denied("a:B", "*"), Denied("c:D", "arn")], 9), FAILED, "missing: a:B, c:D on arn"),
    "conditions": (judge.permissions([Denied("a:B", "*", sure=False)], 9), UNKNOWN, "of a policy decide on a:B"),
    "allowed": (judge.permissions([], 9), OK, "all 9 of a rollback"),
}


@pytest.mark.parametrize("what", FINDINGS)
def test_a_finding(what: str) -> None:
    """A breakage would be called something else, or what works a breakage."""
    found, state, words = FINDINGS[what]
    assert (found.state, words in found.detail) == (state, True), found
    assert bool(found.remedy) == (state in (FAILED, UNKNOWN)), "every line that fails says what to do"
    assert str(found).startswith(f"{state:<8} {found.check}")


@pytest.mark.parametrize(
    ("machines", "measured", "words"),
    [
        (("healthy", "healthy"), (), "about 5 s: its machines run"),
        (("healthy",), (), "as long as its machines take to start, which no rollout has measured yet"),
        ((), (Measured(2, 20, 31), Measured(4, 22, 40)), "about 45 s, most of it the start of its machines"),
    ],
)
def test_how_long_it_would_take(machines: tuple[str, ...], measured: tuple[Measured, ...], words: str) -> None:
    """Who must decide at night between a rollback and a repair would be given a wrong time."""
    target = view(A, len(machines), *machines)
    assert judge.expected(replace(NOW, measured=measured), target).line.startswith(words)


def test_the_machines_that_are_needed_are_those_that_serve() -> None:
    """A rollback to fewer machines than serve now would pass."""
    assert judge.needed(NOW, STANDBY) == 2
    assert judge.needed(NOW, view(B, 5, weight=100)) == 5, "of the live release, its own"
    assert judge.needed(replace(NOW, releases=()), view(A, 0)) == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [("c7i.large", "Standard"), ("vt1.3xlarge", "G and VT"), ("u-6tb1.metal", None), ("trn1.2xlarge", None)],
)
def test_the_class_of_an_instance_type(name: str, kind: str | None) -> None:
    """Another class's quota would be asked about."""
    assert vcpus.class_of(name) == kind


@pytest.mark.parametrize(
    ("units", "there", "base", "percent", "market"),
    [
        (4, 1, 0, None, {ON_DEMAND: 3}),
        (4, 1, 2, 0, {ON_DEMAND: 1, SPOT: 2}),
        (5, 0, 1, 25, {ON_DEMAND: 2, SPOT: 3}),
        (2, 4, 0, 100, {}),
    ],
)
def test_what_would_be_launched_in_which_market(
    units: int, there: int, base: int, percent: int | None, market: Mapping[str, int]
) -> None:
    """The quota of the other market would be judged."""
    found = vcpus.wanted(units, there, base=base, percent=percent)
    assert found == tuple(Wanted(name, count) for name, count in market.items())


def test_the_vcpus_that_are_used_and_free() -> None:
    """A quota that is used up would look free, or machines of another class would use it up."""
    sizes = {"c7i.large": 2, "m7i.xlarge": 4, "p5.48xlarge": 192}
    running = [Running("c7i.large"), Running("c7i.large", SPOT), Running("p5.48xlarge"), Running("u-6tb1.metal")]
    assert vcpus.used(running, sizes) == {("Standard", ON_DEMAND): 2, ("Standard", SPOT): 2, ("P", ON_DEMAND): 192}
    types = {"c7i.large": 1, "m7i.xlarge": 3, "p5.48xlarge": 9, "u-6tb1.metal": 1}
    assert vcpus.room({"Standard": 9, "P": 100}, types, sizes) == 6, "two of the largest, in units"
    assert vcpus.room({"Standard": -3}, types, sizes) == 0


def test_the_permissions_are_asked_of_what_there_is() -> None:
    """IAM would be asked about `*`, which no policy of a stack allows, and everybody would lack everything."""
    scope = Scope(
        account="1", region="r", stack="shop/prod", service="web", listener="arn:aws:x:r:1:listener/app/l/1/2"
    )
    group = "arn:aws:autoscaling:r:1:autoScalingGroup:uuid:autoScalingGroupName/web-a"
    asked = {each.resource: each for each in questions(scope, [group, "arn:aws:x:r:1:listener-rule/app/l/1/2/3"])}
    assert "autoscaling:UpdateAutoScalingGroup" in asked[group].actions
    assert "elasticloadbalancing:ModifyRule" in asked["arn:aws:x:r:1:listener-rule/app/l/1/2/3"].actions
    assert asked[group].context["aws:ResourceTag/fleetswap:stack"] == "shop/prod"
    assert "elasticloadbalancing:DescribeRules" in asked["*"].actions
    assert asked["*"].context == {"aws:RequestedRegion": "r"}


class Anything:
    """Stands in for AWS: every question is refused, but for what a test says."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        def ask(*_arguments: object) -> Any:
            if name not in self._answers:
                raise CloudError(f"{name}: access denied: allow it")
            return self._answers[name]

        return ask


def drilled(to: str | None = None, **ports: Any) -> dict[str, Finding]:
    """A drill of `NOW` with these ports, by check."""
    refusing = {name: Anything() for name in ("fleet", "switch", "keys", "parts", "identity", "preview")}
    balancer = Anything(rule=RULE, tags={"fleetswap:live": "web-b", "fleetswap:standby": "web-a"}, targets=())
    fleet = Anything(group=Group(0, 2, 4))
    world = drill.World(**{**refusing, "balancer": balancer, "fleet": fleet, **ports}, region="us-east-1")
    found = drill.drill(NOW.service, to, world)
    return {each.check: each for each in found.findings}


def test_what_aws_refuses_is_unknown_and_never_ok() -> None:
    """A role that sees nothing would prove every rollback."""
    found = drilled()
    assert {name for name, each in found.items() if each.state is OK} == {"rollout", "rule", "quota"}
    assert {name for name, each in found.items() if each.state is SKIPPED} == set()
    assert found["quota"].detail == "as many machines run as are needed"
    assert "access denied" in found["group"].detail
    assert "armed: access denied" in found["service"].detail


@pytest.mark.parametrize(
    ("to", "reason"), [("web-c", "release web-c of web has no auto scaling group"), ("web-b", "already has all the")]
)
def test_a_release_that_cannot_be_rolled_back_to_is_refused(to: str, reason: str) -> None:
    """A drill of nothing would pass."""
    with pytest.raises(InputError, match=reason):
        drilled(to)


def test_there_is_no_drill_of_a_service_without_traffic() -> None:
    """The pipeline of a new stack would end in a traceback."""
    with pytest.raises(InputError, match="no release has traffic"):
        drilled("live", balancer=Anything(rule=None, tags={}, targets=()))


def parts(launches: Launches | None = LAUNCHES, **also: Any) -> Anything:
    """Parts that are all there."""
    answers = {
        "launches": launches,
        "template": TEMPLATE,
        "ami": Ami("available", ("s-1",)),
        "snapshots": {"s-1": Snapshot("completed")},
        "subnets": {each: Subnet("us-east-1a", 9) for each in LAUNCHES.subnets},
        "security_groups": ["sg-1"],
        "offered": ["c7i.large", "u-6tb1.metal"],
        "running": (),
        "vcpus": {"c7i.large": 2},
        "quota": 64.0,
        "try_launch": "",
    }
    return Anything(**{**answers, **also})


@pytest.mark.parametrize(
    ("launches", "checks"),
    [
        (replace(LAUNCHES, types={}, by_attributes=True), {"types": OK, "quota": UNKNOWN}),
        (replace(LAUNCHES, types={"u-6tb1.metal": 1}), {"types": OK, "quota": UNKNOWN}),
        (replace(LAUNCHES, types={"x9.gone": 1}), {"types": FAILED, "quota": SKIPPED}),
        (LAUNCHES, {"types": OK, "quota": OK}),
    ],
)
def test_types_and_quotas_of_a_cold_release(launches: Launches, checks: Mapping[str, State]) -> None:
    """A quota would be judged by types that nobody launches."""
    groups = iter([Group(0, 0, 4), *[Group(0, 2, 4)] * 3])
    fleet = Anything()
    fleet.group = lambda _name: next(groups)  # type: ignore[attr-defined]
    found = drilled(parts=parts(launches), fleet=fleet)
    assert {name: found[name].state for name in checks} == checks


def test_what_was_skipped_is_not_proved() -> None:
    """A standby in a zone that the load balancer does not have, whose health nobody checks, would be proved."""
    fine = Finding("rule", OK, "")
    found = drill.Drill("web", "shop/prod", "r", "web-a", "web-b", judge.Expected(5.0, warm=True), (fine,))
    skipped = Finding("health", SKIPPED, "")
    assert found.proved is True
    assert replace(found, findings=(fine, skipped)).proved is None
    assert replace(found, findings=(skipped, Finding("preview", FAILED, ""))).proved is False


def test_what_is_not_there_skips_what_builds_on_it() -> None:
    """One missing template would be six failures, and nobody would see which came first."""
    found = drilled(parts=parts(template=None))
    states = {name: each.state for name, each in found.items()}
    assert states["template"] is FAILED
    skipped: Sequence[str] = ("ami", "snapshot", "network", "launch")
    assert {states[name] for name in skipped} == {SKIPPED}
    assert drilled(parts=parts(launches=None))["group"].state is FAILED
    assert drilled(parts=parts(ami=None))["ami"].state is FAILED


SCHEDULE, ROLE = "fleetswap-web-drill", "arn:aws:iam::123456789012:role/web-switch-1"


@pytest.fixture
def scheduler() -> Iterator[tuple[Identity, Stubber]]:
    client = boto3.client("scheduler", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")  # noqa: S106
    with Stubber(client) as stub:
        yield Identity(cast("Cloud", SimpleNamespace(scheduler=lambda: client))), stub
        stub.assert_no_pending_responses()


def refused(stub: Stubber, code: str, status: int, message: str = "") -> None:
    stub.add_client_error("create_schedule", code, message, http_status_code=status)


def deleted(stub: Stubber) -> None:
    stub.add_response("delete_schedule", {}, {"Name": SCHEDULE, "GroupName": "default"})


def test_what_a_drill_that_was_killed_has_left_is_deleted_and_tried_anew(scheduler: tuple[Identity, Stubber]) -> None:
    """Every drill after it would find nothing out: of a role that cannot be assumed, or without UpdateSchedule."""
    identity, stub = scheduler
    refused(stub, "ConflictException", 409)
    deleted(stub)
    refused(stub, "ValidationException", 400, "The execution role you provide must allow AWS EventBridge to assume it")
    deleted(stub)  # AWS may look at the role first, and not say that the schedule is there
    assert identity.try_switch("web", "rule", ROLE) == f"EventBridge Scheduler cannot assume {ROLE}"


def test_a_schedule_that_may_have_been_made_is_deleted(scheduler: tuple[Identity, Stubber]) -> None:
    """An error of AWS would leave the drill's schedule behind for ever."""
    identity, stub = scheduler
    refused(stub, "InternalServerException", 500)
    deleted(stub)
    with pytest.raises(TryAgain):
        identity.try_switch("web", "rule", ROLE)
    refused(stub, "AccessDeniedException", 403)
    with pytest.raises(CloudError, match="scheduler:CreateSchedule"):
        identity.try_switch("web", "rule", ROLE)


def test_drills_at_the_same_time_end(scheduler: tuple[Identity, Stubber]) -> None:
    """Those of several pull requests would try for ever, or one take the schedule of the other for its own."""
    identity, stub = scheduler
    for _ in range(3):
        refused(stub, "ConflictException", 409)
        deleted(stub)
    with pytest.raises(TryAgain, match="other drills of the service are running"):
        identity.try_switch("web", "rule", ROLE)


def test_a_drills_schedule_is_never_taken_for_a_switch() -> None:
    """A rollout would find traffic that is to be put back, and wait for it; a drill would delete a switch."""
    for service in ("web", "web-drill", "w" * 80):
        names = {schedule_name(service, "listener"), former_name(service, "shop/prod")}
        assert drill_schedule(service) not in names
        assert all(re.search("-[0-9a-f]{8}$", name) for name in names)
        assert len(drill_schedule(service)) <= 64
