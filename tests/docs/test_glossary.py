"""What is read first, by users and in the code, has none of the words that docs/glossary.md says are not used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / "docs/glossary.md"
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/*/*.md"), *ROOT.glob("nix/**/*.md")})
CODE = sorted(
    path
    for name in ("fleetswap", "fleetswap_pulumi", "components", "infra", "tools/local")
    for path in ROOT.glob(f"{name}/**/*.py")
)


def unused() -> list[str]:
    """The first column of the last table, one word or phrase each."""
    table = GLOSSARY.read_text().split("## Not used\n")[1]
    return re.findall(
        r"`([^`]+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    )


def found(word: str, text: str) -> list[str]:
    """Where a word stands in a text; `is no …` is not `is no longer`, `is no worse`, `is no better`, `there is no`."""
    pattern = re.escape(word).replace(r"is\ no\ …", r"(?<!here\s)is\ no\ (?!(?:longer|worse|better)\b)\w+")
    pattern = pattern.replace(r"\ ", r"\s+")
    return [
        " ".join(text[max(0, hit.start() - 40) : hit.end() + 40].split())
        for hit in re.finditer(rf"\b{pattern}\b", text)
    ]


def prose(page: str) -> str:
    """A page without its code and its links' targets."""
    return re.sub(r"```.*?```|`[^`\n]+`|\]\([^)]*\)", "", page, flags=re.DOTALL)


def messages(source: str) -> Iterator[str]:
    """Texts of a module that are more than one word, and its first docstring, but no other."""
    tree = ast.parse(source)
    yield prose(ast.get_docstring(tree) or "")
    silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in silent
            and " " in node.value.strip()
        ):
            yield node.value


@cache
def texts() -> list[tuple[str, str]]:
    """Of each module its name and a text; read once for all words."""
    return [(path.name, text) for path in CODE for text in messages(path.read_text())]


def test_the_glossary_says_what_is_not_used() -> None:
    """The tests below would look for nothing, and pass."""
    assert len(unused()) > 10
    assert found("told", "it is told so") == ["it is told so"]
    assert found("is no …", "this is no\nfile") == ["this is no file"]
    assert found("told", next(messages('"""What `told` it.\n\nIt was told."""'))) == ["What it. It was told."]
    assert found("is no …", "this is no longer so, and is no worse; there is no file") == []


@pytest.mark.parametrize("word", unused())
def test_pages_use_the_words_of_the_glossary(word: str) -> None:
    """A reader would meet a second word for a thing, or a sentence that was translated word by word."""
    assert [(page.name, each) for page in PAGES for each in found(word, prose(page.read_text()))] == []


@pytest.mark.parametrize("word", unused())
def test_messages_use_the_words_of_the_glossary(word: str) -> None:
    """An error, or the first docstring of a module, would name a thing that the documentation calls otherwise."""
    assert [(name, each) for name, text in texts() for each in found(word, text)] == []
