"""The inputs of a dynamic provider: how they are read, and how its `check` validates them against their model.

It also decides how an invalid value is named, in inputs and in settings: by its key, as `pulumi config set --path`
accepts it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Sized
from typing import Any, Self

from pulumi.dynamic import CheckFailure
from pulumi.output import Unknown
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from fleetswap.domain.errors import InputError
from fleetswap_pulumi.names import FORMS

ELSEWHERE = "key"
"""In an error's context: the key that is meant, below the one that pydantic names."""

OTHERS = "others"
"""The same: further problems of the validator, by their keys."""

LONGEST = 160
"""Characters of a wrong value that is shown."""

REASONS = {
    "extra_forbidden unexpected_keyword_argument": "there is no such key",
    "missing": "is missing",
    "greater_than_equal": "must be {ge} or more",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be {le} or less",
    "less_than": "must be less than {lt}",
    "int_type int_parsing int_from_float": "must be a whole number",
    "float_type float_parsing finite_number": "must be a number",
    "bool_type bool_parsing": "must be true or false",
    "string_type": "must be text",
    "string_pattern_mismatch": "must match `{pattern}`",
    "string_too_long": "must have {max_length} characters or fewer",
    "literal_error enum": "must be {expected}",
    "tuple_type list_type": "must be a list",
    "model_type dict_type": "must be an object",
    "too_short": "must have {min_length} or more elements",
    "too_long": "must have {max_length} or fewer elements",
}
"""What pydantic says in the words of Python, in those of a settings file: by its types of errors."""


class Strict(BaseModel):
    """Forbids unknown keys, because a misspelled safety setting must not be ignored silently. Frozen after reading.

    Numbers may be strings, as `pulumi config set` writes them, and floats, as the engine hands them on.

    A validator is built when it is first used: a provider's process needs few of the models that it imports.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class ProviderInputs(Strict):
    """The inputs of one kind of resource. Fields added later have a default, so that older states stay readable."""

    @classmethod
    def of(cls, props: dict[str, Any]) -> Self:
        """Read the inputs from a resource's properties, which also contain its outputs.

        Raises `InputError` if they are not valid: a refresh and a destroy read the state without a `check`.
        """
        try:
            return cls.model_validate({key: value for key, value in props.items() if key in cls.model_fields})
        except ValidationError as error:
            problems = "; ".join(f"{key_of(each)}: {reason_of(each)}" for each in problems_of(error))
            raise InputError(
                f"this version of Fleetswap cannot read the inputs of the resource ({problems}): use the version that"
                " deployed the stack, or a newer one"
            ) from error


def check_failures(model: type[BaseModel], props: dict[str, Any]) -> list[CheckFailure]:
    """The inputs that are not valid for the model.

    A value that is not known yet, in a preview, cannot be judged yet. `create` and `update` read the inputs again, when
    everything is known.
    """
    given = {key: value for key, value in props.items() if key in model.model_fields}
    try:
        model.model_validate(given)
    except ValidationError as error:
        return [
            CheckFailure(key_of(detail), reason_of(detail))
            for detail in problems_of(error)
            if not isinstance(detail["input"], Unknown)
        ]
    return []


def problems_of(error: ValidationError) -> list[ErrorDetails]:
    """All problems, each once; those that a validator found together, one by one.

    pydantic counts only the good elements of a list: one that is too short without its bad ones has its length.
    """
    found = [each for each in error.errors() if each["type"] != "too_short" or _is_short(each)]
    return [each for detail in found for each in (detail, *_others(detail))]


def _others(detail: ErrorDetails) -> Iterator[ErrorDetails]:
    for key, reason in detail.get("ctx", {}).get(OTHERS, ()):
        yield {**detail, "msg": reason, "ctx": {ELSEWHERE: key}}


def _is_short(detail: ErrorDetails) -> bool:
    given = detail["input"]
    return not isinstance(given, Sized) or len(given) < detail["ctx"]["min_length"]


def wrong(key: str, reason: str) -> PydanticCustomError:
    """For a validator of several keys: reports a problem with a key (`a.b`) below the validator's own."""
    return PydanticCustomError("wrong", "{reason}", {ELSEWHERE: key, "reason": reason})


def wrong_together(problems: Sequence[tuple[str, str]]) -> PydanticCustomError:
    """For a validator that has found several problems, keys below its own and what is wrong with them: reports all.

    pydantic takes one error of a validator, so the others are in its context: `problems_of` takes them out.
    """
    (key, reason), *others = problems
    return PydanticCustomError("wrong", "{reason}", {ELSEWHERE: key, "reason": reason, OTHERS: others})


def key_of(detail: ErrorDetails) -> str:
    """The key of a problem, as Pulumi writes a path: `rollout.strategy[0].weight`, `tags["aws:x"]`."""
    above, below = path_of(detail["loc"]), detail.get("ctx", {}).get(ELSEWHERE)
    return ".".join(each for each in (above, below) if each)


def path_of(parts: Sequence[int | str]) -> str:
    """A path of these parts, in Pulumi's syntax."""
    path = ""
    for part in parts:
        if part == "[key]":  # pydantic's, of a key that is wrong itself
            continue
        if isinstance(part, int):
            path += f"[{part}]"
        elif re.fullmatch(r"\w[\w-]*", part):
            path += f".{part}" if path else part
        else:
            path += f'["{part}"]'
    return path


def reason_of(detail: ErrorDetails) -> str:
    """What is wrong with the value, and the value itself if it is short."""
    for kinds, form in REASONS.items():
        if detail["type"] in kinds.split():
            given = detail["input"]
            limits = {name: as_written(limit) for name, limit in detail.get("ctx", {}).items()}
            words = FORMS.get(str(limits.get("pattern")))
            reason = f"must be {words}" if words else form.format(**limits)
            if not (isinstance(given, (str, int, float)) and len(str(given)) <= LONGEST and reason.startswith("must")):
                return reason
            # YAML reads 200 as a number, and `codes` is text.
            quotes = ": put it in quotes" if reason == "must be text" else ""
            return f"{reason}, not {_as_yaml(given)}{quotes}"
    return detail["msg"].removeprefix("Value error, ")


def as_written(value: object) -> object:
    """A value as a user writes it: 100 and not 100.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
