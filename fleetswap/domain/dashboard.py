"""The dashboard of a service in one region: its body, as CloudWatch wants it, and the markers of deploys.

A marker is known when its rollout has ended, and the dashboard is written after that. Source: CloudWatch API reference,
"Dashboard Body Structure and Syntax".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from fleetswap.domain import measures
from fleetswap.domain.measures import Measure, Metric

MOST_MARKERS = 50
"""Deploys that are marked, the last ones."""

WIDTH, HEIGHT = 12, 6
"""Of a graph: a dashboard is 24 wide."""

NAME_CHARS = 255

PERCENTILE = 95.0
"""Of response times, beside the median."""

NOTE = "Written by Fleetswap: each deploy replaces it. To change something, copy it (Actions, Save dashboard as)."


@dataclass(frozen=True)
class Watched:
    """A release with machines: the end of its target group's ARN, and its group's name."""

    release: str
    targets: str
    group: str


@dataclass(frozen=True)
class Marker:
    """A deploy: which release got the traffic, when (UTC, ISO 8601), in which run."""

    run: str
    label: str
    at: str


def name_of(stack: str, service: str, region: str) -> str:
    """The name of a dashboard. All of an account share one space of names, whatever the region, and a PutDashboard
    replaces whatever has the name: so the stack and the region are in it.
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{stack}-{service}-{region}")
    return name[-NAME_CHARS:]


def body_of(
    service: str,
    region: str,
    balancer: str,
    releases: Sequence[Watched],
    *,
    percentile: float = PERCENTILE,
    alarms: Sequence[str] = (),
    rules: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The body without markers. `alarms` are ARNs, `rules` the names of rules of EventBridge by what they notice."""
    graphs = [
        _graph("Requests a minute", region, _each(releases, balancer, _REQUESTS), stacked=True),
        _graph("Requests that failed (5xx or no response), percent", region, _failed(releases, balancer)),
        _graph("Traffic by release, percent", region, _shares(releases, balancer), stacked=True),
        _graph("Response time, seconds", region, _latencies(releases, balancer, percentile)),
        _graph("Healthy machines, and the capacity that is wanted", region, _machines(releases, balancer)),
        *([_graph("Events", region, _events(rules))] if rules else []),
    ]
    head: list[dict[str, Any]] = [
        {"type": "text", "height": 1, "width": 2 * WIDTH, "properties": {"markdown": f"**{service}** {region}. {NOTE}"}}
    ]
    if alarms:
        status = {"title": "Alarms", "alarms": list(alarms)}
        head.append({"type": "alarm", "height": 2 + len(alarms) // 8, "width": 2 * WIDTH, "properties": status})
    return {"widgets": list(_placed([*head, *graphs]))}


def marked(body: Mapping[str, Any], markers: Sequence[Marker]) -> dict[str, Any]:
    """The body with the markers in every graph."""
    vertical = [{"label": marker.label, "value": marker.at} for marker in markers]
    return {**body, "widgets": [_annotated(widget, vertical) for widget in body["widgets"]]}


def _annotated(widget: Mapping[str, Any], vertical: list[dict[str, str]]) -> dict[str, Any]:
    if widget["type"] != "metric" or not vertical:
        return dict(widget)
    return {**widget, "properties": {**widget["properties"], "annotations": {"vertical": vertical}}}


def marker_of(record: Mapping[str, Any] | None, release: str) -> Marker | None:
    """The marker of a rollout, by the record in its outputs; None if it moved no traffic, or has none.

    It stands where the first weights were written: there a graph changes.
    """
    if not record:
        return None
    moved = next((each for each in record.get("phases", ()) if each.get("phase") == "shift"), None)
    try:
        started = datetime.fromisoformat(str(record["started"]))
        at = started + timedelta(seconds=float((moved or {})["began"]))
        return Marker(str(record["run"]), release, f"{at:%Y-%m-%dT%H:%M:%SZ}")
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def with_marker(known: Sequence[Marker], marker: Marker | None) -> tuple[Marker, ...]:
    """The markers with one more, the oldest left out. One run is marked once."""
    others = [each for each in known if marker is None or each.run != marker.run]
    return (*others, *([marker] if marker is not None else []))[-MOST_MARKERS:]


def markers_from(text: object) -> tuple[Marker, ...]:
    """What `plain` has made; nothing of what is none of it."""
    try:
        return tuple(Marker(**each) for each in json.loads(str(text or "[]")))
    except (TypeError, ValueError):
        return ()


def plain(markers: Sequence[Marker]) -> str:
    """As the state of a stack keeps them."""
    return json.dumps([asdict(marker) for marker in markers])


def _placed(widgets: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """From left to right, in rows of one height."""
    x = y = row = 0
    for widget in widgets:
        if x + widget["width"] > 2 * WIDTH:
            x, y = 0, y + row
        yield {**widget, "x": x, "y": y}
        x, row = x + widget["width"], widget["height"]


def _graph(title: str, region: str, metrics: Iterable[Any], *, stacked: bool = False) -> dict[str, Any]:
    properties = {
        "title": title,
        "view": "timeSeries",
        "stacked": stacked,
        "region": region,
        "period": measures.PERIOD,
        "stat": "Sum",
        "metrics": list(metrics),
        "yAxis": {"left": {"min": 0}},
    }
    return {"type": "metric", "width": WIDTH, "height": HEIGHT, "properties": properties}


_REQUESTS = Metric("requests", measures.TARGETS, "RequestCount")
_DESIRED, *_, _HEALTHY = measures.MISSING.metrics


def _row(metric: Metric, watched: Watched, balancer: str, **options: object) -> list[Any]:
    """A metric as a graph has it: namespace, name, dimensions, options."""
    namespace, dimensions = metric.of
    values = {"LoadBalancer": balancer, "TargetGroup": watched.targets, "AutoScalingGroupName": watched.group}
    places = [part for name in dimensions for part in (name, values[name])]
    return [namespace, metric.name, *places, {"stat": metric.statistic, **options}]


def _each(releases: Sequence[Watched], balancer: str, metric: Metric) -> Iterator[list[Any]]:
    for watched in releases:
        yield _row(metric, watched, balancer, label=watched.release)


def _measured(measure: Measure, number: int, watched: Watched, balancer: str) -> Iterator[list[Any]]:
    """An expression of a graph, and its metrics, which are not shown. Each id is used once in a graph."""
    expression = measure.expression
    for metric in measure.metrics:
        expression = re.sub(rf"\b{metric.id}\b", f"{metric.id}{number}", expression)
        yield _row(metric, watched, balancer, id=f"{metric.id}{number}", visible=False)
    yield [{"expression": expression, "label": watched.release, "id": f"e{number}"}]


def _failed(releases: Sequence[Watched], balancer: str) -> Iterator[list[Any]]:
    for number, watched in enumerate(releases):
        yield from _measured(measures.failed(1), number, watched, balancer)


def _shares(releases: Sequence[Watched], balancer: str) -> Iterator[list[Any]]:
    """What the weights have come to: CloudWatch does not know them."""
    for number, watched in enumerate(releases):
        yield _row(_REQUESTS, watched, balancer, id=f"requests{number}", visible=False)
    total = measures.sum_of(*(f"FILL(requests{number}, 0)" for number in range(len(releases))))
    for number, watched in enumerate(releases):
        share = f"100 * FILL(requests{number}, 0) / {total}"
        yield [{"expression": share, "label": watched.release, "id": f"e{number}"}]


def _latencies(releases: Sequence[Watched], balancer: str, percentile: float) -> Iterator[list[Any]]:
    for watched in releases:
        for metric in (measures.latency(50), measures.latency(percentile)):
            yield _row(metric, watched, balancer, label=f"{watched.release} {metric.statistic}")


def _machines(releases: Sequence[Watched], balancer: str) -> Iterator[list[Any]]:
    for watched in releases:
        yield _row(_HEALTHY, watched, balancer, label=f"{watched.release} healthy")
        yield _row(_DESIRED, watched, balancer, label=f"{watched.release} wanted")


def _events(rules: Mapping[str, str]) -> Iterator[list[Any]]:
    for label, rule in rules.items():
        yield ["AWS/Events", "TriggeredRules", "RuleName", rule, {"label": label}]
