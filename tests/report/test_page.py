"""The page itself, as text: it is well-formed, says what the report says, and nothing in it can run or load."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from fleetswap.domain.report.model import Bar, Line, Plot, Role, Sample
from fleetswap.domain.rollout.health import Machines, Target
from fleetswap.domain.rollout.notices import Ending
from fleetswap.domain.rollout.record import Found, MachinesRead, Written
from fleetswap.report import FIRST, mark
from fleetswap.report.page import page
from fleetswap.report.plots import of_bars, of_plot
from tests.report.lines import HEADER, ended, made, real

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&\u202e{{ 7*7 }}"
"""A text that is markup, an expression of the template and of Vega, and turns the direction of what follows."""

VOID = {"meta", "link"}


class Read(HTMLParser):
    """The elements of a page, each with its attributes, and what is open at the end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements = list[tuple[str, dict[str, str | None]]]()
        self.open = list[str]()
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@cache
def page_of(name: str) -> str:
    """The page of a record of `tests.rollout.records`, or of one whose texts are all hostile."""
    return hostile() if name == "hostile" else page(real(name), version="1", source="record.jsonl")


def hostile() -> str:
    target = Target(HOSTILE, "unhealthy", HOSTILE, HOSTILE)
    of = made(
        Found(at=0, previous=HOSTILE, weights={HOSTILE: 95, f"{HOSTILE}2": 5}),
        MachinesRead(at=1, machines=Machines(2, 0, waiting=(target,))),
        Written(at=2, weights={HOSTILE: 100}),
        ended(3, Ending.FAILED, HOSTILE, reason=HOSTILE, problems=(HOSTILE,)),
        header=replace(HEADER, candidate=HOSTILE, service=HOSTILE, stack=HOSTILE, started=HOSTILE),
        why=HOSTILE,
    )
    return page(of, version="1", source=HOSTILE)


@pytest.mark.parametrize("name", ["good", "bad", "start", "hostile"])
def test_nothing_runs_and_nothing_is_loaded(name: str) -> None:
    """A record could run a script where the page is read, or a page would ask the network for something."""
    text = page_of(name)
    read = Read(text)
    assert read.open == []
    assert not {"script", "img", "iframe", "object", "embed", "a:href", "foreignobject"} & {
        tag for tag, _ in read.elements
    }
    for tag, attributes in read.elements:
        assert not any(each.startswith("on") or each == "style" for each in attributes), (tag, attributes)
        for key in ("href", "src", "xlink:href"):
            assert (attributes.get(key) or "#").startswith(("#", "data:,")), (tag, attributes)
    assert "url(" not in text
    assert "@import" not in text
    ids = [each["id"] for _, each in read.elements if "id" in each]
    assert len(ids) == len({*ids})
    referred = {each["aria-labelledby"] for _, each in read.elements if "aria-labelledby" in each}
    assert referred <= {*ids}


def test_a_hostile_text_is_shown_as_it_is() -> None:
    """Escaping that loses text would hide the message of AWS that explains a failure."""
    read = Read(page_of("hostile"))
    assert HOSTILE in read.text
    assert "49" not in read.text


def test_its_policy_allows_the_one_style_sheet() -> None:
    """A browser would refuse the style sheet, or the policy would allow anything."""
    text = page_of("good")
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = [each["content"] for tag, each in Read(text).elements if each.get("http-equiv")]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert mark("shop/prod") in text[:FIRST]


def test_headings_are_in_order_and_each_plot_has_a_name_and_a_table() -> None:
    """A screen reader would get lost, or read a hundred nameless shapes."""
    read = Read(page_of("bad"))
    levels = [int(tag[1]) for tag, _ in read.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(now <= before + 1 for before, now in pairwise(levels))
    tags = [tag for tag, _ in read.elements]
    assert {"header", "nav", "main", "footer"} <= {*tags}
    pictures = [each for tag, each in read.elements if tag == "svg"]
    assert len(pictures) == 7
    assert all(each["role"] == "img" and each["aria-label"] for each in pictures)
    assert not any("aria-hidden" in each or each.get("role") == "graphics-object" for _, each in read.elements)
    assert tags.count("details") == len(pictures)
    assert read.elements[0] == ("html", {"lang": "en"})


def test_a_very_long_rollout_has_a_page_that_can_be_mailed() -> None:
    """The page of a record with 10,000 lines would have megabytes, and one with 100,000 could not be opened."""
    lines = [Written(at=float(at), weights={"new": at % 101, "live": 100 - at % 101}) for at in range(6_000)]
    gate = [MachinesRead(at=6_000.0 + at, machines=Machines(9, at % 9, 9)) for at in range(4_000)]
    text = page(made(*lines, *gate), version="1", source="r")
    assert len(text.encode()) < 200_000
    assert "rows are left out" in text


def test_the_lines_of_a_picture_are_the_samples() -> None:
    """A picture could show other numbers than its table."""
    samples = (Sample(0, (0.0,)), Sample(5, (100.0,)), Sample(10, (50.0,)))
    plot = Plot("k", "T", "S", "%", (Line("a", Role.CANDIDATE),), samples, 3)
    (path,) = re.findall(
        r'<path [^>]*d="([^"]+)"[^>]*stroke="var\(--candidate\)"', of_plot(plot, 20, ()).split("legend")[0]
    )[:1]
    points = [tuple(map(float, each)) for each in re.findall(r"[ML]([\d.]+),([\d.]+)", path)]
    assert points[-1] == points[-2]
    (x0, zero), (_, _), (x5, all_), (_, _), (x10, half), (x20, _), _ = points
    assert (x5 - x0) * 2 == pytest.approx(x10 - x0, abs=0.02)
    assert (x10 - x0) * 2 == pytest.approx(x20 - x0, abs=0.02)
    assert (zero - half) * 2 == pytest.approx(zero - all_, abs=0.02)


@pytest.mark.parametrize(
    ("until", "ticks"),
    [(0.0, ["0 s"]), (50.0, ["10 s", "50 s"]), (200, ["1:00", "3:00"]), (9000, ["2:30:00"]), (10**8, ["0:00"])],
)
def test_the_time_axis_is_readable(until: float, ticks: list[str]) -> None:
    """The axis of a long rollout would be a row of digits."""
    bars = (Bar("build", -20 if until == 200 else 0, 0, Role.EARLIER), Bar("hold", 0, until, open=True))
    picture = of_bars(bars, ((until, "failed"),), "label")
    assert all(f">{tick}<" in picture for tick in ticks), re.findall(r"<text[^>]*>([^<]*)<", picture)
    assert ">failed<" in picture
