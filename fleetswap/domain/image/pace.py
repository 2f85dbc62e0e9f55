"""How fast to send requests under an unknown quota: at the quota, whatever it is, and hardly over it.

It decides when the next request may be sent, from the responses to earlier ones. Time is an argument: it never reads a
clock, never waits and never sends.

The scheme is AIMD (additive increase, multiplicative decrease; it makes several uploaders that share a quota converge
to equal parts) with one improvement: the decrease goes to a *measurement* instead of a guess. AWS meters with token
buckets (EC2 API reference, "Request throttling"). A throttle says that the bucket is empty at this moment. So the
requests that were acknowledged between two throttles are exactly those that the quota admitted, and their number
divided by the time between is the quota, or this uploader's part of it. After a throttle the rate is `UNDER` of that.
Then it grows, slowly at first and faster the longer all goes well, until the next throttle. The average is the quota
itself, because what is left over below it stays in the bucket and is used above it. Plain AIMD (halve, add) would hold
75 % of it.

- It starts at the documented quota, and after a first throttle tries that quota before it assumes a lower one.
- While too few requests were acknowledged for a measurement, the rate falls to the acknowledged share of the requests
  sent since the last fall. It never falls below half, so that a hiccup is not taken for a quota.
- If a stall spoiled the measurement, the rate soon recovers: see RETURN_HALVING.
- Requests in flight when the rate fell say nothing new: the old rate caused what happens to them.
- The rate does not grow while something else is the limit; otherwise a slow disk would let it grow without bounds.
- Until the first throttle, a few requests may always be in flight, whatever the rate. Where responses come at once,
  that is as fast as the computer can send, and when it meets a quota, only those few are throttled.
- When many in a row fail for another reason, the service is in trouble: a single request is sent now and then, until
  one succeeds.
"""

from __future__ import annotations

DOCUMENTED_QUOTA = 1_000.0
"""PutSnapshotBlock requests a second: of an account by default, and of a snapshot at most (Service Quotas, "Amazon EBS
endpoints and quotas")."""

UNDER = 0.98
"""Where the rate goes after a throttle, as a part of the measured quota: low enough to end the throttling at once, high
enough to leave no bucket full."""

LEAST_RATE = 1.0
"""Requests a second that are sent however many are throttled: otherwise the end of a shortage goes unnoticed."""

GROWTH = 8.0
DOUBLING = 1.0
FIRST_DOUBLING = 0.5
"""After t seconds of growing, the rate is up by GROWTH * (2 ** (t / DOUBLING) - 1) requests a second; before the first
throttle by the other constant. An amount and not a part, for the sake of fairness. So a quota of 1,000/s is met after
about 3 s with 4 % too much, a few throttled requests in 3,000, and a rise from 300/s to 1,000/s is found in 7 s."""

FEW = 8
"""Requests that may be on their way before the first throttle whatever the rate; and answers that make a sample."""

CLIMBED = 0.9
"""Where the rate goes at least, as a part of what it was, after it grew for a while: during a long climb the bucket was
full, something was lost, and the measurement tells too little. If it was right all the same, the next fall is near."""

MEASURABLE = 10
"""Acknowledged requests between two throttles from which a rate is told: one more or less is then a tenth."""

BURST_SECONDS = 0.1
"""How much of a delay of ours is made up for by a burst: while we sent nothing, the bucket filled. A busy machine stops
for tenths of a second."""

ENOUGH = 1.0 - 1e-6
"""The credit of a request, but for what floating-point numbers lose: else one might wait for a time too short to pass.
"""

DOUBT = 0.8
QUIET_SECONDS = 0.5
RETURN_HALVING = 0.25
"""A stall, of ours or of the service, ends in a burst, a throttle and a measurement far too low. So after a fall
the rate returns to what was believed before, half of the way in RETURN_HALVING seconds. If the quota is lower indeed,
it is throttled again soon; and of a belief only the part DOUBT is left by a fall within QUIET_SECONDS of another."""

TROUBLE = 32
"""Failures in a row, throttles not counted, that are no accident: with one failure in two, once in 4 billion."""

TROUBLED_RATE = 4.0
"""Requests a second while nothing succeeds."""


class Pace:
    """The rate of one uploader. Not thread-safe: the caller holds a lock.

    A request that was let go is answered by exactly one call of `acknowledged`, `throttled` or `failed`, with the
    `epoch` that stood when it was let go.
    """

    def __init__(self, now: float, *, quota: float = DOCUMENTED_QUOTA) -> None:
        """`quota` is the rate to begin with; `now` and all other times are seconds of the same clock."""
        self.rate = quota
        self.epoch = 0
        """Raised at each fall of the rate."""
        self._documented = quota
        self._credit = 1.0  # requests that may go at once
        self._counted = now  # until when credit was given
        self._met = False  # a throttle was seen
        self._base = quota  # the rate after the last fall
        self._belief = quota  # what the quota was believed to be before it, or a part of that
        self._growing = 0.0  # seconds for which the pace was what limited, since then
        self._asked: float | None = None  # since when somebody is being held up
        self._since = now  # the last fall, when the bucket was empty
        self._through = 0  # acknowledged since then
        self._sample = [0, 0]  # of requests sent since then: acknowledged, throttled
        self._failures = 0
        self._last = now  # when the last request was let go

    def ask(self, now: float, on_their_way: int) -> float:
        """0.0 if the next request may go now (it is then counted as gone), or the seconds after which to ask again.

        `on_their_way` is how many were let go and are not answered yet.
        """
        if self._failures >= TROUBLE:
            due = self._last + 1 / TROUBLED_RATE - now
            if due > 0:
                return due
        self._credit = min(max(1.0, self.rate * BURST_SECONDS), self._credit + (now - self._counted) * self.rate)
        self._counted = now
        if self._asked is not None:
            self._grow(now - self._asked)
            self._asked = None
        if self._credit < ENOUGH and (self._met or on_their_way >= FEW):
            self._asked = now
            return (1.0 - self._credit) / self.rate
        self._credit = max(0.0, self._credit - 1.0)
        self._last = now
        return 0.0

    def acknowledged(self, now: float, epoch: int) -> None:
        """A request that was let go in `epoch` succeeded."""
        self._failures = 0
        self._through += 1
        if epoch == self.epoch:
            self._sample[0] += 1
            if self._sample[1]:
                self._judge(now)

    def throttled(self, now: float, epoch: int) -> None:
        """A request that was let go in `epoch` was throttled."""
        if epoch != self.epoch:
            return
        self._sample[1] += 1
        if not self._met:
            self._met = True
            self._fall(now, min(self.rate, self._documented))
        else:
            self._judge(now)

    def failed(self) -> None:
        """A request failed in another way; that says nothing of the quota."""
        self._failures += 1

    def _grow(self, seconds: float) -> None:
        self._growing += seconds
        doubling = DOUBLING if self._met else FIRST_DOUBLING
        # The exponent is bounded so that no quota at all ends in a large number and not in an overflow.
        grown = GROWTH * (2 ** min(self._growing / doubling, 20.0) - 1)
        back = max(0.0, UNDER * self._belief - self._base) * (1 - 2 ** (-self._growing / RETURN_HALVING))
        self.rate = self._base + back + grown

    def _judge(self, now: float) -> None:
        """A request of this epoch was throttled: find the quota, unless there is too little to tell it by."""
        through, throttled = self._sample
        if self._through >= MEASURABLE and now > self._since:
            measured = self._through / (now - self._since)
            self._fall(now, max(measured, CLIMBED * self.rate) if self._growing >= DOUBLING else measured)
        elif through + throttled >= FEW:
            self._fall(now, self.rate * through / (through + throttled))

    def _fall(self, now: float, quota: float) -> None:
        found = min(self.rate, max(quota, self.rate / 2))
        doubt = DOUBT if now - self._since < QUIET_SECONDS else UNDER
        self._belief = max(found, min(doubt * self._belief, self.rate))
        self.rate = self._base = max(LEAST_RATE, UNDER * found)
        self.epoch += 1
        self._growing = 0.0
        self._asked = None
        self._credit = min(self._credit, 0.0)
        self._since = now
        self._through = 0
        self._sample = [0, 0]
