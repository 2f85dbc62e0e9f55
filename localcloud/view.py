"""What the control plane wants to run, read from moto in one go: instances, load balancers, target groups.

Decides what follows from security groups for load balancers (who reaches whom) and where on this machine an instance
listens. Never changes anything; `read` copies, so that the machines can work without `LOCK`.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.elbv2.ssl_policies import SSL_POLICIES

from localcloud.elbv2 import certificates, targets
from localcloud.moto_state import LOCK, Moto, backend

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Permission:
    """One rule of a security group: TCP ports `first` to `last`, and who: a group or a CIDR block."""

    first: int
    last: int
    group: str | None = None
    cidr: str | None = None

    def lets(self, port: int, *, groups: Iterable[str], networks: Iterable[str]) -> bool:
        """Whether the rule lets traffic at `port` pass from or to one of these groups or networks."""
        if not self.first <= port <= self.last:
            return False
        if self.group is not None:
            return self.group in groups
        return self.cidr is not None and any(
            ip_network(self.cidr).overlaps(ip_network(network)) for network in networks
        )


@dataclass(frozen=True)
class SecurityGroup:
    """What a security group lets in and out."""

    id: str
    ingress: tuple[Permission, ...] = ()
    egress: tuple[Permission, ...] = ()


@dataclass(frozen=True)
class Root:
    """The root volume of an instance, how its firmware starts it, whether it has a TPM, and whether it is for Arm."""

    snapshot_id: str
    size_gib: int
    encrypted: bool
    uefi: bool
    tpm: bool = False
    arm: bool = False


@dataclass(frozen=True)
class Instance:
    """An instance that EC2 shows. `root` is None for an AMI that is not ours. `launched` is seconds since the epoch."""

    id: str
    state: str
    private_ip: str
    groups: tuple[str, ...]
    root: Root | None = None
    launched: float = 0.0
    auto_scaling_group: str | None = None
    mac: str = "0a:00:00:00:00:01"

    @property
    def address(self) -> str:
        """Where it listens on this machine: 127.a.b.c for the private address 10.a.b.c."""
        return "127." + self.private_ip.split(".", 1)[1]


@dataclass(frozen=True)
class HealthCheck:
    """A target group's health check (API reference: CreateTargetGroup). `port` None is the target's own.

    `codes` are of HTTP, or of gRPC if `version`, the target group's, is GRPC.
    """

    path: str = "/"
    port: int | None = None
    interval: float = 30.0
    timeout: float = 5.0
    healthy: int = 5
    unhealthy: int = 2
    codes: str = "200"
    protocol: str = "HTTP"
    version: str = "HTTP1"


@dataclass(frozen=True)
class TargetGroup:
    """A target group; `targets` are registered, `draining` no longer, with the monotonic time their draining ends."""

    arn: str
    port: int
    check: HealthCheck
    protocol: str = "HTTP"
    version: str = "HTTP1"
    target_type: str = "instance"
    targets: Mapping[str, int] = field(default_factory=dict)
    draining: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """A listener's rule, with conditions and actions as the ELBv2 API has them. The default rule has no conditions."""

    conditions: tuple[Mapping[str, Any], ...]
    actions: tuple[Mapping[str, Any], ...]

    @property
    def target_groups(self) -> tuple[str, ...]:
        """ARNs of the target groups that the rule forwards to, whatever their weight."""
        return tuple(arn for action in self.actions if action["Type"] == "forward" for arn, _ in forwards(action))


@dataclass(frozen=True)
class Listener:
    """A listener with its rules in the order in which they are tried, the default last.

    `attributes` are its load balancer's. `certificates` are PEM texts with their keys, the default one first;
    `protocols` and `ciphers` are those of its TLS policy.
    """

    arn: str
    address: str
    port: int
    protocol: str
    rules: tuple[Rule, ...]
    groups: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    idle_timeout: int = 60
    attributes: Mapping[str, str] = field(default_factory=dict)
    certificates: tuple[str, ...] = field(default=(), repr=False)
    protocols: tuple[str, ...] = ()
    ciphers: tuple[str, ...] = ()


@dataclass(frozen=True)
class AutoScalingGroup:
    """What health replacement needs of an auto scaling group; `members` are the instances in service."""

    name: str
    health_check_type: str
    grace_seconds: float
    target_groups: tuple[str, ...]
    members: frozenset[str]
    suspended: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Cloud:
    """Everything at one moment."""

    instances: Mapping[str, Instance] = field(default_factory=dict)
    security_groups: Mapping[str, SecurityGroup] = field(default_factory=dict)
    target_groups: Mapping[str, TargetGroup] = field(default_factory=dict)
    listeners: Mapping[str, Listener] = field(default_factory=dict)
    groups: Mapping[str, AutoScalingGroup] = field(default_factory=dict)
    image_snapshots: frozenset[str] = frozenset()

    def reaches(self, listener: Listener, instance: Instance, port: int) -> bool:
        """Whether the security groups let the load balancer out to the instance, and in at its port."""
        out = any(
            permission.lets(port, groups=instance.groups, networks=(instance.private_ip,))
            for permission in self._permissions(listener.groups, "egress")
        )
        return out and any(
            permission.lets(port, groups=listener.groups, networks=listener.networks)
            for permission in self._permissions(instance.groups, "ingress")
        )

    def clients(self, listener: Listener) -> frozenset[str]:
        """The CIDR blocks to which the load balancer's security groups open the listener's port."""
        return frozenset(
            permission.cidr
            for permission in self._permissions(listener.groups, "ingress")
            if permission.cidr is not None and permission.first <= listener.port <= permission.last
        )

    def _permissions(self, groups: Iterable[str], side: str) -> list[Permission]:
        known = (self.security_groups[group] for group in groups if group in self.security_groups)
        return [permission for group in known for permission in getattr(group, side)]


def forwards(action: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Target groups and weights of a forward action (API reference: Action, ForwardActionConfig)."""
    entries = (action.get("ForwardConfig") or {}).get("TargetGroups") or []
    if entries:
        return [(entry["TargetGroupArn"], int(entry.get("Weight", 1))) for entry in entries]
    return [(action["TargetGroupArn"], 1)]


def read() -> Cloud:
    """Everything that moto holds now. Takes `LOCK`."""
    with LOCK:
        ec2, elbv2, autoscaling = backend("ec2"), backend("elbv2"), backend("autoscaling")
        return Cloud(
            instances={
                instance.id: _instance(ec2, instance)
                for reservation in ec2.reservations.values()
                for instance in reservation.instances
            },
            security_groups={
                group.id: SecurityGroup(group.id, _rules(group.ingress_rules), _rules(group.egress_rules))
                for groups in ec2.groups.values()
                for group in groups.values()
            },
            target_groups={group.arn: _target_group(group) for group in elbv2.target_groups.values()},
            listeners={
                listener.arn: _listener(balancer, listener)
                for balancer in elbv2.load_balancers.values()
                for listener in balancer.listeners.values()
            },
            groups={group.name: _group(group) for group in autoscaling.autoscaling_groups.values()},
            image_snapshots=frozenset(
                mapping["Ebs"]["SnapshotId"]
                for image in ec2.amis.values()
                for mapping in image.block_device_mappings
                if mapping.get("Ebs", {}).get("SnapshotId")
            ),
        )


def target_group(arn: str) -> tuple[TargetGroup, bool, Mapping[str, str]] | None:
    """A target group, whether a load balancer uses it, and the states of its targets' instances. Takes `LOCK`."""
    with LOCK:
        group = backend("elbv2").target_groups.get(arn)
        if group is None:
            return None
        instances = {target_id: backend("ec2").get_instance_by_id(target_id) for target_id in group.targets}
        states = {target_id: instance.state if instance else "terminated" for target_id, instance in instances.items()}
        return _target_group(group), bool(group.load_balancer_arns), states


def _instance(ec2: Moto, instance: Moto) -> Instance:
    group = getattr(instance, "autoscaling_group", None)
    return Instance(
        id=instance.id,
        state=instance.state,
        private_ip=instance.private_ip or "0.0.0.0",  # noqa: S104 - an instance without an interface listens nowhere
        groups=tuple(dict.fromkeys(g.id for g in instance.security_groups)),
        root=_root(ec2, instance),
        launched=instance.launch_time.timestamp(),
        auto_scaling_group=None if group is None else group.name,
        mac=instance.nics[0].mac_address if instance.nics else Instance.mac,
    )


def _root(ec2: Moto, instance: Moto) -> Root | None:
    image = ec2.amis.get(instance.image_id)
    device = instance.block_device_mapping.get(instance.root_device_name)
    volume = ec2.volumes.get(device.volume_id) if device is not None else None
    if image is None or volume is None or volume.snapshot_id is None:
        return None
    mode = getattr(image, "boot_mode", None)
    # With uefi-preferred, an instance type without UEFI boots as with a BIOS (EC2 user guide, "Boot modes").
    has_uefi = "uefi" in INSTANCE_TYPES.get(instance.instance_type, {}).get("SupportedBootModes", ["uefi"])
    uefi = mode == "uefi" or (mode == "uefi-preferred" and has_uefi)
    has_tpm = uefi and getattr(image, "tpm_support", None) == "v2.0"
    is_arm = image.architecture == "arm64"
    return Root(volume.snapshot_id, int(volume.size), bool(volume.encrypted), uefi, has_tpm, is_arm)


def _rules(rules: Iterable[Moto]) -> tuple[Permission, ...]:
    found = []
    for rule in rules:
        if rule.ip_protocol not in {"tcp", "-1"}:
            continue
        first, last = (0, 65_535) if rule.ip_protocol == "-1" else (rule.from_port, rule.to_port)
        cidr = (rule.ip_range or {}).get("CidrIp")
        group = (rule.source_group or {}).get("GroupId")
        if cidr or group:
            found.append(Permission(first, last, group, None if group else cidr))
    return tuple(found)


def _target_group(group: Moto) -> TargetGroup:
    check_port = group.health_check_port
    matcher = getattr(group, "matcher", None) or {}
    version = group.protocol_version or "HTTP1"
    return TargetGroup(
        arn=group.arn,
        port=int(group.port or 0),
        protocol=group.protocol or "",
        version=version,
        target_type=group.target_type,
        check=HealthCheck(
            path=group.health_check_path or "/",
            port=None if check_port in {None, "traffic-port"} else int(check_port),
            interval=float(group.health_check_interval_seconds),
            timeout=float(group.health_check_timeout_seconds),
            healthy=int(group.healthy_threshold_count),
            unhealthy=int(group.unhealthy_threshold_count),
            codes=matcher.get("GrpcCode") or matcher.get("HttpCode") or "200",
            protocol=group.health_check_protocol or "",
            version=version,
        ),
        targets={target["Id"]: int(target["Port"]) for target in group.targets.values()},
        draining={
            target_id: (int(group.deregistered_targets.get(target_id, {}).get("Port", group.port)), until)
            for target_id, until in targets.draining(group).items()
        },
        attributes={name: str(value) for name, value in group.attributes.items()},
    )


def _listener(balancer: Moto, listener: Moto) -> Listener:
    numbered = [rule for rule in listener.rules.values() if not rule.is_default]
    default = [rule for rule in listener.rules.values() if rule.is_default]
    rules = (*sorted(numbered, key=lambda rule: int(rule.priority)), *default)
    policy = SSL_POLICIES.get(listener.ssl_policy, {}) if listener.protocol == "HTTPS" else {}
    return Listener(
        arn=listener.arn,
        address=balancer.dns_name,
        port=int(listener.port),
        protocol=listener.protocol,
        rules=tuple(
            # A default rule's actions are the listener's: ModifyListener changes those.
            Rule(
                tuple(dict(condition) for condition in rule.conditions),
                tuple(dict(action.data) for action in (listener.default_actions if rule.is_default else rule.actions)),
            )
            for rule in rules
        ),
        groups=tuple(balancer.security_groups or ()),
        networks=tuple(subnet.cidr_block for subnet in balancer.subnets),
        idle_timeout=int(balancer.attrs.get("idle_timeout.timeout_seconds", 60)),
        attributes={name: str(value) for name, value in balancer.attrs.items()},
        certificates=certificates.pems(listener.certificates) if policy else (),
        protocols=tuple(policy.get("ssl_protocols", ())),
        ciphers=tuple(policy.get("ciphers", ())),
    )


def _group(group: Moto) -> AutoScalingGroup:
    return AutoScalingGroup(
        name=group.name,
        health_check_type=group.health_check_type or "EC2",
        grace_seconds=float(group.health_check_grace_period or 0),
        target_groups=tuple(group.target_group_arns or ()),
        members=frozenset(state.instance.id for state in group.instance_states if state.lifecycle_state == "InService"),
        suspended=frozenset(process["ProcessName"] for process in group.suspended_processes),
    )


def user_data(instance: Moto) -> bytes | None:
    """The user data of moto's instance as the guest sees it: decoded. None if it has none."""
    value = instance.user_data  # of the request: a type of moto's own; of a launch template: a string; both encoded
    return base64.b64decode(value if isinstance(value, str) else value.as_bytes()) if value else None
