"""For all tests: what Hypothesis finds does not depend on how busy the machine is."""

from __future__ import annotations

import hypothesis

# A deadline is a timing; on a shared machine it fails at random.
hypothesis.settings.register_profile("fleetswap", deadline=None)
hypothesis.settings.load_profile("fleetswap")
