"""Writes a freeze of a service, its end, and the release that may pass, as tags of the listener's rule.

It reads back what it has written, so that nobody believes in a freeze that is not there. It works through AWS alone,
and touches neither the traffic nor a rollout that runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fleetswap.domain.errors import InputError, TryAgain
from fleetswap.domain.rollout import freeze as tags
from fleetswap.domain.rollout.freeze import Exemption, Freeze
from fleetswap.domain.rollout.rollout_tags import ALLOWED, ALLOWED_REASON
from fleetswap.domain.rollout.view import Service
from fleetswap.workflows.clock import Clock
from fleetswap.workflows.rollout.patiently import patiently
from fleetswap.workflows.rollout.ports import Balancer


def current(service: Service, *, balancer: Balancer, clock: Clock) -> Freeze | None:
    """The freeze of a service, also one that has ended. `InputError` if nothing has ever been deployed."""
    listener = service.listener
    if patiently(lambda: balancer.rule(listener), clock) is None:
        raise InputError(f"{service.name} of {service.stack} has no listener rule, so there is nothing to freeze yet")
    return tags.read(patiently(lambda: balancer.tags(listener), clock))


def freeze(service: Service, wanted: Freeze, *, balancer: Balancer, clock: Clock) -> Freeze:
    """Freeze a service, in place of any other freeze and what that one allowed; returns it as it is kept.

    Repeating it is harmless.
    """
    found = _write(
        service,
        tags.frozen(wanted),
        (ALLOWED, ALLOWED_REASON),
        lambda shown: shown is not None and shown.until == wanted.until,
        balancer=balancer,
        clock=clock,
    )
    return found or wanted


def allow(service: Service, wanted: Exemption, *, balancer: Balancer, clock: Clock) -> Exemption:
    """Let a release pass, in place of any other; returns what is kept. Repeating it is harmless."""

    def is_shown(shown: Freeze | None) -> bool:
        return shown is not None and shown.allowed is not None and shown.allowed.release == wanted.release

    found = _write(service, tags.allowed(wanted), (), is_shown, balancer=balancer, clock=clock)
    return found.allowed if found is not None and found.allowed is not None else wanted


def unfreeze(service: Service, *, balancer: Balancer, clock: Clock) -> None:
    """End the freeze of a service. Repeating it is harmless."""
    _write(service, {}, tags.ALL, lambda shown: shown is None, balancer=balancer, clock=clock)


def _write(
    service: Service,
    write: Mapping[str, str],
    remove: Sequence[str],
    is_shown: Callable[[Freeze | None], bool],
    *,
    balancer: Balancer,
    clock: Clock,
) -> Freeze | None:
    listener = service.listener

    def shown() -> Freeze | None:
        found = tags.read(balancer.tags(listener))
        if not is_shown(found):
            raise TryAgain(f"the listener rule of {service.name} does not show its new tags: run this again")
        return found

    patiently(lambda: balancer.tag(listener, write, remove), clock)
    return patiently(shown, clock)
