"""Stand-in for the APIs of GitHub and GitLab for comments and issues.

It knows users and pages, and is rude when it is told to. It is as strict as they are: another token is 401, an unknown
path 404, a body that is too long 422, and lists come 100 a page at most, with a `Link` header.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, urlencode, urlsplit

TOKEN = "token-of-the-job"
LIMIT = 65_536

GITHUB = re.compile(r"/repos/shop/web/issues/(?:7/comments|comments/(?P<id>\d+))")
GITLAB = re.compile(r"/projects/12/merge_requests/7/notes(?:/(?P<id>\d+))?")
GITHUB_ISSUES = re.compile(r"/repos/shop/web/issues(?:/(?P<id>\d+))?")
GITLAB_ISSUES = re.compile(r"/projects/12/issues(?:/(?P<id>\d+))?")
TITLE = 255
"""Characters of a title; both take no more."""


@dataclass
class Forge:
    """What there is. `user` is whose token it is; None is a workflow's, which may not ask who it is."""

    user: str | None
    comments: list[dict[str, Any]] = field(default_factory=list)
    issues: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    fail: list[int] = field(default_factory=list)
    """Statuses of the next requests; 0 does what is asked, and loses the response."""
    foreign_link: str = ""
    url: str = ""

    def add(self, body: str, user: str) -> dict[str, Any]:
        """Someone comments."""
        bot = user.endswith("[bot]")
        made = {
            "id": 100 + len(self.comments),
            "body": body.replace("\n", "\r\n"),
            "user": {"login": user, "type": "Bot" if bot else "User"},
            "author": {"id": len(user)},
        }
        self.comments.append(made)
        return made

    def open(self, title: str, body: str, user: str) -> dict[str, Any]:
        """Someone opens an issue."""
        number = 1 + len(self.issues)
        made = {
            "number": number,
            "iid": number,
            "title": title,
            "body": body.replace("\n", "\r\n"),
            "description": body,
            "state": "open",
            "user": {"login": user, "type": "Bot" if user.endswith("[bot]") else "User"},
            "author": {"id": len(user)},
        }
        self.issues.append(made)
        return made

    @property
    def open_issues(self) -> list[str]:
        """The texts of the issues that are open, by title."""
        return [f"{each['title']}\n{each['description']}" for each in self.issues if each["state"] == "open"]

    @property
    def bodies(self) -> list[str]:
        """The texts of the comments."""
        return [each["body"].replace("\r\n", "\n") for each in self.comments]


@contextmanager
def forge(user: str | None) -> Iterator[Forge]:
    """One that answers at `url`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    found = server.forge = Forge(user)  # type: ignore[attr-defined] # for the handler
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        forge = cast(Forge, self.server.forge)  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        forge.asked.append(f"{self.command} {self.path.partition('?')[0]}")
        failure = forge.fail.pop(0) if forge.fail else 200
        if failure not in {0, 200}:
            self._send(failure, {"message": "no"})
            return
        status, found = self._do(forge, json.loads(body) if body else {})
        if failure == 0:
            self.close_connection = True
        else:
            self._send(status, found)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815 - the names of http.server

    def _do(self, forge: Forge, asked: dict[str, Any]) -> tuple[int, Any]:
        path = self.path.partition("?")[0]
        if self.headers.get("Authorization") != f"Bearer {TOKEN}" and self.headers.get("PRIVATE-TOKEN") != TOKEN:
            return 401, {"message": "Bad credentials"}
        if path == "/user":
            known = {"login": forge.user, "id": len(forge.user or "")}
            return (200, known) if forge.user else (403, {"message": "Resource not accessible by integration"})
        if len(asked.get("body", "")) > LIMIT:
            return 422, {"message": "Body is too long"}
        comment = GITHUB.fullmatch(path) or GITLAB.fullmatch(path)
        issue = GITHUB_ISSUES.fullmatch(path) or GITLAB_ISSUES.fullmatch(path)
        if comment is not None:
            return self._comment(forge, comment["id"], asked)
        if issue is not None:
            return self._issue(forge, issue["id"], asked, "body" if "repos" in path else "description")
        return 404, {"message": "Not Found"}

    def _issue(self, forge: Forge, number: str | None, asked: dict[str, Any], text: str) -> tuple[int, Any]:
        if number is None and self.command == "POST":
            if not 0 < len(asked.get("title", "")) <= TITLE or text not in asked:
                return 422, {"message": "Validation Failed"}
            return 201, forge.open(asked["title"], asked[text], forge.user or "github-actions[bot]")
        if number is None:
            # Each has its own word for what is open; without it GitLab lists closed ones, too.
            wanted = parse_qs(urlsplit(self.path).query).get("state", [""])
            word = "open" if text == "body" else "opened"
            return 200, self._page(
                forge, [each for each in forge.issues if wanted != [word] or each["state"] == "open"]
            )
        (one,) = (each for each in forge.issues if each["number"] == int(number))
        if self.command != ("PATCH" if text == "body" else "PUT"):
            return 404, {"message": "Not Found"}
        if asked.get("state") == "closed" or asked.get("state_event") == "close":
            one["state"] = "closed"
        one["title"] = asked.get("title", one["title"])
        if text in asked:
            one["body"], one["description"] = asked[text].replace("\n", "\r\n"), asked[text]
        return 200, one

    def _comment(self, forge: Forge, number: str | None, asked: dict[str, Any]) -> tuple[int, Any]:
        if number is None:
            if self.command == "POST":
                return 201, forge.add(asked["body"], forge.user or "github-actions[bot]")
            return 200, self._page(forge, forge.comments)
        (one,) = (each for each in forge.comments if each["id"] == int(number))
        if self.command == "DELETE":
            forge.comments.remove(one)
            return 204, None
        one["body"] = asked["body"]
        return 200, one

    def _page(self, forge: Forge, listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
        query = parse_qs(urlsplit(self.path).query)
        size, page = min(100, int(query.get("per_page", ["30"])[0])), int(query.get("page", ["1"])[0])
        if size * page < len(listed):
            where = forge.foreign_link or forge.url
            rest = urlencode({**{key: each[0] for key, each in query.items()}, "per_page": size, "page": page + 1})
            self._link = f'<{where}{self.path.partition("?")[0]}?{rest}>; rel="next"'
        return listed[size * (page - 1) : size * page]

    _link = ""

    def _send(self, status: int, found: object) -> None:
        body = b"" if found is None else json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if self._link:
            self.send_header("Link", self._link)
        self.end_headers()
        self.wfile.write(body)
