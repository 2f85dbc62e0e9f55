"""What a drill makes of what AWS says: one finding for each thing that a rollback needs, with the remedy.

What could not be read is never passed to these functions: it is `UNKNOWN` (`fleetswap.workflows.rollout.drill`). None
is what AWS says does not exist. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fleetswap.domain.checklist import Finding, State
from fleetswap.domain.drill.seen import Ami, Launches, Snapshot, Subnet, SwitchRole, Template
from fleetswap.domain.permissions.simulate import Denied
from fleetswap.domain.rollout.health import Answer, TargetState, counts
from fleetswap.domain.rollout.rollback import POLICY
from fleetswap.domain.rollout.view import ReleaseView, ServiceView
from fleetswap.domain.secrets.key_state import KeyState
from fleetswap.domain.text import capacity, counted, duration

CALLS_SECONDS = 3.0
"""What the requests of a rollback to AWS take together, about, beside the readings that it waits for."""

NEEDED_PROCESSES = ("AddToLoadBalancer", "HealthCheck", "Launch", "Terminate")
"""Processes of a group without which it gets no machines, or no traffic for them (EC2 Auto Scaling user guide, "Suspend
and resume processes")."""

FORBIDDEN = 403
"""HTTP's status, which a preview rule's neighbor gives to whom it does not know."""

_AGAIN = "deploy the release again with `pulumi up --refresh`, which makes what is missing"


@dataclass(frozen=True)
class Expected:
    """How long a rollback takes, about: None if nothing is known of how long its machines take to start."""

    seconds: float | None
    warm: bool

    @property
    def line(self) -> str:
        """For a person."""
        if self.warm:
            return f"about {duration(self.seconds or 0.0)}: its machines run"
        if self.seconds is None:
            return "as long as its machines take to start, which no rollout has measured yet"
        return f"about {duration(self.seconds)}, most of it the start of its machines, as measured by the last rollouts"


def needed(now: ServiceView, target: ReleaseView) -> int:
    """The size of the group that has the traffic, in machines or units of capacity: what a rollback restores. Of the
    live release itself, its own.
    """
    others = [each.desired for each in now.serving if each.release != target.release]
    return max(others or [target.desired]) or 1


def expected(now: ServiceView, target: ReleaseView) -> Expected:
    """From the boots that the last rollouts measured, unless as many machines run as are needed."""
    quick = POLICY.readings * POLICY.interval + CALLS_SECONDS
    if target.healthy >= needed(now, target):
        return Expected(quick, warm=True)
    slowest = max((each.slowest for each in now.measured), default=None)
    return Expected(None if slowest is None else quick + slowest, warm=False)


def rollout(now: ServiceView) -> Finding:
    """Whether a rollout is running, or one that died has left something."""
    check = "rollout"
    if now.switch is not None:
        left = f" in {duration(max(0.0, now.switch.seconds))}" if math.isfinite(now.switch.seconds) else ""
        what = f"the dead man's switch is armed{left}: a rollout is running, or has died"
        return Finding(check, State.FAILED, what, "wait until it has ended, or run `pulumi up` if it died")
    if len(now.serving) + len(now.strangers) > 1:
        return Finding(
            check,
            State.FAILED,
            "several releases share the traffic: a rollout is running, or has died",
            "wait until it has ended, or run `pulumi up` if it died",
        )
    return Finding(check, State.OK, "none is running")


def rule(now: ServiceView) -> Finding:
    """Whether the listener's rule is as a rollout leaves it."""
    check, repair = "rule", "run `pulumi up`, which repairs it"
    if now.rule is None:
        return Finding(check, State.FAILED, "the listener has no rule with weights", repair)
    if now.strangers:
        arns = " and ".join(arn for arn, _ in now.strangers)
        return Finding(check, State.FAILED, f"it forwards to {arns}, which belongs to no release", repair)
    if now.rule.odd:
        return Finding(check, State.FAILED, f"it has {' and '.join(now.rule.odd)}", repair)
    if not now.serving:
        return Finding(check, State.FAILED, "it forwards to no release", repair)
    live = now.serving[0].release
    if now.live is not None and now.live != live:
        return Finding(check, State.FAILED, f"it forwards to {live}, and the last rollout made {now.live} live", repair)
    return Finding(check, State.OK, f"all the traffic is on {live}")


def health(target: ReleaseView) -> Finding:
    """Whether the machines that the release has are healthy."""
    check = "health"
    if not target.desired:
        return Finding(check, State.OK, f"{target.release} has no machines: they would start first")
    of = f"{target.healthy} of {capacity(target.desired, weighted=target.weighted)} healthy"
    if target.healthy < target.desired:
        sick = [each for each in target.targets if not each.is_healthy]
        if sick and all(each.state == TargetState.UNUSED for each in sick):  # what no rule forwards to is not checked
            what = "the load balancer checks no health: there is no preview rule, or a zone that it does not have"
            return Finding(check, State.SKIPPED, what)
        why = "; ".join(f"{each.machine} is {each.state} {each.reason}".strip() for each in sick[:3])
        what = f"{target.release} has {of}{f': {why}' if why else ''}"
        return Finding(check, State.FAILED, what, "wait until its group has replaced them, or name another with --to")
    return Finding(check, State.OK, of)


def preview(release: str, value: str | None, answer: Answer | None, codes: str) -> Finding:
    """Whether the release responds through its preview rule. `answer` is None for one that has no machines."""
    check, status = "preview", None if answer is None else answer.status
    if value is None:
        return Finding(check, State.FAILED, f"the listener has no preview rule of {release}", _AGAIN)
    if answer is None:
        return Finding(check, State.OK, "its rule is there")
    if status is None:
        what = f"this computer got no response through it{f' ({answer.error})' if answer.error else ''}"
        return Finding(check, State.UNKNOWN, what, "run the drill where the load balancer can be reached")
    if counts(str(status), codes):
        return Finding(check, State.OK, f"status {status}")
    if status == FORBIDDEN:
        what = f"status {status}: this computer may not be one of front.preview_sources"
        return Finding(check, State.UNKNOWN, what, "run the drill from one of them")
    what = f"{release} responds with status {status}, not {codes}"
    return Finding(check, State.FAILED, what, "name another release with --to, or deploy it again")


def group(target: ReleaseView, launches: Launches | None, size: int) -> Finding:
    """Whether the group may have as many machines as serve now, and may launch them."""
    check = "group"
    if target.group is None or launches is None:
        return Finding(check, State.FAILED, f"Auto Scaling group {target.target.group} does not exist", _AGAIN)
    if target.group.maximum < size:
        what = (
            f"{target.target.group} may have {capacity(target.group.maximum, weighted=target.weighted)}, and"
            f" {capacity(size, weighted=target.weighted)} serve now"
        )
        remedy = "raise fleetswap:capacity.max and run `pulumi up`"
        return Finding(check, State.FAILED, what, remedy)
    stopped = [each for each in NEEDED_PROCESSES if each in launches.suspended]
    if stopped:
        what = f"of {target.target.group}, {' and '.join(stopped)} {'is' if len(stopped) == 1 else 'are'} suspended"
        remedy = f"`aws autoscaling resume-processes --auto-scaling-group-name {target.target.group}`"
        return Finding(check, State.FAILED, what, remedy)
    return Finding(check, State.OK, f"{target.target.group} may have {target.group.maximum}, and {size} are needed")


def template(launches: Launches, found: Template | None) -> Finding:
    """Whether the version of the launch template exists that the group launches."""
    name = f"{launches.template} version {launches.version}"
    if found is None:
        return Finding("template", State.FAILED, f"launch template {name} does not exist", _AGAIN)
    return Finding("template", State.OK, name)


def ami(image: str, found: Ami | None) -> Finding:
    """Whether the AMI can be launched."""
    if found is None:
        what = f"AMI {image} does not exist: it was deregistered"
        return Finding("ami", State.FAILED, what, "restore it from the Recycle Bin, or " + _AGAIN)
    if found.state != "available":
        return Finding("ami", State.FAILED, f"AMI {image} is {found.state}", "enable it, or " + _AGAIN)
    return Finding("ami", State.OK, image)


def snapshots(wanted: Sequence[str], found: Mapping[str, Snapshot]) -> Finding:
    """Whether volumes can be created from the AMI's snapshots."""
    lost = [each for each in wanted if each not in found]
    if lost:
        what = f"snapshot {' and '.join(lost)} does not exist"
        return Finding("snapshot", State.FAILED, what, "restore it from the Recycle Bin, or " + _AGAIN)
    bad = [f"{each} is {found[each].state}" for each in wanted if found[each].state != "completed"]
    if bad:
        return Finding("snapshot", State.FAILED, f"snapshot {' and '.join(bad)}", _AGAIN)
    return Finding("snapshot", State.OK, f"{' and '.join(wanted)} completed" if wanted else "the AMI has none")


def keys(states: Sequence[KeyState], launching: Mapping[str, bool | None]) -> Finding:
    """Whether machines can start with their keys, and open their secrets. `launching`: whether EC2 Auto Scaling may
    use a key of volumes or snapshots; None if that is not known.
    """
    check = "keys"
    broken = [each for each in states if each.is_known and not each.works]
    refused = [arn for arn, may in launching.items() if may is False]
    if broken or refused:
        lines = [each.what for each in broken]
        lines += [f"no policy or grant of {arn} lets EC2 Auto Scaling use it" for arn in refused]
        remedies = [each.remedy for each in broken]
        remedies += [f"add what `fleetswap permissions --kms-key {arn}` prints to its policy" for arn in refused]
        return Finding(check, State.FAILED, "; ".join(lines), "; ".join(remedies))
    unseen = [each for each in states if not each.is_known]
    if unseen:
        what = "; ".join(f"{each.what}{f' ({each.told})' if each.told else ''}" for each in unseen)
        return Finding(check, State.UNKNOWN, what, unseen[0].remedy)
    unread = [arn for arn, may in launching.items() if may is None]
    if unread:
        what = f"whether EC2 Auto Scaling may use {' and '.join(unread)}"
        return Finding(check, State.UNKNOWN, what, "allow kms:GetKeyPolicy and kms:ListGrants on it")
    return Finding(
        check, State.OK, f"{counted(len(states), 'customer managed key')}, enabled" if states else "AWS's own"
    )


def network(launches: Launches, found: Template, subnets: Collection[str], groups: Collection[str]) -> Finding:
    """Whether the subnets and security groups exist that machines start in."""
    lost = [each for each in launches.subnets if each not in subnets]
    lost += [each for each in found.security_groups if each not in groups]
    if lost:
        what = f"{' and '.join(lost)} {'does' if len(lost) == 1 else 'do'} not exist"
        return Finding("network", State.FAILED, what, "run `pulumi up --refresh`, or correct fleetswap:network")
    many = f"{counted(len(launches.subnets), 'subnet')}, {counted(len(found.security_groups), 'security group')}"
    return Finding("network", State.OK, many)


def addresses(subnets: Mapping[str, Subnet], machines: int) -> Finding:
    """Whether the subnets have addresses for the machines that would start."""
    free = sum(each.free for each in subnets.values())
    what = f"{counted(machines, 'machine')} would start, and the subnets have {free} free addresses"
    if free < machines:
        return Finding("addresses", State.FAILED, what, "free some, or use larger subnets (fleetswap:network)")
    return Finding("addresses", State.OK, what)


def types(wanted: Collection[str], offered: Collection[str]) -> Finding:
    """Whether the zones of the subnets offer an instance type of the group."""
    there = [each for each in wanted if each in offered]
    if not there:
        what = f"no zone of the subnets offers {', '.join(wanted)}"
        return Finding("types", State.FAILED, what, "deploy a release with other fleetswap:machine.instance_types")
    gone = [each for each in wanted if each not in offered]
    not_there = f" (not offered: {', '.join(gone)})" if gone else ""
    return Finding("types", State.OK, ", ".join(there) + not_there)


def quota(market: str, units: int, room: int, quotas: str) -> Finding:
    """Whether the vCPU quotas suffice. `quotas` are those that were read, in words."""
    what = f"{units} {market} would start, and there is room for {room} ({quotas})"
    if room < units:
        return Finding("quota", State.FAILED, what, "raise the quota in Service Quotas, or end machines that run")
    return Finding("quota", State.OK, what)


def launch(refused: str) -> Finding:
    """What EC2 says to a dry run of a launch with the launch template; empty if it would have succeeded."""
    if refused:
        return Finding("launch", State.FAILED, f"EC2 refuses a dry run of a launch: {refused}", "correct what it names")
    return Finding("launch", State.OK, "a dry run of a launch succeeded")


def switch(role: SwitchRole | None, refused: str) -> Finding:
    """Whether the next rollout can arm the dead man's switch. `refused` is what EventBridge Scheduler says."""
    check = "switch"
    if role is None:
        return Finding(check, State.FAILED, "no role has the tags of the stack's dead man's switch", _AGAIN)
    if refused:
        return Finding(check, State.FAILED, refused, "run `pulumi up --refresh`, which writes its trust policy again")
    if not role.modifies:
        what = f"the policies of {role.arn} do not let it modify the listener's rule"
        return Finding(check, State.FAILED, what, "run `pulumi up --refresh`, which writes its policy again")
    return Finding(check, State.OK, "EventBridge Scheduler can assume its role, which may modify the rule")


def permissions(denied: Sequence[Denied], asked: int) -> Finding:
    """Whether the caller may do what a rollback calls, by IAM's simulation of so many permissions."""
    remedy = "attach what `fleetswap permissions --for rollback` prints"
    missing = [str(each) for each in denied if each.sure]
    if missing:
        what = f"{counted(len(missing), 'permission')} of a rollback missing: {', '.join(missing)}"
        return Finding("permissions", State.FAILED, what, remedy)
    if denied:
        what = f"conditions of a policy decide on {', '.join(map(str, denied))}, and IAM's simulation cannot meet them"
        return Finding("permissions", State.UNKNOWN, what, "see whether the policy's conditions hold, or " + remedy)
    return Finding("permissions", State.OK, f"all {asked} of a rollback")
