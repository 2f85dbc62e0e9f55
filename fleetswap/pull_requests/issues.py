"""Makes one issue say what it should: opens it, updates it, and closes it when there is nothing left to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from fleetswap.domain.errors import TryAgain
from fleetswap.pull_requests.api import github, github_author, gitlab, text_of


@dataclass(frozen=True)
class Issue:
    """One of the open issues that this token's user has opened. `number` is what people call it by."""

    number: int
    title: str
    body: str


class Issues(Protocol):
    """The issues of one repository. Every call may raise `FleetswapError`."""

    def own(self) -> list[Issue]:
        """Those that are open and that whoever has the token has opened, oldest first.

        Not those of others: whoever opened an issue can edit it later, in our name.
        """

    def create(self, title: str, body: str) -> None:
        """Open an issue."""

    def update(self, issue: int, title: str, body: str) -> None:
        """Write another text into it."""

    def close(self, issue: int) -> None:
        """Close it as done."""


def put(issues: Issues, title: str, body: str) -> str:
    """Make `body` the one open issue with its first line, and say what was done: opened, updated or unchanged.

    Others with that first line, which two runs at a time have opened, are closed. A repeat changes nothing.
    Raises `FleetswapError`.
    """
    marker = body.partition("\n")[0]
    found = _marked(issues, marker)
    if not found:
        try:
            issues.create(title, body)
        except TryAgain:
            if not _marked(issues, marker):  # else it was opened, and only the response is lost
                raise
        return "opened"
    first, *others = found
    for each in others:
        issues.close(each.number)
    if (first.title, first.body.rstrip()) == (title, body.rstrip()):
        return "unchanged"
    issues.update(first.number, title, body)
    return "updated"


def close(issues: Issues, marker: str) -> str:
    """Close every open issue with this first line, and say whether there was one. Raises `FleetswapError`."""
    found = _marked(issues, marker)
    for each in found:
        issues.close(each.number)
    return "closed" if found else "not needed"


def _marked(issues: Issues, marker: str) -> list[Issue]:
    return [each for each in issues.own() if each.body.partition("\n")[0] == marker]


class GitHubIssues:
    """The issues of a repository on GitHub (REST API, "Issues"). The token needs `issues: write`."""

    def __init__(self, url: str, repository: str, token: str) -> None:
        self._api = github(url, token)
        self._issues = f"repos/{repository}/issues"

    def own(self) -> list[Issue]:
        """A pull request is an issue, too, for this API: it is left out."""
        is_ours = github_author(self._api)
        found = self._api.pages(f"{self._issues}?state=open&sort=created&direction=asc&per_page=100")
        return [
            Issue(each["number"], each["title"], text_of(each["body"] or ""))
            for each in found
            if "pull_request" not in each and is_ours(each)
        ]

    def create(self, title: str, body: str) -> None:
        """Open an issue."""
        self._api.ask("POST", self._issues, {"title": title, "body": body})

    def update(self, issue: int, title: str, body: str) -> None:
        """Edit it."""
        self._api.ask("PATCH", f"{self._issues}/{issue}", {"title": title, "body": body})

    def close(self, issue: int) -> None:
        """Close it."""
        self._api.ask("PATCH", f"{self._issues}/{issue}", {"state": "closed", "state_reason": "completed"})


class GitLabIssues:
    """The issues of a project on GitLab (Issues API). The token needs the scope `api`; a job token has not."""

    def __init__(self, url: str, project: str, token: str) -> None:
        self._api = gitlab(url, token)
        self._issues = f"projects/{project}/issues"

    def own(self) -> list[Issue]:
        """Issues that the token's user, or its bot, has opened."""
        user = self._api.ask("GET", "user")["id"]
        asked = f"{self._issues}?state=opened&author_id={user}&order_by=created_at&sort=asc&per_page=100"
        found: list[dict[str, Any]] = list(self._api.pages(asked))
        return [
            Issue(each["iid"], each["title"], text_of(each["description"] or ""))
            for each in found
            if each["author"]["id"] == user
        ]

    def create(self, title: str, body: str) -> None:
        """Open an issue."""
        self._api.ask("POST", self._issues, {"title": title, "description": body})

    def update(self, issue: int, title: str, body: str) -> None:
        """Edit it."""
        self._api.ask("PUT", f"{self._issues}/{issue}", {"title": title, "description": body})

    def close(self, issue: int) -> None:
        """Close it."""
        self._api.ask("PUT", f"{self._issues}/{issue}", {"state_event": "close"})
