"""A world for each test, at addresses of its own."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from localcloud.balancer.fronts import Balancer
from localcloud.processes.children import Children
from tests.localcloud.balancer.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SUBNETS = itertools.count(200)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A balancer with one listener that nothing is behind yet."""
    world = World(Balancer(tmp_path, Children(tmp_path / "children")), next(_SUBNETS))
    try:
        yield world
    finally:
        world.close()
