"""What the guardian's process runs: it reads what the rollout sends, and ends the rollout if its process is killed.

See `fleetswap_pulumi.guardian`. It decides nothing. It exits when the rollout is over, or, at most `patience` seconds
after the provider was killed, when it has ended the rollout.
"""

from __future__ import annotations

import pickle
import sys
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleetswap.domain.rollout.state import State

WHY = "cancelled: the deploying process was killed"


def watch(pipe: IO[bytes]) -> tuple[dict[str, Any], State] | None:
    """Read until the rollout is over, or its process dies. Then return its inputs and the last state that it sent."""
    props: dict[str, Any] | None = None
    state: State | None = None
    while True:
        try:
            frame = pickle.load(pipe)  # noqa: S301 - from the provider that has started us, and from no one else
        except Exception:  # noqa: BLE001 - the end of the pipe, or half a frame: its writer is dead
            return None if props is None or state is None else (props, state)
        if frame is None:
            return None
        if props is None:
            props = frame
        else:
            state = frame


def main() -> int:
    """Watch one rollout."""
    found = watch(sys.stdin.buffer)
    if found is None:
        return 0
    from fleetswap_pulumi.rollout import put_back  # noqa: PLC0415 - 0.7 s of CPU, and mostly for nothing

    def say(text: str) -> None:
        sys.stderr.write(f"\r{text}\r\n")  # the terminal may be in any mode
        sys.stderr.flush()

    put_back(*found, WHY, say)
    return 0


if __name__ == "__main__":
    sys.exit(main())
