"""Sends a request to the API of GitHub or GitLab, and follows its pages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import urllib3

from fleetswap.domain.errors import FleetswapError, TryAgain
from fleetswap.domain.text import one_line

TIMEOUT = urllib3.Timeout(connect=10, read=30)

RETRIES = urllib3.Retry(
    total=4,
    backoff_factor=1,
    status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=("GET", "PUT", "PATCH", "DELETE"),
    raise_on_status=False,
)
"""What can be repeated without harm is repeated, after `Retry-After` if the response has one. A POST is not: it may
have succeeded, and there would be two comments."""

PAGES = 100
"""Pages of 100 comments that are read. A request with more has none of ours on the first ones, or never had."""

NEXT = re.compile(r'<([^>]+)>\s*;[^,]*\brel="next"')
"""RFC 8288, as GitHub and GitLab send it."""


class ApiError(FleetswapError):
    """The API has refused a request. `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """One API. `headers` hold the token, which no error names."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = url.rstrip("/")
        self._headers = {**headers, "User-Agent": "fleetswap", "Content-Type": "application/json"}
        self._pool = urllib3.PoolManager(timeout=TIMEOUT, retries=RETRIES)

    def ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 (JSON)
        """The JSON of a response; None if it has no body. Raises `ApiError`, and `TryAgain` if nothing answers."""
        return self._send(method, f"{self._url}/{path}", body)[0]

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """The elements of a list, page by page. Raises `ApiError` and `TryAgain`."""
        url: str | None = f"{self._url}/{path}"
        for _ in range(PAGES):
            if url is None:
                return
            found, link = self._send("GET", url)
            yield from found
            # A link to elsewhere would get the token.
            following = NEXT.search(link)
            url = following[1] if following and following[1].startswith(f"{self._url}/") else None

    def _send(self, method: str, url: str, body: object = None) -> tuple[Any, str]:
        payload = None if body is None else json.dumps(body).encode()
        asked = f"{method} {url.partition('?')[0]}"
        try:
            answer = self._pool.request(method, url, body=payload, headers=self._headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise TryAgain(f"{asked} got no response: {one_line(error)}") from error
        try:
            found = json.loads(answer.data) if answer.data else None
        except ValueError:
            found = None
        if not 200 <= answer.status < 300:
            said = found.get("message") if isinstance(found, dict) else None
            raise ApiError(f"{asked}: status {answer.status}: {one_line(said or answer.reason)}", answer.status)
        return found, answer.headers.get("Link", "")


def github(url: str, token: str) -> Api:
    """GitHub's REST API."""
    return Api(
        url,
        {
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )


def github_author(api: Api) -> Callable[[dict[str, Any]], bool]:
    """Whether whoever has the token has written a comment or an issue.

    The token of a workflow, or of another app, cannot ask who it is: then what any app has written is taken.
    """
    try:
        login = api.ask("GET", "user")["login"]
    except ApiError as error:
        if error.status not in {401, 403, 404}:
            raise
        return lambda each: bool(each["user"]["type"] == "Bot")
    return lambda each: bool(each["user"]["login"] == login)


def gitlab(url: str, token: str) -> Api:
    """GitLab's REST API."""
    return Api(url, {"PRIVATE-TOKEN": token})


def text_of(body: object) -> str:
    """The text of a comment; both services may answer with other line ends than they got."""
    if not isinstance(body, str):
        raise FleetswapError("a comment without a text: is this the API of GitHub or GitLab?")
    return body.replace("\r\n", "\n")
