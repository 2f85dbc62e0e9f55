"""What works without the state: look at a service, take it back to another release, or stop its rollout.

Everything is found from tags, through AWS alone, so that it also works while the state backend is down. The next
`pulumi up` sees what was done here and agrees: it looks at the listener, and the tags of the rule say who did it and
why. It never creates or deletes a release, and never reads a setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Protocol, TypeVar

from fleetswap.domain.errors import Aborted, CloudError, InputError, TryAgain
from fleetswap.domain.rollout import gate, rollout_tags, wording
from fleetswap.domain.rollout.gate import Streak, Target
from fleetswap.domain.rollout.model import Group
from fleetswap.domain.rollout.rollout_tags import RolledBack
from fleetswap.domain.rollout.strategy import ALL
from fleetswap.domain.rollout.view import ReleaseNow, Site, SiteNow, candidates, seen, way_back
from fleetswap.workflows.rollout.executor import known_or_none
from fleetswap.workflows.rollout.ports import Balancer, Clock, Fleet, Switch

LEAVING_SECONDS = 10.0
"""For how long, at most, a target that its group is ending still reads as healthy before it is draining."""

T = TypeVar("T")
Say = Callable[[str], None]


class Finder(Protocol):
    """Finds services by the tags of their load balancers and auto scaling groups."""

    def find(self, service: str) -> tuple[Site, ...]:
        """The sites of a service: one of each stack that has it. Raises `TryAgain` or `CloudError`."""


@dataclass(frozen=True)
class Pace:
    """How patient a way back is: in seconds, and in good readings in a row."""

    health_deadline: float = 300.0
    """Until the release to go back to must be healthy."""
    shift_deadline: float = 60.0
    """Until the new weights must be seen to hold; also how long one call is tried again for."""
    interval: float = 1.0
    readings: int = 2


@dataclass(frozen=True)
class WentBack:
    """The traffic is on `live`. `left` had it before; `warnings` tell what could not be done beside it."""

    service: str
    live: str
    left: str
    machines: int
    seconds: float
    warnings: tuple[str, ...] = ()


def find(finder: Finder, service: str, stack: str | None) -> Site:
    """The one site of a service. An `InputError` if there is none, or several and no stack was named."""
    sites = finder.find(service)
    found = [site for site in sites if stack is None or site.stack == stack]
    if len(found) == 1:
        return found[0]
    stacks = ", ".join(sorted({site.stack for site in sites})) or "none"
    if not found:
        where = f" of stack {stack}" if stack is not None else ""
        raise InputError(f"no load balancer here carries the tags of service {service}{where} (stacks: {stacks})")
    if len({site.stack for site in found}) == 1:
        listeners = " and ".join(site.listener for site in found)
        raise InputError(
            f"service {service} of stack {found[0].stack} has two listeners, {listeners}: two stacks of this name, in"
            " two backends, whose releases no tag tells apart: use `pulumi up` with fleetswap:release where the one"
            " that you mean is deployed, and rename one of them"
        )
    raise InputError(f"service {service} is in several stacks ({stacks}): name one with --stack")


def status(site: Site, *, balancer: Balancer, fleet: Fleet, switch: Switch | None) -> SiteNow:
    """What is real now. Reads only. Of what AWS does not answer to, `unknown` tells, except of the rule itself."""
    unknown: list[str] = []

    def known(read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except CloudError as error:
            unknown.append(str(error))
            return otherwise

    def keep(into: dict[str, T], name: str, read: Callable[[str], T]) -> None:
        try:
            into[name] = read(name)
        except CloudError as error:
            unknown.append(str(error))

    rule = balancer.rule(site.listener)
    nothing: Mapping[str, str] = {}
    tags = known(partial(balancer.tags, site.listener), nothing)
    groups: dict[str, Group | None] = {}
    targets: dict[str, tuple[Target, ...]] = {}
    for side in site.sides:
        keep(groups, side.group, fleet.group)
        keep(targets, side.target_group, balancer.targets)
    armed = known(switch.armed, None) if switch is not None else None
    return seen(
        site, rule=rule, tags=tags, groups=groups, targets=targets, switch=armed, unknown=tuple(dict.fromkeys(unknown))
    )


def abort(site: Site, reason: str, *, balancer: Balancer, fleet: Fleet, clock: Clock) -> tuple[str, ...]:
    """Stop the rollout that runs, wherever it runs; it puts back the traffic itself. The releases that were told.

    Whether one runs cannot be seen from here: the tag is read by the next reading of a rollout, and removed at the
    start of the next one. An `InputError` if there is no release that a rollout could be about.
    """
    hand = _Hand(clock, Pace(), lambda _: None)
    now = hand.patiently(lambda: status(site, balancer=balancer, fleet=fleet, switch=None))
    told = candidates(now)
    if not told:
        raise InputError(f"no rollout of {site.service} can be running: no release beside the live one has machines")
    value = f"{reason} ({_time()})"
    for each in told:
        hand.patiently(partial(fleet.tag, each.side.group, {rollout_tags.ABORT: value}))
    return tuple(each.release for each in told)


def rollback_now(
    site: Site,
    to: str | None = None,
    *,
    balancer: Balancer,
    fleet: Fleet,
    switch: Switch,
    clock: Clock,
    pace: Pace | None = None,
    say: Say = lambda _: None,
) -> WentBack:
    """Put all the traffic on another release, through AWS alone, and write down that it was done.

    Raises `InputError` if there is none to go to, `Aborted` if it does not become healthy (the traffic stays), and
    `CloudError`. What had the traffic keeps its machines. Repeating it after a failure goes on where that stopped.
    """
    return _WayBack(site, balancer, fleet, switch, _Hand(clock, pace or Pace(), say)).go(to)


class _Hand:
    """Tries a call again while AWS does not answer, and collects what went wrong beside the matter."""

    def __init__(self, clock: Clock, pace: Pace, say: Say) -> None:
        self.clock = clock
        self.pace = pace
        self.say = say
        self.warnings: list[str] = []

    def patiently(self, call: Callable[[], T]) -> T:
        """The answer of a call that the way back needs."""
        deadline = self.clock.now() + self.pace.shift_deadline
        while True:
            try:
                return call()
            except TryAgain as error:
                if self.clock.now() >= deadline:
                    raise
                self.say(str(error))
                self.clock.sleep(self.pace.interval)

    def beside(self, call: Callable[[], None]) -> None:
        """Do what should be done, but must not hold up the traffic."""
        try:
            call()
        except CloudError as error:
            self.warn(str(error))

    def warn(self, text: str) -> None:
        """Tell at once, and once more at the end."""
        if text not in self.warnings:
            self.warnings.append(text)
            self.say(f"warning: {text}")


class _WayBack:
    """One rollback by hand."""

    def __init__(self, site: Site, balancer: Balancer, fleet: Fleet, switch: Switch, hand: _Hand) -> None:
        self._site = site
        self._balancer = balancer
        self._fleet = fleet
        self._switch = switch
        self._hand = hand

    def go(self, to: str | None) -> WentBack:
        started = self._hand.clock.now()
        now = self._hand.patiently(self._status)
        for what in (*now.unknown, *now.site.extra):
            self._hand.warn(what)
        target = way_back(now, to)
        left = self._left(now, target)
        self._hand.say(f"{self._site.service}: going back to {target.release} from {left}")
        self._take_over(now, target)
        wanted = self._scale_up(now, target)
        self._wait_until_healthy(now, target, wanted)
        group = self._hand.patiently(lambda: self._fleet.group(target.side.group))
        if group is not None and group.desired < wanted:
            # A planned scale-in came at the very moment when it was cancelled: what AWS ends answers for a while.
            wanted = self._scale_up(now, target)
            self._hand.clock.sleep(LEAVING_SECONDS)
            self._wait_until_healthy(now, target, wanted)
        self._move(target)
        self._write_down(target, left)
        self._settle(now, target)
        self._hand.beside(lambda: self._switch.disarm(None))  # a rollout may have armed it again meanwhile
        seconds = self._hand.clock.now() - started
        return WentBack(self._site.service, target.release, left, wanted, seconds, tuple(self._hand.warnings))

    def _status(self) -> SiteNow:
        return status(self._site, balancer=self._balancer, fleet=self._fleet, switch=self._switch)

    def _left(self, now: SiteNow, target: ReleaseNow) -> str:
        """The release that is given up: of those with traffic, the one that is new; it may not be deployed again."""
        others = [each.release for each in now.serving if each.release != target.release]
        new = [each for each in others if each != now.live] or others
        return new[0] if new else next((arn for arn, _ in now.strangers), "nothing")

    def _take_over(self, now: SiteNow, target: ReleaseNow) -> None:
        """Before anything moves: an older switch must not undo this, and a rollout that still runs must stop.

        Only that switch would take the traffic off a candidate that its rollout has planned the end of. So the plan
        goes first: it may be that there is nowhere to go, or that we die.
        """
        for each in now.serving:
            if each.group is not None and each.group.scale_in is not None:
                self._hand.beside(partial(self._fleet.cancel_scale_in, each.side.group))
        self._hand.beside(lambda: self._switch.disarm(None))
        if len(now.serving) > 1 or now.switch is not None:
            value = f"rolled back by hand to {target.release} ({_time()})"
            for each in now.serving:
                if each.release != target.release:
                    self._hand.beside(partial(self._fleet.tag, each.side.group, {rollout_tags.ABORT: value}))

    def _scale_up(self, now: SiteNow, target: ReleaseNow) -> int:
        """Give the target as many machines as serve now; they must not be scaled in any more. How many it then has."""
        group = self._hand.patiently(lambda: self._fleet.group(target.side.group))
        if group is None:
            raise CloudError(
                f"auto scaling group {target.side.group} of {target.release} is gone: name another release"
            )
        self._hand.patiently(lambda: self._fleet.cancel_scale_in(target.side.group))
        demand = max([1, group.desired, *(each.demand for each in now.serving)])
        wanted = min(demand, group.maximum)
        if wanted < demand:
            self._hand.warn(f"{target.release} may have only {group.maximum} machines, {demand} serve now")
        if group.desired < wanted or group.minimum < wanted:
            self._hand.say(f"{target.release}: scaling from {group.desired} to {wanted} machines")
            self._hand.patiently(lambda: self._fleet.resize(target.side.group, minimum=wanted, desired=wanted))
        return wanted

    def _wait_until_healthy(self, now: SiteNow, target: ReleaseNow, wanted: int) -> None:
        """Until enough machines are healthy. At the deadline, more than what serves now has are enough too."""
        clock, pace = self._hand.clock, self._hand.pace
        deadline, streak = clock.now() + pace.health_deadline, Streak()
        while True:
            targets = known_or_none(lambda: self._balancer.targets(target.side.target_group))
            streak = streak.after(None if targets is None else gate.healthy(targets) >= wanted)
            if streak.good >= pace.readings:
                return
            if clock.now() >= deadline and not streak.good:
                break
            self._hand.say(wording.machines(gate.summary(gate.Reading(targets), wanted=wanted)))
            clock.sleep(pace.interval)
        there = gate.healthy(targets or ())
        serving = [known_or_none(partial(self._balancer.targets, each.side.target_group)) for each in now.serving]
        left = sum(gate.healthy(each or ()) for each in serving) if None not in serving else None
        words = wording.machines(gate.summary(gate.Reading(targets), wanted=wanted))
        if left is None or there <= left:
            raise Aborted(
                f"{target.release} is not healthy after {pace.health_deadline:.0f} s: {words}; the traffic stays where"
                f" it was: name another release with --to"
            )
        self._hand.warn(f"{target.release}: {words}; that is more than the {left} that have the traffic now")

    def _move(self, target: ReleaseNow) -> None:
        """Write the weights until they are seen to hold."""
        clock, pace = self._hand.clock, self._hand.pace
        weights = ((target.side.target_group, ALL),)
        self._hand.patiently(lambda: self._balancer.forward(self._site.listener, weights))
        deadline, streak = clock.now() + pace.shift_deadline, Streak()
        while streak.good < pace.readings:
            rule, known = None, True
            try:
                rule = self._balancer.rule(self._site.listener)
            except TryAgain:
                known = False
            holds = rule is not None and rule.serving == {target.side.target_group}
            streak = streak.after(holds if known else None)
            if streak.good >= pace.readings:
                return
            if clock.now() >= deadline:
                raise CloudError(f"the listener's rule does not keep the weight on {target.release}: run this again")
            if known and not holds:
                self._hand.say("the weights are not seen to hold, writing them again")
                self._hand.patiently(lambda: self._balancer.forward(self._site.listener, weights))
            clock.sleep(pace.interval)

    def _write_down(self, target: ReleaseNow, left: str) -> None:
        """For the next `pulumi up`, and for whoever looks."""
        tags = {rollout_tags.LIVE: target.release, rollout_tags.ROLLED_BACK: RolledBack(left, _time()).value}
        if any(side.release == left for side in self._site.sides):
            tags[rollout_tags.STANDBY] = left
        self._hand.beside(lambda: self._hand.patiently(lambda: self._balancer.tag(self._site.listener, tags)))

    def _settle(self, now: SiteNow, target: ReleaseNow) -> None:
        """Release the pins, give the target the floor of what served; that one stays as it is, to come back to."""
        for each in now.releases:
            group = each.group
            if group is None:
                continue
            if each.release == target.release:
                floor = self._floor(now, target)
            elif group.pin is not None:
                # What served stays pinned to its machines, as a standby is; the others get their minimum back.
                floor = group.desired if each.weight > 0 else group.pin
            else:
                continue
            self._hand.beside(partial(self._lower, each, floor))
            if group.pin is not None:
                self._hand.beside(partial(self._fleet.untag, each.side.group, [rollout_tags.PIN]))

    def _floor(self, now: SiteNow, target: ReleaseNow) -> int:
        """The least number of machines that a live release has; the settings would say it, but they are not here."""
        if target.group and target.group.pin is not None:
            return max(1, target.group.pin)
        groups = [each.group for each in now.serving if each.group and each.release != target.release]
        return max(1, min([group.minimum if group.pin is None else group.pin for group in groups], default=1))

    def _lower(self, each: ReleaseNow, floor: int) -> None:
        """Write a minimum that no machine has to be launched for."""
        group = self._fleet.group(each.side.group)
        if group is not None and group.minimum != min(floor, group.desired):
            self._fleet.resize(each.side.group, minimum=min(floor, group.desired), desired=None)


def _time() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
