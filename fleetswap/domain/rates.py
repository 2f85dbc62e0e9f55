"""Whether the candidate answers worse than it may: a sequential exact test of error rates and of slow answers.

It decides from counts of requests and of bad ones (errors, or slow answers) alone. It reads no metric, knows no clock,
never promotes, and never aborts on a single bad request.

**The question.** Of n_c requests of the candidate and n_l of live in the same stretch of time, b_c and b_l were bad.
Is the candidate's rate more than `ratio` times live's? It is asked again at every reading, so an ordinary test at level
alpha would in the end abort every good release. This one may be asked at any moment, any number of times.

**The test.** If the candidate is no worse than that, a bad request is the candidate's with probability at most
q = ratio·n_c / (ratio·n_c + n_l), whatever the rate itself is (the conditional test of two rates: Przyborowski and
Wilenski, Biometrika 31, 1940). Against the alternative that it is `t` times as bad as tolerated, the likelihood ratio
of one more bad request is t/(1+(t-1)q) if it is the candidate's, 1/(1+(t-1)q) if it is live's. Its mean is 1 or less
under the hypothesis, so the product over all bad requests, averaged over several `t`, is a non-negative supermartingale
that starts at 1 (an e-process; Wald's sequential ratio test with a mixture: Robbins, Ann. Math. Stat. 41, 1970). By
Ville's inequality (1939; Howard, Ramdas, McAuliffe, Sekhon, Ann. Stat. 49, 2021) it *ever* reaches 1/alpha with
probability at most alpha. Requests need not be alike: from 1 + x <= e^x the same bound follows when each has a
probability of its own, as long as the sums hold. Each stretch of time (a CloudWatch period) has its own q, so weights
may change, and a trouble that both releases share counts for neither.

**Ceilings.** "The rate is at most c" is tested in the same way: each of the candidate's requests is bad with
probability at most c. Where live has no traffic any more, c is `ratio` times the upper confidence bound of the rate
that it had while both were served (Chernoff's bound with the relative entropy: Hoeffding, JASA 58, 1963).
A rate up to `tolerated` never aborts against live: both hypotheses must be refuted.

**Late counts.** Counts are handed in whole at each reading, and may be revised upward: the product is computed anew.
What CloudWatch does not know yet is None: unknown, never zero; a stretch with an unknown in it is not used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
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
    """What counts as bad. The values are the words of the messages."""

    ERRORS = "5xx"
    SLOW = "slow"


@dataclass(frozen=True)
class Counts:
    """One release's requests in one stretch of time, and the bad ones among them. None is unknown, or not asked."""

    requests: int | None
    errors: int | None
    slow: int | None = None

    def bad(self, kind: Bad) -> int | None:
        """The bad ones of a kind."""
        return self.errors if kind is Bad.ERRORS else self.slow


@dataclass(frozen=True)
class Stretch:
    """What both releases did in the same stretch of time. Stretches do not overlap. `live` is None if there is none."""

    candidate: Counts
    live: Counts | None


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
    """A rate above this is, whatever live does."""

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
class Finding:
    """What the counts say; `reason` tells the figures, and why it aborts."""

    abort: bool
    known: bool
    """Whether every stretch is known. If not, that is no reason to go on; what is known may still abort."""
    reason: str


@dataclass(frozen=True)
class Trials:
    """`bad` of `total`, each of which is bad with probability at most `most` if all is well."""

    bad: int
    total: int
    most: float


def stretches(candidate: Mapping[int, Counts], live: Mapping[int, Counts] | None) -> list[Stretch]:
    """Pair what both releases did by the start of the period. One that live lacks, it had no requests in."""
    nothing = Counts(0, 0, 0)
    return [Stretch(counts, None if live is None else live.get(start, nothing)) for start, counts in candidate.items()]


def total(counts: Iterable[Counts]) -> Counts:
    """All counts together, as for a least number of requests. What is unknown once, is unknown."""
    several = list(counts)

    def add(numbers: Sequence[int | None]) -> int | None:
        known = [number for number in numbers if number is not None]
        return sum(known) if len(known) == len(numbers) else None

    return Counts(
        requests=add([each.requests for each in several]),
        errors=add([each.errors for each in several]),
        slow=add([each.slow for each in several]),
    )


def judge(kind: Bad, seen: Sequence[Stretch], limit: Limit) -> Finding:
    """Judge all that was counted since the candidate's first request, as far as it is known now.

    The same counts always give the same finding, and none at all is unknown. More bad requests of the candidate never
    make it better, more of live never make it worse.
    """
    known = [figures for stretch in seen if (figures := _figures(kind, stretch)) is not None]
    shared = [figures for figures in known if figures[2]]
    alone = [figures for figures in known if not figures[2]]
    threshold = math.log(SHARES / limit.alpha)
    if not seen:
        return Finding(abort=False, known=False, reason=f"{kind}: no figures yet")
    words = f"{kind}: {_words(known, shared)}"
    if len(known) < len(seen):
        words += f"; {len(seen) - len(known)} of {len(seen)} periods unknown"
    why = ""
    if sum(bad for _, bad, _, _ in known) >= LEAST_BAD:
        why = (
            _against_live(shared, limit, threshold)
            or _against_former(shared, alone, limit)
            or _against_ceiling(known, limit, threshold)
        )
    return Finding(bool(why), len(known) == len(seen), f"{words}; {why}" if why else words)


def _figures(kind: Bad, stretch: Stretch) -> tuple[int, int, int, int] | None:
    """Requests and bad ones of the candidate, then of live; None if something is unknown."""
    live = stretch.live or Counts(0, 0, 0)
    numbers = (stretch.candidate.requests, stretch.candidate.bad(kind), live.requests, live.bad(kind))
    n_c, b_c, n_l, b_l = numbers
    if n_c is None or b_c is None or n_l is None or b_l is None:
        return None
    if not (0 <= b_c <= n_c and 0 <= b_l <= n_l):
        return None  # one metric came before the other
    return n_c, b_c, n_l, b_l


def _against_live(shared: Sequence[tuple[int, int, int, int]], limit: Limit, threshold: float) -> str:
    trials = [Trials(b_c, b_c + b_l, share(n_c, n_l, limit.ratio)) for n_c, b_c, n_l, b_l in shared]
    evidence = evidence_of(trials)
    if evidence < threshold or sum(bad for _, bad, _, _ in shared) < LEAST_BAD:
        return ""
    if _against_rate(shared, limit.tolerated) < threshold:
        return ""
    return f"more than {limit.ratio:g} times the rate of live ({_chance(evidence)})"


def _against_former(
    shared: Sequence[tuple[int, int, int, int]], alone: Sequence[tuple[int, int, int, int]], limit: Limit
) -> str:
    """Half of the share goes into the bound of live's rate, half into the test against it."""
    requests, bad = sum(n_l for _, _, n_l, _ in shared), sum(b_l for _, _, _, b_l in shared)
    if not requests or sum(b_c for _, b_c, _, _ in alone) < LEAST_BAD:
        return ""
    half = limit.alpha / (2 * SHARES)
    most = max(limit.ratio * upper_bound(bad, requests, half), limit.tolerated)
    evidence = _against_rate(alone, most)
    if evidence < math.log(1 / half):
        return ""
    return f"more than {limit.ratio:g} times the rate that live had before ({_chance(evidence)})"


def _against_ceiling(known: Sequence[tuple[int, int, int, int]], limit: Limit, threshold: float) -> str:
    if limit.ceiling is None:
        return ""
    evidence = _against_rate(known, limit.ceiling)
    return f"more than the ceiling of {_percent(limit.ceiling)} ({_chance(evidence)})" if evidence >= threshold else ""


def _against_rate(figures: Iterable[tuple[int, int, int, int]], most: float) -> float:
    return evidence_of([Trials(b_c, n_c, min(most, 1.0)) for n_c, b_c, _, _ in figures])


def share(candidate: int, live: int, ratio: float) -> float:
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
    if other >= 1:
        return 0.0 if rate >= 1 else math.inf
    result = 0.0
    if rate > 0:
        result += rate * math.log(rate / other)
    if rate < 1:
        result += (1 - rate) * math.log((1 - rate) / (1 - other))
    return result


def _words(known: Sequence[tuple[int, int, int, int]], shared: Sequence[tuple[int, int, int, int]]) -> str:
    requests, bad = sum(n_c for n_c, _, _, _ in known), sum(b_c for _, b_c, _, _ in known)
    words = f"candidate {_of(bad, requests)}"
    if shared:
        words += f", live {_of(sum(b_l for _, _, _, b_l in shared), sum(n_l for _, _, n_l, _ in shared))}"
    return words


def _of(bad: int, requests: int) -> str:
    if not requests:
        return "no requests"
    return f"{bad:,} of {requests:,} ({_percent(bad / requests)})"


def _percent(rate: float) -> str:
    """As a reader compares rates: 25 %, 5.8 %, 0.04 %."""
    percent = 100 * rate
    if percent == 0 or percent >= 10:
        return f"{percent:.0f} %"
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.{-math.floor(math.log10(percent))}f} %"


def _chance(evidence: float) -> str:
    """The probability of such evidence, or stronger, for a release that keeps to the limit: at most 1/e-value."""
    if evidence > math.log(1e9):
        return "by chance less than once in 1,000,000,000"
    return f"by chance at most once in {math.exp(evidence):,.0f}"
