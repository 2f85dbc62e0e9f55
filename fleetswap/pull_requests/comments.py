"""Makes one comment say what it should: finds it, updates it, and deletes others that two runs at a time have made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from fleetswap.domain.errors import TryAgain
from fleetswap.pull_requests.api import github, github_author, gitlab, text_of


@dataclass(frozen=True)
class Comment:
    """One of the comments that this token's user has written."""

    id: int
    body: str


class Comments(Protocol):
    """The comments of one pull request. Every call may raise `FleetswapError`."""

    def own(self) -> list[Comment]:
        """Those that whoever has the token has written, oldest first.

        Not those of others: whoever wrote a comment can edit it later, in our name.
        """

    def create(self, body: str) -> None:
        """Write a comment."""

    def update(self, comment: int, body: str) -> None:
        """Write another text into it."""

    def delete(self, comment: int) -> None:
        """Delete it."""


def put(comments: Comments, body: str) -> str:
    """Make `body` the one comment with its first line, and say what was done: created, updated or unchanged.

    A repeat changes nothing. Raises `FleetswapError`.
    """
    found = _marked(comments, body)
    if not found:
        try:
            comments.create(body)
        except TryAgain:
            if not _marked(comments, body):  # else it was written, and only the response is lost
                raise
        return "created"
    first, *others = found
    for each in others:
        comments.delete(each.id)
    if first.body == body:
        return "unchanged"
    comments.update(first.id, body)
    return "updated"


def _marked(comments: Comments, body: str) -> list[Comment]:
    marker = body.partition("\n")[0]
    return [each for each in comments.own() if each.body.partition("\n")[0] == marker]


class GitHub:
    """The comments of a pull request on GitHub (REST API, "Issue comments"). The token needs `pull-requests: write`."""

    def __init__(self, url: str, repository: str, number: int, token: str) -> None:
        self._api = github(url, token)
        self._issue = f"repos/{repository}/issues/{number}/comments"
        self._comments = f"repos/{repository}/issues/comments"

    def own(self) -> list[Comment]:
        """Comments of whoever has the token."""
        is_ours = github_author(self._api)
        found = self._api.pages(f"{self._issue}?per_page=100")
        return [Comment(each["id"], text_of(each["body"])) for each in found if is_ours(each)]

    def create(self, body: str) -> None:
        """Comment on the pull request."""
        self._api.ask("POST", self._issue, {"body": body})

    def update(self, comment: int, body: str) -> None:
        """Edit the comment."""
        self._api.ask("PATCH", f"{self._comments}/{comment}", {"body": body})

    def delete(self, comment: int) -> None:
        """Delete the comment."""
        self._api.ask("DELETE", f"{self._comments}/{comment}")


class GitLab:
    """The notes of a merge request on GitLab (Notes API). The token needs the scope `api`; a job token has not."""

    def __init__(self, url: str, project: str, number: int, token: str) -> None:
        self._api = gitlab(url, token)
        self._notes = f"projects/{project}/merge_requests/{number}/notes"

    def own(self) -> list[Comment]:
        """Notes that the token's user, or its bot, has written."""
        user = self._api.ask("GET", "user")["id"]
        found: list[dict[str, Any]] = list(self._api.pages(f"{self._notes}?per_page=100&sort=asc&order_by=created_at"))
        return [Comment(each["id"], text_of(each["body"])) for each in found if each["author"]["id"] == user]

    def create(self, body: str) -> None:
        """Write a note on the merge request."""
        self._api.ask("POST", self._notes, {"body": body})

    def update(self, comment: int, body: str) -> None:
        """Edit the note."""
        self._api.ask("PUT", f"{self._notes}/{comment}", {"body": body})

    def delete(self, comment: int) -> None:
        """Delete the note."""
        self._api.ask("DELETE", f"{self._notes}/{comment}")
