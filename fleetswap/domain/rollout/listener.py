"""An existing listener: what AWS says of it, and whether a service can have its rules there.

Pure: `fleetswap.aws.rollout.fronts` reads it, before the first resource is declared, and everything that is wrong is
reported at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout.rule import Rules, covers

RULES, TARGET_GROUPS = 100, 100
"""Default quotas of a load balancer: rules, not counting default ones, and target groups (ELB user guide, Quotas)."""

PREVIEWS = 3
"""Releases that may need a preview rule, and a target group, at once: live, standby and candidate. An action of ours
forwards to two of them at most, of the five that ELBv2 allows."""

LONGEST_DRAIN = 3600


@dataclass(frozen=True)
class SeenRule:
    """A rule of the listener that is not the default one. `plain`: it has no condition but hosts and paths."""

    arn: str
    priority: int
    ours: bool
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    plain: bool = True


@dataclass(frozen=True)
class Seen:
    """A listener and its load balancer, as AWS says. `others` counts the rules of the balancer's other listeners."""

    arn: str
    protocol: str
    port: int
    kind: str
    vpc: str
    dns_name: str
    zone_id: str
    internal: bool
    security_groups: tuple[str, ...]
    idle_timeout: int
    rules: tuple[SeenRule, ...] = ()
    others: int = 0
    target_groups: int = 0
    """Target groups of the balancer that are not the stack's."""
    most_rules: int = RULES
    most_target_groups: int = TARGET_GROUPS
    dualstack: bool = False
    http2: bool = True
    """Whether clients may use HTTP/2."""

    @property
    def url(self) -> str:
        """Where it is reached by its own name."""
        scheme, usual = ("https", 443) if self.protocol == "HTTPS" else ("http", 80)
        return f"{scheme}://{self.dns_name}" + ("" if self.port == usual else f":{self.port}")

    @property
    def balancer(self) -> str:
        """The end of the load balancer's ARN, `app/NAME/ID`; a listener's is `…:listener/app/NAME/ID/LISTENER`."""
        return self.arn.partition(":listener/")[2].rpartition("/")[0]

    @property
    def drain(self) -> int:
        """Seconds that an open request may be silent, so that many must a machine have to finish it."""
        return min(self.idle_timeout, LONGEST_DRAIN)


def check(seen: Seen, rules: Rules, *, vpc: str | None, version: str, drain: int | None) -> tuple[str, ...]:
    """Warnings. Raises `InputError` with everything that keeps the service from having its rules on the listener.

    `version` is the protocol version of the targets, `drain` their deregistration delay if one is set.
    """
    problems = [*_unfit(seen, vpc, version, drain), *_full(seen, rules), *_taken(seen, rules), *_shadowed(seen, rules)]
    if problems:
        raise InputError(f"fleetswap:front.listener_arn: nothing was changed: {'; '.join(problems)}")
    return tuple(_shadowing(seen, rules))


def _unfit(seen: Seen, vpc: str | None, version: str, drain: int | None) -> Iterator[str]:
    if seen.kind != "application":
        yield f"{seen.arn} belongs to a {seen.kind} load balancer: name a listener of an Application Load Balancer"
    if vpc is not None and seen.vpc != vpc:
        yield f"its load balancer is in {seen.vpc}, and the machines are in {vpc}: name its VPC in network.vpc.id"
    if version != "http1" and seen.protocol != "HTTPS":
        yield f"it speaks {seen.protocol}, and health.protocol_version {version} needs HTTPS"
    elif version != "http1" and not seen.http2:
        yield f"its load balancer has routing.http2.enabled=false, and health.protocol_version {version} needs HTTP/2"
    if drain is not None and drain < seen.drain:
        yield f"health.drain ({drain}) is less than the load balancer's idle timeout ({seen.idle_timeout}): raise it"
    if not seen.security_groups:
        yield "its load balancer has no security group, which the machines could let in: add one to it"


def _full(seen: Seen, rules: Rules) -> Iterator[str]:
    needed = (2 * PREVIEWS if rules.preview_sources else PREVIEWS) + 1  # see `Previews`: with sources there are two
    taken = seen.others + sum(not rule.ours for rule in seen.rules)
    if taken + needed > seen.most_rules:
        yield (
            f"its load balancer has {taken} rules of others, of {seen.most_rules} that it may have, and a service needs"
            f" {needed}: request a higher quota, or use another load balancer"
        )
    if seen.target_groups + PREVIEWS > seen.most_target_groups:
        yield (
            f"its load balancer has {seen.target_groups} target groups of others, of {seen.most_target_groups}, and a"
            f" service needs {PREVIEWS}: request a higher quota, or use another load balancer"
        )


def _taken(seen: Seen, rules: Rules) -> Iterator[str]:
    first, last = rules.previews[0], rules.priority
    for rule in seen.rules:
        if not rule.ours and first <= rule.priority <= last:
            yield f"rule {rule.arn} of someone else has priority {rule.priority}: choose another front.priorities"


def _shadowed(seen: Seen, rules: Rules) -> Iterator[str]:
    """Rules of others before ours that take everything that ours would."""
    for rule in seen.rules:
        if (
            not rule.ours
            and rule.priority < rules.priority
            and rule.plain
            and _takes_all(rule, rules.hosts, rules.paths)
        ):
            yield (
                f"rule {rule.arn}, with priority {rule.priority}, takes all requests for the service before its own"
                " rules do: choose lower front.priorities, or other hosts or paths"
            )


def _shadowing(seen: Seen, rules: Rules) -> Iterator[str]:
    """Rules of others behind ours that get no request any more."""
    ours = SeenRule("", rules.priority, ours=True, hosts=rules.hosts, paths=rules.paths)
    for rule in seen.rules:
        if not rule.ours and rule.priority > rules.priority and _takes_all(ours, rule.hosts, rule.paths):
            yield (
                f"the service takes all requests of rule {rule.arn}, which has priority {rule.priority}: make sure that"
                " this is intended"
            )


def _takes_all(rule: SeenRule, hosts: Sequence[str], paths: Sequence[str]) -> bool:
    """Whether a rule takes every request for these hosts and paths; none are all."""
    by_host = not rule.hosts or (bool(hosts) and all(covers(rule.hosts, host, fold=True) for host in hosts))
    by_path = (
        not rule.paths or covers(rule.paths, "*") or (bool(paths) and all(covers(rule.paths, path) for path in paths))
    )
    return by_host and by_path
