"""What the issue of a drift check says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleetswap.domain.review.comment import LIMIT
from fleetswap.domain.review.drift import Report, report
from fleetswap.domain.review.preview import read
from tests.review.golden import of, printed


def said(*previews: dict[str, Any]) -> Report:
    """The report of what Pulumi printed."""
    return report([read(json.dumps(each), "preview.json") for each in previews])


def test_nothing_differs() -> None:
    """An issue would be opened about nothing."""
    found = said(printed("unchanged"), of("prod", printed("unchanged")))
    assert (found.differs, found.marker) == (False, "<!-- fleetswap drift: fleetswap -->")


def test_what_differs_is_named_by_stack() -> None:
    """Nobody would know which stack to look at, or what changes there; or the list would be that of the other one."""
    found = said(printed("capacity"), of("prod", printed("unchanged")))
    assert (found.differs, found.title) == (True, "Drift: fleetswap/local")
    assert found.body.startswith(f"{found.marker}\n")
    assert "### `fleetswap/local`: 1 resource updated" in found.body
    assert "~ Group web-" in found.body
    assert "No drift: `fleetswap/prod`." in found.body


@pytest.mark.parametrize("name", ["invalid"])
def test_a_preview_that_failed_closes_nothing(name: str) -> None:
    """Expired credentials would close the issue, as if nothing differed."""
    found = said(of("prod", printed(name)), printed("unchanged"))
    assert found.differs
    assert "### `fleetswap/prod`: the preview failed, so this is not known" in found.body
    assert ":x:" in found.body


def test_a_project_has_one_issue_whatever_stacks_differ() -> None:
    """The stack that drifts next would open a second issue."""
    assert said(printed("capacity")).marker == said(of("prod", printed("capacity")), printed("unchanged")).marker


def test_it_is_never_longer_than_an_issue_may_be() -> None:
    """GitHub would refuse it just when most has changed."""
    preview = printed("capacity")
    (step,) = (each for each in preview["steps"] if each["op"] == "update")
    preview["steps"] += [step | {"urn": f"{step['urn']}-{number}{'x' * 400}"} for number in range(300)]
    preview["diagnostics"] = [{"severity": "warning", "message": "w" * 400 + str(n)} for n in range(300)]
    found = said(preview)
    assert len(found.body) < LIMIT
    assert "more: see the preview" in found.body
    preview["diagnostics"] = []
    assert "a list is too long for an issue" in said(preview).body


def test_a_title_is_never_longer_than_an_issue_may_have() -> None:
    """The names of forty stacks would be refused, and nobody would hear of their drift."""
    found = said(*(of(f"stack-{number}", printed("capacity")) for number in range(40)))
    assert found.title == "Drift: 40 stacks"
