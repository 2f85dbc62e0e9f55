"""Validates what a stack's configuration holds, as text, all of it together.

`infra.config` and `fleetswap permissions` use it, so that both understand a stack alike. It reads no file and asks
nobody.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fleetswap.domain import access
from fleetswap.domain.errors import InputError
from fleetswap_pulumi.checks import key_of, problems_of, reason_of
from fleetswap_pulumi.settings import NAMESPACE, Settings


def parse(given: Mapping[str, str], *, region: str | None, aws: Mapping[str, str] | None = None) -> Settings:
    """Validate raw configuration, whose objects are JSON strings. One `InputError` reports all that is invalid.

    `given` are the settings of `NAMESPACE`, `aws` those of the AWS provider besides the region, both without it.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    if region is not None:
        values["region"] = region
    for key, value in given.items():
        if key in ("region", "aws"):
            raise InputError(f"{NAMESPACE}:{key} is not a setting: use aws:{'region' if key == 'region' else '…'}")
        values[key] = _structured(value)
    try:
        values["aws"] = access.Settings.of({key: _structured(value) for key, value in (aws or {}).items()})
    except InputError as error:
        problems.append(str(error))
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems += [_problem(detail) for detail in problems_of(error)]
    if problems:
        raise InputError(f"the settings of the stack are not valid, nothing was changed: {'; '.join(problems)}")
    return settings


def settings_of(config: Mapping[str, str]) -> Settings:
    """The validated settings of a stack's configuration, whose objects are JSON strings.

    `InputError` reports all that is invalid, as a deploy would.
    """
    ours, aws = (
        {key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)}
        for prefix in (f"{NAMESPACE}:", "aws:")
    )
    return parse(ours, region=aws.pop("region", None), aws=aws)


def _structured(value: str) -> object:
    """Objects and lists arrive as JSON text; everything else, broken JSON too, stays the text that it is."""
    if value[:1] not in {"{", "["}:
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _problem(detail: ErrorDetails) -> str:
    path = key_of(detail)
    key = "aws:region" if path == "region" else f"{NAMESPACE}:{path}"
    if detail["type"] == "extra_forbidden":
        return f"{key} is not a setting (docs/reference/settings.md lists them)"
    if detail["type"] == "missing":
        return f"{key} is missing"
    return f"{key}: {reason_of(detail)}"
