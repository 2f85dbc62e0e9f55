"""A request of KMS that was let through: who asks, for what. Decides nothing."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from moto.utilities.utils import get_partition

from localcloud.kms.refusals import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localcloud.authorization.callers import Caller
    from localcloud.moto_state import Moto

Item = TypeVar("Item")


@dataclass(frozen=True)
class Request:
    """See the module's docstring. `kms` is moto's backend of the account and the region."""

    operation: str
    parameters: Mapping[str, Any]
    caller: Caller
    account: str
    region: str
    kms: Moto

    def arn(self, resource: str) -> str:
        """The ARN of a key or an alias of this account and region."""
        return f"arn:{get_partition(self.region)}:kms:{self.region}:{self.account}:{resource}"

    def page(self, member: str, items: Sequence[Item], default: int, most: int) -> dict[str, Any]:
        """One page of a list, as `Limit` and `Marker` ask for it. Raises `Refused`."""
        limit = min(int(self.parameters.get("Limit") or default), most)
        marker, start = self.parameters.get("Marker"), 0
        if marker:
            try:
                start = int(base64.b64decode(marker, validate=True))
            except ValueError:
                raise Refused("InvalidMarkerException", "Invalid marker") from None
        shown = list(items[start : start + limit])
        truncated = start + limit < len(items)
        more = {"NextMarker": base64.b64encode(str(start + limit).encode()).decode()} if truncated else {}
        return {member: shown, "Truncated": truncated, **more}
