"""The dashboard of a service: a dynamic provider, because only after a rollout is it known when the traffic moved.

It comes after the rollout, so it fails no update: what CloudWatch refuses is a warning, and the next update repeats it.
The markers of earlier deploys are in its own outputs. The program computes all else (`fleetswap.domain.dashboard`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

from fleetswap.aws import dashboards
from fleetswap.domain import dashboard
from fleetswap.domain.errors import FleetswapError
from fleetswap_pulumi.checks import check_failures
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.reach import ReachInputs, differences
from fleetswap_pulumi.speech import Speech, urn_of

SCHEMA = 1
"""Version of the inputs. A newer program must keep reading the states that older ones wrote."""

REPLACING = ("name",)
"""Another name is another dashboard."""


class Inputs(ReachInputs):
    """The resource's inputs. `body` is JSON without markers, `marker` that of the last rollout, if it moved traffic."""

    schema_version: int
    name: str
    body: str
    marker: dict[str, str] | None = None
    urn: str = ""


class DashboardProvider(ResourceProvider):
    """Writes one dashboard. Its output `problem` is why that could not be done; the next update does it again."""

    serialize_as_secret_always = False

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse inputs that this version cannot read."""
        return CheckResult(news, check_failures(Inputs, news))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Without a look at CloudWatch: a refresh does that."""
        changed, replaces = differences(Inputs, REPLACING, _olds, _news)
        return DiffResult(changes=changed or bool(_olds.get("problem")), replaces=replaces, delete_before_replace=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Write it. Its ID is its name."""
        return CreateResult(str(props["name"]), _written(props, ()))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """One that somebody deleted is written by the next update, with its markers."""
        inputs = Inputs.of(props)
        there = dashboards.exists(inputs.admitted().cloudwatch(), inputs.name)
        return ReadResult(id_, {**props, "problem": props.get("problem") if there else "it was deleted"})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Write it again, with one more marker if there was another rollout."""
        return UpdateResult(_written(_news, dashboard.markers_from(_olds.get("markers"))))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Delete it."""
        inputs = Inputs.of(_props)
        dashboards.delete(inputs.admitted().cloudwatch(), inputs.name)


def _marker(record: Mapping[str, Any] | None, release: str) -> dict[str, str] | None:
    found = dashboard.marker_of(record, release)
    return None if found is None else asdict(found)


def _written(props: dict[str, Any], known: tuple[dashboard.Marker, ...]) -> dict[str, Any]:
    inputs = Inputs.of(props)
    markers = dashboard.with_marker(known, dashboard.Marker(**inputs.marker) if inputs.marker is not None else None)
    problem = None
    try:
        body = json.dumps(dashboard.marked(json.loads(inputs.body), markers))
        dashboards.put(inputs.admitted().cloudwatch(), inputs.name, body)
    except FleetswapError as error:
        problem = str(error)
        Speech(inputs.urn).warn(f"the dashboard is not up to date, the next update writes it: {problem}")
    return {**props, "markers": dashboard.plain(markers), "problem": problem}


def body_of(
    service: str,
    region: str,
    balancer: pulumi.Input[str],
    releases: Sequence[tuple[str, Any, Any]],
    percentile: float | None,
    alarms: Sequence[pulumi.Input[str]],
    rules: Mapping[str, pulumi.Input[str]],
) -> pulumi.Output[str]:
    """The body without markers; `releases` are named with the end of their target group's ARN and with their group."""

    def body(known: Mapping[str, Any]) -> str:
        watched = [dashboard.Watched(*each) for each in known["releases"]]
        return json.dumps(
            dashboard.body_of(
                service,
                region,
                known["balancer"],
                watched,
                percentile=percentile or dashboard.PERCENTILE,
                alarms=known["alarms"],
                rules=known["rules"],
            )
        )

    return pulumi.Output.all(
        balancer=balancer, releases=[list(each) for each in releases], alarms=list(alarms), rules=dict(rules)
    ).apply(body)


@dataclass(frozen=True)
class DashboardArgs:
    """`body` is JSON without markers, `release` has the traffic after the rollout, whose output is `record`."""

    context: Context
    name: str
    body: pulumi.Input[str]
    release: str
    record: pulumi.Output[Any]


class Dashboard(Resource, module="fleetswap", name="Dashboard"):
    """A dashboard of CloudWatch with a marker for each deploy."""

    def __init__(self, name: str, args: DashboardArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        inputs = {
            "schema_version": SCHEMA,
            "name": args.name,
            "body": args.body,
            # Not the record: a preview would show all of it.
            "marker": args.record.apply(lambda record: _marker(record, args.release)),
            "region": args.context.region,
            "endpoint": args.context.endpoint,
            "access": args.context.reach,
            "urn": urn_of("Dashboard", name, *args.context.parents),
        }
        super().__init__(DashboardProvider(), name, {**inputs, "markers": None, "problem": None}, opts)
