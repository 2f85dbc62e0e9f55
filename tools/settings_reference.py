"""Write what is said about settings out of the models that read them, so that it cannot say anything else.

`python -m tools.settings_reference` writes docs/reference/settings.md, and the comments of Pulumi.prod.yaml and
Pulumi.staging.yaml around the values that stand there. All of it comes from the models' JSON schema.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from fleetswap_pulumi.checks import Strict, as_written
from fleetswap_pulumi.settings import NAMESPACE, Settings

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "settings.md"
WIDTH = 106
"""Characters of a line of prose; 120 with what stands before it at the deepest place."""

HEAD = """# Settings

Every key of a stack's `Pulumi.<stack>.yaml`, generated from the models that read them (`make fmt` writes this page, a
test compares it). Any other key is refused before anything is changed, and all errors are reported at once. `a.b` is
the key `b` of the object `a`, `a[]` an element of the list `a`, `a.*` a value of the map `a` by its key: the paths that
`pulumi config set --path` takes. The settings of Pulumi's AWS provider besides `aws:region` are
[on their own page](aws-settings.md).

| key | type | default | limits | meaning |
| --- | --- | --- | --- | --- |
"""

FILES = {
    "Pulumi.prod.yaml": """\
# A stack for production, with every setting. A line that is commented out shows the default, or an example if there is
# none. docs/reference/settings.md has types and limits, docs/reference/aws-settings.md the other keys `aws:…`, such as
# aws:assumeRoles and aws:defaultTags. `make fmt` writes the comments and keeps the values.
""",
    "Pulumi.staging.yaml": """\
# The stack before production. Pulumi.prod.yaml shows every setting.
# `make fmt` writes the comments and keeps the values.
""",
}
COMPLETE = "Pulumi.prod.yaml"
"""The file that also shows the settings that it does not set."""


@dataclass(frozen=True)
class Key:
    """A setting, as the models say it. `default` is None for one that is unset; `example` is what to write instead."""

    name: str
    path: str
    kind: str
    description: str
    required: bool
    default: Any
    example: Any
    limits: str
    inner: tuple[Key, ...] = ()
    """The keys of an object, or of each object of a list or a map."""
    is_map: bool = False

    @property
    def shown(self) -> Any:  # noqa: ANN401 - a setting can be anything
        """What stands in a file that does not set it: the default, or an example where that says nothing."""
        shown = self.default if self.default not in (None, [], {}) or self.example is None else self.example
        if self.inner and isinstance(shown, Mapping) and not self.is_map:
            return {name: value for name, value in shown.items() if value not in (None, [], {})}
        return shown


def main() -> None:
    """Write the page, and the comments of the two files."""
    PAGE.write_text(page())
    for name in FILES:
        file = ROOT / name
        file.write_text(commented(name, yaml.safe_load(file.read_text())["config"]))


def keys() -> tuple[Key, ...]:
    """All settings, in the order of the models."""
    schema = Settings.model_json_schema()
    meanings = {model.__name__: _meanings(model) for model in _models(Strict)}
    for each in (schema, *schema["$defs"].values()):
        for name, of in each.get("properties", {}).items():
            of.setdefault("description", meanings[each["title"]].get(name, ""))
    return tuple(_keys(schema, schema["$defs"], f"{NAMESPACE}:"))


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in base.__subclasses__():
        yield each
        yield from _models(each)


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """The text below each field of a model, or of those that it inherits from.

    pydantic can read them (`use_attribute_docstrings`), and does it whenever a model is imported: that takes a tenth of
    the CPU time of every update.
    """
    found: dict[str, str] = {}
    for each in reversed([one for one in model.__mro__ if one is not Strict and issubclass(one, Strict)]):
        module = ast.parse(textwrap.dedent(inspect.getsource(each)))
        for pair in pairwise(next(of.body for of in module.body if isinstance(of, ast.ClassDef))):
            match pair:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                    found[name] = inspect.cleandoc(said)
    return found


def page() -> str:
    """docs/reference/settings.md."""
    return HEAD + "".join(_rows(keys()))


def _rows(of: Sequence[Key]) -> Iterator[str]:
    for key in of:
        default = (
            "required"
            if key.required
            else ""
            if key.default is None or key.kind == "object"
            else f"`{_flow(key.default)}`"
        )
        cells = (f"`{key.path}`", key.kind, default, key.limits, key.description)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
        yield from _rows(key.inner)


def commented(name: str, config: Mapping[str, Any]) -> str:
    """A settings file with these values, each key after its description.

    The last key is one with a value: `pulumi config set` adds keys at the end, and would move comments from there.
    """
    named = [(key.path, key) for key in keys()]
    last = [path for path, _ in named if path in config][-1]
    named.sort(key=lambda each: each[0] == last)
    lines = _block(named, config, every=name == COMPLETE)
    return FILES[name] + "config:\n" + "".join(f"  {line}\n" for line in lines)


def _block(named: Sequence[tuple[str, Key]], values: Mapping[str, Any], *, every: bool) -> Iterator[str]:
    """The lines of an object. What it has no value for is commented out, if `every` key is to be shown."""
    for name, key in named:
        if name in values or every:
            yield from (f"# {line}" for line in textwrap.wrap(key.description, WIDTH))
        if name in values:
            yield from _value(name, key, values[name], every=every)
        elif every:
            yield from (f"# {line}" for line in _value(name, key, key.shown, every=True))


def _value(name: str, key: Key, value: Any, *, every: bool) -> Iterator[str]:  # noqa: ANN401 - a setting can be anything
    inner = [(each.name, each) for each in key.inner]
    if inner and value and isinstance(value, Mapping) and key.is_map:
        yield f"{name}:"
        for number, (each, of) in enumerate(value.items()):
            lines = _block(inner, of, every=every and not number) if isinstance(of, Mapping) else ()
            rest = {} if not isinstance(of, Mapping) else {key: of[key] for key in of if key not in dict(inner)}
            yield f"  {each}:" if isinstance(of, Mapping) and of else f"  {each}: {_flow(of)}"
            yield from (f"    {line}" for line in lines)
            yield from (f"    {other}: {_flow(has)}" for other, has in rest.items())
    elif inner and value and isinstance(value, Mapping):
        yield f"{name}:"
        yield from (f"  {line}" for line in _block(inner, value, every=every))
    elif inner and value and isinstance(value, list) and all(isinstance(each, Mapping) for each in value):
        yield f"{name}:"
        dash = "- "
        for line in _block(inner, value[0], every=every):
            yield f"  {line}" if dash and line.startswith("#") else f"  {dash or '  '}{line}"
            dash = dash if line.startswith("#") else ""
        yield from (f"  - {_flow(each)}" for each in value[1:])
    else:
        yield f"{name}: {_flow(value)}"


def _keys(schema: Mapping[str, Any], named: Mapping[str, Any], prefix: str) -> Iterator[Key]:
    for name, of in schema["properties"].items():
        path = "aws:region" if prefix + name == f"{NAMESPACE}:region" else prefix + name
        kinds = [each for each in _resolved(of, named) if each.get("type") != "null"]
        elements = [each for kind in kinds for each in _resolved(kind.get("items", {}), named)]
        values = [each for kind in kinds for each in _values(kind, named)]
        model = next((each for each in (*kinds, *elements, *values) if "properties" in each), None)
        described = of.get("description") or (model or {}).get("description", "")
        yield Key(
            name=name,
            path=path,
            kind=" or ".join(_kind(kind, named) for kind in kinds),
            description=" ".join(described.partition("\n\n")[0].split()),
            required=name in schema.get("required", ()),
            default=of.get("default"),
            example=of.get("examples", [None])[0],
            limits="; ".join(filter(None, [*map(_limits, kinds), *(_limits(each, "each ") for each in elements)])),
            inner=() if model is None else tuple(_keys(model, named, path + _below(elements, values))),
            is_map=bool(values),
        )


def _values(kind: Mapping[str, Any], named: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the values of a map may be, if they are objects."""
    under = [*kind.get("patternProperties", {}).values(), kind.get("additionalProperties", {})]
    found = [each for value in under if isinstance(value, Mapping) for each in _resolved(value, named)]
    return [each for each in found if "properties" in each]


def _below(elements: Sequence[object], values: Sequence[object]) -> str:
    return "[]." if elements else ".*." if values else "."


def _resolved(schema: Mapping[str, Any], named: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a value may be, one schema for each kind."""
    if "anyOf" in schema:
        return [each for option in schema["anyOf"] for each in _resolved(option, named)]
    if "$ref" in schema:
        return [named[schema["$ref"].rpartition("/")[2]]]
    return [schema] if schema else []


def _kind(schema: Mapping[str, Any], named: Mapping[str, Any]) -> str:
    if "const" in schema or "enum" in schema:
        return " or ".join(f"`{choice}`" for choice in schema.get("enum", [schema.get("const")]))
    if schema["type"] == "array":
        elements = _resolved(schema.get("items") or schema["prefixItems"][0], named)
        kinds = [_kind(element, named) for element in elements]
        return f"list of {' or '.join('objects' if kind == 'object' else kind for kind in kinds)}"
    if schema["type"] == "object":
        return "object" if "properties" in schema else f"map of {'objects' if _values(schema, named) else 'text'}"
    return {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}[schema["type"]]


def _limits(schema: Mapping[str, Any], whose: str = "") -> str:
    signs = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}
    sizes = {
        "minItems": "length ≥ {}",
        "maxItems": "length ≤ {}",
        "maxLength": "length ≤ {}",
    }
    forms = {**signs, **sizes, "pattern": "`{}`"}
    limits = [form.format(as_written(schema[name])) for name, form in forms.items() if name in schema]
    return whose + ", ".join(limits) if limits else ""


def _flow(value: Any) -> str:  # noqa: ANN401 - a setting can be anything
    """In one line of YAML, as a user would write it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    text = yaml.safe_dump([as_written(value)], default_flow_style=True, width=10_000).strip()[1:-1]
    return json.dumps(value) if text.startswith("'") else text


if __name__ == "__main__":
    main()
