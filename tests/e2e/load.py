"""A constant load on a URL that counts every answer: what users would see while a deploy goes on."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from types import TracebackType
from urllib.parse import urlsplit


class Load:
    """Asks `url` from two threads, one that keeps its connection and one that opens a new one each time.

    `versions` counts the good answers by the version that gave them, `failures` everything else by what it was. A kept
    connection that the server closed between two requests is opened anew, as every HTTP client does; one that breaks
    inside an answer is a failure.
    """

    def __init__(self, url: str, *, pause: float = 0.05) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port or 80
        self._pause = pause
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(keep,), daemon=True) for keep in (True, False)]
        self.versions: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def report(self) -> str:
        return f"answers by version {dict(self.versions)}, failures {dict(self.failures)}"

    def _run(self, keep: bool) -> None:  # noqa: FBT001 - a thread's only argument
        connection = self._connect()
        while not self._stop.is_set():
            if not keep:
                connection.close()
                connection = self._connect()
            outcome = self._ask(connection, again=keep)
            with self._lock:
                if outcome.startswith("version "):
                    self.versions[outcome.split()[1]] += 1
                else:
                    self.failures[outcome] += 1
            time.sleep(self._pause)
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._host, self._port, timeout=10)

    def _ask(self, connection: http.client.HTTPConnection, *, again: bool) -> str:
        for last in (not again, True):
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                body = answer.read().decode(errors="replace").strip()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
                connection.close()
                if last:
                    return repr(error)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                return repr(error)
            else:
                return body if answer.status == 200 and body.startswith("version ") else f"{answer.status} {body[:80]}"
        raise AssertionError("unreachable")
