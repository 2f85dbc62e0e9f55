"""How a dynamic provider receives Ctrl-C: the engine calls `Cancel` on its server, where Pulumi's method does nothing.

The server of dynamic providers (`pulumi/dynamic/__main__.py`, the module that its process was started with) has an
empty `Cancel` and does not forward it to a provider; Pulumi's hook (pulumi/pulumi#22516) is for other providers. The
method is bound when the server starts, before any of our code runs, so only the body of the function can still be
changed. `hear` gives it a body that notifies us and then does what it did before. If Pulumi's code is not as expected,
`hear` changes nothing and says so.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType

SERVICER = "DynamicResourceProviderServicer"
"""Pulumi's class, in the module that the provider's process was started with."""

_lock = threading.Lock()
_listeners: list[Callable[[], None]] = []
_before: list[FunctionType] = []
"""What `Cancel` did before, once it is changed."""


@contextmanager
def hear(told: Callable[[], None]) -> Iterator[bool]:
    """Call `told`, on another thread, for every `Cancel` within the block. Yields False if `Cancel` cannot be received.

    The engine calls it at the first Ctrl-C or SIGTERM, and then waits for the operations that run.
    """
    with _lock:
        heard = bool(_before) or _change(sys.modules["__main__"])
        _listeners.append(told)
    try:
        yield heard
    finally:
        with _lock:
            _listeners.remove(told)


def _change(server: object) -> bool:
    cancel = getattr(getattr(server, SERVICER, None), "Cancel", None)
    if not isinstance(cancel, FunctionType) or cancel.__closure__ is not None:
        return False
    if list(inspect.signature(cancel).parameters) != ["self", "request", "context"]:
        return False
    _before.append(FunctionType(cancel.__code__, cancel.__globals__, cancel.__name__))
    cancel.__code__ = _cancelled.__code__
    return True


def _cancelled(self, request, context):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - the server's signature
    # Only its code is used, in the server's module: it knows no name of this one.
    from fleetswap_pulumi.cancel import tell  # noqa: PLC0415

    return tell(self, request, context)


def tell(server: object, request: object, context: object) -> object:
    """Call every listener; returns what the original `Cancel` returns."""
    with _lock:
        listeners = list(_listeners)
    for told in listeners:
        told()
    return _before[0](server, request, context)
