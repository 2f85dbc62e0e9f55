"""For all tests: Hypothesis does not mind how busy the machine is, and which tests may run side by side."""

from __future__ import annotations

import signal

import hypothesis
import pytest

# Run by a shell in the background, the tests and all that they start would ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A deadline is a timing; on a shared machine it fails at random.
hypothesis.settings.register_profile("fleetswap", deadline=None)
hypothesis.settings.load_profile("fleetswap")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two groups for `make test`, each on one worker: what is end to end waits most of its time, and the rest computes.

    Within a group the order stays: the tests of a story follow one another, and share ports and machines.
    """
    for item in items:
        group = "end-to-end" if item.get_closest_marker("e2e") else "others"
        item.add_marker(pytest.mark.xdist_group(group))
