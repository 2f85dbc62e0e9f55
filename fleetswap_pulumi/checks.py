"""The inputs of a dynamic provider: how they are read, and how its `check` holds them against their model.

Also how what is wrong is named, in inputs and in settings: by its key, as `pulumi config set --path` takes it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Self

from pulumi.dynamic import CheckFailure
from pulumi.output import Unknown
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

ELSEWHERE = "key"
"""In an error's context: the key that is meant, below the one that pydantic names."""


class Strict(BaseModel):
    """No unknown keys, because a misspelt safety setting must not be ignored silently; nothing changes after reading.

    Numbers may be strings, as `pulumi config set` writes them, and floats, as the engine hands them on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class ProviderInputs(Strict):
    """The inputs of one kind of resource. What comes later gets a default, so that older states stay readable."""

    @classmethod
    def of(cls, props: dict[str, Any]) -> Self:
        """Read the inputs out of a resource's properties, which also hold its outputs."""
        return cls.model_validate({key: value for key, value in props.items() if key in cls.model_fields})


def check_failures(model: type[BaseModel], props: dict[str, Any]) -> list[CheckFailure]:
    """What of the inputs does not fit the model.

    A value that is not known yet, in a preview, cannot be judged yet. `create` and `update` read the inputs again, when
    everything is known.
    """
    given = {key: value for key, value in props.items() if key in model.model_fields}
    try:
        model.model_validate(given)
    except ValidationError as error:
        return [
            CheckFailure(key_of(detail), reason_of(detail))
            for detail in error.errors()
            if not isinstance(detail["input"], Unknown)
        ]
    return []


def wrong(key: str, reason: str) -> PydanticCustomError:
    """For a validator that looks at several keys: what is wrong with one of those below its own."""
    return PydanticCustomError("wrong", "{reason}", {ELSEWHERE: key, "reason": reason})


def key_of(detail: ErrorDetails) -> str:
    """Which key is wrong, as Pulumi writes a path: `rollout.strategy[0].weight`, `tags["aws:x"]`."""
    below: str | None = detail.get("ctx", {}).get(ELSEWHERE)
    return path_of((*detail["loc"], *([] if below is None else [below])))


def path_of(parts: Sequence[int | str]) -> str:
    """The parts of a path, as Pulumi writes them."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif re.fullmatch(r"\w[\w-]*", part):
            path += f".{part}" if path else part
        else:
            path += f'["{part}"]'
    return path


def reason_of(detail: ErrorDetails) -> str:
    """What is wrong with it."""
    if detail["type"] == "extra_forbidden":
        return "there is no such key"
    if detail["type"] == "missing":
        return "is missing"
    return detail["msg"].removeprefix("Value error, ")
