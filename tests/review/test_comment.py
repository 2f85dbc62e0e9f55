"""The comment of a pull request: what a reviewer reads, and what never comes through."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.errors import InputError
from fleetswap.domain.review.comment import LIMIT, comment
from fleetswap.domain.review.drill import read as read_drill
from fleetswap.domain.review.preview import Preview, read
from tests.review.golden import DRILLS, FOLDER, MADE, canary, made, printed, rollout


def of(preview: dict[str, Any]) -> Preview:
    """The preview, read."""
    return read(json.dumps(preview), "preview.json")


@pytest.mark.parametrize("name", MADE)
def test_the_comment_is_as_it_was_read_once(name: str) -> None:
    """Reviewers would read other words, numbers or warnings. `python -m tests.review.golden` writes the files."""
    assert made(name) == (FOLDER / "comments" / f"{name}.md").read_text()


def test_a_long_preview_is_cut_where_it_matters_least() -> None:
    """GitHub would refuse the comment of a large change, or its lists would push out the rollout."""
    preview = canary()
    urn = preview["steps"][1]["urn"]
    preview["steps"] += [{"op": "create", "urn": f"{urn}{number:0500}"} for number in range(2000)]
    preview["diagnostics"] += [{"message": f"note {each} {'n' * 900}", "severity": "info"} for each in range(900)]
    image = next(each for each in preview["steps"] if "DiskImage" in each["urn"])
    image["newState"]["inputs"]["changes"] = [f"package {each} {'→' * 600}" for each in range(3000)]
    text = comment([of(preview)])
    assert len(text) < LIMIT
    assert "| part of the traffic | 5 % | 5:00" in text
    assert "too long for a comment, see the preview" in text
    assert len(comment([of(preview)] * 20)) < LIMIT


def test_what_carries_no_traffic_is_deleted_without_a_warning() -> None:
    """Each launch template that goes would be a warning, and nobody would read the one that matters."""
    preview = printed("unchanged")
    urn = preview["steps"][0]["urn"].replace("pulumi:pulumi:Stack", "aws:ec2/launchTemplate:LaunchTemplate")
    preview["steps"].append({"op": "delete", "urn": urn})
    text = comment([of(preview)])
    assert "1 resource deleted" in text
    assert ":warning:" not in text


def test_the_latest_drill_of_the_rollback_is_shown() -> None:
    """Reviewers would read of a drill that is old, of another stack, or of another release."""
    old, other = json.loads(DRILLS["drill-failed"][0]), json.loads(DRILLS["drill-failed"][0])
    old["at"] = "2026-11-26T23:00:00+01:00"
    proofs = [read_drill(json.dumps(each), "drill") for each in (old, other | {"release": "web-other"})]
    preview = of(printed("another-image"))
    assert "tried at 2026-11-26 22:00 UTC" in comment([preview], proofs)
    assert comment([preview], [*proofs, read_drill(DRILLS["drilled"][0], "drill")]) == made("drilled")
    assert comment([preview], proofs[1:]) == made("another-image")


PRINTED = DRILLS["drilled"][0]


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "[]", "{}", '"text"', '{"checks": {}}', '{"checks": [1]}', PRINTED.replace('"ok"', '"fine"')),
        PRINTED.replace("2026-", "last "),
        *(PRINTED.replace("5.0", each) for each in ("[]", "NaN", "1e999", "1" + "0" * 400)),
    ],
)
def test_what_no_drill_has_printed_is_an_error(wrong: str) -> None:
    """A file that was mixed up would be a traceback, or a proof."""
    with pytest.raises(InputError, match=r"drill\.json: not what `fleetswap drill --json` prints"):
        read_drill(wrong, "drill.json")


def test_a_drill_cannot_write_markup() -> None:
    """What AWS or a tag says would be a mention or a link in the comment of a pull request."""
    found = json.loads(DRILLS["drill-failed"][0])
    for each in found["checks"]:
        each.update({"check": "@all `x`", "state": "failed", "detail": "![](http://x)\n## `no`", "remedy": "<b>`</b>"})
    text = comment([of(printed("another-image"))], [read_drill(json.dumps(found), "drill")])
    assert "`![](http://x) ## 'no'`" in text
    assert "`@all 'x'`" in text


def test_an_image_is_one_in_however_many_regions() -> None:
    """The packages of a release would be listed once for each Region."""
    preview = printed("another-image")
    image = next(each for each in preview["steps"] if "DiskImage" in each["urn"] and each["op"] == "create")
    image["newState"]["inputs"]["changes"] = ["hello 1 → 2"]
    there = image["urn"].replace("::fleetswap:components", "::fleetswap:regions/eu-west-1:Region$fleetswap:components")
    preview["steps"].append(image | {"urn": there})
    assert comment([of(preview)]).count("hello 1 → 2") == 1


def test_warnings_without_end_are_cut() -> None:
    """A comment that is only warnings would be refused, and none of them read."""
    preview = canary()
    preview["diagnostics"] = [{"message": f"{each} {'w' * 450}", "severity": "warning"} for each in range(500)]
    preview["diagnostics"] += [{"message": "\n".join(["e" * 900] * 900), "severity": "error"}]
    other = canary()
    for each in other["steps"]:
        each["urn"] = each["urn"].replace("urn:pulumi:local", "urn:pulumi:other")
    text = comment([of(preview), of(other)])
    assert len(text) < LIMIT
    assert "eee" in text
    assert re.search(r":warning: … and [0-9]+ more: see the preview", text)
    assert text.count("| part of the traffic | 5 % | 5:00") == 2, "of both stacks"


@given(name=st.text(min_size=1), message=st.text())
def test_what_comes_from_outside_is_never_markup(name: str, message: str) -> None:
    """A package or an error could mention people, or close the details."""
    preview = canary()
    rollout(preview)["newState"]["inputs"]["live"] = f"{name}`@team</details>-->"
    preview["diagnostics"] = [{"message": f"{message}\n```\n@team</details>", "severity": "warning"}]
    text = comment([of(preview)])
    fences = re.compile(r"^(`{3,})[a-z]*\n.*?^\1$", re.MULTILINE | re.DOTALL)
    outside = re.sub(r"`[^`\n]*`", "", fences.sub("", text))
    assert "@team" not in outside
    assert outside.count("</details>") == 1


def test_nothing_else_of_the_resources_is_shown() -> None:
    """A secret that an input or a setting holds would be published in the pull request."""
    preview = canary()
    preview["config"] = {"fleetswap:password": "hunter2"}
    for each in preview["steps"]:
        each.setdefault("newState", {}).setdefault("inputs", {})["other"] = "hunter2"
    assert "hunter2" not in comment([of(preview)])
    assert "secret" not in made("asked"), "arguments of a hook, and the path of its URL"


def test_the_way_back_that_an_update_deletes_is_a_warning() -> None:
    """A reviewer would approve a change after which nobody can go back."""
    assert ":warning: this update deletes 1 resource of `web-7a39fe1a`" in made("back")


def test_a_release_without_a_standby_starts_machines_to_go_back() -> None:
    """A rollback would be promised in seconds that takes minutes."""
    preview = printed("another-image")
    step = rollout(preview)
    step["newState"]["inputs"]["standby"] = ""
    del step["oldState"]["outputs"]["seconds"]
    text = comment([of(preview)])
    assert "after it: `fleetswap rollback`, the time that its machines take to start" in text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Previewing update (prod):", "not JSON"),
        ("[" * 200_000, "not JSON"),
        ("{}", "`pulumi preview` failed before it began"),
        ("[]", "no `steps` in it"),
        ('{"steps": [1]}', "no `steps` in it"),
        ('{"steps": [{"urn": "urn", "op": "create"}]}', "not what `pulumi preview --json` prints"),
        ('{"steps": [{"urn": "urn:pulumi:a::b::c::d"}]}', "not what `pulumi preview --json` prints"),
    ],
)
def test_what_is_no_preview_is_refused(text: str, reason: str) -> None:
    """The comment would say that nothing changes."""
    with pytest.raises(InputError, match=re.escape(reason)):
        read(text, "preview.json")


def test_a_preview_of_nothing_says_so() -> None:
    """An empty preview, as of a stack that was never deployed and whose program failed, would end in a traceback."""
    assert "nothing changes" in comment([of({"steps": []})])
