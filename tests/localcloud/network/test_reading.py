"""The router knows the account's networks as the control plane shows them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from localcloud.network import reading
from localcloud.network.topology import Exit, Interface, Topology
from localcloud.network.verdict import Judge, Packet, Passes, Rejected

if TYPE_CHECKING:
    from tests.localcloud.clients import Clients

TCP = 6


def judged(topology: Topology, source: Interface, to: str, port: int) -> Passes | str:
    """What becomes of a TCP flow: the reason if it does not pass."""
    verdict = Judge(topology).leaves(source, Packet(TCP, to, port))
    return verdict.reason if isinstance(verdict, Rejected) else verdict


def owned(topology: Topology, owner: str) -> list[Interface]:
    return Judge(topology).owned(owner)


def test_a_machine_its_endpoint_its_way_out_and_a_load_balancer(  # noqa: PLR0915 - one network that grows
    clients: Clients,
) -> None:
    """A rule, a route or an endpoint that the control plane has would count for nothing, or one that it lacks count."""
    network, ec2 = clients.network(), clients.ec2
    ec2.modify_vpc_attribute(VpcId=network.vpc, EnableDnsHostnames={"Value": True})
    asked: Any = {"ImageId": clients.image(), "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro"}
    shown = ec2.run_instances(**asked, SubnetId=network.subnets[0], SecurityGroupIds=[network.group])["Instances"][0]
    everything: Any = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    ec2.revoke_security_group_egress(GroupId=network.group, IpPermissions=everything)

    topology, exits = reading.read()
    (machine,) = owned(topology, shown["InstanceId"])
    assert (machine.address, machine.groups) == (shown["PrivateIpAddress"], (network.group,))
    assert judged(topology, machine, "203.0.113.1", 443) == f"no egress rule of {network.group}"
    assert (exits.endpoints, exits.public) == ({}, frozenset())

    # An endpoint with its own group, and the name that it answers for in this VPC alone.
    front = ec2.create_security_group(GroupName="endpoint", Description="endpoint", VpcId=network.vpc)["GroupId"]
    endpoint = ec2.create_vpc_endpoint(
        VpcId=network.vpc,
        ServiceName="com.amazonaws.us-east-1.kms",
        VpcEndpointType="Interface",
        SubnetIds=network.subnets,
        SecurityGroupIds=[front],
        PrivateDnsEnabled=True,
    )["VpcEndpoint"]["VpcEndpointId"]
    https: Any = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
    to_front: Any = [{**https, "UserIdGroupPairs": [{"GroupId": front}]}]
    from_web: Any = [{**https, "UserIdGroupPairs": [{"GroupId": network.group}]}]
    ec2.authorize_security_group_egress(GroupId=network.group, IpPermissions=to_front)
    ec2.authorize_security_group_ingress(GroupId=front, IpPermissions=from_web)
    topology, exits = reading.read()
    assert exits.endpoints[endpoint] == "com.amazonaws.us-east-1.kms"
    nodes = owned(topology, endpoint)
    cidrs = [ip_network(cidr) for cidr in ("10.9.0.0/24", "10.9.1.0/24")]
    assert [ip_address(node.address) in cidr for node, cidr in zip(nodes, cidrs, strict=True)] == [True, True]
    names = {name: found for vpc, name, found in topology.names if vpc == network.vpc}
    assert sorted(names["kms.us-east-1.amazonaws.com"]) == sorted(node.address for node in nodes)
    assert names[shown["PrivateDnsName"]] == (machine.address,)
    with_exit = replace(topology, exits=((endpoint, Exit(4001)),))
    assert judged(with_exit, machine, nodes[0].address, 443) == Passes(nodes[0], 4001)

    # A gateway endpoint leads to a service's addresses, if a rule names the prefix list.
    table = ec2.create_route_table(VpcId=network.vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=network.subnets[0])
    gateway = ec2.create_vpc_endpoint(
        VpcId=network.vpc, ServiceName="com.amazonaws.us-east-1.s3", RouteTableIds=[table]
    )["VpcEndpoint"]["VpcEndpointId"]
    lists = ec2.describe_managed_prefix_lists(
        Filters=[{"Name": "prefix-list-name", "Values": ["com.amazonaws.us-east-1.s3"]}]
    )["PrefixLists"]
    to_s3: Any = [{**https, "PrefixListIds": [{"PrefixListId": lists[0]["PrefixListId"]}]}]
    ec2.authorize_security_group_egress(GroupId=network.group, IpPermissions=to_s3)
    topology, _ = reading.read()
    s3 = dict(topology.ranges)["s3"]
    assert judged(replace(topology, exits=((gateway, Exit(4003)),)), machine, s3, 443) == Passes(port=4003)

    # NAT, in a subnet that has a route to the internet gateway.
    address = ec2.allocate_address(Domain="vpc")
    nat = ec2.create_nat_gateway(SubnetId=network.subnets[1], AllocationId=address["AllocationId"])["NatGateway"]
    ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[nat["NatGatewayId"]])
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat["NatGatewayId"])
    out: Any = [{**https, "IpRanges": [{"CidrIp": "203.0.113.0/24"}]}]
    ec2.authorize_security_group_egress(GroupId=network.group, IpPermissions=out)
    topology, exits = reading.read()
    assert address["PublicIp"] in exits.public
    found = replace(topology, exits=((address["PublicIp"], Exit(4005)),))
    assert "has no way to the internet" in str(judged(found, machine, "203.0.113.1", 443))
    public = ec2.create_route_table(VpcId=network.vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=public, SubnetId=network.subnets[1])
    igw = ec2.describe_internet_gateways()["InternetGateways"][0]["InternetGatewayId"]
    ec2.create_route(RouteTableId=public, DestinationCidrBlock="0.0.0.0/0", GatewayId=igw)
    topology, _ = reading.read()
    found = replace(topology, exits=((address["PublicIp"], Exit(4005)),))
    assert judged(found, machine, "203.0.113.1", 443) == Passes(port=4005)
    assert judged(found, machine, "203.0.113.1", 80) == f"no egress rule of {network.group}"

    # A load balancer has an address in each of its subnets, which nobody else has.
    balancer = clients.elbv2.create_load_balancer(Name="web", Subnets=network.subnets, SecurityGroups=[front])
    nodes = owned(reading.read()[0], balancer["LoadBalancers"][0]["DNSName"])
    assert [ip_address(node.address) in cidr for node, cidr in zip(nodes, cidrs, strict=True)] == [True, True]
    assert len({one.address for one in reading.read()[0].interfaces}) == len(reading.read()[0].interfaces)

    # It is reached at its listeners; a group may have a rule for a protocol without ports.
    rest: Any = [{"IpProtocol": "50", "IpRanges": [{"CidrIp": "10.9.0.0/16"}]}]
    ec2.authorize_security_group_ingress(GroupId=front, IpPermissions=rest)
    at = balancer["LoadBalancers"][0]["DNSName"]
    assert reading.read()[0].listeners == ()
    answer: Any = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]
    arn = balancer["LoadBalancers"][0]["LoadBalancerArn"]
    clients.elbv2.create_listener(LoadBalancerArn=arn, Protocol="HTTP", Port=8066, DefaultActions=answer)
    assert reading.read()[0].listeners == ((at, 8066),)

    ec2.terminate_instances(InstanceIds=[shown["InstanceId"]])
    assert owned(reading.read()[0], shown["InstanceId"]) == []
