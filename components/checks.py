"""What a dynamic provider's `check` does: hold the inputs against their model."""

from __future__ import annotations

from typing import Any

from pulumi.dynamic import CheckFailure
from pulumi.runtime.rpc import UNKNOWN
from pydantic import BaseModel, ValidationError


def check_failures(model: type[BaseModel], props: dict[str, Any]) -> list[CheckFailure]:
    """What of the inputs does not fit the model; a value that is not known yet cannot be judged yet."""
    given = {key: value for key, value in props.items() if key in model.model_fields}
    try:
        model.model_validate(given)
    except ValidationError as error:
        return [
            CheckFailure(".".join(str(part) for part in detail["loc"]), detail["msg"])
            for detail in error.errors()
            if detail["input"] != UNKNOWN
        ]
    return []
