"""What `rollout.metrics` asks CloudWatch and Prometheus about a release.

It decides whether a check makes sense, and what a query asks about one release (`filled`). It asks nothing: the ports
of `fleetswap.workflows.rollout.ports` do, and `metric_values` judges what came of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from fleetswap.domain.errors import InputError
from fleetswap.domain.text import one_line

OF_RELEASE = frozenset({"release", "target_group", "auto_scaling_group"})
"""Placeholders that differ between the candidate and live."""

OF_SERVICE = frozenset({"load_balancer"})
WINDOW = "window"

RESULT = "fleetswap"
"""The ID of the query whose values are judged; the queries of an expression have their own."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts that a token may be sent to without TLS."""

LONGEST_ASKED = 240
"""Characters of a query that a message shows."""

_PLACEHOLDER = re.compile(r"\{\{\s*(\w*)\s*\}\}")
_PLAIN = re.compile(r"[A-Za-z0-9._:/-]+")
"""What can stand inside any quotes of PromQL and means only itself."""

_ID = re.compile(r"[a-z][A-Za-z0-9_]*")
_RANGE = re.compile(r"\[\s*((?:\d+(?:ms|[smhdwy]))+)\s*[\]:]")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0, "y": 31_536_000.0}


@dataclass(frozen=True)
class MetricStat:
    """A metric of CloudWatch with a statistic."""

    namespace: str
    metric: str
    statistic: str
    dimensions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CloudWatch:
    """Values that CloudWatch has, one a period: a metric, or an expression of metrics by their IDs."""

    namespace: str | None = None
    metric: str | None = None
    statistic: str | None = None
    dimensions: Mapping[str, str] = field(default_factory=dict)
    expression: str | None = None
    queries: Mapping[str, MetricStat] = field(default_factory=dict)
    period: int = 60
    """Seconds."""

    def problems(self) -> Iterator[str]:
        """What AWS would refuse, or what cannot be judged."""
        parts = (self.namespace, self.metric, self.statistic)
        if self.expression is None and not all(parts):
            yield "cloudwatch: namespace, metric and statistic are needed, or expression and queries"
        if self.expression is not None and (any(parts) or self.dimensions):
            yield "cloudwatch: with an expression, its metrics belong into queries"
        if (self.expression is None) != (not self.queries):
            yield "cloudwatch: expression and queries need each other"
        for name in self.queries:
            if not _ID.fullmatch(name) or name == RESULT:
                yield f"cloudwatch.queries: {name!r} must begin with a lower-case letter, and not be {RESULT}"

    @property
    def stats(self) -> dict[str, MetricStat]:
        """Its metrics by their IDs; without an expression, only the one whose values are judged."""
        if self.expression is not None:
            return dict(self.queries)
        return {RESULT: MetricStat(self.namespace or "", self.metric or "", self.statistic or "", self.dimensions)}

    @property
    def templates(self) -> tuple[str, ...]:
        """The texts that may have placeholders."""
        return tuple(value for stat in self.stats.values() for value in stat.dimensions.values())

    def filled(self, values: Mapping[str, str]) -> CloudWatch:
        """The same about one release."""
        queries = {
            name: replace(stat, dimensions=_filled(stat.dimensions, values)) for name, stat in self.queries.items()
        }
        return replace(self, dimensions=_filled(self.dimensions, values), queries=queries)

    @property
    def words(self) -> str:
        """What is asked, in one line."""
        stats = [
            f"{stat.namespace} {stat.metric} {stat.statistic}"
            + (f" ({', '.join(f'{key}={value}' for key, value in stat.dimensions.items())})" if stat.dimensions else "")
            for stat in self.stats.values()
        ]
        return _short(f"CloudWatch: {f'{self.expression} of ' if self.expression else ''}{', '.join(stats)}")


@dataclass(frozen=True)
class Prometheus:
    """An instant query in PromQL."""

    url: str
    query: str
    window: int = 60
    """Seconds that the query looks back."""
    token_env: str | None = None
    """The environment variable of the deployer that has the bearer token."""

    def problems(self) -> Iterator[str]:
        """What cannot be asked, or would say something about the time before a step."""
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            yield "prometheus.url: is not a URL"
            return
        if parts.scheme not in {"http", "https"} or not host:
            yield "prometheus.url: must begin with http:// or https://, and name a host"
        if parts.username is not None or parts.password is not None:
            yield "prometheus.url: must not contain a password: use token_env"
        if parts.query or parts.fragment:
            yield "prometheus.url: must end with its path: /api/v1/query is added to it"
        if self.token_env and parts.scheme == "http" and host not in LOOPBACK:
            yield "prometheus.token_env: a token is sent over https only"
        for found in _RANGE.finditer(self.query):
            seconds = sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)(ms|[smhdwy])", found[1]))
            if seconds > self.window:
                yield f"prometheus.query: looks back {found[1]}, which is more than window ({self.window} s)"

    @property
    def templates(self) -> tuple[str, ...]:
        """The texts that may have placeholders."""
        return (self.query,)

    def filled(self, values: Mapping[str, str]) -> Prometheus:
        """The same about one release."""
        return replace(self, query=_fill(self.query, {**values, WINDOW: f"{self.window}s"}))

    @property
    def words(self) -> str:
        """What is asked, in one line."""
        return _short(f"{self.url}: {self.query}")


Query = CloudWatch | Prometheus


@dataclass(frozen=True)
class MetricCheck:
    """A query and the values that are good. A value that makes no sense is an `InputError`."""

    name: str
    cloudwatch: CloudWatch | None = None
    prometheus: Prometheus | None = None
    max: float | None = None
    min: float | None = None
    at_most: float | None = None
    """How many times live's value the candidate's may be."""
    difference: float | None = None
    """How much more than live's value it may be."""
    consecutive: int = 1
    """Values in a row that must be good for a pass, or bad for an abort."""

    def __post_init__(self) -> None:
        """Refuse what can never pass, or always would."""
        problems = list(self._problems())
        if problems:
            raise InputError(f"metric {self.name}: {'; '.join(problems)}")

    def _problems(self) -> Iterator[str]:
        if (self.cloudwatch is None) == (self.prometheus is None):
            yield "must have either cloudwatch or prometheus"
            return
        yield from self.query.problems()
        limits = (self.max, self.min, self.at_most, self.difference)
        if all(limit is None for limit in limits):
            yield "needs a limit: max, min, at_most or difference"
        if any(limit is not None and not math.isfinite(limit) for limit in limits):
            yield "a limit must be a finite number"
        if self.max is not None and self.min is not None and self.min > self.max:
            yield f"min ({self.min:g}) is more than max ({self.max:g})"
        if self.at_most is not None and self.at_most < 1:
            yield "at_most must be 1 or more"
        if self.difference is not None and self.difference < 0:
            yield "difference must be 0 or more"
        if self.consecutive < 1:
            yield "consecutive must be 1 or more"
        known = OF_RELEASE | OF_SERVICE | ({WINDOW} if self.prometheus is not None else set())
        used = {found for text in self.query.templates for found in _PLACEHOLDER.findall(text)}
        if used - known:
            yield (
                f"there is no placeholder {', '.join(f'{{{{{each}}}}}' for each in sorted(used - known))}: use"
                f" {', '.join(f'{{{{{each}}}}}' for each in sorted(known))}"
            )
        if self.compares and not used & OF_RELEASE:
            yield (
                "cannot be compared with the live release: its query asks the same about both. Use a placeholder:"
                f" {', '.join(f'{{{{{each}}}}}' for each in sorted(OF_RELEASE))}"
            )

    @property
    def query(self) -> Query:
        """What is asked."""
        query = self.cloudwatch or self.prometheus
        if query is None:  # pragma: no cover - such a check is refused
            raise TypeError("a check without a query")
        return query

    @property
    def compares(self) -> bool:
        """Whether the candidate is compared with live."""
        return self.at_most is not None or self.difference is not None

    @property
    def seconds(self) -> int:
        """The time that one value stands for."""
        query = self.query
        return query.period if isinstance(query, CloudWatch) else query.window


def values_of(target_group: str, listener: str, of: tuple[str, str] | None) -> dict[str, str]:
    """What the placeholders stand for. `of` is the release and its group; None for an unmanaged target group."""
    found = {"target_group": target_group_dimension(target_group), "load_balancer": _balancer(listener)}
    return found if of is None else {**found, "release": of[0], "auto_scaling_group": of[1]}


def target_group_dimension(arn: str) -> str:
    """The value of CloudWatch's dimension TargetGroup, `targetgroup/name/id`: the last part of the ARN."""
    return arn.rsplit(":", 1)[-1]


def _balancer(listener: str) -> str:
    """The value of the dimension LoadBalancer, `app/name/id`, from a listener's ARN."""
    return "/".join(listener.rsplit(":", 1)[-1].split("/")[1:4])


def _filled(dimensions: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    return {key: _fill(value, values) for key, value in dimensions.items()}


def _fill(text: str, values: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        filled = values.get(found[1])
        if filled is None:
            raise InputError(f"there is no {found[0]} of a target group that belongs to no release")
        if not _PLAIN.fullmatch(filled):
            raise InputError(f"{found[0]} is {one_line(filled)!r}, which has characters that a query cannot contain")
        return filled

    return _PLACEHOLDER.sub(value, text)


def _short(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= LONGEST_ASKED else f"{text[: LONGEST_ASKED - 1]}…"
