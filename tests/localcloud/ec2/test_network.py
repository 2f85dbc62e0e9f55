"""What of a network cannot be deleted yet; AWS's managed policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.localcloud.clients import refusal

if TYPE_CHECKING:
    from tests.localcloud.clients import Clients

IN_USE = "DependencyViolation"


def test_an_empty_network_goes_in_the_right_order_only(clients: Clients) -> None:
    """A destroy in the wrong order would look right here and fail in AWS."""
    ec2, network = clients.ec2, clients.network()
    gateway = ec2.describe_internet_gateways()["InternetGateways"][0]["InternetGatewayId"]
    assert refusal(lambda: ec2.delete_vpc(VpcId=network.vpc)) == IN_USE
    assert refusal(lambda: ec2.delete_internet_gateway(InternetGatewayId=gateway)) == IN_USE
    for subnet in network.subnets:
        ec2.delete_subnet(SubnetId=subnet)
    assert refusal(lambda: ec2.delete_vpc(VpcId=network.vpc)) == IN_USE
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=network.vpc)
    ec2.delete_internet_gateway(InternetGatewayId=gateway)
    assert refusal(lambda: ec2.delete_vpc(VpcId=network.vpc)) == IN_USE
    ec2.delete_security_group(GroupId=network.group)
    ec2.delete_vpc(VpcId=network.vpc)
    assert refusal(lambda: ec2.describe_vpcs(VpcIds=[network.vpc])) == "InvalidVpcID.NotFound"


def test_a_load_balancer_keeps_its_network(clients: Clients) -> None:
    """The security group, a subnet or the gateway of a live load balancer could be deleted."""
    ec2, network = clients.ec2, clients.network()
    gateway = ec2.describe_internet_gateways()["InternetGateways"][0]["InternetGatewayId"]
    made = clients.elbv2.create_load_balancer(
        Name="web", Subnets=network.subnets, SecurityGroups=[network.group], Scheme="internet-facing"
    )
    deletions: list[Any] = [
        lambda: ec2.delete_security_group(GroupId=network.group),
        lambda: ec2.delete_subnet(SubnetId=network.subnets[0]),
        lambda: ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=network.vpc),
    ]
    for delete in deletions:
        assert refusal(delete) == IN_USE
    clients.elbv2.delete_load_balancer(LoadBalancerArn=made["LoadBalancers"][0]["LoadBalancerArn"])
    for delete in deletions:
        delete()


def test_an_instance_keeps_its_network_until_it_is_terminated(clients: Clients) -> None:
    """The network of a running machine could be deleted, or that of a terminated one never."""
    ec2, network = clients.ec2, clients.network()
    made = ec2.run_instances(
        ImageId=clients.image(),
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        SubnetId=network.subnets[0],
        SecurityGroupIds=[network.group],
    )
    deletions: list[Any] = [
        lambda: ec2.delete_security_group(GroupId=network.group),
        lambda: ec2.delete_subnet(SubnetId=network.subnets[0]),
    ]
    for delete in deletions:
        assert refusal(delete) == IN_USE
    ec2.terminate_instances(InstanceIds=[made["Instances"][0]["InstanceId"]])
    for delete in deletions:
        delete()


def test_a_security_group_that_a_rule_names_stays(clients: Clients) -> None:
    """A rule would let in a group that there is not; and a VPC's own group is never deleted."""
    ec2, network = clients.ec2, clients.network()
    other = ec2.create_security_group(GroupName="lb", Description="lb", VpcId=network.vpc)["GroupId"]
    rule: Any = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": other}]}
    ec2.authorize_security_group_ingress(GroupId=network.group, IpPermissions=[rule])
    assert refusal(lambda: ec2.delete_security_group(GroupId=other)) == IN_USE
    ec2.revoke_security_group_ingress(GroupId=network.group, IpPermissions=[rule])
    ec2.delete_security_group(GroupId=other)
    filters: Any = [{"Name": "vpc-id", "Values": [network.vpc]}, {"Name": "group-name", "Values": ["default"]}]
    (own,) = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    assert refusal(lambda: ec2.delete_security_group(GroupId=own["GroupId"])) == "CannotDelete"


def test_a_policy_of_aws_can_be_attached(clients: Clients) -> None:
    """A role with AWS's own policy, such as that for Session Manager, could not be made."""
    iam, core = clients.iam, "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
    iam.create_role(RoleName="web", AssumeRolePolicyDocument="{}")
    iam.attach_role_policy(RoleName="web", PolicyArn=core)
    attached = iam.list_attached_role_policies(RoleName="web")["AttachedPolicies"]
    assert attached == [{"PolicyName": "AmazonSSMManagedInstanceCore", "PolicyArn": core}]
    iam.detach_role_policy(RoleName="web", PolicyArn=core)
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.attach_role_policy(RoleName="web", PolicyArn="arn:aws:iam::aws:policy/NoSuchPolicy")
