"""Runs the hooks of a rollout, one at a time: commands, URLs and Lambda functions.

It makes the document that a hook gets. The value of the preview header is fetched from the listener when a hook before
the traffic starts; it goes to that hook alone, is nowhere kept, and is taken out of whatever the hook says. It decides
nothing: `fleetswap.domain.rollout.hook` does. Implements `fleetswap.workflows.rollout.ports.Hooks`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any, Protocol

from fleetswap.aws.rollout import hook_request
from fleetswap.aws.rollout.hook_command import Command
from fleetswap.aws.rollout.hook_request import Asked
from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.rollout.moments import HookCall, HookResult
from fleetswap.domain.rollout.rule import PREVIEW_HEADER
from fleetswap.domain.text import one_line, paragraph

SAID_LINES = 3
SAID_CHARS = 400
"""How much of what a hook says stands in the error: its last lines."""

LOOK_SECONDS = 0.1
"""How often it is looked whether someone wants the rollout to stop."""


class Running(Protocol):
    """A hook that was started."""

    result: HookResult | None

    @property
    def done(self) -> Any:  # noqa: ANN401 - a threading.Event, which has no protocol
        """Set when there is a result."""

    def stop(self) -> None:
        """End it, if that can be done."""


class HookRunner:
    """The hooks of one rollout. For the rollout's own thread."""

    def __init__(
        self,
        *,
        stack: str,
        preview: Callable[[str], str | None],
        function: Callable[[str, float], Any],
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        """`preview` gives the value of a release's preview header, `function` the client for a Lambda function and a
        timeout; `interrupted` is whether someone wants the rollout to stop.
        """
        self._stack = stack
        self._preview = preview
        self._function = function
        self._interrupted = interrupted
        self._call: HookCall | None = None
        self._running: Running | None = None
        self._until = 0.0

    def run(self, call: HookCall, seconds: float) -> HookResult | None:
        """Start the hook unless it was started, and wait so long for its end. Raises `TryAgain` before the start."""
        if call != self._call or self._running is None:
            self.stop()
            self._running = self._start(call)
            self._call, self._until = call, time.monotonic() + call.hook.timeout
        until = time.monotonic() + seconds
        while not self._running.done.wait(max(0.0, min(LOOK_SECONDS, until - time.monotonic()))):
            if isinstance(self._running, Asked) and time.monotonic() >= self._until:
                return HookResult(ok=False, late=True)
            if time.monotonic() >= until or self._interrupted():
                return None
        return self._running.result

    def stop(self) -> None:
        """End the hook that runs, if one does."""
        running, self._running, self._call = self._running, None, None
        if running is not None:
            running.stop()

    def _start(self, call: HookCall) -> Running:
        hook, secrets = call.hook, list[str]()
        try:
            document = json.dumps(self._document(call, secrets)).encode()
        except TryAgain:
            raise
        except CloudError as error:
            failed = HookResult(ok=False, words=one_line(str(error)))
            return Asked(lambda: failed)

        def words(said: bytes) -> str:
            return last_words(said, secrets)

        if hook.command:
            return Command(
                hook.command, document, environment=self._environment(call), timeout=hook.timeout, words=words
            )
        if (url := hook.url) is not None:
            if hook.token_env is not None:
                secrets.append(os.environ.get(hook.token_env, "").strip())
            return Asked(
                lambda: hook_request.post(url, document, token_env=hook.token_env, timeout=hook.timeout, words=words)
            )
        function = hook.function or ""
        return Asked(
            lambda: hook_request.invoke(self._function(function, hook.timeout), function, document, words=words)
        )

    def _document(self, call: HookCall, secrets: list[str]) -> dict[str, object]:
        found = call.document(self._stack)
        if not call.previews or not call.url:
            return found
        value = self._preview(call.release)
        if value is None:
            raise CloudError(f"the listener has no preview rule of {call.release}")
        secrets += [value, value.removeprefix(f"{call.release}.")]
        return {**found, "preview": {"url": call.url, "header": PREVIEW_HEADER, "value": value}}

    def _environment(self, call: HookCall) -> dict[str, str]:
        """What a shell script reads without a parser. The environment goes to all that a command starts, and so has
        no secret.
        """
        found = call.document(self._stack)
        return {f"FLEETSWAP_{key.upper()}": "" if value is None else one_line(value) for key, value in found.items()}


def last_words(said: bytes, secrets: list[str]) -> str:
    """The last lines of an output in one line, without control characters and without these secrets."""
    text = said.decode(errors="replace")
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    lines = [each.strip() for each in paragraph(text) if each.strip()]
    line = one_line("; ".join(lines[-SAID_LINES:]))
    return line if len(line) <= SAID_CHARS else f"…{line[-SAID_CHARS:]}"
