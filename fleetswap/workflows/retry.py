"""The one layer that retries a call.

It decides how long to wait between attempts and when to give up. It does not decide whether a failure may pass: the
port says so, by raising `TryAgain`.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from typing import TypeVar

from fleetswap.domain.errors import CloudError, NotFound, TryAgain
from fleetswap.workflows.clock import Clock

T = TypeVar("T")

FIRST_WAIT = 0.2
"""Seconds: the longest wait after a first failure. Then it doubles; the real wait is drawn from 0 up to it ("full
jitter", AWS Architecture Blog, "Exponential Backoff And Jitter"), so that many threads do not come back at once."""

LONGEST_WAIT = 10.0
"""Seconds: a call is tried at least this often, so that the end of an outage is not slept through."""


class Stopped(Exception):
    """A call was not made because the work it belongs to has failed already. Never shown to a user."""


class GaveUp(CloudError):
    """The time budget is spent; the last failure might have passed, and may have been a success with a lost answer."""


def pause(failures: int, *, first: float = FIRST_WAIT) -> float:
    """Seconds to wait after the last of `failures` failures in a row; `first` is the longest wait after one."""
    longest = min(LONGEST_WAIT, first * 2 ** min(max(failures - 1, 0), 16))
    return random.uniform(0, longest)  # noqa: S311 (jitter, not a secret)


class Patience:
    """The time budget of a piece of work: it ends `seconds` after the last success of any of its calls.

    A budget of silence and not of the whole, because a large image on a slow line may take hours and be well; but
    when nothing at all has been acknowledged for minutes, somebody should be told. Shared by all threads of an upload.
    """

    def __init__(self, clock: Clock, stop: threading.Event, *, seconds: float) -> None:
        """`stop` ends every wait: once it is set, calls raise `Stopped` instead of being made."""
        self._clock = clock
        self._stop = stop
        self._seconds = seconds
        self._last_success = clock.now()

    def renew(self) -> None:
        """Something succeeded."""
        self._last_success = self._clock.now()

    def bear(self, error: TryAgain | NotFound, *, began: float, absent_until: float | None) -> None:
        """Return if the call that failed with `error` may be made again; else raise what to tell the user.

        `began` is when the call was made for the first time: idle time is not silence. `NotFound` is final after
        `absent_until` (a time of the clock), and at once without it.
        """
        now = self._clock.now()
        if isinstance(error, NotFound) and (absent_until is None or now >= absent_until):
            raise error
        if now - max(began, self._last_success) >= self._seconds:
            raise GaveUp(f"{error}; gave up after {self._seconds:.0f} s without a success") from error

    def call(
        self,
        attempt: Callable[[], T],
        *,
        absent_until: float | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> T:
        """Make a call until it succeeds, fails for good, or the budget is spent (`GaveUp`, with the last failure)."""
        began = self._clock.now()
        for failures in itertools.count(1):
            if self._stop.is_set():
                raise Stopped
            try:
                result = attempt()
            except (TryAgain, NotFound) as error:
                self.bear(error, began=began, absent_until=absent_until)
                say(str(error))
                self._clock.sleep(pause(failures), self._stop)
            else:
                self.renew()
                return result
        raise AssertionError("unreachable: the loop ends by return or raise")
