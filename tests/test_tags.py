"""The tags of a resource, as the one policy makes them."""

from __future__ import annotations

import pytest

from fleetswap.domain import tags
from fleetswap.domain.errors import InputError


def test_a_resource_has_the_users_tags_and_ours() -> None:
    """A machine could not be told from those of another release or image, or the user's own tags be lost."""
    made = tags.policy("shop/prod", "web", name="web-a", release="web-a", image="sha256:1", extra={"team": "shop"})
    assert made == {
        "team": "shop",
        "Name": "web-a",
        tags.STACK: "shop/prod",
        tags.SERVICE: "web",
        tags.RELEASE: "web-a",
        tags.IMAGE: "sha256:1",
    }


@pytest.mark.parametrize("key", ["fleetswap:pin", "FleetSwap:pin", "aws:x"])
def test_a_reserved_key_is_refused(key: str) -> None:
    """A user's tag would be taken for what a rollout has written there, or be refused by AWS in the middle of one."""
    with pytest.raises(InputError, match=key):
        tags.policy("shop/prod", "web", name="web-a", extra={key: "2"})
