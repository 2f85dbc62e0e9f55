"""Load balancers, listeners, rules and targets: what they refuse and show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import pytest

from localcloud.hooks import TargetHealth
from localcloud.moto_state import LOCK, backend
from tests.fakes.localcloud import Served
from tests.localcloud.clients import Clients, Network, refusal

if TYPE_CHECKING:
    from localcloud.server import LocalCloud

FIXED: Any = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}
ANY_PATH: Any = [{"Field": "path-pattern", "Values": ["/*"]}]


def balancer(clients: Clients, network: Network, name: str = "web", **asked: Any) -> Any:
    return clients.elbv2.create_load_balancer(
        **{"Name": name, "Subnets": network.subnets, "SecurityGroups": [network.group], **asked}
    )["LoadBalancers"][0]


def listener(clients: Clients, network: Network) -> str:
    return clients.elbv2.create_listener(
        LoadBalancerArn=balancer(clients, network)["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[FIXED],
    )["Listeners"][0]["ListenerArn"]


def target_groups(clients: Clients, network: Network, count: int) -> list[str]:
    return [
        clients.elbv2.create_target_group(Name=f"tg-{n}", Protocol="HTTP", Port=8080, VpcId=network.vpc)[
            "TargetGroups"
        ][0]["TargetGroupArn"]
        for n in range(count)
    ]


def forward(*groups: tuple[str, int]) -> Any:
    return {
        "Type": "forward",
        "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in groups]},
    }


def test_balancers_have_addresses_of_their_own(clients: Clients) -> None:
    """Two load balancers would listen at one address, or a user could not open the URL."""
    network = clients.network()
    first, second = balancer(clients, network, "one"), balancer(clients, network, "two")
    assert (first["DNSName"], second["DNSName"]) == ("127.66.0.1", "127.66.0.2")
    assert first["State"]["Code"] == "active"
    clients.elbv2.delete_load_balancer(LoadBalancerArn=first["LoadBalancerArn"])
    assert balancer(clients, network, "three")["DNSName"] == "127.66.0.1"
    described = clients.elbv2.describe_load_balancers(Names=["two"])["LoadBalancers"]
    assert [entry["DNSName"] for entry in described] == ["127.66.0.2"]
    assert refusal(lambda: clients.elbv2.describe_load_balancers(Names=["one"])) == "LoadBalancerNotFound"


def test_a_balancer_needs_what_aws_needs(clients: Clients) -> None:
    """A network that AWS refuses (one zone, no gateway, unknown parts) would pass."""
    network = clients.network()
    assert refusal(lambda: balancer(clients, network, Subnets=network.subnets[:1])) == "ValidationError"
    assert refusal(lambda: balancer(clients, network, Subnets=["subnet-12345678"])) == "SubnetNotFound"
    assert refusal(lambda: balancer(clients, network, SecurityGroups=["sg-12345678"])) == "InvalidSecurityGroup"
    vpc = clients.ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    closed = [
        clients.ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.8.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"][
            "SubnetId"
        ]
        for n, zone in enumerate("ab")
    ]
    assert refusal(lambda: balancer(clients, network, Subnets=closed, SecurityGroups=[])) == "InvalidSubnet"
    balancer(clients, network)
    assert refusal(lambda: balancer(clients, network)) == "DuplicateLoadBalancerName"


def test_rules_are_checked(clients: Clients) -> None:
    """A rollout could set weights, priorities or target groups that AWS refuses."""
    network = clients.network()
    arn = listener(clients, network)
    groups = target_groups(clients, network, 6)

    def create(*actions: Any, priority: int = 1) -> Any:
        return clients.elbv2.create_rule(
            ListenerArn=arn, Priority=priority, Conditions=ANY_PATH, Actions=list(actions)
        )["Rules"][0]

    assert refusal(lambda: create(forward(*((group, 1) for group in groups)))) == "TooManyTargetGroups"
    assert refusal(lambda: create(forward((groups[0], 1000)))) == "ValidationError"
    assert refusal(lambda: create(forward((groups[0], -1)))) == "ValidationError"
    assert refusal(lambda: create(forward((groups[0], 1), (groups[0], 2)))) == "ValidationError"
    assert refusal(lambda: create(forward(("arn:none", 1)))) == "TargetGroupNotFound"
    assert refusal(lambda: create(FIXED, priority=0)) == "ValidationError"
    assert refusal(lambda: create(FIXED, priority=50_001)) == "ValidationError"
    assert refusal(lambda: clients.elbv2.create_rule(ListenerArn=arn, Priority=1, Conditions=[], Actions=[FIXED])) == (
        "ValidationError"
    )
    rule = create(forward((groups[0], 999), (groups[1], 0)))
    assert refusal(lambda: create(FIXED)) == "PriorityInUse"
    modify = clients.elbv2.modify_rule
    assert refusal(lambda: modify(RuleArn=rule["RuleArn"], Actions=[forward((groups[0], 1000))])) == "ValidationError"
    weights = clients.elbv2.describe_rules(RuleArns=[rule["RuleArn"]])["Rules"][0]["Actions"][0]["ForwardConfig"]
    assert [entry["Weight"] for entry in weights["TargetGroups"]] == [999, 0]


def test_a_target_group_knows_who_uses_it(clients: Clients) -> None:
    """A target group in use could be deleted, or one out of use would look used for ever."""
    network = clients.network()
    arn = listener(clients, network)
    group, other = target_groups(clients, network, 2)

    def users(of: str) -> int:
        return len(clients.elbv2.describe_target_groups(TargetGroupArns=[of])["TargetGroups"][0]["LoadBalancerArns"])

    rule = clients.elbv2.create_rule(ListenerArn=arn, Priority=5, Conditions=ANY_PATH, Actions=[forward((group, 1))])[
        "Rules"
    ][0]["RuleArn"]
    assert (users(group), users(other)) == (1, 0)
    assert refusal(lambda: clients.elbv2.delete_target_group(TargetGroupArn=group)) == "ResourceInUse"
    clients.elbv2.modify_rule(RuleArn=rule, Actions=[forward((other, 1))])
    assert (users(group), users(other)) == (0, 1)
    clients.elbv2.delete_target_group(TargetGroupArn=group)
    clients.elbv2.delete_rule(RuleArn=rule)
    assert users(other) == 0


def test_one_port_has_one_listener(clients: Clients) -> None:
    """Two listeners would fight for a port."""
    network = clients.network()
    listener(clients, network)
    arn = clients.elbv2.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
    create = clients.elbv2.create_listener
    assert (
        refusal(lambda: create(LoadBalancerArn=arn, Protocol="HTTP", Port=80, DefaultActions=[FIXED]))
        == "DuplicateListener"
    )


@pytest.mark.parametrize(
    ("actions", "code"),
    [
        ([forward(("arn", 1000))], "ValidationError"),
        ([forward(("arn", 1), ("arn", 1))], "ValidationError"),
        ([forward(*[("arn", 1)] * 6)], "TooManyTargetGroups"),
        ([forward(("arn:none", 1))], "TargetGroupNotFound"),
        ([{"Type": "forward"}], "ValidationError"),
    ],
)
def test_a_listener_is_not_modified_to_what_it_cannot_do(clients: Clients, actions: list[Any], code: str) -> None:
    """A weight or a target group that CreateListener refuses would come in through ModifyListener."""
    network = clients.network()
    arn, (group,) = listener(clients, network), target_groups(clients, network, 1)
    for entry in actions[0].get("ForwardConfig", {}).get("TargetGroups", []):
        entry["TargetGroupArn"] = entry["TargetGroupArn"] if ":" in entry["TargetGroupArn"] else group
    modify = clients.elbv2.modify_listener
    assert refusal(lambda: modify(ListenerArn=arn, DefaultActions=actions)) == code
    shown = clients.elbv2.describe_listeners(ListenerArns=[arn])["Listeners"][0]
    assert shown["DefaultActions"][0]["Type"] == "fixed-response"
    modify(ListenerArn=arn, DefaultActions=[forward((group, 999))])
    modify(ListenerArn=arn, Port=81)
    clients.elbv2.create_listener(
        LoadBalancerArn=shown["LoadBalancerArn"], Protocol="HTTP", Port=82, DefaultActions=[FIXED]
    )
    assert refusal(lambda: modify(ListenerArn=arn, Port=82)) == "DuplicateListener"


@pytest.mark.parametrize(
    ("member", "value", "fine"),
    [
        ("Matcher", {"HttpCode": "200-299-300"}, {"HttpCode": "200-299,301"}),
        ("Matcher", {"HttpCode": "200,,301"}, {"HttpCode": "200"}),
        ("Matcher", {"HttpCode": "500"}, {"HttpCode": "200-499"}),
        ("Matcher", {"HttpCode": "299-200"}, {"HttpCode": "200,201,202"}),
        ("HealthCheckIntervalSeconds", 4, 300),
        ("HealthCheckTimeoutSeconds", 1, 2),
        ("HealthyThresholdCount", 11, 10),
        ("UnhealthyThresholdCount", 1, 2),
    ],
    ids=str,
)
def test_a_health_check_that_aws_refuses_is_refused(clients: Clients, member: str, value: Any, fine: Any) -> None:
    """A health check that never can be done would be stored, and its targets never be judged."""
    vpc = clients.network().vpc

    def create(asked: Any) -> Any:
        return clients.elbv2.create_target_group(
            Name="tg", Protocol="HTTP", Port=8080, VpcId=vpc, HealthCheckTimeoutSeconds=2, **{member: asked}
        )

    if member == "HealthCheckTimeoutSeconds":
        arn = clients.elbv2.create_target_group(Name="tg", Protocol="HTTP", Port=8080, VpcId=vpc)
    else:
        assert refusal(lambda: create(value)) == "ValidationError"
        arn = create(fine)
    group = arn["TargetGroups"][0]["TargetGroupArn"]
    modify = clients.elbv2.modify_target_group
    assert refusal(lambda: modify(TargetGroupArn=group, **{member: value})) == "ValidationError"
    assert dict(modify(TargetGroupArn=group, **{member: fine})["TargetGroups"][0])[member] == fine


def test_a_deregistration_delay_is_at_most_an_hour(clients: Clients) -> None:
    """The longest delay that AWS takes would be refused, or a longer one taken."""
    (group,) = target_groups(clients, clients.network(), 1)
    elbv2, key = clients.elbv2, "deregistration_delay.timeout_seconds"

    def delay(seconds: int) -> object:
        return elbv2.modify_target_group_attributes(
            TargetGroupArn=group, Attributes=[{"Key": key, "Value": str(seconds)}]
        )

    assert refusal(lambda: delay(3601)) == "ValidationError"
    for seconds in (0, 3600):
        delay(seconds)
        shown = elbv2.describe_target_group_attributes(TargetGroupArn=group)["Attributes"]
        assert {entry["Key"]: entry["Value"] for entry in shown}[key] == str(seconds)


class Machines:
    def target_health(self, target_group_arn: str) -> list[TargetHealth]:
        del target_group_arn
        return [
            TargetHealth("i-1", 8080, "unhealthy", "Target.ResponseCodeMismatch", "Health checks failed with [500]")
        ]

    def console_output(self, instance_id: str) -> str:
        return f"{instance_id} " + "x" * 70_000 + " the end"


def test_health_and_console_come_from_the_machines(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every target would look healthy, and a console would tell an invented story, as in moto."""
    network = clients.network()
    group = target_groups(clients, network, 1)[0]
    describe = clients.elbv2.describe_target_health
    instance = clients.ec2.run_instances(
        ImageId=clients.image(), InstanceType="t3.micro", MinCount=1, MaxCount=1, SubnetId=network.subnets[0]
    )["Instances"][0]["InstanceId"]
    clients.elbv2.register_targets(TargetGroupArn=group, Targets=[{"Id": instance}])
    unused = describe(TargetGroupArn=group)["TargetHealthDescriptions"][0]["TargetHealth"]
    assert (unused["State"], unused["Reason"]) == ("unused", "Target.NotInUse")
    assert "Output" not in clients.ec2.get_console_output(InstanceId=instance)
    with LOCK:
        monkeypatch.setattr(type(backend("elbv2")), "machines", Machines())
        monkeypatch.setattr("moto.ec2.responses.general.General.machines", Machines())
    asked: Any = [{"Id": "i-1"}, {"Id": "i-2"}]
    known = describe(TargetGroupArn=group, Targets=asked)["TargetHealthDescriptions"]
    assert [(health["TargetHealth"]["State"], health["TargetHealth"]["Reason"]) for health in known] == [
        ("unhealthy", "Target.ResponseCodeMismatch"),
        ("unused", "Target.NotRegistered"),
    ]
    output = clients.ec2.get_console_output(InstanceId=instance)["Output"]
    assert len(output) == 65_536
    assert output.endswith(" the end")


def test_without_machines_target_health_is_what_is_asked_for(
    clients: Clients, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests without machines would see nothing but targets that stay `initial`; or real machines' health be made up."""
    network, served = clients.network(), Served(cloud.endpoint)
    groups = target_groups(clients, network, 2)
    clients.elbv2.create_rule(
        ListenerArn=listener(clients, network),
        Priority=1,
        Conditions=ANY_PATH,
        Actions=[forward(*((group, 1) for group in groups))],
    )
    instance = clients.ec2.run_instances(
        ImageId=clients.image(), InstanceType="t3.micro", MinCount=1, MaxCount=1, SubnetId=network.subnets[0]
    )["Instances"][0]["InstanceId"]
    for group in groups:
        clients.elbv2.register_targets(TargetGroupArn=group, Targets=[{"Id": instance}])

    def states() -> list[str]:
        return [
            found["TargetHealth"]["State"]
            for group in groups
            for found in clients.elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        ]

    assert states() == ["initial", "initial"]
    served.ask("POST", "target-health", {"state": "healthy"})
    assert states() == ["healthy", "healthy"]
    name = clients.elbv2.describe_target_groups(TargetGroupArns=groups[1:])["TargetGroups"][0]["TargetGroupName"]
    served.ask("POST", "target-health", {"state": "unhealthy", "target_group": name})
    assert states() == ["healthy", "unhealthy"]
    with pytest.raises(HTTPError, match="400"):
        served.ask("POST", "target-health", {"state": "ill"})
    with LOCK:
        monkeypatch.setattr(type(backend("elbv2")), "machines", Machines())
    with pytest.raises(HTTPError, match="400"):
        served.ask("POST", "target-health", {"state": "healthy"})
