"""A request that a hook makes: the URL that is sent the document, or the Lambda function that is invoked with it.

What has begun cannot be called back: at its time, or when the rollout ends, nobody waits for the response.
Nothing is tried twice, because nobody knows whether that is harmless.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from fleetswap.aws.errors import explained
from fleetswap.aws.rollout.probe import NoRedirects
from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.hosts import is_loopback
from fleetswap.domain.rollout.moments import HookResult
from fleetswap.domain.text import one_line

BODY_BYTES = 4096
"""How much of a response is read."""

AGENT = "fleetswap-hook"


class Asked:
    """A request in a thread of its own."""

    def __init__(self, ask: Callable[[], HookResult]) -> None:
        self.done = threading.Event()
        self.result: HookResult | None = None
        self._ask = ask
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """Nobody waits any more."""

    def _run(self) -> None:
        try:
            self.result = self._ask()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a hook is its result
            self.result = HookResult(ok=False, words=one_line(f"{type(error).__name__} {error}"))
        self.done.set()


def post(
    url: str, document: bytes, *, token_env: str | None, timeout: float, words: Callable[[bytes], str]
) -> HookResult:
    """Send the document; a status of 2xx is good. Redirects are not followed: they could take the token elsewhere."""
    headers = {"Content-Type": "application/json", "User-Agent": AGENT}
    if token_env is not None:
        token = os.environ.get(token_env, "").strip()
        if wrong := _wrong_token(token, token_env):
            return HookResult(ok=False, words=wrong)
        headers["Authorization"] = f"Bearer {token}"
    local = [ProxyHandler({})] if is_loopback(urlsplit(url).hostname or "") else []
    request = Request(url, data=document, headers=headers, method="POST")  # noqa: S310 - the settings have checked it
    try:
        with build_opener(NoRedirects(), *local).open(request, timeout=timeout) as response:
            status, body = response.status, b""
    except HTTPError as error:
        status, body = error.code, b""
        with error, contextlib.suppress(OSError, HTTPException):
            body = error.read(BODY_BYTES)
    except TimeoutError:
        return HookResult(ok=False, late=True)
    except URLError as error:
        late = isinstance(error.reason, TimeoutError)
        return HookResult(ok=False, words="" if late else words(str(error.reason).encode()), late=late)
    except (OSError, HTTPException, ValueError) as error:
        return HookResult(ok=False, words=words(f"{type(error).__name__} {error}".encode()))
    if 200 <= status < 300:
        return HookResult(ok=True)
    return HookResult(ok=False, words=": ".join(part for part in (f"status {status}", words(body)) if part))


def _wrong_token(token: str, name: str) -> str:
    """Why it cannot be sent. Whoever refuses the header would tell what is in it."""
    if not token:
        return f"the deployer has no environment variable {name}"
    fine = token.isascii() and token.isprintable()
    return "" if fine else f"the value of {name} has characters that no token can have"


def invoke(client: Any, function: str, document: bytes, *, words: Callable[[bytes], str]) -> HookResult:  # noqa: ANN401 - its stubs are not installed for one call
    """Invoke the function and wait for its end. An error of the function is a failure, whatever it returns."""
    try:
        with explained("lambda:InvokeFunction", function):
            response = client.invoke(FunctionName=function, InvocationType="RequestResponse", Payload=document)
            payload = response["Payload"].read(BODY_BYTES)
    except (CloudError, TryAgain) as error:
        return HookResult(ok=False, words=words(str(error).encode()))
    if "FunctionError" in response:
        return HookResult(ok=False, words=words(f"{response['FunctionError']}: {_message(payload)}".encode()))
    if response["StatusCode"] != 200:
        return HookResult(ok=False, words=f"status {response['StatusCode']}")
    return HookResult(ok=True)


def _message(payload: bytes) -> str:
    """What Lambda says of an error of the function (developer guide, "Invocation errors")."""
    try:
        found = json.loads(payload)
    except ValueError:
        return payload.decode(errors="replace")
    if not isinstance(found, dict):
        return str(found)
    return " ".join(str(found[key]) for key in ("errorType", "errorMessage") if found.get(key))
