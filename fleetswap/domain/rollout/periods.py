"""What CloudWatch has published for each period, and which of it may be judged: metrics that arrive late and in parts.

A load balancer publishes its metrics once a period (60 s on AWS), each metric of each of its nodes at its own time, one
to two minutes after the period has ended. Metrics that have arrived in part look like errors, or hide them. So:

- A period is **settled** when it ended `AGED` periods ago and nothing in it has changed for `QUIET` periods. Only
  settled periods speak for a candidate. A later revision makes a period unsettled again.
- It **speaks** against the candidate as soon as its numbers balance: every request of the load balancer belongs to one
  of the two releases and has a target's response, or else an error of the load balancer's own, in equal numbers. Then
  it is clear what happened to each request that is counted, whether or not these are all requests.

**Requests without a response.** Responses of targets are counted by target group. What the load balancer responds in
their place (502, 504; 460 when the client gives up first) is counted only for the load balancer as a whole. So a target
group's bad requests are its requests minus its good responses, as far as the load balancer's own errors explain the
difference; the two releases share those errors in proportion to their missing responses. (A missing response without
such an error is not a failure: an upgrade to WebSocket, with its response 101, or a request that continues into the
next period.)

**Whose period.** A period belongs to a step if it started when the step's weights held on every node, and ended before
they were changed. In every other period the weights changed, and what live did in it says little about the candidate:
of a short problem that both share, each gets a different part than the period as a whole shows. Such a period is judged
as if all of it had the highest weight that the candidate had in it, which can only excuse the candidate.

It does no I/O and knows no clock: times are by the deployer's clock, which only goes forward; `now` is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fleetswap.domain.rollout.rates import Bad, Counts, Stretch
from fleetswap.domain.rollout.strategy import ALL

AGED = 2.25
"""Periods after a period's end in which its figures still come: one to two minutes, and a little."""

QUIET = 0.75
"""Periods in which nothing may have changed. Parts of one metric come 10 to 30 s apart."""


@dataclass(frozen=True)
class Figures:
    """What is told of one target group in one period. A count that is not told is 0, or not there yet."""

    requests: int = 0
    """Requests for which a target was chosen."""
    good: int = 0
    """Answers of targets with 2xx, 3xx and 4xx."""
    errors: int = 0
    """Answers of targets with 5xx."""
    timed: int = 0
    """Answers whose time was measured."""
    quick: int = 0
    """Of those, the ones that were not slow."""

    @property
    def unanswered(self) -> int:
        """Requests that no answer of a target is known of; less than 0 while RequestCount lags behind."""
        return self.requests - self.good - self.errors


@dataclass(frozen=True)
class Told:
    """What is told of a load balancer in the period that began at `start` (Unix time, by AWS's clock)."""

    start: int
    groups: Mapping[str, Figures]
    """By target group. One that is missing did nothing."""
    requests: int = 0
    """Of the whole load balancer, those for which a target was chosen."""
    own_5xx: int = 0
    own_4xx: int = 0
    """Errors that the load balancer answered with itself."""


@dataclass(frozen=True)
class Report:
    """One answer of CloudWatch, which was given at `now` (Unix time by AWS's clock, in whole seconds)."""

    now: float
    length: int
    """Seconds of a period."""
    told: tuple[Told, ...]

    def periods(self, candidate: str, live: str | None, before: float, after: float) -> tuple[Period, ...]:
        """As periods of the deployer's clock, which showed `before` when it asked and `after` when it was answered.

        Where a period lies is known to a second and the time of the call; each is taken for as long as it may be.
        """
        return tuple(
            Period(
                start=told.start,
                began=before - (self.now + 1 - told.start),
                ended=after - (self.now - told.start - self.length),
                length=self.length,
                candidate=told.groups.get(candidate, Figures()),
                live=None if live is None else told.groups.get(live, Figures()),
                requests=told.requests,
                own_5xx=told.own_5xx,
                own_4xx=told.own_4xx,
            )
            for told in self.told
        )


@dataclass(frozen=True)
class Period:
    """What both releases did in a period. `live` is None if there is none to compare with."""

    start: int
    """By AWS's clock; names the period."""
    began: float
    """Not before this."""
    ended: float
    """Not after this."""
    length: int
    candidate: Figures
    live: Figures | None
    requests: int = 0
    own_5xx: int = 0
    own_4xx: int = 0

    @property
    def _both(self) -> tuple[Figures, ...]:
        return (self.candidate,) if self.live is None else (self.candidate, self.live)

    @property
    def balances(self) -> bool:
        """Whether each request of the load balancer is accounted for."""
        lacking = [figures.unanswered for figures in self._both]
        whole = self.requests == sum(figures.requests for figures in self._both)
        own = {0, self.own_5xx, self.own_5xx + self.own_4xx}
        return whole and min(lacking) >= 0 and sum(lacking) in own

    def same(self, other: Period) -> bool:
        """Whether the same is told of it; where it lies on our clock is never known exactly."""
        return replace(self, began=other.began, ended=other.ended) == other

    def counts(self, kind: Bad, figures: Figures) -> Counts:
        """Answers, and the bad ones among them. What became of other requests is not known."""
        lacking = sum(max(each.unanswered, 0) for each in self._both)
        failed = self.own_5xx + self.own_4xx
        mine = max(figures.unanswered, 0)
        unanswered = mine if lacking <= failed else mine * failed // lacking
        if kind is Bad.SLOW:
            return Counts(figures.timed + unanswered, max(figures.timed - figures.quick, 0) + unanswered)
        return Counts(figures.good + figures.errors + unanswered, figures.errors + unanswered)


@dataclass(frozen=True)
class Span:
    """A time in which the candidate had the same weight on every node of the load balancer."""

    weight: int
    since: float
    until: float = math.inf

    def holds(self, period: Period) -> bool:
        """Whether a period lies in it as a whole."""
        return self.since <= period.began and period.ended <= self.until


@dataclass(frozen=True)
class Known:
    """A period as it was read last, and since when it has been told like this."""

    period: Period
    since: float

    def is_settled(self, now: float) -> bool:
        """Whether nothing more is to come."""
        length = self.period.length
        return now - self.period.ended >= AGED * length and now - self.since >= QUIET * length

    def speaks(self, now: float) -> bool:
        """Whether it may convict."""
        return now >= self.period.ended and (self.period.balances or self.is_settled(now))


@dataclass(frozen=True)
class Watch:
    """All that is known of the candidate's requests, and in which times its weights held."""

    spans: tuple[Span, ...] = ()
    known: tuple[Known, ...] = ()

    def held(self, weight: int, since: float) -> Watch:
        """From `since` on, the candidate has this weight on every node."""
        return replace(self, spans=(*self.spans, Span(weight, since)))

    def over(self, now: float) -> Watch:
        """From now on the weights may change."""
        return replace(self, spans=tuple(replace(span, until=min(span.until, now)) for span in self.spans))

    def read(self, periods: tuple[Period, ...], now: float) -> Watch:
        """With one more reading, which holds every period since the candidate got its first request."""
        before = {known.period.start: known for known in self.known}

        def since(period: Period) -> float:
            known = before.get(period.start)
            return known.since if known is not None and known.period.same(period) else now

        return replace(self, known=tuple(Known(period, since(period)) for period in periods))

    def speaking(self, now: float) -> tuple[Period, ...]:
        """The periods that may be judged by now."""
        return tuple(known.period for known in self.known if known.speaks(now))

    def own(self) -> tuple[Known, ...]:
        """The periods of the present step, which is the one whose weights held last."""
        return tuple(known for known in self.known if self.spans and self.spans[-1].holds(known.period))

    def stretches(self, kind: Bad, now: float) -> tuple[Stretch, ...]:
        """What may be judged by now."""
        return tuple(self._stretches(kind, now))

    def _stretches(self, kind: Bad, now: float) -> Iterator[Stretch]:
        for known in self.known:
            if not known.speaks(now):
                continue
            period = known.period
            span = next((span for span in self.spans if span.holds(period)), None)
            # Weights ascend, so in a period that is no step's own the greatest one is that of the step after it.
            greatest = next((span for span in self.spans if span.until >= period.ended), None)
            share = greatest.weight / ALL if greatest else 1.0
            live = None if period.live is None or share >= 1 else period.counts(kind, period.live)
            yield Stretch(period.counts(kind, period.candidate), live, mixed=None if span else share)


def window(periods: Sequence[Period]) -> tuple[int, int] | None:
    """From when to when these periods are, in Unix seconds of AWS's clock; None without any."""
    if not periods:
        return None
    return min(period.start for period in periods), max(period.start + period.length for period in periods)
