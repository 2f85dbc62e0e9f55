"""How the changes are worded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from fleetswap.domain.closure.changes import Changes, Names, Package, Source, compare, of_packages
from fleetswap.domain.closure.render import MAY_BE, lines, markdown, plain
from tests.closure.conftest import Derived


def many(count: int) -> tuple[Package, ...]:
    return tuple(Package(f"package{number:02}", ("1",), ("2",)) for number in range(count))


ALL = Changes(
    Source.STORE,
    kernel=(Package("linux", ("6.12.58",), ("6.12.60",), (10, 10)),),
    units=Names(("new.service",), ("old.socket",), ("web.service",)),
    moved=(
        Package("openssl", ("1.1.1w", "3.6.0"), ("3.6.1",), (9_000_000, 8_000_000)),
        Package("web-ui", ("1",), ("2",)),
    ),
    changed=(Package("web", ("1.4.1",), ("1.4.1",), (1000, 500_000)),),
    added=(Package("jq", (), ("1.8.1",), (0, 700_000)),),
    removed=(Package("perl", ("5.42.0",), (), (60_000_000, 0)),),
    files=Names(changed=("etc-motd",)),
    rebuilt=("curl", "git"),
    because=("openssl",),
    size=(400_000_000, 340_000_000),
)


def test_what_matters_to_a_reviewer_comes_first() -> None:
    """The kernel, the units and the application would stand behind a hundred libraries."""
    assert lines(ALL, "web") == [
        "kernel: linux 6.12.58 → 6.12.60",
        "+ unit new.service",
        "- unit old.socket",
        "~ unit web.service",
        "web-ui 1 → 2",
        "web 1.4.1, changed without a new version (+499.0 kB)",
        "openssl 1.1.1w, 3.6.0 → 3.6.1 (-1.0 MB)",
        "+ jq 1.8.1",
        "- perl 5.42.0",
        "~ 1 file: etc-motd",
        "2 packages rebuilt because of changes in openssl",
        "size: 400.0 MB → 340.0 MB (-60.0 MB)",
    ]


def test_no_changes_are_no_lines() -> None:
    """A reviewer would read a heading, or a size, of nothing."""
    assert lines(replace(Changes(Source.STORE), size=(1, 1))) == []


def test_a_long_list_is_cut_above_its_totals() -> None:
    """A preview would be buried, or the count and the size that sum it up would be cut off."""
    changes = replace(ALL, moved=many(30), because=tuple("abcdefg"))
    found = lines(changes, "web", limit=20)
    assert len(found) == 20
    assert found[-3:] == [
        "… and 21 more: `fleetswap diff`",
        "2 packages rebuilt because of changes in a, b, c, d, e and 2 more",
        "size: 400.0 MB → 340.0 MB (-60.0 MB)",
    ]
    assert len(lines(changes, "web")) == 17 + 21 + 2


def test_what_is_derived_says_so(nixos: Derived) -> None:
    """A reviewer would believe that what is only needed to build goes into production."""
    changes = compare(nixos(), nixos(openssl="3.6.1"))
    assert lines(changes)[-1] == MAY_BE
    assert MAY_BE[1:] in markdown(changes, "a", "b")
    assert MAY_BE not in lines(compare(of_packages({"a": "1"}), of_packages({"a": "2"})))


def test_markdown_has_everything() -> None:
    """A comment of a pull request would leave out what the terminal shows."""
    assert markdown(ALL, "web-1f2e3d4c", ".#web", "web").splitlines() == [
        "### Package changes: `web-1f2e3d4c` → `.#web`",
        "",
        "- unit `new.service` added",
        "- unit `old.socket` removed",
        "- unit `web.service` changed",
        "",
        "| | package | before | after | size |",
        "| --- | --- | --- | --- | ---: |",
        "| kernel | `linux` | `6.12.58` | `6.12.60` |  |",
        "| version | `web-ui` | `1` | `2` |  |",
        "| changed | `web` | `1.4.1` | `1.4.1` | +499.0 kB |",
        "| version | `openssl` | `1.1.1w`, `3.6.0` | `3.6.1` | -1.0 MB |",
        "| added | `jq` |  | `1.8.1` | +700.0 kB |",
        "| removed | `perl` | `5.42.0` |  | -60.0 MB |",
        "",
        "Files changed: `etc-motd`",
        "",
        "<details><summary>2 packages rebuilt</summary>",
        "",
        "`curl`, `git`, because of changes in `openssl`",
        "",
        "</details>",
        "",
        "Size: 400.0 MB → 340.0 MB (-60.0 MB)",
    ]
    assert "No package changes." in markdown(Changes(Source.STORE), "a", "b")


def test_nothing_in_markdown_becomes_markup() -> None:
    """A name in somebody's manifest could mention people, or show a link to whoever reviews."""
    found = markdown(compare(of_packages({"a": "1"}), of_packages({"@team|<b>`x`\n# y": "1"})), "a", "b")
    assert "| added | `@team\\|<b>'x' # y` |  | `1` |  |" in found.splitlines()


def test_json_has_a_fixed_form() -> None:
    """A script that reads the changes would break with the next version."""
    assert json.loads(json.dumps(plain(ALL))) == {
        "source": "store",
        "kernel": [{"name": "linux", "before": ["6.12.58"], "after": ["6.12.60"], "size": {"before": 10, "after": 10}}],
        "units": {"added": ["new.service"], "removed": ["old.socket"], "changed": ["web.service"]},
        "packages": {
            "versions": [
                {
                    "name": "openssl",
                    "before": ["1.1.1w", "3.6.0"],
                    "after": ["3.6.1"],
                    "size": {"before": 9_000_000, "after": 8_000_000},
                },
                {"name": "web-ui", "before": ["1"], "after": ["2"], "size": None},
            ],
            "changed": [
                {"name": "web", "before": ["1.4.1"], "after": ["1.4.1"], "size": {"before": 1000, "after": 500_000}}
            ],
            "added": [{"name": "jq", "before": [], "after": ["1.8.1"], "size": {"before": 0, "after": 700_000}}],
            "removed": [
                {"name": "perl", "before": ["5.42.0"], "after": [], "size": {"before": 60_000_000, "after": 0}}
            ],
        },
        "files": {"added": [], "removed": [], "changed": ["etc-motd"]},
        "rebuilt": {"packages": ["curl", "git"], "because": ["openssl"]},
        "size": {"before": 400_000_000, "after": 340_000_000},
    }


def test_the_page_shows_what_is_printed(nixos: Derived) -> None:
    """The documentation would show lines that the command does not print."""
    page = (Path(__file__).resolve().parents[2] / "docs/reference/cli.md").read_text()
    after = nixos(web="1.5.0", openssl="3.6.1", kernel="6.12.60", extra="1.8.1", worker="off", environment="PORT=1")
    changes = compare(nixos(), after)
    text = "\n".join(["web-7f3a1b2c → .#web", *(f"  {line}" for line in lines(changes, "web"))])
    assert f"```\n{text}\n```" in page
    assert f"````markdown\n{markdown(changes, 'web-7f3a1b2c', '.#web', 'web')}````" in page


def test_a_line_is_one_line_without_escapes_and_not_endless() -> None:
    """Names and versions are what an image's author wrote: they could color the terminal, forge lines or fill the
    stack's state.
    """
    found = compare(of_packages({"a": "1"}), of_packages({"a": "2\x1b[31m\nb 1", "b\x1b]0;title\x07": "2." * 9999}))
    shown = lines(found, limit=20)
    assert shown[0] == "a 1 → 2 b 1"
    assert (shown[1][:8], shown[1][-1], len(shown[1])) == ("+ b 2.2.", "…", 300)
    assert len(lines(found)[1]) > 19_000


def test_many_units_leave_room_for_the_packages() -> None:
    """With an update of NixOS the preview would list units, and neither the application nor a library."""
    units = tuple(f"{number:02}.service" for number in range(30))
    found = Changes(Source.STORE, units=Names(changed=units), moved=many(3))
    assert lines(found, limit=20) == [
        "~ 30 units: 00.service, 01.service, 02.service, 03.service, 04.service and 25 more",
        *lines(Changes(Source.STORE, moved=many(3))),
    ]
    assert len(lines(found)) == 33


def test_a_comment_is_not_too_long_to_be_posted() -> None:
    """With another NixOS, GitHub would refuse the comment, of which it takes 65,536 characters."""
    names = tuple(f"some-package-of-usual-length-{number}" for number in range(5000))
    moved = tuple(Package(name, ("1.2.3",), ("1.2.4",), (1, 20_000)) for name in names)
    found = Changes(Source.STORE, moved=moved, rebuilt=names, because=names, units=Names(changed=names))
    text = markdown(found, "a", "b")
    assert len(text) < 65_536
    assert "\n… and 4,700 packages more\n" in text
    assert text.count(" and 4800 more") == 2
    assert "\n- … and 4,800 units more\n" in text
