"""Words the changes between two images: lines for a preview or a terminal, Markdown for a review, values for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fleetswap.domain.closure.changes import Changes, Names, Package, Source
from fleetswap.domain.closure.kinds import SYSTEM
from fleetswap.domain.text import amount, counted, one_line

PREVIEW_LINES = 20
"""What a reviewer reads in a preview, where it is one message among many."""

WIDTH = 300
"""Characters of a line that is cut short: names and versions come from whoever made the image."""

NAMED = 5
"""Names in a line that is cut short; the rest is counted."""

WORTH_SAYING = 8 * 1024
"""Bytes by which the size of a package must differ to be said, as in `nix store diff-closures`."""

ROWS, LISTED = 300, 200
"""Packages, and names in a list, of a comment: GitHub takes 65,536 characters, and another NixOS has a thousand."""

MAY_BE = "derived from the derivations: packages that are only needed to build may be among them"


def lines(changes: Changes, application: str = "", limit: int | None = None) -> list[str]:
    """The changes, what a reviewer asks first at the top; none if there are none.

    `application` is the name that the stack's own package has, or begins with: it comes before all others. Of more
    than `limit` lines, those above the totals are cut, and their number is said.
    """
    if changes.is_empty:
        return []
    short = limit is not None
    details = [*_details(changes, application, short=short), *_files(changes.files, short=short)]
    totals = list(_totals(changes, short=short))
    if limit is not None and len(details) + len(totals) > limit:
        kept = max(0, limit - len(totals) - 1)
        details = [*details[:kept], f"… and {len(details) - kept} more: `fleetswap diff`"]
    found = [one_line(each) for each in (*details, *totals)]
    return [each if len(each) <= WIDTH else f"{each[: WIDTH - 1]}…" for each in found] if short else found


def _details(changes: Changes, application: str, *, short: bool) -> Iterator[str]:
    for each in changes.kernel:
        yield f"kernel: {_package(each)}"
    for sign, names in (("+", changes.units.added), ("-", changes.units.removed), ("~", changes.units.changed)):
        if short and len(names) > NAMED:
            # Another NixOS changes dozens, and what comes below is the application.
            yield f"{sign} {counted(len(names), 'unit')}: {_listed(names, short=short)}"
        else:
            yield from (f"{sign} unit {name}" for name in names)
    ours = sorted([*changes.moved, *changes.changed], key=lambda each: _rank(each.name, application))
    first = [each for each in ours if _rank(each.name, application) < _OTHER]
    for each in first:
        yield _package(each)
    yield from (_package(each) for each in changes.moved if each not in first)
    yield from (_package(each) for each in changes.changed if each not in first)
    yield from (f"+ {_package(each)}" for each in changes.added)
    yield from (f"- {_package(each)}" for each in changes.removed)


_OTHER = 2


def _rank(name: str, application: str) -> int:
    if application and (name == application or name.startswith(f"{application}-")):
        return 0
    return 1 if name == SYSTEM else _OTHER


def _package(each: Package) -> str:
    if each.before == each.after:
        return f"{each.name} {_versions(each.after)}, changed without a new version{_difference(each.size)}"
    if not each.before or not each.after:
        return f"{each.name} {_versions(each.before or each.after)}"
    return f"{each.name} {_versions(each.before)} → {_versions(each.after)}{_difference(each.size)}"


def _versions(versions: Iterable[str]) -> str:
    return ", ".join(versions)


def _difference(size: tuple[int, int] | None) -> str:
    if size is None or abs(size[1] - size[0]) < WORTH_SAYING:
        return ""
    return f" ({_signed(size)})"


def _signed(size: tuple[int, int]) -> str:
    more = size[1] - size[0]
    return f"{'+' if more >= 0 else '-'}{amount(abs(more))}"


def _files(files: Names, *, short: bool) -> Iterator[str]:
    for sign, names in (("+", files.added), ("-", files.removed), ("~", files.changed)):
        if names:
            yield f"{sign} {counted(len(names), 'file')}: {_listed(names, short=short)}"


def _listed(names: tuple[str, ...], *, short: bool) -> str:
    if not short or len(names) <= NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"


def _totals(changes: Changes, *, short: bool) -> Iterator[str]:
    if changes.rebuilt:
        yield f"{counted(len(changes.rebuilt), 'package')} rebuilt{_because(changes, short=short)}"
    if changes.size is not None:
        before, after = changes.size
        yield f"size: {amount(before)} → {amount(after)} ({_signed(changes.size)})"
    if changes.source is Source.DERIVATIONS:
        yield MAY_BE


def _because(changes: Changes, *, short: bool) -> str:
    return f" because of changes in {_listed(changes.because, short=short)}" if changes.because else ""


def markdown(changes: Changes, before: str, after: str, application: str = "") -> str:
    """The changes as a comment of a pull request: nothing in it becomes markup, a link or a mention."""
    out = [f"### Package changes: {_code(before)} → {_code(after)}", ""]
    if changes.is_empty:
        return "\n".join([*out, "No package changes.", ""])
    ranked = sorted([*changes.moved, *changes.changed], key=lambda each: _rank(each.name, application))
    rows = [
        *(("kernel", each) for each in changes.kernel),
        *(("changed" if each.before == each.after else "version", each) for each in ranked),
        *(("added", each) for each in changes.added),
        *(("removed", each) for each in changes.removed),
    ]
    units = [f"- unit {_code(name)} {what}" for what, names in changes.units._asdict().items() for name in names]
    out += units[:LISTED]
    if len(units) > LISTED:
        out.append(f"- … and {counted(len(units) - LISTED, 'unit')} more")
    if rows:
        out += ["", "| | package | before | after | size |", "| --- | --- | --- | --- | ---: |"]
        out += [_row(what, each) for what, each in rows[:ROWS]]
        if len(rows) > ROWS:
            out += ["", f"… and {counted(len(rows) - ROWS, 'package')} more"]
    for what, files in changes.files._asdict().items():
        if files:
            out += ["", f"Files {what}: {_codes(files)}"]
    if changes.rebuilt:
        because = f", because of changes in {_codes(changes.because)}" if changes.because else ""
        summary = f"{counted(len(changes.rebuilt), 'package')} rebuilt"
        out += ["", f"<details><summary>{summary}</summary>", ""]
        out += [f"{_codes(changes.rebuilt)}{because}", "", "</details>"]
    if changes.size is not None:
        out += ["", f"Size: {amount(changes.size[0])} → {amount(changes.size[1])} ({_signed(changes.size)})"]
    if changes.source is Source.DERIVATIONS:
        out += ["", f"{MAY_BE[0].upper()}{MAY_BE[1:]}."]
    return "\n".join([*out, ""])


def _row(what: str, each: Package) -> str:
    size = "" if each.size is None or each.size[0] == each.size[1] else _signed(each.size)
    cells = (what, _code(each.name), _codes(each.before), _codes(each.after), size)
    return f"| {' | '.join(cells)} |"


def _codes(texts: tuple[str, ...]) -> str:
    more = f" and {len(texts) - LISTED} more" if len(texts) > LISTED else ""
    return ", ".join(_code(text) for text in texts[:LISTED]) + more


def _code(text: str) -> str:
    """Text as it is, whatever a manifest's author wrote: GitHub makes no mention and no link of what is code.

    Only a backtick would end it, and a bar the cell of a table (GitHub Flavored Markdown, 4.10 and 6.3).
    """
    inert = one_line(text).replace("`", "'").replace("|", r"\|")
    return f"`{inert}`" if inert else ""


def plain(changes: Changes) -> dict[str, Any]:
    """The changes as JSON-like values: a public interface, so no key is renamed or removed."""
    return {
        "source": changes.source.value,
        "kernel": [_plain(each) for each in changes.kernel],
        "units": changes.units._asdict(),
        "packages": {
            "versions": [_plain(each) for each in changes.moved],
            "changed": [_plain(each) for each in changes.changed],
            "added": [_plain(each) for each in changes.added],
            "removed": [_plain(each) for each in changes.removed],
        },
        "files": changes.files._asdict(),
        "rebuilt": {"packages": list(changes.rebuilt), "because": list(changes.because)},
        "size": _sizes(changes.size),
    }


def _plain(each: Package) -> dict[str, Any]:
    return {"name": each.name, "before": list(each.before), "after": list(each.after), "size": _sizes(each.size)}


def _sizes(size: tuple[int, int] | None) -> dict[str, int] | None:
    return None if size is None else {"before": size[0], "after": size[1]}
