"""The policies on what a program declares: by us, and by a user's program beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks, set_mocks
from pulumi.runtime.mocks import test as with_pulumi

from fleetswap.domain.errors import InputError
from fleetswap_pulumi.policies_settings import PoliciesSettings
from fleetswap_pulumi.resource_checks import check_resources

IMAGE = {"fleetswap:image": "sha256:1234", "fleetswap:release": "web-1"}
METADATA = aws.ec2.LaunchTemplateMetadataOptionsArgs(http_tokens="required")


class Engine(Mocks):
    """Creates what it is asked for, and counts it."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        raise AssertionError(args.token)

    def new_resource(self, args: MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.made.append(args.name)
        return f"{args.name}-id", args.inputs


class Network(pulumi.ComponentResource):
    """As the program's, for its type."""

    def __init__(self) -> None:
        super().__init__("fleetswap:components:Network", "web")
        child = pulumi.ResourceOptions(parent=self)
        self.front = aws.ec2.SecurityGroup("web-front", opts=child)
        self.machines = aws.ec2.SecurityGroup("web-machines", opts=child)


def declare(program: Callable[[], object], settings: PoliciesSettings | None = None) -> list[str]:
    """What a program created; `InputError` if a policy refused something."""
    engine = Engine()
    set_mocks(engine, project="shop", stack="prod", preview=False)

    @with_pulumi  # type: ignore[untyped-decorator] # Pulumi's mocks ship no types for it
    def run() -> None:
        root = pulumi.runtime.get_root_resource()
        assert root is not None
        root._transformations.clear()  # of the run before: the mocks keep the stack
        check_resources(settings or PoliciesSettings())
        program()

    run()
    return engine.made


def template(**changes: Any) -> aws.ec2.LaunchTemplate:
    return aws.ec2.LaunchTemplate("mine", **{"metadata_options": METADATA, **changes})


def ami(**tags: str) -> aws.ec2.Ami:
    return aws.ec2.Ami("mine", tags=tags)


def rule(group: pulumi.Input[str], **source: Any) -> object:
    return aws.vpc.SecurityGroupIngressRule("mine", security_group_id=group, ip_protocol="tcp", **source)


def template_of(volume: Any) -> object:
    return template(block_device_mappings=[{"device_name": "/dev/sda1", "ebs": volume}])


REFUSED = {
    "an instance that answers IMDSv1": (
        lambda: aws.ec2.Instance("mine", root_block_device={"encrypted": True}),
        "allow IMDSv1",
    ),
    "a template that leaves IMDSv1 on": (
        lambda: template(metadata_options={"http_tokens": "optional"}),
        "set metadataOptions.httpTokens to `required`",
    ),
    "a template that says nothing of metadata": (lambda: template(metadata_options=None), "allow IMDSv1"),
    "a volume": (lambda: aws.ebs.Volume("mine", availability_zone="us-east-1a"), "it is not encrypted"),
    "a template's volume": (lambda: template_of({"encrypted": "false"}), "the volume /dev/sda1 is not encrypted"),
    "a template's volume, typed": (
        lambda: template_of(aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(volume_size=8)),
        "the volume /dev/sda1 is not encrypted",
    ),
    "an instance's root": (
        lambda: aws.ec2.Instance("mine", metadata_options={"http_tokens": "required"}),
        "the root volume is not encrypted",
    ),
    "an instance's second volume": (
        lambda: aws.ec2.Instance(
            "mine",
            metadata_options={"http_tokens": "required"},
            root_block_device={"encrypted": True},
            ebs_block_devices=[{"device_name": "/dev/sdb"}],
        ),
        "the volume /dev/sdb is not encrypted",
    ),
    "a database that is open to anyone": (lambda: rule("sg-1", cidr_ipv4="0.0.0.0/0"), "lets 0.0.0.0/0 in"),
    "a database that is open to anyone in IPv6": (lambda: rule("sg-1", cidr_ipv6="::/0"), "lets ::/0 in"),
    "the same, inline": (
        lambda: aws.ec2.SecurityGroup(
            "mine", ingress=[{"protocol": "-1", "from_port": 0, "to_port": 0, "cidr_blocks": ["0.0.0.0/0"]}]
        ),
        "lets 0.0.0.0/0 in",
    ),
    "the same, in the older resource": (
        lambda: aws.ec2.SecurityGroupRule(
            "mine",
            type="ingress",
            security_group_id="sg-1",
            protocol="tcp",
            from_port=1,
            to_port=2,
            cidr_blocks=["0.0.0.0/0"],
        ),
        "lets 0.0.0.0/0 in",
    ),
    "a way around the front": (
        lambda: rule(Network().machines.id, cidr_ipv4="10.0.0.0/8"),
        "only the load balancer's group may",
    ),
    "another group's way around the front": (
        lambda: rule(Network().machines.id, referenced_security_group_id="sg-2"),
        "only the load balancer's group may",
    ),
    "an AMI of unknown origin": (lambda: ami(), "does not say which image it was made of"),
    "an AMI whose image is a word": (
        lambda: ami(**{**IMAGE, "fleetswap:image": "latest"}),
        "does not say which image it was made of",
    ),
    "an AMI of no release": (lambda: ami(**{"fleetswap:image": "/nix/store/x"}), "which release it belongs to"),
    "an AMI of an instance": (
        lambda: aws.ec2.AmiFromInstance("mine", source_instance_id="i-1"),
        "what a copied AMI contains is not known",
    ),
    "a template of somebody's AMI": (lambda: template(image_id="ami-1"), "what ami-1 contains is not known"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_violation_is_refused_before_it_is_created(case: str) -> None:
    """A user's program beside ours would open the machines, or leave its disks readable."""
    program, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as raised:
        declare(program)
    assert str(raised.value).startswith("mine (aws:")


ALLOWED: dict[str, Callable[[], object]] = {
    "IMDSv2 alone": template,
    "no metadata at all": lambda: template(metadata_options={"http_endpoint": "disabled"}),
    "an encrypted volume": lambda: template_of({"encrypted": "true"}),
    "what a template says": lambda: aws.ec2.Instance("mine", launch_template={"name": "other"}),
    "a network by name": lambda: rule("sg-1", cidr_ipv4="10.0.0.0/8"),
    "anyone, at the front": lambda: rule(Network().front.id, cidr_ipv4="0.0.0.0/0"),
    "the way out": lambda: aws.vpc.SecurityGroupEgressRule(
        "mine", security_group_id="sg-1", ip_protocol="-1", cidr_ipv4="0.0.0.0/0"
    ),
    "an AMI that says what it is": lambda: template(image_id=ami(**IMAGE).id),
    "what is not known yet": lambda: template(metadata_options=pulumi.Output.from_input({"http_tokens": "optional"})),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_what_violates_nothing_is_declared(case: str) -> None:
    """A policy would stop deploys that are as they should be."""
    assert "mine" in declare(ALLOWED[case])


def test_the_front_reaches_the_machines() -> None:
    """The rule that the network itself declares would be refused."""

    def program() -> None:
        network = Network()
        rule(network.machines.id, referenced_security_group_id=network.front.id)

    assert "mine" in declare(program)


def test_enforcement_and_exemptions_are_settings(caplog: pytest.LogCaptureFixture) -> None:
    """A company whose bastion must be as it is could not deploy at all."""

    def program() -> None:
        aws.ebs.Volume("mine", availability_zone="us-east-1a")

    for settings in ({"enforcement": "disabled"}, {"exempt": ("mine",)}, {"enforcement": "advisory"}):
        assert declare(program, PoliciesSettings.model_validate(settings)) == ["mine"]
    assert "mine (aws:ebs/volume:Volume): it is not encrypted" in caplog.text
    with pytest.raises(InputError):
        declare(program, PoliciesSettings(exempt=("other",)))
