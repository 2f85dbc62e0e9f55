"""The body of a dashboard, its markers, and the provider that writes it when a rollout has ended."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any

import pytest

from fleetswap.aws import dashboards
from fleetswap.domain.dashboard import (
    MOST_MARKERS,
    NAME_CHARS,
    Marker,
    Watched,
    body_of,
    marked,
    marker_of,
    markers_from,
    name_of,
    plain,
    with_marker,
)
from fleetswap.domain.errors import CloudError
from fleetswap_pulumi import dashboard as provider

RELEASES = [Watched("web-a", "targetgroup/web-a/1", "web-a-1"), Watched("web-b", "targetgroup/web-b/2", "web-b-2")]
BODY = body_of("web", "us-east-1", "app/web/1", RELEASES, alarms=["arn:alarm"], rules={"switch": "web-switch-1"})
RECORD = {
    "version": 1,
    "run": "r1",
    "started": "2026-11-27T10:00:00+00:00",
    "phases": [{"phase": "look", "began": 0.0, "ended": 1.0}, {"phase": "shift", "began": 90.5, "ended": 95.0}],
}
MARKER = Marker("r1", "web-b", "2026-11-27T10:01:30Z")


def graphs(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [widget["properties"] for widget in body["widgets"] if widget["type"] == "metric"]


def test_no_widget_lies_on_another() -> None:
    """CloudWatch would move one of them, each time to somewhere else."""
    taken = [
        (x, y)
        for widget in BODY["widgets"]
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) == 23


def test_each_expression_names_metrics_of_its_graph() -> None:
    """The graph would be an error message."""
    for graph in graphs(BODY):
        options = [row[-1] for row in graph["metrics"] if isinstance(row[-1], dict)]
        ids = [each["id"] for each in options if "id" in each]
        assert len(ids) == len(set(ids))
        for each in options:
            words = set(re.findall(r"[a-z]\w*", each.get("expression", "")))
            assert words <= set(ids), each


def test_the_traffic_is_shown_by_release() -> None:
    """Nobody would see where the weights have led: CloudWatch does not know them."""
    (share,) = (graph for graph in graphs(BODY) if graph["title"].startswith("Traffic"))
    assert share["metrics"][-1] == [
        {
            "expression": "100 * FILL(requests1, 0) / SUM([FILL(requests0, 0), FILL(requests1, 0)])",
            "label": "web-b",
            "id": "e1",
        }
    ]


def test_markers_are_in_every_graph_and_nowhere_else() -> None:
    """A deploy would not be seen where its effect is."""
    body = marked(BODY, [MARKER])
    for widget in body["widgets"]:
        vertical = widget["properties"].get("annotations", {}).get("vertical")
        assert vertical == ([{"label": "web-b", "value": MARKER.at}] if widget["type"] == "metric" else None)
    assert marked(BODY, []) == BODY
    assert "Events" not in [graph["title"] for graph in graphs(body_of("web", "us-east-1", "app/web/1", RELEASES))]


def test_a_marker_stands_where_the_traffic_moved() -> None:
    """It would stand minutes before what it explains."""
    assert marker_of(RECORD, "web-b") == MARKER


@pytest.mark.parametrize(
    "record",
    [None, {}, {**RECORD, "phases": []}, {**RECORD, "started": "soon"}, {"phases": RECORD["phases"]}],
)
def test_a_rollout_that_moved_nothing_has_no_marker(record: dict[str, Any] | None) -> None:
    """A repair would look like a deploy, and a state of another version would fail the update."""
    assert marker_of(record, "web-b") is None


def test_markers_survive_the_state_and_are_bounded() -> None:
    """The body would grow with each deploy until CloudWatch refuses it, or a retried one be marked twice."""
    known: tuple[Marker, ...] = ()
    for number in range(MOST_MARKERS + 5):
        known = with_marker(known, Marker(str(number), "web", "2026-11-27T10:00:00Z"))
    assert (len(known), known[0].run) == (MOST_MARKERS, "5")
    assert with_marker(known, known[-1]) == known
    assert with_marker(known, None) == known
    assert markers_from(plain(known)) == known
    assert [markers_from(each) for each in (None, "", "{", '[{"x": 1}]', "[1]")] == [()] * 5


def test_two_stacks_have_two_dashboards() -> None:
    """All regions of an account share one space of names: a deploy of staging would replace the one of prod."""
    names = {name_of(f"shop/{stack}", "web", region) for stack in ("prod", "test") for region in ("a-1", "b-1")}
    assert len(names) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in names)
    assert len(name_of("x" * 300, "web", "us-east-1")) == NAME_CHARS
    assert name_of("x" * 300, "web", "us-east-1") != name_of("x" * 300, "web", "us-east-2")


PROPS = {
    "schema_version": 1,
    "name": "shop-prod-web-us-east-1",
    "body": json.dumps(BODY),
    "marker": asdict(MARKER),
    "region": "us-east-1",
    "urn": "",
}


class Put(list[tuple[str, dict[str, Any]]]):
    """What was written; `error` is raised instead, if there is one."""

    error: Exception | None = None


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Put:
    written = Put()

    def write(_client: object, name: str, body: str) -> None:
        if written.error is not None:
            raise written.error
        written.append((name, json.loads(body)))

    monkeypatch.setattr(dashboards, "put", write)
    monkeypatch.setattr(provider.Inputs, "admitted", lambda _: type("Cloud", (), {"cloudwatch": lambda _: None})())
    return written


def test_each_deploy_leaves_its_marker(put: Put) -> None:
    """The dashboard would show only the last deploy, or one deploy several times."""
    made = provider.DashboardProvider().create(PROPS)
    assert made.id == PROPS["name"]
    news = {**PROPS, "marker": {**asdict(MARKER), "run": "r2", "label": "web-c"}}
    outs = provider.DashboardProvider().update(made.id, made.outs or {}, news).outs
    again = provider.DashboardProvider().update(made.id, outs or {}, news).outs
    assert again == outs
    (_, last) = put[-1]
    marks = graphs(last)[0]["annotations"]["vertical"]
    assert [each["label"] for each in marks] == ["web-b", "web-c"]
    assert not provider.DashboardProvider().diff(made.id, {**news, **(outs or {})}, news).changes


def test_a_dashboard_that_cannot_be_written_fails_no_deploy(put: Put, capsys: pytest.CaptureFixture[str]) -> None:
    """The traffic has moved: an update that fails now would leave the ledger as it was."""
    put.error = CloudError("cloudwatch:PutDashboard on x: access denied")
    outs = provider.DashboardProvider().create(PROPS).outs or {}
    assert "the dashboard is not up to date" in capsys.readouterr().err
    assert provider.DashboardProvider().diff("x", {**PROPS, **outs}, PROPS).changes, "the next update tries again"
    put.error = None
    outs = provider.DashboardProvider().update("x", {**PROPS, **outs}, PROPS).outs or {}
    assert outs["problem"] is None
    assert graphs(put[-1][1])[0]["annotations"]["vertical"][0]["label"] == "web-b"
