"""Turns a listener's rules into the routing table that `router.lua` follows inside HAProxy.

Decides which conditions and actions the balancer can do; what it cannot raises `Unsupported`, and nothing is guessed.
Pure: no I/O. Words and semantics: ELBv2 API reference (RuleCondition, Action), user guide ("Listener rules").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localcloud.balancer import clients
from localcloud.view import forwards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from localcloud.view import Rule

DEFAULT_CONTENT_TYPE = "text/plain"

ACTIONS = ("forward", "fixed-response", "redirect")

UNCHANGED = {"Protocol": "#{protocol}", "Port": "#{port}", "Host": "#{host}", "Path": "/#{path}", "Query": "#{query}"}
"""What a redirect leaves as it is, where it names nothing else (API reference, RedirectActionConfig)."""


class Unsupported(Exception):
    """A rule asks for something that this balancer does not do."""


def tables(nodes: Iterable[Iterable[Rule]], backend_of: Callable[[str], tuple[str, str]]) -> str:
    """The routing table of each node of the load balancer, as a Lua chunk.

    `backend_of` tells the HAProxy backend of a target group's ARN, and the version of HTTP that its targets speak.
    """
    return "return " + _lua([[_rule(rule, backend_of) for rule in rules] for rules in nodes]) + "\n"


def pattern(glob: str, *, escapes: bool = False) -> str:
    """The Lua pattern (manual, 6.4.1) that matches what a value with the wildcards `*` and `?` does.

    With `escapes`, a backslash makes the wildcard after it a character like any other.
    """
    wildcards = {"*": ".*", "?": "."}
    found, literal = "", False
    for character in glob:
        if escapes and character == "\\" and not literal:
            literal = True
            continue
        plain = "%" + character if not character.isalnum() and character.isascii() else character
        found += plain if literal else wildcards.get(character, plain)
        literal = False
    return f"^{found}$"


def _rule(rule: Rule, backend_of: Callable[[str], tuple[str, str]]) -> dict[str, Any]:
    actions = [action for action in rule.actions if action["Type"] not in ACTIONS]
    if actions:
        raise Unsupported(f"action {actions[0]['Type']!r} is not supported: use {', '.join(ACTIONS)}")
    return {"conditions": [_condition(c) for c in rule.conditions], "action": _action(rule.actions[-1], backend_of)}


def _condition(condition: Mapping[str, Any]) -> dict[str, Any]:
    field = condition["Field"]
    config: Mapping[str, Any] = next((v for k, v in condition.items() if k.endswith("Config") and v), {})
    values = config.get("Values") or condition.get("Values") or []
    if config.get("RegexValues") or condition.get("RegexValues"):
        raise Unsupported(f"regular expressions of the condition {field!r} are not supported: use values")
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
        pairs = [
            {
                "key": pattern((pair.get("Key") or "*").lower(), escapes=True),
                "value": pattern(pair["Value"].lower(), escapes=True),
            }
            for pair in values
        ]
        return {"field": "query", "pairs": pairs}
    if field == "source-ip":
        spans = [clients.span(network) for block in values for network in clients.networks(block)]
        return {"field": "source", "spans": [{"first": first, "last": last} for first, last in spans]}
    raise Unsupported(f"condition {field!r} is not supported")


def _action(action: Mapping[str, Any], backend_of: Callable[[str], tuple[str, str]]) -> dict[str, Any]:
    if action["Type"] == "redirect":
        config = action["RedirectConfig"]
        to = {name.lower(): config.get(name) or kept for name, kept in UNCHANGED.items()}
        to["query"] = config.get("Query", UNCHANGED["Query"])  # an empty one takes the query away
        return {"status": int(config["StatusCode"].removeprefix("HTTP_")), "redirect": to}
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
    groups = [(*backend_of(arn), weight) for arn, weight in forwards(action)]
    return {"forward": [{"backend": name, "version": version, "weight": weight} for name, version, weight in groups]}


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
