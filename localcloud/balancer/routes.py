"""Turns a listener's rules into the routing table that `router.lua` follows inside HAProxy.

Decides which conditions and actions the balancer can do; what it cannot raises `Unsupported`, and nothing is guessed.
Pure: no I/O. Words and semantics: ELBv2 API reference (RuleCondition, Action), user guide ("Listener rules").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localcloud.view import forwards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from localcloud.view import Rule

DEFAULT_CONTENT_TYPE = "text/plain"


class Unsupported(Exception):
    """A rule asks for something that this balancer does not do."""


def tables(nodes: Iterable[Iterable[Rule]], backend_of: Callable[[str], str]) -> str:
    """The routing table of each node of the load balancer, as a Lua chunk.

    `backend_of` names the HAProxy backend of a target group's ARN.
    """
    return "return " + _lua([[_rule(rule, backend_of) for rule in rules] for rules in nodes]) + "\n"


def pattern(glob: str) -> str:
    """The Lua pattern (manual, 6.4.1) that matches what a value with the wildcards `*` and `?` does."""
    wildcards = {"*": ".*", "?": "."}
    return "^" + "".join(wildcards.get(c) or ("%" + c if not c.isalnum() and c.isascii() else c) for c in glob) + "$"


def _rule(rule: Rule, backend_of: Callable[[str], str]) -> dict[str, Any]:
    actions = [action for action in rule.actions if action["Type"] not in {"forward", "fixed-response"}]
    if actions:
        raise Unsupported(f"action {actions[0]['Type']!r} is not supported: use forward or fixed-response")
    return {"conditions": [_condition(c) for c in rule.conditions], "action": _action(rule.actions[-1], backend_of)}


def _condition(condition: Mapping[str, Any]) -> dict[str, Any]:
    field = condition["Field"]
    config: Mapping[str, Any] = next((v for k, v in condition.items() if k.endswith("Config") and v), {})
    values = config.get("Values") or condition.get("Values") or []
    if field == "path-pattern":
        return {"field": "path", "patterns": [pattern(value) for value in values]}
    if field == "host-header":
        return {"field": "host", "patterns": [pattern(value.lower()) for value in values]}
    if field == "http-header":
        name = config["HttpHeaderName"].lower()
        return {"field": "header", "name": name, "patterns": [pattern(value.lower()) for value in values]}
    if field == "http-request-method":
        return {"field": "method", "patterns": [pattern(value) for value in values]}
    if field == "query-string":
        pairs = [{"key": pattern((v.get("Key") or "*").lower()), "value": pattern(v["Value"].lower())} for v in values]
        return {"field": "query", "pairs": pairs}
    raise Unsupported(f"condition {field!r} is not supported")


def _action(action: Mapping[str, Any], backend_of: Callable[[str], str]) -> dict[str, Any]:
    if action["Type"] == "fixed-response":
        fixed = action["FixedResponseConfig"]
        return {
            "status": int(fixed["StatusCode"]),
            "type": fixed.get("ContentType") or DEFAULT_CONTENT_TYPE,
            "body": fixed.get("MessageBody") or "",
        }
    stickiness = (action.get("ForwardConfig") or {}).get("TargetGroupStickinessConfig") or {}
    if str(stickiness.get("Enabled", False)).lower() == "true":
        raise Unsupported("target group stickiness is not supported: disable it")
    return {"forward": [{"backend": backend_of(arn), "weight": weight} for arn, weight in forwards(action)]}


def _lua(value: object) -> str:
    """A Lua literal. Strings are escaped byte by byte, so that no value can end its literal."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}={_lua(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ",".join(_lua(item) for item in value) + "}"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + "".join(f"\\{byte:03d}" if _odd(byte) else chr(byte) for byte in value.encode()) + '"'
    raise TypeError(f"no Lua literal for {value!r}")


def _odd(byte: int) -> bool:
    return not 0x20 <= byte < 0x7F or byte in b'"\\'
