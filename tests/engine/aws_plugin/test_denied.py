"""Each action that the plugin calls for a type, taken out of an otherwise complete policy: the error names it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import boto3
import grpc
import pytest
from pulumi.runtime import proto
from pulumi.runtime.proto import provider_pb2_grpc

from engine.aws_plugin import server, wire
from fleetswap.domain.permissions.purposes import Purpose
from tests.engine.aws_plugin.conftest import Engine, Made, provider_config
from tests.engine.aws_plugin.test_lifecycle import CASES, Case, World, build
from tests.fakes.localcloud import Served, serve
from tests.permissions.scopes import EVERYTHING, GUEST
from tests.permissions.test_denied import CALLS
from tests.permissions.test_policies import actions

TOLERATED = {"iam:GetUser", "sts:GetCallerIdentity"}
"""The one may be refused: the plugin then asks STS for the account, as the official one does. The other nobody can
deny."""

LAUNCHING = {"ec2:RunInstances", "iam:PassRole"}
"""Of an auto scaling group: AWS only says `You are not authorized to use launch template`."""

LOCKED_OUT = {"kms:PutKeyPolicy"}
"""Whoever makes a key without it is told that they could not change its policy (CreateKey), and no action."""


@dataclass
class Scene:
    """A local cloud of its own, in which what a denial leaves behind hurts nobody; a root and a user in it."""

    served: Served
    aws: Callable[[str], Any]
    root: Engine
    user: Engine
    world: World
    tried: set[str] = field(default_factory=set)
    asked: dict[int, list[str]] = field(default_factory=dict)

    def without(self, action: str) -> None:
        """From now on, the user may do everything but this."""
        statement = {"Effect": "Allow", "NotAction": action, "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.aws("iam").put_user_policy(UserName="deployer", PolicyName="own", PolicyDocument=document)

    def actions(self, case: Case) -> list[str]:
        """The actions that the user asks for in the life of a resource, in their order."""
        if id(case) not in self.asked:
            self.without("none:Nothing")
            self.served.ask("DELETE", "authorizations")
            live(self.user, self.root, case, self.world)
            decisions = self.served.ask("GET", "authorizations")["authorizations"]
            ours = [one["action"] for one in decisions if one["principal"].endswith(":user/deployer")]
            self.asked[id(case)] = list(dict.fromkeys(ours))
        return self.asked[id(case)]


@pytest.fixture(scope="module")
def scene(_local_cloud: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The world of the lifecycles, made by the root."""
    with serve(tmp_path_factory.mktemp("cloud")) as served:

        def aws(service: str) -> Any:
            return boto3.client(
                service,  # type: ignore[call-overload] # any service's name
                endpoint_url=served.endpoint,
                region_name="us-east-1",
                aws_access_key_id="local",
                aws_secret_access_key="local",  # noqa: S106 - no secret: the local cloud takes anything
            )

        aws("iam").create_user(UserName="deployer")
        key = aws("iam").create_access_key(UserName="deployer")["AccessKey"]
        running, engines = [], []
        for config in ({}, {"accessKey": key["AccessKeyId"], "secretKey": key["SecretAccessKey"]}):
            plugin, port, _ = server.serve()
            channel = grpc.insecure_channel(f"127.0.0.1:{port}")
            stub = provider_pb2_grpc.ResourceProviderStub(channel)
            stub.Configure(proto.ConfigureRequest(args=wire.encode(provider_config(served.endpoint) | config)))
            running.append((plugin, channel))
            engines.append(Engine(stub))
        root, user = engines
        yield Scene(served, aws, root, user, build(root, aws, []))
        for plugin, channel in running:
            channel.close()
            plugin.stop(grace=None).wait()


NAMES = (f"thing{number}" for number in count())


def live(engine: Engine, root: Engine, case: Case, world: World) -> None:
    """The life of one resource. What an error leaves behind the root deletes; after a half creation it stays."""
    made: Made | None = engine.create(case.type_name, case.inputs(world), next(NAMES))
    assert made is not None
    last = made
    try:
        engine.read(case.type_name, made)
        if case.changed:
            last = engine.update(case.type_name, made, case.changed(world))
        engine.delete(case.type_name, last)
        made = None
    finally:
        if made is not None:
            root.delete(case.type_name, last)


@pytest.mark.parametrize("case", CASES, ids=[case.type_name for case in CASES])
def test_the_error_names_the_action_that_is_missing(scene: Scene, case: Case) -> None:
    """Whoever deploys would not know which permission to ask for."""
    for action in scene.actions(case):
        if action in TOLERATED | LAUNCHING | LOCKED_OUT | scene.tried:
            continue
        scene.tried.add(action)
        scene.without(action)
        told = ""
        try:
            live(scene.user, scene.root, case, scene.world)
        except grpc.RpcError as error:
            told = error.details()
        assert f"not authorized to perform: {action}" in told, action


STORY = "asked for in tests/e2e/test_story.py"
ELB_CHECKS = "Elastic Load Balancing checks it with the caller's permissions (its user guide, API permissions)"
KEY = "asked for in tests/permissions/test_key.py"
DEFAULT_KEY = "asked for in tests/aws/test_keys.py; a refusal is a warning"

OTHERWISE = {
    "autoscaling:DescribeWarmPool": "the plugin deletes a group that has a warm pool: test_operations.py",
    "ec2:AttachInternetGateway": STORY,
    "ec2:DetachInternetGateway": STORY,
    "ec2:DescribeAccountAttributes": ELB_CHECKS,
    "ec2:GetEbsDefaultKmsKeyId": DEFAULT_KEY,
    "ec2:GetEbsEncryptionByDefault": DEFAULT_KEY,
    "ec2:GetSecurityGroupsForVpc": ELB_CHECKS,
    "ec2:DisassociateAddress": "an address that something is still associated with, when it is deleted",
    "elasticloadbalancing:DescribeCapacityReservation": "the official plugin reads it (terraform-provider-aws 5.85)",
    "elasticloadbalancing:SetIpAddressType": "network.ipv6 is turned on",
    "elasticloadbalancing:SetSubnets": "network.zones changes before there is a fleet",
    "iam:CreateServiceLinkedRole": "the first load balancer, and the first group, of an account",
    "iam:UntagInstanceProfile": "a tag is taken out of the settings",
    "kms:CreateGrant": KEY,
    "kms:Decrypt": KEY,
    "kms:DisableKeyRotation": "the official plugin turns rotation off with it (terraform-provider-aws, key.go)",
    "kms:EnableKey": "a key that was disabled by hand is enabled again",
    "kms:Encrypt": "sops seals with the stack's key: tests/engine/test_secrets_init.py",
    "kms:GenerateDataKeyWithoutPlaintext": KEY,
    "kms:ListGrants": DEFAULT_KEY,
    "kms:ReEncryptFrom": KEY,
    "kms:ReEncryptTo": KEY,
    "lambda:InvokeFunction": "a hook of a rollout is a Lambda function: tests/rollout/test_hook_runner.py",
    "wafv2:GetWebACL": "GetWebACLForResource shows the web ACL (Service Authorization Reference)",
}
"""Printed actions that neither the plugin nor our own code asks for here, and why they are printed."""

NEVER_CHANGED = {
    "autoscaling:SuspendProcesses": "no group of a stack suspends anything",
    "ec2:DisassociateVpcCidrBlock": "network.ipv6 cannot be turned off",
    "elasticloadbalancing:ModifyTargetGroup": "a change of the health check is another release",
    "iam:DeleteRolePermissionsBoundary": "whoever takes a boundary away needs more than a deployer",
    "iam:UpdateRole": "no role of a stack has a description",
    "kms:DisableKey": "no key of a stack is declared disabled",
}
"""What the plugin asks for in these lives, and in no stack's."""


def test_each_printed_action_is_asked_for(scene: Scene) -> None:
    """The policy would allow what nobody needs."""
    asked = {action for case in CASES for action in scene.actions(case)} | CALLS.keys()
    printed = actions(EVERYTHING, Purpose.DEPLOY) | actions(GUEST, Purpose.DEPLOY)
    assert sorted(printed - asked) == sorted(OTHERWISE)


def test_each_action_that_is_asked_for_is_printed(scene: Scene) -> None:
    """A deploy with the official plugin would stop half-way."""
    asked = {action for case in CASES for action in scene.actions(case)} - TOLERATED
    printed = actions(EVERYTHING, Purpose.DEPLOY) | actions(GUEST, Purpose.DEPLOY)
    assert sorted(asked - printed) == sorted(NEVER_CHANGED)


@pytest.mark.parametrize(
    ("type_name", "role"),
    [
        ("aws:lb/loadBalancer:LoadBalancer", "AWSServiceRoleForElasticLoadBalancing"),
        ("aws:autoscaling/group:Group", "AWSServiceRoleForAutoScaling"),
    ],
)
def test_a_new_account_needs_the_roles_of_aws(scene: Scene, type_name: str, role: str) -> None:
    """The first deploy in a new account would fail, with an error that names nothing."""
    scene.aws("iam").delete_service_linked_role(RoleName=role)
    scene.without("iam:CreateServiceLinkedRole")
    case = next(one for one in CASES if one.type_name == type_name)
    with pytest.raises(grpc.RpcError) as raised:
        live(scene.user, scene.root, case, scene.world)
    assert "not authorized to perform: iam:CreateServiceLinkedRole" in raised.value.details()
    scene.without("none:Nothing")
    live(scene.user, scene.root, case, scene.world)
    assert scene.aws("iam").get_role(RoleName=role)
