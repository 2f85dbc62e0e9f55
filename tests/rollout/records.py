"""Records of rollouts in the simulated world, for the tests that replay them."""

from __future__ import annotations

import contextlib
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from fleetswap.domain.errors import Aborted
from fleetswap.workflows.rollout.record_file import RecordFile
from tests.rollout.test_canary import STEPS, deploy
from tests.rollout.test_record import only, recorder, run

WORLDS: dict[str, dict[str, object]] = {
    "good": {},
    "bad": {"error_rate": 0.06},
}
"""A candidate that deserves the traffic, and one that fails 6 % of its requests."""


LINES = 110
"""Of `start`, the first minute of the good one."""


@cache
def record_of(name: str) -> bytes:
    """The record of a deploy of `new` over `live`, with the steps 5 %, 25 %, 100 % (`test_canary.STEPS`)."""
    if name == "start":
        return b"".join(record_of("good").splitlines(keepends=True)[:LINES])
    world, wanted = deploy(STEPS, **WORLDS[name])
    with TemporaryDirectory() as folder:
        with contextlib.suppress(Aborted):
            run(world, wanted, recorder(RecordFile(Path(folder))))
        return only(Path(folder)).read_bytes()
