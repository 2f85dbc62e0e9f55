"""The rollback without the state: which release gets the traffic, and the order that moves it there.

What a deploy takes from the settings and the ledger, this takes from the tags. The order goes to the same state machine
as a deploy's; its terms say that nothing apart from the traffic may hold it up. It reads nothing, and moves nothing.
"""

from __future__ import annotations

from dataclasses import replace

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout.model import Order, Terms
from fleetswap.domain.rollout.policy import Policy
from fleetswap.domain.rollout.rollout_tags import MOVING, RolledBack
from fleetswap.domain.rollout.schedules import Schedule
from fleetswap.domain.rollout.view import ReleaseView, ServiceView

POLICY = Policy(
    minimum=1,
    deadline=300,
    readings=2,
    interval=1,
    patience=60,
    again=True,
)
"""How patient a rollback is. It has no canary, no alarms and no rates: those may be what is wrong."""


def choose(now: ServiceView, to: str | None) -> ReleaseView:
    """The release to roll back to: the requested one, or the one that a rollout moved the traffic away from.

    If several releases have traffic, or another than the last live one, then a rollout is running or has died, or the
    switch or a person has moved the traffic: the last live one is chosen. Otherwise it is the standby. Without tags,
    the only other release with machines is chosen. `InputError` if there is none to roll back to.
    """
    if to is not None:
        found = now.release(to)
    else:
        several = len(now.serving) + len(now.strangers) != 1
        alone = now.serving[0].release if not several and now.serving else None
        name = (
            now.live if several else next((each for each in (now.live, now.standby) if each not in {alone, None}), None)
        )
        others = [each for each in now.releases if each.release != alone and each.desired > 0]
        if name is not None:
            found = now.release(name)
        elif len(others) == 1:
            found = others[0]
        else:
            names = ", ".join(each.release for each in now.releases if each.release != alone) or "none"
            raise InputError(
                f"{now.service.name}: no tag says which release to roll back to (there are: {names}): name one with"
                " --to"
            )
    if now.rule is not None and now.rule.serving == {found.target.target_group}:
        raise InputError(f"{now.service.name}: {found.release} already has all the traffic")
    return found


def following(now: ServiceView, to: str | None) -> ReleaseView | None:
    """The release with traffic whose schedules go along with it; None if none of them follows any. While they change,
    what there is of them is not all. An `InputError` as of `choose`.
    """
    found = choose(now, to)
    others = [each for each in now.serving if each.release != found.release]
    return next((each for each in others if each.group and each.group.follows not in {"", MOVING}), None)


def order(
    now: ServiceView, to: str | None, *, at: str, policy: Policy = POLICY, schedules: tuple[Schedule, ...] = ()
) -> Order:
    """The order that puts all the traffic back. `at` is the time now, for the tags. An `InputError` as of `choose`.

    What is left is the standby, and keeps its machines. Of `policy` the minimum is found here, from the tags. There is
    `schedules` are those that go along with the traffic; without, what follows schedules goes on to. There is
    no switch of its own: who goes back by hand has no role for it. Nothing is probed: no tag tells the address.
    """
    found = choose(now, to)
    given_up = left(now, found)
    releases = now.service.releases
    return Order(
        service=now.service.name,
        listener=now.service.listener,
        url="",
        candidate=found.target,
        others=tuple(target for target in releases if target != found.target),
        standby=given_up if any(target.release == given_up for target in releases) else None,
        policy=replace(policy, minimum=_minimum(now, found), shortage_patience=policy.deadline),
        trusted=True,
        schedules=schedules,
        terms=Terms(
            overrules=f"rolled back with `fleetswap rollback --now` to {found.release} ({at})",
            best_effort=True,
            scarce=True,
            keeps_all=True,
            rolled_back=RolledBack(given_up, at).value,
            unfit="name another release with --to",
            again="run this again",
        ),
    )


def left(now: ServiceView, found: ReleaseView) -> str:
    """The release that is given up: of those with traffic, the one that is new; it may not be deployed again.

    Of what is no release of this stack, the ARN of its target group.
    """
    others = [each.release for each in now.serving if each.release != found.release]
    new = [each for each in others if each != now.live] or others
    return new[0] if new else next((arn for arn, _ in now.strangers), "nothing")


def _minimum(now: ServiceView, found: ReleaseView) -> int:
    """The minimum of a live release; the settings would say it, but they are not here."""
    serving = [each.group for each in now.serving if each.group and each.release != found.release]
    if found.group is not None and found.group.pin is not None:
        minimum = found.group.pin
    else:
        minimum = min([group.own_minimum for group in serving], default=1)
    return max(1, minimum if found.group is None else min(minimum, found.group.maximum))
