"""One comment on a pull request, however often and by how many jobs it is written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleetswap.domain.errors import FleetswapError
from fleetswap.domain.review.comment import marker
from fleetswap.pull_requests import api
from fleetswap.pull_requests.comments import Comments, GitHub, GitLab, put
from tests.pull_requests.forge import TOKEN, Forge, forge

MARKER = marker(["shop/prod"])
FIRST, SECOND = f"{MARKER}\n\nfirst", f"{MARKER}\n\nsecond"
BOT = "github-actions[bot]"


@pytest.fixture(params=["github-workflow", "github-person", "gitlab"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Forge, Comments]]:
    """A pull request without comments, and its API."""
    monkeypatch.setattr(api, "RETRIES", api.RETRIES.new(backoff_factor=0))
    with forge(None if request.param == "github-workflow" else "deployer") as found:
        if request.param == "gitlab":
            yield found, GitLab(found.url, "12", 7, TOKEN)
        else:
            yield found, GitHub(found.url, "shop/web", 7, TOKEN)


def test_later_runs_update_the_comment(place: tuple[Forge, Comments]) -> None:
    """Each push would add a comment, and reviewers would read an old one."""
    found, comments = place
    assert [put(comments, FIRST), put(comments, FIRST), put(comments, SECOND)] == ["created", "unchanged", "updated"]
    assert found.bodies == [SECOND]


def test_it_is_found_behind_hundreds_of_others(place: tuple[Forge, Comments]) -> None:
    """On a long pull request there would be a new comment for each push."""
    found, comments = place
    for number in range(150):
        found.add(f"comment {number}", "someone")
    put(comments, FIRST)
    for number in range(100):
        found.add(f"comment {number}", "someone")
    assert put(comments, SECOND) == "updated"
    assert len(found.comments) == 251


def test_others_do_not_get_our_words_into_their_comment(place: tuple[Forge, Comments]) -> None:
    """Someone could plant the marker, and edit what we write there: a reviewer would believe it."""
    found, comments = place
    found.add(FIRST, "mallory")
    assert put(comments, SECOND) == "created"
    assert found.bodies == [FIRST, SECOND]


def test_of_two_comments_one_remains(place: tuple[Forge, Comments]) -> None:
    """Two jobs at a time would leave two comments for ever."""
    found, comments = place
    author = found.user or BOT
    found.add(FIRST, author)
    found.add(FIRST, author)
    assert put(comments, SECOND) == "updated"
    assert found.bodies == [SECOND]


def test_a_comment_whose_response_is_lost_is_not_written_twice(place: tuple[Forge, Comments]) -> None:
    """A retry would leave two comments."""
    found, comments = place
    found.fail = [200, 200, 0]
    assert put(comments, FIRST) == "created"
    assert found.bodies == [FIRST]


def test_a_bad_night_of_the_service_is_waited_for(place: tuple[Forge, Comments]) -> None:
    """A 502 would fail the job of a good change."""
    found, comments = place
    found.fail = [502, 503]
    assert put(comments, FIRST) == "created"


def test_a_link_to_elsewhere_does_not_get_the_token(place: tuple[Forge, Comments]) -> None:
    """A proxy or a service with an error could have the token sent to another address."""
    found, comments = place
    for number in range(150):
        found.add(f"comment {number}", "someone")
    with forge("deployer") as elsewhere:
        found.foreign_link = elsewhere.url
        comments.own()
    assert elsewhere.asked == []


@pytest.mark.parametrize("comments", [GitHub, GitLab])
def test_a_refusal_names_what_was_asked_and_not_the_token(comments: type[GitHub | GitLab]) -> None:
    """The user would not see that the token has no permission, or would see the token."""
    with forge("deployer") as found:
        found.fail = [200, 200, 403]
        place = comments(found.url, "shop/web" if comments is GitHub else "12", 7, TOKEN)
        with pytest.raises(FleetswapError) as refused:
            put(place, FIRST)
    assert "status 403: no" in str(refused.value)
    assert "POST" in str(refused.value)
    assert TOKEN not in str(refused.value)


def test_a_service_that_is_not_there_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job would end in a traceback."""
    monkeypatch.setattr(api, "RETRIES", api.RETRIES.new(backoff_factor=0))
    with pytest.raises(FleetswapError, match=r"GET http://127\.0\.0\.1:9/user got no response"):
        put(GitLab("http://127.0.0.1:9", "12", 7, TOKEN), FIRST)
