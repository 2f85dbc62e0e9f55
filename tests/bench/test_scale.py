"""What the scale benchmark measures in: the account, and what counts as an update that changes nothing."""

from __future__ import annotations

import pytest

from bench.scale import RELEASES, SERVICES, _others, _unchanged
from bench.upload import Refused


@pytest.mark.parametrize(
    "summary",
    [
        "+ 1 created\n    52 unchanged",
        "~ 1 to update\n    52 unchanged",
        "- 1 to delete\n    51 unchanged",
        "+ 3 created",
    ],
)
def test_what_changes_something_is_not_timed(summary: str) -> None:
    """A deploy would be timed as an update that does nothing, or a plain program as deployed that is not."""
    with pytest.raises(Refused, match="change nothing"):
        _unchanged((4.0, f"Previewing update (local):\n\nResources:\n    {summary}\n"))
    assert _unchanged((4.0, "Updating (local):\n\nResources:\n    52 unchanged\n\nDuration: 3s\n")) == 4.0


def test_the_account_has_the_other_services() -> None:
    """The service would be measured alone in its account."""
    others = list(_others())
    assert len(set(others)) == len(others) == (SERVICES - 1) * RELEASES
    assert len({service for service, _ in others}) == SERVICES - 1
