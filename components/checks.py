"""What a dynamic provider's `check` does: hold the inputs against their model."""

from __future__ import annotations

from typing import Any

from pulumi.dynamic import CheckFailure
from pulumi.output import Unknown
from pydantic import BaseModel, ValidationError


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
            CheckFailure(".".join(str(part) for part in detail["loc"]), detail["msg"])
            for detail in error.errors()
            if not isinstance(detail["input"], Unknown)
        ]
    return []
