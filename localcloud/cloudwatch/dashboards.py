"""CloudWatch's dashboards as strict as AWS: what a name and a body may be. Nothing here draws them.

Moto takes any name and any JSON. A dashboard of AWS is seen from every region; here each region has its own.

Source: CloudWatch API reference (PutDashboard; "Dashboard Body Structure and Syntax").
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from moto.cloudwatch.exceptions import DashboardInvalidInputError, InvalidParameterValue
from moto.cloudwatch.responses import CloudWatchResponse

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

MOST_WIDGETS, MOST_METRICS = 500, 500  # of a dashboard; of a graph
WIDTHS, HEIGHTS = range(1, 25), range(1, 1001)
TYPES = frozenset({"metric", "text", "log", "alarm", "explorer"})

_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_ID = re.compile(r"[a-z][a-zA-Z0-9_]{0,254}")

_put_dashboard = CloudWatchResponse.put_dashboard


def patch(patches: Patches) -> None:
    """Make PutDashboard strict."""
    patches.methods(CloudWatchResponse, put_dashboard)


def put_dashboard(self: Moto) -> Moto:
    """See the module's docstring."""
    asked = self._get_params()
    if not _NAME.fullmatch(asked.get("DashboardName") or ""):
        raise InvalidParameterValue("The value for field DashboardName contains invalid characters.")
    problems = list(_problems(asked.get("DashboardBody") or ""))
    if problems:
        raise DashboardInvalidInputError(
            f"The dashboard body is invalid, there are {len(problems)} validation errors: {json.dumps(problems)}"
        )
    return _put_dashboard(self)


def _problems(body: str) -> Iterator[str]:
    try:
        found = json.loads(body)
    except ValueError:
        yield "The body must be JSON."
        return
    widgets = found.get("widgets") if isinstance(found, dict) else None
    if not isinstance(widgets, list) or len(widgets) > MOST_WIDGETS:
        yield f"/widgets must be an array of at most {MOST_WIDGETS}."
        return
    for number, widget in enumerate(widgets):
        for problem in _of_widget(widget):
            yield f"/widgets/{number}{problem}"


def _of_widget(widget: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    if not isinstance(widget, dict) or widget.get("type") not in TYPES:
        yield f"/type must be one of {', '.join(sorted(TYPES))}."
        return
    if widget.get("width", 6) not in WIDTHS or widget.get("height", 6) not in HEIGHTS:
        yield " must be 1 to 24 wide and 1 to 1,000 high."
    if ("x" in widget) != ("y" in widget) or widget.get("x", 0) + widget.get("width", 6) > WIDTHS[-1]:
        yield " must have both of x and y, and end within 24."
    properties = widget.get("properties")
    if not isinstance(properties, dict):
        yield "/properties is required."
    elif widget["type"] == "text":
        if not isinstance(properties.get("markdown"), str):
            yield "/properties/markdown is required."
    elif widget["type"] == "alarm":
        if not properties.get("alarms"):
            yield "/properties/alarms should NOT have fewer than 1 items."
    elif widget["type"] == "metric":
        yield from _of_graph(properties)


def _of_graph(properties: dict[str, Any]) -> Iterator[str]:
    metrics = properties.get("metrics")
    if not isinstance(metrics, list) or not 1 <= len(metrics) <= MOST_METRICS:
        yield f"/properties/metrics should have 1 to {MOST_METRICS} items."
        return
    if not properties.get("region"):
        yield "/properties/region is required."
    ids: list[str] = []
    for number, row in enumerate(metrics):
        options = row[-1] if row and isinstance(row[-1], dict) else {}
        names = row[: len(row) - bool(options)]
        if "expression" in options:
            if names:
                yield f"/properties/metrics/{number} has an expression, and a metric."
        elif len(names) < 2 or len(names) % 2 or not all(isinstance(each, str) for each in names):
            yield f"/properties/metrics/{number} must be a namespace, a name, and pairs of a dimension and its value."
        ids += [options["id"]] if "id" in options else []
    if len(set(ids)) < len(ids) or not all(_ID.fullmatch(each) for each in ids):
        yield "/properties/metrics: every id must be one of its own that begins with a small letter."
    for mark in (properties.get("annotations") or {}).get("vertical", []):
        try:
            datetime.fromisoformat(mark["value"])
        except (KeyError, TypeError, ValueError):
            yield "/properties/annotations/vertical: every value must be a time."
