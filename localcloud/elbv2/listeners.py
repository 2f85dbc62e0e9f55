"""Load balancers, listeners and rules as strict as ELBv2, as far as the control plane goes.

Decides which rules and actions are refused, which address a load balancer gets and which target groups it uses. Never
forwards a request: the balancer of the machines reads what is stored here. Targets are in `targets`.

Limits come from the Elastic Load Balancing API reference (CreateRule, TargetGroupTuple, CreateLoadBalancer) and the
user guide for Application Load Balancers ("Quotas").
"""

from __future__ import annotations

import re
import socket
from inspect import signature
from typing import TYPE_CHECKING, Any

from moto.ec2.exceptions import InvalidSubnetIdError
from moto.elbv2.exceptions import (
    DuplicateListenerError,
    DuplicateLoadBalancerName,
    ELBClientError,
    SubnetNotFoundError,
    TargetGroupNotFoundError,
)
from moto.elbv2.models import ELBv2Backend, FakeAction
from moto.elbv2.ssl_policies import SSL_POLICIES

from localcloud.elbv2 import attributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

ADDRESSES = "127.66.0."  # load balancer n has the address 127.66.0.n, which is also its DNS name
DEFAULT_POLICY = "ELBSecurityPolicy-2016-08"
MAX_TARGET_GROUPS = 5  # of one forward action
MAX_WEIGHT = 999
MAX_PRIORITY = 50_000
MAX_VALUES = 5  # of a rule's conditions
MAX_RULES = 100  # of one load balancer, default rules not counted

_create_load_balancer = ELBv2Backend.create_load_balancer
_create_listener, _modify_listener = ELBv2Backend.create_listener, ELBv2Backend.modify_listener
_create_rule, _modify_rule = ELBv2Backend.create_rule, ELBv2Backend.modify_rule
_set_rule_priorities = ELBv2Backend.set_rule_priorities
_delete_load_balancer, _delete_listener = ELBv2Backend.delete_load_balancer, ELBv2Backend.delete_listener
_delete_rule = ELBv2Backend.delete_rule
_validate_actions_of_moto = ELBv2Backend._validate_actions
_make_action = FakeAction.__init__
_describe_rules = ELBv2Backend.describe_rules

_PATTERNS = {"path-pattern": "PathPatternConfig", "host-header": "HostHeaderConfig"}


def patch(patches: Patches) -> None:
    """Make ELBv2 strict."""
    patches.methods(ELBv2Backend, create_load_balancer, describe_load_balancers, create_listener)
    patches.methods(ELBv2Backend, create_rule, describe_rules, set_rule_priorities, _validate_actions)
    patches.set(FakeAction, "__init__", _whole_action)
    for name, original in {
        "modify_listener": modify_listener,
        "modify_rule": modify_rule,
        "delete_listener": _delete_listener,
        "delete_rule": delete_rule,
        "delete_load_balancer": delete_load_balancer,
    }.items():
        patches.set(ELBv2Backend, name, _linking(original))


def _linking(original: Callable[..., Any]) -> Callable[..., Any]:
    """AWS knows at any time which load balancers use a target group; moto only ever adds to the list."""

    def changed(self: Moto, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - moto's own arguments
        done = original(self, *args, **kwargs)
        _link(self)
        return done

    return changed


def _link(elbv2: Moto) -> None:
    users: dict[str, list[str]] = {}
    for balancer in elbv2.load_balancers.values():
        for listener in balancer.listeners.values():
            for rule in listener.rules.values():
                for action in rule.actions:
                    for arn in _forwarded(action.data):
                        if balancer.arn not in users.setdefault(arn, []):
                            users[arn].append(balancer.arn)
    for group in elbv2.target_groups.values():
        group.load_balancer_arns = users.get(group.arn, [])


def _forwarded(action: dict[str, Any]) -> list[str]:
    groups = [entry["TargetGroupArn"] for entry in (action.get("ForwardConfig") or {}).get("TargetGroups") or []]
    single = action.get("TargetGroupArn")
    return groups if single is None or single in groups else [single, *groups]


def _whole_action(self: Moto, data: dict[str, Any]) -> None:
    """AWS tells a forward to one target group both ways, whichever way it was asked for; moto only that way."""
    if data.get("Type") == "forward" and (arns := _forwarded(data)):
        config = data.setdefault("ForwardConfig", {})
        config.setdefault("TargetGroups", [{"TargetGroupArn": arn} for arn in arns])
        if len(config["TargetGroups"]) == 1:
            data.setdefault("TargetGroupArn", config["TargetGroups"][0]["TargetGroupArn"])
    _make_action(self, data)


def _check_name(name: str) -> None:
    """API reference: CreateLoadBalancer, Name."""
    if not re.fullmatch(r"[A-Za-z0-9-]{1,32}", name):
        raise ELBClientError(
            "ValidationError",
            f"The load balancer name '{name}' can only have 1 to 32 characters that are alphanumeric or hyphens(-)",
        )
    if name.startswith("-") or name.endswith("-"):
        raise ELBClientError("ValidationError", f"The load balancer name '{name}' cannot begin or end with '-'")
    if name.startswith("internal-"):
        raise ELBClientError("ValidationError", f"The load balancer name '{name}' cannot begin with 'internal-'")


def create_load_balancer(
    self: Moto,
    name: str,
    security_groups: list[str],
    subnet_ids: list[str],
    subnet_mappings: list[dict[str, str]] | None = None,
    scheme: str = "internet-facing",
    loadbalancer_type: str | None = None,
    ip_address_type: str = "ipv4",
    tags: list[dict[str, str]] | None = None,
) -> Moto:
    """AWS checks name, subnets, zones, gateway and security groups; moto hardly any. It is active at once here."""
    _check_name(name)
    if any(balancer.name == name for balancer in self.load_balancers.values()):
        raise DuplicateLoadBalancerName
    chosen = [*subnet_ids, *(mapping["SubnetId"] for mapping in subnet_mappings or [])]
    try:
        subnets = [self.ec2_backend.get_subnet(subnet_id) for subnet_id in chosen]
    except InvalidSubnetIdError:
        raise SubnetNotFoundError from None
    if (loadbalancer_type or "application") == "application":
        _check_application(self, subnets, scheme)
    for group in security_groups or []:
        if self.ec2_backend.get_security_group_from_id(group) is None:
            raise ELBClientError("InvalidSecurityGroup", f"The security group '{group}' does not exist")
    address = _free_address(self)
    balancer = _create_load_balancer(
        self,
        name,
        security_groups,
        subnet_ids,
        subnet_mappings,
        scheme=scheme,
        loadbalancer_type=loadbalancer_type,
        ip_address_type=ip_address_type,
        tags=tags,
    )
    balancer.dns_name = address
    balancer.state = "active"
    if balancer.type == "application":
        balancer.attrs = attributes.first(attributes.BALANCER)
    return balancer


def _check_application(elbv2: Moto, subnets: list[Moto], scheme: str) -> None:
    zones = [subnet.availability_zone for subnet in subnets]
    if len(set(zones)) < 2:
        raise ELBClientError(
            "ValidationError", "At least two subnets in two different Availability Zones must be specified"
        )
    if len(set(zones)) < len(zones):
        raise ELBClientError("InvalidConfigurationRequest", "A load balancer takes one subnet per Availability Zone")
    vpc_id = subnets[0].vpc_id
    gateways = [gateway.vpc.id for gateway in elbv2.ec2_backend.internet_gateways.values() if gateway.vpc]
    if scheme != "internal" and vpc_id not in gateways:
        raise ELBClientError("InvalidSubnet", f"VPC {vpc_id} has no internet gateway")


def _free_address(elbv2: Moto) -> str:
    taken = {balancer.dns_name for balancer in elbv2.load_balancers.values()}
    for number in range(1, 255):
        if (address := f"{ADDRESSES}{number}") not in taken:
            return address
    raise ELBClientError("TooManyLoadBalancers", "The local cloud has addresses for 254 load balancers")


def describe_load_balancers(self: Moto, arns: list[str] | None, names: list[str] | None) -> list[Moto]:
    """AWS refuses what it does not know; moto answers with the one before in the list."""
    found = list(self.load_balancers.values())
    if arns or names:
        found = [b for b in found if b.arn in (arns or []) or b.name in (names or [])]
        if len(found) < len(set(arns or [])) + len(set(names or [])):
            raise ELBClientError("LoadBalancerNotFound", f"One or more load balancers not found: {arns or names}")
    return found


def create_listener(self: Moto, load_balancer_arn: str, protocol: str, port: Moto, *args: Any, **kwargs: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """AWS refuses a second listener at a port, and a certificate too many or too few; moto compares the port with ARNs.

    A port that another program of this machine has is refused here: whatever listens there would answer in our place.
    """
    asked = signature(_create_listener).bind(self, load_balancer_arn, protocol, port, *args, **kwargs).arguments
    balancer = self.load_balancers.get(load_balancer_arn)
    if balancer is not None and any(str(listener.port) == str(port) for listener in balancer.listeners.values()):
        raise DuplicateListenerError
    if balancer is not None and balancer.type == "application":
        _check_secure(self, protocol, asked.get("certificate"), asked.get("ssl_policy"))
    if balancer is not None:
        _refuse_shared(self, balancer.arn, asked["actions"])
        _refuse_taken(balancer.dns_name, int(port))
    listener = _create_listener(self, load_balancer_arn, protocol, port, *args, **kwargs)
    listener.attributes = attributes.first(attributes.listener(listener.protocol))
    if listener.protocol == "HTTP":  # AWS tells neither of a listener without TLS
        listener.ssl_policy, listener.alpn_policy = None, None
    _link(self)
    return listener


def _check_secure(elbv2: Moto, protocol: str, certificate: str | None, policy: str | None) -> None:
    if protocol == "HTTPS" and not certificate:
        raise ELBClientError("ValidationError", "A certificate must be specified for HTTPS listeners")
    if protocol == "HTTPS" and not elbv2._certificate_exists(certificate_arn=certificate):
        raise ELBClientError("CertificateNotFound", f"Certificate ARN '{certificate}' is not found")
    if protocol == "HTTPS" and policy not in SSL_POLICIES:
        raise ELBClientError("SSLPolicyNotFound", f"SSL policy '{policy}' not found")
    if protocol == "HTTP" and certificate:
        raise ELBClientError("ValidationError", "Certificates cannot be specified for HTTP listeners")
    if protocol == "HTTP" and policy not in {None, DEFAULT_POLICY}:  # moto puts the default in before it comes here
        raise ELBClientError("ValidationError", "An SSL policy cannot be specified for HTTP listeners")


def modify_listener(self: Moto, *args: Any, **kwargs: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """AWS checks actions and port as when a listener is created; moto neither."""
    asked = signature(_modify_listener).bind(self, *args, **kwargs).arguments
    listener = self.describe_listeners(None, [asked["arn"]])[0]
    if asked.get("actions"):
        self._validate_actions([FakeAction(action) for action in asked["actions"]])
        _refuse_shared(self, listener.load_balancer_arn, asked["actions"])
    port = asked.get("port")
    if port is not None and str(port) != str(listener.port):
        balancer = self.load_balancers[listener.load_balancer_arn]
        if any(str(other.port) == str(port) for other in balancer.listeners.values()):
            raise DuplicateListenerError
        _refuse_taken(balancer.dns_name, int(port))
    return _modify_listener(self, *args, **kwargs)


def modify_rule(self: Moto, *args: Any, **kwargs: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """AWS lets a target group be used by one load balancer only; moto by any number."""
    asked = signature(_modify_rule).bind(self, *args, **kwargs).arguments
    found = self.describe_rules(listener_arn=None, rule_arns=[asked["rule_arn"]])
    _check_values(asked.get("conditions") or [])
    if found and asked.get("actions"):
        listener = self.describe_listeners(None, [found[0].listener_arn])[0]
        _refuse_shared(self, listener.load_balancer_arn, asked["actions"])
    rule = _modify_rule(self, *args, **kwargs)
    _whole_conditions(rule)
    return rule


def _whole_conditions(rule: Moto) -> None:
    """AWS tells patterns of a path or a host both ways, whichever way they were asked for; moto only that way."""
    for condition in rule.conditions:
        config = _PATTERNS.get(condition["Field"])
        if config is not None:
            values = condition.get("Values") or (condition.get(config) or {}).get("Values") or []
            condition["Values"] = values
            condition[config] = {"Values": values, **(condition.get(config) or {})}


def describe_rules(self: Moto, listener_arn: str | None, rule_arns: list[str] | None) -> list[Moto]:
    """AWS tells the rules of a listener in the order in which they are tried; moto in that of their creation."""
    rules = _describe_rules(self, listener_arn, rule_arns)
    return sorted(rules, key=lambda rule: MAX_PRIORITY + 1 if rule.is_default else int(rule.priority))


def _refuse_shared(elbv2: Moto, balancer_arn: str, actions: list[dict[str, Any]]) -> None:
    """User guide: a target group can be used with only one load balancer."""
    shared = [
        arn
        for action in actions
        for arn in _forwarded(action)
        if arn in elbv2.target_groups and set(elbv2.target_groups[arn].load_balancer_arns) - {balancer_arn}
    ]
    if shared:
        raise ELBClientError(
            "TargetGroupAssociationLimit",
            "The following target groups cannot be associated with more than one load balancer: " + ", ".join(shared),
        )


def _refuse_taken(address: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise ELBClientError(
                "ValidationError",
                f"Port {port} of {address} is not free on this machine ({error.strerror}): end what listens there",
            ) from None


def create_rule(self: Moto, listener_arn: str, conditions: Moto, priority: Moto, *args: Any, **kwargs: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """AWS checks the priority's range and the number of rules; moto neither."""
    _check_priority(priority)
    listener = self.describe_listeners(None, [listener_arn])[0]
    balancer = self.load_balancers[listener.load_balancer_arn]
    if sum(len(other.rules) - 1 for other in balancer.listeners.values()) >= MAX_RULES:
        raise ELBClientError("TooManyRules", f"A load balancer has at most {MAX_RULES} rules")
    if not conditions:
        raise ELBClientError("ValidationError", "A rule must have at least one condition")
    _check_values(conditions)
    _refuse_shared(
        self,
        balancer.arn,
        signature(_create_rule).bind(self, listener_arn, conditions, priority, *args, **kwargs).arguments["actions"],
    )
    rule = _create_rule(self, listener_arn, conditions, int(priority), *args, **kwargs)
    _whole_conditions(rule)
    _link(self)
    return rule


def delete_rule(self: Moto, arn: str) -> None:
    """AWS keeps a listener's default rule."""
    if any(
        listener._default_rule[0].arn == arn for b in self.load_balancers.values() for listener in b.listeners.values()
    ):
        raise ELBClientError("OperationNotPermitted", f"Default rule '{arn}' cannot be deleted")
    _delete_rule(self, arn)


def delete_load_balancer(self: Moto, arn: str) -> None:
    """AWS keeps a load balancer that is protected."""
    balancer = self.load_balancers.get(arn)
    if balancer is not None and balancer.attrs.get("deletion_protection.enabled") == "true":
        raise ELBClientError(
            "OperationNotPermitted", f"Load balancer '{arn}' cannot be deleted because deletion protection is enabled"
        )
    _delete_load_balancer(self, arn)


def set_rule_priorities(self: Moto, rule_priorities: list[dict[str, Any]]) -> Moto:
    """AWS checks the range of a priority; moto does not."""
    for entry in rule_priorities:
        _check_priority(entry["Priority"])
        entry["Priority"] = int(entry["Priority"])
    return _set_rule_priorities(self, rule_priorities)


def _check_values(conditions: list[dict[str, Any]]) -> None:
    values = 0
    for condition in conditions:
        config: dict[str, Any] = next(
            (value for key, value in condition.items() if key.endswith("Config") and value), {}
        )
        values += len(config.get("Values") or condition.get("Values") or [])
    if values > MAX_VALUES:
        raise ELBClientError("ValidationError", f"A rule can only have '{MAX_VALUES}' condition values")


def _check_priority(priority: Moto) -> None:
    if not 1 <= int(priority) <= MAX_PRIORITY:
        raise ELBClientError("ValidationError", f"Priority must be between 1 and {MAX_PRIORITY} inclusive")


def _validate_actions(self: Moto, actions: list[Moto]) -> None:
    """AWS limits a forward to 5 target groups and weights to 0 to 999; moto takes anything."""
    _validate_actions_of_moto(self, actions)
    if not actions:
        raise ELBClientError("ValidationError", "An action must be specified")
    for action in actions:
        if action.type == "forward":
            _check_forward(self, action.data)


def _check_forward(elbv2: Moto, action: dict[str, Any]) -> None:
    entries = (action.get("ForwardConfig") or {}).get("TargetGroups") or []
    arns = [entry["TargetGroupArn"] for entry in entries]
    if entries and action.get("TargetGroupArn") and arns != [action["TargetGroupArn"]]:
        raise ELBClientError(
            "ValidationError", "ForwardConfig and TargetGroupArn together must name one and the same target group"
        )
    if not _forwarded(action):
        raise ELBClientError("ValidationError", "You must specify a target group for a forward action")
    if len(entries) > MAX_TARGET_GROUPS:
        raise ELBClientError(
            "TooManyTargetGroups", f"A forward action has at most {MAX_TARGET_GROUPS} target groups, not {len(entries)}"
        )
    if len(set(arns)) < len(arns):
        raise ELBClientError("ValidationError", "A target group can be used only once in a forward action")
    for entry in entries:
        if not 0 <= int(entry.get("Weight", 1)) <= MAX_WEIGHT:
            raise ELBClientError("ValidationError", f"A weight must be between 0 and {MAX_WEIGHT} inclusive")
    for arn in _forwarded(action):
        if arn not in elbv2.target_groups:
            raise TargetGroupNotFoundError
