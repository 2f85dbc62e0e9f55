"""The page on costs, and the arithmetic behind its tables."""

from __future__ import annotations

import pytest

from tools import cost


def test_the_tables_are_what_the_prices_say() -> None:
    """The page would show numbers of older prices. `make fmt`."""
    page = cost.PAGE.read_text()
    assert cost.written(page) == page


def test_a_month_adds_up_by_hand() -> None:
    """A term would be missing, or be counted twice, and the table look as good."""
    first = cost.ways()[0]
    assert first.machines == pytest.approx(4 * (62.05 + 5 * 0.08))
    deploy = 4 * 1.25 * (62.05 + 0.4) / 730 + 246 * 0.000006
    assert first.deploys == pytest.approx(20 * deploy)
    assert first.images == pytest.approx((4 + 6 * 0.12) * 0.05)
    assert first.total == pytest.approx(4 * 62.45 + 20 * deploy + 0.236 + 8.4 + 730 * 0.0305)


def test_a_service_of_its_own_is_in_every_row() -> None:
    """Ways would be compared that do not serve the same."""
    assert all(way.machines > 200 and way.total > way.machines + cost.balancer() - 0.01 for way in cost.ways())
