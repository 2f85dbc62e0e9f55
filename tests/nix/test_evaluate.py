"""Evaluations with the real nix: they name an image, build nothing, and say what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleetswap.domain.errors import InputError
from tests.nix.conftest import Write, message, name, small


def test_arguments_and_attributes_choose_the_image(expression: Write) -> None:
    """Another version or another attribute would name the same image."""
    path = expression(f"let make = {small()}; in {{ a = make {{}}; b = make; }}")
    named = name(path, attr="a"), name(path, attr="b", text="1"), name(path, attr="b", text="2")
    outs = {each.identity for each in named}
    assert len(outs) == 3
    assert name(path, attr="b", text="nothing") == name(path, attr="a")


def test_all_of_a_message_is_told(expression: Write) -> None:
    """Of a reason in several lines the user would read the first only."""
    with pytest.raises(InputError) as error:
        name(expression("throw ''these are missing:\n  linux\n  busybox\n''"))
    told = str(error.value)
    assert told.startswith("image.nix does not evaluate")
    assert ": these are missing:\n    linux\n    busybox\n" in told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{ }: throw ''this kernel is missing''", "this kernel is missing"),
        ("{ a = ", "unexpected end of file"),
        (f"[ ({small()} {{}}) ({small('exit 1')} {{}}) ]", "is 2 derivations, not one"),
        ("[ ]", "is 0 derivations, not one"),
    ],
)
def test_an_expression_that_is_no_image_is_refused(expression: Write, text: str, expected: str) -> None:
    """The error would not say what is wrong with the expression, or not which one."""
    path = expression(text)
    with pytest.raises(InputError) as error:
        name(path)
    assert expected in message(error)
    assert path.name in message(error)


def test_a_derivation_of_two_outputs_is_refused(expression: Write) -> None:
    """Which of the outputs is the disk would be left to chance."""
    path = expression(small().replace('name = "small";', 'name = "small"; outputs = [ "out" "doc" ];'))
    with pytest.raises(InputError, match="has 2 outputs, not one"):
        name(path)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    """The user would read nix's error about a path of its own."""
    with pytest.raises(InputError, match=r"nowhere\.nix does not exist"):
        name(tmp_path / "nowhere.nix")


def test_without_nix_the_remedy_is_to_install_it(
    expression: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without nix would show a traceback."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="nix-instantiate is not on PATH: install Nix"):
        name(expression(small()))
    for content, mode in (("", 0o755), ("#!/bin/sh", 0o644)):
        (tmp_path / "nix-instantiate").write_text(content)
        (tmp_path / "nix-instantiate").chmod(mode)
        with pytest.raises(InputError, match=r"nix-instantiate cannot be run \(.*\): reinstall Nix"):
            name(expression(small()))


def test_what_nix_says_is_read_alike_in_each_locale() -> None:
    """In a container without a locale, packages would have other names than on the author's computer."""
    code = "from fleetswap.nix.process import run; print(ascii(run(['printf', r'\\303\\251']).stdout))"
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == r"'\xe9'"


def test_a_trace_that_looks_like_an_error_is_none(expression: Write) -> None:
    """An expression that traces would be refused, or another reason be told than nix's."""
    traced = 'builtins.trace "x\\nerror: only a trace"'
    path = expression(f"{traced} ({small()} {{}})")
    assert name(path).packages == {}
    with pytest.raises(InputError, match=r"does not evaluate.*: the real one: "):
        name(expression(f'{traced} (throw "the real one")'))


def test_packages_are_known_without_a_build(expression: Write) -> None:
    """A preview would have to build the image to show which packages change."""
    path = expression(f"let drv = {small('exit 1')} {{}}; in {{ image = drv // {{ packages = {{ a = ''1''; }}; }}; }}")
    assert name(path, attr="image").packages == {"a": "1"}


def test_an_image_without_a_manifest_has_no_packages(expression: Write) -> None:
    """An ordinary NixOS image, which has no such attribute, could not be deployed."""
    assert name(expression(small())).packages == {}


@pytest.mark.parametrize(
    ("value", "expected"), [("[ ]", "must be a set"), ("{ a = 1; }", "must be a set"), ("throw ''no''", ": no:")]
)
def test_a_manifest_that_is_wrong_is_refused(expression: Write, value: str, expected: str) -> None:
    """A wrong manifest would pass for none, and the preview would hide what changes."""
    path = expression(f"{small()} {{}} // {{ packages = {value}; }}")
    with pytest.raises(InputError) as error:
        name(path)
    assert expected in message(error)
