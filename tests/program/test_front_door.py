"""The front door that the program declares, of each kind, read off the inputs that it registers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout.listener import Seen, SeenRule
from fleetswap.domain.rollout.zone import HostedZone
from tests.program.declared import Around, Doors, Program, declare
from tests.program.test_network import EXISTING, INTO, VPC
from tests.program.test_stack import depends_on, local

pytestmark = pytest.mark.nix

ARN = "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/app/shared/50dc6c495c0c9188/f2f7dc8efc522ab2"
SEEN = Seen(
    arn=ARN,
    protocol="HTTPS",
    port=8443,
    kind="application",
    vpc=VPC,
    dns_name="shared.example",
    zone_id="ZSHARED",
    internal=False,
    security_groups=("sg-000000aa", "sg-000000bb"),
    idle_timeout=90,
)
SHARED: dict[str, Any] = {"listener_arn": ARN, "priorities": [1000, 1019], "hosts": ["shop.example.com"]}
GUEST = {"vpc": {key: value for key, value in INTO.items() if key != "balancer_subnets"}}
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/one"
OTHERS = [CERTIFICATE.replace("one", "two"), CERTIFICATE.replace("one", "three")]
WEB_ACL = "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/web/a1b2"
ZONES = (HostedZone("ZPUBLIC", "example.com", private=False), HostedZone("ZPRIVATE", "example.com", private=True))


def deployed(front: dict[str, Any], *, seen: Seen | None = SEEN, **changes: Any) -> Program:
    ledger = changes.pop("ledger", None)
    given = local("1", front=front, **changes)
    return declare(given, ledger=ledger, around=Around(existing=EXISTING), fronts=Doors(seen, ZONES))


def behind(seen: Seen | None = SEEN, ledger: Any = None, health: Any = None, **front: Any) -> Program:
    """On the existing listener."""
    kept = {"grace": 60} if health is None else health
    return deployed({**SHARED, **front}, seen=seen, network=GUEST, health=kept, ledger=ledger)


def test_on_an_existing_listener_only_rules_are_made() -> None:
    """The deploy would make a load balancer that nobody uses, or take over the listener of someone else."""
    program = behind()
    kinds = {resource.type.rpartition(":")[2] for resource in program.resources}
    assert not kinds & {"LoadBalancer", "Listener", "ListenerRule", "Record", "InternetGateway", "Vpc"}
    rules = {"priorities": [1000, 1019], "hosts": ["shop.example.com"]}
    rollout = program.one("Rollout").inputs
    assert (rollout["listener"], rollout["rules"]) == (ARN, rules)
    assert rollout["url"] == program.outputs["url"] == "https://shared.example:8443"
    assert rollout["probe_host"] == "shop.example.com"
    preview = program.one("PreviewRule").inputs
    assert (preview["listener"], preview["rules"]) == (ARN, rules)


def test_machines_let_in_the_load_balancer_that_exists() -> None:
    """No request, and no health check, would reach a machine."""
    program = behind()
    ingress = [rule.inputs["referencedSecurityGroupId"] for rule in program.of("SecurityGroupIngressRule")]
    assert sorted(ingress) == ["sg-000000aa", "sg-000000bb"]
    egress = [rule.inputs["securityGroupId"] for rule in program.of("SecurityGroupEgressRule")]
    assert egress == ["sg-000000aa"]


def test_the_drain_is_that_of_the_existing_load_balancer() -> None:
    """A request that is silent for as long as the load balancer lets it be would be cut off."""
    assert behind().one("TargetGroup").inputs["deregistrationDelay"] == 90
    with pytest.raises(InputError, match=r"health\.drain \(30\) is less than the load balancer's idle timeout \(90\)"):
        behind(health={"drain": 30})


def test_requests_are_counted_by_the_existing_load_balancer() -> None:
    """AWS would refuse a scaling policy on a load balancer that does not exist."""
    program = deployed(SHARED, network=GUEST, health={"grace": 60}, capacity={"requests_per_target": 500})
    (release,) = [group.name for group in program.of("Group")]
    metric = program.one("Policy").inputs["targetTrackingConfiguration"]["predefinedMetricSpecification"]
    assert metric["resourceLabel"] == f"app/shared/50dc6c495c0c9188/targetgroup/{release}/2"


def test_the_switch_may_change_only_the_rules_of_its_stack() -> None:
    """The role could send the traffic of every other service on the listener elsewhere."""
    policy = json.loads(behind().one("RolePolicy").inputs["policy"])
    (statement,) = policy["Statement"]
    assert statement["Resource"] == ARN.replace(":listener/", ":listener-rule/") + "/*"
    own = {"aws:ResourceTag/fleetswap:stack": "fleetswap/local", "aws:ResourceTag/fleetswap:service": "web"}
    assert statement["Condition"] == {"StringEquals": own}
    (statement,) = json.loads(deployed({}).one("RolePolicy").inputs["policy"])["Statement"]
    assert "Condition" not in statement, "as the states of older versions have it"


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (None, f"there is no listener {ARN}"),
        (replace(SEEN, arn=ARN, vpc="vpc-2"), "its load balancer is in vpc-2"),
        (replace(SEEN, rules=(SeenRule("arn:theirs", 1019, ours=False),)), "rule arn:theirs of someone else"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_declared(seen: Seen | None, told: str) -> None:
    """Half of the stack would exist when AWS refuses the rest."""
    with pytest.raises(InputError, match=told):
        behind(seen)


def test_a_listener_of_another_account_is_refused() -> None:
    """It would be looked for in vain, with an error that says nothing of the account."""
    with pytest.raises(
        InputError, match="is in AWS account 999999999999, and these credentials belong to 123456789012"
    ):
        behind(listener_arn=ARN.replace("123456789012", "999999999999"))


def test_a_live_fleet_stays_where_it_is() -> None:
    """Its target groups would have to be on two load balancers at once, which AWS refuses in the middle."""
    first = deployed({})
    with pytest.raises(InputError, match=r"front\.internal cannot change"):
        deployed({"internal": True}, ledger=first.outputs["ledger"])
    shared = behind()
    assert shared.outputs["ledger"]["front"] == ARN
    assert behind(ledger=shared.outputs["ledger"]).outputs["ledger"] == shared.outputs["ledger"]


def test_https_stays_while_a_release_is_live() -> None:
    """An update would fail at ModifyListener after port 443 has been closed; or HTTPS could not be added later."""
    first = deployed({}).outputs
    secure = local("1", front={"certificate_arn": CERTIFICATE})
    second = declare(secure, outputs=first).outputs
    assert (first["url"], second["url"]) == ("http://front.example", "https://front.example")
    with pytest.raises(InputError, match=r"front\.certificate_arn cannot be removed while the fleet is live at https:"):
        declare(local("1"), outputs=second)
    assert declare(secure, outputs=second).outputs == second
    assert declare(local("1"), outputs={"url": second["url"]}).outputs["live"] == first["live"], "nothing was live"


def test_an_own_load_balancer_has_all_that_is_asked_for() -> None:
    """A setting would be accepted and have no effect."""
    program = deployed(
        {
            "certificate_arn": CERTIFICATE,
            "certificates": OTHERS,
            "redirect_http": True,
            "sources": ["203.0.113.0/24"],
            "domain": {"name": "shop.example.com", "zone": "example.com"},
            "access_logs": {"bucket": "example-logs", "prefix": "web"},
            "web_acl_arn": WEB_ACL,
            "deletion_protection": True,
            "idle_timeout": 30,
            "http2": False,
        },
        health={"grace": 60},
    )
    balancer = program.one("LoadBalancer").inputs
    assert balancer["accessLogs"] == {"bucket": "example-logs", "prefix": "web", "enabled": True}
    assert (balancer["enableDeletionProtection"], balancer["enableHttp2"], balancer["idleTimeout"]) == (True, False, 30)
    assert program.one("TargetGroup").inputs["deregistrationDelay"] == 30
    assert {one.name: one.inputs["certificateArn"] for one in program.of("ListenerCertificate")} == {
        "web-two": OTHERS[0],
        "web-three": OTHERS[1],
    }
    redirect = program.one("Listener", "web-redirect").inputs
    assert (redirect["port"], redirect["protocol"]) == (80, "HTTP")
    to = {"protocol": "HTTPS", "port": "443", "statusCode": "HTTP_301"}
    assert redirect["defaultActions"] == [{"type": "redirect", "redirect": to}]
    assert program.one("Listener", "web").inputs["port"] == 443
    # The one at port 443 may have been at port 80 until now, and a load balancer has one listener a port.
    assert depends_on(program.one("Listener", "web-redirect")) == ["Listener"]
    ingress = {
        (rule.inputs["cidrIpv4"], rule.inputs["fromPort"])
        for rule in program.of("SecurityGroupIngressRule")
        if "cidrIpv4" in rule.inputs
    }
    assert ingress == {("203.0.113.0/24", 443), ("203.0.113.0/24", 80)}
    association = program.one("WebAclAssociation").inputs
    assert (association["webAclArn"], association["resourceArn"]) == (WEB_ACL, "arn:web")
    record = program.one("Record").inputs
    assert (record["zoneId"], record["name"], record["type"]) == ("ZPUBLIC", "shop.example.com", "A")
    assert record["aliases"] == [{"name": "front.example", "zoneId": "ZELB", "evaluateTargetHealth": True}]
    rollout = program.one("Rollout").inputs
    assert program.outputs["url"] == "https://shop.example.com"
    assert rollout["url"] == "https://front.example", "a new record is not known everywhere yet"
    assert rollout["probe_host"] == "shop.example.com"


def test_what_is_not_asked_for_is_not_among_the_inputs() -> None:
    """Every load balancer in the field would show changes after an upgrade."""
    balancer = deployed({}).one("LoadBalancer").inputs
    assert not {"accessLogs", "enableDeletionProtection", "enableHttp2", "ipAddressType"} & set(balancer)
    assert balancer["internal"] is False
    target_group = deployed({}).one("TargetGroup").inputs
    assert "protocolVersion" not in target_group
    assert "rules" not in deployed({}).one("Rollout").inputs


def test_a_private_zone_of_another_vpc_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """The name would resolve for nobody, and the deploy be a success."""
    behind(replace(SEEN, internal=True), domain={"name": "shop.example.com", "zone": "example.com"})
    assert f"ZPRIVATE, which is not associated with {VPC}" in caplog.text


def test_an_internal_load_balancer_is_in_the_private_zone() -> None:
    """Private addresses would be published, or no one in the VPC find the service."""
    program = deployed({"internal": True, "domain": {"name": "shop.example.com", "zone": "example.com"}})
    assert program.one("LoadBalancer").inputs["internal"] is True
    assert program.one("Record").inputs["zoneId"] == "ZPRIVATE"


def test_machines_of_ipv6_have_an_aaaa_record() -> None:
    """A client with IPv6 alone could not find the service."""
    domain = {"name": "shop.example.com", "zone_id": "ZPUBLIC"}
    program = deployed({"domain": domain}, network={"ipv6": True, "cidr": "10.77.0.0/16"})
    assert {record.inputs["type"] for record in program.of("Record")} == {"A", "AAAA"}


def test_targets_are_spoken_to_as_the_release_says() -> None:
    """A gRPC service would get HTTP/1.1, and one that serves TLS only would never be healthy."""
    grpc = {"protocol": "https", "protocol_version": "grpc", "codes": "0", "path": "/grpc.health.v1.Health/Check"}
    program = deployed({"certificate_arn": CERTIFICATE}, health=grpc)
    target_group = program.one("TargetGroup").inputs
    assert (target_group["protocol"], target_group["protocolVersion"]) == ("HTTPS", "GRPC")
    assert (target_group["healthCheck"]["protocol"], target_group["healthCheck"]["matcher"]) == ("HTTPS", "0")
    rollout = program.one("Rollout").inputs
    assert (rollout["protocol_version"], rollout["grpc_codes"]) == ("grpc", "0"), "a probe would be answered with 464"
    assert (rollout["url"], rollout["policy"]["probe_path"]) != ("", "/"), "nothing would be probed, or no method"
    assert rollout["policy"]["probe_path"] == "/grpc.health.v1.Health/Check"
    chosen = deployed({"certificate_arn": CERTIFICATE}, health=grpc, rollout={"probe_path": "/web.Shop/Ping"})
    assert chosen.one("Rollout").inputs["policy"]["probe_path"] == "/web.Shop/Ping"
    http2 = deployed({"certificate_arn": CERTIFICATE}, health={"protocol_version": "http2"}).one("Rollout").inputs
    assert (http2["protocol_version"], http2["policy"]["probe_path"]) == ("http2", "/")
    assert not {"protocol_version", "grpc_codes"} & set(deployed({}).one("Rollout").inputs)
    (plain,) = [release.name for release in deployed({}).of("Release")]
    assert program.one("Release").name != plain


def test_how_to_reach_a_candidate_is_a_secret_output() -> None:
    """Nobody could look at a release before its traffic, or everyone who can read a log."""
    program = deployed({})
    (release,) = [release.name for release in program.of("Release")]
    assert program.outputs["preview"] == {release: f"X-Fleetswap-Release: {release}.secret"}
    rule = program.one("PreviewRule")
    assert rule.options.additional_secret_outputs == ["value"]
    assert "secret" not in json.dumps(rule.inputs)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"front": {"hosts": ["*.example.com"]}}, "rollout.probe_host: is missing"),
        ({"front": {"hosts": ["a.example.com"]}, "rollout": {"probe_host": "b.c"}}, "probe_host: b.c is none of"),
        ({"front": {"paths": ["/api/*"]}}, "rollout.probe_path: / is none of front.paths"),
    ],
)
def test_a_probe_must_be_one_that_the_rules_take(changes: dict[str, Any], told: str) -> None:
    """Every rollout would be aborted, because its probes reach the default action."""
    with pytest.raises(InputError, match=told):
        deployed(changes.pop("front"), **changes)
