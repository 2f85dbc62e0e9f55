"""What counts as a change, and which changes make a new resource."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.aws_plugin import compare, operations, registry
from engine.aws_plugin.schema import ListType, MapType, ScalarType
from engine.aws_plugin.wire import DEFAULTS_KEY, UNKNOWN
from tests.engine.aws_plugin.conftest import NoClients

Inputs = dict[str, Any]
TARGETS = "aws:lb/targetGroup:TargetGroup"
TARGET_INPUTS: Inputs = {"name": "web", "port": 80, "protocol": "HTTP", "vpcId": "vpc-1", "healthCheck": {"path": "/"}}
GROUP = "aws:autoscaling/group:Group"
ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
PERMISSION = "aws:ec2/amiLaunchPermission:AmiLaunchPermission"
VOLUMES = "aws:ec2/snapshotCreateVolumePermission:SnapshotCreateVolumePermission"
CERTIFICATE = "aws:lb/listenerCertificate:ListenerCertificate"
RECORD = "aws:route53/record:Record"
ASSOCIATION = "aws:wafv2/webAclAssociation:WebAclAssociation"
SUBNET = "aws:ec2/subnet:Subnet"
SOURCES = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"


def diff(
    type_name: str, old: Inputs, new: Inputs, *, state: Inputs | None = None, ignore: list[str] | None = None
) -> operations.Diff:
    """The diff of a resource whose state is its old inputs with their defaults, and whatever `state` adds."""
    kind = registry.find(type_name)
    everything = {**operations.fill(kind, old, None), **(state or {})}
    return operations.diff(kind, everything, new, old, ignore or [], None)


SAMPLES: dict[str, Inputs] = {
    "aws:ec2/vpc:Vpc": {"cidrBlock": "10.0.0.0/16"},
    "aws:ec2/subnet:Subnet": {"vpcId": "vpc-1", "cidrBlock": "10.0.0.0/24", "availabilityZone": "us-east-1a"},
    "aws:ec2/internetGateway:InternetGateway": {"vpcId": "vpc-1"},
    "aws:ec2/routeTable:RouteTable": {"vpcId": "vpc-1"},
    "aws:ec2/route:Route": {"routeTableId": "rtb-1", "destinationCidrBlock": "0.0.0.0/0", "gatewayId": "igw-1"},
    "aws:ec2/routeTableAssociation:RouteTableAssociation": {"routeTableId": "rtb-1", "subnetId": "subnet-1"},
    "aws:ec2/securityGroup:SecurityGroup": {"name": "sg", "vpcId": "vpc-1", "description": "d"},
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": {
        "securityGroupId": "sg-1",
        "ipProtocol": "-1",
        "cidrIpv4": "10.0.0.0/8",
    },
    "aws:ec2/eip:Eip": {"domain": "vpc"},
    "aws:ec2/natGateway:NatGateway": {"subnetId": "subnet-1", "allocationId": "eipalloc-1"},
    "aws:ec2/egressOnlyInternetGateway:EgressOnlyInternetGateway": {"vpcId": "vpc-1"},
    ENDPOINT: {
        "vpcId": "vpc-1",
        "serviceName": "com.amazonaws.us-east-1.kms",
        "vpcEndpointType": "Interface",
        "subnetIds": ["a", "b"],
        "privateDnsEnabled": True,
    },
    CERTIFICATE: {"listenerArn": "l-1", "certificateArn": "c-1"},
    RECORD: {
        "zoneId": "Z1",
        "name": "shop.example.com",
        "type": "A",
        "aliases": [{"name": "lb.example.net", "zoneId": "Z2", "evaluateTargetHealth": True}],
    },
    ASSOCIATION: {"resourceArn": "lb-1", "webAclArn": "acl-1"},
    "aws:ec2/ami:Ami": {"name": "image", "rootDeviceName": "/dev/xvda", "description": "d", "bootMode": "uefi"},
    PERMISSION: {"imageId": "ami-1", "accountId": "111122223333"},
    VOLUMES: {"snapshotId": "snap-1", "accountId": "111122223333"},
    "aws:ec2/launchTemplate:LaunchTemplate": {"name": "lt", "imageId": "ami-1"},
    GROUP: {"name": "asg", "minSize": 0, "maxSize": 1, "launchTemplate": {"id": "lt-1", "version": "1"}},
    "aws:autoscaling/policy:Policy": {"name": "cpu", "autoscalingGroupName": "asg", "cooldown": 1},
    "aws:lb/loadBalancer:LoadBalancer": {"name": "lb", "internal": False, "subnets": ["a", "b"], "idleTimeout": 60},
    TARGETS: TARGET_INPUTS,
    "aws:lb/listener:Listener": {"loadBalancerArn": "lb-1", "port": 80, "defaultActions": []},
    "aws:lb/listenerRule:ListenerRule": {"listenerArn": "l-1", "priority": 1, "actions": [], "conditions": []},
    "aws:iam/role:Role": {"name": "role", "assumeRolePolicy": "{}", "path": "/", "description": "d"},
    "aws:iam/rolePolicy:RolePolicy": {"name": "p", "role": "role", "policy": "{}"},
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": {"role": "role", "policyArn": "arn"},
    "aws:iam/instanceProfile:InstanceProfile": {"name": "profile", "role": "role"},
}


def test_a_rule_keeps_its_kind_of_source() -> None:
    """Broken: a rule is changed from addresses to a group in place, which AWS refuses in the midst of an update."""
    old = SAMPLES[SOURCES]
    new = {name: value for name, value in old.items() if name != "cidrIpv4"} | {"prefixListId": "pl-1"}
    found = diff(SOURCES, old, new)
    assert set(found.replaces) == {"cidrIpv4", "prefixListId"}


def test_addresses_of_an_ipv6_block_hold_their_subnet() -> None:
    """Broken: a block is taken from under network interfaces that got addresses of it."""
    old = {**SAMPLES[SUBNET], "ipv6CidrBlock": "2001:db8::/64", "assignIpv6AddressOnCreation": True}
    assert diff(SUBNET, old, {**old, "ipv6CidrBlock": "2001:db8:1::/64"}).replaces == ["ipv6CidrBlock"]


def test_private_dns_holds_a_gateway_endpoint() -> None:
    """Broken: a property is changed in place that only interface endpoints can change."""
    old = {"vpcId": "vpc-1", "serviceName": "com.amazonaws.us-east-1.s3", "privateDnsEnabled": False}
    assert diff(ENDPOINT, old, {**old, "privateDnsEnabled": True}).replaces == ["privateDnsEnabled"]


def test_names_in_dns_are_one_with_and_without_the_dot() -> None:
    """Broken: a record is replaced, and is gone for a moment, because a name was written another way."""
    old = SAMPLES[RECORD]
    alias = {**old["aliases"][0], "name": "LB.example.net."}
    assert diff(RECORD, old, {**old, "name": "Shop.Example.com.", "aliases": [alias]}).changes == {}


@pytest.mark.parametrize(
    ("type_name", "name", "value", "replaces"),
    [
        ("aws:ec2/vpc:Vpc", "cidrBlock", "10.1.0.0/16", True),
        ("aws:ec2/vpc:Vpc", "enableDnsSupport", False, False),
        ("aws:ec2/subnet:Subnet", "vpcId", "vpc-2", True),
        ("aws:ec2/subnet:Subnet", "cidrBlock", "10.0.1.0/24", True),
        ("aws:ec2/subnet:Subnet", "availabilityZone", "us-east-1b", True),
        ("aws:ec2/subnet:Subnet", "mapPublicIpOnLaunch", True, False),
        ("aws:ec2/internetGateway:InternetGateway", "vpcId", "vpc-2", False),
        ("aws:ec2/routeTable:RouteTable", "vpcId", "vpc-2", True),
        ("aws:ec2/route:Route", "destinationCidrBlock", "10.0.0.0/8", True),
        ("aws:ec2/route:Route", "gatewayId", "igw-2", False),
        ("aws:ec2/routeTableAssociation:RouteTableAssociation", "subnetId", "subnet-2", True),
        ("aws:ec2/routeTableAssociation:RouteTableAssociation", "routeTableId", "rtb-2", False),
        ("aws:ec2/securityGroup:SecurityGroup", "description", "other", True),
        ("aws:ec2/securityGroup:SecurityGroup", "vpcId", "vpc-2", True),
        ("aws:ec2/securityGroup:SecurityGroup", "tags", {"a": "b"}, False),
        ("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "securityGroupId", "sg-2", True),
        ("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "ipProtocol", "icmp", False),
        ("aws:ec2/ami:Ami", "name", "other", True),
        ("aws:ec2/ami:Ami", "bootMode", "legacy-bios", True),
        ("aws:ec2/ami:Ami", "architecture", "arm64", True),
        ("aws:ec2/ami:Ami", "enaSupport", True, True),
        ("aws:ec2/ami:Ami", "imdsSupport", "v2.0", True),
        ("aws:ec2/ami:Ami", "tpmSupport", "v2.0", True),
        ("aws:ec2/ami:Ami", "rootDeviceName", "/dev/sda1", True),
        ("aws:ec2/ami:Ami", "ebsBlockDevices", [{"deviceName": "/dev/xvda", "snapshotId": "snap-2"}], True),
        ("aws:ec2/ami:Ami", "description", "other", False),
        ("aws:ec2/ami:Ami", "deprecationTime", "2030-01-01T00:00:00Z", False),
        ("aws:ec2/launchTemplate:LaunchTemplate", "name", "other", True),
        ("aws:ec2/launchTemplate:LaunchTemplate", "imageId", "ami-2", False),
        (GROUP, "name", "other", True),
        (GROUP, "launchTemplate", {"id": "lt-1", "version": "2"}, False),
        (GROUP, "minSize", 1, False),
        ("aws:autoscaling/policy:Policy", "autoscalingGroupName", "other", True),
        ("aws:autoscaling/policy:Policy", "cooldown", 2, False),
        ("aws:lb/loadBalancer:LoadBalancer", "internal", True, True),
        ("aws:lb/loadBalancer:LoadBalancer", "name", "other", True),
        ("aws:lb/loadBalancer:LoadBalancer", "subnets", ["a", "c"], False),
        ("aws:lb/loadBalancer:LoadBalancer", "idleTimeout", 30, False),
        (TARGETS, "port", 81, True),
        (TARGETS, "protocol", "HTTPS", True),
        (TARGETS, "vpcId", "vpc-2", True),
        (TARGETS, "name", "other", True),
        (TARGETS, "healthCheck", {"path": "/healthz"}, False),
        (TARGETS, "deregistrationDelay", 5, False),
        ("aws:lb/listener:Listener", "loadBalancerArn", "lb-2", True),
        ("aws:lb/listener:Listener", "port", 81, False),
        ("aws:lb/listenerRule:ListenerRule", "listenerArn", "l-2", True),
        ("aws:lb/listenerRule:ListenerRule", "priority", 2, False),
        ("aws:iam/role:Role", "name", "other", True),
        ("aws:iam/role:Role", "path", "/a/", True),
        ("aws:iam/role:Role", "assumeRolePolicy", '{"a": 1}', False),
        ("aws:iam/rolePolicy:RolePolicy", "role", "other", True),
        ("aws:iam/rolePolicy:RolePolicy", "policy", '{"a": 1}', False),
        ("aws:iam/rolePolicyAttachment:RolePolicyAttachment", "policyArn", "other", True),
        ("aws:iam/instanceProfile:InstanceProfile", "role", "other", False),
        ("aws:iam/instanceProfile:InstanceProfile", "path", "/a/", True),
        ("aws:iam/role:Role", "permissionsBoundary", "arn", False),
        ("aws:ec2/vpc:Vpc", "assignGeneratedIpv6CidrBlock", True, False),
        (SUBNET, "ipv6CidrBlock", "2001:db8::/64", False),
        (SUBNET, "assignIpv6AddressOnCreation", True, False),
        (SOURCES, "cidrIpv4", "10.0.0.0/16", False),
        ("aws:ec2/eip:Eip", "domain", "standard", True),
        ("aws:ec2/eip:Eip", "tags", {"a": "b"}, False),
        ("aws:ec2/natGateway:NatGateway", "subnetId", "subnet-2", True),
        ("aws:ec2/natGateway:NatGateway", "allocationId", "eipalloc-2", True),
        ("aws:ec2/natGateway:NatGateway", "connectivityType", "private", True),
        ("aws:ec2/natGateway:NatGateway", "tags", {"a": "b"}, False),
        ("aws:ec2/egressOnlyInternetGateway:EgressOnlyInternetGateway", "vpcId", "vpc-2", True),
        (ENDPOINT, "serviceName", "com.amazonaws.us-east-1.ssm", True),
        (ENDPOINT, "vpcEndpointType", "Gateway", True),
        (ENDPOINT, "vpcId", "vpc-2", True),
        (ENDPOINT, "subnetIds", ["a", "c"], False),
        (ENDPOINT, "securityGroupIds", ["sg-1"], False),
        (ENDPOINT, "privateDnsEnabled", False, False),
        ("aws:ec2/route:Route", "routeTableId", "rtb-2", True),
        ("aws:lb/loadBalancer:LoadBalancer", "accessLogs", {"bucket": "b", "enabled": True}, False),
        ("aws:lb/loadBalancer:LoadBalancer", "ipAddressType", "dualstack", False),
        ("aws:lb/loadBalancer:LoadBalancer", "enableDeletionProtection", True, False),
        (TARGETS, "protocolVersion", "GRPC", True),
        ("aws:lb/listener:Listener", "certificateArn", "c-1", False),
        (PERMISSION, "imageId", "ami-2", True),
        (PERMISSION, "accountId", "444455556666", True),
        (VOLUMES, "snapshotId", "snap-2", True),
        (VOLUMES, "accountId", "444455556666", True),
        (CERTIFICATE, "certificateArn", "c-2", True),
        (CERTIFICATE, "listenerArn", "l-2", True),
        (RECORD, "name", "www.example.com", True),
        (RECORD, "zoneId", "Z3", True),
        (RECORD, "type", "AAAA", False),
        (RECORD, "aliases", [{"name": "other", "zoneId": "Z2", "evaluateTargetHealth": True}], False),
        (ASSOCIATION, "webAclArn", "acl-2", True),
        (ASSOCIATION, "resourceArn", "lb-2", True),
    ],
)
def test_replaces(type_name: str, name: str, value: Any, replaces: bool) -> None:  # noqa: FBT001 - a column of the table
    """Broken: a change replaces what carries traffic, or is tried in place where AWS cannot."""
    old = SAMPLES[type_name]
    found = diff(type_name, old, {**old, name: value})
    assert found.names == {name}
    assert bool(found.replaces) is replaces
    assert diff(type_name, old, old).changes == {}
    unknown = diff(type_name, old, {**old, name: UNKNOWN})
    assert unknown.names == {name}
    assert bool(unknown.replaces) is replaces


def test_region_replaces() -> None:
    """Broken: a resource stays in its region while the state says that it moved."""
    old = {"cidrBlock": "10.0.0.0/16"}
    assert diff("aws:ec2/vpc:Vpc", old, {**old, "region": "eu-west-1"}, state={"region": "us-east-1"}).replaces == [
        "region"
    ]


def test_delete_before_replace_only_where_names_collide() -> None:
    """Broken: a replacement either fails on a taken name, or takes down what is live before its successor is there."""
    changed = {**TARGET_INPUTS, "port": 81}
    assert diff(TARGETS, TARGET_INPUTS, changed).delete_before_replace
    automatic = {DEFAULTS_KEY: ["name"]}
    new_name = {**changed, **automatic, "name": "web-2"}
    assert not diff(TARGETS, {**TARGET_INPUTS, **automatic}, new_name).delete_before_replace
    assert not diff(TARGETS, TARGET_INPUTS, {**changed, "name": "other"}).delete_before_replace
    assert not diff(TARGETS, TARGET_INPUTS, {**TARGET_INPUTS, "deregistrationDelay": 1}).delete_before_replace
    attachment = SAMPLES["aws:iam/rolePolicyAttachment:RolePolicyAttachment"]
    found = diff("aws:iam/rolePolicyAttachment:RolePolicyAttachment", attachment, {**attachment, "role": "other"})
    assert found.delete_before_replace


def test_taking_a_nested_property_back_is_a_change() -> None:
    """Broken: removing a health check's setting from the program does nothing."""
    old = {**TARGET_INPUTS, "healthCheck": {"path": "/", "interval": 5, "matcher": "200"}}
    found = diff(TARGETS, old, {**TARGET_INPUTS, "healthCheck": {"path": "/", "matcher": "200"}})
    assert set(found.changes) == {"healthCheck.interval"}
    found = diff(TARGETS, old, {**TARGET_INPUTS, "healthCheck": {"path": "/", "interval": 5}})
    assert {path: change.change for path, change in found.changes.items()} == {"healthCheck.matcher": "delete"}
    assert diff(TARGETS, old, {**old, "healthCheck": {**old["healthCheck"], "port": "traffic-port"}}).changes == {}


def test_what_aws_fills_in_is_no_change() -> None:
    """Broken: every preview shows a change, because AWS answers more than was given."""
    check = operations.fill(registry.find(TARGETS), TARGET_INPUTS, None)["healthCheck"]
    state = {"healthCheck": {**check, "timeout": 5, "matcher": "200"}, "loadBalancingAlgorithmType": "round_robin"}
    assert diff(TARGETS, TARGET_INPUTS, TARGET_INPUTS, state=state).changes == {}
    without = {key: value for key, value in TARGET_INPUTS.items() if key != "healthCheck"}
    assert diff(TARGETS, TARGET_INPUTS, without).changes == {}


def test_what_was_added_from_outside_is_taken_back() -> None:
    """Broken: tags or an optional setting that someone put on by hand stay for ever."""
    found = diff(TARGETS, TARGET_INPUTS, TARGET_INPUTS, state={"tags": {"by": "hand"}, "tagsAll": {"by": "hand"}})
    assert {path: change.change for path, change in found.changes.items()} == {"tags": "delete"}


@pytest.mark.parametrize(
    ("ignore", "paths"),
    [
        ([], {"desiredCapacity", "minSize", "tags[0].value", "launchTemplate.version"}),
        (["desiredCapacity", "minSize"], {"tags[0].value", "launchTemplate.version"}),
        (["desiredCapacity", "minSize", "launchTemplate.version"], {"tags[0].value"}),
        (["desiredCapacity", "minSize", "launchTemplate.version", "tags[0].value"], set()),
        (["desiredCapacity", "minSize", "launchTemplate", "tags[*].value"], set()),
    ],
)
def test_ignored_changes(ignore: list[str], paths: set[str]) -> None:
    """Broken: an update puts back the capacity that a rollout or a scaling policy has set."""
    tags = [{"key": "a", "value": "b", "propagateAtLaunch": True}]
    old = {**SAMPLES[GROUP], "desiredCapacity": 0, "tags": tags}
    state = {"desiredCapacity": 2, "minSize": 2}
    new = {**old, "tags": [{**tags[0], "value": "c"}], "launchTemplate": {"id": "lt-1", "version": "2"}}
    found = diff(GROUP, old, new, state=state, ignore=ignore)
    assert {path.replace("tags[0]", "tags[0].value") if path == "tags[0]" else path for path in found.changes} == paths


def test_order_of_sets_and_form_of_policies_do_not_count() -> None:
    """Broken: subnets in another order or a policy with another layout show as a change."""
    balancer = SAMPLES["aws:lb/loadBalancer:LoadBalancer"]
    assert diff("aws:lb/loadBalancer:LoadBalancer", balancer, {**balancer, "subnets": ["b", "a"]}).changes == {}
    role = {**SAMPLES["aws:iam/role:Role"], "assumeRolePolicy": '{"a": 1, "b": [2]}'}
    assert diff("aws:iam/role:Role", role, {**role, "assumeRolePolicy": '{"b":[2],"a":1}'}).changes == {}
    assert diff("aws:iam/role:Role", role, {**role, "assumeRolePolicy": '{"b":[3],"a":1}'}).names == {
        "assumeRolePolicy"
    }


def test_order_of_overrides_counts() -> None:
    """Broken: a new preference among instance types is never sent."""
    specification = {"launchTemplateSpecification": {"launchTemplateId": "lt-1", "version": "1"}}

    def group(*types: str) -> Inputs:
        overrides = [{"instanceType": name} for name in types]
        policy = {"launchTemplate": {**specification, "overrides": overrides}}
        return {"name": "asg", "minSize": 0, "maxSize": 1, "mixedInstancesPolicy": policy}

    found = diff(GROUP, group("a", "b"), group("b", "a"))
    assert set(found.changes) == {
        f"mixedInstancesPolicy.launchTemplate.overrides[{index}].instanceType" for index in (0, 1)
    }


def test_default_tags_show() -> None:
    """Broken: a new default tag of the provider never reaches what is there already."""
    kind = registry.find(TARGETS)
    state = {**operations.fill(kind, TARGET_INPUTS, None), "tagsAll": {"team": "a"}}
    found = operations.diff(kind, state, TARGET_INPUTS, TARGET_INPUTS, [], NoClients(default_tags={"team": "b"}))
    assert set(found.changes) == {"tagsAll.team"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_a_value_matches_itself(value: Any) -> None:
    """Broken: a resource differs from itself."""
    for kind in (ScalarType("any"), ListType(ScalarType("any")), MapType(ScalarType("any"))):
        assert compare.matches(value, value, kind, compare.Rules(sets=frozenset({"x"})), "x")
        assert list(compare.differences(value, value, value, kind, compare.Rules(), "x", "x")) == []


@given(st.lists(st.integers(), max_size=6), st.randoms())
def test_sets_are_compared_as_sets(items: list[int], random: Any) -> None:
    """Broken: a set in another order differs, or one with another number of equal items does not."""
    shuffled = list(items)
    random.shuffle(shuffled)
    kind, rules = ListType(ScalarType("int")), compare.Rules(sets=frozenset({"x"}))
    assert compare.matches(items, shuffled, kind, rules, "x")
    assert not compare.matches([*items, 7], shuffled, kind, rules, "x")
    assert not compare.matches([*items, 7], [*shuffled, 8], kind, rules, "x")
    assert list(compare.differences(items, shuffled, items, kind, rules, "x", "x")) == []
    assert list(compare.differences(items, [*shuffled, 7], items, kind, rules, "x", "x")) != []


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("a.b", ["a", "b"]),
        ("a[0].b", ["a", 0, "b"]),
        ('tags["x.y:z"]', ["tags", "x.y:z"]),
        ("a[*].b", ["a", "*", "b"]),
    ],
)
def test_paths(path: str, keys: list[str | int]) -> None:
    """Broken: `ignoreChanges` with such a path ignores nothing."""
    assert compare.split(path) == keys
