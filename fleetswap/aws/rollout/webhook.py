"""Notifies people of the end of a rollout, by a POST to the webhook of a chat.

The URL is a secret: whoever has it can write there. So it is in an environment variable of the deployer, and neither in
settings, states, logs nor errors. Implements `fleetswap.workflows.rollout.ports.Notifier`.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fleetswap.aws.rollout.probe import NoRedirects
from fleetswap.domain.errors import FleetswapError
from fleetswap.domain.rollout.chat import chat_text
from fleetswap.domain.text import one_line

if TYPE_CHECKING:
    from fleetswap.aws.rollout.notifier import Topic
    from fleetswap.domain.rollout.notices import Notice

TIMEOUT_SECONDS = 5.0
"""For a connection, and for each part of the response: a rollout that has ended waits for it."""

PAUSES = (1.0, 2.0)
"""Seconds before the second and the third try. A message that comes twice is better than none."""

PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""The statuses after which it is tried again."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Webhook:
    """The webhook whose URL is in an environment variable, which is read when there is something to say."""

    def __init__(
        self,
        variable: str,
        environment: Mapping[str, str] = os.environ,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._variable = variable
        self._environment = environment
        self._sleep = sleep

    def tell(self, notice: Notice) -> None:
        """Send one message: JSON with the key `text`. Raises `FleetswapError`, which names the host and nothing else
        of the URL. Repeating it tells people twice.
        """
        url = self._url()
        host = urlsplit(url).hostname
        # A proxy of the environment is used, as by all clients of AWS.
        opener = urllib.request.build_opener(NoRedirects)
        body = json.dumps({"text": chat_text(notice)}).encode()
        request = urllib.request.Request(  # noqa: S310 - `_url` allows https, and http to this computer
            url, body, {"Content-Type": "application/json", "User-Agent": "fleetswap"}
        )
        why = ""
        for pause in (*PAUSES, None):
            try:
                opener.open(request, timeout=TIMEOUT_SECONDS).close()
            except urllib.error.HTTPError as error:
                error.close()
                why = f"responded with status {error.code}"
                passing = error.code in PASSING
            except Exception as error:  # noqa: BLE001 - whatever it is, its text may contain the URL
                why = f"did not respond: {_cause(error)}"
                passing = isinstance(error, OSError)
            else:
                return
            if pause is None or not passing:
                break
            self._sleep(pause)
        raise FleetswapError(f"the webhook in {self._variable} ({host}) {why}") from None

    def _url(self) -> str:
        """The URL, if it is one that a secret may be sent to."""
        url = self._environment.get(self._variable, "").strip()
        if not url:
            raise FleetswapError(
                f"the environment variable {self._variable} has no webhook's URL: set it where you deploy"
            )
        try:
            parts = urlsplit(url)
            fine = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
            fine = fine and bool(parts.hostname) and parts.port != 0 and url.isascii() and url.isprintable()
        except ValueError:  # which has the URL in its text
            fine = False
        if not fine or " " in url:
            raise FleetswapError(f"the environment variable {self._variable} must be a URL that begins with https://")
        return url


def _cause(error: Exception) -> str:
    """The operating system's words for it, or the name of its type: no other text is free of the URL."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    words = reason.strerror if isinstance(reason, OSError) else None
    return one_line(words or type(reason).__name__)


class Several:
    """Notifiers that are all told, whichever fails."""

    def __init__(self, notifiers: Sequence[Topic | Webhook]) -> None:
        self._notifiers = notifiers

    def tell(self, notice: Notice) -> None:
        """Raises what went wrong, after the last one; of several, one `FleetswapError` with all of it."""
        errors: list[Exception] = []
        for notifier in self._notifiers:
            try:
                notifier.tell(notice)
            except Exception as error:  # noqa: BLE001 - the others must be told
                errors.append(error)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise FleetswapError("; ".join(one_line(error) for error in errors)) from None
