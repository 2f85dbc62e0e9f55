"""Real guests reach what the routes, endpoints, NAT gateways and security groups of their instances allow: no more."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from localcloud import view
from localcloud.network import reading
from tests.localcloud.clients import BLOCK
from tests.localcloud.test_machines import cloud, disk, until

if TYPE_CHECKING:
    from pathlib import Path

    from localcloud.server import LocalCloud
    from tests.localcloud.clients import Clients

__all__ = ["cloud"]

pytestmark = [pytest.mark.machines, pytest.mark.disks, pytest.mark.nix, pytest.mark.haproxy]

KMS = "kms.us-east-1.amazonaws.com"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)  # fmt: skip
SILENCE, REFUSED = "nc: timed out", "Connection refused"


class Spy:
    """A machine of the demo version `spy`: what it reaches is joined to this process."""

    def __init__(self, instance_id: str) -> None:
        self.id = instance_id
        self._here = view.read().instances[instance_id].address
        self.address = view.read().instances[instance_id].private_ip

    def connect(self, host: str, port: int) -> socket.socket:
        """A connection from the machine to there; what does not come about is told in it."""
        connection = socket.create_connection((self._here, 8080), 20)
        connection.settimeout(20)
        assert joins(connection, host, port), f"{self.id} does not answer"
        return connection

    def tries(self, host: str, port: int, request: str = "GET / HTTP/1.0\r\n") -> str:
        """What the machine gets from there when it asks once, in plain HTTP."""
        with self.connect(host, port) as connection:
            connection.sendall(f"{request}\r\n".encode())
            return heard(connection)

    def reaches(self, host: str, port: int, request: str = "GET / HTTP/1.0\r\n") -> str:
        """What the machine gets from there if something must come: on a busy computer its `nc` may be too slow."""
        answers: list[str] = []

        def answered() -> bool:
            answers.append(self.tries(host, port, request))
            return answers[-1] != SILENCE

        until(answered, f"an answer of {host}:{port}")
        return answers[-1]

    def reaches_nothing(self, cloud: LocalCloud, host: str, port: int, why: str) -> None:
        """Each time that the machine asks there nothing comes, and the router tells why."""

        def told() -> bool:
            assert self.tries(host, port) == SILENCE
            return why in "\n".join(cloud.status()["network"]["rejected"])

        until(told, why)

    def metadata(self, method: str, path: str, headers: dict[str, str]) -> str:
        """What the machine's own metadata service answers."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}Connection: close\r\n"
        return self.reaches("169.254.169.254", 80, request)

    def token(self) -> dict[str, str]:
        """A session token for the metadata service."""
        answer = self.metadata("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "600"})
        return {"X-aws-ec2-metadata-token": answer.rpartition("\r\n\r\n")[2]}

    def secure(self, host: str, ca: Path) -> http.client.HTTPSConnection:
        """HTTPS from the machine to there."""
        context = ssl.create_default_context(cafile=str(ca))

        def opened() -> ssl.SSLSocket | None:
            try:
                return context.wrap_socket(self.connect(host, 443), server_hostname=host)
            except ssl.SSLCertVerificationError:
                raise
            except ssl.SSLError:  # words of `nc`, which was too slow on a busy computer
                return None

        connection = http.client.HTTPSConnection(host, timeout=20)
        connection.sock = until(opened, f"TLS with {host}")
        return connection


def joins(connection: socket.socket, host: str, port: int) -> bool:
    """Ask the spy at the other end to join a connection to there; whether it answers."""
    connection.sendall(f"CONNECT {host}:{port} HTTP/1.0\r\n\r\n".encode())
    said = b""
    while not said.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        if not piece:
            return False
        said += piece
    return True


def heard(connection: socket.socket) -> str:
    """All that comes."""
    data = b""
    while piece := connection.recv(65_536):
        data += piece
    return data.decode(errors="replace").strip()


class Place:
    """Two machines in two subnets with a security group each, behind a load balancer: all that reaches them."""

    def __init__(self, cloud: LocalCloud, clients: Clients) -> None:
        self.cloud, self.clients, self.ec2 = cloud, clients, clients.ec2
        self.network = clients.network()
        vpc = self.network.vpc
        self.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
        self.web, self.other, self.front, self.kms = (self.group(name) for name in ("a", "other", "front", "kms"))
        self.allow("ingress", self.front, 8066, cidr="0.0.0.0/0")
        for group in (self.web, self.other):
            self.allow("egress", self.front, 8080, group=group)
            self.allow("ingress", group, 8080, group=self.front)
        self.target_group = clients.elbv2.create_target_group(
            Name="web",
            Protocol="HTTP",
            Port=8080,
            VpcId=vpc,
            HealthCheckPath="/healthz",
            HealthCheckIntervalSeconds=5,
            HealthCheckTimeoutSeconds=4,
        )["TargetGroups"][0]["TargetGroupArn"]
        self.balancer = clients.elbv2.create_load_balancer(
            Name="web", Subnets=self.network.subnets, SecurityGroups=[self.front]
        )["LoadBalancers"][0]
        clients.elbv2.create_listener(
            LoadBalancerArn=self.balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=8066,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": self.target_group}],
        )
        data = disk("spy")
        blocks = {n: data[n * BLOCK :][:BLOCK].ljust(BLOCK, b"\0") for n in range(-(-len(data) // BLOCK))}
        self.image = clients.image("spy", clients.snapshot(blocks))

    def group(self, name: str) -> str:
        """A security group without a rule."""
        made = self.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.network.vpc)["GroupId"]
        every: Any = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        self.ec2.revoke_security_group_egress(GroupId=made, IpPermissions=every)
        return made

    def allow(self, side: str, owner: str, port: int, *, group: str = "", cidr: str = "", away: bool = False) -> None:
        """Add a rule for TCP, or take it away."""
        source: Any = {"UserIdGroupPairs": [{"GroupId": group}]} if group else {"IpRanges": [{"CidrIp": cidr}]}
        rule: Any = [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port + 1, **source}]
        if side == "ingress":
            self.ec2.authorize_security_group_ingress(GroupId=owner, IpPermissions=rule)
        elif away:
            self.ec2.revoke_security_group_egress(GroupId=owner, IpPermissions=rule)
        else:
            self.ec2.authorize_security_group_egress(GroupId=owner, IpPermissions=rule)

    def told(self) -> None:
        """Wait until the router was told what the control plane says now: it hears that before any later packet."""
        assert self.cloud.machines is not None
        link = self.cloud.machines._fabric._link

        def same() -> bool:
            told, (now, _) = link._told, reading.read()
            if told is None:
                return False
            # The rest is not of the control plane; the exits were read with it.
            return told == replace(now, exits=told.exits, callers=told.callers, machines=told.machines)

        until(same, "the router knows")

    def endpoint_state(self, endpoint: str) -> str:
        """The state of a VPC endpoint."""
        return self.ec2.describe_vpc_endpoints(VpcEndpointIds=[endpoint])["VpcEndpoints"][0]["State"]

    def role(self, key: str) -> None:
        """An instance profile `web` that may use a key."""
        allowed = {"Effect": "Allow", "Action": "kms:GenerateDataKey", "Resource": key}
        self.clients.iam.create_role(RoleName="web", AssumeRolePolicyDocument=TRUST)
        self.clients.iam.put_role_policy(
            RoleName="web",
            PolicyName="kms",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
        )
        self.clients.iam.create_instance_profile(InstanceProfileName="web")
        self.clients.iam.add_role_to_instance_profile(InstanceProfileName="web", RoleName="web")

    def spies(self) -> list[Spy]:
        """One machine in each subnet, when both serve."""
        ids = [
            self.ec2.run_instances(
                ImageId=self.image,
                MinCount=1,
                MaxCount=1,
                InstanceType="t3.micro",
                SubnetId=subnet,
                SecurityGroupIds=[group],
                IamInstanceProfile={"Name": "web"},
                MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            )["Instances"][0]["InstanceId"]
            for subnet, group in zip(self.network.subnets, (self.web, self.other), strict=True)
        ]
        self.clients.elbv2.register_targets(
            TargetGroupArn=self.target_group, Targets=[{"Id": instance_id} for instance_id in ids]
        )

        def healthy() -> bool:
            found = self.clients.elbv2.describe_target_health(TargetGroupArn=self.target_group)
            return [one["TargetHealth"]["State"] for one in found["TargetHealthDescriptions"]] == ["healthy"] * 2

        until(healthy, "two machines that serve")
        return [Spy(instance_id) for instance_id in ids]


def test_guests_reach_what_aws_would_let_them_reach(cloud: LocalCloud, clients: Clients, tmp_path: Path) -> None:
    """A service that cannot reach its database, or KMS, would look well here and hang in AWS; or be open to others."""
    place = Place(cloud, clients)
    key = clients.client("kms").create_key()["KeyMetadata"]["Arn"]
    place.role(key)
    first, second = place.spies()
    _metadata_is_a_machine_s_own(cloud, first, second)
    _machines_reach_each_other_by_their_groups(cloud, place, first, second)
    _aws_is_reached_by_an_endpoint(cloud, place, first, key, tmp_path / "cloud" / "ca.pem")
    _the_internet_is_reached_by_nat(cloud, place, first, tmp_path / "cloud" / "ca.pem")

    # The router comes back with everything that it knew, and goes with the local cloud.
    router = cloud.machines._fabric._link._child if cloud.machines else None
    assert router is not None
    router.kill()
    until(lambda: first.id in clients_see(place), "packets after the router was killed")
    assert cloud.status()["problems"] == []
    cloud.stop()
    assert cloud.machines is not None
    assert cloud.machines._fabric._link._child is None


def clients_see(place: Place) -> str:
    """What a client of the load balancer gets."""
    connection = http.client.HTTPConnection(place.balancer["DNSName"], 8066, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except OSError:
        return ""
    finally:
        connection.close()


def _metadata_is_a_machine_s_own(cloud: LocalCloud, first: Spy, second: Spy) -> None:
    tokens = {spy.id: spy.token() for spy in (first, second)}
    for spy in (first, second):
        assert spy.metadata("GET", "/latest/meta-data/instance-id", tokens[spy.id]).endswith(spy.id)
        assert spy.metadata("GET", "/latest/meta-data/local-ipv4", tokens[spy.id]).endswith(spy.address)
    assert " 401 " in first.metadata("GET", "/latest/meta-data/instance-id", tokens[second.id]).splitlines()[0]
    # Nor by a way around: the port that QEMU leads to, at this computer's address or at the other machine's.
    assert cloud.machines is not None
    ports = {one.instance: one.metadata_port for one in cloud.machines._hypervisor.attached()}
    for address, port in (("198.18.0.1", ports[second.id]), (second.address, 80), ("198.18.0.1", cloud.port)):
        first.reaches_nothing(cloud, address, port, "no egress rule of")


def _machines_reach_each_other_by_their_groups(cloud: LocalCloud, place: Place, first: Spy, second: Spy) -> None:
    assert first.tries(second.address, 8080) == SILENCE
    place.allow("egress", place.web, 8080, group=place.other)
    place.told()
    first.reaches_nothing(cloud, second.address, 8080, f"no ingress rule of {place.other} of {second.id}")
    place.allow("ingress", place.other, 8080, group=place.web)
    place.told()
    assert f"version spy on {second.id}" in first.reaches(second.address, 8080)
    assert REFUSED in first.reaches(second.address, 8081)  # allowed, and nothing listens
    assert first.tries(second.address, 8083) == SILENCE
    assert second.tries(first.address, 8080) == SILENCE  # not the other way round
    # A rule that goes ends no connection, and lets no new one come.
    with until(lambda: _joined_twice(first, second), "a connection between the two") as connection:
        place.allow("egress", place.web, 8080, group=place.other, away=True)
        place.told()
        assert first.tries(second.address, 8080) == SILENCE
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert f"version spy on {second.id}" in heard(connection)


def _joined_twice(first: Spy, second: Spy) -> socket.socket | None:
    """A connection from one to the other, and on to its own server: that the other one answers shows that it is there.

    The first one answers before it connects.
    """
    connection = first.connect(second.address, 8080)
    if joins(connection, second.address, 8080):
        return connection
    connection.close()
    return None


def _aws_is_reached_by_an_endpoint(cloud: LocalCloud, place: Place, spy: Spy, key: str, ca: Path) -> None:
    place.allow("egress", place.web, 443, cidr="0.0.0.0/0")
    place.told()
    spy.reaches_nothing(cloud, KMS, 443, "no route in subnet-")
    made = place.ec2.create_vpc_endpoint(
        VpcId=place.network.vpc,
        ServiceName="com.amazonaws.us-east-1.kms",
        VpcEndpointType="Interface",
        SubnetIds=place.network.subnets[:1],
        SecurityGroupIds=[place.kms],
        PrivateDnsEnabled=True,
    )["VpcEndpoint"]
    until(lambda: place.endpoint_state(made["VpcEndpointId"]) == "available", "the endpoint")
    place.told()
    spy.reaches_nothing(cloud, KMS, 443, f"no ingress rule of {place.kms} of vpce-")
    place.allow("ingress", place.kms, 443, group=place.web)
    place.told()
    role = spy.metadata("GET", "/latest/meta-data/iam/security-credentials/web", spy.token())
    found = json.loads(role.partition("\r\n\r\n")[2])
    credentials = Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["Token"])
    for operation, status in (("GenerateDataKey", 200), ("DescribeKey", 400)):  # the role may do the first only
        body = json.dumps({"KeyId": key, **({"KeySpec": "AES_256"} if status == 200 else {})})
        headers = {"X-Amz-Target": f"TrentService.{operation}", "Content-Type": "application/x-amz-json-1.1"}
        request = AWSRequest("POST", f"https://{KMS}/", headers=headers, data=body)
        SigV4Auth(credentials, "kms", "us-east-1").add_auth(request)
        connection = spy.secure(KMS, ca)
        connection.request("POST", "/", body, dict(request.headers.items()))
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert answer.status == status, text
        assert ("Plaintext" in text) == (status == 200)
    connection = spy.secure(KMS, ca)
    connection.request("GET", "/", headers={"Host": "logs.us-east-1.amazonaws.com"})
    assert connection.getresponse().status == 403  # no way to another service
    connection.close()


def _the_internet_is_reached_by_nat(cloud: LocalCloud, place: Place, spy: Spy, ca: Path) -> None:
    assert spy.tries("example.com", 443) == SILENCE
    ec2, subnet, public = place.ec2, *place.network.subnets
    address = ec2.allocate_address(Domain="vpc")
    nat = ec2.create_nat_gateway(SubnetId=public, AllocationId=address["AllocationId"])["NatGateway"]["NatGatewayId"]
    ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[nat])
    gateway = ec2.describe_internet_gateways()["InternetGateways"][0]["InternetGatewayId"]
    for where, target in ((subnet, {"NatGatewayId": nat}), (public, {"GatewayId": gateway})):
        table = ec2.create_route_table(VpcId=place.network.vpc)["RouteTable"]["RouteTableId"]
        ec2.associate_route_table(RouteTableId=table, SubnetId=where)
        asked: Any = target
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", **asked)
    place.told()
    connection = spy.secure("example.com", ca)
    connection.request("GET", "/here")
    assert json.loads(connection.getresponse().read())["source"] == address["PublicIp"]
    connection.close()
    (visit,) = cloud.status()["network"]["internet"]
    assert (visit["host"], visit["path"], visit["source"]) == ("example.com", "/here", address["PublicIp"])
    assert spy.tries("example.com", 80) == SILENCE  # no egress rule for it
