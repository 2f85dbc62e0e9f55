"""Every type against a server: create, no diff, refresh, update in place, import, delete, and again."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from engine.aws_plugin import registry
from tests.engine.aws_plugin.conftest import Engine, Made

Inputs = dict[str, Any]
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
        ],
    }
)
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]})
OTHER_POLICY = POLICY.replace("kms:*", "kms:Decrypt")


@dataclass
class World:
    """What other resources stand on; made once, with the plugin itself."""

    vpc: Made
    subnets: list[Made]
    gateway: Made
    table: Made
    group: Made
    template: Made
    balancer: Made
    targets: Made
    other_targets: Made
    listener: Made
    role: Made
    scaling_group: Made
    snapshot: str
    policy: str


@pytest.fixture(scope="module")
def world(engine: Engine, aws: Callable[[str], Any]) -> Iterator[World]:
    """A network, a balancer, a launch template and what goes with them."""
    made: list[tuple[str, Made]] = []

    def make(type_name: str, name: str, inputs: Inputs) -> Made:
        thing = engine.create(type_name, inputs, name)
        made.append((type_name, thing))
        return thing

    vpc = make("aws:ec2/vpc:Vpc", "net", {"cidrBlock": "10.0.0.0/16"})
    subnets = [
        make(
            "aws:ec2/subnet:Subnet",
            f"s{zone}",
            {"vpcId": vpc.id, "cidrBlock": f"10.0.{index}.0/24", "availabilityZone": f"us-east-1{zone}"},
        )
        for index, zone in enumerate("ab")
    ]
    gateway = make("aws:ec2/internetGateway:InternetGateway", "igw", {"vpcId": vpc.id})
    table = make("aws:ec2/routeTable:RouteTable", "rt", {"vpcId": vpc.id})
    group = make("aws:ec2/securityGroup:SecurityGroup", "machines", {"vpcId": vpc.id})
    snapshot = stored_snapshot(aws("ebs"))
    image = aws("ec2").register_image(
        Name="base",
        RootDeviceName="/dev/xvda",
        Architecture="x86_64",
        VirtualizationType="hvm",
        EnaSupport=True,
        **mapping(snapshot),
    )["ImageId"]
    template = make("aws:ec2/launchTemplate:LaunchTemplate", "lt", {"imageId": image, "instanceType": "t3.micro"})
    balancer = make("aws:lb/loadBalancer:LoadBalancer", "lb", {"subnets": [subnet.id for subnet in subnets]})
    target_inputs = {"port": 8080, "protocol": "HTTP", "vpcId": vpc.id}
    targets = make("aws:lb/targetGroup:TargetGroup", "tg", target_inputs)
    other_targets = make("aws:lb/targetGroup:TargetGroup", "tg2", target_inputs)
    listener = make("aws:lb/listener:Listener", "http", listener_inputs(balancer.id))
    role = make("aws:iam/role:Role", "role", {"assumeRolePolicy": TRUST})
    scaling_group = make(
        "aws:autoscaling/group:Group",
        "asg",
        {
            "minSize": 0,
            "maxSize": 2,
            "desiredCapacity": 0,
            "launchTemplate": {"id": template.id, "version": "1"},
            "vpcZoneIdentifiers": [subnets[0].id],
        },
    )
    policy = aws("iam").create_policy(PolicyName="managed", PolicyDocument=POLICY)["Policy"]["Arn"]
    yield World(
        vpc,
        subnets,
        gateway,
        table,
        group,
        template,
        balancer,
        targets,
        other_targets,
        listener,
        role,
        scaling_group,
        snapshot,
        policy,
    )
    for type_name, thing in reversed(made):
        engine.delete(type_name, thing)


def stored_snapshot(ebs: Any) -> str:
    """A completed snapshot of one block."""
    data = bytes(524288)
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    snapshot = str(ebs.start_snapshot(VolumeSize=1)["SnapshotId"])
    ebs.put_snapshot_block(
        SnapshotId=snapshot,
        BlockIndex=0,
        BlockData=data,
        DataLength=len(data),
        Checksum=digest,
        ChecksumAlgorithm="SHA256",
    )
    ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=1)
    return snapshot


def mapping(snapshot: str) -> dict[str, Any]:
    return {"BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}]}


def listener_inputs(balancer: str, text: str = "no release", port: int = 80) -> Inputs:
    response = {"contentType": "text/plain", "messageBody": text, "statusCode": "503"}
    return {
        "loadBalancerArn": balancer,
        "port": port,
        "defaultActions": [{"type": "fixed-response", "fixedResponse": response}],
    }


@dataclass
class Case:
    """One type: inputs, inputs that change it in place, and the paths that the change shows as."""

    type_name: str
    inputs: Callable[[World], Inputs]
    changed: Callable[[World], Inputs] | None = None
    paths: set[str] = field(default_factory=set)
    import_id: Callable[[World, Made], str] = lambda _, made: made.id


def mixed(world: World, base: int) -> Inputs:
    return {
        "minSize": 0,
        "maxSize": 4,
        "desiredCapacity": 0,
        "vpcZoneIdentifiers": [subnet.id for subnet in world.subnets],
        "forceDelete": True,
        "healthCheckType": "ELB",
        "targetGroupArns": [world.targets.id],
        "suspendedProcesses": ["AZRebalance"],
        "waitForCapacityTimeout": "0",
        "mixedInstancesPolicy": {
            "instancesDistribution": {
                "onDemandBaseCapacity": base,
                "onDemandPercentageAboveBaseCapacity": 0,
                "spotAllocationStrategy": "price-capacity-optimized",
            },
            "launchTemplate": {
                "launchTemplateSpecification": {"launchTemplateId": world.template.id, "version": "1"},
                "overrides": [{"instanceType": "m7i.large"}, {"instanceType": "m7a.large", "weightedCapacity": "2"}],
            },
        },
        "tags": [{"key": "Name", "value": f"base-{base}", "propagateAtLaunch": True}],
    }


def rule(world: World, *, weight: int, priority: int) -> Inputs:
    return {
        "listenerArn": world.listener.id,
        "priority": priority,
        "actions": [
            {
                "type": "forward",
                "forward": {
                    "targetGroups": [
                        {"arn": world.targets.id, "weight": 100 - weight},
                        {"arn": world.other_targets.id, "weight": weight},
                    ]
                },
            }
        ],
        "conditions": [
            {"httpHeader": {"httpHeaderName": "X-Fleetswap-Release", "values": ["web-1", "web-2"]}},
            {"pathPattern": {"values": ["/*"]}},
            {"hostHeader": {"values": ["example.com"]}},
        ],
    }


def template_inputs(world: World, size: int) -> Inputs:
    return {
        "imageId": "ami-12c6146b",
        "instanceType": "t3.micro",
        "updateDefaultVersion": True,
        "ebsOptimized": "true",
        "monitoring": {"enabled": True},
        "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1, "httpEndpoint": "enabled"},
        "blockDeviceMappings": [
            {
                "deviceName": "/dev/xvda",
                "ebs": {
                    "encrypted": "true",
                    "volumeType": "gp3",
                    "volumeSize": size,
                    "deleteOnTermination": "true",
                },
            }
        ],
        "networkInterfaces": [
            {"associatePublicIpAddress": "true", "securityGroups": [world.group.id], "deviceIndex": 0}
        ],
        "iamInstanceProfile": {"name": "some-profile"},
        "userData": "aGVsbG8=",
        "tagSpecifications": [{"resourceType": "instance", "tags": {"Name": "web"}}],
        "tags": {"Name": "template"},
    }


def tracking(world: World, target: float) -> Inputs:
    return {
        "autoscalingGroupName": world.scaling_group.id,
        "policyType": "TargetTrackingScaling",
        "targetTrackingConfiguration": {
            "targetValue": target,
            "predefinedMetricSpecification": {"predefinedMetricType": "ASGAverageCPUUtilization"},
        },
    }


def ingress(world: World, port: int) -> Inputs:
    return {
        "securityGroupId": world.group.id,
        "ipProtocol": "tcp",
        "fromPort": port,
        "toPort": port,
        "cidrIpv4": "10.0.0.0/8",
        "tags": {"Name": "in"},
    }


def targets(world: World, path: str, delay: int) -> Inputs:
    return {
        "port": 8080,
        "protocol": "HTTP",
        "vpcId": world.vpc.id,
        "targetType": "instance",
        "deregistrationDelay": delay,
        "loadBalancingAlgorithmType": "least_outstanding_requests",
        "healthCheck": {"path": path, "interval": 5, "timeout": 2, "healthyThreshold": 2, "matcher": "200"},
        "tags": {"Name": "targets"},
    }


def subnet(world: World, *, public: bool) -> Inputs:
    return {
        "vpcId": world.vpc.id,
        "cidrBlock": "10.0.9.0/24",
        "availabilityZone": "us-east-1c",
        "mapPublicIpOnLaunch": public,
    }


def image(world: World, description: str) -> Inputs:
    return {
        "architecture": "x86_64",
        "bootMode": "uefi",
        "enaSupport": True,
        "imdsSupport": "v2.0",
        "tpmSupport": "v2.0",
        "virtualizationType": "hvm",
        "sriovNetSupport": "simple",
        "rootDeviceName": "/dev/xvda",
        "description": "an image",
        "ebsBlockDevices": [
            {"deviceName": "/dev/xvda", "snapshotId": world.snapshot, "volumeType": "gp3", "volumeSize": 1}
        ],
        "tags": {"Name": description},
    }


def inline_group(world: World, port: int) -> Inputs:
    rules = [{"protocol": "tcp", "fromPort": port, "toPort": port, "cidrBlocks": ["0.0.0.0/0"]}]
    return {"vpcId": world.vpc.id, "description": "a group", "ingress": rules, "tags": {"Name": "sg"}}


VPC = {"cidrBlock": "10.9.0.0/16", "enableDnsHostnames": True, "tags": {"Name": "a"}}
CASES = [
    Case("aws:ec2/vpc:Vpc", lambda _: VPC, lambda _: {**VPC, "enableDnsHostnames": False}, {"enableDnsHostnames"}),
    Case(
        "aws:ec2/subnet:Subnet",
        lambda w: subnet(w, public=True),
        lambda w: subnet(w, public=False),
        {"mapPublicIpOnLaunch"},
    ),
    Case(
        "aws:ec2/internetGateway:InternetGateway",
        lambda _: {"tags": {"Name": "a"}},
        lambda _: {"tags": {"Name": "b"}},
        {"tags.Name"},
    ),
    Case(
        "aws:ec2/routeTable:RouteTable",
        lambda w: {"vpcId": w.vpc.id, "routes": [{"cidrBlock": "0.0.0.0/0", "gatewayId": w.gateway.id}]},
        lambda w: {"vpcId": w.vpc.id, "routes": [{"cidrBlock": "9.0.0.0/8", "gatewayId": w.gateway.id}]},
        {"routes[0]"},
    ),
    Case(
        "aws:ec2/route:Route",
        lambda w: {"routeTableId": w.table.id, "destinationCidrBlock": "0.0.0.0/0", "gatewayId": w.gateway.id},
        import_id=lambda w, _: f"{w.table.id}_0.0.0.0/0",
    ),
    Case(
        "aws:ec2/routeTableAssociation:RouteTableAssociation",
        lambda w: {"routeTableId": w.table.id, "subnetId": w.subnets[0].id},
        lambda w: {"routeTableId": w.vpc.state["mainRouteTableId"], "subnetId": w.subnets[0].id},
        {"routeTableId"},
        import_id=lambda w, _: f"{w.subnets[0].id}/{w.table.id}",
    ),
    Case(
        "aws:ec2/securityGroup:SecurityGroup",
        lambda w: inline_group(w, 80),
        lambda w: inline_group(w, 81),
        {"ingress[0]"},
    ),
    Case(
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        lambda w: ingress(w, 80),
        lambda w: ingress(w, 81),
        {"fromPort", "toPort"},
    ),
    Case(
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        lambda w: {"securityGroupId": w.group.id, "ipProtocol": "-1", "cidrIpv4": "0.0.0.0/0"},
        lambda w: {"securityGroupId": w.group.id, "ipProtocol": "-1", "cidrIpv4": "10.0.0.0/8"},
        {"cidrIpv4"},
    ),
    Case(
        "aws:ec2/ami:Ami",
        lambda w: image(w, "one"),
        lambda w: image(w, "two"),
        {"tags.Name"},
    ),
    Case(
        "aws:ec2/launchTemplate:LaunchTemplate",
        lambda w: template_inputs(w, 8),
        lambda w: template_inputs(w, 9),
        {"blockDeviceMappings[0].ebs.volumeSize"},
    ),
    Case(
        "aws:autoscaling/group:Group",
        lambda w: mixed(w, 0),
        lambda w: mixed(w, 1),
        {"mixedInstancesPolicy.instancesDistribution.onDemandBaseCapacity", "tags[0]"},
    ),
    Case(
        "aws:autoscaling/policy:Policy",
        lambda w: tracking(w, 50),
        lambda w: tracking(w, 60.5),
        {"targetTrackingConfiguration.targetValue"},
        import_id=lambda w, made: f"{w.scaling_group.id}/{made.id}",
    ),
    Case(
        "aws:lb/loadBalancer:LoadBalancer",
        lambda w: {"subnets": [s.id for s in w.subnets], "securityGroups": [w.group.id], "idleTimeout": 30},
        lambda w: {"subnets": [s.id for s in w.subnets], "securityGroups": [w.group.id], "idleTimeout": 31},
        {"idleTimeout"},
    ),
    Case(
        "aws:lb/targetGroup:TargetGroup",
        lambda w: targets(w, "/healthz", 5),
        lambda w: targets(w, "/", 6),
        {"healthCheck.path", "deregistrationDelay"},
    ),
    Case(
        "aws:lb/listener:Listener",
        lambda w: listener_inputs(w.balancer.id, port=81),
        lambda w: listener_inputs(w.balancer.id, "other", 82),
        {"port", "defaultActions[0].fixedResponse.messageBody"},
    ),
    Case(
        "aws:lb/listenerRule:ListenerRule",
        lambda w: rule(w, weight=10, priority=5),
        lambda w: rule(w, weight=50, priority=6),
        {"priority", "actions[0].forward.targetGroups[0]", "actions[0].forward.targetGroups[1]"},
    ),
    Case(
        "aws:iam/role:Role",
        lambda _: {"assumeRolePolicy": TRUST, "description": "one", "tags": {"a": "b"}},
        lambda _: {"assumeRolePolicy": TRUST, "description": "two", "tags": {"c": "d"}},
        {"description", "tags.a", "tags.c"},
    ),
    Case(
        "aws:iam/rolePolicy:RolePolicy",
        lambda w: {"role": w.role.id, "policy": POLICY},
        lambda w: {"role": w.role.id, "policy": OTHER_POLICY},
        {"policy"},
    ),
    Case(
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        lambda w: {"role": w.role.id, "policyArn": w.policy},
    ),
    Case(
        "aws:iam/instanceProfile:InstanceProfile",
        lambda w: {"role": w.role.id, "tags": {"a": "b"}},
        lambda _: {"tags": {"a": "b"}},
        {"role"},
    ),
]


def test_every_type_has_a_case() -> None:
    """Broken: a type was added to the plugin that no test ever creates."""
    assert {case.type_name for case in CASES} == {kind.type_name for kind in registry.kinds()}


@pytest.mark.parametrize("case", CASES, ids=[case.type_name for case in CASES])
def test_lifecycle(engine: Engine, world: World, case: Case) -> None:
    """Broken: a type cannot be created, shows a diff right after it, drifts by itself, or survives its deletion."""
    kind = registry.find(case.type_name)
    inputs = case.inputs(world)
    made = engine.create(case.type_name, inputs)
    try:
        assert made.id
        assert made.state["id"] == made.id
        assert set(made.state) <= {*kind.schema.outputs, *kind.schema.inputs, "id"}
        assert not (kind.computed - {"namePrefix"}) - set(kind.schema.outputs)
        assert dict(engine.diff(case.type_name, made, inputs).detailedDiff) == {}

        refreshed = engine.read(case.type_name, made)
        assert refreshed.id == made.id
        different = {key for key in made.state if made.state[key] != refreshed.state.get(key)}
        assert different == set()
        assert {key for key in made.inputs if made.inputs[key] != refreshed.inputs.get(key)} == set()

        official = as_official(made)
        assert dict(engine.diff(case.type_name, official, inputs, tuple(inputs)[:1]).detailedDiff) == {}
        assert dict(engine.diff(case.type_name, engine.read(case.type_name, official), inputs).detailedDiff) == {}

        imported = engine.imported(case.type_name, case.import_id(world, made))
        assert imported.id == made.id
        differing = {
            path.split(".")[0].split("[")[0]
            for path in engine.diff(case.type_name, imported, {**inputs, **named(made)}).detailedDiff
        }
        assert differing <= {"forceDelete", "updateDefaultVersion", "waitForCapacityTimeout"}

        if case.changed:
            changed = case.changed(world)
            diff = engine.diff(case.type_name, made, changed)
            assert set(diff.detailedDiff) == case.paths
            assert list(diff.replaces) == []
            made = engine.update(case.type_name, made, changed)
            assert dict(engine.diff(case.type_name, made, changed).detailedDiff) == {}
            refreshed = engine.read(case.type_name, made)
            assert {key for key in made.state if made.state[key] != refreshed.state.get(key)} <= {"id"}
    finally:
        engine.delete(case.type_name, made)
    assert engine.read(case.type_name, made).id == ""
    engine.delete(case.type_name, made)


def as_official(made: Made) -> Made:
    """A resource as the official plugin has it in the state: notes of its own, other JSON, some numbers as strings."""
    state: Inputs = {**_noted(made.state), "__meta": '{"schema_version":"1"}', "networkPerformanceOptions": None}
    state |= {name: str(state[name]) for name in ("deregistrationDelay",) if name in state}
    state |= {name: spaced(state[name]) for name in ("assumeRolePolicy", "policy") if name in state}
    return Made(made.id, _noted(made.inputs), state)


def _noted(value: Any, depth: int = 0) -> Any:
    if isinstance(value, list):
        return [_noted(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: item if key.startswith("tags") else _noted(item, depth + 1) for key, item in value.items()}
    return {"__defaults": [], **found} if depth else {**found, "__defaults": value.get("__defaults", [])}


def spaced(document: str) -> str:
    return json.dumps(dict(reversed(json.loads(document).items())), indent=1)


def named(made: Made) -> Inputs:
    """A program that imports says the name."""
    return {"name": made.inputs["name"]} if "name" in made.inputs else {}
