"""What the machines read of the control plane is what was asked for through the APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from localcloud import view
from localcloud.elbv2 import targets
from localcloud.moto_state import LOCK, backend

if TYPE_CHECKING:
    from tests.localcloud.clients import Clients, Network

ANYWHERE: Any = [{"CidrIp": "0.0.0.0/0"}]


def permission(first: int, last: int, **source: Any) -> Any:
    return {"IpProtocol": "tcp", "FromPort": first, "ToPort": last, **source}


class Account:
    """A load balancer of the security group `lb`, and one instance of the security group `web` behind it."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients
        self.network: Network = clients.network()
        vpc, elbv2 = self.network.vpc, clients.elbv2
        self.lb = clients.ec2.create_security_group(GroupName="lb", Description="lb", VpcId=vpc)["GroupId"]
        self.target_group = elbv2.create_target_group(
            Name="web",
            Protocol="HTTP",
            Port=8080,
            VpcId=vpc,
            HealthCheckPath="/healthz",
            HealthCheckIntervalSeconds=5,
            HealthCheckTimeoutSeconds=4,
            HealthyThresholdCount=3,
            UnhealthyThresholdCount=4,
            Matcher={"HttpCode": "200-299"},
        )["TargetGroups"][0]["TargetGroupArn"]
        balancer = elbv2.create_load_balancer(Name="web", Subnets=self.network.subnets, SecurityGroups=[self.lb])
        self.address = balancer["LoadBalancers"][0]["DNSName"]
        self.listener = elbv2.create_listener(
            LoadBalancerArn=balancer["LoadBalancers"][0]["LoadBalancerArn"],
            Protocol="HTTP",
            Port=8000,
            DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}],
        )["Listeners"][0]["ListenerArn"]
        template = clients.template(clients.image(), SecurityGroupIds=[self.network.group])
        clients.group(
            template,
            self.network,
            DesiredCapacity=1,
            TargetGroupARNs=[self.target_group],
            HealthCheckType="ELB",
            HealthCheckGracePeriod=40,
        )

    def forward(self) -> Any:
        return [{"Type": "forward", "TargetGroupArn": self.target_group}]


@pytest.fixture
def account(clients: Clients) -> Account:
    """See `Account`."""
    return Account(clients)


def only(cloud: view.Cloud) -> view.Instance:
    (instance,) = (instance for instance in cloud.instances.values() if instance.state == "running")
    return instance


def test_an_instance_is_read_with_its_disk_and_its_place(account: Account) -> None:
    """A machine would boot another image, unencrypted, or listen at another machine's address."""
    cloud = view.read()
    instance = only(cloud)
    shown = account.clients.instances()[0]
    assert instance.id == shown["InstanceId"]
    assert instance.address == "127" + shown["PrivateIpAddress"].removeprefix("10")
    assert instance.root is not None
    assert (instance.root.size_gib, instance.root.encrypted, instance.root.uefi) == (1, True, True)
    assert instance.root.snapshot_id in cloud.image_snapshots
    group = cloud.groups["web"]
    assert group.members == {instance.id}
    assert (group.health_check_type, group.grace_seconds) == ("ELB", 40.0)
    assert group.target_groups == (account.target_group,)


@pytest.mark.parametrize(
    ("mode", "instance_type", "firmware"),
    [
        ("uefi", "t3.micro", "uefi"),
        ("uefi-preferred", "t3.micro", "uefi"),
        ("uefi-preferred", "t2.micro", "bios"),
        ("legacy-bios", "t3.micro", "bios"),
        ("legacy-bios", "t2.micro", "bios"),
    ],
)
def test_firmware_is_that_of_the_ami_and_of_the_instance_type(
    clients: Clients, mode: str, instance_type: str, firmware: str
) -> None:
    """A disk for a BIOS would be started by UEFI, and never boot here though it does in AWS; or the other way round."""
    image = clients.image(BootMode=mode)
    subnet = clients.network().subnets[0]
    asked: Any = {"ImageId": image, "InstanceType": instance_type, "SubnetId": subnet}
    clients.ec2.run_instances(MinCount=1, MaxCount=1, **asked)
    root = only(view.read()).root
    assert root is not None
    assert root.uefi == (firmware == "uefi")


def test_a_health_check_is_read_as_it_was_set(account: Account) -> None:
    """Targets would be checked at another path, or judged by other thresholds, than in AWS."""
    group = view.read().target_groups[account.target_group]
    assert group.check == view.HealthCheck("/healthz", None, 5.0, 4.0, 3, 4, "200-299", "HTTP")
    assert group.targets == {only(view.read()).id: 8080}
    account.clients.elbv2.modify_target_group(TargetGroupArn=account.target_group, HealthCheckPort="9090")
    assert view.read().target_groups[account.target_group].check.port == 9090


def test_rules_are_read_in_the_order_of_their_priorities(account: Account) -> None:
    """The rule that was made first would win, whatever its priority; or a changed default would stay as it was."""
    elbv2 = account.clients.elbv2
    for priority, path in ((50_000, "/*"), (7, "/a"), (100, "/b")):
        elbv2.create_rule(
            ListenerArn=account.listener,
            Priority=priority,
            Conditions=[{"Field": "path-pattern", "Values": [path]}],
            Actions=account.forward(),
        )
    listener = view.read().listeners[account.listener]
    assert (listener.address, listener.port) == (account.address, 8000)
    assert [condition["Values"] for rule in listener.rules for condition in rule.conditions] == [["/a"], ["/b"], ["/*"]]
    assert listener.rules[-1].target_groups == ()
    elbv2.modify_listener(ListenerArn=account.listener, DefaultActions=account.forward())
    assert view.read().listeners[account.listener].rules[-1].target_groups == (account.target_group,)


def test_weights_are_read_as_they_were_set(account: Account) -> None:
    """A canary's share would be lost on the way."""
    groups: Any = [{"TargetGroupArn": account.target_group, "Weight": 7}]
    account.clients.elbv2.modify_listener(
        ListenerArn=account.listener, DefaultActions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]
    )
    rule = view.read().listeners[account.listener].rules[-1]
    assert view.forwards(rule.actions[0]) == [(account.target_group, 7)]


def test_only_what_security_groups_open_is_open(account: Account) -> None:
    """A network that is closed in AWS would work here."""
    ec2, web, lb = account.clients.ec2, account.network.group, account.lb

    def now() -> tuple[bool, bool]:
        cloud = view.read()
        listener, instance = cloud.listeners[account.listener], only(cloud)
        return bool(cloud.clients(listener)), cloud.reaches(listener, instance, 8080)

    assert now() == (False, False)
    ec2.authorize_security_group_ingress(GroupId=lb, IpPermissions=[permission(8000, 8000, IpRanges=ANYWHERE)])
    assert now() == (True, False)
    from_lb = permission(8080, 8080, UserIdGroupPairs=[{"GroupId": lb}])
    ec2.authorize_security_group_ingress(GroupId=web, IpPermissions=[from_lb])
    assert now() == (True, True)
    everything: Any = {"IpProtocol": "-1", "IpRanges": ANYWHERE}
    ec2.revoke_security_group_egress(GroupId=lb, IpPermissions=[everything])
    assert now() == (True, False)
    to_web = permission(8080, 8080, UserIdGroupPairs=[{"GroupId": web}])
    ec2.authorize_security_group_egress(GroupId=lb, IpPermissions=[to_web])
    assert now() == (True, True)
    ec2.revoke_security_group_ingress(GroupId=web, IpPermissions=[from_lb])
    elsewhere = permission(8080, 8081, IpRanges=[{"CidrIp": "10.10.0.0/16"}])
    ec2.authorize_security_group_ingress(GroupId=web, IpPermissions=[elsewhere])
    assert now() == (True, False)
    inside = permission(0, 65_535, IpRanges=[{"CidrIp": "10.9.0.0/16"}])
    ec2.authorize_security_group_ingress(GroupId=web, IpPermissions=[inside])
    assert now() == (True, True)


class Clock:
    """Stand-in for the module `time`: it stands still."""

    now = 5_000.0

    def monotonic(self) -> float:
        return self.now


def test_a_deregistered_target_drains_as_long_as_its_group_says(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scale-in would cut requests off, because the balancer takes the target for gone."""
    clock = Clock()
    monkeypatch.setattr(targets, "time", clock)
    account.clients.elbv2.modify_listener(ListenerArn=account.listener, DefaultActions=account.forward())
    account.clients.elbv2.modify_target_group_attributes(
        TargetGroupArn=account.target_group,
        Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "1000"}],
    )
    instance = only(view.read())
    with LOCK:
        backend("elbv2").deregister_targets(account.target_group, [{"Id": instance.id}])
        group = view.read().target_groups[account.target_group]
    assert group.targets == {}
    port, until = group.draining[instance.id]
    assert port == 8080
    assert until == clock.now + 1000


def test_a_target_group_is_read_alone(account: Account) -> None:
    """DescribeTargetHealth would tell of targets that nobody checks, or of stopped machines as running."""
    instance = only(view.read())
    found = view.target_group(account.target_group)
    assert found is not None
    assert found[1:] == (False, {instance.id: "running"})
    account.clients.elbv2.modify_listener(ListenerArn=account.listener, DefaultActions=account.forward())
    assert (view.target_group(account.target_group) or ((), False))[1]
    assert view.target_group("arn:unknown") is None
