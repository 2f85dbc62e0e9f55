"""One issue about drift, however often and by how many jobs it is written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleetswap.domain.errors import FleetswapError
from fleetswap.pull_requests import api
from fleetswap.pull_requests.issues import GitHubIssues, GitLabIssues, Issues, close, put
from tests.pull_requests.forge import TOKEN, Forge, forge

MARKER = "<!-- fleetswap drift: shop -->"
FIRST, SECOND = f"{MARKER}\n\nfirst\n", f"{MARKER}\n\nsecond\n"

Place = tuple[Forge, Issues]


@pytest.fixture(params=["github-workflow", "github-person", "gitlab"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A repository without issues, and its API."""
    monkeypatch.setattr(api, "RETRIES", api.RETRIES.new(backoff_factor=0))
    with forge(None if request.param == "github-workflow" else "deployer") as found:
        if request.param == "gitlab":
            yield found, GitLabIssues(found.url, "12", TOKEN)
        else:
            yield found, GitHubIssues(found.url, "shop/web", TOKEN)


def test_later_runs_update_the_issue_and_close_it(place: Place) -> None:
    """Each night would open an issue, or one would stay open although everything is as it should be."""
    found, issues = place
    said = [put(issues, "Drift: a", FIRST), put(issues, "Drift: a", FIRST), put(issues, "Drift: b", SECOND)]
    assert said == ["opened", "unchanged", "updated"]
    assert found.open_issues == [f"Drift: b\n{SECOND}"]
    assert [close(issues, MARKER), close(issues, MARKER)] == ["closed", "not needed"]
    assert (found.open_issues, len(found.issues)) == ([], 1)


def test_drift_after_it_was_closed_is_a_new_issue(place: Place) -> None:
    """A closed issue would be edited, and nobody would see it."""
    found, issues = place
    put(issues, "Drift: a", FIRST)
    close(issues, MARKER)
    assert put(issues, "Drift: a", FIRST) == "opened"
    assert [each["state"] for each in found.issues] == ["closed", "open"]


def test_issues_of_others_are_neither_edited_nor_closed(place: Place) -> None:
    """Someone could plant the marker, and edit what we write there; or an issue of a person would be closed."""
    found, issues = place
    found.open("mine", FIRST, "mallory")
    found.open("other", "<!-- fleetswap drift: other -->\n", found.user or "github-actions[bot]")
    assert put(issues, "Drift: a", SECOND) == "opened"
    assert close(issues, MARKER) == "closed"
    assert [each["title"] for each in found.issues if each["state"] == "open"] == ["mine", "other"]


def test_a_pull_request_is_no_issue() -> None:
    """GitHub lists pull requests among the issues: one of a bot with our first line would be overwritten."""
    with forge(None) as found:
        found.open("a pull request", FIRST, "github-actions[bot]")["pull_request"] = {}
        assert put(GitHubIssues(found.url, "shop/web", TOKEN), "Drift: a", SECOND) == "opened"
    assert found.issues[0]["description"] == FIRST


def test_it_is_found_behind_hundreds_of_others(place: Place) -> None:
    """In a large repository each night would open another one."""
    found, issues = place
    for number in range(150):
        found.open(f"issue {number}", "", "someone")
    put(issues, "Drift: a", FIRST)
    assert put(issues, "Drift: a", SECOND) == "updated"
    assert len(found.issues) == 151


def test_of_two_issues_one_remains(place: Place) -> None:
    """Two jobs at a time would leave two issues for ever."""
    found, issues = place
    for _ in range(2):
        found.open("Drift: a", FIRST, found.user or "github-actions[bot]")
    assert put(issues, "Drift: a", SECOND) == "updated"
    assert found.open_issues == [f"Drift: a\n{SECOND}"]


def test_a_lost_response_opens_no_second_issue(place: Place) -> None:
    """A connection that breaks after the issue was opened would fail the job, or open another one."""
    found, issues = place
    before = len(found.asked)
    issues.own()
    found.fail = [200] * (len(found.asked) - before) + [0]
    assert put(issues, "Drift: a", FIRST) == "opened"
    assert len(found.issues) == 1


def test_a_refusal_is_an_error(place: Place) -> None:
    """A token without the permission would look like a check without drift."""
    _, issues = place
    with pytest.raises(FleetswapError, match="status 422"):
        put(issues, "x" * 256, FIRST)
