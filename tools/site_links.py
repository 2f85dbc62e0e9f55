"""Names what a page links to outside of `docs/`, instead of linking to it: the site does not have it.

mkdocs calls `on_page_markdown` for every page (mkdocs user guide, "Hooks").
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)]*)\)")


def on_page_markdown(markdown: str, *, page: Any, **_: object) -> str:  # noqa: ANN401 (mkdocs has no types)
    """The page without links that leave the folder; the README's part about AWS is a page of its own there."""
    return without_links(markdown, page.file.src_uri)


def without_links(markdown: str, page: str) -> str:
    """The Markdown of a page, given by its path in `docs/`."""

    def named(found: re.Match[str]) -> str:
        text, link = found.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), link.partition("#")[0]))
        if not path.startswith("../"):
            return found[0]
        name = path.removeprefix("../")
        return text if name in text else f"{text} (`{name}`)"

    return LINK.sub(named, markdown)
