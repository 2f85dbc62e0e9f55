"""The policy pack, started by the real engine through our language host."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.aws_plugin.test_real_engine import ROOT, Stack

PROGRAM = """
import json
import pulumi
import pulumi_aws as aws
from pulumi_aws import ec2, vpc

config = pulumi.Config()
services = dict.fromkeys(json.loads(config.require("services")), config.require("endpoint"))
provider = aws.Provider(
    "aws",
    region="us-east-1",
    access_key="local",
    secret_key="local",
    endpoints=[services],
    skip_credentials_validation=True,
    skip_metadata_api_check=True,
)
pulumi.runtime.register_stack_transformation(
    lambda args: pulumi.ResourceTransformationResult(
        args.props, pulumi.ResourceOptions.merge(args.opts, pulumi.ResourceOptions(provider=provider))
    )
    if args.type_.startswith("aws:")
    else None
)
wrong = pulumi.Config().require_bool("wrong")
net = ec2.Vpc("net", cidr_block="10.0.0.0/16")

class Network(pulumi.ComponentResource):
    def __init__(self):
        super().__init__("fleetswap:components:Network", "web")
        child = pulumi.ResourceOptions(parent=self)
        self.front = ec2.SecurityGroup("web-front", vpc_id=net.id, opts=child)
        self.machines = ec2.SecurityGroup("web-machines", vpc_id=net.id, opts=child)
        rule("to-front", self.front.id, child, cidr_ipv4="0.0.0.0/0")
        rule("to-machines", self.machines.id, child, referenced_security_group_id=self.front.id)

def rule(name, group, opts=None, **source):
    vpc.SecurityGroupIngressRule(
        name, security_group_id=group, ip_protocol="tcp", from_port=80, to_port=80, opts=opts, **source
    )

web = Network()
tags = {} if wrong else {"fleetswap:image": "sha256:12", "fleetswap:release": "web-1"}
ami = ec2.Ami("ami", virtualization_type="hvm", root_device_name="/dev/xvda", tags=tags)
ec2.LaunchTemplate(
    "template",
    # An output, which no transformation of the program can look into.
    metadata_options=pulumi.Output.from_input({"http_tokens": "optional" if wrong else "required"}),
    image_id=ami.id,
    block_device_mappings=[
        {"device_name": "/dev/xvda", "ebs": {"volume_size": 8, "encrypted": "false" if wrong else "true"}}
    ],
)
if wrong:
    rule("around", web.machines.id.apply(str), cidr_ipv4="10.0.0.0/8")
"""


@pytest.mark.parametrize("wrong", [True, False])
def test_the_pack_judges_what_the_engine_gets(tmp_path: Path, endpoint: str, engine_bin: Path, *, wrong: bool) -> None:
    """The pack would not start, would miss what only the engine knows, or would refuse what is as it should be."""
    stack = Stack(tmp_path, endpoint, engine_bin, program=PROGRAM)
    stack.config["wrong"] = "true" if wrong else "false"
    told = stack.run("preview", "--policy-pack", str(ROOT / "policy"), expected=1 if wrong else 0)
    assert "can't run policy" not in told
    for policy in ("imdsv2-only", "encrypted-volumes", "ingress-by-the-front", "ami-provenance"):
        assert (policy in told) is wrong
    for said in ("allow IMDSv1", "is not encrypted", "others than the front", "which image it was made of"):
        assert (said in told) is wrong
