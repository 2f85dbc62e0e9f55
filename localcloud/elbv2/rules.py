"""Rules of listeners and their actions as strict as ELBv2: what is refused, and how a rule is told.

Decides which conditions, values, actions and priorities there may be, and how many. Routing is the balancer's.

Limits and words come from the Elastic Load Balancing API reference (RuleCondition, Action, CreateRule) and the user
guide for Application Load Balancers ("Quotas", "Listener rules"). Not known here: regular expressions of conditions,
transforms, and authentication.
"""

from __future__ import annotations

import re
from inspect import signature
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Final

from moto.elbv2.exceptions import ELBClientError, TargetGroupNotFoundError
from moto.elbv2.models import ELBv2Backend, FakeAction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

MAX_TARGET_GROUPS: Final = 5  # of one forward action
MAX_GROUPS_OF_BALANCER: Final = 100
MAX_WEIGHT: Final = 999
MAX_PRIORITY: Final = 50_000
MAX_VALUES: Final = 5  # of a rule's conditions
MAX_WILDCARDS: Final = 6  # of a rule's conditions
MAX_RULES: Final = 100  # of one load balancer, default rules not counted
MAX_ACTIONS: Final = 5  # of one rule
MAX_TEXT: Final = 128
MAX_NAME: Final = 40

_ONCE: Final = frozenset({"host-header", "path-pattern", "source-ip", "http-request-method"})
_PATTERNS: Final = {"path-pattern": "PathPatternConfig", "host-header": "HostHeaderConfig"}
_HOST: Final = re.compile(r"[A-Za-z0-9.*?-]*\.[A-Za-z]+")
_PATH: Final = re.compile(r"[A-Za-z0-9_.$/~\"'@:+&*?-]+")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}")
_METHOD: Final = re.compile(r"[A-Z_-]{1,40}")
_LAST: Final = frozenset({"forward", "redirect", "fixed-response"})
_KEPT: Final = {"Protocol": "#{protocol}", "Port": "#{port}", "Host": "#{host}", "Path": "/#{path}"}
_TEMPLATE: Final = re.compile(r"#\{([^}]*)\}")

_create_rule, _modify_rule = ELBv2Backend.create_rule, ELBv2Backend.modify_rule
_delete_rule, _describe_rules = ELBv2Backend.delete_rule, ELBv2Backend.describe_rules
_validate_actions_of_moto = ELBv2Backend._validate_actions
_make_action = FakeAction.__init__


def patch(patches: Patches) -> None:
    """Make rules strict. Those that change which target groups are used are patched by `listeners`."""
    patches.methods(ELBv2Backend, describe_rules, set_rule_priorities, _validate_actions)
    patches.set(FakeAction, "__init__", _whole_action)


def _invalid(message: str) -> ELBClientError:
    return ELBClientError("ValidationError", message)


def forwarded(action: dict[str, Any]) -> list[str]:
    """ARNs of the target groups of a forward action; none for another one."""
    groups = [entry["TargetGroupArn"] for entry in (action.get("ForwardConfig") or {}).get("TargetGroups") or []]
    single = action.get("TargetGroupArn")
    return groups if single is None or single in groups else [single, *groups]


def _whole_action(self: Moto, data: dict[str, Any]) -> None:
    """AWS tells a forward to one target group both ways, whichever way it was asked for; moto only that way.

    Of a redirect AWS tells what stays as it is, too; moto only what was asked for.
    """
    if data.get("Type") == "forward" and (arns := forwarded(data)):
        config = data.setdefault("ForwardConfig", {})
        config.setdefault("TargetGroups", [{"TargetGroupArn": arn} for arn in arns])
        if len(config["TargetGroups"]) == 1:
            data.setdefault("TargetGroupArn", config["TargetGroups"][0]["TargetGroupArn"])
    if data.get("Type") == "redirect" and isinstance(data.get("RedirectConfig"), dict):
        data["RedirectConfig"] = {**_KEPT, "Query": "#{query}", **data["RedirectConfig"]}
    _make_action(self, data)


def create_rule(self: Moto, listener_arn: str, conditions: Moto, priority: Moto, *args: Any, **kwargs: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """AWS checks the priority's range, the number of rules and each condition; moto hardly any."""
    _check_priority(priority)
    listener = self.describe_listeners(None, [listener_arn])[0]
    balancer = self.load_balancers[listener.load_balancer_arn]
    if sum(len(other.rules) - 1 for other in balancer.listeners.values()) >= MAX_RULES:
        raise ELBClientError("TooManyRules", f"A load balancer has at most {MAX_RULES} rules")
    if not conditions:
        raise _invalid("A rule must have at least one condition")
    check_conditions(conditions)
    asked = signature(_create_rule).bind(self, listener_arn, conditions, priority, *args, **kwargs).arguments
    check_some(asked["actions"])
    check_uses(self, balancer, listener.protocol, asked["actions"])
    rule = _create_rule(self, listener_arn, conditions, int(priority), *args, **kwargs)
    _whole_conditions(rule)
    return rule


def modify_rule(self: Moto, *args: Any, **kwargs: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """AWS checks conditions and actions as when a rule is created, and keeps a default rule; moto neither."""
    asked = signature(_modify_rule).bind(self, *args, **kwargs).arguments
    found = self.describe_rules(listener_arn=None, rule_arns=[asked["rule_arn"]])
    if found[0].is_default:
        raise ELBClientError("OperationNotPermitted", f"Default rule '{asked['rule_arn']}' cannot be modified")
    check_conditions(asked.get("conditions") or [])
    if asked.get("actions"):
        listener = self.describe_listeners(None, [found[0].listener_arn])[0]
        check_uses(self, self.load_balancers[listener.load_balancer_arn], listener.protocol, asked["actions"])
    rule = _modify_rule(self, *args, **kwargs)
    _whole_conditions(rule)
    return rule


def delete_rule(self: Moto, arn: str) -> None:
    """AWS keeps a listener's default rule, and refuses a rule that it does not know; moto takes both in silence."""
    if self.describe_rules(listener_arn=None, rule_arns=[arn])[0].is_default:
        raise ELBClientError("OperationNotPermitted", f"Default rule '{arn}' cannot be deleted")
    _delete_rule(self, arn)


def describe_rules(self: Moto, listener_arn: str | None, rule_arns: list[str] | None) -> list[Moto]:
    """AWS tells the rules of a listener in the order in which they are tried; moto in that of their creation."""
    rules = _describe_rules(self, listener_arn, rule_arns)
    return sorted(rules, key=lambda rule: MAX_PRIORITY + 1 if rule.is_default else int(rule.priority))


def set_rule_priorities(self: Moto, rule_priorities: list[dict[str, Any]]) -> list[Moto]:
    """AWS checks the range of a priority, and lets rules swap theirs; moto neither."""
    wanted = {entry["RuleArn"]: int(entry["Priority"]) for entry in rule_priorities}
    for priority in wanted.values():
        _check_priority(priority)
    if len(set(wanted.values())) < len(rule_priorities):
        raise _invalid("A priority can be specified only once")
    rules: list[Moto] = self.describe_rules(listener_arn=None, rule_arns=list(wanted))
    for rule in rules:
        if rule.is_default:
            raise ELBClientError("OperationNotPermitted", f"Priority of default rule '{rule.arn}' cannot be changed")
        for other in self.describe_rules(listener_arn=rule.listener_arn, rule_arns=None):
            if other.arn not in wanted and other.priority == wanted[rule.arn]:
                raise ELBClientError("PriorityInUse", f"Priority '{other.priority}' is currently in use")
    for rule in rules:
        rule.priority = wanted[rule.arn]
    return rules


def _check_priority(priority: Moto) -> None:
    if not 1 <= int(priority) <= MAX_PRIORITY:
        raise _invalid(f"Priority must be between 1 and {MAX_PRIORITY} inclusive")


def _whole_conditions(rule: Moto) -> None:
    """AWS tells patterns of a path or a host both ways, whichever way they were asked for; moto only that way."""
    for condition in rule.conditions:
        config = _PATTERNS.get(condition["Field"])
        if config is not None:
            values = condition.get("Values") or (condition.get(config) or {}).get("Values") or []
            condition["Values"] = values
            condition[config] = {"Values": values, **(condition.get(config) or {})}


def _config(condition: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next((value for key, value in condition.items() if key.endswith("Config") and value), {})
    return found


def check_conditions(conditions: list[dict[str, Any]]) -> None:
    """AWS limits conditions, values and wildcards of a rule, and what a value may hold; moto some lengths."""
    fields = [str(condition.get("Field")) for condition in conditions]
    for field in _ONCE:
        if fields.count(field) > 1:
            raise _invalid(f"A rule can only have one '{field}' condition")
    values: list[str] = []
    for condition, field in zip(conditions, fields, strict=True):
        config = _config(condition)
        if config.get("RegexValues") or condition.get("RegexValues"):
            raise _invalid("The local cloud does not know regular expressions of conditions")
        given = config.get("Values") or condition.get("Values") or []
        if not given:
            raise _invalid("A condition value must be specified")
        if field == "query-string":
            for pair in given:
                values += _check_pair(pair)
        else:
            values += [*given]
            _check_values(field, config, given)
    if sum(1 for condition in conditions for _ in _config(condition).get("Values") or condition.get("Values") or []) > (
        MAX_VALUES
    ):
        raise _invalid(f"A rule can only have '{MAX_VALUES}' condition values")
    if sum(len(re.findall(r"(?<!\\)[*?]", value)) for value in values) > MAX_WILDCARDS:
        raise _invalid(f"A rule can only have '{MAX_WILDCARDS}' condition wildcards")


def _check_pair(pair: dict[str, str]) -> list[str]:
    texts = [text for text in (pair.get("Key"), pair.get("Value")) if text is not None]
    if any(len(text) > MAX_TEXT for text in texts):
        raise _invalid(f"The 'query-string' value is too long; the limit is '{MAX_TEXT}'")
    return texts


def _check_values(field: str, config: dict[str, Any], values: Iterable[str]) -> None:
    name = config.get("HttpHeaderName", "")
    if field == "http-header" and (not _HEADER.fullmatch(name) or name.lower() == "host"):
        raise _invalid(f"The 'HttpHeaderName' value '{name}' is not valid")
    for value in values:
        if field == "source-ip":
            _check_block(value)
        elif field == "http-request-method" and not _METHOD.fullmatch(value):
            raise _invalid(f"The 'http-request-method' value '{value}' can only have A-Z, hyphen and underscore")
        elif not 1 <= len(value) <= MAX_TEXT:
            raise _invalid(f"The '{field}' value must have 1 to {MAX_TEXT} characters")
        elif field == "host-header" and not _HOST.fullmatch(value):
            raise _invalid(f"The 'host-header' value '{value}' must have a '.' and only letters after the last one")
        elif field == "path-pattern" and not _PATH.fullmatch(value):
            raise _invalid(f"The 'path-pattern' value '{value}' contains characters that are not valid")


def _check_block(value: str) -> None:
    try:
        if "/" not in value:
            raise ValueError(value)
        ip_network(value)
    except ValueError:
        raise _invalid(f"The 'source-ip' value '{value}' must be specified in CIDR format") from None


def _validate_actions(self: Moto, actions: list[Moto]) -> None:
    """AWS takes one action that answers, the last; and checks what a forward or a redirect says. Moto takes any."""
    if len(actions) > MAX_ACTIONS:
        raise ELBClientError("TooManyActions", f"A rule has at most {MAX_ACTIONS} actions")
    _validate_actions_of_moto(self, actions)
    if not actions:  # of ModifyRule: they stay as they are
        return
    if [action.type in _LAST for action in actions].count(True) != 1:
        raise ELBClientError(
            "InvalidLoadBalancerAction",
            "A rule must have exactly one action of type forward, redirect or fixed-response",
        )
    for action in actions:
        if action.type == "forward":
            _check_forward(self, action.data)
        elif action.type == "redirect":
            _check_redirect(action.data.get("RedirectConfig") or {})


def _check_forward(elbv2: Moto, action: dict[str, Any]) -> None:
    entries = (action.get("ForwardConfig") or {}).get("TargetGroups") or []
    arns = [entry["TargetGroupArn"] for entry in entries]
    if entries and action.get("TargetGroupArn") and arns != [action["TargetGroupArn"]]:
        raise _invalid("ForwardConfig and TargetGroupArn together must name one and the same target group")
    if not forwarded(action):
        raise _invalid("You must specify a target group for a forward action")
    if len(entries) > MAX_TARGET_GROUPS:
        raise ELBClientError(
            "TooManyTargetGroups", f"A forward action has at most {MAX_TARGET_GROUPS} target groups, not {len(entries)}"
        )
    if len(set(arns)) < len(arns):
        raise _invalid("A target group can be used only once in a forward action")
    for entry in entries:
        if not 0 <= int(entry.get("Weight", 1)) <= MAX_WEIGHT:
            raise _invalid(f"A weight must be between 0 and {MAX_WEIGHT} inclusive")
    for arn in forwarded(action):
        if arn not in elbv2.target_groups:
            raise TargetGroupNotFoundError


def _check_redirect(config: dict[str, Any]) -> None:
    """RedirectActionConfig: one of protocol, port, host or path must change; each may hold certain placeholders."""
    if all(config.get(name, kept) == kept for name, kept in _KEPT.items()):
        raise ELBClientError(
            "InvalidLoadBalancerAction", "The redirect configuration is not valid because it creates a loop."
        )
    path, port = config.get("Path", "/"), config.get("Port", "80")
    known = {"protocol", "port", "host", "path", "query"}
    wrong = [
        name for name in _TEMPLATE.findall("".join(str(config.get(key, "")) for key in _KEPT)) if name not in known
    ]
    if wrong:
        raise _invalid(f"The redirect configuration has an unknown variable '#{{{wrong[0]}}}'")
    if not path.startswith("/"):
        raise _invalid(f"The redirect path '{path}' must start with '/'")
    if port != "#{port}" and not (port.isdigit() and 1 <= int(port) <= 65_535):
        raise _invalid(f"The redirect port '{port}' must be between 1 and 65535, or #{{port}}")
    if config.get("Protocol", "#{protocol}") not in {"HTTP", "HTTPS", "#{protocol}"}:
        raise _invalid("The redirect protocol must be HTTP, HTTPS or #{protocol}")


def check_some(actions: list[dict[str, Any]]) -> None:
    """A rule and a listener must say what to do."""
    if not actions:
        raise _invalid("An action must be specified")


def check_uses(elbv2: Moto, balancer: Moto, protocol: str, actions: list[dict[str, Any]]) -> None:
    """AWS lets a target group be used by one load balancer only, in its own VPC, and counts them; moto does not.

    A listener without TLS speaks no HTTP/2 and no gRPC, and one with TLS redirects to no other kind.
    """
    arns = [arn for action in actions for arn in forwarded(action) if arn in elbv2.target_groups]
    groups = [elbv2.target_groups[arn] for arn in arns]
    shared = [group.arn for group in groups if set(group.load_balancer_arns) - {balancer.arn}]
    if shared:
        raise ELBClientError(
            "TargetGroupAssociationLimit",
            "The following target groups cannot be associated with more than one load balancer: " + ", ".join(shared),
        )
    for group in groups:
        if group.vpc_id != balancer.vpc_id:
            raise ELBClientError(
                "InvalidConfigurationRequest",
                f"The target group '{group.arn}' and the load balancer '{balancer.arn}' have different VPCs",
            )
        if protocol == "HTTP" and group.protocol_version in {"HTTP2", "GRPC"}:
            raise ELBClientError(
                "InvalidLoadBalancerAction",
                f"Listener protocol 'HTTP' is not supported with a target group with the protocol-version"
                f" '{group.protocol_version}'",
            )
    used = {group.arn for group in elbv2.target_groups.values() if balancer.arn in group.load_balancer_arns}
    if len(used | set(arns)) > MAX_GROUPS_OF_BALANCER:
        raise ELBClientError(
            "TooManyUniqueTargetGroupsPerLoadBalancer",
            f"A load balancer has at most {MAX_GROUPS_OF_BALANCER} target groups",
        )
    for action in actions:
        if protocol == "HTTPS" and (action.get("RedirectConfig") or {}).get("Protocol") == "HTTP":
            raise ELBClientError("InvalidLoadBalancerAction", "You cannot redirect from HTTPS to HTTP")
