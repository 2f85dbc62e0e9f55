"""What of a stack decides its permissions, and how its resources are called in a policy.

Out of the settings alone: what exists is not looked at. The ARNs are those of the Service Authorization Reference.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleetswap.domain import tags
from fleetswap.domain.partition import EVERYWHERE, Partition
from fleetswap.domain.permissions.statement import Conditions
from fleetswap.domain.share import NOBODY, Share

ACCOUNTLESS = frozenset({"image", "snapshot"})
"""Types of EC2 whose ARNs have no account (Service Authorization Reference, Amazon EC2)."""


@dataclass(frozen=True)
class Scope:
    """One stack. What is not set is not used by it, and nothing is allowed for it."""

    account: str
    region: str
    stack: str
    """`project/stack`, as in the tag."""
    service: str
    partition: str = "aws"
    suffix: str = EVERYWHERE
    """How the names of the partition's hosts end."""
    path: str = "/"
    """Path of the roles and instance profiles."""
    boundary: str | None = None
    """ARN of the permissions boundary of every role."""
    machine_policies: tuple[str, ...] = ()
    """ARNs of the managed policies of the machines' role."""
    trusted_stacks: tuple[str, ...] = ()
    trusted_accounts: tuple[str, ...] = ()
    """Other accounts whose shared snapshots are copied."""
    share: Share = NOBODY
    """Whom AMIs and snapshots are shared with."""
    vpc: str | None = None
    """ID of an existing VPC; None: the stack has its own."""
    nat: bool = False
    endpoints: bool = False
    ipv6: bool = False
    prefix_lists: tuple[str, ...] = ()
    listener: str | None = None
    """ARN of an existing listener; None: the stack has a load balancer of its own."""
    certificates: bool = False
    """Whether the listener has more than one."""
    domain: str | None = None
    """The name of the alias record, as Route 53 normalizes it: in lower case, without the last dot."""
    zone_id: str | None = None
    """The hosted zone of `domain`; None: it is found by its name."""
    web_acl: str | None = None
    alerts: str | None = None
    """ARN of an SNS topic."""
    functions: tuple[str, ...] = ()
    """Lambda functions that hooks invoke: names, with or without a version or alias, or ARNs."""
    alarms: bool = False
    """Whether a rollout watches alarms."""
    watched: bool = False
    """Whether the stack has alarms of its own."""
    own_topic: bool = False
    """Whether it makes the topic that they notify."""
    dashboard: str | None = None
    """The name of its dashboard."""
    keys: tuple[str, ...] = ()
    """ARNs of the existing customer managed KMS keys that encrypt snapshots and volumes."""
    volume_key: bool = False
    """Whether the stack makes a key for snapshots and volumes."""
    secrets: bool = False
    """Whether machines open sealed secrets."""
    secrets_key: str | None = None
    """ARN of the existing key that they are sealed with, if it is not the stack's own."""
    secrets_stack_key: bool = False
    """Whether the stack makes a key for secrets."""
    replica_regions: tuple[str, ...] = ()
    """Regions with a replica of the key of secrets."""

    @property
    def makes_keys(self) -> bool:
        """Whether the stack makes any KMS key."""
        return self.volume_key or self.secrets_stack_key

    def host(self, service: str) -> str:
        """The host of a service in the stack's region, as `kms:ViaService` has it."""
        return Partition(self.partition, self.suffix).host(service, self.region)

    def ec2(self, *kinds: str) -> tuple[str, ...]:
        """All resources of these types of EC2; a name behind a slash is that of one resource."""
        arns = []
        for kind in kinds:
            name, _, resource = kind.partition("/")
            account = "" if name in ACCOUNTLESS else self.account
            arns.append(f"arn:{self.partition}:ec2:{self.region}:{account}:{name}/{resource or '*'}")
        return tuple(arns)

    def elb(self, *paths: str) -> tuple[str, ...]:
        """Resources of Elastic Load Balancing."""
        return tuple(f"arn:{self.partition}:elasticloadbalancing:{self.region}:{self.account}:{path}" for path in paths)

    @property
    def balancers(self) -> tuple[str, ...]:
        """The load balancers of the stack's own."""
        return self.elb(f"loadbalancer/app/{self.service}-*/*")

    @property
    def target_groups(self) -> tuple[str, ...]:
        """The target groups: their names begin with the service's."""
        return self.elb(f"targetgroup/{self.service}-*/*")

    @property
    def listeners(self) -> tuple[str, ...]:
        """The listeners that the stack's rules are on."""
        return (self.listener,) if self.listener else self.elb(f"listener/app/{self.service}-*/*/*")

    @property
    def rules(self) -> tuple[str, ...]:
        """All rules of those listeners: the ARN of a rule is its listener's, with another word in it."""
        if self.listener:
            return (f"{self.listener.replace(':listener/', ':listener-rule/')}/*",)
        return self.elb(f"listener-rule/app/{self.service}-*/*/*/*")

    @property
    def groups(self) -> tuple[str, ...]:
        """The auto scaling groups."""
        where = f"arn:{self.partition}:autoscaling:{self.region}:{self.account}:autoScalingGroup"
        return (f"{where}:*:autoScalingGroupName/{self.service}-*",)

    @property
    def schedules(self) -> tuple[str, ...]:
        """The dead man's switches (`fleetswap.aws.rollout.switch` names them)."""
        where = f"arn:{self.partition}:scheduler:{self.region}:{self.account}:schedule/default"
        return (f"{where}/fleetswap-{self.service}-*",)

    def roles(self, name: str = "*") -> tuple[str, ...]:
        """The roles of the stack."""
        return (self._identity("role", name),)

    @property
    def profiles(self) -> tuple[str, ...]:
        """The instance profiles."""
        return (self._identity("instance-profile", "*"),)

    def _identity(self, kind: str, name: str) -> str:
        return f"arn:{self.partition}:iam::{self.account}:{kind}{self.path}{self.service}-{name}"

    def linked_role(self, service: str, name: str) -> str:
        """The ARN of a service-linked role."""
        return f"arn:{self.partition}:iam::{self.account}:role/aws-service-role/{service}/{name}"

    @property
    def ec2_principal(self) -> str:
        """EC2 as a principal."""
        return Partition(self.partition, self.suffix).principal("ec2")

    @property
    def made(self) -> Conditions:
        """Only what is tagged as this stack's in the request that makes it."""
        return {"StringEquals": {f"aws:RequestTag/{tags.STACK}": self.stack}}

    @property
    def made_anew(self) -> Conditions:
        """The same where AWS does not say in which request it is: and never the resources of another stack."""
        return {**self.made, "StringEqualsIfExists": {f"aws:ResourceTag/{tags.STACK}": self.stack}}

    @property
    def own(self) -> Conditions:
        """Only what has the tag of this stack."""
        return {"StringEquals": {f"aws:ResourceTag/{tags.STACK}": self.stack}}
