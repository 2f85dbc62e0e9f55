"""What was asked of KMS, one event a call, as CloudTrail records it: also what was refused, never a plaintext.

Decides what an event says. Not as in AWS: an event is there at once, and what a fault kept from KMS is none. Sources:
CloudTrail user guide, "CloudTrail record contents"; KMS developer guide, "Logging AWS KMS API calls with AWS
CloudTrail".
"""

from __future__ import annotations

import json
import threading
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from localcloud.authorization import actions, resources
from localcloud.authorization.gate import JUDGED, VPC_ENDPOINT
from localcloud.faults import calls
from localcloud.moto_state import LOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

MOST: Final = 5_000
_SECRET: Final = frozenset({"Plaintext", "CiphertextBlob", "Message", "Policy", "Recipient"})
"""Members of requests that an event leaves out."""


def _row(operation: str) -> str:
    """The members of a request that name a key, as a row of `actions`."""
    return " ".join(word for word in (actions.listed("kms", operation) or "").split() if word.startswith("key"))


class Trail:
    """The WSGI application `inner`, whose calls of KMS are remembered. `clock` gives seconds since the epoch."""

    def __init__(self, inner: WSGIApplication, clock: Callable[[], float]) -> None:
        self._inner = inner
        self._clock = clock
        self._lock = threading.Lock()
        self._events: deque[dict[str, Any]] = deque(maxlen=MOST)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as `inner` does."""
        if calls.service(environ) != "kms":
            return self._inner(environ, start_response)
        call, status = calls.identify(environ), ""

        def heard(told: str, headers: list[tuple[str, str]], *more: Any) -> Any:  # noqa: ANN401 - PEP 3333
            nonlocal status
            status = told
            return start_response(told, headers, *more)

        body = b"".join(self._inner(environ, heard))
        event = self._event(environ, call, status, body)
        with self._lock:
            self._events.append(event)
        return [body]

    def events(self) -> list[dict[str, Any]]:
        """Every event, oldest first."""
        with self._lock:
            return list(self._events)

    def clear(self) -> int:
        """Forget all; how many there were."""
        with self._lock:
            forgotten = len(self._events)
            self._events.clear()
        return forgotten

    def _event(self, environ: WSGIEnvironment, call: calls.Call, status: str, body: bytes) -> dict[str, Any]:
        caller, asked = environ.get(JUDGED, (None, None))
        event: dict[str, Any] = {
            "eventTime": datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "eventName": call.operation,
            "userIdentity": {"arn": caller.arn if caller is not None else None},
            "sourceIPAddress": environ.get("REMOTE_ADDR"),
            "userAgent": environ.get("HTTP_USER_AGENT", ""),
            "vpcEndpointId": environ.get(VPC_ENDPOINT),
            "requestParameters": {},
            "resources": [],
        }
        if asked is not None:
            given = {name: value for name, value in asked.parameters.items() if name not in _SECRET}
            event["requestParameters"] = {name[0].lower() + name[1:]: value for name, value in given.items()}
            row = "key:SourceKeyId,DestinationKeyId" if call.operation == "ReEncrypt" else _row(call.operation)
            with LOCK:
                found = resources.found(asked, row)
            event["resources"] = [{"ARN": arn} for _, arn in found]
        if not status.startswith("2"):
            try:
                words = json.loads(body)
            except ValueError:
                words = {}
            event["errorCode"] = words.get("__type") or status
            event["errorMessage"] = words.get("message") or ""
        return event
