"""The package changes of a report, from the JSON object that `fleetswap diff --json` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fleetswap.domain.errors import InputError
from fleetswap.domain.report import words
from fleetswap.domain.report.model import Section, Table
from fleetswap.domain.text import amount, counted

ROWS = 300
"""Packages that are listed. Another NixOS changes a thousand."""

SIGNS = {"versions": "version", "changed": "changed without a new version", "added": "added", "removed": "removed"}


def packages(plain: object) -> Section:
    """The section about what is in the images. `InputError` if this is not the object of `fleetswap diff --json`."""
    try:
        return _section(plain)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"the package changes are not what `fleetswap diff --json` prints ({type(error).__name__}: {error})"
        ) from error


def _section(plain: Any) -> Section:  # noqa: ANN401 - JSON
    rows = [*_packages("kernel", plain["kernel"])]
    for key, change in SIGNS.items():
        rows += _packages(change, plain["packages"][key])
    for kind in ("units", "files"):
        rows += _named(kind, plain[kind])
    rebuilt = plain["rebuilt"]["packages"]
    said = [f"From {_side(plain['from'])} to {_side(plain['to'])}."]
    if rebuilt:
        said.append(
            f"{counted(len(rebuilt), 'package')} rebuilt because of changes in {_joined(plain['rebuilt']['because'])}."
        )
    if (size := plain.get("size")) is not None:
        said.append(f"All store paths: {amount(int(size['before']))} before, {amount(int(size['after']))} after.")
    if not rows:
        said.append("No package changes.")
    table = Table(("change", "name", "before", "after"), tuple(rows[:ROWS]), max(0, len(rows) - ROWS)) if rows else None
    return Section("packages", "Package changes", tuple(said), table=table)


def _side(side: Mapping[str, Any]) -> str:
    return words.text(side["release"] or side["image"])


def _packages(change: str, several: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    for each in several:
        yield change, words.text(each["name"]), _joined(each["before"]), _joined(each["after"])


def _named(kind: str, names: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str, str, str]]:
    for change in ("added", "removed", "changed"):
        yield from ((f"{kind[:-1]} {change}", words.text(name), "", "") for name in names[change])


def _joined(several: Sequence[str]) -> str:
    if isinstance(several, str):
        raise TypeError("a text where a list is expected")
    return words.text(", ".join(map(str, several)))
