"""The program's own components, deployed twice and refreshed with the real engine: nothing may change."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from fleetswap.domain.permissions.purposes import Purpose, policies
from fleetswap.domain.permissions.scope import Scope
from tests.engine.aws_plugin.test_lifecycle import stored_snapshot
from tests.engine.aws_plugin.test_real_engine import Stack

PROGRAM = """
import pulumi
from fleetswap_pulumi import release
from fleetswap_pulumi.alarm_settings import AlarmSettings
from fleetswap_pulumi.alarms import Alarms, AlarmsArgs, WatchedArgs
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.dashboard import Dashboard, DashboardArgs, body_of
from fleetswap_pulumi.front_door import FrontDoor, FrontDoorArgs
from fleetswap_pulumi.ground import Ground
from fleetswap_pulumi.network import Network, NetworkArgs
from fleetswap_pulumi.switch import Switch, SwitchArgs
from fleetswap.domain.image.source import FileImage
from fleetswap.domain.network.subnets import SEPARATE, divide
from fleetswap.domain.release.ledger import Entry, HealthCheck, Image, Machine

config = pulumi.Config()


class Stored:
    def __init__(self, *args, **kwargs):
        self.snapshot_id = pulumi.Output.from_input(config.require("snapshot"))


release.DiskImage = Stored
tags = {"team": config.require("tag")}
services = ("cloudwatch", "events", "sns")
context = Context(
    "shop/prod",
    "web",
    "us-east-1",
    config.require("endpoint"),
    "123456789012",
    extra_tags=tags,
    more_services=services,
)
opts = pulumi.ResourceOptions(providers=[context.provider()])
cidr = "10.30.0.0/16"
ground = Ground(("us-east-1a", "us-east-1b"), division=divide(cidr, ("a", "b"), SEPARATE), cidr=cidr)
network = Network("web", NetworkArgs(context, ground, 8183, [8080]), opts)
door = FrontDoor(
    "web",
    FrontDoorArgs(context, network.balancer_subnet_ids, network.front_group_id, 8183, None, 60, network.way_out),
    opts,
)
entry = Entry(
    release="web-12345678",
    image=Image("sha256:0", FileImage("disk.raw")),
    machine=Machine(
        ("t3.small", "t3a.small"), 2, 0, root_gib=4, policies=("arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore",)
    ),
    health=HealthCheck(8080, "/health", "200-299", 5, 2, 2, 2),
    max_size=4,
    made="2026-11-26T12:00:00Z",
)
tuning = release.Tuning(
    cpu_percent=60.0, warmup=60, drain=60, grace=300, measured=config.get_bool("alarms") or False
)
running = release.Release(
    release.ReleaseArgs(context, entry, network, door.listener_arn, tuning, upload=None, running=True), opts
)
running.complete()
switch = Switch("web", SwitchArgs(context, door.listener_arn), opts)
if config.get_bool("alarms"):
    watched = WatchedArgs(entry.release, running.targets, running.target.group, True)
    alarms = Alarms("web", AlarmsArgs(context, AlarmSettings(), door.balancer, True, [watched], switch.role_arn), opts)
    graphs = [(entry.release, running.targets, running.target.group)]
    body = body_of("web", "us-east-1", door.balancer, graphs, 95.0, alarms.arns, alarms.rules)
    record = {"run": "r", "started": entry.made, "phases": [{"phase": "shift", "began": 1.0}]}
    Dashboard("web", DashboardArgs(context, "shop-prod-web", body, entry.release, pulumi.Output.from_input(record)))
"""


@pytest.fixture
def stack(tmp_path: Path, endpoint: str, engine_bin: Path, aws: Callable[[str], Any]) -> Stack:
    stack = Stack(tmp_path, endpoint, engine_bin, program=PROGRAM)
    stack.config |= {"snapshot": stored_snapshot(aws("ebs"), "shop/prod")}
    stack.env |= key_of(aws("iam"), Purpose.DEPLOY)
    return stack


def key_of(iam: Any, purpose: Purpose) -> dict[str, str]:
    """The keys of a new user who has the printed policies for this program, and no others."""
    ssm = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
    watched: Any = {"watched": True, "own_topic": True, "dashboard": "shop-prod-web"}
    scope = Scope("123456789012", "us-east-1", "shop/prod", "web", machine_policies=(ssm,), **watched)
    name = f"{purpose.value}-{uuid4().hex}"
    iam.create_user(UserName=name)
    for policy in policies(scope, purpose):
        made = iam.create_policy(PolicyName=f"{policy.name}-{name}", PolicyDocument=json.dumps(policy.document()))
        iam.attach_user_policy(UserName=name, PolicyArn=made["Policy"]["Arn"])
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def test_deploying_the_same_again_changes_nothing(stack: Stack, aws: Callable[[str], Any]) -> None:
    """Each deploy would change what no release changed, or tags that were changed once would never settle; or alarms
    that are no longer wanted would stay.

    And nobody could look who may only look.
    """
    stack.config["alarms"] = "true"
    deployer = dict(stack.env)
    reader = deployer | key_of(aws("iam"), Purpose.PREVIEW)
    made = stack.run("up", "--yes", "--skip-preview")
    assert int(re.findall(r"\+ (\d+) created", made)[0]) > 30
    stack.env = reader
    stack.run("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    assert stack.steps() == {}
    stack.config["tag"] = "shop"
    stack.env = deployer
    assert "created" not in stack.run("up", "--yes", "--skip-preview")
    stack.env = reader
    stack.run("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    assert stack.steps() == {}
    stack.env = deployer
    assert left(aws) == {"alarms": 4, "rules": 2, "topics": 1, "dashboards": 1}
    stack.config["alarms"] = "false"
    told = stack.run("up", "--yes", "--skip-preview")
    assert ("replaced" in told, left(aws)) == (False, dict.fromkeys(left(aws), 0))
    stack.run("destroy", "--yes", "--skip-preview")


def left(aws: Callable[[str], Any]) -> dict[str, int]:
    """How much there is of what `fleetswap:alarms` makes. The alarms of scaling policies are not among it."""
    cloudwatch = aws("cloudwatch")
    alarms = cloudwatch.describe_alarms(AlarmNamePrefix="web-")["MetricAlarms"]
    topics = [each for each in aws("sns").list_topics()["Topics"] if ":web-alarms" in each["TopicArn"]]
    return {
        "alarms": len(alarms),
        "rules": len(aws("events").list_rules(NamePrefix="web-")["Rules"]),
        "topics": len(topics),
        "dashboards": len(cloudwatch.list_dashboards(DashboardNamePrefix="shop-prod-web")["DashboardEntries"]),
    }


def test_a_preview_rule_that_is_replaced_is_there_afterwards(stack: Stack, aws: Callable[[str], Any]) -> None:
    """`--replace` would delete the rule that was just found, and the release could not be checked any more."""
    elbv2 = aws("elbv2")
    others = preview_rules(elbv2).keys()  # of the stack of another test
    stack.run("up", "--yes", "--skip-preview")
    ((arn, rule),) = [(arn, rule) for arn, rule in preview_rules(elbv2).items() if arn not in others]
    (urn,) = re.findall(r"urn:\S+fleetswap:PreviewGuard::web-12345678", stack.run("stack", "--show-urns"))
    told = stack.run("up", "--yes", "--skip-preview", "--replace", urn)
    assert "+-2 replaced" in told, "guard and rule, and nothing that has traffic"
    ((arn_again, again),) = [(arn, rule) for arn, rule in preview_rules(elbv2).items() if arn not in others]
    assert arn_again != arn
    ((header, secret),) = headers(rule)
    assert [name for name, _ in headers(again)] == [header]
    assert secret not in dict(headers(again)).values(), "its secret is another"


def headers(rule: Any) -> list[tuple[str, str]]:
    """The header that a preview rule wants, and its value."""
    (condition,) = rule["Conditions"]
    config = condition["HttpHeaderConfig"]
    return [(config["HttpHeaderName"], value) for value in config["Values"]]


def preview_rules(elbv2: Any) -> dict[str, Any]:
    """The rules of the listeners of this program, by their ARN."""
    return {
        rule["RuleArn"]: rule
        for balancer in elbv2.describe_load_balancers()["LoadBalancers"]
        for listener in elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
        if listener["Port"] == 8183
        for rule in elbv2.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]
        if not rule["IsDefault"]
    }
