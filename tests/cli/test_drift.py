"""`fleetswap drift`: printed, and kept in one issue."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Ran
from tests.pull_requests.forge import TOKEN, forge
from tests.review.golden import FOLDER

CHANGED, SAME = (str(FOLDER / "previews" / f"{name}.json") for name in ("capacity", "unchanged"))


def test_it_prints_what_differs(cli: Callable[..., Ran]) -> None:
    """A person could not run the check without a token."""
    ran = cli("drift", "--preview-json", CHANGED)
    assert (ran.status, ran.err) == (0, "")
    assert "### `fleetswap/local`: 1 resource updated" in ran.out
    assert cli("drift", "--preview-json", SAME).out == "no drift\n"


@pytest.mark.parametrize("service", ["github", "gitlab"])
def test_an_issue_is_opened_and_closed(cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    """A nightly job would have to keep the issue itself."""
    with forge("bot") as found:
        job = {"GITHUB_API_URL": found.url, "GITHUB_REPOSITORY": "shop/web", "GITHUB_TOKEN": TOKEN}
        job |= {"CI_API_V4_URL": found.url, "CI_PROJECT_ID": "12", "GITLAB_TOKEN": TOKEN}
        for name, value in job.items():
            monkeypatch.setenv(name, value)
        said = [cli("drift", "--preview-json", each, "--issue", service).err for each in (CHANGED, CHANGED, SAME)]
    assert said == ["the issue is opened\n", "the issue is unchanged\n", "the issue is closed\n"]
    assert [each["state"] for each in found.issues] == ["closed"]


def test_without_a_token_nothing_is_read(cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """The job would end in a traceback, or succeed without an issue."""
    for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    ran = cli("drift", "--preview-json", CHANGED, "--issue", "github")
    assert (ran.status, ran.out) == (2, "")
    assert "--issue github: GITHUB_REPOSITORY and GITHUB_TOKEN must be set" in ran.error
