"""The weights over time: each release's share of the traffic, as it was found, written and seen."""

from __future__ import annotations

from collections.abc import Sequence

from fleetswap.domain.report import words
from fleetswap.domain.report.model import Line, Plot, Role, Sample, Section
from fleetswap.domain.report.thin import thin
from fleetswap.domain.rollout.record import Entry, Found, WeightsSeen, Written
from fleetswap.domain.rollout.strategy import ALL

SHOWN = 6
"""Releases that have a line. A rule can serve five target groups (ELBv2, ForwardActionConfig)."""

HOW = {"found": "found", "weights-written": "written", "weights-seen": "seen"}


def traffic(entries: Sequence[Entry], candidate: str, previous: str | None) -> Section:
    """The section about weights. A release that a rule does not name has weight 0."""
    rules = [entry for entry in entries if isinstance(entry, Found | Written | WeightsSeen)]
    if not rules:
        return Section("traffic", "Traffic", ("The record has no weights: nothing was read of the listener.",))
    named = dict.fromkeys(
        [candidate, *([previous] if previous else ()), *(name for rule in rules for name in rule.weights)]
    )
    shown = [*named][:SHOWN]
    roles = {candidate: Role.CANDIDATE, previous: Role.PREVIOUS}
    samples = [
        Sample(rule.at, tuple(_weight(rule.weights.get(name, 0)) for name in shown), (HOW[rule.line],))
        for rule in rules
    ]
    plot = Plot(
        "weights",
        "Weights",
        f"The weight of each release over time, from {words.weights(rules[0].weights)}"
        f" to {words.weights(rules[-1].weights)}.",
        "% of the traffic",
        tuple(Line(words.text(name), roles.get(name, Role.OTHER)) for name in shown),
        thin(samples),
        len(samples),
        columns=("weights were",),
    )
    return Section("traffic", "Traffic", (_most(rules, candidate),), (plot,))


def _weight(weight: int) -> float | None:
    """A weight; None for what cannot be one (ELBv2 has 0 to 999)."""
    return float(weight) if 0 <= weight < 1000 else None


def _most(rules: Sequence[Found | Written | WeightsSeen], candidate: str) -> str:
    most = max(rule.weights.get(candidate, 0) for rule in rules)
    had = "all the traffic" if most == ALL else f"at most {most} % of the traffic" if most else "no traffic"
    return f"{words.text(candidate)} had {had}."
