"""A dynamic provider that waits until it is cancelled."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from pulumi.dynamic import CreateResult, ResourceProvider

from fleetswap_pulumi.cancel import hear


class Waiting(ResourceProvider):
    """Its resource says how its creation ended; `path` appears when it has begun."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        cancelled = threading.Event()
        with hear(cancelled.set) as heard:
            Path(props["path"]).touch()
            told = cancelled.wait(30)
        return CreateResult("waited", {"heard": heard, "told": told})
