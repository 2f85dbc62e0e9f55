"""Fleets of real machines, booted from snapshots that went through the EBS API, behind a real load balancer."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from fleetswap.domain.image.source import NixImage
from fleetswap.nix.source import NixSource
from localcloud import view
from localcloud.ebs.store import SnapshotStore
from localcloud.processes.process import Process
from localcloud.server import LocalCloud
from tests.localcloud.clients import BLOCK, Clients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.machines, pytest.mark.disks, pytest.mark.nix, pytest.mark.haproxy]

PROJECT = Path(__file__).parents[2]
NIX_OPTIONS = {"sandbox": "false", "substitute": "false", "build-users-group": ""}
SECONDS = 400.0  # a machine boots within ten on two idle cores; four boot at once, and the cores may be busy
PORT = 8066
HERE = ("198.18.0.1", "198.18.0.2")
"""This computer in the user network of a machine's QEMU, which no guest may reach: the host and the name server."""


def until(true: Callable[[], Any], what: str) -> Any:
    """Wait for something that must happen; what it was."""
    deadline = time.monotonic() + SECONDS
    while not (found := true()):
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.1)
    return found


def disk(version: str) -> bytes:
    """A version of the demo image."""
    parts = PROJECT / ".work" / "kernel"
    subprocess.run([PROJECT / "nix" / "demo" / "fetch-kernel", parts], check=True)
    image = NixImage("nix/demo", {"version": version, "parts": str(parts)}, NIX_OPTIONS)
    return NixSource(image, PROJECT).bring(lambda _: None).read_bytes()


@pytest.fixture
def cloud(_local_cloud: None, tmp_path: Path) -> Iterator[LocalCloud]:
    """A local cloud with machines."""
    store = SnapshotStore(tmp_path / "cloud" / "snapshots", settle_seconds=0.0)
    cloud = LocalCloud(tmp_path / "cloud", 0, store=store)
    try:
        cloud.start()
        yield cloud
    finally:
        cloud.stop()


class Service:
    """A load balancer whose only rule forwards to one target group, and groups of machines of demo versions."""

    def __init__(self, cloud: LocalCloud, clients: Clients) -> None:
        assert cloud.machines is not None
        self.machines = cloud.machines
        self.clients = clients
        self.network = clients.network()
        vpc = self.network.vpc
        self.front = clients.ec2.create_security_group(GroupName="lb", Description="lb", VpcId=vpc)["GroupId"]
        anyone: Any = [{"IpProtocol": "tcp", "FromPort": PORT, "ToPort": PORT, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        clients.ec2.authorize_security_group_ingress(GroupId=self.front, IpPermissions=anyone)
        pairs = [{"GroupId": self.front}]
        from_front: Any = [{"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "UserIdGroupPairs": pairs}]
        clients.ec2.authorize_security_group_ingress(GroupId=self.network.group, IpPermissions=from_front)
        self.target_group = clients.elbv2.create_target_group(
            Name="web",
            Protocol="HTTP",
            Port=8080,
            VpcId=vpc,
            HealthCheckPath="/healthz",
            HealthCheckIntervalSeconds=5,
            HealthCheckTimeoutSeconds=4,
            UnhealthyThresholdCount=10,
        )["TargetGroups"][0]["TargetGroupArn"]
        balancer = clients.elbv2.create_load_balancer(
            Name="web", Subnets=self.network.subnets, SecurityGroups=[self.front]
        )["LoadBalancers"][0]
        self.url = f"http://{balancer['DNSName']}:{PORT}/"
        self.listener = clients.elbv2.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=PORT,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": self.target_group}],
        )["Listeners"][0]["ListenerArn"]

    def fleet(self, name: str, version: str, **asked: Any) -> None:
        """An auto scaling group of machines of a version."""
        data = disk(version)
        blocks = {
            number: data[number * BLOCK :][:BLOCK].ljust(BLOCK, b"\0") for number in range(-(-len(data) // BLOCK))
        }
        image = self.clients.image(f"demo-{version}", self.clients.snapshot(blocks))
        template = self.clients.template(
            image, SecurityGroupIds=[self.network.group], MetadataOptions={"HttpTokens": "required"}
        )
        self.clients.group(template, self.network, AutoScalingGroupName=name, **asked)

    def second(self, name: str) -> str:
        """Another target group of the load balancer, for the paths below its name."""
        made = self.clients.elbv2.create_target_group(
            Name=name, Protocol="HTTP", Port=8080, VpcId=self.network.vpc, HealthCheckPath="/healthz"
        )["TargetGroups"][0]["TargetGroupArn"]
        self.clients.elbv2.create_rule(
            ListenerArn=self.listener,
            Priority=1,
            Conditions=[{"Field": "path-pattern", "Values": [f"/{name}/*"]}],
            Actions=[{"Type": "forward", "TargetGroupArn": made}],
        )
        return made

    def health(self) -> dict[str, tuple[str, str | None]]:
        """State and reason of each target."""
        found = self.clients.elbv2.describe_target_health(TargetGroupArn=self.target_group)
        return {
            one["Target"]["Id"]: (one["TargetHealth"]["State"], one["TargetHealth"].get("Reason"))
            for one in found["TargetHealthDescriptions"]
        }

    def ask(self) -> str:
        """What a user gets."""
        try:
            with urlopen(self.url, timeout=30) as answer:
                return str(answer.read().decode().strip())
        except HTTPError as error:
            with error:
                return str(error.code)
        except URLError as error:
            return str(error)

    def counted(self) -> float:
        """Requests that CloudWatch knows of, in the last minutes."""
        now = datetime.now(UTC)
        balancer = self.clients.elbv2.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
        found = self.clients.cloudwatch.get_metric_statistics(
            Namespace="AWS/ApplicationELB",
            MetricName="HTTPCode_Target_2XX_Count",
            Dimensions=[
                {"Name": "TargetGroup", "Value": self.target_group.split(":", 5)[5]},
                {"Name": "LoadBalancer", "Value": balancer.split("loadbalancer/")[1]},
            ],
            StartTime=now - timedelta(minutes=10),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["Sum"],
        )
        return sum(point["Sum"] for point in found["Datapoints"])

    def tried(self, instance_id: str, address: str, port: int) -> str:
        """The first line that a machine of the version `spy` gets from there."""
        here = view.read().instances[instance_id].address
        with urlopen(f"http://{here}:8080/try/{address}/{port}", timeout=30) as answer:
            return str(answer.read().decode().strip())

    def told(self, group: str) -> list[str]:
        """Causes of a group's activities."""
        found = self.clients.autoscaling.describe_scaling_activities(AutoScalingGroupName=group)
        return [activity["Cause"] for activity in found["Activities"]]


@pytest.fixture
def service(cloud: LocalCloud, clients: Clients) -> Service:
    """See `Service`."""
    return Service(cloud, clients)


def test_a_fleet_boots_serves_heals_and_ends(service: Service, cloud: LocalCloud, tmp_path: Path) -> None:
    """A deploy would be judged by machines that are not really there."""
    service.fleet("web", "machines", DesiredCapacity=2, TargetGroupARNs=[service.target_group], HealthCheckType="ELB")
    service.fleet("dead", "panic", DesiredCapacity=1)
    service.fleet("spy", "spy", DesiredCapacity=1, TargetGroupARNs=[service.second("spy")])
    until(lambda: all(map(service.clients.instances, ("web", "dead", "spy"))), "the launches")
    dead, spy = (service.clients.instances(name)[0]["InstanceId"] for name in ("dead", "spy"))

    def console_of(instance_id: str) -> str:
        return service.clients.ec2.get_console_output(InstanceId=instance_id).get("Output", "")

    until(lambda: [state for state, _ in service.health().values()] == ["healthy"] * 2, "two healthy machines")
    first, second = service.health()
    answers = Counter(service.ask() for _ in range(10))
    assert set(answers) == {f"version machines on {name}" for name in (first, second)}
    assert f"serving on :8080 as {first}" in console_of(first)

    # A machine reaches its own metadata service, and nothing of this computer: not the local cloud's own endpoint, not
    # the metadata service of another machine, not what a developer runs.
    until(lambda: "serving on :8080" in console_of(spy), "the spy")
    metadata = "169.254.169.254", 80
    until(lambda: service.tried(spy, *metadata) == "HTTP/1.1 401 Unauthorized", "its own metadata service")
    of_others = {
        machine.metadata.port for machine in service.machines._hypervisor._machines.values() if machine.metadata
    }
    places = [(HERE[0], cloud.port), *((HERE[0], port) for port in of_others), (HERE[1], cloud.port)]
    reached = {place: service.tried(spy, *place) for place in places}
    assert set(reached.values()) == {"nothing"}, reached
    service.clients.autoscaling.set_desired_capacity(AutoScalingGroupName="spy", DesiredCapacity=0)

    # An image that panics stays, as most do, and its console says why.
    until(lambda: "Kernel panic" in console_of(dead), "the panic")
    service.clients.autoscaling.set_desired_capacity(AutoScalingGroupName="dead", DesiredCapacity=0)

    until(lambda: service.counted() == 10, "CloudWatch's figures of ten requests")

    # A machine that dies is replaced, and the other one serves all the while.
    service.machines.kill(first)
    until(lambda: first not in service.health() and len(service.health()) == 2, "the replacement")
    assert {service.ask() for _ in range(10)} == {f"version machines on {second}"}

    # Scaling to nothing, under load: every request before the end is answered.
    service.clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=0)
    answers = Counter()
    while service.machines.status()["machines"]:
        answers[service.ask()] += 1
    assert set(answers) <= {f"version machines on {second}", "503"}
    status = service.machines.status()
    assert (status["machines"], status["problems"]) == ({}, [])

    records = (tmp_path / "cloud" / "children").read_text().splitlines()
    cloud.stop()
    assert not any(process.alive for line in records if (process := Process.parse(line)))
    assert not (tmp_path / "cloud" / "children").exists()
