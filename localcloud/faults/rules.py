"""The faults that were asked for: which request or launch goes wrong next, and how.

Decides whether a rule fires, from its counters, its own random numbers and a clock; the same rules and the same order
of requests give the same faults. Does nothing itself: `inject` makes requests fail, `launch` launches and `ebs` pages.

A rule is a JSON object. `fault` says what happens:

| fault | what happens |
|---|---|
| `throttle` `error-500` `error-503` `access-denied` `expired-token` `not-found` | the request is refused, in the words of its service; `code`, `status`, `message` say other ones |
| `launch-denied` | the request is refused as by EC2 Auto Scaling when the caller may not launch what the group would |
| `limit` | requests past `rate` a second (and a `burst` saved up) are throttled |
| `refuse` | machines get no connection to the VPC endpoint of `service`, as while it is down: it is refused |
| `cut-before` | the connection is closed before anything is answered |
| `cut-in-headers` `cut-in-body` | it is closed in the middle of an answer that begins like a success |
| `delay` | the request waits `seconds` before it is looked at |
| `slow` | half of the answer comes, and after `seconds` the rest |
| `stale` | a read is answered as it was up to `seconds` ago: what was answered first is kept for so long |
| `empty-page` `short-page` | EBS lists answer a page with none, or fewer, blocks than asked for, and a NextToken |
| `token-seconds` | block tokens and page tokens that EBS lists hand out live for `seconds` |
| `capacity` | launches fail with InsufficientInstanceCapacity; `instance_type`, `lifecycle`, `zone` narrow it down, as all of the next |
| `vcpu-limit` `spot-limit` | On-Demand launches fail with VcpuLimitExceeded, Spot launches with MaxSpotInstanceCountExceeded |
| `kms-key` `volume-limit` `spot-taken` | an instance is launched, and ends before it runs: its key, the account's volumes, or Spot was taken back |

`service` and `operation` name the requests, with wildcards (`ebs`, `elbv2`, `Describe*`); several operations have spaces
between, as in `Encrypt Decrypt GenerateDataKey*`, and one `limit`. A refusal and a cut happen instead of the effect;
with `lost_answer` the effect happens and only its answer is lost. A rule fires for `rate` of the requests that match (a
probability; 1 if not given), after the first `after`, and `count` times at most.
"""  # noqa: E501 - a table's row is one line

from __future__ import annotations

import itertools
import random
import threading
import time
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

REFUSALS: Final = frozenset(
    {"throttle", "error-500", "error-503", "access-denied", "expired-token", "not-found", "launch-denied"}
)
CUTS: Final = frozenset({"cut-before", "cut-in-headers", "cut-in-body"})
WAITS: Final = frozenset({"delay", "slow", "stale"})
PAGES: Final = frozenset({"empty-page", "short-page", "token-seconds"})
UNLAUNCHED: Final = frozenset({"capacity", "vcpu-limit", "spot-limit"})
DYING: Final = frozenset({"kms-key", "volume-limit", "spot-taken"})
KINDS: Final = REFUSALS | CUTS | WAITS | PAGES | UNLAUNCHED | DYING | {"limit", "refuse"}
ONLY: Final = {"vcpu-limit": "on-demand", "spot-limit": "spot", "spot-taken": "spot"}  # what they are about
LIFECYCLES: Final = frozenset({"*", "spot", "on-demand"})


class BadRule(Exception):
    """A rule that says nothing that could be done; the message is one line."""


@dataclass
class Rule:
    """One rule, with what it saw. `rate` is a probability, of `limit` the requests a second."""

    fault: str
    service: str = "*"
    operation: str = "*"
    rate: float = 1.0
    count: int | None = None
    after: int = 0
    seconds: float = 0.0
    burst: float = 1.0
    lost_answer: bool = False
    seed: int = 0
    code: str = ""
    status: int = 0
    message: str = ""
    instance_type: str = "*"
    lifecycle: str = "*"
    zone: str = "*"
    id: int = 0
    seen: int = 0
    fired: int = 0
    random: random.Random = field(default_factory=random.Random, repr=False)
    tokens: float = 0.0
    filled_at: float = 0.0

    @classmethod
    def read(cls, asked: object) -> Rule:
        """The rule of a JSON object. Raises `BadRule`."""
        if not isinstance(asked, dict):
            raise BadRule("A rule is a JSON object.")
        unknown = set(asked) - _MEMBERS.keys()
        if unknown:
            raise BadRule(f"A rule has no member {sorted(unknown)[0]!r}; it may have {', '.join(_MEMBERS)}.")
        for name, value in asked.items():
            kinds = _MEMBERS[name]
            if not isinstance(value, kinds) or (isinstance(value, bool) and kinds != (bool,)):
                raise BadRule(f"{name} must be of type {kinds[-1].__name__}, not {value!r}.")
        if asked.get("fault") not in KINDS:
            raise BadRule(f"fault must be one of {', '.join(sorted(KINDS))}, not {asked.get('fault')!r}.")
        rule = cls(**asked)
        if rule.lifecycle not in LIFECYCLES:
            raise BadRule(f"lifecycle must be one of {', '.join(sorted(LIFECYCLES))}, not {rule.lifecycle!r}.")
        if rule.rate < 0 or (rule.fault != "limit" and rule.rate > 1):
            raise BadRule("rate is a probability, 0 to 1; only of limit is it a number of requests a second.")
        return rule

    def shown(self) -> dict[str, Any]:
        """The rule as JSON, with its id and how often it was met (`seen`) and came true (`fired`)."""
        own = {name: getattr(self, name) for name in (*_MEMBERS, "id", "seen", "fired")}
        return {name: value for name, value in own.items() if name in _ALWAYS or value != _DEFAULTS.get(name)}


_MEMBERS: Final[dict[str, tuple[type, ...]]] = {
    "fault": (str,),
    "service": (str,),
    "operation": (str,),
    "rate": (int, float),
    "count": (int,),
    "after": (int,),
    "seconds": (int, float),
    "burst": (int, float),
    "lost_answer": (bool,),
    "seed": (int,),
    "code": (str,),
    "status": (int,),
    "message": (str,),
    "instance_type": (str,),
    "lifecycle": (str,),
    "zone": (str,),
}
_ALWAYS: Final = frozenset({"fault", "service", "operation", "id", "seen", "fired"})
_DEFAULTS: Final = {one.name: one.default for one in fields(Rule)}


@dataclass(frozen=True)
class Verdict:
    """What is to go wrong with one request: a wait before it, and then at most one rule's refusal, cut or slowness."""

    delay: float = 0.0
    rule: Rule | None = None
    stale: Rule | None = None


FINE: Final = Verdict()


class Faults:
    """All rules. Safe for many threads. `clock` gives seconds, for `limit`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._ids = itertools.count(1)

    def __bool__(self) -> bool:
        """Whether there is any rule."""
        return bool(self._rules)

    def add(self, asked: object) -> list[Rule]:
        """Follow these rules, too: one, or a list of them, and none if one of them is wrong. Raises `BadRule`."""
        rules = [Rule.read(one) for one in (asked if isinstance(asked, list) else [asked])]
        with self._lock:
            for rule in rules:
                rule.id = next(self._ids)
                rule.random = random.Random(f"{rule.seed} {rule.fault} {rule.service} {rule.operation}")  # noqa: S311 - repeatable, no secret
                rule.tokens, rule.filled_at = rule.burst, self._clock()
            self._rules = [*self._rules, *rules]
        return rules

    def remove(self, rule_id: int | None = None) -> bool:
        """Follow a rule, or any rule, no longer; whether there was one."""
        with self._lock:
            kept = [] if rule_id is None else [rule for rule in self._rules if rule.id != rule_id]
            found = len(kept) < len(self._rules)
            self._rules = kept
            return found

    def shown(self) -> list[dict[str, Any]]:
        """All rules as JSON, in the order in which they are tried."""
        with self._lock:
            return [rule.shown() for rule in self._rules]

    def judge(self, service: str, operation: str) -> Verdict:
        """What goes wrong with this request. The first rule that refuses, cuts or slows it wins; delays add up."""
        if not self._rules:
            return FINE
        delay, chosen, stale = 0.0, None, None
        with self._lock:
            for rule in self._matching(service, operation, KINDS - PAGES - UNLAUNCHED - DYING - {"refuse"}):
                if (chosen is None or rule.fault in {"delay", "stale"}) and self._fires(rule):
                    if rule.fault == "delay":
                        delay += rule.seconds
                    elif rule.fault == "stale":
                        stale = rule
                    else:
                        chosen = rule
        return Verdict(delay, chosen, stale)

    def refuses(self, service: str) -> bool:
        """Whether connections to the endpoint of a service are refused, by a rule that says nothing else."""
        return any(rule.fault == "refuse" and fnmatchcase(service, rule.service) for rule in self._rules)

    def page(self, fault: str, operation: str) -> Rule | None:
        """The rule, one of `PAGES`, that concerns this EBS list now."""
        if not self._rules:
            return None
        with self._lock:
            return next((rule for rule in self._matching("ebs", operation, {fault}) if self._fires(rule)), None)

    def launch(self, kinds: frozenset[str], instance_type: str, lifecycle: str, zone: str) -> str | None:
        """Which of these goes wrong with a launch: of `UNLAUNCHED` or of `DYING`."""
        asked = {"instance_type": instance_type, "lifecycle": lifecycle, "zone": zone}
        with self._lock:
            for rule in self._rules:
                if rule.fault not in kinds or ONLY.get(rule.fault, lifecycle) != lifecycle:
                    continue
                if all(fnmatchcase(value, getattr(rule, name)) for name, value in asked.items()) and self._fires(rule):
                    return rule.fault
        return None

    def _matching(self, service: str, operation: str, kinds: Iterable[str]) -> list[Rule]:
        return [
            rule
            for rule in self._rules
            if rule.fault in kinds
            and fnmatchcase(service, rule.service)
            and any(fnmatchcase(operation, one) for one in rule.operation.split())
        ]

    def _fires(self, rule: Rule) -> bool:
        rule.seen += 1
        if rule.seen <= rule.after or (rule.count is not None and rule.fired >= rule.count):
            return False
        if rule.fault == "limit":
            if not self._over(rule):
                return False
        elif rule.rate < 1 and rule.random.random() >= rule.rate:
            return False
        rule.fired += 1
        return True

    def _over(self, rule: Rule) -> bool:
        now = self._clock()
        rule.tokens = min(rule.burst, rule.tokens + (now - rule.filled_at) * rule.rate)
        rule.filled_at = now
        if rule.tokens < 1:
            return True
        rule.tokens -= 1
        return False
