"""The local cloud's control plane, for what reads networks."""

from __future__ import annotations

from tests.localcloud.conftest import clients, clock, cloud
from tests.program.conftest import no_account

__all__ = ["clients", "clock", "cloud", "no_account"]
