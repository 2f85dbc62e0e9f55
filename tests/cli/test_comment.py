"""`fleetswap comment`: from files and from a pipe, printed and put on a pull request."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran
from tests.pull_requests.forge import TOKEN, forge
from tests.review.golden import DRILLS, FOLDER, made

PREVIEWS = FOLDER / "previews"
FIRST = str(PREVIEWS / "first.json")


@pytest.fixture(autouse=True)
def no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests are no job of a pull request, wherever they run."""
    for name in ("GITHUB_REF", "GITHUB_REPOSITORY", "GITHUB_TOKEN", "CI_PROJECT_ID", "CI_MERGE_REQUEST_IID"):
        monkeypatch.delenv(name, raising=False)


def test_it_prints_the_comment_of_a_file(cli: Callable[..., Ran]) -> None:
    """A script could not use it without the API of a forge."""
    ran = cli("comment", "--preview-json", FIRST)
    assert (ran.status, ran.out, ran.err) == (0, made("first"), "")


def test_it_takes_drills(cli: Callable[..., Ran], tmp_path: Path) -> None:
    """Nobody would read what was tried."""
    (tmp_path / "prod.drill").write_text(DRILLS["drilled"][0])
    ran = cli("comment", "--preview-json", PREVIEWS / "another-image.json", "--drill", tmp_path / "prod.drill")
    assert (ran.status, ran.out) == (0, made("drilled"))
    assert "prod.json: cannot be read" in cli("comment", "--preview-json", FIRST, "--drill", "prod.json").error


def test_it_reads_a_pipe(cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """`pulumi preview --json | fleetswap comment` would need a file."""
    monkeypatch.setattr("sys.stdin", io.StringIO(Path(FIRST).read_text()))
    assert cli("comment").out == made("first")


def test_it_puts_the_comment_on_the_pull_request_of_the_job(
    cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workflow would have to find out number, address and token by itself."""
    with forge(None) as found:
        job = {"API_URL": found.url, "REPOSITORY": "shop/web", "TOKEN": TOKEN, "REF": "refs/pull/7/merge"}
        for name, value in job.items():
            monkeypatch.setenv(f"GITHUB_{name}", value)
        said = [cli("comment", "--preview-json", FIRST, "--post", "github").err for _ in range(2)]
    assert found.bodies == [made("first")]
    assert said == ["the comment is created\n", "the comment is unchanged\n"]


def test_it_knows_the_merge_request_of_a_job_of_gitlab(
    cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for GitLab."""
    with forge("project_12_bot") as found:
        job = {
            "CI_API_V4_URL": found.url,
            "CI_PROJECT_ID": "12",
            "GITLAB_TOKEN": TOKEN,
            "CI_MERGE_REQUEST_IID": "7",
        }
        for name, value in job.items():
            monkeypatch.setenv(name, value)
        assert cli("comment", "--preview-json", FIRST, "--post", "gitlab").status == 0
    assert found.bodies == [made("first")]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--preview-json", "missing.json"], "missing.json: cannot be read"),
        (["--preview-json", str(FOLDER / "golden.py")], "not JSON"),
        (["--preview-json", FIRST, "--post", "github"], "GITHUB_REPOSITORY and GITHUB_TOKEN must be set"),
        (["--preview-json", FIRST, "--pull-request", "7"], "--pull-request has no effect without --post"),
    ],
)
def test_what_is_missing_is_named(cli: Callable[..., Ran], options: list[str], reason: str) -> None:
    """The job would end in a traceback, or comment nothing and succeed."""
    ran = cli("comment", *options)
    assert (ran.status, ran.out) == (2, "")
    assert reason in ran.error


def test_a_job_of_no_pull_request_is_told_what_to_do(cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """A push to main has no pull request; the comment would go to number 0."""
    for name, value in {
        "GITHUB_REPOSITORY": "shop/web",
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_REF": "refs/heads/main",
    }.items():
        monkeypatch.setenv(name, value)
    ran = cli("comment", "--preview-json", FIRST, "--post", "github")
    assert "this is not a job of a pull request: say which one with --pull-request" in ran.error
