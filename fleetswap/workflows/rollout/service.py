"""A service as AWS shows it, without Pulumi and its state: finds it, looks at it, and asks its rollout to abort.

Everything is found from tags, through AWS alone, so it also works while the state backend is down. It never moves
traffic, and never reads a setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Protocol, TypeVar

from fleetswap.domain.errors import CloudError, InputError
from fleetswap.domain.rollout import rollout_tags
from fleetswap.domain.rollout.health import Target
from fleetswap.domain.rollout.model import Group
from fleetswap.domain.rollout.view import Service, ServiceView, in_rollout, seen
from fleetswap.domain.secrets.key_state import KeyState
from fleetswap.workflows.clock import Clock
from fleetswap.workflows.rollout.patiently import patiently
from fleetswap.workflows.rollout.ports import Balancer, Fleet, Keys, Switch
from fleetswap.workflows.rollout.weights import Weights

T = TypeVar("T")


class Finder(Protocol):
    """Finds services by the tags of their load balancers and auto scaling groups."""

    def find(self, service: str) -> tuple[Service, ...]:
        """The services of this name: one of each stack that has it. Raises `TryAgain` or `CloudError`."""


def find(finder: Finder, service: str, stack: str | None) -> Service:
    """The one service of this name. An `InputError` if there is none, or several and no stack was named."""
    services = finder.find(service)
    found = [each for each in services if stack is None or each.stack == stack]
    if len(found) == 1:
        return found[0]
    stacks = ", ".join(sorted({each.stack for each in services})) or "none"
    if not found:
        where = f" of stack {stack}" if stack is not None else ""
        raise InputError(
            f"no load balancer in this account and region has the tags of service {service}{where} (stacks: {stacks})"
        )
    if len({each.stack for each in found}) == 1:
        listeners = " and ".join(each.listener for each in found)
        raise InputError(
            f"service {service} of stack {found[0].stack} has two listeners, {listeners}: two stacks have this name, in"
            " two backends, and tags cannot distinguish their releases: run `pulumi up` with fleetswap:release where"
            " the stack that you mean is deployed, and rename one of them"
        )
    raise InputError(f"service {service} is in several stacks ({stacks}): name one with --stack")


def status(
    service: Service, *, balancer: Balancer, fleet: Fleet, switch: Switch | None, keys: Keys | None = None
) -> ServiceView:
    """The service as it is now. Reads only. `unknown` lists what AWS did not return; the rule must be readable.

    Without `keys`, no state of a KMS key is read.
    """
    unknown: list[str] = []

    def known(read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except CloudError as error:
            unknown.append(str(error))
            return otherwise

    def keep(into: dict[str, T], name: str, read: Callable[[], T]) -> None:
        try:
            into[name] = read()
        except CloudError as error:
            unknown.append(str(error))

    rule = balancer.rule(service.listener)
    nothing: Mapping[str, str] = {}
    tags = known(partial(balancer.tags, service.listener), nothing)
    weights = Weights(balancer, fleet)
    groups: dict[str, Group | None] = {}
    targets: dict[str, tuple[Target, ...]] = {}
    for target in service.releases:
        keep(groups, target.group, partial(weights.group, target))
        keep(targets, target.target_group, partial(weights.targets, target.target_group))
    armed = known(switch.armed, None) if switch is not None else None
    states: dict[str, KeyState] = {}
    if keys is not None:
        for arn in dict.fromkeys(arn for target in service.releases for arn in target.keys):
            keep(states, arn, partial(keys.state, arn))
    return seen(
        service,
        rule=rule,
        tags=tags,
        groups=groups,
        targets=targets,
        switch=armed,
        unknown=tuple(dict.fromkeys(unknown)),
        keys=tuple(states.values()),
    )


def abort(service: Service, reason: str, *, balancer: Balancer, fleet: Fleet, clock: Clock) -> tuple[str, ...]:
    """Abort the running rollout, on whatever computer it runs; it restores the traffic itself.

    Returns the releases that got the request. Whether a rollout is running cannot be seen from here: it reads the tag
    at its next reading, and the next rollout removes it at its start. `InputError` if there is no release that a
    rollout could be about.
    """
    now = patiently(lambda: status(service, balancer=balancer, fleet=fleet, switch=None), clock)
    told = in_rollout(now)
    if not told:
        raise InputError(f"no rollout of {service.name} can be running: no release beside the live one has machines")
    value = f"{reason} ({time_now()})"
    for each in told:
        patiently(partial(fleet.tag, each.target.group, {rollout_tags.ABORT: value}), clock)
    return tuple(each.release for each in told)


def continue_rollout(
    service: Service, *, balancer: Balancer, fleet: Fleet, clock: Clock
) -> tuple[str, rollout_tags.Paused]:
    """Continue the paused rollout, on whatever computer it runs: the release, and the pause that it was in.

    The tag names the pause, so that it continues no later one, and repeating it is harmless. `InputError` if nothing
    is paused, or if the time of the pause is long over: then its deployer has died.
    """
    now = patiently(lambda: status(service, balancer=balancer, fleet=fleet, switch=None), clock)
    found = [(each, paused) for each in now.releases if (paused := each.paused) is not None]
    if not found:
        unknown = f" (AWS did not answer everything: {now.unknown[0]})" if now.unknown else ""
        raise InputError(f"no rollout of {service.name} is paused{unknown}: check with `fleetswap status`")
    each, paused = max(found, key=lambda pair: pair[1].since)
    if paused.is_over(datetime.now(UTC)):
        raise InputError(
            f"the rollout of {each.release} was paused until {paused.until}, and nobody ended that: its deployer has"
            " died, so run `pulumi up` again"
        )
    value = f"{paused.pause} {time_now()}"
    patiently(partial(fleet.tag, each.target.group, {rollout_tags.CONTINUE: value}), clock)
    return each.release, paused


def time_now() -> str:
    """The time by this machine's clock, as it is written into tags."""
    return datetime.now(UTC).isoformat(timespec="seconds")
