"""What `fleetswap doctor` asks about an account: whether the caller's policies and the quotas allow a deploy.

Both take permissions of their own. What may not be asked is skipped, and never said to be well.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fleetswap.aws.quotas import Quotas
from fleetswap.aws.rollout.identity import Identity
from fleetswap.aws.rollout.launch_parts import LaunchParts
from fleetswap.domain import quotas
from fleetswap.domain.checklist import Finding, State
from fleetswap.domain.drill import vcpus
from fleetswap.domain.errors import CloudError, InputError, TryAgain
from fleetswap.domain.permissions.purposes import Purpose, statements
from fleetswap.domain.permissions.simulate import Denied, Question, Sum, questions, some, summed
from fleetswap.domain.quotas import Need, Room
from fleetswap.domain.text import counted, one_line

if TYPE_CHECKING:
    from fleetswap.aws.session import Cloud
    from fleetswap.domain.permissions.scope import Scope
    from fleetswap_pulumi.settings import Settings

SECONDS = 60.0
"""For how long IAM is asked: it takes one request for each resource of a statement, and may throttle them."""

ASK = "print what doctor needs with `fleetswap permissions --for doctor`"
ATTACH = "attach the policies that `fleetswap permissions` prints"


def permissions(cloud: Cloud, scope: Scope) -> Finding:
    """Whether the policies of the caller allow what a deploy of these settings does."""
    name, identity = "permissions", Identity(cloud)
    answers: list[tuple[tuple[Question, ...], list[Denied]]] = []
    asked = tuple(questions(statements(scope, Purpose.DEPLOY), scope.region))
    until = time.monotonic() + SECONDS
    try:
        caller = identity.caller()
        if caller.is_root or ":iam:" not in caller.arn:  # a federated user is no identity of IAM's
            return Finding(name, State.SKIPPED, f"IAM does not simulate {caller.arn}", "deploy with a role")
        for each in asked:
            if time.monotonic() > until:
                break
            answers.append((each, [no for one in each for no in identity.denied(caller.arn, one)]))
    except CloudError as error:
        return _skipped(name, error)
    found = summed(answers)
    if not found.missing and len(answers) < len(asked):
        told = f"IAM has answered for {len(answers)} of {len(asked)} statements in {SECONDS:.0f} s"
        return Finding(name, State.SKIPPED, told, "try again later")
    return _judged(caller.arn, found)


def _skipped(name: str, error: CloudError) -> Finding:
    return Finding(name, State.SKIPPED, one_line(error), "try again" if isinstance(error, TryAgain) else ASK)


def _judged(who: str, found: Sum) -> Finding:
    name = "permissions"
    if found.missing:
        what = f"{who} may not do {counted(len(found.missing), 'action')} of a deploy: {some(found.missing)}"
        return Finding(name, State.FAILED, what, ATTACH)
    if found.partly:
        what = f"{who} may do these on some of the stack's resources only: {some(found.partly)}"
        return Finding(name, State.WARNING, what, ATTACH)
    if found.unsure:
        what = f"conditions of a policy of {who} decide on {some(found.unsure)}, and IAM's simulation cannot meet them"
        return Finding(name, State.WARNING, what, f"see whether they hold, or {ATTACH}")
    what = f"{counted(found.asked, 'action')}, by the policies of {who}; those of sessions and keys are not simulated"
    return Finding(name, State.OK, what)


def room(cloud: Cloud, settings: Settings) -> Iterator[Finding]:
    """Whether the quotas have room for a deploy beside what is in use."""
    well: list[str] = []
    for count in (_machines, _groups, _target_groups):
        try:
            for need in count(cloud, settings):
                if need.verdict is Room.ENOUGH:
                    well.append(need.line)
                    continue
                state = State.FAILED if need.verdict is Room.SHORT else State.WARNING
                remedy = f"raise {' or '.join(need.codes)} in Service Quotas, or end what is not needed"
                yield Finding("quotas", state, need.line, remedy)
        except InputError as error:
            yield Finding("quotas", State.SKIPPED, one_line(error))
        except CloudError as error:
            yield _skipped("quotas", error)
    if well:
        yield Finding("quotas", State.OK, "; ".join(well))


def _machines(cloud: Cloud, settings: Settings) -> Iterator[Need]:
    machine, capacity, parts = settings.machine, settings.capacity, LaunchParts(cloud)
    if machine.requirements is not None:
        raise InputError("vCPUs: with machine.requirements, AWS chooses the instance types")
    image = settings.image.ami
    weights = {each.type: each.weight or 1 for each in machine.instance_types or ()}
    names = machine.types_for("x86_64" if image is None else image.architecture or "x86_64")
    types = {name: weights.get(name, 1) for name in names}
    kinds = sorted(filter(None, {vcpus.class_of(name) for name in types}))
    if not kinds:
        raise InputError(f"vCPUs: which quota counts {', '.join(types)} is not known")
    running = parts.running()
    sizes = parts.vcpus({*types, *(each.instance_type for each in running)})
    used = vcpus.used(running, sizes)
    least, most = (
        {
            each.market: each.units
            for each in vcpus.wanted(size, 0, base=machine.on_demand_base, percent=machine.on_demand_percent)
        }
        for size in (capacity.min, capacity.max)
    )
    for market in most:
        codes = {kind: vcpus.QUOTAS[kind][market] for kind in kinds}
        limits = {kind: parts.quota(quota) for kind, quota in codes.items()}
        free = {kind: limit - used.get((kind, market), 0) for kind, limit in limits.items()}
        yield Need(
            f"{market} machines" if set(types.values()) == {1} else f"units of {market} capacity",
            least.get(market, 0),
            most[market],
            vcpus.room(free, types, sizes),
            ", ".join(f"{kind}: {used.get((kind, market), 0):,} of {limits[kind]:,.0f} vCPUs used" for kind in kinds),
            tuple(f"ec2 {quota}" for quota in codes.values()),
        )


def _groups(cloud: Cloud, _settings: Settings) -> Iterator[Need]:
    asked, quota = Quotas(cloud), quotas.GROUPS
    yield quotas.one_more(quota, asked.value(quota.service, quota.code), asked.groups())


def _target_groups(cloud: Cloud, _settings: Settings) -> Iterator[Need]:
    asked, quota = Quotas(cloud), quotas.TARGET_GROUPS
    yield quotas.one_more(quota, asked.value(quota.service, quota.code), asked.target_groups())
