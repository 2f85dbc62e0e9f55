"""What each check finds about a candidate, as data: numbers, units, thresholds and times.

Only values. `fleetswap.domain.rollout.evidence` makes them, `canary` decides from them, `wording` puts them into words,
and `record` keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fleetswap.domain.rollout.health import Machines, Verdict
from fleetswap.domain.rollout.policy import Check
from fleetswap.domain.rollout.rates import Counts


class Code(StrEnum):
    """What a check has found. `OK` is the only one that speaks for the candidate."""

    OK = "ok"
    UNKNOWN = "unknown"
    """AWS did not respond, or does not know it yet."""
    NO_RESPONSE = "no-response"
    """A probe got none."""
    STOPPED = "stopped"
    """A person asked for the end of the rollout."""
    STALE = "stale"
    """The listener still shows the weights of before."""
    CHANGED = "changed"
    """Someone else has changed the weights."""
    TOO_FEW = "too-few"
    """Fewer than asked for: healthy machines, requests that are counted."""
    NONE = "none"
    """Not a single one: healthy machines, data points, periods that belong to the step as a whole."""
    WRONG = "wrong"
    """Not the value that is expected: an image, a status, the state of an alarm."""
    NOT_COUNTED = "not-counted"
    """An alarm that was in ALARM before this rollout, which is a rollback: it says nothing about the candidate."""
    UNSETTLED = "unsettled"
    """Data points of the step's last period are still to come."""
    ABOVE_LIVE = "above-live"
    """More bad requests, or a higher value, than the live release has in the same periods."""
    ABOVE_FORMER = "above-former"
    """The same, compared with what the live release had while it was still serving."""
    ABOVE_CEILING = "above-ceiling"
    """More bad requests than the ceiling of the settings allows."""
    ABOVE_MAX = "above-max"
    """A value of a metric check that is above its `max`."""
    BELOW_MIN = "below-min"
    """The same, below its `min`."""
    NO_LIVE = "no-live"
    """The live release has no value that the candidate's could be compared with."""


class Unit(StrEnum):
    """What `value` and `limit` of a finding are."""

    MACHINES = "machines"
    REQUESTS = "requests"
    STATUS = "status"
    """An HTTP status, or several of which one is expected."""
    RATE = "rate"
    """Bad requests of all requests, from 0 to 1."""
    STATE = "state"
    """Of an alarm, as CloudWatch names it."""
    IMAGE = "image"
    """The ID of an AMI."""
    VALUE = "value"
    """Of a metric check, in the unit of its metric."""


Value = int | float | str


@dataclass(frozen=True)
class Finding:
    """What one check makes of one reading. What a check has nothing to say of is None, or empty."""

    check: Check
    verdict: Verdict
    code: Code = Code.OK
    subject: str = ""
    """What it is about: the name of an alarm or a metric check, the path of a probe, a machine. Empty: the candidate as
    a whole."""
    value: Value | None = None
    """What was read, in `unit`."""
    limit: Value | None = None
    """What `value` is compared with, in the same unit: the minimum of machines or requests, the highest rate, the
    state, status or image that is expected."""
    unit: Unit | None = None
    candidate: Counts | None = None
    """The candidate's requests in `window`."""
    live: Counts | None = None
    """Those of the live release in the same periods; None if it had none to compare with."""
    ratio: float | None = None
    """How many times the live release's rate is allowed."""
    chance: float | None = None
    """The probability of such counts, at most, if the candidate kept to the limit; only if it did not."""
    live_value: float | None = None
    """What the candidate's value was compared with, for a metric check; `limit` is made of it."""
    row: tuple[int, int] | None = None
    """How many of the newest values of a metric check are all good, or all bad, and how many must be."""
    window: tuple[int, int] | None = None
    """Start of the first period and end of the last one that count, in Unix seconds of AWS's clock."""
    machines: Machines | None = None
    """The candidate's machines, for the check of their health."""
    detail: str = ""
    """One line of text from outside: why a person stops the rollout, why a probe got no response, what a metric check
    asked and why it has no value."""
    report_only: bool = False
    """The check is for report only: the verdict is `promote` whatever was found."""
    again: bool = False
    """It must be bad in several readings in a row, because one of them may be stale."""
