"""What a dynamic provider prints in the row of its own resource: lines that stay, and a status that is overwritten.

In a provider, `pulumi.log` has no engine: it prints, and the engine shows what is printed in the row of the stack. The
engine's own `Log` takes the URN of a resource (pulumi/engine.proto, `LogRequest`). The program can compute the URN, and
the engine's address is the last argument of every provider (`python -m pulumi.dynamic ADDRESS`).
"""

from __future__ import annotations

import functools
import os
import re
import sys
import time
from collections.abc import Callable

import grpc
import pulumi
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

STATUS_SECONDS = 1.0
"""Least time between two statuses, each of which overwrites the one before."""

LINE_SECONDS = 5.0
LOG_SECONDS = 15.0
"""The same where each is a line, in a terminal and in a log. In between the engine gets them as what it shows with
`--debug`: so it is noticed soon when there is none any more."""

LOG_TIMEOUT = 5.0
LATE_TIMEOUT = 0.2
"""Seconds that the engine may take for a message, on this very machine; and one that took longer, for the next. It is
held up, or stopped (Ctrl-Z), and a rollout has more to do than wait for it."""

GONE = 2
"""Messages in a row that no engine takes, after which it is gone: it was killed, for it ends its providers first."""


def urn_of(kind: str, name: str, *parents: str) -> str:
    """The URN that the engine gives to a dynamic resource of the running program; `parents` are types, outermost first.

    The form is Pulumi's (docs, "Resource names": `urn:pulumi:STACK::PROJECT::PARENT$TYPE::NAME`).
    """
    types = "$".join((*parents, f"pulumi-python:dynamic/fleetswap:{kind}"))
    return f"urn:pulumi:{pulumi.get_stack()}::{pulumi.get_project()}::{types}::{name}"


class Speech:
    """Prints for one resource, on the thread of its operation. A message that cannot be sent fails nothing."""

    def __init__(self, urn: str, gone: Callable[[], None] = lambda: None, where: str = "") -> None:
        """Without a URN, as in the state of an older program, it is said in the row of the stack.

        `where` begins each line: the region, where rows of several regions have the same name.
        `gone` is called when there is no engine left to listen: it was killed.
        """
        self._urn = urn
        self._gone = gone
        self._where = f"{where}: " if where else ""
        self._unheard = 0
        self._late = False
        self._every = _seconds_between()
        self._shown = self._sent = float("-inf")
        self._text = ""

    def line(self, text: str) -> None:
        """Print a line that stays in the log."""
        self._log(self._where + text, engine_pb2.INFO, ephemeral=False)

    def warn(self, text: str) -> None:
        """Print a warning."""
        self._log(self._where + text, engine_pb2.WARNING, ephemeral=False)

    def status(self, text: str) -> None:
        """Show what is going on, in a few words; skipped if it is already shown, or if the last one is too recent."""
        now = time.monotonic()
        if now - self._sent < STATUS_SECONDS:
            return
        self._sent = now
        due = text != self._text and now - self._shown >= self._every
        if due:
            self._shown, self._text = now, text
        self._log(text, engine_pb2.INFO if due else engine_pb2.DEBUG, ephemeral=True)

    def _log(self, text: str, severity: engine_pb2.LogSeverity.ValueType, *, ephemeral: bool) -> None:
        engine = connect(sys.argv[-1])
        if engine is None:  # what is printed at least ends up in the row of the stack
            if not ephemeral:
                sys.stderr.write(f"{text}\n")
            return
        request = engine_pb2.LogRequest(severity=severity, message=text, urn=self._urn, ephemeral=ephemeral)
        try:
            engine.Log(request, timeout=LATE_TIMEOUT if self._late else LOG_TIMEOUT)
        except grpc.RpcError as error:
            self._late = _is_late(error)
            self._unheard = 0 if self._late else self._unheard + 1  # one that is late is there
            if self._unheard == GONE:
                self._gone()
        else:
            self._unheard, self._late = 0, False


def _is_late(error: grpc.RpcError) -> bool:
    code = getattr(error, "code", None)  # `grpc.Call` has it, which every error of a call is, too
    return code is not None and code() is grpc.StatusCode.DEADLINE_EXCEEDED


@functools.cache
def connect(address: str) -> engine_pb2_grpc.EngineStub | None:
    """The engine at this address; None if there is no engine."""
    if not re.fullmatch(r"[\w.-]+:\d+", address):
        return None
    return engine_pb2_grpc.EngineStub(grpc.insecure_channel(address))


def _seconds_between() -> float:
    """Between two statuses that are shown. Where the engine writes to, a provider cannot see; it guesses."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return LOG_SECONDS
    # Pulumi's own name of the option (`pulumi --non-interactive`), for whoever sets it.
    return LINE_SECONDS if os.environ.get("PULUMI_OPTION_NON_INTERACTIVE") else STATUS_SECONDS
