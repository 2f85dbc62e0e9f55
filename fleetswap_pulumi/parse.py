"""Validates what a stack's configuration holds, as text, all of it together.

`infra.config` and `fleetswap permissions` use it, so that both understand a stack alike. It reads no file and asks
nobody.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fleetswap.domain import access
from fleetswap.domain.errors import InputError
from fleetswap_pulumi.checks import key_of, problems_of, reason_of
from fleetswap_pulumi.region_settings import SAME_EVERYWHERE, laid_over, overrides
from fleetswap_pulumi.settings import NAMESPACE, Settings

_Problem = tuple[str, str, str]


def parse(given: Mapping[str, str], *, region: str | None, aws: Mapping[str, str] | None = None) -> Settings:
    """Validate raw configuration, whose objects are JSON strings. One `InputError` reports all that is invalid.

    `given` are the settings of `NAMESPACE`, `aws` those of the AWS provider besides the region, both without it. What
    is set for a further region is validated together with what it takes from the stack, as a stack would be.
    """
    values: dict[str, Any] = {}
    if region is not None:
        values["region"] = region
    for key, value in given.items():
        if key in ("region", "aws"):
            raise InputError(f"{NAMESPACE}:{key} is not a setting: use aws:{'region' if key == 'region' else '…'}")
        if key == "elsewhere":
            raise InputError(f"{NAMESPACE}:{key} is not a setting (docs/reference/settings.md lists them)")
        values[key] = _structured(value)
    provider = {key: _structured(value) for key, value in (aws or {}).items()}
    settings, found = _validated(values, provider)
    problems = [_problem(*each) for each in found]
    elsewhere: dict[str, Settings] = {}
    for name, of_region in _regions(values).items():
        there, wrong = _validated(_of_region(values, name, of_region), {**provider, **_own_provider(of_region)})
        # What it takes from the stack is told of the stack.
        problems += [
            _problem(f"regions.{name}.{key}", kind, why)
            for key, kind, why in wrong
            if key != "region" and (key, kind, why) not in found
        ]
        if there is not None:
            elsewhere[name] = there
    problems += _collisions(settings, values, elsewhere)
    if settings is None or problems:
        raise InputError(
            f"the settings of the stack are not valid, nothing was changed: {'; '.join(dict.fromkeys(problems))}"
        )
    return settings.model_copy(update={"elsewhere": elsewhere})


def _validated(values: Mapping[str, Any], provider: Mapping[str, Any]) -> tuple[Settings | None, list[_Problem]]:
    """The settings, or what is wrong: the key, the type of the error, the reason."""
    problems: list[_Problem] = []
    given = dict(values)
    try:
        given["aws"] = access.Settings.of(provider)
    except InputError as error:
        problems.append(("", "aws", str(error)))
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        return None, [*problems, *((key_of(each), each["type"], reason_of(each)) for each in problems_of(error))]
    return (None if problems else settings), problems


def _regions(values: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The raw settings of the further regions, but for those that are retired or not settings at all."""
    given = values.get("regions")
    found = {str(name): {} if of is None else of for name, of in given.items()} if isinstance(given, Mapping) else {}
    return {name: of for name, of in found.items() if isinstance(of, Mapping) and not _is_true(of.get("retire"))}


def _of_region(values: Mapping[str, Any], name: str, of_region: Mapping[str, Any]) -> dict[str, Any]:
    """The raw settings of one further region as if it were a stack of its own."""
    stack = {key: value for key, value in values.items() if key not in ("regions", "wave")}
    own = {key: value for key, value in overrides(of_region).items() if key not in SAME_EVERYWHERE}
    wave = of_region.get("wave")
    return {**laid_over(stack, own), "region": name, "wave": _next(values.get("wave", 1)) if wave is None else wave}


def _next(wave: object) -> object:
    """The wave after the home region's; what is no number is told of that one."""
    try:
        return min(int(str(wave).removesuffix(".0")) + 1, 100)
    except ValueError:
        return 1


def _own_provider(of_region: Mapping[str, Any]) -> Mapping[str, Any]:
    """A region's own settings of the AWS provider; what is no object, `RegionSettings` refuses."""
    given = of_region.get("aws")
    return given if isinstance(given, Mapping) else {}


def _is_true(value: object) -> bool:
    """As the model reads it; what it cannot read, it refuses."""
    try:
        return bool(TypeAdapter(bool).validate_python(value))
    except ValidationError:
        return False


_UNSHARED: Sequence[tuple[str, str, Callable[[Settings], str | None]]] = (
    ("endpoint", "and a local cloud stands for one region", lambda of: of.endpoint),
    (
        "front.domain.name",
        "and the record of a name is of one load balancer: give each region a name of its own",
        lambda of: None if of.front.domain is None else of.front.domain.name,
    ),
)
"""What two regions cannot share: the setting, why, and its value."""


def _collisions(home: Settings | None, values: Mapping[str, Any], elsewhere: Mapping[str, Settings]) -> Iterator[str]:
    region = values.get("region")
    if region in _regions(values):
        yield f"{NAMESPACE}:regions.{region}: is the stack's own region: remove it, or change aws:region"
    fleets = [("", home)] if home is not None else []
    fleets += [(f"regions.{name}.", there) for name, there in elsewhere.items() if name != region]
    for where, there in fleets[1:] if home is not None else fleets:
        if there.secrets is not None and there.secrets.own_key:
            yield (
                f"{NAMESPACE}:{where}secrets: the stack's own key is of the home region: set `kms_key` to a key of"
                f" {there.region}, or `secrets` to false"
            )
    for key, why, of in _UNSHARED:
        taken: dict[object, str] = {}
        for where, there in fleets:
            path, value = f"{NAMESPACE}:{where}{key}", of(there)
            if value is not None and value in taken:
                yield f"{path}: {value} is {taken[value]}, {why}"
            taken[value] = path


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


def _problem(path: str, kind: str, reason: str) -> str:
    if kind == "aws":
        return reason if not path else f"{NAMESPACE}:{path.removesuffix('.')}: {reason}"
    key = "aws:region" if path == "region" else f"{NAMESPACE}:{path}"
    if kind == "extra_forbidden":
        return f"{key} is not a setting (docs/reference/settings.md lists them)"
    if kind == "missing":
        return f"{key} is missing"
    return f"{key}: {reason}"
