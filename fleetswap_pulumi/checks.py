"""The inputs of a dynamic provider: how they are read, and how its `check` holds them against their model."""

from __future__ import annotations

from typing import Any, Self

from pulumi.dynamic import CheckFailure
from pulumi.output import Unknown
from pydantic import BaseModel, ConfigDict, ValidationError


class ProviderInputs(BaseModel):
    """The inputs of one kind of resource. What comes later gets a default, so that older states stay readable."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
            CheckFailure(".".join(str(part) for part in detail["loc"]), detail["msg"])
            for detail in error.errors()
            if not isinstance(detail["input"], Unknown)
        ]
    return []
