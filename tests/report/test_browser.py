"""The page in Chromium: what it asks for, what it looks like, and what it says to those who do not see it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetswap.domain.rollout.record import Found, Judged, MachinesRead, WeightsSeen, Written
from fleetswap.report.plots import SIZE
from fleetswap.workflows.rollout.read_record import read
from tests.report.browser import Page, chromium
from tests.report.test_page import page_of
from tests.rollout.records import record_of

pytestmark = pytest.mark.chromium

NAMES = ("good", "bad", "start", "hostile")

PHONE, DESK = 360, 1280

CONTRAST = """
(() => {
  const luminance = color => {
    const parts = color.match(/[\\d.]+/g).slice(0, 3).map(each => {
      const part = each / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (!color.endsWith(', 0)')) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [];
  const all = 'h1, h2, h3, p, a, dt, dd, th, td, caption, summary, svg text, svg path[stroke]';
  for (const element of document.querySelectorAll(all)) {
    const style = getComputedStyle(element);
    const color = element.matches('svg text') ? style.fill : element.matches('svg path') ? style.stroke : style.color;
    if (color === 'none') continue;
    const [a, b] = [luminance(color), luminance(behind(element))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), element.matches('svg path') ? 3 : 4.5, element.outerHTML.slice(0, 80)]);
  }
  return found;
})()
"""
"""Of each text and each line the contrast, the least by WCAG 2.2 (1.4.3, 1.4.11), and what it is."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    found = {name: folder / f"{name}.html" for name in NAMES}
    for name, path in found.items():
        path.write_text(page_of(name))
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.mark.parametrize("name", NAMES)
def test_it_asks_for_nothing_and_complains_of_nothing(name: str, browser: Page, pages: dict[str, Path]) -> None:
    """A page would be refused by its own policy, load something, or not fit on a phone."""
    browser.requested.clear()
    for dark in (False, True):
        browser.open(pages[name], width=PHONE, dark=dark)
    assert browser.requested == [pages[name].as_uri()] * 2
    assert browser.console == []
    browser.look(width=PHONE, mobile=True)
    assert browser.ask("[document.documentElement.scrollWidth, innerWidth]") == [PHONE, PHONE]
    wide = "[...document.querySelectorAll('body *')].filter(each => !each.closest('.scroll, .hidden')"
    assert (
        browser.ask(
            f"{wide} && each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML.slice(0, 150))"
        )
        == []
    )
    letters = "[...document.querySelectorAll('svg text')].map(each => each.getCTM())"
    assert browser.ask(f"Math.min(...{letters}.map(each => {SIZE} * Math.hypot(each.a, each.b)))") > 10


def test_the_numbers_on_the_page_are_those_of_the_record(browser: Page, pages: dict[str, Path]) -> None:
    """What a reader sees would not be what happened."""
    browser.open(pages["bad"])
    rows = "[...document.querySelectorAll('[aria-labelledby={}-table] tbody tr')]"
    cells = rows + ".map(row => [...row.cells].map(cell => cell.textContent))"
    entries = read(record_of("bad"), "bad").entries
    rules = [each for each in entries if isinstance(each, Found | Written | WeightsSeen)]
    shown = browser.ask(cells.format("weights"))
    assert [row[1:3] for row in shown] == [
        [str(each.weights.get(name, 0)) for name in ("new", "live")] for each in rules
    ]
    gate = [each.machines for each in entries if isinstance(each, MachinesRead)]
    shown = browser.ask(cells.format("machines"))[: len(gate)]
    counted = [(each.healthy, each.launched, each.wanted) for each in gate]
    assert [row[1:] for row in shown] == [["unknown" if n is None else str(n) for n in row] for row in counted]
    judged = [each for each in entries if isinstance(each, Judged)]
    (last,) = [each for each in judged[-1].findings if each.check == "errors"]
    assert last.candidate is not None
    assert last.live is not None
    *_, candidate, live = browser.ask(cells.format("errors-rates"))[-1]
    assert (candidate, live) == (
        f"{last.candidate.bad:,} of {last.candidate.requests:,}",
        f"{last.live.bad:,} of {last.live.requests:,}",
    )
    assert browser.ask("document.querySelector('.why').textContent").startswith(
        "Why: with 5 % of the traffic on new, 5xx"
    )


def test_light_and_dark_differ_and_can_be_read(browser: Page, pages: dict[str, Path]) -> None:
    """At night the page would be a lamp, or its lines vanish in their background."""
    pictures = []
    for dark in (False, True):
        browser.open(pages["bad"], width=DESK, dark=dark)
        found = browser.ask(CONTRAST)
        assert len(found) > 100
        assert [each for each in found if each[0] < each[1]] == []
        pictures.append(browser.picture())
        background = browser.ask("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(20, 24, 28)" if dark else "rgb(255, 255, 255)")
    assert pictures[0] != pictures[1]


def test_a_keyboard_and_a_screen_reader_get_everything(browser: Page, pages: dict[str, Path]) -> None:
    """Whoever does not use a mouse, or does not see, would miss the tables."""
    browser.open(pages["bad"], width=DESK)
    reached = []
    for _ in range(60):
        browser("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        browser("Input.dispatchKeyEvent", type="keyUp", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        tag, outlined = browser.ask(
            "[document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle]"
        )
        assert tag == "BODY" or outlined == "solid"
        reached.append(tag)
    assert reached.count("SUMMARY") >= 7
    assert "A" in reached
    assert "DIV" in reached
    browser.ask("document.querySelector('summary').focus()")
    for kind in ("keyDown", "keyUp"):
        browser("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
    assert browser.ask("document.querySelectorAll('details[open] tbody tr').length") > 5
    nodes = browser("Accessibility.getFullAXTree")["nodes"]
    said = [(each["role"]["value"], each.get("name", {}).get("value", "")) for each in nodes if not each["ignored"]]
    pictures = [name for role, name in said if role in {"image", "img"}]
    assert len(pictures) == 7
    assert all(pictures)
    assert {"banner", "navigation", "main", "contentinfo"} <= {role for role, _ in said}
    assert json.dumps(said).count("Weights as a table") >= 1


def test_on_paper_it_is_whole(browser: Page, pages: dict[str, Path]) -> None:
    """A print would be dark, or have its tables folded away."""
    browser.open(pages["bad"], width=DESK, dark=True)
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    browser("Emulation.setEmulatedMedia", media="print", features=[scheme])
    assert browser.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.ask("getComputedStyle(document.querySelector('nav')).display") == "none"
    hidden = "[...document.querySelectorAll('details table')].filter(each => !each.checkVisibility()).length"
    assert browser.ask(hidden) == 0
    assert browser("Page.printToPDF")["data"].startswith("JVBERi0")  # %PDF-
    browser("Emulation.setEmulatedMedia", media="", features=[])
