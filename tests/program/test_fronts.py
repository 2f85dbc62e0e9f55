"""What is read of a listener that exists, and of hosted zones."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from moto import mock_aws

from fleetswap.aws.rollout.balancer import Balancer
from fleetswap.aws.rollout.fronts import Fronts
from fleetswap.aws.rollout.listener_rules import tags_of
from fleetswap.aws.rollout.previews import Previews
from fleetswap.aws.session import Cloud
from fleetswap.domain import tags
from fleetswap.domain.rollout.listener import SeenRule
from fleetswap.domain.rollout.rule import Rules
from fleetswap.domain.rollout.zone import HostedZone
from localcloud.server import LocalCloud
from tests.localcloud.clients import Clients
from tests.localcloud.elbv2.test_listeners import FIXED, listener, target_groups

OURS = tags.policy("fleetswap/test", "web", name="web")
TEAM: Any = [{"Key": "team", "Value": "web"}]
RULES = Rules(priorities=(100, 105), hosts=("shop.example.com",))


@pytest.fixture
def fronts(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> Fronts:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    return Fronts(Cloud("us-east-1", cloud.endpoint), OURS)


def test_a_listener_is_read_with_all_that_is_on_it(fronts: Fronts, clients: Clients) -> None:
    """A rule of our own would be taken for someone else's at each deploy, or a priority that is taken for free."""
    network = clients.network()
    arn, groups = listener(clients, network), target_groups(clients, network, 2)
    Balancer(clients.elbv2, tags=OURS, rules=RULES).forward(arn, ((groups[0], 100),))
    given = {**OURS, tags.RELEASE: "web-1"}
    Previews(clients.elbv2, arn, tags=given, rules=RULES).ensure("web-1", groups[0], given)
    clients.elbv2.add_tags(ResourceArns=[groups[0]], Tags=[{"Key": key, "Value": value} for key, value in OURS.items()])
    theirs: Any = [
        {"Field": "host-header", "HostHeaderConfig": {"Values": ["a.example.com", "b.example.com"]}},
        {"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["GET"]}},
    ]
    forward: Any = {"Type": "forward", "TargetGroupArn": groups[1]}
    clients.elbv2.create_rule(ListenerArn=arn, Priority=7, Conditions=theirs, Actions=[forward])
    (balancer,) = clients.elbv2.describe_load_balancers()["LoadBalancers"]
    clients.elbv2.modify_load_balancer_attributes(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Attributes=[
            {"Key": "idle_timeout.timeout_seconds", "Value": "90"},
            {"Key": "routing.http2.enabled", "Value": "false"},
        ],
    )
    other = clients.elbv2.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=81, DefaultActions=[FIXED]
    )["Listeners"][0]["ListenerArn"]
    path: Any = [{"Field": "path-pattern", "Values": ["/x"]}]
    clients.elbv2.create_rule(ListenerArn=other, Priority=1, Conditions=path, Actions=[FIXED])

    seen = fronts.listener(arn)
    assert seen is not None
    assert (seen.protocol, seen.port, seen.kind, seen.internal) == ("HTTP", 80, "application", False)
    assert (seen.vpc, seen.security_groups, seen.idle_timeout) == (network.vpc, (network.group,), 90)
    assert not seen.http2
    assert (seen.dns_name, seen.zone_id) == (balancer["DNSName"], balancer["CanonicalHostedZoneId"])
    assert (seen.others, seen.target_groups, seen.most_rules) == (1, 1, 100)
    found = {rule.priority: rule for rule in seen.rules}
    foreign = found.pop(7)
    assert foreign == SeenRule(foreign.arn, 7, False, ("a.example.com", "b.example.com"), (), plain=False)  # noqa: FBT003
    assert len(found) == 2
    assert all(rule.ours and rule.hosts == ("shop.example.com",) for rule in found.values())
    assert 105 in found

    clients.elbv2.delete_listener(ListenerArn=arn)
    assert fronts.listener(arn) is None


def test_a_rule_that_another_stack_deletes_meanwhile_stops_nobody(clients: Clients) -> None:
    """A destroy would fail because another team destroyed its stack on the same listener at the same time."""
    network = clients.network()
    arn = listener(clients, network)
    path: Any = [{"Field": "path-pattern", "Values": ["/x"]}]
    made = [
        clients.elbv2.create_rule(ListenerArn=arn, Priority=n, Conditions=path, Actions=[FIXED], Tags=TEAM)["Rules"][0]
        for n in (1, 2, 3)
    ]
    arns = [rule["RuleArn"] for rule in made]
    clients.elbv2.delete_rule(RuleArn=arns[1])
    assert tags_of(clients.elbv2, arns) == {each: {"team": "web"} for each in (arns[0], arns[2])}
    assert tags_of(clients.elbv2, arns[1:2]) == {}


def test_a_load_balancer_that_forwards_nowhere_yet_is_read(fronts: Fronts, clients: Clients) -> None:
    """The first service on a new load balancer, whose rules are fixed responses, could not be deployed."""
    seen = fronts.listener(listener(clients, clients.network()))
    assert seen is not None
    assert (seen.target_groups, seen.rules) == (0, ())


@pytest.mark.usefixtures("_local_cloud")
def test_zones_are_found_by_name_and_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record would be made in a zone of a similar name, or not at all."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    with mock_aws():
        route53 = boto3.client("route53", region_name="us-east-1")
        made = {
            name: route53.create_hosted_zone(Name=name, CallerReference=name)["HostedZone"]["Id"].rpartition("/")[2]
            for name in ("example.com", "shop.example.com", "example.org")
        }
        fronts = Fronts(Cloud("us-east-1"), OURS)
        expected = HostedZone(made["example.com"], "example.com", private=False)
        assert fronts.zones("example.com") == (expected,)
        assert fronts.zone(made["example.com"]) == expected
        assert fronts.zones("example.net") == ()
        assert fronts.zone("ZNOTTHERE") is None
        private = route53.create_hosted_zone(
            Name="corp.example",
            CallerReference="private",
            VPC={"VPCRegion": "us-east-1", "VPCId": "vpc-1"},
            HostedZoneConfig={"PrivateZone": True},
        )["HostedZone"]["Id"].rpartition("/")[2]
        assert fronts.zone(private) == HostedZone(private, "corp.example", private=True, vpcs=("vpc-1",))
