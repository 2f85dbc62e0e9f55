"""Print docs/reference/settings.md from the model that reads the settings, so that it cannot say anything else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fleetswap_pulumi.settings import NAMESPACE, Settings

HEAD = """# Settings

Every key of a stack's `Pulumi.<stack>.yaml`, made from the model that reads them (`make fmt` writes this page, a test
compares it). A key that is not here is refused with its name, before anything is touched; all that is wrong is told at
once. Keys with a dot are keys inside the object before the dot.

| key | type | default | limits | meaning |
| --- | --- | --- | --- | --- |
"""


def main() -> None:
    """Write the page to standard output."""
    sys.stdout.write(render())


def render() -> str:
    """The page."""
    return HEAD + "".join(rows(Settings, f"{NAMESPACE}:"))


def rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """One line a key, nested models after the key that holds them."""
    for name, field in model.model_fields.items():
        key = "aws:region" if prefix + name == f"{NAMESPACE}:region" else prefix + name
        inner = _model_of(field.annotation)
        kind = _kind(field.annotation)
        limits = "; ".join(filter(None, (_limit(item) for item in field.metadata)))
        cells = (f"`{key}`", kind, _default(field), limits, " ".join((field.description or "").split()))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
        if inner:
            yield from rows(inner, f"{key}[]." if "list" in kind else f"{key}.")


def _model_of(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - an annotation can be anything
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_of(option) for option in getattr(annotation, "__args__", ()))
    return next((model for model in found if model), None)


def _kind(annotation: Any) -> str:  # noqa: ANN401 - an annotation can be anything
    names = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "NoneType": ""}
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        if issubclass(annotation, BaseModel):
            return "object"
        return names.get(annotation.__name__, annotation.__name__)
    origin = getattr(annotation, "__origin__", None)
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in annotation.__args__)
    inner = [_kind(item) for item in getattr(annotation, "__args__", ()) if item is not Ellipsis]
    if origin is dict:
        return "map of text"
    if origin is tuple:
        return f"list of {'objects' if inner[0] == 'object' else inner[0]}"
    return " or ".join(part for part in inner if part)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None or isinstance(field.default, BaseModel):
        return ""
    if isinstance(field.default, tuple):
        return f"`[{', '.join(_plain(item) for item in field.default)}]`"
    return f"`{field.default}`"


def _plain(item: Any) -> str:  # noqa: ANN401 - a default can be anything
    if not isinstance(item, BaseModel):
        return str(item)
    return "{" + ", ".join(f"{key}: {value:g}" for key, value in item.model_dump().items()) + "}"


def _limit(constraint: Any) -> str:  # noqa: ANN401 - pydantic keeps constraints of many classes
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "at least", "max_length": "at most"}
    parts = []
    for attribute, sign in signs.items():
        value = getattr(constraint, attribute, None)
        if value is not None:
            parts.append(f"{sign} {value}" + (" long" if attribute.endswith("length") else ""))
    pattern = getattr(constraint, "pattern", None)
    if pattern:
        parts.append(f"`{pattern}`")
    return ", ".join(parts)


if __name__ == "__main__":
    main()
