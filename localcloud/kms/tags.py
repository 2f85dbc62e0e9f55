"""Tags of keys. Source: KMS API reference, TagResource (TagException), Tag; developer guide, "Resource quotas"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from localcloud.kms.refusals import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST: Final = 50


def check(given: Sequence[dict[str, Any]], known: Sequence[str] = ()) -> None:
    """Raise `Refused` for tags that a key with these keys cannot get."""
    names = [str(tag["TagKey"]) for tag in given]
    if len(set(names)) < len(names):
        raise Refused("TagException", "Duplicate tag keys")
    if any(name.lower().startswith("aws:") for name in names):
        raise Refused("TagException", "aws: prefixed tag key names are not allowed for external use.")
    if len({*names, *known}) > MOST:
        raise Refused("TagException", "Too many tags")
