r"""Filters of EC2's Describe calls as AWS reads them: `*` and `?` are wildcards, `\` takes the next character as it is.

Decides whether a value fits a filter. Moto reads some filters as a shell's patterns, with sets in `[...]`, others not
at all. Source: EC2 API reference (Filter) and user guide ("Filtering considerations"): any of a filter's values may
fit, case counts, and one call takes at most 200 values.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from moto.ec2 import utils
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import security_groups, tags
from moto.ec2.responses._base_response import EC2BaseResponse

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

MAX_VALUES: Final = 200

_filters_of_request = EC2BaseResponse._filters_from_querystring


def patch(patches: Patches) -> None:
    """Make filters strict, wherever moto reads one."""
    patches.set(utils, "simple_aws_filter_to_re", expression)
    patches.set(tags, "simple_aws_filter_to_re", expression)
    patches.set(utils, "tag_filter_matches", tag_filter_matches)
    patches.set(security_groups, "tag_filter_matches", tag_filter_matches)
    patches.set(utils, "is_filter_matching", is_filter_matching)
    patches.set(utils, "instance_value_in_filter_values", fits)
    patches.methods(EC2BaseResponse, _filters_from_querystring)


def expression(text: str) -> str:
    """A regular expression that matches, from a value's begin, what a filter's value stands for."""
    found, characters = [], iter(text)
    for character in characters:
        if character == "\\":
            found.append(re.escape(next(characters, "\\")))
        else:
            found.append({"*": ".*", "?": "."}.get(character) or re.escape(character))
    return f"(?s:{''.join(found)})\\Z"


@functools.lru_cache(maxsize=4096)
def _compiled(text: str) -> re.Pattern[str]:
    return re.compile(expression(text))


def fits(value: Any, wanted: Any) -> bool:  # noqa: ANN401 - whatever a resource has
    """Whether a resource's value, or one of several, fits one of a filter's values."""
    values = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    patterns = [_compiled(str(text)) for text in (wanted if isinstance(wanted, list) else [wanted])]
    return any(pattern.match(_text(item)) for item in values if item is not None for pattern in patterns)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return utils.format_timestamp(value) if isinstance(value, datetime) else str(value)


def is_filter_matching(obj: Moto, _filter: str, filter_value: Moto) -> bool:
    """See `fits`."""
    return filter_value is not None and fits(obj.get_filter_value(_filter), filter_value)


def tag_filter_matches(obj: Moto, filter_name: str, filter_values: list[str]) -> bool:
    """Whether a resource has a tag that fits `tag-key`, `tag-value` or `tag:KEY`."""
    key = filter_name.removeprefix("tag:")
    found = [
        tag["key"] if filter_name == "tag-key" else tag["value"]
        for tag in obj.get_tags()
        if filter_name in {"tag-key", "tag-value"} or tag["key"] == key
    ]
    return fits(found, filter_values)


def _filters_from_querystring(self: Moto) -> Moto:
    """AWS limits the values of one call; moto does not."""
    found = _filters_of_request(self)
    if sum(len(values) for values in found.values()) > MAX_VALUES:
        raise EC2ClientError(
            "FilterLimitExceeded", f"The maximum number of filter values specified on a single call is {MAX_VALUES}"
        )
    return found
