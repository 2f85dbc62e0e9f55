"""What a rollout that fails tells of the other regions."""

from __future__ import annotations

import pytest

from fleetswap.domain.rollout.waves import Waves


@pytest.mark.parametrize(
    ("waves", "told"),
    [
        (Waves({"eu-west-1": "web-2"}, (), ("us-east-2",)), "; eu-west-1 serves web-2; us-east-2 is not begun"),
        (Waves({}, ("us-east-2",), ("a", "b")), "; us-east-2 went on beside it; a, b are not begun"),
        (Waves(), ""),
    ],
)
def test_the_error_names_what_changed_and_what_did_not(waves: Waves, told: str) -> None:
    """Whoever reads the end of an update could not tell which regions have the new release."""
    assert waves.report("us-east-1", "broken") == f"us-east-1: broken{told}"
