"""Records of rollouts for reports: real ones of the fake world, and ones that are put together line by line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fleetswap.cli.report import _replayed
from fleetswap.domain.report.checks import Course
from fleetswap.domain.report.compose import report
from fleetswap.domain.report.model import Plot, Report, Section
from fleetswap.domain.rollout.findings import Finding, Unit
from fleetswap.domain.rollout.health import Verdict
from fleetswap.domain.rollout.notices import Ending
from fleetswap.domain.rollout.policy import Check, Policy
from fleetswap.domain.rollout.rates import Counts, Limit
from fleetswap.domain.rollout.record import Ended, Entry, Header, Kind, plain
from fleetswap.workflows.rollout.read_record import policy_of, read
from tests.rollout.records import record_of

HEADER = Header(
    kind=Kind.DEPLOY,
    run="r" * 32,
    started="2026-11-26T12:00:00.000+00:00",
    service="web",
    stack="shop/prod",
    candidate="new",
    trusted=False,
)

POLICY = Policy(minimum=2, errors=Limit(ceiling=0.05), slow=1.0)


def real(name: str) -> Report:
    """The report of a rollout in the fake world (`tests.rollout.records`)."""
    found = read(record_of(name), name)
    order, course = _replayed(found, name)
    return report(found.header, found.entries, policy=order.policy if order else policy_of(found), course=course)


def made(*entries: Entry, header: Header = HEADER, why: str = "it is old", **more: Any) -> Report:
    """The report of these lines, as an older Fleetswap wrote them: without what only a replay needs."""
    return report(header, entries, policy=POLICY, course=Course(why=why), **more)


def written(*entries: Entry, header: Header = HEADER, policy: Policy = POLICY) -> bytes:
    """The same as a file."""
    first = {**plain(header), "policy": json.loads(json.dumps(asdict(policy)))}
    return b"".join(json.dumps(each).encode() + b"\n" for each in (first, *map(plain, entries)))


def ended(at: float, ending: Ending, serving: str = "live", **more: Any) -> Ended:
    return Ended(at=at, ending=ending, serving=serving, **more)


def errors(bad: int, requests: int, live: Counts | None = None, **more: Any) -> Finding:
    counts = Counts(requests, bad)
    return Finding(
        Check.ERRORS,
        Verdict.PROMOTE,
        value=counts.rate if requests else None,
        unit=Unit.RATE,
        candidate=counts,
        live=live,
        **more,
    )


def section(of: Report, key: str) -> Section:
    (found,) = [each for each in of.sections if each.key == key]
    return found


def plot(of: Report, key: str) -> Plot:
    (found,) = [each for part in of.sections for each in part.plots if each.key == key]
    return found


def keys(of: Report) -> Sequence[str]:
    return [each.key for each in of.sections]
