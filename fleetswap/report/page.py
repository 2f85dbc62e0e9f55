"""Makes the page of a report: one file of HTML that loads nothing and runs nothing.

Its Content-Security-Policy allows the one style sheet, by its hash, and nothing else, so that whatever a record holds
cannot become more than text even if the escaping had a hole.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

import jinja2

from fleetswap.domain.report.model import Plot, Report
from fleetswap.domain.report.words import moment
from fleetswap.report import mark
from fleetswap.report.plots import of_bars, of_plot


def page(report: Report, *, version: str, source: str) -> str:
    """The whole page. `source` is where the record was read."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return _template().render(
        report=report,
        mark=mark(report.stack),
        style=style,
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'",
        timeline=of_bars(report.bars, report.marks, _timeline(report)),
        drawn=lambda plot: of_plot(plot, report.until, report.marks),
        rows=rows,
        version=version,
        source=source,
    )


def rows(plot: Plot) -> list[tuple[str, ...]]:
    """The samples of a plot as the rows of its table."""
    return [(moment(each.at), *map(_number, each.values), *each.cells) for each in plot.samples]


def _number(value: float | None) -> str:
    """As exact as a reader compares: 5, 1,200, 3.226."""
    if value is None:
        return "unknown"
    return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"


def _timeline(report: Report) -> str:
    lanes = ", ".join(dict.fromkeys(bar.lane for bar in report.bars))
    return f"Timeline: the phases {lanes} over {moment(report.until)}."


def _style() -> str:
    return files(__package__).joinpath("page.css").read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    text = files(__package__).joinpath("page.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text)
