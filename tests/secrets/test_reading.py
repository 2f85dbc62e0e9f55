"""A sealed file is read so that nothing in it can hide from a check, and nothing of it gets into an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from fleetswap.sops.sealed import Unreadable, inspect, plain_comments, read
from tests.secrets.test_sealed_file import CONTEXT, KEY, SECRET, document, sealed

FILE = yaml.safe_dump(document(password=sealed()))


def test_yaml_and_json_are_read_alike() -> None:
    """A sealed JSON file, which sops indents with tabs, would be refused; or one of the two would not be checked."""
    tabs = json.dumps(document(password=sealed()), indent="\t").encode()
    assert inspect(FILE.encode(), "prod.yaml", [KEY], CONTEXT) == ()
    assert inspect(tabs, "prod.json", [KEY], CONTEXT) == ()
    assert inspect(tabs.replace(b"ENC[", b"ENC "), "prod.json", [KEY], CONTEXT)[0] == "password is in plaintext"


HIDDEN = {
    "twice": (f"password: {SECRET}\n{FILE}", "has a name twice (line 2, column 1), of which only the last"),
    "twice, deep": (f"a: {{b: {SECRET}, b: x}}\n", "has a name twice (line 1, column "),
    "alias": (f"a: &x {SECRET}\nb: *x\n{FILE}", "has an alias (line 2, column 4), which sops does not write"),
    "second document": (f"{FILE}---\npassword: {SECRET}\n", "is not YAML (line "),
    "not YAML": (f"password: {SECRET}\n- [", "is not YAML (line 2, column 1)"),
    "no date": (f"{FILE}when: 2026-99-99\n", "is not YAML that can be read"),
    "a name that is a list": (f"? [{SECRET}]\n: 1\n", "has a name that is not text (line 1, column 3)"),
    "a tag": (f"!!python/object/apply:os.system [{SECRET}]\n", "is not YAML (line 1, column 1)"),
    "deep": ("[" * 500, "is not YAML that can be read"),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_what_could_hide_a_value_is_a_problem(case: str) -> None:
    """A plaintext value would pass, because a parser keeps only the last of two; or the error would print it."""
    text, expected = HIDDEN[case]
    found = inspect(text.encode(), "prod.yaml", None, None)
    assert found[0].startswith(expected)
    assert SECRET not in "".join(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'{{"a": "{SECRET}", "a": "x"}}', "has a name twice"),
        (f'{{"a": "{SECRET}",', "is not JSON (line 1, column "),
        ("[" * 1500, "is not JSON that can be read"),
    ],
)
def test_json_is_read_as_strictly(text: str, expected: str) -> None:
    """The same through the other format."""
    (found,) = inspect(text.encode(), "prod.json", None, None)
    assert found.startswith(expected)
    assert SECRET not in found


def test_what_is_not_text_or_has_another_format() -> None:
    """A traceback would be shown, with the bytes in it; or a file that nobody can check would pass."""
    assert inspect(b"\xff" + SECRET.encode(), "prod.yaml", None, None) == ("is not text in UTF-8",)
    assert inspect(b"", "prod.env", None, None)[0].startswith("is not a file that can be checked")


def test_comments_are_sealed_too() -> None:
    """A password that was commented out would be committed: no parser sees it, and sops would have sealed it."""
    text = f"# {SECRET}\n#{sealed(kind='comment')}\n{FILE}  # {SECRET}\n"
    lines = [number for number, line in enumerate(text.splitlines(), 1) if SECRET in line]
    assert len(lines) == 2
    found = inspect(text.encode(), "prod.yaml", [KEY], CONTEXT)
    assert found == tuple(f"the comment in line {line} is in plaintext" for line in lines)


def test_a_comment_is_what_yaml_takes_for_one() -> None:
    """A value with a # would be reported, or a comment behind the sign of a block of text would not be."""
    text = '# x\na: |  # y\n  # not a comment\n  x\nb: "#no" # z\nc: a#b\n#\nd: # q\n  - 1 # w\n'
    assert list(plain_comments(text)) == [1, 2, 5, 8, 9]


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    """The first check of a new stack would end with a traceback."""
    with pytest.raises(Unreadable, match="does not exist"):
        read(tmp_path / "prod.yaml")
    with pytest.raises(Unreadable, match="cannot be read"):
        read(tmp_path)
