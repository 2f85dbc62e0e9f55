"""The documents are a site that can be built, and that works without any other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.site_links import without_links

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_in_the_site_and_its_menu(site: Path) -> None:
    """A page would be missing, or nobody would find it: mkdocs takes only what its menu names."""
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    index = (site / "index.html").read_text()
    for page in pages - {Path("decisions/template.md")}:
        file = page.with_name("index.html") if page.name == "README.md" else page.with_suffix(".html")
        assert (site / file).is_file(), page
        assert page.match("decisions/0*.md") or f'href="{file}"' in index, page


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    """A reader behind a proxy would see no text, and others would learn what is read.

    Diagrams are the exception: the theme's script gets what draws them from a CDN, where a page has one.
    """
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"?(https?:[^\" >]+)", page.read_text())
        assert not loaded, page


@pytest.mark.parametrize(
    ("page", "markdown", "there"),
    [
        ("how-to/a.md", "[the page](../reference/cli.md#x)", "[the page](../reference/cli.md#x)"),
        ("how-to/a.md", "[an example](../../examples/nixos.yaml)", "an example (`examples/nixos.yaml`)"),
        ("how-to/a.md", "[examples/nixos.yaml](../../examples/nixos.yaml)", "examples/nixos.yaml"),
        ("a.md", "[as here](../README.md#on-aws)", "as here (`README.md`)"),
    ],
)
def test_what_is_not_in_the_site_is_named(page: str, markdown: str, there: str) -> None:
    """A reader of the site would click on a link that leads nowhere."""
    assert without_links(markdown, page) == there
