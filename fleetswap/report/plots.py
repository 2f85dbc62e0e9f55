"""Draws the plots of a report as SVG, through Vega-Lite, so that a page can hold them as they are.

A picture follows the page: its colors are the page's CSS variables, and it has neither script nor style of its own. For
a screen reader it is one image with a sentence; the table beside it has the numbers. No text of a record becomes
anything but text: it is data of Vega's, and of the SVG that comes back only known elements are taken.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fleetswap.domain.report.model import Bar, Plot, Role
from fleetswap.domain.report.words import moment

WIDTH, HEIGHT = 400, 230
"""Of a plot in units of its own, about those of a phone: it grows with the page."""

LANE, AXIS = 22, 44
"""Height of a lane of the timeline, and of its axis."""

PADDING = {"left": 2, "right": 14, "top": 2, "bottom": 2}
"""Fonts differ: what Vega has measured may be a little wider in a browser."""

SIZE = 13
"""Of letters, in the same units."""

NAME = 24
"""Characters of a name in a legend. The table has the whole name."""

STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
"""Seconds between two ticks of a time axis; beyond the last, its multiples."""

TICKS = 6

DASHES: Mapping[Role, list[int]] = {Role.CANDIDATE: [1, 0], Role.PREVIOUS: [7, 3], Role.WANTED: [2, 3]}
"""Lines differ in more than their color."""

ELEMENTS = frozenset({"svg", "g", "path", "line", "rect", "text", "tspan", "circle"})
"""What Vega draws plots with."""

_SVG = "{http://www.w3.org/2000/svg}"

_CLOCK = (
    "(datum.value < 0 ? '-' : '') + (abs(datum.value) >= 3600 ? floor(abs(datum.value) / 3600) + ':' +"
    " format(floor(abs(datum.value) % 3600 / 60), '02') + ':' : floor(abs(datum.value) / 60) + ':')"
    " + format(abs(datum.value) % 60, '02')"
)
_SECONDS = "datum.value + ' s'"


def of_bars(bars: Sequence[Bar], marks: Sequence[tuple[float, str]], label: str) -> str:
    """The timeline: a lane for each phase, with its whole time beside it."""
    lanes = [*dict.fromkeys(bar.lane for bar in bars)]
    domain = min((bar.began for bar in bars), default=0.0), max((bar.ended for bar in bars), default=1.0)
    lane = {
        "field": "lane",
        "type": "nominal",
        "sort": lanes,
        "axis": {"title": None, "grid": False, "ticks": False, "minExtent": 84},
    }
    roles = [*dict.fromkeys(bar.role for bar in bars)]
    took = {each: sum(bar.ended - bar.began for bar in bars if bar.lane == each) for each in lanes}
    color = {"scale": {"domain": roles, "range": [_color(role) for role in roles]}, "legend": None}
    layers: list[dict[str, Any]] = [
        {
            "data": {
                "values": [{"lane": bar.lane, "began": bar.began, "ended": bar.ended, "role": bar.role} for bar in bars]
            },
            "mark": {"type": "bar", "height": 12, "cornerRadius": 2, "strokeWidth": 2},
            "encoding": {
                "x": _time("began", domain),
                "x2": {"field": "ended"},
                "y": lane,
                "color": {"field": "role", "type": "nominal", **color},
                "stroke": {"field": "role", "type": "nominal", **color},
            },
        },
        {
            "data": {"values": [{"lane": each, "took": moment(seconds)} for each, seconds in took.items()]},
            "mark": {"type": "text", "align": "left", "dx": 6, "color": "var(--ink)", "fontSize": SIZE},
            "encoding": {"x": {"datum": domain[1], "type": "quantitative"}, "y": lane, "text": {"field": "took"}},
        },
        *_rules(marks),
        *_named(marks),
    ]
    return _drawn({"height": LANE * len(lanes) + AXIS, "layer": layers, "padding": {**PADDING, "right": 52}}, label)


def of_plot(plot: Plot, until: float, marks: Sequence[tuple[float, str]]) -> str:
    """Lines over time."""
    names = _names(plot)
    domain = 0.0, max(until, *(sample.at for sample in plot.samples), 0.0)
    top = max(_top(plot), plot.limit or 0.0)
    value = {
        "field": "value",
        "type": "quantitative",
        "scale": {"domain": [0, top * 1.06], "nice": False},
        "axis": {
            "title": plot.unit,
            "tickCount": 5,
            "tickMinStep": _least(plot),
            "format": ".4~f" if top < 10**4 else "~s",
        },
    }
    scale = {"domain": names, "range": [_color(line.role) for line in plot.lines]}
    dashes = {"domain": names, "range": [DASHES.get(line.role, [5, 2, 1, 2]) for line in plot.lines]}
    legend = {
        "title": None,
        "orient": "top",
        "columns": 1 if sum(map(len, names)) > 40 else 0,
        "symbolSize": 300,
        "columnPadding": 26,
    }
    layers: list[dict[str, Any]] = [
        {
            "data": {"values": [*_points(plot, names, domain[1])]},
            "mark": {"type": "line", "interpolate": "step-after" if plot.steps else "linear", "strokeWidth": 2.25},
            "encoding": {
                "x": _time("at", domain),
                "y": value,
                "color": {"field": "line", "type": "nominal", "scale": scale, "legend": legend},
                "strokeDash": {"field": "line", "type": "nominal", "scale": dashes, "legend": legend},
            },
        },
        *_limit(plot),
        *_rules(marks),
    ]
    return _drawn({"height": HEIGHT, "layer": layers}, f"{plot.title}. {plot.says}")


def _names(plot: Plot) -> list[str]:
    """The names of the lines, no two alike."""
    found = list[str]()
    for number, line in enumerate(plot.lines, 1):
        role = f" ({line.role})" if line.role in {Role.CANDIDATE, Role.PREVIOUS} and plot.key == "weights" else ""
        short = line.name if len(line.name) <= NAME else f"{line.name[: NAME - 1]}…"
        name = f"{short}{role}" or "?"
        found.append(name if name not in found else f"{name} #{number}")
    return found


def _top(plot: Plot) -> float:
    known = [value for sample in plot.samples for value in sample.values if value is not None]
    return max([*known, 0.0]) or 1.0


def _least(plot: Plot) -> float:
    """Between two ticks of the values: 1 if they are whole numbers."""
    known = (value for sample in plot.samples for value in sample.values if value is not None)
    return 1.0 if all(value == int(value) for value in known) else 0.0


def _points(plot: Plot, names: Sequence[str], until: float) -> Iterator[dict[str, Any]]:
    """Each value, and the last one once more at the end, so that the line goes on to there."""
    for number, name in enumerate(names):
        known = [(sample.at, sample.values[number]) for sample in plot.samples]
        for at, value in [*known, (until, known[-1][1])]:
            yield {"at": at, "value": value, "line": name}


def _limit(plot: Plot) -> Iterator[dict[str, Any]]:
    if plot.limit is not None:
        at = {"y": {"datum": plot.limit}}
        yield {"data": {"values": [{}]}, "mark": {"type": "rule", "color": "var(--bad)"}, "encoding": at}
        text = {"type": "text", "text": plot.limit_name, "align": "left", "dy": 10, "dx": 4, "x": 0, "fontSize": SIZE}
        yield {"data": {"values": [{}]}, "mark": {**text, "color": "var(--bad)"}, "encoding": at}


def _rules(marks: Sequence[tuple[float, str]]) -> Iterator[dict[str, Any]]:
    """Moments of the timeline, in every plot."""
    rule = {"type": "rule", "color": "var(--bad)", "strokeDash": [3, 3]}
    for at, _ in marks:
        yield {"data": {"values": [{}]}, "mark": rule, "encoding": {"x": {"datum": at, "type": "quantitative"}}}


def _named(marks: Sequence[tuple[float, str]]) -> Iterator[dict[str, Any]]:
    for at, name in marks:
        x = {"x": {"datum": at, "type": "quantitative"}}
        text = {
            "type": "text",
            "text": name,
            "align": "right",
            "dx": -4,
            "y": 8,
            "color": "var(--bad)",
            "fontSize": SIZE,
        }
        yield {"data": {"values": [{}]}, "mark": text, "encoding": x}


def _time(field: str, domain: tuple[float, float]) -> dict[str, Any]:
    low, high = domain[0], max(domain[1], domain[0] + 0.1)
    fits = [step for step in STEPS if (high - low) / step <= TICKS]
    step = fits[0] if fits else STEPS[-1] * -(-(high - low) // (STEPS[-1] * TICKS))
    ticks = [
        round(number * step, 1) for number in range(int(low // step), int(high // step) + 1) if number * step >= low
    ]
    axis = {"title": "since the rollout began", "values": ticks, "labelExpr": _SECONDS if high < 60 else _CLOCK}
    return {"field": field, "type": "quantitative", "scale": {"domain": [low, high], "nice": False}, "axis": axis}


def _color(role: Role) -> str:
    return f"var(--{role})"


def _drawn(spec: Mapping[str, Any], label: str) -> str:
    import vl_convert  # noqa: PLC0415 (an extra, and slow to load)

    ink = {"labelColor": "var(--ink)", "titleColor": "var(--muted)", "labelFontSize": SIZE, "titleFontSize": SIZE}
    axis = {**ink, "titleFontWeight": "normal", "domainColor": "var(--line)", "tickColor": "var(--line)"}
    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": WIDTH,
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": PADDING,
        "background": None,
        **spec,
        "config": {
            "aria": False,
            "font": "system-ui, sans-serif",
            "view": {"stroke": None},
            "axis": {**axis, "gridColor": "var(--line)"},
            "legend": {**ink, "labelLimit": 340},
        },
    }
    svg: str = vl_convert.vegalite_to_svg(whole, vl_version="6.4", allowed_base_urls=[])
    return _inlined(svg, label)


def _inlined(svg: str, label: str) -> str:
    """The picture as a part of a page. `ValueError` if it has what no plot of ours has."""
    root = ET.fromstring(svg)  # noqa: S314 (what VlConvert has drawn)
    for parent in [*root.iter()]:
        for child in [*parent]:
            if child.tag == f"{_SVG}defs" or (
                child.tag == f"{_SVG}path" and child.get("class") in {"background", "foreground"}
            ):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        if element.tag not in ELEMENTS:
            raise ValueError(f"the picture of a plot has an element {element.tag}")
        for name in [*element.attrib]:
            if name.startswith(("aria", "class", "role", "pointer-events")):
                del element.attrib[name]
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": label}
    return ET.tostring(root, encoding="unicode")
