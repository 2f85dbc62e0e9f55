"""The preview rule of a release, against the strict local cloud: found, made, put right, and gone with its release."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import pytest

from fleetswap.aws.rollout import listener_rules
from fleetswap.aws.rollout import previews as rules_module
from fleetswap.aws.rollout.listener_rules import values_of
from fleetswap.aws.rollout.previews import Previews
from fleetswap.domain.errors import CloudError
from fleetswap.domain.rollout.rule import OWN, PREVIEW_HEADER, PRIORITY, preview_priority
from fleetswap_pulumi.preview import SECRET_SCHEMA, PreviewGuardProvider, PreviewRuleProvider
from localcloud.server import LocalCloud
from tests.localcloud.clients import Clients
from tests.localcloud.elbv2.test_listeners import FIXED, listener, target_groups

rules, guards = PreviewRuleProvider(), PreviewGuardProvider()


@dataclass
class Site:
    """A listener with two target groups."""

    clients: Clients
    endpoint: str
    listener: str
    target_groups: list[str]

    def inputs(self, release: str = "web-1", target_group: int = 0, **changes: Any) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "release": release,
            "listener": self.listener,
            "target_group": self.target_groups[target_group],
            "region": "us-east-1",
            "endpoint": self.endpoint,
            "tags": {"Name": release, "fleetswap:stack": "fleetswap/test"},
        } | changes

    def rules(self) -> list[Any]:
        """All but the listener's own."""
        found = self.clients.elbv2.describe_rules(ListenerArn=self.listener)["Rules"]
        return [rule for rule in found if rule["Priority"] != "default"]

    def take(self, priority: int) -> str:
        """Another's rule."""
        condition: Any = [{"Field": "path-pattern", "Values": ["/other"]}]
        made = self.clients.elbv2.create_rule(
            ListenerArn=self.listener, Priority=priority, Conditions=condition, Actions=[FIXED]
        )
        return made["Rules"][0]["RuleArn"]

    def previews(self) -> Previews:
        return Previews(self.clients.elbv2, self.listener, tags=self.inputs()["tags"], sleep=lambda _: None)


def first_priority(release: str) -> int:
    found = preview_priority(release, (), OWN.previews)
    assert found is not None
    return found


@pytest.fixture
def site(cloud: LocalCloud, clients: Clients) -> Site:
    network = clients.network()
    return Site(clients, cloud.endpoint, listener(clients, network), target_groups(clients, network, 2))


def test_a_rule_is_made_once(site: Site) -> None:
    """Each repeat of a deploy that died would leave a rule more, and a listener has a hundred."""
    first = rules.create(site.inputs())
    again = rules.create(site.inputs())
    assert first.id == again.id
    (rule,) = site.rules()
    header = rule["Conditions"][0]["HttpHeaderConfig"]
    assert header["HttpHeaderName"] == PREVIEW_HEADER
    assert header["Values"] == [(first.outs or {})["value"]] == [(again.outs or {})["value"]]
    assert re.fullmatch(r"web-1\.[0-9a-f]{32}", header["Values"][0])
    assert rule["Actions"][0]["TargetGroupArn"] == site.target_groups[0]
    (tags,) = site.clients.elbv2.describe_tags(ResourceArns=[rule["RuleArn"]])["TagDescriptions"]
    assert {"Key": "fleetswap:stack", "Value": "fleetswap/test"} in tags["Tags"]


def test_a_lost_answer_is_no_failure(site: Site, cloud: LocalCloud) -> None:
    """One lost answer of CreateRule, and this image could never be deployed: PriorityInUse, for ever."""
    cloud.faults.add(
        {"service": "elbv2", "operation": "CreateRule", "fault": "error-500", "lost_answer": True, "count": 1}
    )
    made = rules.create(site.inputs())
    assert [rule["RuleArn"] for rule in site.rules()] == [made.id]


def test_aws_that_stays_silent_is_told_with_the_remedy(
    site: Site, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever deploys would look for what to clean up, where the next update does it."""
    monkeypatch.setattr("fleetswap.aws.session.CONTROL_ATTEMPTS", 1)
    cloud.faults.add({"service": "elbv2", "operation": "CreateRule", "fault": "error-500", "lost_answer": True})
    with pytest.raises(CloudError, match="run the update again, which finds the preview rule"):
        rules.create(site.inputs())
    (made,) = site.rules()
    assert rules.create(site.inputs()).id == made["RuleArn"]


def test_a_rule_of_a_deployer_that_died_goes_with_its_target_group(site: Site) -> None:
    """No update could delete the release any more: AWS refuses to delete a target group that a rule uses."""
    guard = guards.create(site.inputs())
    rules.create(site.inputs())  # the deployer dies here: the state does not know this rule
    other = rules.create(site.inputs("web-2", 1))
    guards.delete(guard.id, guard.outs or {})
    site.clients.elbv2.delete_target_group(TargetGroupArn=site.target_groups[0])
    assert [rule["RuleArn"] for rule in site.rules()] == [other.id], "the other release keeps its own"
    guards.delete(guard.id, guard.outs or {})


def test_a_taken_priority_is_no_failure(site: Site) -> None:
    """Two releases, or somebody's own rule, with one number: the second could never be deployed."""
    wanted = first_priority("web-1")
    foreign = [site.take(wanted), site.take(PRIORITY)]
    made = rules.create(site.inputs())
    (ours,) = [rule for rule in site.rules() if rule["RuleArn"] == made.id]
    assert ours["Priority"] != str(wanted)
    rules.delete(made.id, made.outs or {})
    assert sorted(rule["RuleArn"] for rule in site.rules()) == sorted(foreign), "what is not its own stays"


def test_the_rule_of_an_older_version_is_not_taken_over(site: Site) -> None:
    """Its state has the old rule as a resource, and deletes it in the first update: the new one would go with it."""
    header: Any = {"HttpHeaderName": PREVIEW_HEADER, "Values": ["web-1"]}
    forward: Any = {"Type": "forward", "TargetGroupArn": site.target_groups[0]}
    old = site.clients.elbv2.create_rule(
        ListenerArn=site.listener,
        Priority=first_priority("web-1"),
        Conditions=[{"Field": "http-header", "HttpHeaderConfig": header}],
        Actions=[forward],
    )["Rules"][0]["RuleArn"]
    made = rules.create(site.inputs())
    assert made.id != old
    site.clients.elbv2.delete_rule(RuleArn=old)
    assert rules.read(made.id, made.outs or {}).id == made.id


def test_a_rule_that_is_made_but_not_seen_yet_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stale answer after a lost one would end the deploy, or make a second rule."""
    previews = site.previews()
    made = previews.ensure("web-1", site.target_groups[0], {"Name": "web-1"})
    real, stale = listener_rules.rules_of, iter((True, True, False))
    monkeypatch.setattr(rules_module, "rules_of", lambda *asked: [] if next(stale) else real(*asked))
    assert previews.ensure("web-1", site.target_groups[0], {"Name": "web-1"}) == made
    monkeypatch.setattr(rules_module, "rules_of", lambda *_: [])
    with pytest.raises(CloudError, match="does not show yet"):
        previews.ensure("web-1", site.target_groups[0], {"Name": "web-1"})


def test_the_value_of_an_older_version_is_replaced(site: Site) -> None:
    """A listener that others may read would let them work out the header of every release, for ever."""
    former = hashlib.sha256(f"{site.listener} web-1".encode()).hexdigest()[:32]
    header: Any = {"HttpHeaderName": PREVIEW_HEADER, "Values": [former]}
    forward: Any = {"Type": "forward", "TargetGroupArn": site.target_groups[0]}
    old = site.clients.elbv2.create_rule(
        ListenerArn=site.listener,
        Priority=first_priority("web-1"),
        Conditions=[{"Field": "http-header", "HttpHeaderConfig": header}],
        Actions=[forward],
    )["Rules"][0]["RuleArn"]
    assert site.previews().value("web-1", site.target_groups[0]) == former, "a rollout can still probe through it"
    state = site.inputs()
    assert rules.read(old, state).outs == state, "a refresh changes nothing"
    new = site.inputs(schema_version=SECRET_SCHEMA)
    diff = rules.diff(old, state, new)
    assert (diff.changes, diff.replaces) == (True, [])
    value = (rules.update(old, state, new).outs or {})["value"]
    (rule,) = site.rules()
    assert rule["RuleArn"] == old
    assert rule["Conditions"][0]["HttpHeaderConfig"]["Values"] == [value]
    assert rules.diff(old, {**new, "value": value}, new).changes is False


SHARED = {
    "priorities": [100.0, 105.0],
    "hosts": ["shop.example.com"],
    "paths": ["/api/*"],
    "preview_sources": ["203.0.113.0/24"],
}


def test_a_preview_rule_takes_only_what_is_the_services(site: Site) -> None:
    """On a shared listener the header would lead requests for others' hosts here, from anywhere."""
    made = rules.create(site.inputs(rules=SHARED))
    rule, refusing = sorted(site.rules(), key=lambda each: int(each["Priority"]))
    last = int(refusing["Priority"])
    assert 100 <= int(rule["Priority"]) < last <= 104, "the last one is that of the rule with the weights"
    fields = {condition["Field"] for condition in refusing["Conditions"]}
    assert fields == {"http-header", "host-header", "path-pattern"}, "or it would refuse what others' services get"
    value = (made.outs or {})["value"]
    assert {condition["Field"]: values_of(condition) for condition in rule["Conditions"]} == {
        "http-header": (value,),
        "source-ip": ("203.0.113.0/24",),
        "host-header": ("shop.example.com",),
        "path-pattern": ("/api/*",),
    }


def test_conditions_and_priority_follow_the_settings(site: Site) -> None:
    """A rule of the old host would stay, or one in a range that another service has been given since."""
    made = rules.create(site.inputs(rules=SHARED))
    moved = site.inputs(rules={"priorities": [200.0, 205.0], "hosts": ["www.example.com"]})
    assert rules.diff(made.id, made.outs or {}, moved).replaces == []
    after = rules.update(made.id, made.outs or {}, moved).outs or {}
    (rule,) = site.rules()
    assert rule["RuleArn"] == made.id
    assert 200 <= int(rule["Priority"]) <= 204
    assert {condition["Field"] for condition in rule["Conditions"]} == {"http-header", "host-header"}
    assert after["value"] == (made.outs or {})["value"], "whoever has the header can go on using it"


def test_two_stacks_may_have_a_release_of_one_id(site: Site) -> None:
    """The deploy of one stack would take the other's preview rule, and its destroy would delete it."""
    theirs = rules.create(site.inputs(tags={"Name": "web-1", "fleetswap:stack": "fleetswap/other"}))
    ours = rules.create(site.inputs(target_group=1))
    assert ours.id != theirs.id
    guards.delete("x", site.inputs(target_group=1))
    assert [rule["RuleArn"] for rule in site.rules()] == [theirs.id]


def test_a_range_that_is_full_is_told(site: Site) -> None:
    """The deploy would wait for a rule that never shows."""
    for priority in range(100, 105):
        site.take(priority)
    with pytest.raises(CloudError, match=r"all priorities from 100 to 104 .* are taken, so web-1 can have no preview"):
        rules.create(site.inputs(rules=SHARED))


def test_target_group_and_tags_are_put_right(site: Site) -> None:
    """A rule that a hand has changed would preview another release, and a cost tag stay for ever."""
    old = site.inputs(tags={**site.inputs()["tags"], "team": "old"})
    made = rules.create(old)
    new = site.inputs(target_group=1)
    diff = rules.diff(made.id, old, new)
    assert (diff.changes, diff.replaces) == (True, [])
    rules.update(made.id, old, new)
    (rule,) = site.rules()
    assert rule["Actions"][0]["TargetGroupArn"] == site.target_groups[1]
    (tags,) = site.clients.elbv2.describe_tags(ResourceArns=[made.id])["TagDescriptions"]
    assert {tag["Key"] for tag in tags["Tags"]} == {"Name", "fleetswap:stack"}


@pytest.mark.parametrize("provider", [rules, guards])
def test_what_is_another_rule(provider: PreviewGuardProvider) -> None:
    """A rule on a new listener would never be made, or an unchanged one be made again in each update."""
    old = {"release": "web-1", "listener": "l-1", "target_group": "t-1", "region": "us-east-1", "tags": {}}
    assert provider.diff("x", old, dict(old)).changes is False
    assert provider.diff("x", old, old | {"listener": "l-2"}).replaces == ["listener"]
    assert provider.diff("x", old, old | {"endpoint": "http://127.0.0.1:1"}).replaces == []
    assert provider.check({}, old | {"tags": "none"}).failures


def test_a_rule_that_is_gone_is_made_again(site: Site) -> None:
    """After somebody deleted it by hand, a refresh would not see it, and the standby would look unhealthy for ever."""
    made = rules.create(site.inputs())
    assert rules.read(made.id, made.outs or {}).id == made.id
    site.clients.elbv2.delete_rule(RuleArn=made.id)
    assert rules.read(made.id, made.outs or {}).id == ""
    site.clients.elbv2.delete_listener(ListenerArn=site.listener)
    rules.delete(made.id, made.outs or {})
    assert rules.read(made.id, made.outs or {}).id == ""


SOURCES = {"preview_sources": ["203.0.113.0/24"]}


def test_a_header_from_elsewhere_is_refused(site: Site) -> None:
    """It would go on to the rule with the weights: live answers the probe of a candidate that nobody has asked."""
    made = rules.create(site.inputs(rules=SOURCES))
    again = rules.update(made.id, made.outs or {}, site.inputs(rules=SOURCES))
    first, second = sorted(site.rules(), key=lambda rule: int(rule["Priority"]))
    assert (first["RuleArn"], first["Actions"][0]["Type"]) == (made.id, "forward")
    assert {each["Field"] for each in first["Conditions"]} == {"http-header", "source-ip"}
    (condition,) = second["Conditions"]
    assert condition["HttpHeaderConfig"]["Values"] == [(made.outs or {})["value"]] == [(again.outs or {})["value"]]
    assert second["Actions"][0]["FixedResponseConfig"]["StatusCode"] == "403"
    assert site.previews().value("web-1") == (made.outs or {})["value"]
    rules.update(made.id, made.outs or {}, site.inputs())
    assert [rule["RuleArn"] for rule in site.rules()] == [made.id], "without sources nobody is refused"
    rules.update(made.id, made.outs or {}, site.inputs(rules=SOURCES))
    guards.delete("web-1-preview", site.inputs())
    assert site.rules() == []


def test_the_rule_that_refuses_is_always_behind(site: Site) -> None:
    """Before the preview rule it would refuse everybody, the deployer's probe too."""
    given = site.inputs(rules={**SOURCES, "priorities": [100, 105]})
    made = rules.create(given)

    def found() -> tuple[Any, Any]:
        (refusing,) = [each for each in site.rules() if each["RuleArn"] != made.id]
        (main,) = [each for each in site.rules() if each["RuleArn"] == made.id]
        return main, refusing

    main, refusing = found()
    swapped: Any = [
        {"RuleArn": main["RuleArn"], "Priority": 104},
        {"RuleArn": refusing["RuleArn"], "Priority": int(main["Priority"])},
    ]
    site.clients.elbv2.set_rule_priorities(RulePriorities=swapped)
    rules.update(made.id, made.outs or {}, given)
    main, refusing = found()
    assert 100 <= int(main["Priority"]) < int(refusing["Priority"]) <= 104
    assert refusing["Actions"][0]["Type"] == "fixed-response"
