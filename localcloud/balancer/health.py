"""Target health as an Application Load Balancer has it: what a check's outcome makes of a target, and the checks.

`Target` decides; it does no I/O. `Checker` has the targets checked (`probes`), in one thread of its own. Neither knows
HAProxy. Sources: ELBv2 API reference (TargetHealth), user guide ("Health checks for your target groups").
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from localcloud.balancer.probes import Answered, Outcome, Probe, TimedOut, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localcloud.view import HealthCheck

FIRST_SECONDS = 1.0
"""Pause between checks of a target that has not been healthy yet. AWS waits the interval, but every node of a load
balancer checks on its own; so a machine counts as healthy soon after it is, there as here."""


log = logging.getLogger(__name__)


REGISTERING = ("initial", "Elb.RegistrationInProgress", "Target registration is in progress")
CHECKING = ("initial", "Elb.InitialHealthChecking", "Initial health checks in progress")
HEALTHY = ("healthy", "", "")
UNUSED = ("unused", "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer")
DRAINING = ("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress")
STOPPED = ("unused", "Target.InvalidState", "Target is in the stopped state")


def matches(code: int, codes: str) -> bool:
    """Whether a status is among a matcher's codes: "200", "200,301", "200-299"."""
    for part in codes.split(","):
        first, _, last = part.strip().partition("-")
        if int(first) <= code <= int(last or first):
            return True
    return False


@dataclass(frozen=True)
class Target:
    """One target's health. A new target needs one success; after that the thresholds count (user guide).

    `failing_since` is when a target that never was healthy first failed: it becomes unhealthy when it has failed for as
    long as the threshold's number of checks would take, so that checking more often does not condemn it sooner.
    """

    state: tuple[str, str, str] = REGISTERING
    successes: int = 0
    failures: int = 0
    failing_since: float | None = None

    def observe(self, outcome: Outcome, check: HealthCheck, now: float) -> Target:
        """The target after a check that ended at `now` (monotonic seconds)."""
        if isinstance(outcome, Answered) and matches(outcome.code, check.codes):
            successes = self.successes + 1
            if self.state[0] in {"initial", "healthy"} or successes >= check.healthy:
                return Target(HEALTHY, successes)
            return replace(self, successes=successes, failures=0)
        failed = replace(self, successes=0, failures=self.failures + 1)
        if self.state[0] == "initial":
            since = now if self.failing_since is None else self.failing_since
            if now - since < check.unhealthy * check.interval:
                return replace(failed, state=CHECKING, failing_since=since)
        elif self.state[0] == "healthy" and failed.failures < check.unhealthy:
            return failed
        return replace(failed, state=("unhealthy", *_reason(outcome)))

    def pause(self, check: HealthCheck) -> float:
        """Seconds until the next check."""
        return min(FIRST_SECONDS, check.interval) if self.state[0] == "initial" else check.interval


def _reason(outcome: Outcome) -> tuple[str, str]:
    if isinstance(outcome, Answered):
        return "Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{outcome.code}]"
    if isinstance(outcome, TimedOut):
        return "Target.Timeout", "Request timed out"
    return "Target.FailedHealthChecks", "Health checks failed"


class Checker:
    """Checks targets, each at its own pace. `changed` is called, in the checker's thread, after each change of state.

    `Key` names a target: its target group's ARN, its id and its port.
    """

    Key: TypeAlias = tuple[str, str, int]

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._changed = changed
        self._lock = threading.Lock()
        self._probes: dict[Checker.Key, Probe] = {}
        self._targets: dict[Checker.Key, Target] = {}
        self._tasks: dict[Checker.Key, asyncio.Task[None]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)
        self._thread.start()

    def follow(self, probes: Mapping[Key, Probe]) -> None:
        """Check these from now on, and no others. One that was followed already keeps its state."""
        with self._lock:
            self._probes = dict(probes)
            for key in [key for key in self._targets if key not in probes]:
                del self._targets[key]
            for key in probes:
                self._targets.setdefault(key, Target())
        self._loop.call_soon_threadsafe(self._reconcile)

    def state(self, key: Key) -> tuple[str, str, str] | None:
        """State, reason and description of a target; None if it is not followed."""
        with self._lock:
            target = self._targets.get(key)
            return None if target is None else target.state

    def close(self) -> None:
        """Stop checking. Doing it again is harmless."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        # Those too whose targets are not followed any more, and which have not run since they were cancelled.
        checks = asyncio.all_tasks(self._loop)
        for check in checks:
            check.cancel()
        self._loop.run_until_complete(asyncio.gather(*checks, return_exceptions=True))
        self._loop.close()

    def _reconcile(self) -> None:
        with self._lock:
            wanted = set(self._probes)
        for key in [key for key in self._tasks if key not in wanted]:
            self._tasks.pop(key).cancel()
        for key in wanted - set(self._tasks):
            self._tasks[key] = self._loop.create_task(self._keep_watching(key))

    async def _keep_watching(self, key: Key) -> None:
        while True:
            try:
                await self._watch(key)
            except Exception:  # a target that nobody checks would look the same for ever
                log.exception("checking %s", key)
                await asyncio.sleep(FIRST_SECONDS)
            else:
                return

    async def _watch(self, key: Key) -> None:
        while True:
            with self._lock:
                probe = self._probes.get(key)
            if probe is None:
                return
            started = time.monotonic()
            outcome = await ask(probe)
            with self._lock:
                before = self._targets.get(key)
                if before is None:  # unfollowed meanwhile
                    return
                after = before.observe(outcome, probe.check, time.monotonic())
                self._targets[key] = after
            if after.state != before.state:
                self._changed()
            await asyncio.sleep(max(0.0, after.pause(probe.check) - (time.monotonic() - started)))
