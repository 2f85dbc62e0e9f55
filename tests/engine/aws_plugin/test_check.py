"""What the plugin refuses before anything is touched, and the names it gives."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.runtime import proto

from engine.aws_plugin import check, config, registry, schema, server, wire
from engine.aws_plugin.wire import UNKNOWN
from tests.engine.aws_plugin.conftest import Engine, provider_config

VPC = "aws:ec2/vpc:Vpc"
GROUP = "aws:autoscaling/group:Group"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
LISTENER = "aws:lb/listener:Listener"
TARGETS = "aws:lb/targetGroup:TargetGroup"
HTTP = {"port": 80, "protocol": "HTTP", "vpcId": "vpc-1"}
RECORD = "aws:route53/record:Record"
WEIGHTED = "weightedRoutingPolicies"
PRIVATE = {"subnetId": "subnet-1", "connectivityType": "private"}
LAUNCH = {"launchTemplate": {"id": "lt-1"}, "minSize": 0, "maxSize": 1}


@pytest.mark.parametrize(
    ("type_name", "inputs", "path", "reason"),
    [
        (VPC, {"cidrBlock": "10.0.0.0/16", "cidr": "x"}, "cidr", "has no property cidr"),
        (GROUP, {**LAUNCH, "launchTemplate": {"ident": "lt-1"}}, "launchTemplate.ident", "there is no such property"),
        (
            GROUP,
            {**LAUNCH, "tags": [{"key": "a", "value": "b", "propagateAtLaunch": True, "extra": 1}]},
            "tags[0].extra",
            "there is no such property",
        ),
        (
            TEMPLATE,
            {"blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": {"size": 8}}]},
            "blockDeviceMappings[0].ebs.size",
            "there is no such property",
        ),
        ("aws:ec2/subnet:Subnet", {"cidrBlock": "10.0.0.0/24"}, "vpcId", "needs vpcId"),
        (
            GROUP,
            {**LAUNCH, "tags": [{"key": "a", "value": "b"}]},
            "tags[0].propagateAtLaunch",
            "needs propagateAtLaunch",
        ),
        (
            LISTENER,
            {"loadBalancerArn": "arn", "port": 80, "defaultActions": [{"type": "x", "fixedResponse": {}}]},
            "defaultActions[0].fixedResponse.contentType",
            "needs contentType",
        ),
        (GROUP, {**LAUNCH, "minSize": "0"}, "minSize", "expected a whole number, got the string '0'"),
        (GROUP, {**LAUNCH, "maxSize": 1.5}, "maxSize", "expected a whole number, got the number 1.5"),
        (GROUP, {**LAUNCH, "forceDelete": "true"}, "forceDelete", "expected true or false"),
        (TEMPLATE, {"ebsOptimized": True}, "ebsOptimized", "expected a string, got true"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "tags": {"a.b": 1}}, 'tags["a.b"]', "expected a string, got the number 1"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "tags": ["a"]}, "tags", "expected a map, got a list"),
        (GROUP, {**LAUNCH, "vpcZoneIdentifiers": "subnet-1"}, "vpcZoneIdentifiers", "expected a list"),
        (GROUP, {**LAUNCH, "warmPool": {}}, "warmPool", "does not implement warmPool"),
        (VPC, {}, "cidrBlock", "needs an IPv4 CIDR block"),
        (GROUP, {**LAUNCH, "waitForCapacityTimeout": "soon"}, "waitForCapacityTimeout", "is not a duration"),
        (GROUP, {**LAUNCH, "desiredCapacity": 5}, "desiredCapacity", "does not hold: [0, 5, 1]"),
        (TARGETS, {"port": 80}, "protocol", "needs it"),
        (TARGETS, {**HTTP, "name": "a" * 33}, "name", "has 33 characters, at most 32"),
        (TARGETS, {**HTTP, "name": "a", "namePrefix": "b"}, "namePrefix", "not together with name"),
        ("aws:iam/role:Role", {"assumeRolePolicy": "{"}, "assumeRolePolicy", "not a JSON object"),
        ("aws:ec2/route:Route", {"routeTableId": "r", "gatewayId": "g"}, "destinationCidrBlock", "exactly one of"),
        (
            "aws:ec2/route:Route",
            {"routeTableId": "r", "destinationCidrBlock": "0.0.0.0/0", "egressOnlyGatewayId": "e"},
            "egressOnlyGatewayId",
            "not together with destinationCidrBlock",
        ),
        ("aws:ec2/natGateway:NatGateway", {**PRIVATE, "allocationId": "e"}, "allocationId", "of private"),
        (RECORD, {"zoneId": "Z", "name": "a", "type": "A"}, "aliases", "exactly one of aliases, records"),
        ("aws:ec2/amiLaunchPermission:AmiLaunchPermission", {"imageId": "ami-1"}, "accountId", "exactly one of"),
        (RECORD, {"zoneId": "Z", "name": "a", "type": "A", "records": ["b"]}, "ttl", "has a ttl if it has records"),
        (RECORD, {"zoneId": "Z", "name": "a", "type": "A", "weightedRoutingPolicies": []}, WEIGHTED, "not implement"),
    ],
)
def test_refused(engine: Engine, type_name: str, inputs: dict[str, Any], path: str, reason: str) -> None:
    """Broken: a property that the official plugin would refuse is silently dropped, or refused without its path."""
    failures = {failure.property: failure.reason for failure in engine.check(type_name, inputs).failures}
    assert path in failures
    assert reason in failures[path]
    assert "\n" not in failures[path]


def test_nested_wrong_value_is_not_hidden_by_a_right_one(engine: Engine) -> None:
    """Broken: only the first element of a list is looked at."""
    inputs = {**LAUNCH, "vpcZoneIdentifiers": ["subnet-1", 2]}
    assert [failure.property for failure in engine.check(GROUP, inputs).failures] == ["vpcZoneIdentifiers[1]"]


@pytest.mark.parametrize(
    ("type_name", "message"),
    [
        ("aws:ec2/vpd:Vpd", "aws:ec2/vpd:Vpd is not a resource type of the installed pulumi_aws"),
        ("aws:s3/bucket:Bucket", "does not implement aws:s3/bucket:Bucket; the official plugin does"),
        ("aws:ec2:Vpc", "aws:ec2:Vpc is not a resource type of the aws provider"),
        ("aws:lb/vpc:Vpc", "aws:lb/vpc:Vpc is not a resource type of the installed pulumi_aws"),
    ],
)
def test_unknown_type(engine: Engine, type_name: str, message: str) -> None:
    """Broken: a type that nothing implements is accepted, or taken for another."""
    with pytest.raises(grpc.RpcError) as refused:
        engine.check(type_name, {})
    assert message in refused.value.details()


def test_unknown_function(engine: Engine) -> None:
    """Broken: a program that calls a function gets a traceback or an empty answer instead of a reason."""
    with pytest.raises(grpc.RpcError) as refused:
        engine.stub.Invoke(proto.InvokeRequest(tok="aws:index/getRegion:getRegion"))
    assert "unknown function aws:index/getRegion:getRegion" in refused.value.details()


def test_unknown_values_pass(engine: Engine) -> None:
    """Broken: the first preview of a stack fails, because nothing is known in it yet."""
    inputs = {"vpcId": UNKNOWN, "cidrBlock": "10.0.0.0/24", "tags": {"a": UNKNOWN}, "mapPublicIpOnLaunch": UNKNOWN}
    checked = engine.checked("aws:ec2/subnet:Subnet", inputs)
    assert checked["vpcId"] is UNKNOWN
    assert checked["tags"] == {"a": UNKNOWN}
    assert registry.find(GROUP).type_name == GROUP
    assert check.resource_failures(registry.find(GROUP), {**LAUNCH, "minSize": UNKNOWN}) == []


def test_every_table_names_properties_that_exist() -> None:
    """Broken: a table has a typing error, so that a property never replaces, defaults or compares as it should."""
    for kind in registry.kinds():
        inputs, outputs = set(kind.schema.inputs), set(kind.schema.outputs)
        assert kind.supported <= inputs, kind.type_name
        assert kind.replace <= inputs, kind.type_name
        assert kind.computed <= outputs, kind.type_name
        assert kind.moving <= outputs, kind.type_name
        assert {name.partition(".")[0] for name in kind.defaults} <= inputs, kind.type_name
        for paths in (kind.rules.sets, kind.rules.json, kind.rules.caseless):
            for path in paths:
                assert exists(kind.schema, path), (kind.type_name, path)


def exists(resource: schema.ResourceSchema, path: str) -> bool:
    properties = resource.inputs
    for index, name in enumerate(path.split(".")):
        if name not in properties:
            return False
        inner = properties[name].type
        while isinstance(inner, schema.ListType):
            inner = inner.item
        if index < path.count("."):
            assert isinstance(inner, schema.ObjectType)
            properties = inner.properties()
    return True


def test_automatic_name(engine: Engine) -> None:
    """Broken: a preview and its update name a resource differently, or two resources alike."""
    first = engine.checked(TARGETS, HTTP, name="web")["name"]
    assert re.fullmatch(r"web-[0-9a-f]{7}", first)
    assert engine.checked(TARGETS, HTTP, name="web")["name"] == first
    assert engine.checked(TARGETS, HTTP, name="other")["name"][-7:] != first[-7:]


def test_automatic_name_stays(engine: Engine) -> None:
    """Broken: every update renames, and so replaces, what carries traffic."""
    old = {**HTTP, "name": "web-1234567", wire.DEFAULTS_KEY: ["name"]}
    assert engine.checked(TARGETS, HTTP, old)["name"] == "web-1234567"
    given = {**HTTP, "name": "mine"}
    assert engine.checked(TARGETS, given)["name"] == "mine"
    assert engine.checked(TARGETS, HTTP, given)["name"] != "mine"
    assert "name" not in engine.checked(TARGETS, {**HTTP, "namePrefix": "web-"})


def test_automatic_name_that_does_not_fit(engine: Engine) -> None:
    """Broken: the name is cut, which the official plugin does not do: the program would fail in AWS only."""
    failures = engine.check(TARGETS, HTTP, name="a" * 25).failures
    assert [failure.property for failure in failures] == ["name"]
    assert "longer than 32 characters" in failures[0].reason


@pytest.mark.parametrize(
    ("mode", "wish", "name", "failures"),
    [("ENFORCE", "web", "web", []), ("PROPOSE", "web-9", "web-9", []), ("DISABLE", "", None, ["name"])],
)
def test_autonaming_of_the_stack(engine: Engine, mode: str, wish: str, name: str | None, failures: list[str]) -> None:
    """Broken: `pulumi:autonaming` in a stack's configuration does nothing."""
    options = proto.CheckRequest.AutonamingOptions(
        proposed_name=wish, mode=proto.CheckRequest.AutonamingOptions.Mode.Value(mode)
    )
    answer = engine.stub.Check(
        proto.CheckRequest(urn=engine.urn(TARGETS), news=wire.encode(HTTP), randomSeed=b"seed", autonaming=options)
    )
    assert wire.decode(answer.inputs).get("name") == name
    assert [failure.property for failure in answer.failures] == failures


def config_failures(stub: Any, changes: dict[str, Any]) -> list[str]:
    given = {**provider_config("http://127.0.0.1:4510"), **changes}
    given = {name: value for name, value in given.items() if value is not None}
    answer = stub.CheckConfig(proto.CheckRequest(urn="urn", news=wire.encode(given)))
    return [f"{failure.property}: {failure.reason}" for failure in answer.failures]


def test_config_accepted(stub: Any) -> None:
    """Broken: the configuration of the stack `local` is refused."""
    assert config_failures(stub, {"version": "7.51.1"}) == []


REMEDY = "install the official plugin with `pulumi plugin install resource aws 7.51.1`"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"endpoints": None}, REMEDY),
        ({"endpoints": "[]"}, REMEDY),
        ({"endpoints": '[{"ec2": "http://127.0.0.1:1"}]'}, "no endpoint for autoscaling, elbv2, iam, sts"),
        ({"regiom": "us-east-1"}, "regiom: the aws provider has no property regiom"),
        ({"region": None}, "region: missing"),
        ({"skipMetadataApiCheck": '"yes"'}, "skipMetadataApiCheck: expected true or false"),
        ({"insecure": "true"}, "does not implement insecure"),
        ({"assumeRoles": '[{"externalId": "x"}]'}, "assumeRoles[0].roleArn: missing"),
        ({"assumeRoles": '[{"roleArn": "x", "duration": "1d"}]'}, "assumeRoles[0].duration: '1d' is not a duration"),
        ({"endpoints": '[{"ec3": "http://127.0.0.1:1"}]'}, "endpoints[0].ec3: there is no such property"),
    ],
)
def test_config_refused(stub: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], reason: str) -> None:
    """Broken: a wrong configuration, or one that would reach AWS, is taken."""
    monkeypatch.delenv("AWS_REGION", raising=False)
    assert any(reason in failure for failure in config_failures(stub, changes))


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:4510", True),
        ("http://127.66.0.1", True),
        ("http://[::1]:4510", True),
        ("http://localhost:4510", True),
        ("https://ec2.us-east-1.amazonaws.com", False),
        ("http://169.254.169.254", False),
        ("http://10.0.0.1", False),
        ("http://127.0.0.1@evil.example", False),
        ("http://localhost.example", False),
        ("127.0.0.1:4510", False),
        ("http://0.0.0.0:4510", False),
    ],
)
def test_only_loopback(url: str, loopback: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """Broken: the stand-in talks to something that is not on this machine."""
    assert config.is_loopback(url) is loopback


def test_one_endpoint_elsewhere_is_enough(stub: Any) -> None:
    """Broken: the check looks at some endpoints only, and a request leaves this machine."""
    endpoints = provider_config("http://127.0.0.1:1")["endpoints"]
    endpoints = endpoints.replace('"iam": "http://127.0.0.1:1"', '"iam": "https://iam.amazonaws.com"')
    reasons = config_failures(stub, {"endpoints": endpoints})
    assert any("iam: https://iam.amazonaws.com is not a loopback address" in reason for reason in reasons)
    with pytest.raises(grpc.RpcError) as refused:
        stub.Configure(
            proto.ConfigureRequest(args=wire.encode({**provider_config("http://127.0.0.1:1"), "endpoints": endpoints}))
        )
    assert "is not a loopback address" in refused.value.details()


def test_secrets_and_unknowns_are_read() -> None:
    """Broken: a secret reaches AWS as its envelope, or an unknown value as its marker."""
    envelope = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "value": "hidden"}
    marker = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
    message = wire.encode({"a": envelope, "b": [marker], "c": 2.0, "d": 2.5, "e": {"f": None, "g": True}})
    assert wire.decode(message) == {"a": "hidden", "b": [UNKNOWN], "c": 2, "d": 2.5, "e": {"g": True}}
    assert wire.encode({"x": UNKNOWN}).fields["x"].string_value == marker


def test_the_provider_does_not_change_with_the_plugin(stub: Any) -> None:
    """Broken: the first update with the other plugin changes the provider, or makes every resource anew."""
    spaced = {
        "region": "us-east-1",
        "endpoints": json.dumps([dict.fromkeys(config.SERVICES, "http://127.0.0.1:4510")]),
        "ignoreTags": json.dumps({"keys": ["b", "a"]}),
        "skipMetadataApiCheck": "true",
        "version": "7.51.1",
    }
    official = {
        **spaced,
        "endpoints": json.dumps(
            [dict.fromkeys(sorted(config.SERVICES), "http://127.0.0.1:4510")], separators=(",", ":")
        ),
        "ignoreTags": json.dumps({"keys": ["b", "a"]}, separators=(",", ":")),
        "version": "7.51.0",
    }

    def diff(old: dict[str, Any], new: dict[str, Any]) -> Any:
        return stub.DiffConfig(proto.DiffRequest(olds=wire.encode(old), news=wire.encode(new)))

    checked = wire.decode(stub.CheckConfig(proto.CheckRequest(news=wire.encode(spaced))).inputs)
    assert {**checked, "version": "7.51.0"} == official
    assert list(diff(official, spaced).diffs) == []
    assert list(diff(spaced, official).diffs) == []
    before = diff({**spaced, "skipRequestingAccountId": "true"}, spaced)
    assert (list(before.diffs), list(before.replaces)) == (["skipRequestingAccountId"], [])
    elsewhere = diff(spaced, {**spaced, "region": "eu-west-1"})
    assert list(elsewhere.replaces) == ["region"]


def test_it_corrects_nothing_of_the_local_cloud() -> None:
    """Broken: the stand-in hides a mistake of moto, which whoever has the official plugin then meets first."""
    for path in Path(server.__file__).parent.glob("*.py"):
        assert "moto" not in path.read_text(encoding="utf-8").lower(), path
