"""Health: a reading of a candidate's machines becomes `promote`, `wait` or `abort`, with the numbers.

It does no I/O and knows no clock. What could not be read is unknown: it is never good, it does not count, and it does
not undo the good readings before it. The gate never promotes on missing evidence: it waits, and aborts at the deadline.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from fleetswap.domain.text import one_line, without_escapes


class TargetState(StrEnum):
    """The states of a target (ELBv2, DescribeTargetHealth, TargetHealth.State). Only a healthy one takes requests."""

    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNUSED = "unused"
    DRAINING = "draining"
    UNAVAILABLE = "unavailable"


QUOTAS = (
    (re.compile(r"VcpuLimitExceeded|vCPU capacity than your current vCPU limit", re.I), "Running On-Demand instances"),
    (re.compile(r"MaxSpotInstanceCountExceeded|max spot instance count exceeded", re.I), "Spot Instance Requests"),
    (re.compile(r"InstanceLimitExceeded|than your current instance limit", re.I), "Running On-Demand instances"),
    (
        re.compile(r"VolumeLimitExceeded|volume limit exceeded|exceeded your maximum .{0,20}storage limit", re.I),
        "Storage for volumes of EBS",
    ),
)
"""What EC2 says if a quota is used up ("Error codes for the Amazon EC2 API"), and the quota. The message of an activity
often lacks the code and holds its text only."""

_KEY = re.compile(r"KMS|Client error on launch", re.I)
"""`Client.InternalError: Client error on launch` is how a key shows that the group may not use (EC2 Auto Scaling user
guide, "Troubleshoot instance launch failures")."""

HOPELESS_AFTER = 3
"""Failed attempts to launch after which a group that launched nothing is given up. A group retries by itself, so one
failure says little (EC2 Auto Scaling, "Troubleshoot"); three, all for another reason than missing capacity, do not end.
"""

CONSOLE_LINES = 5
CONSOLE_CHARS = 600
"""A panic shows in a console's last lines; an error must stay one readable line."""

FIRMWARE = "BdsDxe:"
"""How UEFI firmware begins its lines (EDK II, MdeModulePkg/Universal/BdsDxe). What follows tells more, if any does."""

PANIC = "Kernel panic"
"""How Linux begins the line that says why it gave up (kernel/panic.c)."""

NAMED = 3
"""Targets and failed launches that are named; of a large fleet the others have the same reason."""


@dataclass(frozen=True)
class Target:
    """A machine as the target group sees it, in the words of DescribeTargetHealth.

    `state` is a `TargetState`, or one that ELBv2 has added since: such a target takes no requests.
    """

    machine: str
    state: str
    reason: str = ""
    description: str = ""
    weight: int = 1
    """Units of capacity that its machine is."""

    @property
    def is_healthy(self) -> bool:
        """Whether it takes requests."""
        return self.state == TargetState.HEALTHY

    @property
    def is_leaving(self) -> bool:
        """Whether it is being taken out of the target group, so that nothing is to be expected of it."""
        return self.state == TargetState.DRAINING


WARMED = "Warmed:"
"""How every LifecycleState of a machine in a warm pool begins. It is not in the group yet, and in no target group (EC2
Auto Scaling user guide, "Lifecycle state transitions for instances in a warm pool")."""

LEAVING = "Terminat"
"""How every LifecycleState of a machine that is being ended begins: Terminating, Terminating:Wait, Terminated and so on
(EC2 Auto Scaling user guide, "instance lifecycle")."""


@dataclass(frozen=True)
class Machine:
    """A machine as its auto scaling group sees it; `state` is its LifecycleState, `weight` its units of capacity."""

    id: str
    state: str
    weight: int = 1

    @property
    def launched(self) -> bool:
        """Whether it is on its way up or there, and not on its way out."""
        return not self.state.startswith((LEAVING, WARMED))


@dataclass(frozen=True)
class Failure:
    """A scaling activity that failed, or was cancelled, with its StatusMessage.

    `attempt` is the same for the activities of one attempt, which launches as many machines as are missing.
    """

    id: str
    message: str
    attempt: str = ""

    @property
    def quota(self) -> str:
        """The quota that does not allow the launch, as Service Quotas names it; empty if it is none."""
        return next((name for pattern, name in QUOTAS if pattern.search(self.message)), "")

    @property
    def is_of_a_key(self) -> bool:
        """Whether the volume's KMS key may not be used."""
        return bool(_KEY.search(self.message))

    @property
    def is_shortage(self) -> bool:
        """Whether EC2 had no capacity, which can end by itself at any moment. A quota that is used up does not."""
        return "capacity" in self.message.lower() and not self.quota


@dataclass(frozen=True)
class Reading:
    """What was seen of a candidate at one moment. `None` is unknown: AWS did not answer, or it was not asked."""

    targets: tuple[Target, ...] | None
    machines: tuple[Machine, ...] | None = None
    failures: tuple[Failure, ...] | None = None
    abort: str | None = None
    """Why the rollout is to stop, if someone says so on the group."""
    on_demand_percent: int | None = None
    on_demand_base: int = 0
    desired: int | None = None
    """How many machines its group is to have."""


@dataclass(frozen=True)
class Answer:
    """What a probe got: an HTTP status, or the reason why there was no answer."""

    status: int | None
    error: str = ""


@dataclass(frozen=True)
class ProbeProtocol:
    """What a release, and so its probe, speaks: `http1`, `http2` or `grpc`.

    `codes` are the gRPC statuses that count, as ELBv2's health checks have them: `0`, `0,12` or `0-99` (Matcher,
    GrpcCode).
    """

    version: str = "http1"
    codes: str = "0"

    def answer(self, headers: Mapping[str, str]) -> Answer:
        """The answer that these headers of a response, with its trailers, are.

        A gRPC server fails with HTTP status 200 (gRPC over HTTP2, Responses), which alone would prove nothing.
        """
        status = headers.get(":status", "")
        if not (status.isascii() and status.isdigit()):
            return Answer(None, "the response has no status")
        if self.version != "grpc" or status != "200":
            return Answer(int(status))
        code, message = headers.get("grpc-status"), headers.get("grpc-message", "")
        if code is None:
            return Answer(None, "the response has no grpc-status")
        if not counts(code, self.codes):
            return Answer(None, f"gRPC status {code} instead of {self.codes}{f' ({message})' if message else ''}")
        return Answer(200)


def counts(code: str, codes: str) -> bool:
    """Whether a status is among those of a health check, such as `200`, `200,204` or `200-299` (ELBv2, Matcher)."""
    if not (code.isascii() and code.isdigit()):
        return False
    ranges = (each.partition("-") for each in codes.split(","))
    return any(int(first) <= int(code) <= int(last or first) for first, _, last in ranges)


HTTP1 = ProbeProtocol()


@dataclass(frozen=True)
class Streak:
    """Good and bad readings in a row. An unknown one changes neither."""

    good: int = 0
    bad: int = 0

    def after(self, good: bool | None) -> Streak:  # noqa: FBT001 - one reading, the only argument
        """The streak with one more reading."""
        if good is None:
            return self
        return Streak(good=self.good + 1) if good else Streak(bad=self.bad + 1)


class Verdict(StrEnum):
    """What to do with a candidate."""

    PROMOTE = "promote"
    WAIT = "wait"
    ABORT = "abort"


@dataclass(frozen=True)
class Machines:
    """What a reading says of the candidate's machines, in units of capacity: without weights, each is one."""

    wanted: int
    """How many must be healthy."""
    healthy: int | None = None
    """How many are; None: AWS did not respond."""
    launched: int | None = None
    """How many its group has launched; None if it was not asked, or AWS did not respond."""
    waiting: tuple[Target, ...] = ()
    """The first targets that are neither healthy nor leaving."""
    more: int = 0
    """How many other targets are like these."""
    failures: tuple[Failure, ...] = ()
    """Launches that failed since the rollout began, one of each message, the newest first."""
    weighted: bool | None = None
    """Whether instance types have weights; None if they have none."""


@dataclass(frozen=True)
class Decision:
    """A verdict, what it was made from, and the streak to judge the next reading with."""

    verdict: Verdict
    machines: Machines
    streak: Streak
    hopeless: Failure | None = None
    """Why no machine can be launched, if that is why it aborts."""


def judge(
    reading: Reading,
    streak: Streak,
    *,
    wanted: int,
    readings: int,
    failed_before: frozenset[str],
    seconds_left: float,
    weighted: bool = False,
) -> Decision:
    """Decide from one more reading.

    `wanted` machines must be healthy in `readings` readings in a row. `failed_before` are the scaling activities that
    had failed before this rollout began; they are no evidence about it. With no seconds left, waiting is aborting,
    unless this very reading is good.
    """
    good = None if reading.targets is None else healthy(reading.targets) >= max(wanted, 1)
    streak = streak.after(good)
    new = tuple(failure for failure in reading.failures or () if failure.id not in failed_before)
    machines = summary(replace(reading, failures=new), wanted=wanted, weighted=weighted)
    if good and streak.good >= readings:
        return Decision(Verdict.PROMOTE, machines, streak)
    nothing_launched = reading.machines is not None and not any(machine.launched for machine in reading.machines)
    lasting = [failure for failure in new if not failure.is_shortage]
    attempts = {failure.attempt or failure.id for failure in lasting}
    over_quota = [failure for failure in lasting if failure.quota]
    if not good and (over_quota or (nothing_launched and len(attempts) >= HOPELESS_AFTER)):
        worst = (over_quota or [failure for failure in lasting if failure.is_of_a_key] or lasting)[0]
        return Decision(Verdict.ABORT, machines, streak, worst)
    # A good reading may wait past the deadline: the next one that is not good ends it.
    return Decision(Verdict.WAIT if good or seconds_left > 0 else Verdict.ABORT, machines, streak)


def healthy(targets: tuple[Target, ...]) -> int:
    """How many units of capacity take requests; without weights, how many of the targets do."""
    return sum(target.weight for target in targets if target.is_healthy)


def launched(machines: tuple[Machine, ...]) -> int:
    """How many units of capacity are launched; without weights, how many of the machines are."""
    return sum(machine.weight for machine in machines if machine.launched)


def suspects(reading: Reading) -> tuple[str, ...]:
    """The machines whose console may say what is wrong, the most telling first: unhealthy, still starting, launched."""
    order = [TargetState.UNHEALTHY, TargetState.INITIAL]
    targets = [target for target in reading.targets or () if target.state in order]
    targets.sort(key=lambda target: order.index(TargetState(target.state)))
    good = {target.machine for target in reading.targets or () if target.is_healthy}
    others = [machine.id for machine in reading.machines or () if machine.launched and machine.id not in good]
    return tuple(dict.fromkeys([target.machine for target in targets] + others))


def summary(reading: Reading, *, wanted: int, weighted: bool = False) -> Machines:
    """What a reading says of the machines, of a bounded size however large the fleet is."""
    if reading.targets is None:
        return Machines(wanted, None, weighted=weighted or None)
    there = None if reading.machines is None else launched(reading.machines)
    waiting = [target for target in reading.targets if not (target.is_healthy or target.is_leaving)]
    failures: dict[str, Failure] = {}
    for failure in reading.failures or ():
        failures.setdefault(one_line(failure.message), failure)
    return Machines(
        wanted,
        healthy(reading.targets),
        there,
        tuple(waiting[:NAMED]),
        len(waiting[NAMED:]),
        tuple(failures.values())[:NAMED],
        weighted=weighted or None,
    )


def console_tail(text: str) -> str:
    """The last lines of a console that say something, as one bounded line without control characters."""
    lines = [line for line in map(one_line, re.split(r"[\r\n]+", without_escapes(text))) if line]
    lines = [line for line in lines if not line.startswith(FIRMWARE)] or lines
    tail = " | ".join(lines[-CONSOLE_LINES:])
    # A dump of registers follows a panic's reason, and may be the last thing that a machine says.
    panics = [line[: CONSOLE_CHARS // 2] for line in lines[:-CONSOLE_LINES] if PANIC in line]
    reason = "" if PANIC in tail or not panics else f"{panics[-1]} | "
    room = CONSOLE_CHARS - len(reason)
    return reason + (tail if len(tail) <= room else f"…{tail[1 - room :]}")
