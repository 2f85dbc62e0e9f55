"""Print how soon the test of rates catches a bad release, and how seldom it aborts a good one: computed, not simulated.

It enumerates every outcome with its probability and asks `fleetswap.domain.rates.judge` about each, so the figures are
those of the code. It decides nothing.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence

from fleetswap.domain.rates import Bad, Counts, Limit, Stretch, judge

LIMIT = Limit()
RATES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02)
"""Error rates of the bad releases in the table."""
LIVE = 0.001
"""Error rate of live in the table."""
WEIGHTS = (5, 25, 50)
"""Parts of the traffic, in per cent, that the candidate has in the table."""
NEGLIGIBLE = 1e-15
"""Outcomes less likely than this are dropped; all of them together stay below the last digit that is printed."""

HEAD = """| errors of the candidate | weight | caught in half of all cases within | in 95 of 100 | in 99 of 100 |
| --- | --- | --- | --- | --- |
"""


def main() -> None:
    """Write the table to standard output."""
    sys.stdout.write(render())


def render() -> str:
    """The table, in Markdown: requests *to the candidate* until the abort, read after each request."""
    rows = []
    for rate in RATES:
        for weight in WEIGHTS:
            needed = quantiles(rate, LIVE, weight, (0.5, 0.95, 0.99), most=20_000)
            cells = [f"{100 * rate:g} %", f"{weight} %", *(f"{number:,}" if number else "–" for number in needed)]
            rows.append(f"| {' | '.join(cells)} |\n")
    return HEAD + "".join(rows)


def quantiles(
    bad: float, live: float, weight: int, wanted: Sequence[float], *, most: int, limit: Limit = LIMIT
) -> list[int | None]:
    """Requests to the candidate after which the abort has come with each of the wanted probabilities, within `most`.

    The candidate has `weight` per cent of the traffic; live gets its share before each of the candidate's requests.
    """
    found: list[int | None] = []
    states, caught, served = {(0, 0): 1.0}, 0.0, 0
    for number in range(1, most + 1):
        new = math.floor(number * (100 - weight) / weight) - served
        served += new
        states = _spread(states, 0, 1, bad)
        states = _spread(states, 1, new, live)
        for state in list(states):
            if _aborts(number, state[0], served, state[1], limit):
                caught += states.pop(state)
        while len(found) < len(wanted) and caught >= wanted[len(found)]:
            found.append(number)
        if len(found) == len(wanted):
            return found
    return found + [None] * (len(wanted) - len(found))


def false_abort(looks: Sequence[tuple[int, int]], candidate: float, live: float, limit: Limit) -> float:
    """The probability that one of the looks aborts. Each is a number of requests so far, of the candidate and of live.

    `candidate` and `live` are the rates of bad requests.
    """
    states, caught, before = {(0, 0): 1.0}, 0.0, (0, 0)
    for n_c, n_l in looks:
        states = _spread(states, 0, n_c - before[0], candidate)
        states = _spread(states, 1, n_l - before[1], live)
        before = (n_c, n_l)
        for state in list(states):
            if _aborts(n_c, state[0], n_l, state[1], limit):
                caught += states.pop(state)
    return caught


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
    return judge(Bad.ERRORS, [Stretch(Counts(n_c, b_c), Counts(n_l, b_l))], limit).abort


if __name__ == "__main__":
    main()
