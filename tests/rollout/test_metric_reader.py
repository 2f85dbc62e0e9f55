"""Rollouts that are judged by metrics, from the first look to the end: what is asked, when, and what a failure says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleetswap.domain.errors import Aborted, CloudError, InputError, TryAgain
from fleetswap.domain.rollout.metric_checks import CloudWatch, MetricCheck, Prometheus
from fleetswap.domain.rollout.metric_values import MetricRead, Point, Sample, Series
from fleetswap.domain.rollout.model import Order, ReleaseTarget
from fleetswap.domain.rollout.policy import Policy
from fleetswap.domain.rollout.replay import replay
from fleetswap.domain.rollout.replay_words import conclusion
from fleetswap.domain.rollout.strategy import Step, Strategy
from fleetswap.workflows.rollout.metric_reader import MetricReader
from fleetswap.workflows.rollout.read_record import load, recorded
from fleetswap.workflows.rollout.record_file import RecordFile
from fleetswap.workflows.rollout.run import roll_out
from tests.fakes.world import POLICY, Release, World, order, running
from tests.rollout.test_record import only, recorder

OWN = CloudWatch("Shop", "Refusals", "Sum", {"Release": "{{release}}"})
QUERY = Prometheus("http://prometheus", "{{release}}")
CLOUD = MetricCheck("refusals", cloudwatch=OWN, at_most=1.5)
PROM = MetricCheck("lag", prometheus=QUERY, max=5)
CANARY = replace(POLICY, strategy=Strategy((Step(10, hold=60),), bake=30), data_deadline=400, metrics=(CLOUD, PROM))


def deploy(policy: Policy = CANARY, **candidate: Any) -> tuple[World, Order]:
    world = World(new=Release(**candidate), live=running(3, minimum=2))
    world.put_traffic(live=100)
    return world, order("new", "live", standby="live", policy=policy)


def run(world: World, wanted: Order, *, folder: Path | None = None, prometheus: Any = None) -> None:
    roll_out(
        wanted,
        balancer=world,
        fleet=world,
        prober=world,
        clock=world,
        metrics=world,
        switch=world,
        cloudwatch=world,
        prometheus=prometheus or world,
        notifier=world,
        say=world.say,
        recorder=recorder(RecordFile(folder)) if folder is not None else None,
    )


class Asked:
    """A Prometheus that does as it is told, by the number of the call."""

    def __init__(self, *results: Exception | float) -> None:
        self.results, self.queries = list(results), list[str]()

    def value(self, query: Prometheus) -> Sample:
        self.queries.append(query.query)
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, Exception):
            raise result
        return Sample(0.0, 0.0, result)


def test_a_good_candidate_says_its_values(tmp_path: Path) -> None:
    """A rollout that went by metrics would not say so, and its record could not be replayed."""
    world, wanted = deploy()
    run(world, wanted, folder=tmp_path)
    assert [dict(weights) for weights in world.written] == [{"tg-live": 90, "tg-new": 10}, {"tg-new": 100}]
    passed = [line for line in world.log if "passed with" in line]
    assert "metric refusals is 1, live 1; the limit is 1.5" in passed[0]
    assert "metric lag is 1; the limit is 5" in passed[0]
    given = recorded(load(only(tmp_path)), "record")
    assert given.order == wanted
    assert replay(given, CANARY).parting is None
    stricter = replace(CANARY, metrics=(CLOUD, replace(PROM, max=0.5)))
    assert "metric lag is 1; more than max 0.5" in conclusion(replay(given, stricter))


def test_a_bad_candidate_is_put_back_with_the_reason(tmp_path: Path) -> None:
    """The traffic would stay on it, or nobody know which metric was bad."""
    world, wanted = deploy(replace(CANARY, metrics=(CLOUD,)), metric="bad")
    with pytest.raises(Aborted, match="metric refusals is 9, live 1; more than live"):
        run(world, wanted, folder=tmp_path)
    assert world.serving() == {"tg-live"}
    assert any("evidence: metric refusals is 9" in line for line in world.notices[-1].text.splitlines())


def test_without_data_the_deadline_says_what_was_asked() -> None:
    """No data would be a pass, or the message not say whose."""
    world, wanted = deploy(replace(CANARY, metrics=(CLOUD,)), metric="none")
    reason = (
        r"not enough evidence in time: metric refusals has no value of this step yet \(CloudWatch: Shop Refusals Sum"
    )
    with pytest.raises(Aborted, match=rf"{reason} \(Release=new\)\)"):
        run(world, wanted)
    assert world.serving() == {"tg-live"}


def test_a_prometheus_that_goes_away_meanwhile_aborts_at_the_deadline() -> None:
    """A canary would wait for ever, or the first lost response end it."""
    world, wanted = deploy(replace(CANARY, metrics=(PROM,)))
    asked = Asked(1.0, TryAgain("Prometheus at http://prometheus does not respond"))
    with pytest.raises(Aborted, match="metric lag has no value: Prometheus at http://prometheus does not respond"):
        run(world, wanted, prometheus=asked)
    assert set(asked.queries) == {"new"}, "live is not asked about: it is not compared"
    world, wanted = deploy(replace(CANARY, metrics=(PROM,)))
    once = Asked(1.0, TryAgain("lost"), 1.0)
    run(world, wanted, prometheus=once)
    assert world.serving() == {"tg-new"}


@pytest.mark.parametrize("error", [InputError("does not accept lag"), CloudError("refuses the token")])
def test_a_query_that_is_refused_moves_no_traffic(error: Exception) -> None:
    """Users would meet a candidate that can never pass."""
    world, wanted = deploy(replace(CANARY, metrics=(PROM,)))
    with pytest.raises(type(error), match=f"metric lag: {error}"):
        run(world, wanted, prometheus=Asked(error))
    assert world.written == []
    assert world.releases["new"].desired == 0, "no machine was launched for it"


def test_a_prometheus_that_is_away_before_moves_no_traffic() -> None:
    """Users would meet a candidate of which nothing can be known."""
    world, wanted = deploy(replace(CANARY, metrics=(PROM,)))
    with pytest.raises(CloudError, match="metric lag: away"):
        run(world, wanted, prometheus=Asked(TryAgain("away")))
    assert world.written == []


def test_for_report_only_nothing_is_refused() -> None:
    """A metric that is tried out would stop a deploy."""
    world, wanted = deploy(replace(CANARY, metrics=(PROM,), report_only=("metrics.lag",)))
    run(world, wanted, prometheus=Asked(InputError("does not accept lag")))
    assert world.serving() == {"tg-new"}
    assert any("(report only) metric lag has no value: does not accept lag" in line for line in world.log)


def test_a_rollback_and_a_repair_ask_for_no_metrics() -> None:
    """A rollback would wait for Prometheus, or fail because of it."""
    silent = Asked(CloudError("asked"))
    world, wanted = deploy(replace(CANARY, metrics=(PROM,)))
    run(world, replace(wanted, trusted=True), prometheus=silent)
    assert world.serving() == {"tg-new"}
    run(world, wanted, prometheus=silent)
    assert silent.queries == []


def reader(
    asked: Sequence[MetricCheck], *, cloudwatch: Any = None, prometheus: Any = None, world: World | None = None
) -> MetricReader:
    wanted = order("new", "live", policy=replace(CANARY, metrics=tuple(asked)))
    return MetricReader(wanted, cloudwatch, prometheus, world or World(live=running(1)))


def known(arn: str) -> ReleaseTarget | None:
    return ReleaseTarget(arn[3:], f"asg-{arn[3:]}", arn) if arn != "tg-alien" else None


def test_a_silent_server_is_asked_once_a_reading() -> None:
    """Each check would wait for its timeout, and the rest of the evidence come a minute late."""
    world = World(live=running(1))

    class Silent(Asked):
        def value(self, query: Prometheus) -> Sample:
            world.sleep(5)
            return super().value(query)

    silent = Silent(TryAgain("away"))
    others = [PROM, replace(PROM, name="other"), replace(PROM, name="third", max=None, at_most=2)]
    reads = reader(others, prometheus=silent, world=world).read("tg-live", known, 60)
    assert [read.problem for read in reads] == ["away"] * 3
    assert len(silent.queries) == 1


def test_a_slow_server_does_not_outlast_the_switch() -> None:
    """The dead man's switch would put the traffic back during a reading of twenty checks, while the rollout goes on."""
    world = World(live=running(1))

    class Slow(Asked):
        def value(self, query: Prometheus) -> Sample:
            world.sleep(4.9)
            return super().value(query)

    checks = [replace(PROM, name=f"lag-{number}", max=None, at_most=2) for number in range(20)]
    began = world.time
    reads = reader(checks, prometheus=Slow(1.0), world=world).read("tg-live", known, 60)
    assert world.time - began < POLICY.switch_margin / 2
    assert [bool(read.points) for read in reads] == [True] * 4 + [False] * 16
    assert reads[-1].problem == "not asked: the checks before it took more than 30 s"


def test_a_query_that_fails_at_once_keeps_no_other_from_being_asked() -> None:
    """One metric for report only, which is too much for its server, would leave every other without a value."""
    reads = reader([PROM, replace(PROM, name="other")], prometheus=Asked(TryAgain("too much"), 1.0)).read(
        None, known, 60
    )
    assert [(read.problem, len(read.points)) for read in reads] == [("too much", 0), ("", 1)]


def test_both_are_asked_the_same_of_the_same_time() -> None:
    """The candidate would be compared with another period of live."""

    class Cloud:
        def values(self, query: CloudWatch, seconds: float) -> Series:
            assert seconds == 90
            return Series(
                1000, 60, {"new": {780: 1.0, 840: 2.0}, "live": {840: 3.0, 900: 4.0}}[query.dimensions["Release"]]
            )

    (read,) = reader([CLOUD], cloudwatch=Cloud()).read("tg-live", known, 90)
    assert read.points == (Point(780, 1.0), Point(840, 2.0, 3.0), Point(900, None, 4.0))
    (read,) = reader([replace(PROM, at_most=2)], prometheus=Asked(1.0, 2.0)).read("tg-live", known, 90)
    assert read.points == (Point(-60.0, 1.0, 2.0),)


def test_what_is_not_known_of_live_is_told() -> None:
    """The deadline would not say why there is nothing to compare with."""
    compared = [replace(PROM, at_most=2)]
    (read,) = reader(compared, prometheus=Asked(1.0, TryAgain("away"))).read("tg-live", known, 90)
    assert (read.points[0].live, read.live_problem) == (None, "away")
    (read,) = reader(compared, prometheus=Asked(1.0)).read("tg-alien", known, 90)
    assert read.live_problem == "there is no {{release}} of a target group that belongs to no release"


@pytest.mark.parametrize(
    "ask",
    [
        lambda: reader([CLOUD]).read(None, known, 1),
        lambda: reader([PROM]).read(None, known, 1),
        lambda: MetricReader(order("new", policy=CANARY), None, None, None).read(None, known, 1),
    ],
)
def test_a_port_that_is_missing_is_a_defect(ask: Callable[[], tuple[MetricRead, ...]]) -> None:
    """A caller that forgot one would judge nothing, and not know."""
    with pytest.raises(TypeError, match="this order needs"):
        ask()
