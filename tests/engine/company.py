"""A company's AWS account on the local cloud, and stacks of the examples that are deployed into it.

What the company has is made with plain clients, as another team would have made it: a VPC, a load balancer with rules
of others, a database's security group. `Company.all` is everything of it, to be compared before and after.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.config import Config

from tests.e2e.stack import ROOT, Ran, engine_folder, run_printed
from tools.local.config import SALT
from tools.local.process import environment
from tools.local.work import PROJECT, Work

LISTENER_PORT = 8383
CIDR = "10.79.0.0/16"
LOCAL: dict[str, dict[str, Any]] = {
    "capacity": {"min": 1, "max": 2},
    "health": {"drain": 5, "grace": 60},
    "machine": {"instance_types": ["c7i.large", "c7a.large"], "on_demand_base": 1},
    "rollout": {
        "strategy": "all-at-once",
        "bake": 0,
        "deadline": 240,
        "readings": 2,
        "interval": 0.5,
        "convergence": 4,
    },
}
"""What the local cloud needs, or a test to be quick: laid over the settings of an example, which has the rest."""

NIX = {"sandbox": "false", "substitute": "false", "build-users-group": ""}


@dataclass
class Cloud:
    """A local cloud, and the work folder that stacks on it share."""

    folder: Path
    endpoint: str

    @property
    def work(self) -> Work:
        """Where the states of the stacks are."""
        return Work(ROOT, self.folder)

    def client(self, service: str) -> Any:
        """A client of whoever works for the company."""
        make: Any = boto3.client  # the stubs know literal names only
        return make(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 - no secret: the local cloud takes anything
            config=Config(retries={"mode": "standard", "total_max_attempts": 10}),
        )


@dataclass
class Company:
    """What exists before the first stack."""

    cloud: Cloud
    port: int = LISTENER_PORT
    ids: dict[str, str] = field(default_factory=dict)

    @cached_property
    def ec2(self) -> Any:
        """The client of EC2."""
        return self.cloud.client("ec2")

    @cached_property
    def elbv2(self) -> Any:
        """The client of ELBv2."""
        return self.cloud.client("elbv2")

    def build(self) -> None:
        """Make all of it."""
        vpc = self.ec2.create_vpc(CidrBlock=CIDR)["Vpc"]["VpcId"]
        self.ids["vpc"] = vpc
        self.ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        tables = {tier: self.ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"] for tier in TIERS}
        self.ec2.create_route(RouteTableId=tables["public"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        for number, (tier, zone) in enumerate((tier, zone) for tier in TIERS for zone in "ab"):
            subnet = self.ec2.create_subnet(
                VpcId=vpc,
                CidrBlock=f"10.79.{16 * number}.0/20",
                AvailabilityZone=f"us-east-1{zone}",
                TagSpecifications=[{"ResourceType": "subnet", "Tags": [{"Key": "tier", "Value": tier}]}],
            )["Subnet"]["SubnetId"]
            self.ec2.associate_route_table(RouteTableId=tables[tier], SubnetId=subnet)
            self.ids[f"{tier}-{zone}"] = subnet
        self._groups(vpc)
        self._balancer()

    def _groups(self, vpc: str) -> None:
        """The load balancer's, the database's, and that of the database's clients."""
        for name in ("balancer", "database", "clients"):
            made = self.ec2.create_security_group(GroupName=name, Description=f"the {name}", VpcId=vpc)
            self.ids[name] = made["GroupId"]
        anyone = [{"CidrIp": "0.0.0.0/0"}]
        open_port = {"IpProtocol": "tcp", "FromPort": self.port, "ToPort": self.port, "IpRanges": anyone}
        self.ec2.authorize_security_group_ingress(GroupId=self.ids["balancer"], IpPermissions=[open_port])
        clients = [{"GroupId": self.ids["clients"]}]
        served = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": clients}
        self.ec2.authorize_security_group_ingress(GroupId=self.ids["database"], IpPermissions=[served])
        # The load balancer of this company reaches nothing but what it is told to.
        for name in ("balancer", "clients"):
            (group,) = self.ec2.describe_security_groups(GroupIds=[self.ids[name]])["SecurityGroups"]
            self.ec2.revoke_security_group_egress(GroupId=self.ids[name], IpPermissions=group["IpPermissionsEgress"])

    def _balancer(self) -> None:
        """A load balancer with a default action and two rules of other teams."""
        balancer = self.elbv2.create_load_balancer(
            Name="shared",
            Subnets=[self.ids["public-a"], self.ids["public-b"]],
            SecurityGroups=[self.ids["balancer"]],
            Tags=[{"Key": "team", "Value": "platform"}],
        )["LoadBalancers"][0]
        self.ids |= {"load balancer": balancer["LoadBalancerArn"], "address": balancer["DNSName"]}
        self.elbv2.modify_load_balancer_attributes(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Attributes=[{"Key": "idle_timeout.timeout_seconds", "Value": str(LOCAL["health"]["drain"])}],
        )
        listener = self.elbv2.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Port=self.port,
            Protocol="HTTP",
            DefaultActions=[fixed("404", "nobody's\n")],
        )["Listeners"][0]["ListenerArn"]
        self.ids["listener"] = listener
        for priority, path, text in ((10, "/status", "platform\n"), (2000, "/legacy/*", "legacy\n")):
            self.elbv2.create_rule(
                ListenerArn=listener,
                Priority=priority,
                Conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": [path]}}],
                Actions=[fixed("200", text)],
                Tags=[{"Key": "team", "Value": "platform"}],
            )

    def all(self) -> dict[str, Any]:
        """Everything in the account but its instances, as the describe calls return it."""
        vpc = [{"Name": "vpc-id", "Values": [self.ids["vpc"]]}]
        balancer, listener = self.ids["load balancer"], self.ids["listener"]
        ec2, elbv2 = self.ec2, self.elbv2
        groups = ec2.describe_security_groups(Filters=vpc)["SecurityGroups"]
        iam = self.cloud.client("iam")
        balancers = elbv2.describe_load_balancers()["LoadBalancers"]
        return {
            "vpcs": ec2.describe_vpcs()["Vpcs"],
            # How many addresses are free changes with every machine.
            "subnets": without(ec2.describe_subnets()["Subnets"], "AvailableIpAddressCount"),
            "route tables": ec2.describe_route_tables()["RouteTables"],
            "internet gateways": ec2.describe_internet_gateways()["InternetGateways"],
            "acls": ec2.describe_network_acls()["NetworkAcls"],
            "nat gateways": ec2.describe_nat_gateways()["NatGateways"],
            "endpoints": ec2.describe_vpc_endpoints()["VpcEndpoints"],
            "interfaces": ec2.describe_network_interfaces()["NetworkInterfaces"],
            # Their rules are compared one by one, below.
            "security groups": without(groups, "IpPermissions", "IpPermissionsEgress"),
            "security group rules": ec2.describe_security_group_rules()["SecurityGroupRules"],
            "load balancers": balancers,
            "attributes": elbv2.describe_load_balancer_attributes(LoadBalancerArn=balancer)["Attributes"],
            "listeners": [
                listener
                for each in balancers
                for listener in elbv2.describe_listeners(LoadBalancerArn=each["LoadBalancerArn"])["Listeners"]
            ],
            "rules": elbv2.describe_rules(ListenerArn=listener)["Rules"],
            "tags": elbv2.describe_tags(ResourceArns=[balancer, listener])["TagDescriptions"],
            "target groups": elbv2.describe_target_groups()["TargetGroups"],
            "templates": ec2.describe_launch_templates()["LaunchTemplates"],
            "groups": self.cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"],
            # Service-linked roles are AWS's, and stay.
            "roles": [role for role in iam.list_roles()["Roles"] if not role["Path"].startswith("/aws-service-role/")],
            "instance profiles": iam.list_instance_profiles()["InstanceProfiles"],
            "images": ec2.describe_images(Owners=["self"])["Images"],
            "snapshots": ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"],
            "alarms": self.cloud.client("cloudwatch").describe_alarms()["MetricAlarms"],
            "schedules": self.cloud.client("scheduler").list_schedules()["Schedules"],
        }


TIERS = ("private", "public")


def without(items: list[dict[str, Any]], *keys: str) -> list[dict[str, Any]]:
    """The items without these members."""
    return [{key: value for key, value in item.items() if key not in keys} for item in items]


def fixed(status: str, text: str) -> dict[str, Any]:
    """An action that responds by itself."""
    response = {"StatusCode": status, "ContentType": "text/plain", "MessageBody": text}
    return {"Type": "fixed-response", "FixedResponseConfig": response}


def added(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What is there in addition, kind by kind; raises AssertionError if anything of before is changed or missing."""
    found: dict[str, list[Any]] = {}
    for kind, items in before.items():
        missing = [item for item in items if item not in after[kind]]
        assert missing == [], (kind, missing, after[kind])
        found[kind] = [item for item in after[kind] if item not in items]
    return {kind: items for kind, items in found.items() if items}


def settings(example: str, company: Company) -> dict[str, Any]:
    """The configuration of an example with the company's IDs in the place of the invented ones, for the local cloud."""
    text = (ROOT / "examples" / example).read_text()
    for invented, name in INVENTED.items():
        text = re.sub(invented, company.ids[name], text)
    config: dict[str, Any] = yaml.safe_load(text)["config"]
    config |= {"aws:region": "us-east-1", f"{PROJECT}:endpoint": company.cloud.endpoint}
    config[f"{PROJECT}:image"]["nix"]["options"] = NIX
    for key, value in LOCAL.items():
        config[f"{PROJECT}:{key}"] = config.get(f"{PROJECT}:{key}", {}) | value
    return config


INVENTED = {
    r"vpc-0a1b2c3d4e5f60718": "vpc",
    r"sg-0a1b2c3d4e5f60718": "database",
    r"sg-1a1b2c3d4e5f60718": "clients",
    r"arn:aws:elasticloadbalancing:[^\"\s]+:listener/[^\"\s]+": "listener",
}
"""What stands for the company's own in the examples."""


EXAMPLES = {
    "web": "existing-vpc.yaml",
    "shop": "two-services/shop.yaml",
    "admin": "two-services/admin.yaml",
    "orders": "database.yaml",
}
"""The examples, by the names of their stacks."""

OURS = {
    "interfaces",
    "security groups",
    "security group rules",
    "load balancers",
    "listeners",
    "rules",
    "target groups",
}
OURS |= {"templates", "groups", "roles", "instance profiles", "images", "snapshots", "alarms"}
"""Kinds of which a stack in an existing VPC adds something."""


def deployments(company: Company) -> dict[str, Deployment]:
    """A stack for each example, not deployed yet."""
    made = {name: Deployment(name, company.cloud, settings(file, company)) for name, file in EXAMPLES.items()}
    made["orders"].config[f"{PROJECT}:front"] = {"port": company.port}
    made["orders"].write()
    return made


def check_added(company: Company, before: Mapping[str, Any]) -> None:
    """See that `web` and `orders` have added what the guides say, and changed nothing."""
    new = added(before, company.all())
    assert set(new) <= OURS
    assert len(new["load balancers"]) == len(new["listeners"]) == 1
    assert {1000 <= int(rule["Priority"]) <= 1019 for rule in new["rules"]} == {True}
    private = {company.ids["private-a"], company.ids["private-b"]}
    assert [set(group["VPCZoneIdentifier"].split(",")) for group in new["groups"]] == [private, private]
    # In groups that the company had, there is one rule more: the load balancer may reach the machines.
    known = {group["GroupId"] for group in before["security groups"]}
    (in_theirs,) = (rule for rule in new["security group rules"] if rule["GroupId"] in known)
    assert (in_theirs["GroupId"], in_theirs["IsEgress"]) == (company.ids["balancer"], True)


def priorities(company: Company, first: int) -> list[int]:
    """The priorities of the 20 from `first` that rules of the listener have."""
    rules = company.elbv2.describe_rules(ListenerArn=company.ids["listener"])["Rules"]
    return [int(rule["Priority"]) for rule in rules if rule["Priority"] in {str(first + n) for n in range(20)}]


@dataclass
class Deployment:
    """One stack of the program, with a settings file of its own."""

    name: str
    cloud: Cloud
    config: dict[str, Any]

    def __post_init__(self) -> None:
        folder = self.cloud.folder / self.name
        folder.mkdir()
        self._file = folder / f"Pulumi.{self.name}.yaml"
        # `stack init` writes beside a Pulumi.yaml, which must not be the committed one.
        (folder / "Pulumi.yaml").write_text(f"name: {PROJECT}\nruntime: python\n")
        self.write()
        self.cloud.work.state.mkdir(parents=True, exist_ok=True)
        made = self._pulumi(["stack", "init", self.name, "--non-interactive"], cwd=folder)
        assert made.status == 0, made.said
        self.write()

    def write(self) -> None:
        """Write the settings; call it again after a change of `config`."""
        self._file.write_text(yaml.safe_dump({"encryptionsalt": SALT, "config": self.config}, sort_keys=False))

    def _pulumi(self, words: list[str], cwd: Path = ROOT) -> Ran:
        env = environment(self.cloud.work, os.environ, engine=self._engine)
        return run_printed(["pulumi", *words], cwd=cwd, env=env, seconds=400)

    @cached_property
    def _engine(self) -> Path:
        return engine_folder()

    def run(self, verb: str) -> Ran:
        """Run `pulumi VERB` to its end, as a person does who has reviewed its preview."""
        words = {"up": ["--yes", "--skip-preview"], "destroy": ["--yes", "--skip-preview"], "preview": []}[verb]
        words += ["--stack", self.name, "--config-file", str(self._file), "--non-interactive", "--suppress-progress"]
        return self._pulumi([verb, *words])

    def outputs(self) -> dict[str, Any]:
        """The outputs of the stack."""
        ran = self._pulumi(["stack", "output", "--json", "--show-secrets", "--stack", self.name, "--non-interactive"])
        found: dict[str, Any] = json.loads(ran.said)
        return found


def together(*deployments: Deployment, verb: str) -> Iterator[Ran]:
    """Run a verb on several stacks at once, as their teams do; the result of each in order."""
    with ThreadPoolExecutor(len(deployments)) as pool:
        yield from pool.map(lambda deployment: deployment.run(verb), deployments)
