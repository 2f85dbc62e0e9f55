"""Listeners and their rules, with actions and conditions: facts and API calls of each type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from engine.aws_plugin import schema
from engine.aws_plugin.compare import Rules
from engine.aws_plugin.convert import NotImplementedHereError
from engine.aws_plugin.kind import Call, Kind, OperationError, code, forget_missing, gone
from engine.aws_plugin.lb import attribute_props, find, read_tags, tags_argument, update_tags
from engine.aws_plugin.wire import Props

_REDIRECT = {
    "host": "Host",
    "path": "Path",
    "port": "Port",
    "protocol": "Protocol",
    "query": "Query",
    "statusCode": "StatusCode",
}


def api_actions(actions: list[Props]) -> list[dict[str, Any]]:
    """Actions as the API wants them; only `authenticate-*` and `jwt-validation` are not implemented."""
    found = []
    for index, action in enumerate(actions):
        known = {"type", "order", "targetGroupArn", "forward", "fixedResponse", "redirect"}
        for name in action:
            if name not in known:
                message = f"{name}: the stand-in for the AWS plugin does not implement it; the official plugin does"
                raise NotImplementedHereError(message)
        item: dict[str, Any] = {"Type": action["type"], "Order": action.get("order") or index + 1}
        if action.get("forward"):
            item["ForwardConfig"] = _api_forward(action["forward"])
        elif action.get("targetGroupArn"):
            item["TargetGroupArn"] = action["targetGroupArn"]
        if action.get("fixedResponse"):
            response = action["fixedResponse"]
            item["FixedResponseConfig"] = {"ContentType": response["contentType"]}
            if response.get("messageBody"):
                item["FixedResponseConfig"]["MessageBody"] = response["messageBody"]
            if response.get("statusCode"):
                item["FixedResponseConfig"]["StatusCode"] = response["statusCode"]
        if action.get("redirect"):
            item["RedirectConfig"] = {
                api: action["redirect"][name] for name, api in _REDIRECT.items() if name in action["redirect"]
            }
        found.append(item)
    return found


def _api_forward(forward: Props) -> dict[str, Any]:
    config: dict[str, Any] = {
        "TargetGroups": [
            {"TargetGroupArn": group["arn"], "Weight": group.get("weight", 1)} for group in forward["targetGroups"]
        ]
    }
    if forward.get("stickiness"):
        config["TargetGroupStickinessConfig"] = {
            "Enabled": bool(forward["stickiness"].get("enabled")),
            "DurationSeconds": forward["stickiness"]["duration"],
        }
    return config


def action_props(actions: list[dict[str, Any]]) -> list[Props]:
    """The way back. A forward to one group is told both ways, as `targetGroupArn` and as `forward`."""
    found = []
    for position, action in enumerate(sorted(actions, key=lambda item: int(item.get("Order") or 0))):
        item: Props = {"type": action["Type"], "order": action.get("Order") or position + 1}
        if action["Type"] == "forward":
            config = action["ForwardConfig"]
            groups = config["TargetGroups"]
            stickiness = config.get("TargetGroupStickinessConfig") or {}
            item["forward"] = {
                "targetGroups": [{"arn": group["TargetGroupArn"], "weight": group["Weight"]} for group in groups],
                "stickiness": {
                    "enabled": bool(stickiness.get("Enabled")),
                    "duration": int(stickiness.get("DurationSeconds") or 0),
                },
            }
            if len(groups) == 1:
                item["targetGroupArn"] = groups[0]["TargetGroupArn"]
        if response := action.get("FixedResponseConfig"):
            item["fixedResponse"] = {
                "contentType": response.get("ContentType"),
                "messageBody": response.get("MessageBody"),
                "statusCode": response.get("StatusCode"),
            }
        if redirect := action.get("RedirectConfig"):
            item["redirect"] = {name: redirect.get(api) for name, api in _REDIRECT.items()}
        found.append(item)
    return found


_CONDITIONS = {
    "hostHeader": ("host-header", "HostHeaderConfig"),
    "httpHeader": ("http-header", "HttpHeaderConfig"),
    "httpRequestMethod": ("http-request-method", "HttpRequestMethodConfig"),
    "pathPattern": ("path-pattern", "PathPatternConfig"),
    "sourceIp": ("source-ip", "SourceIpConfig"),
}
_CONDITION_FIELDS = {"values": "Values", "regexValues": "RegexValues", "httpHeaderName": "HttpHeaderName"}


def api_conditions(conditions: list[Props]) -> list[dict[str, Any]]:
    """Conditions as the API wants them."""
    found: list[dict[str, Any]] = []
    for condition in conditions:
        for name, (field, config) in _CONDITIONS.items():
            if block := condition.get(name):
                values = {api: block[key] for key, api in _CONDITION_FIELDS.items() if block.get(key)}
                found.append({"Field": field, config: values})
        if condition.get("queryStrings"):
            pairs = [
                {"Value": pair["value"], **({"Key": pair["key"]} if pair.get("key") else {})}
                for pair in condition["queryStrings"]
            ]
            found.append({"Field": "query-string", "QueryStringConfig": {"Values": pairs}})
    return found


def condition_props(conditions: list[dict[str, Any]]) -> list[Props]:
    """The way back."""
    by_field = {field: (name, config) for name, (field, config) in _CONDITIONS.items()}
    found: list[Props] = []
    for condition in conditions:
        field = condition["Field"]
        if field == "query-string":
            pairs = (condition.get("QueryStringConfig") or {}).get("Values", [])
            found.append(
                {"queryStrings": [{"value": pair["Value"], "key": pair.get("Key")} for pair in pairs]},
            )
        elif field in by_field:
            name, config = by_field[field]
            block = condition[config]
            found.append({name: {key: block[api] for key, api in _CONDITION_FIELDS.items() if block.get(api)}})
    return found


_CONDITION_SETS = {
    "conditions",
    "conditions.queryStrings",
    *(f"conditions.{name}.values" for name in _CONDITIONS),
    *(f"conditions.{name}.regexValues" for name in ("hostHeader", "httpHeader", "pathPattern")),
}


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _attribute(name: str) -> str | None:
    """The attribute of a listener that a property stands for: `routing.http.response.x_frame_options.header_value`."""
    match = re.fullmatch(r"routingHttp(Request|Response)(\w+?)(HeaderName|HeaderValue|Enabled)", name)
    if match is None:
        return None
    way, header, what = (_snake(part) for part in match.groups())
    return f"routing.http.{way}.{header}.{what}"


_LISTENER = "aws:lb/listener:Listener"
_ATTRIBUTES = {name: api for name in schema.resource(_LISTENER).inputs if (api := _attribute(name)) is not None}


class Listener(Kind):
    """A listener of a load balancer (`aws_lb_listener`)."""

    type_name = _LISTENER
    noun = "ELBv2 Listener"
    supported = frozenset(
        {"alpnPolicy", "certificateArn", "defaultActions", "loadBalancerArn", "port", "protocol", "region", "sslPolicy"}
        | {"tags"}
    )
    replace = frozenset({"loadBalancerArn"})
    computed = frozenset({"arn", "protocol", "sslPolicy", "tcpIdleTimeoutSeconds", *_ATTRIBUTES})
    rules = Rules(sets=frozenset({"defaultActions.forward.targetGroups"}), caseless=frozenset({"protocol"}))

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """Where it listens."""
        if not props.get("port"):
            yield "port", "a listener of an application load balancer needs a port"
        yield from _action_failures(props, "defaultActions")

    @staticmethod
    def _arguments(props: Props) -> dict[str, Any]:
        arguments: dict[str, Any] = {"DefaultActions": api_actions(props["defaultActions"])}
        names = {"port": "Port", "sslPolicy": "SslPolicy"}
        arguments |= {api: props[name] for name, api in names.items() if props.get(name)}
        arguments["Protocol"] = str(props.get("protocol") or "HTTP").upper()
        if props.get("certificateArn"):
            arguments["Certificates"] = [{"CertificateArn": props["certificateArn"]}]
        if props.get("alpnPolicy"):
            arguments["AlpnPolicy"] = [props["alpnPolicy"]]
        return arguments

    def create(self, call: Call, props: Props) -> str:
        """Make it."""
        answer = call.client("elbv2").create_listener(
            LoadBalancerArn=props["loadBalancerArn"], **self._arguments(props), **tags_argument(props)
        )
        call.made = str(answer["Listeners"][0]["ListenerArn"])
        return call.made

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The listener with its attributes and tags."""
        listener = find(call, "describe_listeners", "Listeners", ListenerArns=[resource_id])
        if listener is None:
            return None
        certificates = listener.get("Certificates") or []
        answer = call.client("elbv2").describe_listener_attributes(ListenerArn=resource_id)
        return {
            **attribute_props(self, answer["Attributes"], _ATTRIBUTES),
            "arn": resource_id,
            "loadBalancerArn": listener["LoadBalancerArn"],
            "port": listener.get("Port"),
            "protocol": listener.get("Protocol"),
            "sslPolicy": listener.get("SslPolicy"),
            "certificateArn": certificates[0]["CertificateArn"] if certificates else None,
            "alpnPolicy": next(iter(listener.get("AlpnPolicy") or []), None),
            "defaultActions": action_props(listener.get("DefaultActions", [])),
            "tagsAll": read_tags(call, resource_id),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Everything but the balancer it belongs to."""
        if changed - {"tags", "tagsAll"}:
            call.client("elbv2").modify_listener(ListenerArn=resource_id, **self._arguments(new))
        update_tags(call, resource_id, old, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it, with its rules."""
        forget_missing(lambda: call.client("elbv2").delete_listener(ListenerArn=resource_id))


class ListenerCertificate(Kind):
    """A certificate that a listener has beside its default one (`aws_lb_listener_certificate`)."""

    type_name = "aws:lb/listenerCertificate:ListenerCertificate"
    noun = "ELBv2 Listener Certificate"
    supported = frozenset({"certificateArn", "listenerArn", "region"})
    replace = frozenset({"certificateArn", "listenerArn"})

    def create(self, call: Call, props: Props) -> str:
        """Add it; a certificate that was just issued is not everywhere at once."""
        add = call.client("elbv2").add_listener_certificates
        certificates = [{"CertificateArn": props["certificateArn"]}]
        call.retry({"CertificateNotFound"}, lambda: add(ListenerArn=props["listenerArn"], Certificates=certificates))
        call.made = f"{props['listenerArn']}_{props['certificateArn']}"
        return call.made

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """Whether the listener has it, beside its default one; the id is `LISTENER_ARN_CERTIFICATE_ARN`."""
        listener, certificate = self._parts(resource_id)
        pages = call.client("elbv2").get_paginator("describe_listener_certificates").paginate(ListenerArn=listener)
        try:
            found = {item["CertificateArn"] for page in pages for item in page["Certificates"] if not item["IsDefault"]}
        except ClientError as error:
            if gone(error):
                return None
            raise
        return {"listenerArn": listener, "certificateArn": certificate} if certificate in found else None

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Remove it."""
        listener, certificate = self._parts(resource_id)
        remove = call.client("elbv2").remove_listener_certificates
        certificates = [{"CertificateArn": certificate}]
        try:
            forget_missing(lambda: remove(ListenerArn=listener, Certificates=certificates))
        except ClientError as error:
            if "Default certificate cannot be removed" not in str(
                error
            ):  # what AWS says of one that is the default now
                raise

    @staticmethod
    def _parts(resource_id: str) -> tuple[str, str]:
        listener, separator, certificate = resource_id.partition("_arn:")
        if not listener or not separator:
            message = f"the id of a listener certificate is LISTENER_ARN_CERTIFICATE_ARN, not {resource_id}"
            raise OperationError(message)
        return listener, f"arn:{certificate}"


def _action_failures(props: Props, name: str) -> Iterator[tuple[str, str]]:
    """What an action of each type needs."""
    needs = {"fixed-response": ("fixedResponse",), "redirect": ("redirect",), "forward": ("targetGroupArn", "forward")}
    for index, action in enumerate(props.get(name) or []):
        options = needs.get(str(action.get("type")), ())
        if options and not any(action.get(option) for option in options):
            yield f"{name}[{index}]", f"an action of type {action['type']} needs {' or '.join(options)}"


class ListenerRule(Kind):
    """A rule of a listener (`aws_lb_listener_rule`)."""

    type_name = "aws:lb/listenerRule:ListenerRule"
    noun = "ELBv2 Listener Rule"
    supported = frozenset({"actions", "conditions", "listenerArn", "priority", "region", "tags"})
    replace = frozenset({"listenerArn"})
    computed = frozenset({"arn", "priority"})
    rules = Rules(sets=frozenset({"actions.forward.targetGroups", *_CONDITION_SETS}))

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """Priorities that exist, and what actions need."""
        priority = props.get("priority")
        if isinstance(priority, int) and not 1 <= priority <= 50000:
            yield "priority", f"{priority} is not between 1 and 50000"
        yield from _action_failures(props, "actions")

    def create(self, call: Call, props: Props) -> str:
        """Make it; without a priority it comes after all others, and tries again if another rule was faster."""
        api = call.client("elbv2")
        while True:
            priority = props.get("priority") or self._next_priority(call, props["listenerArn"])
            try:
                answer = api.create_rule(
                    ListenerArn=props["listenerArn"],
                    Priority=priority,
                    Conditions=api_conditions(props["conditions"]),
                    Actions=api_actions(props["actions"]),
                    **tags_argument(props),
                )
            except ClientError as error:
                if code(error) == "PriorityInUse" and not props.get("priority"):
                    continue
                raise
            call.made = str(answer["Rules"][0]["RuleArn"])
            return call.made

    @staticmethod
    def _next_priority(call: Call, listener: str) -> int:
        pages = call.client("elbv2").get_paginator("describe_rules").paginate(ListenerArn=listener)
        used = [int(rule["Priority"]) for page in pages for rule in page["Rules"] if rule["Priority"] != "default"]
        return max(used, default=0) + 1

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The rule."""
        rule = find(call, "describe_rules", "Rules", RuleArns=[resource_id])
        if rule is None:
            return None
        return {
            "arn": resource_id,
            # arn:…:listener-rule/app/NAME/LB/LISTENER/RULE → arn:…:listener/app/NAME/LB/LISTENER
            "listenerArn": resource_id.replace(":listener-rule/", ":listener/").rpartition("/")[0],
            "priority": None if rule["Priority"] == "default" else int(rule["Priority"]),
            "actions": action_props(rule.get("Actions", [])),
            "conditions": condition_props(rule.get("Conditions", [])),
            "tagsAll": read_tags(call, resource_id),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Priority, conditions and actions, in place."""
        api = call.client("elbv2")
        if "priority" in changed:
            api.set_rule_priorities(RulePriorities=[{"RuleArn": resource_id, "Priority": new["priority"]}])
        arguments: dict[str, Any] = {}
        if "conditions" in changed:
            arguments["Conditions"] = api_conditions(new["conditions"])
        if "actions" in changed:
            arguments["Actions"] = api_actions(new["actions"])
        if arguments:
            api.modify_rule(RuleArn=resource_id, **arguments)
        update_tags(call, resource_id, old, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it."""
        forget_missing(lambda: call.client("elbv2").delete_rule(RuleArn=resource_id))
