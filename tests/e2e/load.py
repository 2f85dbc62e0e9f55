"""A constant load on a URL that counts every answer: what users would see while a deploy goes on."""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What one request got. `version` is the version that answered, well or badly, as far as its answer names one.

    `failure` says what was wrong with it; it is empty if nothing was. `at` is when it was asked, in seconds.
    """

    at: float
    seconds: float
    version: str
    failure: str


class Load:
    """Asks `url` from some threads: every second one keeps its connection, the others open a new one each time.

    A kept connection that the server closed between two requests is opened anew, as every HTTP client does; one that
    breaks inside an answer is a failure. After `patience` seconds a user gives up.
    """

    def __init__(self, url: str, *, pause: float = 0.2, users: int = 2, patience: float = 10) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port or 80
        self._pause = pause
        self._patience = patience
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number % 2 == 0,), daemon=True) for number in range(users)
        ]
        self.answers: list[Answer] = []

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

    @property
    def versions(self) -> Counter[str]:
        """The good answers by the version that gave them."""
        return Counter(answer.version for answer in self.answers if not answer.failure)

    @property
    def failures(self) -> Counter[str]:
        """Everything else, by what it was."""
        return Counter(answer.failure for answer in self.answers if answer.failure)

    def failures_of(self, version: str) -> int:
        """How many answers of a version were bad."""
        return sum(1 for answer in self.answers if answer.failure and answer.version == version)

    def share(self, version: str) -> float:
        """The part of all requests that a version answered, from its first to its last: its share of the traffic."""
        mine, everyone = self._while_it_had_traffic(version)
        return mine / everyone if everyone else 0.0

    def report(self) -> str:
        """All that was counted, in words."""
        lines = [f"{len(self.answers)} requests, {sum(self.failures.values())} failed"]
        for version in sorted({answer.version for answer in self.answers}):
            mine, everyone = self._while_it_had_traffic(version)
            slowest = max(answer.seconds for answer in self.answers if answer.version == version)
            lines.append(
                f"  version {version or 'unknown'}: {self.versions[version]} good, {self.failures_of(version)} failed,"
                f" slowest {slowest:.2f} s; {mine} of {everyone} while it had traffic ({self.share(version):.0%})"
            )
        lines += [f"  failed {count} times: {failure}" for failure, count in self.failures.most_common()]
        return "\n".join(lines)

    def _while_it_had_traffic(self, version: str) -> tuple[int, int]:
        """Its answers, and those of all versions, between its first and its last."""
        times = [answer.at for answer in self.answers if answer.version == version]
        everyone = [answer for answer in self.answers if times and min(times) <= answer.at <= max(times)]
        return len(times), len(everyone)

    def _run(self, keep: bool) -> None:  # noqa: FBT001 - a thread's only argument
        connection = self._connect()
        while not self._stop.is_set():
            if not keep:
                connection.close()
                connection = self._connect()
            asked = time.monotonic()
            good, said = self._ask(connection, again=keep)
            version = re.search(r"version (\S+)", said)
            self.answers.append(
                Answer(
                    asked,
                    time.monotonic() - asked,
                    version=version[1] if version else "",
                    failure="" if good and version else said,
                )
            )
            time.sleep(self._pause)
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._host, self._port, timeout=self._patience)

    def _ask(self, connection: http.client.HTTPConnection, *, again: bool) -> tuple[bool, str]:
        """Whether the answer is good, and what it says."""
        for last in (not again, True):
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                body = answer.read().decode(errors="replace").strip()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
                connection.close()
                if last:
                    return False, repr(error)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                return False, repr(error)
            else:
                good = answer.status == 200 and body.startswith("version ")
                return good, body if good else f"{answer.status} {body[:80]}"
        raise AssertionError("unreachable")
