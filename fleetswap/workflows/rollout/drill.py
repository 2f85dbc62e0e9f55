"""`fleetswap drill`: tries everything that a rollback needs, without moving traffic.

Each check stands alone: what AWS does not answer makes its own line unknown, and ends nothing. The only thing that is
made is a schedule that never fires, which is deleted at once. What findings mean is `fleetswap.domain.drill`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

from fleetswap.domain.checklist import Finding, State, of
from fleetswap.domain.drill import judge, vcpus
from fleetswap.domain.drill.grants import questions
from fleetswap.domain.drill.judge import Expected
from fleetswap.domain.drill.seen import Ami, Caller, Launches, Snapshot, Subnet, Template
from fleetswap.domain.errors import CloudError, InputError
from fleetswap.domain.permissions.scope import Scope
from fleetswap.domain.release.default_key import launch_role, may_launch
from fleetswap.domain.rollout.rollback import choose, left
from fleetswap.domain.rollout.view import ReleaseView, Service, ServiceView
from fleetswap.domain.secrets.key_state import is_key
from fleetswap.workflows.rollout.drill_ports import Identity, Keys, Parts, Preview
from fleetswap.workflows.rollout.ports import Balancer, Fleet, Switch
from fleetswap.workflows.rollout.service import status

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """All that a drill reaches."""

    balancer: Balancer
    fleet: Fleet
    switch: Switch
    keys: Keys
    parts: Parts
    identity: Identity
    preview: Preview
    region: str
    partition: str = "aws"


@dataclass(frozen=True)
class Drill:
    """What a drill has found of a rollback from one release to another."""

    service: str
    stack: str
    region: str
    to: str
    left: str
    expected: Expected
    findings: tuple[Finding, ...]

    @property
    def proved(self) -> bool | None:
        """Whether the rollback would work; None if not everything could be checked."""
        if of(self.findings, State.FAILED):
            return False
        return None if self.untried else True

    @property
    def untried(self) -> tuple[Finding, ...]:
        """What proves nothing. A skipped check stands beside one that failed; alone, nothing says that it passes."""
        return tuple(each for each in self.findings if each.state in {State.UNKNOWN, State.SKIPPED})


LIVE = "live"
"""Names the release with the traffic, whatever it is: the next deploy would be rolled back to it."""


def drill(service: Service, to: str | None, world: World) -> Drill:
    """Try a rollback to a release, to what `fleetswap rollback` would take, or to what is `LIVE`. It moves no traffic.

    Raises `InputError` if there is none to roll back to, `TryAgain` or `CloudError` if the rule cannot be read. What
    else cannot be read is a finding.
    """
    now = status(service, balancer=world.balancer, fleet=world.fleet, switch=world.switch)
    target = _live(now) if to == LIVE else choose(now, to)
    return Drill(
        service.name,
        service.stack,
        world.region,
        target.release,
        "the next release" if to == LIVE else left(now, target),
        judge.expected(now, target),
        tuple(_findings(_Facts(now, target, world))),
    )


def _live(now: ServiceView) -> ReleaseView:
    if not now.serving:
        raise InputError(f"{now.service.name}: no release has traffic: there is nothing to roll back to")
    return now.serving[0]


class _Skipped(Exception):
    """A check needs what another line says is not there."""


class _Facts:
    """What several checks build on, read once."""

    def __init__(self, now: ServiceView, target: ReleaseView, world: World) -> None:
        self.now = now
        self.target = target
        self.world = world
        self.size = judge.needed(now, target)
        self._read: dict[str, object] = {}

    @property
    def units(self) -> int:
        """How much would start: the release's own machines use addresses and quotas already."""
        return max(0, self.size - self.target.desired)

    @property
    def launches(self) -> Launches:
        """How the group launches machines."""
        return self._there(self._once("launches", lambda: self.world.parts.launches(self.target.target.group)))

    @property
    def template(self) -> Template:
        """The launch template's version."""
        return self._there(self._once("template", lambda: self.world.parts.template(self.launches)))

    @property
    def ami(self) -> Ami:
        """The AMI that the template names."""
        return self._there(self._once("ami", lambda: self.world.parts.ami(self.template.image)))

    @property
    def snapshots(self) -> Mapping[str, Snapshot]:
        """The AMI's snapshots that exist."""
        return self._once("snapshots", lambda: self.world.parts.snapshots(self.ami.snapshots))

    @property
    def subnets(self) -> Mapping[str, Subnet]:
        """The group's subnets that exist."""
        return self._once("subnets", lambda: self.world.parts.subnets(self.launches.subnets))

    @property
    def types(self) -> dict[str, int]:
        """The instance types that may be launched, with their weights; empty if they are chosen by attributes."""
        if self.launches.by_attributes:
            return {}
        return dict(self.launches.types) or {self.template.instance_type: 1}

    @property
    def offered(self) -> dict[str, int]:
        """Those of them that a zone offers."""
        zones = {each.zone.removeprefix(self.world.region) for each in self.subnets.values()}
        there = self._once("offered", lambda: self.world.parts.offered(tuple(self.types), zones))
        return {name: weight for name, weight in self.types.items() if name in there}

    @property
    def caller(self) -> Caller:
        """Whose credentials these are."""
        return self._once("caller", self.world.identity.caller)

    @property
    def groups(self) -> list[str]:
        """The ARNs of the groups that a rollback changes: of the release, and of what has the traffic."""
        others = [self.world.parts.launches(each.target.group) for each in self.now.serving]
        return [self.launches.arn, *(each.arn for each in others if each is not None)]

    @property
    def rule(self) -> str:
        """The ARN of the rule with the weights."""
        if self.now.rule is None:
            raise _Skipped
        return str(json.loads(self.now.rule.verbatim)["RuleArn"])

    @staticmethod
    def _there(found: T | None) -> T:
        if found is None:
            raise _Skipped
        return found

    def _once(self, name: str, read: Callable[[], T]) -> T:
        """What was read, or the error that came of it: what AWS refuses once it is not asked again."""
        if name not in self._read:
            try:
                self._read[name] = read()
            except (CloudError, _Skipped) as error:
                self._read[name] = error
        found = self._read[name]
        if isinstance(found, (CloudError, _Skipped)):
            raise found
        return cast("T", found)


def _findings(facts: _Facts) -> Iterator[Finding]:
    for error in facts.now.unknown:
        yield Finding("service", State.UNKNOWN, error)
    for check, judged in CHECKS.items():
        try:
            yield judged(facts)
        except CloudError as error:
            yield Finding(check, State.UNKNOWN, str(error))
        except _Skipped:
            yield Finding(check, State.SKIPPED, "what it is about does not exist, or is not known")


def _preview(facts: _Facts) -> Finding:
    target, preview = facts.target.target, facts.world.preview
    value = preview.value(target.release, target.target_group)
    if value is None or not facts.target.healthy:
        return judge.preview(target.release, value, None, "")
    front = preview.front(target.target_group)
    return judge.preview(target.release, value, preview.get(front, target.release, target.target_group), front.codes)


def _group(facts: _Facts) -> Finding:
    if not facts.target.known:
        raise _Skipped
    try:
        launches: Launches | None = facts.launches
    except _Skipped:
        launches = None
    return judge.group(facts.target, launches, facts.size)


def _template(facts: _Facts) -> Finding:
    launches = facts.launches
    try:
        return judge.template(launches, facts.template)
    except _Skipped:
        return judge.template(launches, None)


def _ami(facts: _Facts) -> Finding:
    image = facts.template.image
    try:
        return judge.ami(image, facts.ami)
    except _Skipped:
        return judge.ami(image, None)


def _keys(facts: _Facts) -> Finding:
    """The keys of the group's tag, which has those of secrets, and those of the snapshots and the volumes."""
    keys = facts.world.keys
    found = {each.key for each in facts.snapshots.values() if each.key} | set(facts.template.keys)
    if not found:
        default = keys.ebs_default()
        if default.told:
            return Finding("keys", State.UNKNOWN, default.told)
        found = {default.key}
    of_volumes = sorted(each for each in found if is_key(each))
    states = [keys.state(arn) for arn in dict.fromkeys([*facts.target.target.keys, *of_volumes])]
    launching = {}
    for arn in of_volumes:
        state = next(each for each in states if each.arn == arn)
        if state.works and not state.is_aws_managed:
            role = launch_role(arn, facts.caller.account)
            launching[arn] = may_launch(keys.access(arn, role), role)
    return judge.keys([each for each in states if not (each.works and each.is_aws_managed)], launching)


def _network(facts: _Facts) -> Finding:
    wanted = facts.template.security_groups
    return judge.network(facts.launches, facts.template, facts.subnets, facts.world.parts.security_groups(wanted))


def _addresses(facts: _Facts) -> Finding:
    most = max(facts.launches.types.values(), default=1)
    return judge.addresses(facts.subnets, -(-facts.units // most))


def _types(facts: _Facts) -> Finding:
    if facts.launches.by_attributes:
        return Finding("types", State.OK, "EC2 Auto Scaling chooses them by their attributes")
    return judge.types(tuple(facts.types), tuple(facts.offered))


def _quota(facts: _Facts) -> Finding:
    """Only the classes of what the zones offer are asked about."""
    group, parts = facts.target.group, facts.world.parts
    if group is None:
        raise _Skipped
    wanted = vcpus.wanted(facts.size, group.desired, base=group.on_demand_base, percent=group.on_demand_percent)
    if not wanted:
        return Finding("quota", State.OK, "as many machines run as are needed")
    if facts.types and not facts.offered:
        raise _Skipped
    classes = {vcpus.class_of(name) for name in facts.offered} - {None}
    if not classes:
        what = "which vCPU quota counts is not known of these instance types"
        return Finding("quota", State.UNKNOWN, what, "see Service Quotas")
    running = parts.running()
    sizes = parts.vcpus({*facts.offered, *(each.instance_type for each in running)})
    used = vcpus.used(running, sizes)
    findings = []
    for each in wanted:
        limits = {kind: parts.quota(vcpus.QUOTAS[kind][each.market]) for kind in sorted(filter(None, classes))}
        free = {kind: limit - used.get((kind, each.market), 0) for kind, limit in limits.items()}
        words = ", ".join(
            f"{kind} {each.market}: {used.get((kind, each.market), 0)} of {limit:g} vCPUs used"
            for kind, limit in limits.items()
        )
        room = vcpus.room(free, facts.offered, sizes)
        findings.append(judge.quota(each.market, each.units, room, words))
    return next((each for each in findings if each.state is State.FAILED), findings[0])


def _launch(facts: _Facts) -> Finding:
    return judge.launch(facts.world.parts.try_launch(facts.launches, facts.template))


def _switch(facts: _Facts) -> Finding:
    identity, service = facts.world.identity, facts.now.service
    role = identity.switch_role(service.stack, service.name, facts.rule)
    refused = "" if role is None else identity.try_switch(service.name, facts.rule, role.arn)
    return judge.switch(role, refused)


def _permissions(facts: _Facts) -> Finding:
    caller, service = facts.caller, facts.now.service
    if caller.is_root:
        return Finding("permissions", State.OK, "the account's root may do everything")
    scope = Scope(
        account=caller.account,
        region=facts.world.region,
        stack=service.stack,
        service=service.name,
        partition=facts.world.partition,
        listener=service.listener,
    )
    arns = [service.listener, facts.rule, *facts.groups, f"{scope.schedules[0].removesuffix('*')}drill"]
    asked = tuple(questions(scope, arns))
    denied = [each for one in asked for each in facts.world.identity.denied(caller.arn, one)]
    return judge.permissions(denied, sum(len(one.actions) for one in asked))


CHECKS: Mapping[str, Callable[[_Facts], Finding]] = {
    "rollout": lambda facts: judge.rollout(facts.now),
    "rule": lambda facts: judge.rule(facts.now),
    "health": lambda facts: judge.health(facts.target),
    "preview": _preview,
    "group": _group,
    "template": _template,
    "ami": _ami,
    "snapshot": lambda facts: judge.snapshots(facts.ami.snapshots, facts.snapshots),
    "keys": _keys,
    "network": _network,
    "addresses": _addresses,
    "types": _types,
    "quota": _quota,
    "launch": _launch,
    "switch": _switch,
    "permissions": _permissions,
}
"""In the order in which a rollback would meet them."""
