"""What the types of the installed `pulumi_aws` look like: property names on the wire, their types, which are required.

It reads the generated source of the SDK and never imports it: importing `pulumi_aws.ec2` runs 90,000 generated lines
(2 s), parsing the few classes that a type is made of takes milliseconds. It decides nothing about AWS: what a property
does, and whether its change replaces the resource, is said by the kinds.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_TOP_LEVEL = re.compile(r"\n(?=\S)")
"""Where the next statement of a module begins."""

Scalar = Literal["str", "int", "float", "bool", "any"]


@dataclass(frozen=True)
class ScalarType:
    """A plain value. `any` accepts everything (the SDK says `Any`, or something this reader does not need to know)."""

    name: Scalar


@dataclass(frozen=True)
class ListType:
    """A list; AWS may still see a set in it, which the kinds say."""

    item: Type


@dataclass(frozen=True)
class MapType:
    """A map with keys of the user's choice, such as tags."""

    item: Type


@dataclass(frozen=True)
class ObjectType:
    """A nested object, named so that it is read only when it is met: the SDK's types may refer to themselves."""

    module: str
    class_name: str

    def properties(self) -> dict[str, Property]:
        """The object's properties by wire name."""
        return class_properties(self.module, "_inputs", self.class_name)


Type = ScalarType | ListType | MapType | ObjectType


@dataclass(frozen=True)
class Property:
    """One property: its type, and whether the SDK demands it."""

    type: Type
    required: bool


@dataclass(frozen=True)
class ResourceSchema:
    """A resource type: what may be given, and what it has once it exists (inputs included)."""

    token: str
    inputs: dict[str, Property]
    outputs: dict[str, Property]


class UnknownTypeError(LookupError):
    """The installed `pulumi_aws` has no such resource type."""


@functools.cache
def sdk_root() -> Path:
    """Where `pulumi_aws` is installed; finding it does not import it."""
    spec = importlib.util.find_spec("pulumi_aws")
    if spec is None or spec.origin is None:
        message = "pulumi_aws is not installed in the plugin's environment: install the project's requirements"
        raise UnknownTypeError(message)
    return Path(spec.origin).parent


@functools.cache
def resource(token: str) -> ResourceSchema:
    """The schema of a type token such as `aws:ec2/vpc:Vpc`.

    Raises UnknownTypeError if the token is malformed or the installed SDK has no such type.
    """
    match = re.fullmatch(r"aws:([a-z0-9]+)/([A-Za-z0-9]+):([A-Za-z0-9]+)", token)
    if match is None:
        message = f"{token} is not a resource type of the aws provider"
        raise UnknownTypeError(message)
    module, member, name = match.groups()
    file = _snake(member)
    if not (sdk_root() / module / f"{file}.py").is_file():
        message = f"{token} is not a resource type of the installed pulumi_aws"
        raise UnknownTypeError(message)
    return ResourceSchema(
        token=token,
        inputs=class_properties(module, file, f"{name}Args"),
        outputs=class_properties(module, file, f"_{name}State"),
    )


def provider() -> dict[str, Property]:
    """The provider's own configuration keys."""
    return class_properties("", "provider", "ProviderArgs")


@functools.cache
def class_properties(module: str, file: str, class_name: str) -> dict[str, Property]:
    """The properties of one generated input class, by wire name.

    Raises UnknownTypeError if the SDK's file has no such class.
    """
    text = _source(module, file)
    start = text.find(f"\nclass {class_name}:\n")
    if start < 0:
        message = f"{class_name} is not in the installed pulumi_aws"
        raise UnknownTypeError(message)
    next_statement = _TOP_LEVEL.search(text, text.index("\n", start + 1))
    end = next_statement.start() if next_statement else len(text)
    body = ast.parse(text[start:end]).body[0]
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - the text was cut at `class NAME:`
    wire_names: dict[str, str] = {}
    signature: ast.arguments | None = None
    for node in body.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        if node.name == "__init__" and signature is None:
            signature = node.args
        for decorator in node.decorator_list:
            if _is_getter(decorator):
                wire_names[node.name] = _getter_name(decorator) or node.name
    if signature is None:
        message = f"{class_name} of the installed pulumi_aws has no constructor to read"
        raise UnknownTypeError(message)
    found: dict[str, Property] = {}
    for argument, default in zip(signature.kwonlyargs, signature.kw_defaults, strict=True):
        kind = _type(argument.annotation, module)
        found[wire_names.get(argument.arg, argument.arg)] = Property(kind, required=default is None)
    return found


@functools.cache
def _source(module: str, file: str) -> str:
    return (sdk_root() / module / f"{file}.py").read_text(encoding="utf-8")


def _snake(name: str) -> str:
    """`routeTableAssociation` as the SDK's file name, `route_table_association`."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _is_getter(node: ast.expr) -> bool:
    target = node.func if isinstance(node, ast.Call) else node
    return isinstance(target, ast.Attribute) and target.attr == "getter"


def _getter_name(node: ast.expr) -> str | None:
    if isinstance(node, ast.Call):
        for keyword in node.keywords:
            if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                return str(keyword.value.value)
    return None


def _type(node: ast.expr | None, module: str) -> Type:  # noqa: PLR0911 - one branch for each form of the SDK
    """The type that an annotation such as `pulumi.Input[Optional[Sequence[pulumi.Input['XArgs']]]]` stands for."""
    if node is None:
        return ScalarType("any")
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _named(node.value, module)
    if isinstance(node, ast.Attribute):
        scalars: dict[str, Scalar] = {"str": "str", "int": "int", "float": "float", "bool": "bool"}
        return ScalarType(scalars.get(node.attr, "any"))
    if not isinstance(node, ast.Subscript):
        return ScalarType("any")
    head = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
    inner = node.slice
    if head in {"Input", "InputType", "Optional"}:
        return _type(inner, module)
    if head == "Sequence":
        return ListType(_type(inner, module))
    if head == "Mapping" and isinstance(inner, ast.Tuple):
        return MapType(_type(inner.elts[1], module))
    if head == "Union" and isinstance(inner, ast.Tuple):
        # An enum beside its plain type, or an Args class beside its dict form: the first that says something.
        options = [_type(option, module) for option in inner.elts]
        return next((option for option in options if option != ScalarType("any")), ScalarType("any"))
    return ScalarType("any")


def _named(name: str, module: str) -> Type:
    owner, _, bare = name.rpartition(".")
    if bare.endswith("Args"):
        return ObjectType(owner.lstrip("_") or module, bare)
    if bare.endswith("ArgsDict"):
        return ObjectType(owner.lstrip("_") or module, bare.removesuffix("Dict"))
    return ScalarType("str")  # an enum; all of the SDK's enums used here are strings
