"""Two services on a listener that belongs to neither, as the commands without the state see them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from fleetswap.aws.rollout.balancer import Balancer
from fleetswap.aws.rollout.finder import Finder
from fleetswap.aws.session import Cloud
from fleetswap.domain import tags
from fleetswap.domain.errors import CloudError, InputError
from fleetswap.domain.rollout.rule import PREVIEW_HEADER, Rules
from fleetswap.workflows.clock import SystemClock
from tests.cli.test_service import Cli, Region, Service, endpoint, once_for_all, region

__all__ = ["endpoint", "region"]  # the fixtures
pytestmark = pytest.mark.usefixtures("endpoint")

FOREIGN = 500


class Shared:
    """A listener of someone else, with a rule of theirs and a default action."""

    def __init__(self, region: Region) -> None:
        elb = region.elb
        self.elb = elb
        fixed: Any = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}
        balancer = elb.create_load_balancer(Name=f"shared{next(region.numbers)}", Subnets=region.subnets)
        made = elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancers"][0]["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=[fixed],
        )
        self.arn: str = made["Listeners"][0]["ListenerArn"]
        elb.create_rule(
            ListenerArn=self.arn,
            Priority=FOREIGN,
            Conditions=[{"Field": "path-pattern", "Values": ["/theirs"]}],
            Actions=[fixed],
        )

    def rules(self) -> list[Any]:
        return list(self.elb.describe_rules(ListenerArn=self.arn)["Rules"])

    def theirs(self) -> str:
        """All that belongs to someone else, as it is."""
        return json.dumps([rule for rule in self.rules() if rule["Priority"] in {str(FOREIGN), "default"}])


def on(shared: Shared, host: str, first: int) -> type[Service]:
    class OnShared(Service):
        rules = Rules(priorities=(first, first + 5), hosts=(host,))

        def make_listener(self) -> str:
            return shared.arn

    return OnShared


@pytest.fixture
def shared(region: Region) -> Shared:
    return Shared(region)


@pytest.fixture
def two(region: Region, shared: Shared, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Service, Service]:
    """Two settled services, one with priorities before those of the other."""
    monkeypatch.chdir(tmp_path)
    for name in ("elbv2", "autoscaling", "ec2", "scheduler"):
        monkeypatch.setattr(Cloud, name, once_for_all(name, getattr(Cloud, name)))
    monkeypatch.setattr(SystemClock, "sleep", lambda _, seconds, _stop=None: time.sleep(seconds / 50))
    shop = on(shared, "shop.example.com", 100)(region).settled()
    blog = on(shared, "blog.example.com", 200)(region, stack="blog/prod").settled()
    return shop, blog


def conditions(shared: Shared, priority: int) -> Any:
    (rule,) = [rule for rule in shared.rules() if rule["Priority"] == str(priority)]
    return rule["Conditions"]


def test_each_service_is_found_with_its_own_rule(region: Region, shared: Shared, two: tuple[Service, Service]) -> None:
    """`status`, `abort` and `rollback --now` would act on the traffic of another service."""
    finder = Finder(region.elb, region.scaling)
    for service, priority in zip(two, (105, 205), strict=True):
        (found,) = finder.find(service.name)
        assert (found.stack, found.listener) == (service.stack, shared.arn)
        assert found.rules is not None
        assert (found.rules.priority, found.rules.hosts) == (priority, service.rules.hosts)
        assert {target.release for target in found.releases} == {service.id("a"), service.id("b")}


def test_a_rollback_moves_the_traffic_of_one_service(cli: Cli, shared: Shared, two: tuple[Service, Service]) -> None:
    """In a bad night the other service's traffic would move, or a rule for all hosts be made before everyone else's."""
    shop, blog = two
    before = shared.theirs()
    assert cli("status", "--service", blog.name).out.splitlines()[0] == f"{blog.name} of blog/prod"
    assert cli("rollback", "--now", "--service", blog.name).status == 0
    assert (shop.serving(), blog.serving()) == ({"b"}, {"a"})
    assert conditions(shared, 205) == conditions(shared, 205)
    assert conditions(shared, 205)[0]["HostHeaderConfig"]["Values"] == ["blog.example.com"]
    assert shared.theirs() == before
    assert len(shared.rules()) == 8, "two, and three of each service"


def test_without_a_rule_none_is_made(cli: Cli, shared: Shared, two: tuple[Service, Service]) -> None:
    """Nobody knows priority and hosts without the settings: a rule at a guess would take others' requests."""
    shop, _ = two
    shop.balancer.restore(shared.arn, None)
    ran = cli("rollback", "--now", "--to", shop.id("a"), "--service", shop.name)
    assert ran.status != 0
    assert f"no rule of {shared.arn} has the tags of service {shop.name}: run `pulumi up`" in ran.err
    assert len(shared.rules()) == 7


def test_a_service_leaves_as_it_came(shared: Shared, two: tuple[Service, Service]) -> None:
    """Taking a service down would take down what others have on the listener."""
    shop, blog = two
    before = shared.theirs()
    shop.balancer.restore(shared.arn, None)
    assert shop.balancer.rule(shared.arn) is None
    assert (blog.serving(), shared.theirs()) == ({"b"}, before)


def test_a_foreign_rule_at_our_priority_is_told(region: Region, shared: Shared, two: tuple[Service, Service]) -> None:
    """Someone else's rule would be taken for ours, and overwritten, or deleted."""
    shop, blog = two
    given = tags.policy("news/prod", "news", name="news")
    news = Balancer(region.elb, tags=given, rules=Rules(priorities=(FOREIGN - 5, FOREIGN), hosts=("news.example.com",)))
    (foreign,) = [rule["RuleArn"] for rule in shared.rules() if rule["Priority"] == str(FOREIGN)]
    with pytest.raises(InputError, match=f"rule {foreign} has priority 500 of the listener, but not the tags"):
        news.forward(shared.arn, ((blog.arns["a"], 100),))
    # Another stack's service of this name is someone else's, too.
    same = Balancer(region.elb, tags=tags.policy("shop/other", shop.name, name="x"), rules=shop.rules)
    with pytest.raises(InputError, match="has priority 105 of the listener"):
        same.rule(shared.arn)


def test_the_rule_follows_range_and_hosts(region: Region, shared: Shared, two: tuple[Service, Service]) -> None:
    """With another range in the settings a second rule would be made, and the first one stay before it for ever."""
    shop, blog = two
    given = tags.policy(shop.stack, shop.name, name=shop.name)
    moved = Balancer(region.elb, tags=given, rules=Rules(priorities=(300, 305), hosts=("*.example.com",)))
    rule = moved.rule(shared.arn)
    assert rule is not None
    assert rule.odd == ("priority 105 instead of 305", "condition host-header shop.example.com")
    moved.mend(shared.arn)
    after = moved.rule(shared.arn)
    assert after is not None
    assert (after.odd, after.weights) == ((), rule.weights)
    assert conditions(shared, 305)[0]["HostHeaderConfig"]["Values"] == ["*.example.com"]
    taken = Balancer(region.elb, tags=given, rules=Rules(priorities=(200, 205), hosts=("*.example.com",)))
    with pytest.raises(CloudError, match="cannot have priority 205, which another rule of the listener has"):
        taken.mend(shared.arn)
    assert blog.serving() == {"b"}


def test_a_condition_that_someone_removed_is_told(region: Region, shared: Shared, two: tuple[Service, Service]) -> None:
    """The service would take requests for every host, those of the services behind it, too."""
    shop, _ = two
    given = tags.policy(shop.stack, shop.name, name=shop.name)
    wanted = Balancer(region.elb, tags=given, rules=Rules(priorities=(100, 105), hosts=shop.rules.hosts, paths=("/a",)))
    rule = wanted.rule(shared.arn)
    assert rule is not None
    assert rule.odd == ("no condition path-pattern /a",)


def test_two_stacks_have_two_switches(region: Region, two: tuple[Service, Service]) -> None:
    """The dead man's switch of one stack would be overwritten, or fired at, by a rollout of the other."""
    shop, _ = two
    rule = shop.balancer.rule(shop.listener)
    assert rule is not None
    shop.switch.arm(300, rule, "run-1")
    other = type(shop)(region, stack="fleetswap/staging", name=shop.name)
    assert other.switch.armed() is None
    other.switch.disarm(None)
    assert shop.switch.armed() is not None


def test_the_secret_header_is_shown_on_request(cli: Cli, shared: Shared, two: tuple[Service, Service]) -> None:
    """Nobody could look at a candidate before it has traffic, or every log of `status` would show how."""
    shop, _ = two
    assert PREVIEW_HEADER not in cli("status", "--service", shop.name).out
    told = cli("status", "--service", shop.name, "--show-secrets").out.splitlines()
    headers = {
        condition["HttpHeaderConfig"]["Values"][0]
        for rule in shared.rules()
        for condition in rule["Conditions"]
        if condition["Field"] == "http-header"
    }
    found = [line for line in told if PREVIEW_HEADER in line]
    assert len(found) == 2
    assert all(any(f"curl -H '{PREVIEW_HEADER}: {value}'" in line for value in headers) for line in found)
    assert len(cli("status", "--service", shop.name, "--show-secrets", "--json").result["previews"]) == 2
