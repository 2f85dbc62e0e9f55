"""One deploy as data: its spans, the budgets that they had, and what is over budget. To and from plain JSON.

It decides what a deploy's two totals are. Keys of the JSON are never renamed and keep their meaning without another
`VERSION`; a reader skips keys that it does not know, and refuses another version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fleetswap.domain.rollout.notices import Ending
from fleetswap.domain.text import one_line

VERSION = 1

COMMIT, FIRST_HEALTHY, LIVE = "commit", "first healthy", "live"
"""Moments: of the commit that was deployed, of the candidate's first healthy machine, of all the traffic."""

BEFORE = ("evaluation", "build", "boot test", "upload", "registration", "wait")
"""Before the rollout, by the update. `registration`: of the AMI, with launch template, target group and auto scaling
group. `wait`: for the update's other resources, and for the rollouts of earlier regions."""

LAUNCH, GATE, BAKE = "launch", "gate", "bake"
"""`launch` is from the first change of the group until the first machine is healthy; `gate` until enough are."""

OF_ROLLOUT = ("look", "recover", LAUNCH, GATE, "probe", "shift", BAKE, "settle", "compare", "put back", "clean up")
"""Of the rollout, as its phases; `step N %` besides."""

START_TO_LIVE, COMMIT_TO_LIVE = "start to live", "commit to live"
"""The totals: since the update began, or since the commit."""

BUDGETS = ("evaluation", "build", "boot test", "upload", "registration", LAUNCH, GATE, "step", BAKE)
"""What may have a budget of its own besides the totals; `step` is that of each step."""

UNFINISHED = "unfinished"
"""The outcome of a rollout that was killed, or still runs; else it is one of `Ending`."""

LONGEST = 300
"""Characters of a text from outside that are kept."""

GREATEST = 1e9
"""Seconds of a span, and below `LAST_YEAR` no sum of the two is beyond what a time can be."""

LAST_YEAR = 9000

DIRTY = "-dirty"
"""Ends the commit of a work tree that had changes, as `git describe --dirty` writes it."""


@dataclass(frozen=True)
class Span:
    """One part of a deploy. A moment has 0 seconds."""

    name: str
    """One of the names above, or `step N %`."""
    start: str
    """UTC, ISO 8601 with milliseconds."""
    seconds: float
    budget: float | None = None
    """Seconds that it may take by `fleetswap:budgets`."""

    @property
    def is_moment(self) -> bool:
        """Whether it has no length by its nature."""
        return self.name in {COMMIT, FIRST_HEALTHY, LIVE}

    @property
    def end(self) -> str:
        """When it ended, as `start`."""
        return text_of(time_of(self.start) + timedelta(seconds=self.seconds))

    @property
    def over(self) -> bool:
        """Whether it took longer than it may."""
        return self.budget is not None and self.seconds > self.budget


@dataclass(frozen=True)
class Total:
    """From the beginning to the live moment, and how many seconds that may take."""

    name: str
    seconds: float
    budget: float | None = None

    @property
    def over(self) -> bool:
        """Whether it took longer than it may."""
        return self.budget is not None and self.seconds > self.budget


@dataclass(frozen=True)
class Deploy:
    """One deploy or rollback, whatever became of it."""

    release: str
    previous: str | None
    service: str
    stack: str
    """As PROJECT/STACK."""
    region: str
    """Empty if an older record does not say."""
    kind: str
    """`deploy`, or `rollback`: `fleetswap rollback`, with or without `--now`, or the setting `release`."""
    outcome: str
    """One of `notices.Ending`, or `UNFINISHED`."""
    run: str
    """ID of the rollout."""
    started: str
    """When the update began; where that is not known, the rollout. UTC, ISO 8601 with milliseconds."""
    ended: str
    spans: tuple[Span, ...] = ()
    commit: str | None = None
    """Hash of the commit that was deployed, with `-dirty` if the work tree had changes; None without git."""
    commit_time: str | None = None
    subject: str | None = None
    """The first line of its message."""
    reason: str = ""
    """Why it did not succeed."""
    budgets: Mapping[str, float] = field(default_factory=dict)
    """Of the totals, by their names."""

    @property
    def seconds(self) -> float:
        """From start to end."""
        return max(0.0, _between(self.started, self.ended))

    @property
    def succeeded(self) -> bool:
        """Whether the release is live by it."""
        return self.outcome == Ending.SUCCEEDED

    @property
    def totals(self) -> tuple[Total, ...]:
        """Those that are known; none of a deploy that did not succeed, or moved no traffic.

        What is deployed from a work tree with changes is not the commit, so it has no time since then. Neither has what
        was live before it began, by clocks that differ.
        """
        live = next((span.start for span in self.spans if span.name == LIVE), None)
        if live is None or not self.succeeded:
            return ()
        since = {START_TO_LIVE: self.started}
        if self.commit_time is not None and self.commit is not None and not self.commit.endswith(DIRTY):
            since[COMMIT_TO_LIVE] = self.commit_time
        took = {name: _between(at, live) for name, at in since.items()}
        return tuple(Total(name, seconds, self.budgets.get(name)) for name, seconds in took.items() if seconds >= 0)

    def total(self, name: str) -> Total | None:
        """One of the totals."""
        return next((each for each in self.totals if each.name == name), None)

    @property
    def over_budget(self) -> tuple[Span | Total, ...]:
        """What took longer than it may; the totals last."""
        timed: tuple[Span | Total, ...] = (*self.spans, *self.totals)
        return tuple(each for each in timed if each.over)


def setting_of(name: str) -> str:
    """The setting that has the budget of a span or a total."""
    return f"fleetswap:budgets.{('step' if name.startswith('step ') else name).replace(' ', '_')}"


def budget_of(name: str, budgets: Mapping[str, float]) -> float | None:
    """The budget of a span by its name."""
    return budgets.get("step" if name.startswith("step ") else name)


def time_of(text: str) -> datetime:
    """A time as it is written here. `ValueError` for another text, or one that does not say its offset from UTC."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None or not 1970 <= found.year <= LAST_YEAR:
        raise ValueError(f"{text!r} is not a time with its offset from UTC")
    return found.astimezone(UTC)


def text_of(time: datetime) -> str:
    """A time in UTC, ISO 8601 with milliseconds."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds")


def _between(start: str, end: str) -> float:
    return round((time_of(end) - time_of(start)).total_seconds(), 3)


def to_plain(deploy: Deploy) -> dict[str, Any]:
    """As JSON, without what has no value."""
    plain = {
        "version": VERSION,
        **{key: value for key, value in _texts(deploy) if value},
        "budgets": dict(deploy.budgets),
        "spans": [
            {"name": span.name, "start": span.start, "seconds": span.seconds}
            | ({} if span.budget is None else {"budget": span.budget})
            for span in deploy.spans
        ],
    }
    return {key: value for key, value in plain.items() if value != {}}


def _texts(deploy: Deploy) -> Iterator[tuple[str, str | None]]:
    for key in (*_NEEDED, *_OPTIONAL):
        value: str | None = getattr(deploy, key)
        yield key, None if value is None else one_line(value)[:LONGEST]


_NEEDED = ("release", "service", "stack", "kind", "outcome", "run", "started", "ended")
_OPTIONAL = ("region", "previous", "commit", "commit_time", "subject", "reason")


def of_plain(plain: object) -> Deploy:
    """Back from JSON. `ValueError` says what is wrong with it; it may be anything."""
    if not isinstance(plain, Mapping):
        raise ValueError("a deploy must be an object")
    if plain.get("version") != VERSION:
        raise ValueError(f"it is of version {plain.get('version')!r}, and this Fleetswap reads version {VERSION}")
    texts = {key: _text(plain, key) for key in _NEEDED}
    more = {key: _text(plain, key) for key in _OPTIONAL if plain.get(key) is not None}
    given: dict[str, Any] = {"region": "", "previous": None, **texts, **more}
    spans, budgets = plain.get("spans", ()), plain.get("budgets", {})
    if not isinstance(spans, list | tuple) or not isinstance(budgets, Mapping):
        raise ValueError("spans must be a list, and budgets an object")
    for key in ("started", "ended"):
        time_of(texts[key])
    if "commit_time" in more:
        time_of(more["commit_time"])
    return Deploy(
        **given,
        spans=tuple(_span(each) for each in spans),
        budgets={name: _seconds(budgets, name) for name in (START_TO_LIVE, COMMIT_TO_LIVE) if name in budgets},
    )


def _span(plain: object) -> Span:
    if not isinstance(plain, Mapping):
        raise ValueError("a span must be an object")
    start = _text(plain, "start")
    time_of(start)
    budget = _seconds(plain, "budget") if plain.get("budget") is not None else None
    return Span(_text(plain, "name"), start, _seconds(plain, "seconds"), budget)


def _text(plain: Mapping[str, Any], key: str) -> str:
    value = plain.get(key)
    text = one_line(value)[:LONGEST] if isinstance(value, str) else ""
    if not text:
        raise ValueError(f"{key} must be text, not {value!r:.40}")
    return text


def _seconds(plain: Mapping[str, Any], key: str) -> float:
    value = plain.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= GREATEST:
        raise ValueError(f"{key} must be seconds, not {value!r:.40}")
    return float(value)
