"""The notification in a chat: what is sent to a webhook, and that its URL is in nothing that anybody reads."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from fleetswap.aws.rollout.webhook import PAUSES, Several, Webhook
from fleetswap.domain.errors import FleetswapError
from fleetswap.domain.rollout.chat import CUT, MOST_CHARS, chat_text
from fleetswap.domain.rollout.notices import Ending, Notice
from fleetswap_pulumi.policy import RolloutSettings

SECRET = "T0/B0/xyzzy"
NOTICE = Notice(Ending.FAILED, "web", "web-b", "web-a", "the probe failed", "web-a")


@dataclass
class Chat:
    """What a chat has got, and the statuses that it responds with, the last one again and again."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [200])
    got: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


@pytest.fixture
def chat() -> Iterator[Chat]:
    here = Chat()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            here.got.append((self.path, json.loads(body)))
            self.send_response(here.statuses.pop(0) if len(here.statuses) > 1 else here.statuses[0])
            self.send_header("Location", f"{here.url.rpartition(SECRET)[0]}elsewhere/{SECRET}")
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - the server's names

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here.url = f"http://127.0.0.1:{server.server_port}/{SECRET}"
    Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    yield here
    server.shutdown()
    server.server_close()


def told(url: str | None, sleeps: list[float] | None = None) -> str:
    """The error of telling this URL; empty if there is none."""
    slept = [] if sleeps is None else sleeps
    try:
        Webhook("CHAT", {} if url is None else {"CHAT": url}, slept.append).tell(NOTICE)
    except FleetswapError as raised:
        error = raised
    else:
        return ""
    assert SECRET not in "".join(traceback.format_exception(error)), "what it was raised for has the URL"
    return str(error)


def test_a_chat_gets_the_notification_as_json(chat: Chat) -> None:
    """A deploy would fail, and the channel where people look would be silent."""
    assert told(f"{chat.url}\n") == ""
    assert chat.got == [(f"/{SECRET}", {"text": chat_text(NOTICE)})]
    assert "the probe failed" in chat.got[0][1]["text"]


def test_what_may_pass_is_tried_again(chat: Chat) -> None:
    """A chat that is busy for a second would miss the message."""
    chat.statuses, sleeps = [503, 429, 200], list[float]()
    assert told(chat.url, sleeps) == ""
    assert (len(chat.got), tuple(sleeps)) == (3, PAUSES)


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (302, 1), (307, 1), (500, 3)])
def test_a_refusal_names_the_host_and_no_more(chat: Chat, status: int, tries: int) -> None:
    """A URL in the log of a CI job lets everybody write to the channel; a redirect would carry the message anywhere."""
    chat.statuses = [status]
    assert told(chat.url) == f"the webhook in CHAT (127.0.0.1) responded with status {status}"
    assert [path for path, _ in chat.got] == [f"/{SECRET}"] * tries


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (None, "the environment variable CHAT has no webhook's URL: set it where you deploy"),
        ("  ", "the environment variable CHAT has no webhook's URL: set it where you deploy"),
        (f"http://chat.example/{SECRET}", "must be a URL that begins with https://"),
        (f"file:///{SECRET}", "must be a URL that begins with https://"),
        (f"https:///{SECRET}", "must be a URL that begins with https://"),
        (f"https://[{SECRET}", "must be a URL that begins with https://"),
        (f"https://chat.example:{SECRET}", "must be a URL that begins with https://"),
        (f"https://chat.example/é{SECRET}", "must be a URL that begins with https://"),
        (f"https://chat.example/ {SECRET}", "must be a URL that begins with https://"),
        (f"https://chat.example/\r\n{SECRET}", "must be a URL that begins with https://"),
        (f"http://127.0.0.1:1/{SECRET}", "(127.0.0.1) did not respond: Connection refused"),
    ],
)
def test_a_url_that_cannot_be_used_is_not_shown(url: str | None, words: str) -> None:
    """A mistyped URL is still a secret, and clear text would carry it past everybody on the way."""
    error = told(url)
    assert error.endswith(words)
    assert SECRET not in error


def test_what_comes_from_outside_is_only_text() -> None:
    """A message of a machine's console could page the whole company, or look like one of ours."""
    hostile = "<!channel> @everyone ```*bold* [x](https://evil.example) & \x1b[31mred"
    text = chat_text(Notice(Ending.FAILED, "web", "web-b", None, hostile, "nothing"))
    assert text.startswith("web: rollout of web-b failed\n```\n")
    assert text.endswith("\n```")
    assert text.count("```") == 2, "the code block ends where ours ends"
    assert "&lt;!channel&gt;" in text
    assert " &amp; red" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("char", ["x", "<"])
@pytest.mark.parametrize("before", range(4))
def test_a_long_message_is_cut(char: str, before: int) -> None:
    """Discord refuses a message of more than 2,000 characters, and nobody would be told."""
    text = chat_text(Notice(Ending.FAILED, "web", "web-b", None, "y" * before + char * 5000, "nothing"))
    assert MOST_CHARS - 5 <= len(text) <= MOST_CHARS
    assert re.search(rf"(x|&lt;)\n{re.escape(CUT)}\n```$", text), "an escape was cut in the middle"


def test_all_are_told_whichever_fails(chat: Chat) -> None:
    """A topic without permission would keep the message from the chat, or the other way round."""
    missing = Webhook("MISSING", {})
    with pytest.raises(FleetswapError, match=r"MISSING.*; .*OTHER"):
        Several([missing, Webhook("CHAT", {"CHAT": chat.url}), Webhook("OTHER", {})]).tell(NOTICE)
    assert len(chat.got) == 1


def test_a_url_in_the_settings_is_refused_unseen() -> None:
    """Whoever puts the URL where its variable's name belongs would find it in the log of every preview."""
    with pytest.raises(ValueError, match="must be the name of an environment variable") as raised:
        RolloutSettings(webhook_env=f"https://chat.example/{SECRET}")
    from fleetswap_pulumi.checks import problems_of, reason_of  # noqa: PLC0415

    assert SECRET not in "".join(reason_of(each) for each in problems_of(raised.value))  # type: ignore[arg-type]
