"""`fleetswap status`, `abort`, `continue` and `rollback --now` against the local cloud: what they print and refuse."""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fleetswap.aws.rollout.balancer import Balancer
from fleetswap.aws.rollout.fleet import Fleet
from fleetswap.aws.rollout.previews import Previews
from fleetswap.aws.rollout.switch import Switch
from fleetswap.aws.session import Cloud
from fleetswap.domain import tags
from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.model import Rule
from fleetswap.domain.rollout.rule import OWN
from fleetswap.domain.rollout.warm_pool import WarmPool
from fleetswap.workflows.clock import SystemClock
from tests.cli.conftest import Local, Ran
from tests.fakes.ebs import BLOCK, disk_bytes
from tests.fakes.localcloud import serve

ROLE = "arn:aws:iam::123456789012:role/switch"
PROJECT = "name: fleetswap\nruntime: python\n"

pytestmark = pytest.mark.usefixtures("endpoint")

Cli = Callable[..., Ran]


@pytest.fixture(scope="module")
def endpoint(_local_cloud: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cloud whose targets are healthy, in place of the other tests'."""
    with serve(tmp_path_factory.mktemp("cloud"), healthy=True) as served:
        yield served.endpoint


class Region:
    """What the services of all tests have in common."""

    numbers = itertools.count(1)

    def __init__(self, endpoint: str) -> None:
        cloud = Cloud("us-east-1", endpoint)
        self.elb: Any = cloud.elbv2()
        self.scaling: Any = cloud.autoscaling()
        self.ec2: Any = cloud.ec2()
        self.scheduler = cloud.scheduler()
        self.fleet = Fleet(self.scaling, lambda: self.ec2)
        block = disk_bytes(["data"], BLOCK, seed=1)
        snapshot = Local(endpoint).hold(lambda _: {0: block})
        image = self.ec2.register_image(
            Name="web",
            Architecture="x86_64",
            RootDeviceName="/dev/xvda",
            VirtualizationType="hvm",
            EnaSupport=True,
            BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}],
        )["ImageId"]
        self.vpc = self.ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        self.subnets = [
            self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=f"10.7.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")[
                "Subnet"
            ]["SubnetId"]
            for n, zone in enumerate("ab")
        ]
        self.template = self.ec2.create_launch_template(
            LaunchTemplateName="web", LaunchTemplateData={"ImageId": image, "InstanceType": "t3.nano"}
        )["LaunchTemplate"]["LaunchTemplateId"]
        iam: Any = cloud._session.client("iam", endpoint_url=endpoint)
        trust = (
            '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",'
            '"Principal":{"Service":"scheduler.amazonaws.com"}}]}'
        )
        iam.create_role(RoleName="switch", AssumeRolePolicyDocument=trust)


class Service:
    """A service with the releases a (the standby) and b (live), as a rollout from a to b leaves it."""

    rules = OWN

    def __init__(self, region: Region, stack: str = "fleetswap/prod", name: str = "") -> None:
        self.region = region
        self.name = name or f"s{next(region.numbers)}"
        self.stack = stack
        self.arns: dict[str, str] = {}
        self.listener = self.make_listener()
        given = tags.policy(stack, self.name, name=self.name)
        self.balancer = Balancer(region.elb, tags=given, rules=self.rules)
        shared = self.rules.priorities is not None
        self.switch = Switch(
            region.scheduler, service=self.name, stack=stack, listener=self.listener, shared=shared, role=ROLE
        )

    def make_listener(self) -> str:
        """One of a load balancer of its own."""
        elb, stack = self.region.elb, self.stack
        balancer = elb.create_load_balancer(
            Name=f"{self.name}-{stack[-4:]}", Subnets=self.region.subnets, Tags=self._tags()
        )
        made = elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancers"][0]["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}],
            Tags=self._tags(),
        )
        return str(made["Listeners"][0]["ListenerArn"])

    def settled(self) -> Service:
        self.release("a", 1, 1)
        self.release("b", 1, 2)
        self.weigh(b=100)
        self.balancer.tag(self.listener, {rollout_tags.LIVE: self.id("b"), rollout_tags.STANDBY: self.id("a")})
        return self

    def id(self, letter: str) -> str:
        return f"{self.name}-{letter}"

    def release(self, letter: str, minimum: int, desired: int) -> None:
        region, name = self.region, self.id(letter)
        made = region.elb.create_target_group(Name=name, Protocol="HTTP", Port=8080, VpcId=region.vpc)
        self.arns[letter] = made["TargetGroups"][0]["TargetGroupArn"]
        # Like every release's: without a rule that forwards to it, its targets are unused and not checked.
        given = tags.policy(self.stack, self.name, name=name, release=name)
        Previews(region.elb, self.listener, tags=given, rules=self.rules).ensure(name, self.arns[letter], given)
        region.scaling.create_auto_scaling_group(
            AutoScalingGroupName=name,
            MinSize=minimum,
            MaxSize=4,
            DesiredCapacity=desired,
            LaunchTemplate={"LaunchTemplateId": region.template, "Version": "1"},
            VPCZoneIdentifier=",".join(region.subnets),
            TargetGroupARNs=[self.arns[letter]],
            Tags=[
                {**tag, "ResourceId": name, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": True}
                for tag in self._tags(name)
            ],
        )

    def weigh(self, **weights: int) -> None:
        self.balancer.forward(self.listener, tuple((self.arns[letter], weight) for letter, weight in weights.items()))

    def serving(self) -> set[str]:
        rule = self.balancer.rule(self.listener)
        return {letter for letter, arn in self.arns.items() if rule and arn in rule.serving}

    def told(self, letter: str) -> str | None:
        group = self.region.fleet.group(self.id(letter))
        assert group is not None
        return group.abort

    def _tags(self, release: str | None = None) -> list[dict[str, str]]:
        given = tags.policy(self.stack, self.name, name="x", release=release)
        return [{"Key": key, "Value": value} for key, value in given.items()]


@pytest.fixture(scope="module")
def region(endpoint: str) -> Region:
    """Made once; each test has a service of its own in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "local")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "local")
        return Region(endpoint)


CLIENTS: dict[tuple[str, ...], Any] = {}


def once_for_all(name: str, make: Callable[[Cloud], Any]) -> Callable[[Cloud], Any]:
    """A method that makes a client of the cloud, or has made it before: it takes longer than what the client is for."""

    def client(cloud: Cloud) -> Any:
        key = (name, cloud.region, cloud.endpoint or os.environ["AWS_ENDPOINT_URL"])
        if key not in CLIENTS:
            CLIENTS[key] = make(cloud)
        return CLIENTS[key]

    return client


@pytest.fixture
def service(region: Region, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Service:
    """A settled service, in a folder that is no project; waits are shortened, and each client is made once."""
    monkeypatch.chdir(tmp_path)
    for name in ("elbv2", "autoscaling", "ec2", "scheduler"):
        monkeypatch.setattr(Cloud, name, once_for_all(name, getattr(Cloud, name)))
    monkeypatch.setattr(SystemClock, "sleep", lambda _, seconds, _stop=None: time.sleep(seconds / 50))
    return Service(region).settled()


def test_status_of_a_settled_service(cli: Cli, service: Service) -> None:
    """Who has the traffic, and what is kept to go back to, would not be seen at a glance."""
    ran = cli("status", "--service", service.name)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        f"{service.name} of fleetswap/prod",
        "release  traffic  healthy  machines",
        f"{service.id('a'):7}        -   1 of 1  1 (1 to 4)  standby",
        f"{service.id('b'):7}    100 %   2 of 2  2 (1 to 4)  live",
    ]


def test_status_in_the_middle_of_a_canary(cli: Cli, service: Service) -> None:
    """What will happen by itself, the switch, a pin, a planned scale-in, would come as a surprise."""
    rule = service.balancer.rule(service.listener)
    assert rule is not None
    service.release("c", 2, 2)
    service.weigh(b=95, c=5)
    service.switch.arm(300, rule, "run-1")
    fleet = service.region.fleet
    fleet.tag(service.id("b"), {rollout_tags.PIN: "1", rollout_tags.ON_DEMAND: "0"})
    fleet.tag(service.id("c"), {rollout_tags.ABORT: "because"})
    fleet.schedule_scale_in(service.id("a"), 3600)
    fleet.keep_warm_pool(service.id("b"), WarmPool(0, 0, "Running"))
    left = {rollout_tags.ROLLED_BACK: "web-z 2026-11-24T12:00:00+00:00", rollout_tags.BOOTS: "4/110/120"}
    service.balancer.tag(service.listener, left)
    service.region.scaling.update_auto_scaling_group(AutoScalingGroupName=service.id("b"), DefaultInstanceWarmup=60)
    ran = cli("status", "--service", service.name)
    assert ran.status == 0
    lines = ran.out.splitlines()
    assert re.fullmatch(r".*  1 of 1  1 \(1 to 4\)  standby; warm until (2\S+ )?\d\d:\d\d UTC", lines[2])
    told = "live; pinned (minimum was 1); on-demand only (was 0 %); has a warm pool (running)"
    assert lines[3].split("  ", 2)[2].strip() == f"95 %   2 of 2  2 (1 to 4)  {told}"
    assert lines[4].endswith("  5 %   2 of 2  2 (2 to 4)  asked to abort: because")
    assert lines[5:7] == [
        "several releases share the traffic: a rollout is running, or has died",
        "web-z was rolled back with `fleetswap rollback --now` at 2026-11-24T12:00:00+00:00: to deploy it again, set"
        " fleetswap:rollout.again",
    ]
    assert re.fullmatch(rf"the dead man's switch is armed: in \d\S* it restores 100 % on {service.id('b')}", lines[7])
    assert lines[8].startswith("fleetswap:capacity.warmup is 60 s; 110 is proposed, because")

    found = cli("status", "--service", service.name, "--json").result
    releases = {each["release"]: each for each in found.pop("releases")}
    switch = found.pop("switch")
    (proposal,) = found.pop("proposals")
    assert proposal.pop("why").startswith("the last 4 machines")
    assert proposal == {"setting": "fleetswap:capacity.warmup", "value": 60, "proposed": 110}
    assert found == {
        "service": service.name,
        "stack": "fleetswap/prod",
        "listener": service.listener,
        "live": service.id("b"),
        "standby": service.id("a"),
        "rolled_back": {"release": "web-z", "at": "2026-11-24T12:00:00+00:00"},
        "strangers": [],
        "keys": [],
        "freeze": None,
        "boots": [{"machines": 4, "median": 110, "slowest": 120}],
        "unknown": [],
    }
    assert (switch["weights"], switch["run"]) == ({service.id("b"): 100}, "run-1")
    assert 200 < switch["seconds"] <= 301
    b = releases[service.id("b")]
    assert len(b.pop("machines")) == 2
    assert b == {
        "release": service.id("b"),
        "weight": 95,
        "healthy": 2,
        "targets": 2,
        "group": service.id("b"),
        "target_group": service.arns["b"],
        "desired": 2,
        "minimum": 1,
        "maximum": 4,
        "pin": 1,
        "on_demand_pin": 0,
        "scale_in": None,
        "warm_pool": {"size": 0, "prepared": 0, "state": "Running", "reuse": False},
        "abort": None,
        "paused": None,
        "weighted": False,
    }
    assert releases[service.id("c")]["abort"] == "because"
    assert releases[service.id("a")]["scale_in"].startswith("2")


def test_a_freeze_from_its_beginning_to_its_end(cli: Cli, service: Service) -> None:
    """A service would be said to be frozen and is not, or stay frozen; or nobody could see who froze it, and why."""
    name, role = ("--service", service.name), "arn:aws:sts::123456789012"
    wrong = cli("freeze", *name, "--reason", " ", "--until", "tomorrow")
    assert wrong.status == 2
    assert "--reason is empty" in wrong.err
    assert "--until 'tomorrow' is not a time" in wrong.err
    nothing = cli("unfreeze", *name, "--only", "web-x", "--reason", "a fix")
    assert nothing.status == 2
    assert f"{service.name} is not frozen" in nothing.err
    assert cli("unfreeze", *name).out == f"{service.name} in us-east-1 is not frozen\n"

    ran = cli("freeze", *name, "--reason", "Sale: no deploys, please!", "--until", "2h")
    assert ran.status == 0
    line = rf"is frozen until \S+ \d\d:\d\d UTC by {role}:\S+: Sale: no deploys please"
    assert re.fullmatch(rf"{service.name} in us-east-1 {line}\n", ran.out), "as it is kept: tags take no comma"
    assert ran.err == "a rollout that runs now goes on: `fleetswap abort` ends it\n"
    assert re.fullmatch(f"{service.name} {line}", cli("status", *name).out.splitlines()[-1])

    assert cli("unfreeze", *name, "--only", "web-x").status == 2, "an exemption without a reason"
    ran = cli("unfreeze", *name, "--only", "web-x", "--reason", "CVE-2026-1", "--json")
    assert (ran.status, ran.result["freeze"]["allowed"]["release"]) == (0, "web-x")
    frozen = cli("status", *name, "--json").result["freeze"]
    assert (frozen["reason"], frozen["allowed"]["reason"]) == ("Sale: no deploys please", "CVE-2026-1")
    assert frozen["by"].startswith(role)
    assert re.fullmatch(rf"web-x may pass, says {role}:\S+: CVE-2026-1", cli("status", *name).out.splitlines()[-1])

    again = cli("freeze", *name, "--reason", "a longer sale", "--until", "3d", "--json").result
    assert again["freeze"]["allowed"] is None, "who freezes anew knows nothing of what was allowed before"
    assert cli("unfreeze", *name).out == f"{service.name} in us-east-1 is no longer frozen\n"
    assert not any(key.startswith("fleetswap:frozen") for key in service.balancer.tags(service.listener))
    assert cli("status", *name, "--json").result["freeze"] is None
    service.balancer.restore(service.listener, None)
    none = cli("freeze", *name, "--reason", "a sale", "--until", "2h")
    assert none.status == 2
    assert "has no listener rule, so there is nothing to freeze yet" in none.err


def test_status_of_what_it_cannot_read(cli: Cli, local: Local, service: Service) -> None:
    """A missing permission would look like machines that are ill, or hide everything else."""
    local.fault(fault="access-denied", service="elbv2", operation="DescribeTargetHealth")
    local.fault(fault="access-denied", service="scheduler", operation="GetSchedule")
    ran = cli("status", "--service", service.name)
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[3] == f"{service.id('b'):7}    100 %        ?  2 (1 to 4)  live"
    assert lines[4] == "unknown, because AWS did not answer:"
    assert "DescribeTargetHealth" in lines[5]
    found = cli("status", "--service", service.name, "--json").result
    assert [each["healthy"] for each in found["releases"]] == [None, None]
    assert len(found["unknown"]) == 3


def test_status_of_a_key_that_new_machines_need(cli: Cli, local: Local, service: Service) -> None:
    """Nobody would learn that the next launch of the live release will fail, before it does."""
    kms: Any = Cloud("us-east-1", local.endpoint).kms("us-east-1")
    disabled, deleted = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    gone = disabled.rpartition("/")[0] + "/00000000-0000-0000-0000-000000000000"
    service.region.fleet.tag(service.id("b"), {tags.KEYS: f"{disabled} {gone}"})
    service.region.fleet.tag(service.id("a"), {tags.KEYS: f"{disabled} {deleted} nonsense"})
    assert not [line for line in cli("status", "--service", service.name).out.splitlines() if disabled in line]
    kms.disable_key(KeyId=disabled.rpartition("/")[2])
    kms.schedule_key_deletion(KeyId=deleted.rpartition("/")[2], PendingWindowInDays=7)
    lines = cli("status", "--service", service.name).out.splitlines()
    both = f"new machines of {service.id('a')} and {service.id('b')} need it"
    assert f"KMS key {disabled} is Disabled, and {both}: enable it with `aws kms enable-key --key-id {disabled}" in (
        "\n".join(lines)
    )
    found = cli("status", "--service", service.name, "--json").result["keys"]
    day = found[1].pop("deletion")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", day)
    assert f"KMS key {deleted} is PendingDeletion: KMS deletes it on {day}," in "\n".join(lines)
    assert f"KMS key {gone} does not exist" in "\n".join(lines)
    assert found == [
        {"arn": disabled, "state": "Disabled", "deletion": None, "releases": [service.id("a"), service.id("b")]},
        {"arn": deleted, "state": "PendingDeletion", "releases": [service.id("a")]},
        {"arn": gone, "state": "missing", "deletion": None, "releases": [service.id("b")]},
    ]
    local.fault(fault="access-denied", service="kms", operation="DescribeKey")
    assert "allow kms:DescribeKey on it" in cli("status", "--service", service.name).out
    local.fault(fault="access-denied", service="kms", operation="DescribeKey")
    assert None in [each["state"] for each in cli("status", "--service", service.name, "--json").result["keys"]]


def test_status_of_strange_traffic(cli: Cli, service: Service) -> None:
    """Traffic that a hand has put elsewhere would be called live, or be missing in the table."""
    service.weigh(a=100)
    ran = cli("status", "--service", service.name)
    assert ran.out.splitlines()[4:] == [f"the last successful rollout made {service.id('b')} live"]
    made = service.region.elb.create_target_group(
        Name=f"{service.name}-odd", Protocol="HTTP", Port=8080, VpcId=service.region.vpc
    )
    odd = made["TargetGroups"][0]["TargetGroupArn"]
    service.balancer.forward(service.listener, ((odd, 100),))
    ran = cli("status", "--service", service.name)
    assert re.search(rf"^{odd} +100 % +\? +\? +not a release of this stack$", ran.out, re.MULTILINE)
    assert cli("status", "--service", service.name, "--json").result["strangers"] == [
        {"target_group": odd, "weight": 100}
    ]
    service.balancer.restore(service.listener, None)
    ran = cli("status", "--service", service.name)
    assert ran.out.splitlines()[4:] == ["the listener has no rule: no release gets traffic"]


def test_which_service(cli: Cli, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong stack's traffic would be moved, or no one know what to type."""
    ran = cli("status")
    assert (ran.status, ran.out) == (2, "")
    assert ran.error == "which service? Name it with --service, or run this in its Pulumi project"
    ran = cli("status", "--service", "nobody")
    assert ran.status == 2
    assert "tags of service nobody" in ran.error

    other = Service(service.region, "fleetswap/test", service.name)
    other.release("x", 0, 0)
    ran = cli("abort", "--service", service.name)
    assert ran.status == 2
    assert "(fleetswap/prod, fleetswap/test): name one with --stack" in ran.error
    assert "fleetswap/test" in cli("status", "--service", service.name, "--stack", "fleetswap/test").out

    inner = tmp_path / "project" / "docs"
    inner.mkdir(parents=True)
    (inner.parent / "Pulumi.yaml").write_text(PROJECT)
    (inner.parent / "Pulumi.prod.yaml").write_text(
        f"config:\n  aws:region: us-east-1\n  fleetswap:service: {service.name}\n"
    )
    monkeypatch.chdir(inner)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert f"{service.name} of fleetswap/prod" in cli("status").out, "the only stack; its region is the settings'"
    (inner.parent / "Pulumi.test.yaml").write_text(f"config:\n  fleetswap:service: {service.name}\n")
    assert cli("status").error.endswith("with --stack (fleetswap has: prod, test)")
    for name in ("prod", "fleetswap/prod", "acme/fleetswap/prod"):
        assert f"{service.name} of fleetswap/prod" in cli("status", "--stack", name).out
    assert cli("status", "--stack", "dev").error.startswith("stack dev has no Pulumi.dev.yaml here")
    (inner.parent / "Pulumi.dev.yaml").write_text("config: {}\n")
    assert cli("status", "--stack", "dev").error.startswith("Pulumi.dev.yaml does not set fleetswap:service")
    (inner.parent / "Pulumi.dev.yaml").write_text("config: [\n")
    ran = cli("status", "--stack", "dev")
    assert ran.status == 2
    assert "Pulumi.dev.yaml is not YAML" in ran.error


def test_no_region_and_no_credentials(cli: Cli, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback of botocore's would be all that one sees at night."""
    ran = cli("status", "--service", service.name, "--endpoint-url", "localhost")
    assert (ran.status, ran.error.startswith("--endpoint-url localhost is not a URL")) == (2, True)
    CLIENTS.clear()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_SCHEDULER", "nowhere")
        ran = cli("status", "--service", service.name)
        assert (ran.status, ran.error) == (2, "the AWS configuration is not valid: Invalid endpoint: nowhere")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert cli("status", "--service", service.name).error.startswith("no AWS credentials: set AWS_PROFILE")
    local = cli("status", "--service", service.name, "--endpoint-url", "http://127.0.0.1:4510")
    assert "AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local" in local.error, "no login helps there"
    monkeypatch.delenv("AWS_REGION")
    assert cli("status", "--service", service.name).error.startswith("no AWS region")


def test_abort_tells_the_candidate(cli: Cli, service: Service) -> None:
    """The rollout would go on, or the live release be told to stop."""
    service.release("c", 1, 1)
    ran = cli("abort", "--service", service.name, "--reason", "the shop\nis down")
    assert (ran.status, ran.out) == (0, f"asked the rollout of {service.id('c')} to abort: the shop is down\n")
    assert service.told("c") is not None
    assert str(service.told("c")).startswith("the shop is down (2")
    assert (service.told("a"), service.told("b")) == (None, None)
    service.weigh(b=95, c=5)
    assert cli("abort", "--service", service.name, "--json").result == {
        "service": service.name,
        "stack": "fleetswap/prod",
        "reason": "aborted manually",
        "releases": [service.id("c")],
    }


def test_abort_without_a_candidate(cli: Cli, service: Service) -> None:
    """One would believe that something was stopped."""
    service.region.fleet.resize(service.id("a"), minimum=0, desired=0)
    ran = cli("abort", "--service", service.name)
    assert (ran.status, ran.out) == (2, "")
    assert ran.error.startswith(f"no rollout of {service.name} can be running")


def test_continue_names_the_pause_that_it_has_seen(cli: Cli, service: Service) -> None:
    """A pause would be continued that nobody has seen; or people not know what a rollout waits for, and until when."""
    service.release("c", 1, 1)
    none = cli("continue", "--service", service.name)
    assert (none.status, none.out) == (2, "")
    assert none.error.startswith(f"no rollout of {service.name} is paused")
    now = datetime.now(UTC).replace(microsecond=0)
    group, until = service.id("c"), now + timedelta(hours=2)
    paused = rollout_tags.Paused("run1", "before-25", now.isoformat(), until.isoformat(), "abort")
    service.region.fleet.tag(group, {rollout_tags.PAUSED: paused.value})
    shown = cli("status", "--service", service.name).out
    assert f"the rollout of {group} is paused before 25 % since " in shown
    assert "when it aborts: run `fleetswap continue` or `fleetswap abort`" in shown
    ran = cli("continue", "--service", service.name)
    assert (ran.status, ran.out) == (0, f"asked the rollout of {group} to continue, which is paused before 25 %\n")
    found = service.region.fleet.group(group)
    assert found is not None
    assert rollout_tags.continues(found.continued, "run1 before-25")
    told = cli("continue", "--service", service.name, "--json").result
    assert told == {
        "service": service.name,
        "stack": "fleetswap/prod",
        "release": group,
        "paused": asdict(paused),
    }
    status = cli("status", "--service", service.name, "--json").result
    assert {each["release"]: each["paused"] for each in status["releases"]}[group] == asdict(paused)

    over = replace(paused, until=(now - timedelta(minutes=9)).isoformat())
    service.region.fleet.tag(group, {rollout_tags.PAUSED: over.value})
    late = cli("continue", "--service", service.name)
    assert late.status == 2
    assert "its deployer has died, so run `pulumi up` again" in late.error
    assert "its deployer has died: run `pulumi up` again" in cli("status", "--service", service.name).out


def test_rollback_now(cli: Cli, local: Local, service: Service) -> None:
    """The command for a bad night would not move the traffic, or not say what is to be done in the morning."""
    assert local.endpoint
    ran = cli("rollback", "--now", "--dry-run", "--service", service.name)
    a, b = service.id("a"), service.id("b")
    assert ran.out == f"{service.name}: would roll back to {a} (1 of 1 machine healthy) from {b}\n"
    assert cli("rollback", "--now", "--dry-run", "--service", service.name, "--json").result == {
        "service": service.name,
        "stack": "fleetswap/prod",
        "to": a,
        "serving": [b],
    }
    assert service.serving() == {"b"}

    ran = cli("rollback", "--now", "--service", service.name)
    assert ran.status == 0
    assert re.fullmatch(
        rf"{a} has all the traffic of {service.name}, with 2 machines, after \d+\.\d s; {b} had it before\n", ran.out
    )
    assert service.serving() == {"a"}
    first, *between, last = ran.err.splitlines()
    assert first == f"{service.name}: rolling back to {a} from {b}"
    assert f"{a}: scaling to 2 machines; {b} has the traffic" in between
    assert last == (
        f"next: add `fleetswap:release: {a}` under `config:` in the settings of stack fleetswap/prod and commit it,"
        " so that the next `pulumi up` keeps this release"
    )
    assert f"{b} was rolled back with `fleetswap rollback --now` at 2" in cli("status", "--service", service.name).out

    result = cli("rollback", "--now", "--to", b, "--service", service.name, "--json", "--quiet").result
    assert result.pop("seconds") >= 0
    assert result == {
        "service": service.name,
        "live": b,
        "left": a,
        "machines": 2,
        "warnings": [],
        "weighted": False,
        "stack": "fleetswap/prod",
        "setting": f"fleetswap:release: {b}",
        "file": None,
        "written": False,
    }
    assert service.serving() == {"b"}


def test_rollback_now_refuses(cli: Cli, local: Local, service: Service) -> None:
    """Traffic would move to a release that is gone, or ill; or an option would silently do nothing."""
    a, b = service.id("a"), service.id("b")
    now = ("rollback", "--now", "--service", service.name)
    ran = cli(*now, "--to", "web-z")
    assert (ran.status, ran.out) == (2, "")
    assert f"release web-z of {service.name} has no auto scaling group (there are: {a}, {b})" in ran.error
    ran = cli(*now, "--to", b)
    assert (ran.status, f"{b} already has all the traffic" in ran.error) == (2, True)
    ran = cli(*now, "--write")
    assert (ran.status, "settings file of stack fleetswap/prod is not here" in ran.error) == (2, True)
    local.ask("POST", "target-health", {"state": "unhealthy", "target_group": a})
    ran = cli(*now, "--health-deadline", "1")
    assert (ran.status, ran.out) == (3, "")
    assert re.search(rf"release {a} is not healthy after \d+ s: 2 of 2 machines launched, 0 healthy", ran.error)
    assert ran.error.endswith(f"{b} keeps all the traffic: name another release with --to")
    assert service.serving() == {"b"}


def test_rollback_now_outlasts_what_is_beside_the_traffic(cli: Cli, local: Local, service: Service) -> None:
    """A missing permission for the switch would keep the traffic on a broken release, or not be told."""
    local.fault(fault="access-denied", service="scheduler")
    ran = cli("rollback", "--now", "--service", service.name, "--json")
    assert ran.status == 0
    assert service.serving() == {"a"}
    assert any("scheduler:GetSchedule" in warning for warning in ran.result["warnings"])
    assert any(line.startswith("warning: ") for line in ran.err.splitlines())


def test_rollback_now_writes_the_setting(
    cli: Cli, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person who is half asleep would have to edit YAML, or the file would lose its comments."""
    settings = tmp_path / "Pulumi.prod.yaml"
    (tmp_path / "Pulumi.yaml").write_text(PROJECT)
    before = f"# The shop.\nconfig:\n  aws:region: us-east-1\n  fleetswap:service: {service.name} # its name\n"
    settings.write_text(before)
    ran = cli("rollback", "--now")
    assert ran.status == 0
    assert settings.read_text() == before, "not asked for"
    a, b = service.id("a"), service.id("b")
    assert f"add `fleetswap:release: {a}` under `config:` in Pulumi.prod.yaml" in ran.err
    ran = cli("rollback", "--now", "--write", "--json")
    assert (ran.status, ran.result["written"], ran.result["file"]) == (0, True, str(settings))
    assert settings.read_text() == before.replace("config:\n", f"config:\n  fleetswap:release: {b}\n")
    assert f"next: commit Pulumi.prod.yaml, which now says `fleetswap:release: {b}`" in ran.err
    monkeypatch.setattr("fleetswap.cli.project.replace", lambda *_: (_ for _ in ()).throw(OSError("no space")))
    settings.write_text(f'config: {{"fleetswap:service": {service.name}}}\n')
    ran = cli("rollback", "--now", "--write", "--json")
    assert (ran.status, ran.result["written"]) == (0, False), "the traffic has moved, and that is what counts"
    assert service.serving() == {"a"}
    assert "Pulumi.prod.yaml cannot be edited automatically" in ran.err


def test_an_interrupted_rollback_says_so(cli: Cli, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C no one would know whether the traffic has moved."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SystemClock, "sleep", interrupt)
    ran = cli("rollback", "--now", "--service", service.name)
    assert (ran.status, ran.out) == (130, "")
    assert ran.error.startswith(f"interrupted; {service.id('b')} keeps all the traffic; check with `fleetswap status`")


def test_a_rule_of_someone_else(cli: Cli, service: Service) -> None:
    """A switch whose schedule was edited by hand would end the table in a traceback."""
    rule = service.listener.replace(":listener/", ":listener-rule/") + "/1"
    verbatim = json.dumps({"RuleArn": rule, "Actions": []})
    service.switch.arm(300, Rule(((service.arns["b"], 100),), verbatim=verbatim), "run-2")
    out = cli("status", "--service", service.name).out
    assert "it restores weights that Fleetswap did not write" in out
