"""Print how soon the test of rates catches a bad release, and how seldom it aborts a good one: computed, not simulated.

It enumerates every outcome with its probability and asks `fleetswap.domain.rollout.rates.judge` about each, so the
figures are those of the code. It decides nothing.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence

from fleetswap.domain.rollout.rates import Counts, Limit, Stretch, Trials, evidence_of, judge, share

LIMIT = Limit()
RATES = (1.0, 0.5, 0.2, 0.1)
"""Error rates of the bad releases in the table. Lower ones take minutes to compute."""
LIVE = 0.001
"""Error rate of live in the table."""
WEIGHTS = (5, 25, 50)
"""Parts of the traffic, in per cent, that the candidate has in the table."""
NEGLIGIBLE = 1e-15
"""Outcomes less likely than this are dropped; all of them together stay below the last digit that is printed."""

EVENTS = 150
"""Bad requests of both releases together, after each of which is looked, in the table of false aborts."""

CAUGHT = f"""# How soon a bad release is caught

Made from the code by `python -m tools.rates_power`: exact probabilities, nothing is simulated. The limits are the
defaults of a check: a false-abort rate of {LIMIT.alpha:g}, {LIMIT.ratio:g} times live's rate tolerated, and
{100 * LIMIT.tolerated:g} % in any case; no ceiling, which catches the worst ones even sooner.
`fleetswap.domain.rollout.rates` explains the test.

Requests *to the candidate* until the abort, if live fails {100 * LIVE:g} % of its requests and the counts are looked at
after each request. (CloudWatch shows them once a minute, late; what matters is how many there are by then. Which of
them count, and when, is in [the rollout](../explanation/rollout.md#how-a-step-is-judged).)

| errors of the candidate | weight | caught in half of all cases within | in 95 of 100 | in 99 of 100 |
| --- | --- | --- | --- | --- |
"""

SPARED = f"""
## How seldom a good one is aborted

The probability that a candidate that is exactly as bad as it may be is aborted, if one looks after every one of
{EVENTS} bad requests. The promise is that no such figure is ever above the first column, however long one looks.

| promised | weight | probability |
| --- | --- | --- |
"""


def main() -> None:
    """Write the table to standard output."""
    sys.stdout.write(render())


def render() -> str:
    """The page, in Markdown."""
    return CAUGHT + "".join(caught(rate, weight) for rate in RATES for weight in WEIGHTS) + SPARED + spared()


def caught(rate: float, weight: int) -> str:
    """A row of the first table."""
    needed = quantiles(rate, LIVE, weight, (0.5, 0.95, 0.99), most=20_000)
    cells = [f"{100 * rate:g} %", f"{weight} %", *(f"{number:,}" if number else "–" for number in needed)]
    return f"| {' | '.join(cells)} |\n"


def spared() -> str:
    """The rows of the second table."""
    rows = [
        (alpha, weight, ever([share(weight, 100 - weight, 1.0)] * EVENTS, alpha))
        for alpha in (0.05, 0.001)
        for weight in WEIGHTS
    ]
    return "".join(f"| {alpha:g} | {weight} % | {probability:.2g} |\n" for alpha, weight, probability in rows)


def ever(shares: Sequence[float], alpha: float) -> float:
    """The exact probability that the evidence ever reaches 1/alpha, for a candidate as bad as it may be.

    `shares` are the probabilities that a bad request is the candidate's, in the order of the bad requests.
    """
    states, reached = {0: 1.0}, 0.0
    for number, q in enumerate(shares, 1):
        after: dict[int, float] = {}
        for bad, probability in states.items():
            after[bad] = after.get(bad, 0.0) + probability * (1 - q)
            after[bad + 1] = after.get(bad + 1, 0.0) + probability * q
        states = {}
        totals = {each: shares[:number].count(each) for each in dict.fromkeys(shares[:number])}
        for bad, probability in after.items():
            # The evidence depends on the bad events of the candidate in all, and on the events of each share.
            trials = [Trials(bad if n == 0 else 0, total, each) for n, (each, total) in enumerate(totals.items())]
            if evidence_of(trials) >= math.log(1 / alpha):
                reached += probability
            else:
                states[bad] = probability
    return reached


def quantiles(
    bad: float, live: float, weight: int, wanted: Sequence[float], *, most: int, limit: Limit = LIMIT
) -> list[int | None]:
    """Requests to the candidate after which the abort has come with each of the wanted probabilities, within `most`.

    The candidate has `weight` per cent of the traffic; live gets its share before each of the candidate's requests.
    """
    found: list[int | None] = []
    states, reached, served = {(0, 0): 1.0}, 0.0, 0
    for number in range(1, most + 1):
        new = math.floor(number * (100 - weight) / weight) - served
        served += new
        states = _spread(states, 0, 1, bad)
        states = _spread(states, 1, new, live)
        for state in list(states):
            if _aborts(number, state[0], served, state[1], limit):
                reached += states.pop(state)
        while len(found) < len(wanted) and reached >= wanted[len(found)]:
            found.append(number)
        if len(found) == len(wanted):
            return found
    return found + [None] * (len(wanted) - len(found))


def false_abort(looks: Sequence[tuple[int, int]], candidate: float, live: float, limit: Limit) -> float:
    """The probability that one of the looks aborts. Each is a number of requests so far, of the candidate and of live.

    `candidate` and `live` are the rates of bad requests.
    """
    states, reached, before = {(0, 0): 1.0}, 0.0, (0, 0)
    for n_c, n_l in looks:
        states = _spread(states, 0, n_c - before[0], candidate)
        states = _spread(states, 1, n_l - before[1], live)
        before = (n_c, n_l)
        for state in list(states):
            if _aborts(n_c, state[0], n_l, state[1], limit):
                reached += states.pop(state)
    return reached


def _spread(states: dict[tuple[int, int], float], side: int, number: int, rate: float) -> dict[tuple[int, int], float]:
    """The states after `number` more requests of a side, each bad with probability `rate`."""
    new = list(_binomial(number, rate))
    spread: dict[tuple[int, int], float] = {}
    for state, probability in states.items():
        for bad, chance in new:
            after = (state[0] + bad, state[1]) if side == 0 else (state[0], state[1] + bad)
            spread[after] = spread.get(after, 0.0) + probability * chance
    return {state: probability for state, probability in spread.items() if probability > NEGLIGIBLE}


def _binomial(number: int, rate: float) -> Iterator[tuple[int, float]]:
    if rate in {0.0, 1.0} or not number:
        yield (number if rate else 0), 1.0
        return
    for bad in range(number + 1):
        log = math.lgamma(number + 1) - math.lgamma(bad + 1) - math.lgamma(number - bad + 1)
        chance = math.exp(log + bad * math.log(rate) + (number - bad) * math.log1p(-rate))
        if chance > NEGLIGIBLE:
            yield bad, chance


def _aborts(n_c: int, b_c: int, n_l: int, b_l: int, limit: Limit) -> bool:
    return judge([Stretch(Counts(n_c, b_c), Counts(n_l, b_l))], limit).abort


if __name__ == "__main__":
    main()
