"""Makes requests go wrong as the rules of `faults` say: before, instead of, or after what they ask for.

Decides what of a request still happens and what of its answer arrives. Never decides whether a rule fires. A cut and a
slow answer are noted in the request's environment; `endpoint` has the connection and does them.
"""

from __future__ import annotations

import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from localcloud.faults import calls
from localcloud.faults.rules import CUTS, REFUSALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from localcloud.faults.rules import Faults, Rule

CUT: Final = "localcloud.cut"
"""Key of an environment: where the answer is to be cut (`before`, `in-headers` or `in-body`)."""

PAUSE: Final = "localcloud.pause"
"""Key of an environment: seconds to wait in the middle of the answer."""

_SUCCESS: Final = {"StartSnapshot": 201, "PutSnapshotBlock": 201, "CompleteSnapshot": 202}


class Injector:
    """The WSGI application `inner`, with faults. `sleep` waits so many seconds."""

    def __init__(
        self,
        inner: WSGIApplication,
        faults: Faults,
        sleep: Callable[[float], Any] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner = inner
        self._faults = faults
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[tuple[int, str, str, str], tuple[float, _Answer]] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, rightly or as a rule says."""
        if not self._faults:
            return self._inner(environ, start_response)
        call = calls.identify(environ)
        verdict = self._faults.judge(call.service, call.operation)
        if verdict.delay:
            self._sleep(verdict.delay)
        if verdict.rule is not None:
            return self._spoil(call, environ, start_response, verdict.rule)
        if verdict.stale is not None and call.reads:
            return self._stale(call, environ, start_response, verdict.stale)
        return self._inner(environ, start_response)

    def _spoil(
        self, call: calls.Call, environ: WSGIEnvironment, start_response: StartResponse, rule: Rule
    ) -> Iterable[bytes]:
        if rule.fault == "slow":
            environ[PAUSE] = rule.seconds
            return self._inner(environ, start_response)
        if rule.fault in CUTS:
            environ[CUT] = rule.fault.removeprefix("cut-")
            if rule.lost_answer:
                return self._inner(environ, start_response)
            status = _SUCCESS.get(call.operation, 200)
            start_response(f"{status} {HTTPStatus(status).phrase}", [("Content-Type", "application/json")])
            return [b"{}"]
        if rule.lost_answer:
            _Answer.of(self._inner, environ)
        refused = _refusal(call, rule)
        headers, body = calls.answer(call, refused)
        start_response(f"{refused.status} {_phrase(refused.status)}", headers)
        return [body]

    def _stale(
        self, call: calls.Call, environ: WSGIEnvironment, start_response: StartResponse, rule: Rule
    ) -> Iterable[bytes]:
        target = f"{environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}"
        key = (rule.id, call.service, target, call.form)
        with self._lock:
            kept_at, answer = self._kept.get(key, (0.0, None))
        if answer is None or self._clock() - kept_at >= rule.seconds:
            answer = _Answer.of(self._inner, environ)
            with self._lock:
                self._kept[key] = (self._clock(), answer)
        return answer.give(start_response)


class _Answer:
    """An answer that is held back."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = "", [("", "")], b""

    @classmethod
    def of(cls, application: WSGIApplication, environ: WSGIEnvironment) -> _Answer:
        """What an application answers."""
        answer = cls()

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:  # noqa: ANN401, ARG001 - PEP 3333
            answer.status, answer.headers = status, list(headers)

        answer.body = b"".join(application(environ, start_response))
        return answer

    def give(self, start_response: StartResponse) -> list[bytes]:
        """Answer so now."""
        start_response(self.status, self.headers)
        return [self.body]


def _refusal(call: calls.Call, rule: Rule) -> calls.Refusal:
    found = calls.refusal(call, rule.fault if rule.fault in REFUSALS else "throttle")
    return calls.Refusal(
        rule.status or found.status,
        rule.code or found.code,
        rule.message or found.message,
        found.reason if not rule.code else "",
    )


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
