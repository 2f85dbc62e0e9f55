"""Whether an answer's bytes are what AWS's model of the operation says: its members only, each of its type.

A client drops a member that its model lacks, so only the bytes show that one is wrong.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterator

_METADATA = {"ResponseMetadata", "requestId", "RequestId"}
_TRUE = {
    (".internetGatewaySet[].attachmentSet[].state", "available"),
    (".vpcEndpoint.state", "pending"),
    (".vpcEndpoint.state", "available"),
    (".vpcEndpointSet[].state", "pending"),
    (".vpcEndpointSet[].state", "available"),
}
"""What a model does not list and AWS says (API reference, InternetGatewayAttachment; an endpoint's states are in small
letters in the examples of CreateVpcEndpoint and DescribeVpcEndpoints)."""
_SCALARS = {
    "boolean": r"true|false",
    "integer": r"-?\d+",
    "long": r"-?\d+",
    "float": r"-?\d+(\.\d+)?(e[+-]?\d+)?",
    "double": r"-?\d+(\.\d+)?(e[+-]?\d+)?",
    "timestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)",
}


class Wire:
    """Collects what is wrong with the answers of the clients that it watches."""

    def __init__(self) -> None:
        self.checked: set[str] = set()
        self.problems: list[str] = []

    def watch(self, client: Any) -> Any:
        """Check every answer of a client from now on."""
        client.meta.events.register("before-parse", self._check)
        return client

    def _check(self, operation_model: Any, response_dict: Any, **_: Any) -> None:
        shape, body = operation_model.output_shape, response_dict["body"]
        name = f"{operation_model.service_model.service_name}:{operation_model.name}"
        self.checked.add(name)
        if response_dict["status_code"] >= 300 or shape is None or not body:
            return
        if body.startswith(b"{"):
            found = _json(shape, json.loads(body), "")
        else:
            root = ET.fromstring(body)  # noqa: S314 - the local cloud's own answer
            wrapper = shape.serialization.get("resultWrapper")
            found = _xml(shape, root if wrapper is None else _children(root)[wrapper][0], "")
        self.problems += [f"{name}{problem}" for problem in found]


def _children(element: ET.Element) -> dict[str, list[ET.Element]]:
    found: dict[str, list[ET.Element]] = {}
    for child in element:
        found.setdefault(child.tag.rpartition("}")[2], []).append(child)
    return found


def _xml(shape: Any, element: ET.Element, path: str) -> Iterator[str]:
    if shape.type_name == "structure":
        yield from _members(shape, element, path)
    elif shape.type_name == "list":
        item_name = shape.member.serialization.get("name", "member")
        for tag, items in _children(element).items():
            if tag != item_name:
                yield f"{path}.{tag} is no {item_name}"
            for item in items:
                yield from _xml(shape.member, item, f"{path}[]")
    elif shape.type_name == "map":
        yield from (f"{path} has an entry of {len(entry)} parts" for entry in element if len(entry) != 2)
    else:
        yield from _scalar(shape, element.text or "", path)


def _members(shape: Any, element: ET.Element, path: str) -> Iterator[str]:
    known = {_name(member, name): member for name, member in shape.members.items()}
    for tag, items in _children(element).items():
        here = f"{path}.{tag}"
        if tag not in known:
            yield from () if tag in _METADATA else (f"{here} is not in the model",)
        elif known[tag].type_name == "list" and known[tag].serialization.get("flattened"):
            for item in items:
                yield from _xml(known[tag].member, item, here)
        else:
            yield from () if len(items) == 1 else (f"{here} is there {len(items)} times",)
            yield from _xml(known[tag], items[0], here)


def _name(member: Any, name: str) -> str:
    if member.type_name == "list" and member.serialization.get("flattened"):
        name = member.member.serialization.get("name", name)
    return str(member.serialization.get("name", name))


def _scalar(shape: Any, text: str, path: str) -> Iterator[str]:
    pattern = _SCALARS.get(shape.type_name)
    if pattern and not re.fullmatch(pattern, text, re.IGNORECASE):
        yield f"{path} is {text!r}, no {shape.type_name}"
    known = shape.metadata.get("enum")
    if known and text not in known and (path, text) not in _TRUE:
        yield f"{path} is {text!r}, none of {', '.join(known[:9])}"


_JSON = {"blob": str, "boolean": bool, "string": str, "structure": dict, "list": list, "map": dict}


def _json(shape: Any, value: Any, path: str) -> Iterator[str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (isinstance(value, _JSON[shape.type_name]) if shape.type_name in _JSON else number):
        yield f"{path} is {value!r}, no {shape.type_name}"
    elif shape.type_name == "structure":
        known = {member.serialization.get("name", name): member for name, member in shape.members.items()}
        for key, item in value.items():
            if key not in known:
                yield f"{path}.{key} is not in the model"
            elif item is not None:
                yield from _json(known[key], item, f"{path}.{key}")
    elif shape.type_name == "list":
        for item in value:
            yield from _json(shape.member, item, f"{path}[]")
    elif shape.type_name == "string":
        yield from _scalar(shape, value, path)
