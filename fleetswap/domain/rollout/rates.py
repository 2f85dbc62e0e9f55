"""Whether the candidate is worse than it may be: a sequential exact test of error rates and of slow responses.

It decides only from counts of requests and of bad ones (errors or slow responses). It reads no metric, knows no clock,
never promotes, and never aborts on a single bad request.

**The question.** Of n_c requests of the candidate and n_l of live in the same stretch of time, b_c and b_l were bad. Is
the candidate's rate more than `ratio` times live's? The question is asked again at every reading, so an ordinary test
at level alpha would in the end abort every good release. This one may be repeated at any moment, any number of times.

**The test.** If the candidate is no worse than that, a bad request is the candidate's with probability at most q =
ratio·n_c / (ratio·n_c + n_l), whatever the rate itself is (the conditional test of two rates: Przyborowski and
Wilenski, Biometrika 31, 1940). Against the alternative that it is `t` times as bad as tolerated, the likelihood ratio
of one more bad request is t/(1+(t-1)q) if it is the candidate's, 1/(1+(t-1)q) if it is live's. Its mean is 1 or less
under the hypothesis, so the product over all bad requests, averaged over several `t`, is a non-negative supermartingale
that starts at 1 (an e-process; Wald's sequential ratio test with a mixture: Robbins, Ann. Math. Stat. 41, 1970). By
Ville's inequality (1939; Howard, Ramdas, McAuliffe, Sekhon, Ann. Stat. 49, 2021) it *ever* reaches 1/alpha with
probability at most alpha. Requests need not be alike: from 1 + x <= e^x the same bound follows when each has a
probability of its own, as long as the sums hold. Each stretch of time (a CloudWatch period) has its own q, so weights
may change, and a problem that both releases share counts for neither. In a stretch in which the weights changed, the
problem may have come when the candidate had most of its traffic: there, q is at least its value at the highest weight.

**Rates.** "The rate is at most c" is tested in the same way: each of the candidate's requests is bad with probability
at most c. Where live has no traffic left, c is `ratio` times the upper confidence bound of the rate that it had while
both served (Chernoff's bound with the relative entropy: Hoeffding, JASA 58, 1963). A rate up to `tolerated` never
aborts against live: both hypotheses must be refuted.

**The ceiling** aborts a candidate that is worse than it, unless live is no better. Where both serve, "no worse than
live" must be refuted as well. Where live has no traffic left, c is the bound of its former rate if that is above the
ceiling. Without any traffic of live, the ceiling alone judges. The judgements with live and without it share alpha by
the mean of their e-values, which is one: good results in the canary earn no credit for the time with all the traffic.

**Late counts.** Counts are passed in whole at each reading, and may be revised upward: the product is computed again.
`fleetswap.domain.rollout.periods` decides which metrics may be counted at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fleetswap.domain.errors import InputError

TIMES = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1000.0)
"""The alternatives: how many times as bad as tolerated. Denser ones gain nothing: the likelihood is flat in log t, and
each alternative costs its share of the average."""

LEAST_BAD = 2
"""Bad requests of the candidate below which nothing is decided: one says nothing that a reader would believe."""

SHARES = 3
"""A check is three tests (against live, against live's former rate, against the ceiling), each at alpha / 3, so that
the check as a whole aborts a good release with probability alpha at most (Bonferroni)."""


class Bad(StrEnum):
    """What counts as bad."""

    ERRORS = "errors"
    SLOW = "slow"


class Above(StrEnum):
    """Which of the three tests a candidate has failed."""

    LIVE = "live"
    """The rate that live has in the same periods, times the ratio."""
    FORMER = "former"
    """The rate that live had while it was serving, times the ratio."""
    CEILING = "ceiling"


@dataclass(frozen=True)
class Counts:
    """Requests of one release in one stretch of time of which it is known what became of them, and the bad ones."""

    requests: int
    bad: int

    @property
    def rate(self) -> float:
        """Bad ones of all, from 0 to 1; 0 without any."""
        return self.bad / self.requests if self.requests else 0.0


@dataclass(frozen=True)
class Stretch:
    """What both releases did in the same stretch of time. Stretches do not overlap. `live` is None if there is none."""

    candidate: Counts
    live: Counts | None
    mixed: float | None = None
    """The greatest part of the traffic that the candidate had in it, if that changed meanwhile."""

    @property
    def is_shared(self) -> bool:
        """Whether there is anything to compare with."""
        return self.live is not None and self.live.requests > 0

    @property
    def of_live(self) -> Counts:
        """Live's counts, which may be none."""
        return self.live or Counts(0, 0)

    def share(self, ratio: float) -> float:
        """The greatest probability that a bad request is the candidate's, if it is at most `ratio` times as bad."""
        counted = share(self.candidate.requests, self.of_live.requests, ratio)
        return counted if self.mixed is None else max(counted, share(self.mixed, 1 - self.mixed, ratio))


@dataclass(frozen=True)
class Limit:
    """How bad the candidate may be, for one kind of bad. A value that makes no sense is an `InputError`."""

    alpha: float = 0.001
    """Greatest probability, over a whole rollout, that a candidate that keeps to the limit is aborted."""
    ratio: float = 1.5
    """The candidate's rate may be this many times live's."""
    tolerated: float = 0.001
    """A rate up to this is no reason to abort, however good live is."""
    ceiling: float | None = None
    """A rate above this is, unless live is no better."""

    def __post_init__(self) -> None:
        """Refuse what can never abort, or always would."""
        if not 0 < self.alpha <= 0.5:
            raise InputError(f"rates: the false-abort rate is {self.alpha}, it must be above 0 and at most 0.5")
        if not 1 <= self.ratio < math.inf:
            raise InputError(f"rates: the tolerated ratio is {self.ratio}, it must be 1 or more")
        if not 0 <= self.tolerated < 1:
            raise InputError(f"rates: the tolerated rate is {self.tolerated}, it must be from 0 to below 1")
        if self.ceiling is not None and not 0 < self.ceiling < 1:
            raise InputError(f"rates: the ceiling is {self.ceiling}, it must be between 0 and 1")


@dataclass(frozen=True)
class Excess:
    """The test that a candidate has failed: its rate is above `limit`.

    `evidence` is the logarithm of the e-value against a candidate that keeps to the limit.
    """

    above: Above
    limit: float
    evidence: float

    @property
    def chance(self) -> float:
        """The probability of such evidence, or stronger, for a release that keeps to the limit: at most 1/e-value."""
        return math.exp(-self.evidence)


@dataclass(frozen=True)
class Strength:
    """How strongly one of the tests speaks against a candidate, and what it takes to abort: logarithms of e-values."""

    above: Above
    evidence: float
    threshold: float


@dataclass(frozen=True)
class Judgement:
    """What the counts say. `live` is what live did beside the candidate, None if it did nothing."""

    candidate: Counts
    live: Counts | None
    excess: Excess | None = None

    @property
    def abort(self) -> bool:
        """Whether the candidate answers worse than it may."""
        return self.excess is not None


@dataclass(frozen=True)
class Trials:
    """`bad` of `total`, each of which is bad with probability at most `most` if all is well."""

    bad: int
    total: int
    most: float


def judge(seen: Sequence[Stretch], limit: Limit) -> Judgement:
    """Judge all that was counted since the candidate's first request, as far as it is known now.

    The same counts always give the same judgement. More bad requests of the candidate never make it better, more of
    live never make it worse.
    """
    shared = [stretch for stretch in seen if stretch.is_shared]
    alone = [stretch for stretch in seen if not stretch.is_shared]
    excess = None
    if sum(stretch.candidate.bad for stretch in seen) >= LEAST_BAD:
        former = _total(stretch.of_live for stretch in shared if stretch.mixed is None)
        excess = (
            _against_live(shared, limit)
            or _against_former([stretch for stretch in alone if stretch.mixed is None], former, limit)
            or _against_ceiling(shared, alone, former, limit)
        )
    candidate = _total(stretch.candidate for stretch in seen)
    return Judgement(candidate, _total(stretch.of_live for stretch in shared) if shared else None, excess)


def strengths(seen: Sequence[Stretch], limit: Limit) -> tuple[Strength, ...]:
    """The tests that these counts allow, for whoever looks on: one that reaches its threshold is why `judge` aborts.

    (It does not on fewer than `LEAST_BAD` bad requests of the candidate.) A test that must refute two hypotheses is as
    strong as the weaker evidence.
    """
    shared = [stretch for stretch in seen if stretch.is_shared]
    alone = [stretch for stretch in seen if not stretch.is_shared]
    former = _total(stretch.of_live for stretch in shared if stretch.mixed is None)
    after, part = [stretch for stretch in alone if stretch.mixed is None], limit.alpha / SHARES
    found = list[Strength]()
    if shared:
        evidence = min(_compared(shared, limit.ratio), _against_rate(shared, limit.tolerated))
        found.append(Strength(Above.LIVE, evidence, math.log(1 / part)))
    if former.requests and after:
        bound = limit.ratio * upper_bound(former.bad, former.requests, part / 2)
        found.append(Strength(Above.FORMER, _against_rate(after, max(bound, limit.tolerated)), math.log(2 / part)))
    if limit.ceiling is not None and seen:
        most = limit.ceiling
        if former.requests and alone:
            part /= 2
            most = max(most, upper_bound(former.bad, former.requests, part))
        beside_live = min(_against_rate(shared, limit.ceiling), _compared(shared, 1.0))
        found.append(Strength(Above.CEILING, _mean([_against_rate(alone, most), beside_live]), math.log(1 / part)))
    return tuple(found)


def _against_live(shared: Sequence[Stretch], limit: Limit) -> Excess | None:
    evidence, threshold = _compared(shared, limit.ratio), math.log(SHARES / limit.alpha)
    if evidence < threshold or sum(stretch.candidate.bad for stretch in shared) < LEAST_BAD:
        return None
    if _against_rate(shared, limit.tolerated) < threshold:
        return None
    live = _total(stretch.of_live for stretch in shared)
    return Excess(Above.LIVE, max(limit.ratio * live.rate, limit.tolerated), evidence)


def _against_former(alone: Sequence[Stretch], former: Counts, limit: Limit) -> Excess | None:
    """Half of the share goes into the bound of live's rate, half into the test against it."""
    if not former.requests or sum(stretch.candidate.bad for stretch in alone) < LEAST_BAD:
        return None
    half = limit.alpha / (2 * SHARES)
    most = max(limit.ratio * upper_bound(former.bad, former.requests, half), limit.tolerated)
    evidence = _against_rate(alone, most)
    if evidence < math.log(1 / half):
        return None
    return Excess(Above.FORMER, most, evidence)


def _against_ceiling(
    shared: Sequence[Stretch], alone: Sequence[Stretch], former: Counts, limit: Limit
) -> Excess | None:
    """Worse than the ceiling and, where there is anything to compare with, worse than live: both must be refuted."""
    if limit.ceiling is None:
        return None
    most, part = limit.ceiling, limit.alpha / SHARES
    if former.requests and alone:
        part /= 2  # the other half goes into the bound
        most = max(most, upper_bound(former.bad, former.requests, part))
    beside_live = min(_against_rate(shared, limit.ceiling), _compared(shared, 1.0))
    evidence = _mean([_against_rate(alone, most), beside_live])
    if evidence < math.log(1 / part):
        return None
    return Excess(Above.CEILING, limit.ceiling, evidence)


def _compared(shared: Iterable[Stretch], ratio: float) -> float:
    trials = [(stretch.candidate.bad, stretch.of_live.bad, stretch.share(ratio)) for stretch in shared]
    return evidence_of([Trials(b_c, b_c + b_l, most) for b_c, b_l, most in trials])


def _against_rate(seen: Iterable[Stretch], most: float) -> float:
    return evidence_of([Trials(stretch.candidate.bad, stretch.candidate.requests, min(most, 1.0)) for stretch in seen])


def _total(counts: Iterable[Counts]) -> Counts:
    several = list(counts)
    return Counts(sum(each.requests for each in several), sum(each.bad for each in several))


def share(candidate: float, live: float, ratio: float) -> float:
    """The greatest probability that a bad request is the candidate's, if its rate is at most `ratio` times live's."""
    return ratio * candidate / (ratio * candidate + live) if candidate else 0.0


def evidence_of(trials: Sequence[Trials]) -> float:
    """The logarithm of the e-value: the mixture of the likelihood ratios over `TIMES`.

    The probability that it ever reaches ln(1/alpha) is at most alpha, if each trial is bad with probability at most
    its `most`, given all before it.
    """
    logs = []
    for times in TIMES:
        ratio = sum(trial.bad for trial in trials) * math.log(times)
        ratio -= sum(trial.total * math.log1p((times - 1) * trial.most) for trial in trials)
        logs.append(ratio)
    return _mean(logs)


def _mean(logs: Sequence[float]) -> float:
    """The logarithm of the mean of e-values, which is an e-value."""
    greatest = max(logs)
    return greatest + math.log(sum(math.exp(log - greatest) for log in logs) / len(logs))


def upper_bound(bad: int, total: int, alpha: float) -> float:
    """What the true rate exceeds with probability at most `alpha`: p where total·KL(bad/total, p) = ln(1/alpha)."""
    rate = bad / total
    low, high = rate, 1.0
    for _ in range(60):  # halving: to the last bit of a float
        middle = (low + high) / 2
        if total * _entropy(rate, middle) < math.log(1 / alpha):
            low = middle
        else:
            high = middle
    return high


def _entropy(rate: float, other: float) -> float:
    """The relative entropy of two Bernoulli distributions; `other` is at least `rate`."""
    pairs = ((rate, other), (1 - rate, 1 - other))
    return sum(part * math.log(part / of) if of > 0 else math.inf for part, of in pairs if part > 0)
