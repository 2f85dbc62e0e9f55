"""What the program declares for each example: in a VPC, and on a listener, that somebody else has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleetswap.domain.network.existing import Route, Subnet, Vpc
from fleetswap.domain.rollout.listener import Seen, SeenRule
from tests.program.declared import Around, Credentials, Doors, Program, declare

pytestmark = pytest.mark.nix

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
REGION, ACCOUNT, VPC = "eu-central-1", "111122223333", "vpc-0a1b2c3d4e5f60718"
DATABASE, CLIENTS, BALANCER = "sg-0a1b2c3d4e5f60718", "sg-1a1b2c3d4e5f60718", "sg-2a1b2c3d4e5f60718"
LISTENER = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:listener/app/shared/0123456789abcdef/0123456789abcdef"
LOCAL, OUT = Route("10.0.0.0/16", "local"), Route("0.0.0.0/0", "igw-1")


def subnet(number: int, zone: str, tier: str, *routes: Route) -> Subnet:
    return Subnet(f"subnet-{number:08x}", f"{REGION}{zone}", 200, f"rtb-{tier}", routes, {"tier": tier})


NETWORK = Around(
    existing=Vpc(
        VPC,
        REGION,
        subnets=(
            subnet(1, "a", "private", LOCAL),
            subnet(2, "b", "private", LOCAL),
            subnet(3, "a", "public", LOCAL, OUT),
            subnet(4, "b", "public", LOCAL, OUT),
        ),
        groups={DATABASE: VPC, CLIENTS: VPC},
    )
)
PRIVATE, PUBLIC = ["subnet-00000001", "subnet-00000002"], ["subnet-00000003", "subnet-00000004"]
SEEN = Seen(
    arn=LISTENER,
    protocol="HTTPS",
    port=443,
    kind="application",
    vpc=VPC,
    dns_name="shared.example",
    zone_id="ZSHARED",
    internal=False,
    security_groups=(BALANCER,),
    idle_timeout=60,
    rules=(SeenRule("arn:legacy", 2000, ours=False, paths=("/legacy/*",)),),
)
OWNED = {"Vpc", "Subnet", "InternetGateway", "RouteTable", "Route", "RouteTableAssociation", "NatGateway", "Eip"}
FRONT = {"LoadBalancer", "Listener", "ListenerRule", "ListenerCertificate", "Record", "WebAclAssociation"}


def preview(example: str) -> Program:
    """What the program declares with the settings of an example, as they stand."""
    config = yaml.safe_load((EXAMPLES / example).read_text())["config"]
    assert config.pop("aws:region") == REGION
    given = {
        key.removeprefix("fleetswap:"): value if isinstance(value, str) else json.dumps(value)
        for key, value in config.items()
    }
    credentials = Credentials(account=ACCOUNT)
    return declare(given, region=REGION, stack_name="prod", credentials=credentials, around=NETWORK, fronts=Doors(SEEN))


def kinds(program: Program) -> set[str]:
    return {resource.type.rpartition(":")[2] for resource in program.resources}


def let_out(program: Program) -> dict[str, dict[str, Any]]:
    names = ("securityGroupId", "referencedSecurityGroupId", "fromPort", "toPort")
    found = program.of("SecurityGroupEgressRule")
    return {resource.name: {name: resource.inputs.get(name) for name in names} for resource in found}


def test_an_existing_vpc_and_listener_get_groups_and_rules_alone() -> None:
    """The first deploy into a company's account would make, or change, more than the example says."""
    program = preview("existing-vpc.yaml")
    assert not kinds(program) & (OWNED | FRONT | {"VpcEndpoint"})
    assert program.one("Group").inputs["vpcZoneIdentifiers"] == PRIVATE
    assert [group.name for group in program.of("SecurityGroup")] == ["web-machines"]
    assert let_out(program) == {
        "web-front-to-machines-8080": {
            "securityGroupId": BALANCER,
            "referencedSecurityGroupId": "web-machines-id",
            "fromPort": 8080,
            "toPort": 8080,
        }
    }
    rollout = program.one("Rollout").inputs
    assert rollout["listener"] == LISTENER
    assert rollout["rules"] == {"priorities": [1000, 1019], "hosts": ["www.example.com"]}


def test_two_services_share_a_listener() -> None:
    """One service would take the other's requests, or its priorities."""
    shop, admin = preview("two-services/shop.yaml"), preview("two-services/admin.yaml")
    host = {"hosts": ["shop.example.com"]}
    assert shop.one("Rollout").inputs["rules"] == {"priorities": [1120, 1139], **host}
    narrower = {"priorities": [1100, 1119], **host, "paths": ["/admin", "/admin/*"]}
    assert admin.one("Rollout").inputs["rules"] == narrower
    for program, name in ((shop, "shop"), (admin, "admin")):
        assert program.one("Rollout").inputs["listener"] == LISTENER
        assert not kinds(program) & (OWNED | FRONT)
        assert [group.name for group in program.of("SecurityGroup")] == [f"{name}-machines"]


def test_machines_are_let_out_to_the_database_alone() -> None:
    """The machines could not connect to their database, or could connect to more than the example says."""
    program = preview("database.yaml")
    assert not kinds(program) & OWNED
    assert program.one("LoadBalancer").inputs["subnets"] == PUBLIC
    assert program.one("Group").inputs["vpcZoneIdentifiers"] == PRIVATE
    of_machines = {"securityGroupId": "orders-machines-id", "fromPort": 5432, "toPort": 5432}
    rules = [rule for rule in let_out(program).values() if rule["securityGroupId"] == "orders-machines-id"]
    assert rules == [{**of_machines, "referencedSecurityGroupId": DATABASE}]
    assert CLIENTS in program.one("LaunchTemplate").inputs["vpcSecurityGroupIds"]
